//! Where a set is put together, volume by volume, until it is whole: `uploads/import-<set>/`.
//!
//! ```text
//! uploads/import-<set>/progress      lines: "postern import 1 <set>", then "c <chunk>", "v <blob>", "u <blob>"
//! uploads/import-<set>/parts/<n>     content of blob n of the table, chunks at their offsets
//! uploads/import-<set>/outcome.json  what the receipt will say; written before the commit
//! ```
//!
//! A line is appended only after the bytes that it speaks of were synced. Nothing depends on its truth: every blob is
//! hashed before it leaves, and what does not hash is read anew. Nothing here is ever served.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bundle::format::layout::{self, ChunkPlace};
use crate::bundle::format::table::{Blob, SetTable};
use crate::bundle::format::volume::SetId;
use crate::limits::{MIB, SET_TABLE_BYTES_MAX};
use crate::oci::digest::Hasher;
use crate::store::{Blobs, Store};
use crate::sys::dir::{Create, Dir, DirError, File, read_bounded, read_exact_at};

/// Bytes after which staged content is synced and noted, so that little is read again after a kill.
const CHECKPOINT_BYTES_MAX: u64 = 8 * MIB as u64;
/// Files after which it is, so that a row of small manifests does not keep as many files open.
const CHECKPOINT_FILES_COUNT_MAX: usize = 64;
const PROGRESS_FILE: &str = "progress";
const OUTCOME_FILE: &str = "outcome.json";

/// The beginning of every staging directory's name.
pub(super) const STAGING_PREFIX: &str = "import-";

/// Content of one set on its way in.
pub(super) struct Staging<'a> {
    dir: Arc<dyn Dir>,
    path: String,
    table: &'a SetTable,
    chunk_done: Vec<bool>,
    blobs: Vec<BlobState>,
    log: Arc<dyn File>,
    log_bytes: u64,
    checkpoint_bytes: u64,
    /// Lines that become true with the next sync.
    pending: String,
    unsynced_bytes: u64,
    touched: BTreeMap<usize, Arc<dyn File>>,
    running: Option<Running>,
    /// A sync failed: nobody knows what of the bytes is on the disk, and nothing more is noted.
    sync_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlobState {
    /// Stood in the store when the staging was opened: not read from the medium.
    InStore,
    /// Staged, in part or whole.
    Staged,
    /// Staged, whole, and hashed to its digest.
    Verified,
}

/// The hash of a blob whose chunks come in order.
struct Running {
    blob: usize,
    next_chunk: usize,
    hasher: Hasher,
}

/// What staged content turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hashed {
    Good,
    /// Bytes are not what the table says; the blob was forgotten and is to be read anew.
    Wrong,
}

fn named(operation: &'static str, path: &str) -> impl FnOnce(std::io::Error) -> DirError {
    move |source| DirError { operation, path: path.to_owned(), source }
}

/// The directory of a set's staging.
pub(super) fn staging_path(set: &SetId) -> String {
    format!("uploads/{STAGING_PREFIX}{set}")
}

/// What the receipt of a set will say, if its staging got so far.
pub(super) fn outcome(store: &Store, staging: &str) -> Result<Option<Vec<u8>>, DirError> {
    let path = format!("{staging}/{OUTCOME_FILE}");
    if store.dir().stat(&path)?.is_none() {
        return Ok(None);
    }
    read_bounded(store.dir().as_ref(), &path, crate::limits::RECEIPT_BYTES_MAX).map(Some)
}

/// Forgets what a receipt would have said, because nothing was committed.
pub(super) fn forget_outcome(store: &Store, staging: &str) -> Result<(), DirError> {
    store.dir().remove(&format!("{staging}/{OUTCOME_FILE}"))
}

impl<'a> Staging<'a> {
    /// Opens or makes the staging of a set. `volume_bytes` is the length of its largest volume.
    pub(super) fn open(store: &Store, set: &SetId, table: &'a SetTable, volume_bytes: u64) -> Result<Self, DirError> {
        let dir = Arc::clone(store.dir());
        let path = staging_path(set);
        dir.create_dir_all(&format!("{path}/parts"))?;
        let header = format!("postern import 1 {set}\n");
        let log_path = format!("{path}/{PROGRESS_FILE}");
        let noted = match dir.stat(&log_path)? {
            Some(_) => read_bounded(dir.as_ref(), &log_path, SET_TABLE_BYTES_MAX)?,
            None => Vec::new(),
        };
        let log = dir.open_write(&log_path, Create::Missing)?;
        let chunks_count = layout::chunks(table).count();
        let mut staging = Self {
            chunk_done: vec![false; chunks_count],
            blobs: blobs_in_store(store.blobs(), table),
            dir,
            table,
            log,
            log_bytes: 0,
            checkpoint_bytes: CHECKPOINT_BYTES_MAX.min(volume_bytes / 4).max(1),
            pending: String::new(),
            unsynced_bytes: 0,
            touched: BTreeMap::new(),
            running: None,
            sync_failed: false,
            path,
        };
        match noted.strip_prefix(header.as_bytes()) {
            Some(lines) => staging.log_bytes = header.len() as u64 + staging.replay(lines)?,
            None => staging.pending = header,
        }
        staging.log.set_len(staging.log_bytes).map_err(named("cut", &log_path))?;
        staging.checkpoint()?;
        staging.dir.sync_dir(&staging.path)?;
        staging.dir.sync_dir("uploads")?;
        Ok(staging)
    }

