//! Postern's own image, made of its static binaries: one index with an image for each platform, and nothing in an image
//! but the binary and a place for its data.

use std::sync::Arc;

use serde::Serialize;

use super::document::{self, Document};
use super::elf::{self, Machine};
use super::gzip::Gzip;
use super::{INDEX, LayoutError, MARKER, blob_path, blobs_dir, layer, marker};
use crate::limits::{BODY_CHUNK_BYTES, IMAGE_BINARY_BYTES_MAX};
use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::digest::{Algorithm, Digest, Hasher};
use crate::progress::Progress;
use crate::sys::dir::{self, Create, Dir, DirError, File, read_exact_at};

pub use super::document::Particulars;

/// A blob until its digest is known.
const INCOMING: &str = "incoming";

/// The platforms that Postern is built for, as they are written in an index, and their machines.
const PLATFORMS: [(&str, Machine); 3] =
    [("linux/amd64", Machine::Amd64), ("linux/arm64", Machine::Arm64), ("linux/arm/v7", Machine::Arm)];

/// A static binary and what it is for.
#[derive(Clone, Debug)]
pub struct Binary {
    pub platform: Platform,
    pub file: Arc<dyn File>,
    /// Where it was found, for what is said of it.
    pub path: String,
}

/// What stands in the layout now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assembled {
    /// Digest of the image of all platforms.
    pub digest: Digest,
    pub platforms: Vec<AssembledPlatform>,
}

/// The image of one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AssembledPlatform {
    pub platform: String,
    pub digest: Digest,
    pub layer: Digest,
    pub layer_bytes: u64,
}

/// A binary that was looked at.
struct Checked<'a> {
    binary: &'a Binary,
    size_bytes: u64,
}

/// Writes a layout into the empty tree `dir`. The order of the binaries does not matter; nothing is written before all of
/// them were found to be what they should be.
pub fn assemble(
    dir: &dyn Dir,
    binaries: &[Binary],
    particulars: &Particulars,
    progress: &dyn Progress,
) -> Result<Assembled, LayoutError> {
    if !dir.list("")?.is_empty() {
        return Err(LayoutError::NotEmpty);
    }
    let mut checked = binaries.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    checked.sort_by_key(|checked| checked.binary.platform.to_string());
    if let Some([one, _]) = checked.array_windows().find(|[a, b]| a.binary.platform == b.binary.platform) {
        return Err(LayoutError::PlatformTwice(one.binary.platform.clone()));
    }
    if checked.is_empty() {
        return Err(LayoutError::NoPlatform);
    }
    dir.create_dir_all(&blobs_dir(&Digest::of(b"")))?;
    let (mut descriptors, mut platforms) = (Vec::new(), Vec::new());
    for checked in &checked {
        let (descriptor, platform) = one_platform(dir, checked, particulars, progress)?;
        descriptors.push(descriptor);
        platforms.push(platform);
    }
    let index = document::image_index(particulars, descriptors)?;
    put(dir, &index)?;
    dir.sync_dir(&blobs_dir(&index.descriptor.digest))?;
    let digest = index.descriptor.digest;
    dir::replace(dir, INDEX, &document::layout_index(index.descriptor)?)?;
    // Last: until it stands there, nobody takes the directory for a layout.
    dir::replace(dir, MARKER, &marker::written()?)?;
    Ok(Assembled { digest, platforms })
}

fn check(binary: &Binary) -> Result<Checked<'_>, LayoutError> {
    let Binary { platform, file, path } = binary;
    let text = platform.to_string();
    let Some((_, machine)) = PLATFORMS.iter().find(|(known, _)| *known == text) else {
        return Err(LayoutError::Platform(platform.clone()));
    };
    let unread = |source| LayoutError::BinaryRead { path: path.clone(), source };
    let wrong = |source| LayoutError::Binary { path: path.clone(), platform: platform.clone(), source };
    let size_bytes = file.len_bytes().map_err(unread)?;
    if size_bytes > IMAGE_BINARY_BYTES_MAX {
        return Err(LayoutError::BinarySize { path: path.clone(), actual: size_bytes, limit: IMAGE_BINARY_BYTES_MAX });
    }
    let head_bytes = usize::try_from(size_bytes).map_or(elf::HEADER_BYTES, |size| size.min(elf::HEADER_BYTES));
    let mut head = vec![0; head_bytes];
    read_exact_at(file.as_ref(), &mut head, 0).map_err(unread)?;
    let header = elf::parse(&head).map_err(wrong)?;
    if header.machine != *machine {
        return Err(LayoutError::OtherMachine { path: path.clone(), platform: platform.clone() });
    }
    let ends_at = header.table_at_bytes.checked_add(header.table_bytes as u64);
    if ends_at.is_none_or(|end| end > size_bytes) {
        return Err(wrong(elf::ElfError::Header));
    }
    let mut table = vec![0; header.table_bytes];
    read_exact_at(file.as_ref(), &mut table, header.table_at_bytes).map_err(unread)?;
    header.check_static(&table).map_err(wrong)?;
    Ok(Checked { binary, size_bytes })
}

