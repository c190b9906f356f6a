//! The first pass: compresses and hashes everything, which also proves that the content on the disk is still what its
//! digests say, and lays the chunks out in volumes. Keeps nothing but digests and sizes.

use super::ExportError;
use crate::bundle::closure::Need;
use crate::bundle::format::chunk::Packer;
use crate::bundle::format::container::entry_bytes;
use crate::bundle::format::layout;
use crate::bundle::format::table::{Blob, Chunk, ChunkDigest, SetTable, Volume};
use crate::bundle::plan::{ExportPlan, chunk_bytes};
use crate::limits::VOLUME_HEAD_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::Store;
use crate::sys::dir::{DirError, read_exact_at};

/// The longest text of one volume in the table, with its comma.
const VOLUME_TEXT_BYTES: u64 = 24;
/// How much longer than a sample a seal may turn out: digits of the table's size, and the DER of the signature.
const SEAL_SPARE_BYTES: u64 = 512;

/// The table of what was planned. `seal_bytes` is the length of a seal like the one to come.
pub(super) fn table(
    store: &Store,
    plan: &ExportPlan,
    seal_bytes: u64,
    progress: &dyn Progress,
) -> Result<SetTable, ExportError> {
    let chunk_bytes = chunk_bytes(plan.request.volume_bytes_max);
    let mut packer = Packer::new()?;
    let mut blobs = Vec::with_capacity(plan.closure.needs.len());
    let mut done = 0;
    for (digest, need) in &plan.closure.needs {
        blobs.push(blob(store, &mut packer, (digest, need), chunk_bytes)?);
        done += need.size_bytes;
        progress.step("packing", done, plan.content_bytes);
    }
    let chunk_bytes = u32::try_from(chunk_bytes).expect("a chunk's size is bounded");
    let mut table = SetTable::new(chunk_bytes, plan.closure.images.clone(), blobs, Vec::new());
    let stored: Vec<u32> = layout::chunks(&table).map(|place| place.chunk.stored).collect();
    let bare_bytes = table.to_bytes().len() as u64;
    let head_bytes = |volumes: usize| {
        entry_bytes(VOLUME_HEAD_BYTES_MAX as u64)
            + entry_bytes(bare_bytes + volumes as u64 * VOLUME_TEXT_BYTES)
            + entry_bytes(seal_bytes + SEAL_SPARE_BYTES)
    };
    let volumes: Vec<Volume> = layout::assign(&stored, plan.request.volume_bytes_max, head_bytes)?;
    table.volumes = volumes;
    Ok(table)
}

fn blob(
    store: &Store,
    packer: &mut Packer,
    (digest, need): (&Digest, &Need),
    chunk_bytes: usize,
) -> Result<Blob, ExportError> {
    let file = store.blobs().open(digest)?.ok_or(ExportError::Source(*digest))?;
    let mut hasher = digest.algorithm().hasher();
    let mut chunks = Vec::new();
    let mut buffer = vec![0; chunk_bytes];
    let mut offset_bytes = 0;
    while offset_bytes < need.size_bytes {
        let length = usize::try_from(need.size_bytes - offset_bytes).unwrap_or(usize::MAX).min(chunk_bytes);
        let content = &mut buffer[..length];
        read_exact_at(file.as_ref(), content, offset_bytes)
            .map_err(|source| ExportError::State(DirError { operation: "read", path: digest.to_string(), source }))?;
        hasher.update(content);
        let stored = packer.pack(content)?;
        chunks.push(Chunk {
            stored: u32::try_from(stored.len()).expect("a stored chunk's size is bounded"),
            sha256: ChunkDigest::of(&stored),
        });
        offset_bytes += length as u64;
    }
    if hasher.finish() != *digest {
        return Err(ExportError::Source(*digest));
    }
    Ok(Blob { digest: *digest, size: need.size_bytes, manifest: need.manifest.clone(), chunks })
}