    /// Takes in what was noted before, up to a torn or foreign line; answers how many bytes of it hold.
    fn replay(&mut self, lines: &[u8]) -> Result<u64, DirError> {
        let mut taken = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let Some(noted) = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok()) else { break };
            let Some((kind, number)) = noted.split_once(' ') else { break };
            let Ok(number) = number.parse::<usize>() else { break };
            match kind {
                "c" if number < self.chunk_done.len() => self.chunk_done[number] = true,
                // It was hashed in another process, perhaps days ago. What enters the store is hashed by the one that
                // lets it in.
                "v" if number < self.blobs.len() => {}
                "u" if number < self.blobs.len() => self.forget(number),
                _ => break,
            }
            taken += line.len() as u64;
        }
        self.compare_with_parts()?;
        Ok(taken)
    }

    /// A part may be gone: it was taken over by the store, and swept since.
    fn compare_with_parts(&mut self) -> Result<(), DirError> {
        let parts: BTreeMap<String, u64> = self
            .dir
            .list(&format!("{}/parts", self.path))?
            .into_iter()
            .map(|entry| (entry.name, entry.stat.len_bytes))
            .collect();
        let table = self.table;
        for place in layout::chunks(table) {
            let end = place.offset_bytes + place.content_bytes as u64;
            let stands = parts.get(&place.blob.to_string()).is_some_and(|length| *length >= end);
            if !stands && self.chunk_done[place.index as usize] {
                self.chunk_done[place.index as usize] = false;
                self.set_blob(place.blob, BlobState::Staged);
            }
        }
        Ok(())
    }

    fn set_blob(&mut self, blob: usize, state: BlobState) {
        if self.blobs[blob] != BlobState::InStore {
            self.blobs[blob] = state;
        }
    }

    fn forget(&mut self, blob: usize) {
        self.set_blob(blob, BlobState::Staged);
        let table = self.table;
        for place in layout::chunks(table).filter(|place| place.blob == blob) {
            self.chunk_done[place.index as usize] = false;
        }
    }

    /// The set's id, for messages.
    pub(super) fn set_text(&self) -> String {
        self.path.rsplit('-').next().unwrap_or_default().to_owned()
    }

    pub(super) fn part_path(&self, blob: usize) -> String {
        format!("{}/parts/{blob}", self.path)
    }

    /// Whether a chunk is still to be read from its volume.
    pub(super) fn wants(&self, place: &ChunkPlace) -> bool {
        self.blobs[place.blob] != BlobState::InStore && !self.chunk_done[place.index as usize]
    }

    /// Bytes of content that are still to come.
    pub(super) fn wanted_bytes(&self) -> u64 {
        layout::chunks(self.table).filter(|place| self.wants(place)).map(|place| place.content_bytes as u64).sum()
    }

    /// Takes in the checked content of a chunk.
    pub(super) fn put(&mut self, place: &ChunkPlace, content: &[u8]) -> Result<Hashed, DirError> {
        let path = self.part_path(place.blob);
        let file = match self.touched.get(&place.blob) {
            Some(file) => Arc::clone(file),
            None => {
                let file = self.dir.open_write(&path, Create::Missing)?;
                self.touched.insert(place.blob, Arc::clone(&file));
                file
            }
        };
        file.write_at(content, place.offset_bytes).map_err(named("write", &path))?;
        self.chunk_done[place.index as usize] = true;
        self.pending.push_str(&format!("c {}\n", place.index));
        let hashed = self.hash_along(place, content);
        self.unsynced_bytes += content.len() as u64;
        let due = self.unsynced_bytes >= self.checkpoint_bytes || self.touched.len() >= CHECKPOINT_FILES_COUNT_MAX;
        if due {
            self.checkpoint()?;
        }
        Ok(hashed)
    }

    /// A blob whose chunks all come in order in one run need not be read again to be hashed.
    fn hash_along(&mut self, place: &ChunkPlace, content: &[u8]) -> Hashed {
        if place.in_blob == 0 {
            let hasher = self.table.blobs[place.blob].digest.algorithm().hasher();
            self.running = Some(Running { blob: place.blob, next_chunk: 0, hasher });
        }
        let Some(running) =
            self.running.as_mut().filter(|running| (running.blob, running.next_chunk) == (place.blob, place.in_blob))
        else {
            self.running = None;
            return Hashed::Good;
        };
        running.hasher.update(content);
        running.next_chunk += 1;
        if !place.ends(self.table) {
            return Hashed::Good;
        }
        let digest = self.running.take().map(|running| running.hasher.finish());
        if digest == Some(self.table.blobs[place.blob].digest) {
            self.set_blob(place.blob, BlobState::Verified);
            self.pending.push_str(&format!("v {}\n", place.blob));
            return Hashed::Good;
        }
        self.note_forgotten(place.blob);
        Hashed::Wrong
    }

    fn note_forgotten(&mut self, blob: usize) {
        self.forget(blob);
        self.pending.push_str(&format!("u {blob}\n"));
    }

    /// Syncs what was staged, then notes it. An error is final: a second sync would succeed without the bytes of the first.
    pub(super) fn checkpoint(&mut self) -> Result<(), DirError> {
        if self.sync_failed {
            let source = std::io::Error::other("an earlier sync failed");
            return Err(DirError { operation: "sync", path: self.path.clone(), source });
        }
        let synced = self.try_checkpoint();
        self.sync_failed = synced.is_err();
        synced
    }

    fn try_checkpoint(&mut self) -> Result<(), DirError> {
        for (blob, file) in &self.touched {
            file.sync_data().map_err(named("sync", &self.part_path(*blob)))?;
        }
        if !self.touched.is_empty() {
            self.dir.sync_dir(&format!("{}/parts", self.path))?;
        }
        self.touched.clear();
        self.unsynced_bytes = 0;
        if !self.pending.is_empty() {
            let path = format!("{}/{PROGRESS_FILE}", self.path);
            self.log.write_at(self.pending.as_bytes(), self.log_bytes).map_err(named("write", &path))?;
            self.log.sync_data().map_err(named("sync", &path))?;
            self.log_bytes += self.pending.len() as u64;
            self.pending.clear();
        }
        Ok(())
    }

    /// Hashes a whole staged blob, if that was not done on its way in.
    pub(super) fn verify(&mut self, blob: usize) -> Result<Hashed, DirError> {
        if self.blobs[blob] != BlobState::Staged {
            return Ok(Hashed::Good);
        }
        let expected = self.table.blobs[blob].digest;
        let size = self.table.blobs[blob].size;
        let mut hasher = expected.algorithm().hasher();
        if size > 0 {
            let path = self.part_path(blob);
            let file = self.dir.open(&path)?;
            let mut buffer = vec![0; MIB];
            let mut at = 0;
            while at < size {
                let length = usize::try_from(size - at).unwrap_or(MIB).min(MIB);
                read_exact_at(file.as_ref(), &mut buffer[..length], at).map_err(named("read", &path))?;
                hasher.update(&buffer[..length]);
                at += length as u64;
            }
        } else {
            let file = self.dir.open_write(&self.part_path(blob), Create::Missing)?;
            self.touched.insert(blob, file);
        }
        if hasher.finish() == expected {
            self.set_blob(blob, BlobState::Verified);
            self.pending.push_str(&format!("v {blob}\n"));
            return Ok(Hashed::Good);
        }
        self.note_forgotten(blob);
        self.checkpoint()?;
        Ok(Hashed::Wrong)
    }

    /// Whether a blob is the store's and not the staging's.
    pub(super) fn is_in_store(&self, blob: usize) -> bool {
        self.blobs[blob] == BlobState::InStore
    }

    /// Keeps what the receipt will say, before the commit makes it true.
    pub(super) fn keep_outcome(&self, outcome: &[u8]) -> Result<(), DirError> {
        crate::sys::dir::replace(self.dir.as_ref(), &format!("{}/{OUTCOME_FILE}", self.path), outcome)
    }
}

fn blobs_in_store(blobs: &Blobs, table: &SetTable) -> Vec<BlobState> {
    let state = |present| if present { BlobState::InStore } else { BlobState::Staged };
    table.blobs.iter().map(|blob| state(stands_in_store(blobs, blob))).collect()
}

/// Whether what a set names stands in the store already.
pub(super) fn stands_in_store(blobs: &Blobs, blob: &Blob) -> bool {
    matches!(blobs.stat(&blob.digest), Ok(Some(size)) if size == blob.size)
}
