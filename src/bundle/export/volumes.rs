//! The second pass: writes each volume under a partial name, syncs it, drops it from memory, reads it back from the
//! device, and only then gives it its name. Volumes that stand there already and are whole are left alone.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ExportError, SealedSet};
use crate::bundle::format::chunk::Packer;
use crate::bundle::format::container::entry_bytes;
use crate::bundle::format::layout::{self, ChunkPlace};
use crate::bundle::format::table::ChunkDigest;
use crate::bundle::format::volume::VolumeHead;
use crate::bundle::format::{SEAL_ENTRY, TABLE_ENTRY, VOLUME_ENTRY};
use crate::bundle::reader::{Damage, PARTIAL_SUFFIX, VolumeError, VolumeReader};
use crate::bundle::writer::VolumeWriter;
use crate::progress::Progress;
use crate::store::Store;
use crate::sys::dir::{Create, File, read_exact_at};
use crate::sys::kill_point::kill_point;
use crate::sys::medium::Medium;

/// One volume of a set that now stands on the medium, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenVolume {
    pub file: String,
    pub bytes: u64,
    /// Whether it was written now; otherwise it was found there and read through.
    pub written: bool,
}

struct Target<'a> {
    head: VolumeHead,
    file: String,
    bytes: u64,
    sealed: &'a SealedSet,
}

pub(super) fn write_all(
    store: &Store,
    sealed: &SealedSet,
    medium: &dyn Medium,
    progress: &dyn Progress,
) -> Result<Vec<WrittenVolume>, ExportError> {
    let targets: Vec<Target<'_>> = (1..=sealed.seal.volumes).map(|volume| Target::new(sealed, volume)).collect();
    let limit_bytes = medium.file_bytes_max();
    if targets.iter().any(|target| target.bytes > limit_bytes) {
        return Err(ExportError::FileTooLarge { limit_bytes });
    }
    let mut whole = Vec::with_capacity(targets.len());
    for target in &targets {
        whole.push(target.stands_whole(medium)?);
    }
    check_room(medium, &targets, &whole)?;
    let total: u64 = targets.iter().map(|target| target.bytes).sum();
    let mut done = 0;
    for (target, whole) in targets.iter().zip(&whole) {
        if !whole {
            target.write(store, medium, &mut |bytes| progress.step("writing", done + bytes, total))?;
        }
        done += target.bytes;
        progress.step("writing", done, total);
    }
    let written = targets.into_iter().zip(whole);
    Ok(written
        .map(|(target, whole)| WrittenVolume { file: target.file, bytes: target.bytes, written: !whole })
        .collect())
}