fn one_platform(
    dir: &dyn Dir,
    checked: &Checked<'_>,
    particulars: &Particulars,
    progress: &dyn Progress,
) -> Result<(Descriptor, AssembledPlatform), LayoutError> {
    let platform = &checked.binary.platform;
    let Layer { diff_id, digest: layer, size_bytes: layer_bytes } = put_layer(dir, checked, progress)?;
    let config = document::config(particulars, platform, diff_id)?;
    put(dir, &config)?;
    let manifest = document::manifest(particulars, platform, config.descriptor, layer, layer_bytes)?;
    put(dir, &manifest)?;
    let digest = manifest.descriptor.digest;
    Ok((manifest.descriptor, AssembledPlatform { platform: platform.to_string(), digest, layer, layer_bytes }))
}

/// A layer that lies in the layout.
struct Layer {
    /// Digest of the archive without the frame.
    diff_id: Digest,
    digest: Digest,
    size_bytes: u64,
}

/// Writes the layer, piece by piece.
fn put_layer(dir: &dyn Dir, checked: &Checked<'_>, progress: &dyn Progress) -> Result<Layer, LayoutError> {
    let Checked { binary, size_bytes } = checked;
    let what = format!("packing {}", binary.platform);
    let mut archive = Archive { writer: Writer::begin(dir)?, gzip: Gzip::begin(), hasher: Algorithm::Sha256.hasher() };
    archive.write(&layer::head(*size_bytes))?;
    let mut buffer = vec![0; BODY_CHUNK_BYTES];
    let mut at_bytes = 0;
    while at_bytes < *size_bytes {
        let left = usize::try_from(size_bytes - at_bytes).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(BODY_CHUNK_BYTES)];
        read_exact_at(binary.file.as_ref(), piece, at_bytes)
            .map_err(|source| LayoutError::BinaryRead { path: binary.path.clone(), source })?;
        archive.write(piece)?;
        at_bytes += piece.len() as u64;
        progress.step(&what, at_bytes, *size_bytes);
    }
    archive.write(&layer::tail(*size_bytes))?;
    archive.finish()
}

/// An archive on its way into its frame and from there into a blob.
struct Archive<'a> {
    writer: Writer<'a>,
    gzip: Gzip,
    hasher: Hasher,
}

impl Archive<'_> {
    fn write(&mut self, piece: &[u8]) -> Result<(), LayoutError> {
        self.hasher.update(piece);
        self.gzip.push(piece);
        self.writer.write(&self.gzip.take())
    }

    fn finish(mut self) -> Result<Layer, LayoutError> {
        self.writer.write(&self.gzip.finish())?;
        let (digest, size_bytes) = self.writer.finish()?;
        Ok(Layer { diff_id: self.hasher.finish(), digest, size_bytes })
    }
}

fn put(dir: &dyn Dir, document: &Document) -> Result<(), LayoutError> {
    let mut writer = Writer::begin(dir)?;
    writer.write(&document.bytes)?;
    writer.finish().map(drop)
}

/// A blob that is being written.
struct Writer<'a> {
    dir: &'a dyn Dir,
    file: Arc<dyn File>,
    hasher: Hasher,
    at_bytes: u64,
}

impl<'a> Writer<'a> {
    fn begin(dir: &'a dyn Dir) -> Result<Self, LayoutError> {
        let file = dir.open_write(INCOMING, Create::New)?;
        Ok(Self { dir, file, hasher: Algorithm::Sha256.hasher(), at_bytes: 0 })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), LayoutError> {
        self.file.write_at(piece, self.at_bytes).map_err(failed)?;
        self.hasher.update(piece);
        self.at_bytes += piece.len() as u64;
        Ok(())
    }

    /// Gives it the name that its content has.
    fn finish(self) -> Result<(Digest, u64), LayoutError> {
        self.file.sync_data().map_err(failed)?;
        let digest = self.hasher.finish();
        self.dir.rename(INCOMING, &blob_path(&digest))?;
        Ok((digest, self.at_bytes))
    }
}

fn failed(source: std::io::Error) -> LayoutError {
    LayoutError::Dir(DirError { operation: "write", path: INCOMING.to_owned(), source })
}
