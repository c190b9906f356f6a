//! Where every chunk of a set stands: derived from the table alone.

use super::container::{END_BYTES, entry_bytes};
use super::table::{Chunk, SetTable, Volume};
use crate::limits::VOLUMES_COUNT_MAX;

/// One chunk of a set and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Number over the whole set, from 0; the entry's name counts from 1.
    pub index: u32,
    /// The blob's place in the table.
    pub blob: usize,
    /// The chunk's place in the blob, from 0.
    pub in_blob: usize,
    /// Offset of its content in the blob.
    pub offset_bytes: u64,
    /// Bytes of its content.
    pub content_bytes: usize,
    pub chunk: Chunk,
}

impl ChunkPlace {
    /// The name of its entry.
    pub fn entry_name(&self) -> String {
        entry_name(self.index)
    }

    /// Whether it is the last of its blob.
    pub fn ends(&self, table: &SetTable) -> bool {
        self.in_blob + 1 == table.blobs[self.blob].chunks.len()
    }
}

/// The name of the entry of the chunk with this index.
pub fn entry_name(index: u32) -> String {
    format!("chunks/{:08}.zst", index + 1)
}

/// Every chunk of a set, in the order of the table.
pub fn chunks(table: &SetTable) -> impl Iterator<Item = ChunkPlace> + '_ {
    let chunk_bytes = u64::from(table.chunk_bytes);
    let in_blobs = table.blobs.iter().enumerate().flat_map(move |(blob_index, blob)| {
        blob.chunks.iter().enumerate().map(move |(in_blob, chunk)| {
            let offset_bytes = in_blob as u64 * chunk_bytes;
            let content = (blob.size - offset_bytes).min(chunk_bytes);
            let content_bytes = usize::try_from(content).expect("a chunk's size is bounded");
            ChunkPlace { index: 0, blob: blob_index, in_blob, offset_bytes, content_bytes, chunk: *chunk }
        })
    });
    (0_u32..).zip(in_blobs).map(|(index, place)| ChunkPlace { index, ..place })
}

/// The chunks of one volume, counted from 1; empty for a volume that the set has not.
pub fn chunks_of_volume(table: &SetTable, volume: u16) -> impl Iterator<Item = ChunkPlace> + '_ {
    let before = usize::from(volume).saturating_sub(1);
    let skip: u64 = table.volumes.iter().take(before).map(|volume| u64::from(volume.chunks)).sum();
    let take = table.volumes.get(before).map_or(0, |volume| volume.chunks as usize);
    chunks(table).skip(usize::try_from(skip).unwrap_or(usize::MAX)).take(take)
}

/// Bytes of a volume after its three leading entries, the end included.
pub fn body_bytes(table: &SetTable, volume: u16) -> u64 {
    chunks_of_volume(table, volume).map(|place| entry_bytes(u64::from(place.chunk.stored))).sum::<u64>() + END_BYTES
}

/// Why chunks cannot be put into volumes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    #[error("volumes of {volume_bytes} bytes are too small for this set: choose at least {needed_bytes}")]
    VolumeTooSmall { volume_bytes: u64, needed_bytes: u64 },
    #[error("set would need more than {VOLUMES_COUNT_MAX} volumes: choose larger ones, or fewer images")]
    TooManyVolumes,
}

/// Puts chunks of the given stored sizes into volumes of at most `volume_bytes`. `head_bytes` tells how long the three
/// leading entries are at a number of volumes (the table grows a little with it).
pub fn assign(
    stored: &[u32],
    volume_bytes: u64,
    head_bytes: impl Fn(usize) -> u64,
) -> Result<Vec<Volume>, LayoutError> {
    let mut assumed = 1;
    loop {
        let overhead = head_bytes(assumed) + END_BYTES;
        let largest = stored.iter().map(|size| entry_bytes(u64::from(*size))).max().unwrap_or_default();
        if overhead + largest > volume_bytes {
            return Err(LayoutError::VolumeTooSmall { volume_bytes, needed_bytes: overhead + largest });
        }
        let volumes = fill(stored, volume_bytes - overhead);
        if volumes.len() > VOLUMES_COUNT_MAX {
            return Err(LayoutError::TooManyVolumes);
        }
        if volumes.len() <= assumed {
            return Ok(volumes);
        }
        assumed = volumes.len();
    }
}

fn fill(stored: &[u32], room_bytes: u64) -> Vec<Volume> {
    let mut volumes = Vec::new();
    let (mut chunks, mut used) = (0, 0);
    for size in stored {
        let entry = entry_bytes(u64::from(*size));
        if used + entry > room_bytes {
            volumes.push(Volume { chunks });
            (chunks, used) = (0, 0);
        }
        chunks += 1;
        used += entry;
    }
    volumes.push(Volume { chunks });
    volumes
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::table;
    use super::{LayoutError, assign, body_bytes, chunks, chunks_of_volume};

    #[test]
    fn chunks_are_counted_over_the_whole_set() {
        let table = table();
        let all: Vec<_> = chunks(&table).collect();
        assert_eq!(all.len(), 5);
        assert_eq!(all[4].entry_name(), "chunks/00000005.zst");
        assert!(all[4].ends(&table) && !all[3].ends(&table));
        let second: Vec<_> = chunks_of_volume(&table, 2).collect();
        assert_eq!(second, all[2..]);
        assert_eq!(chunks_of_volume(&table, 3).count(), 0);
        assert_eq!(chunks_of_volume(&table, 0).count(), 2, "0 is taken for 1");
        assert_eq!(body_bytes(&table, 1), 2 * 1024 + 1024);
    }

    #[test]
    fn offsets_go_on_beyond_32_bits() {
        let mut table = table();
        table.chunk_bytes = 4 << 20;
        table.blobs.retain(|blob| blob.chunks.len() == 3);
        let blob = &mut table.blobs[0];
        let chunk = blob.chunks[0];
        (blob.size, blob.chunks) = ((5 << 30) - 1, vec![chunk; 1280]);
        let places: Vec<_> = chunks(&table).collect();
        let beyond = places.iter().find(|place| place.offset_bytes == 1 << 32).unwrap();
        assert_eq!((beyond.in_blob, beyond.content_bytes), (1024, 4 << 20));
        let last = places.last().unwrap();
        assert_eq!((last.offset_bytes, last.content_bytes), ((5 << 30) - (4 << 20), (4 << 20) - 1));
    }

    #[test]
    fn volumes_are_filled_to_their_bound() {
        let check = |stored: &[u32], volume_bytes, expected: &[u32]| {
            let volumes = assign(stored, volume_bytes, |_| 1024).unwrap();
            assert_eq!(volumes.iter().map(|volume| volume.chunks).collect::<Vec<_>>(), expected);
        };
        check(&[512; 4], 2048 + 4 * 1024, &[4]);
        check(&[512; 4], 2048 + 4 * 1024 - 1, &[3, 1]);
        check(&[512; 4], 2048 + 1024, &[1, 1, 1, 1]);
        assert_eq!(
            assign(&[512], 3071, |_| 1024),
            Err(LayoutError::VolumeTooSmall { volume_bytes: 3071, needed_bytes: 3072 })
        );
        assert_eq!(assign(&[1; 1000], 2048 + 1024, |_| 1024), Err(LayoutError::TooManyVolumes));
    }
}