/// Room for everything that is still to be written; what an interrupted run has left behind makes room again.
fn check_room(medium: &dyn Medium, targets: &[Target<'_>], whole: &[bool]) -> Result<(), ExportError> {
    let mut free_bytes = medium.free_bytes().map_err(ExportError::Medium)?;
    let mut needed_bytes = 0;
    for (target, whole) in targets.iter().zip(whole) {
        if !whole {
            needed_bytes += target.bytes;
            for file in [target.file.clone(), target.partial()] {
                free_bytes += medium.dir().stat(&file).map_err(ExportError::Medium)?.map_or(0, |stat| stat.len_bytes);
            }
        }
    }
    if needed_bytes > free_bytes { Err(ExportError::NoRoom { free_bytes, needed_bytes }) } else { Ok(()) }
}

impl<'a> Target<'a> {
    fn new(sealed: &'a SealedSet, volume: u16) -> Self {
        let head = VolumeHead::new(sealed.set, volume, sealed.seal.volumes);
        let bytes = entry_bytes(head.to_bytes().len() as u64)
            + entry_bytes(sealed.table_bytes.len() as u64)
            + entry_bytes(sealed.seal_bytes.len() as u64)
            + layout::body_bytes(&sealed.table, volume);
        Self { file: head.file_name().to_string(), head, bytes, sealed }
    }

    fn partial(&self) -> String {
        format!("{}{PARTIAL_SUFFIX}", self.file)
    }

    /// Whether the volume stands on the medium and every byte of it is right. A damaged one is simply written anew.
    fn stands_whole(&self, medium: &dyn Medium) -> Result<bool, ExportError> {
        match medium.dir().stat(&self.file).map_err(ExportError::Medium)? {
            Some(stat) if stat.len_bytes == self.bytes => {}
            _ => return Ok(false),
        }
        medium.drop_cache(&self.file).map_err(ExportError::Medium)?;
        match self.read_through(medium, &self.file, &mut |_| ()) {
            Ok(()) => Ok(true),
            Err(VolumeError::Damaged { .. }) => Ok(false),
            Err(error) => Err(ExportError::ReadBack(error)),
        }
    }

    /// Reads a volume as a receiver would, and compares its leading entries with ours.
    fn read_through(&self, medium: &dyn Medium, file: &str, step: &mut dyn FnMut(u64)) -> Result<(), VolumeError> {
        let mut reader = VolumeReader::open(medium, file)?;
        let head = reader.head()?;
        if head.seal_bytes != self.sealed.seal_bytes || head.volume != self.head {
            return Err(reader.damaged(SEAL_ENTRY, 0, Damage::TableDigest));
        }
        reader.check_body(&head, &self.sealed.table)?;
        let mut read = 0;
        reader.chunks(
            &head,
            &self.sealed.table,
            |_| true,
            |place, _| {
                read += entry_bytes(u64::from(place.chunk.stored));
                step(read);
                Ok(())
            },
        )
    }

    fn write(&self, store: &Store, medium: &dyn Medium, step: &mut dyn FnMut(u64)) -> Result<(), ExportError> {
        let partial = self.partial();
        let failed = |source| ExportError::Write { file: partial.clone(), source };
        // Half of the way is writing, half is reading back.
        let file = medium.dir().open_write(&partial, Create::Missing).map_err(ExportError::Medium)?;
        file.set_len(0).map_err(failed)?;
        let mut writer = VolumeWriter::new(Arc::clone(&file));
        let mut entry = |name: &str, content: &[u8]| writer.entry(name, content).map_err(failed);
        entry(VOLUME_ENTRY, &self.head.to_bytes())?;
        entry(TABLE_ENTRY, &self.sealed.table_bytes)?;
        entry(SEAL_ENTRY, &self.sealed.seal_bytes)?;
        let mut source = Source::new(store, self.sealed)?;
        let mut written = 0;
        for place in layout::chunks_of_volume(&self.sealed.table, self.head.volume) {
            entry(&place.entry_name(), &source.stored(&place)?)?;
            kill_point("export-mid-volume");
            written += entry_bytes(u64::from(place.chunk.stored));
            step(written / 2);
        }
        let bytes = writer.finish().map_err(failed)?;
        assert_eq!(bytes, self.bytes, "the length of a volume follows from its table");
        file.drop_cache();
        drop(file);
        if let Err(error) = self.read_through(medium, &partial, &mut |read| step(written / 2 + read / 2)) {
            let _ = medium.dir().remove(&partial);
            return Err(ExportError::ReadBack(error));
        }
        kill_point("export-read-back");
        medium.dir().rename(&partial, &self.file).map_err(ExportError::Medium)?;
        medium.dir().sync_dir("").map_err(ExportError::Medium)
    }
}

/// Packs content of the store again, chunk by chunk, and insists on what the table says of it.
struct Source<'a> {
    store: &'a Store,
    sealed: &'a SealedSet,
    packer: Packer,
    open: Option<(usize, Arc<dyn File>)>,
}

impl<'a> Source<'a> {
    fn new(store: &'a Store, sealed: &'a SealedSet) -> Result<Self, ExportError> {
        Ok(Self { store, sealed, packer: Packer::new()?, open: None })
    }

    fn stored(&mut self, place: &ChunkPlace) -> Result<Vec<u8>, ExportError> {
        let digest = self.sealed.table.blobs[place.blob].digest;
        let file = match &self.open {
            Some((blob, file)) if *blob == place.blob => Arc::clone(file),
            _ => {
                let file = self.store.blobs().open(&digest)?.ok_or(ExportError::Source(digest))?;
                self.open = Some((place.blob, Arc::clone(&file)));
                file
            }
        };
        let mut content = vec![0; place.content_bytes];
        read_exact_at(file.as_ref(), &mut content, place.offset_bytes).map_err(|_| ExportError::Source(digest))?;
        let stored = self.packer.pack(&content)?;
        if ChunkDigest::of(&stored) == place.chunk.sha256 { Ok(stored) } else { Err(ExportError::Source(digest)) }
    }
}
