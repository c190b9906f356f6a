//! The layout of a volume, version 1. `bundles/FORMAT.md` is the normative text; this is its drawing.
//!
//! ```text
//! postern-<12 hex of the set>-<nnn>of<nnn>.tar        POSIX ustar; every header is computable, so it is compared
//! +-----------------------------+
//! | 512  header "volume.json"   |
//! | …    {"format":1,"set":…}   |  which volume of which set this is
//! | …    zeros to 512           |
//! +-----------------------------+
//! | 512  header "set.json"      |
//! | …    table of the whole set |  images, blobs, chunk digests, chunks per volume; the same bytes on every volume
//! | …    zeros to 512           |
//! +-----------------------------+
//! | 512  header "seal.json"     |
//! | …    DSSE envelope          |  signed: sender, receivers, series, sequence, digest of set.json; hash = set id
//! | …    zeros to 512           |
//! +-----------------------------+
//! | 512  header "chunks/<n>.zst"|  n = 00000001 … counted over the whole set
//! | …    one zstd frame         |  SHA-256 stands in set.json
//! | …    zeros to 512           |
//! +-----------------------------+
//! |      … more chunks …        |
//! +-----------------------------+
//! | 1024 zeros                  |  nothing follows
//! +-----------------------------+
//! ```
//!
//! Everything here is pure, and every `parse` takes foreign bytes.

pub mod canonical;
pub mod chunk;
pub mod container;
pub mod layout;
pub mod seal;
pub mod table;
pub mod volume;

/// The version that is written and read.
pub const FORMAT_VERSION: u32 = 1;
/// First entry of a volume.
pub const VOLUME_ENTRY: &str = "volume.json";
/// Second entry of a volume.
pub const TABLE_ENTRY: &str = "set.json";
/// Third entry of a volume.
pub const SEAL_ENTRY: &str = "seal.json";

#[cfg(test)]
mod tests {
    use crate::limits;

    /// The normative text and the program state the same bounds.
    #[test]
    fn the_text_states_the_limits() {
        let text = include_str!("../../../bundles/FORMAT.md");
        let limits = [
            limits::CHUNK_BYTES as u64,
            limits::CHUNK_BYTES_MIN as u64,
            limits::CHUNK_BYTES_MAX as u64,
            limits::CHUNK_STORED_BYTES_MAX as u64,
            limits::SET_TABLE_BYTES_MAX as u64,
            limits::SEAL_BYTES_MAX as u64,
            limits::VOLUME_HEAD_BYTES_MAX as u64,
            limits::VOLUME_BYTES_MAX,
            limits::BLOB_BYTES_MAX,
            limits::MANIFEST_BYTES_MAX as u64,
            limits::SET_IMAGES_COUNT_MAX as u64,
            limits::IMAGE_TAGS_COUNT_MAX as u64,
            limits::SEAL_RECEIVERS_COUNT_MAX as u64,
            limits::SERIES_BYTES_MAX as u64,
            limits::VOLUMES_COUNT_MAX as u64,
        ];
        for limit in limits {
            let digits = limit.to_string();
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
            let grouped = groups.join(",");
            assert!(text.contains(&grouped), "{grouped}");
        }
    }
}
