//! One chunk: up to a fixed count of content bytes as a single zstd frame.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, find_frame_compressed_size, get_frame_content_size};

use crate::limits::{CHUNK_BYTES_MAX, CHUNK_STORED_BYTES_MAX};

/// Compression level. The frame's bytes must come out the same in both passes, so it is fixed.
const LEVEL: i32 = 3;

/// Why stored bytes are not a chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    #[error("chunk is not a single zstd frame")]
    Frame,
    #[error("chunk unpacks to {actual} bytes where the table says {expected}")]
    Size { expected: usize, actual: u64 },
    #[error("chunk cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    #[error("chunk cannot be packed")]
    Pack(#[source] std::io::Error),
}

/// Packs chunks; kept between them for its memory.
pub struct Packer(Compressor<'static>);

impl Packer {
    /// A packer with the format's parameters.
    pub fn new() -> Result<Self, ChunkError> {
        let mut compressor = Compressor::new(LEVEL).map_err(ChunkError::Pack)?;
        for parameter in
            [CParameter::ContentSizeFlag(true), CParameter::ChecksumFlag(false), CParameter::DictIdFlag(false)]
        {
            compressor.set_parameter(parameter).map_err(ChunkError::Pack)?;
        }
        Ok(Self(compressor))
    }

    /// The stored form of `content`.
    pub fn pack(&mut self, content: &[u8]) -> Result<Vec<u8>, ChunkError> {
        assert!(!content.is_empty() && content.len() <= CHUNK_BYTES_MAX, "the table cuts content into such chunks");
        self.0.compress(content).map_err(ChunkError::Pack)
    }
}

/// Unpacks chunks; kept between them for its memory.
pub struct Unpacker(Decompressor<'static>);

impl Unpacker {
    /// An unpacker.
    pub fn new() -> Result<Self, ChunkError> {
        Ok(Self(Decompressor::new().map_err(ChunkError::Unpack)?))
    }

    /// The content of `stored`, which must be exactly `expected` bytes. Never makes more than that.
    pub fn unpack(&mut self, stored: &[u8], expected: usize) -> Result<Vec<u8>, ChunkError> {
        if stored.len() > CHUNK_STORED_BYTES_MAX || find_frame_compressed_size(stored) != Ok(stored.len()) {
            return Err(ChunkError::Frame);
        }
        match get_frame_content_size(stored) {
            Ok(Some(size)) if size == expected as u64 && expected <= CHUNK_BYTES_MAX => {}
            Ok(Some(actual)) => return Err(ChunkError::Size { expected, actual }),
            _ => return Err(ChunkError::Frame),
        }
        let content = self.0.decompress(stored, expected).map_err(ChunkError::Unpack)?;
        if content.len() != expected {
            return Err(ChunkError::Size { expected, actual: content.len() as u64 });
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::{ChunkError, Packer, Unpacker};

    #[test]
    fn packs_the_same_way_twice_and_unpacks_only_what_is_expected() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let (mut one, mut other, mut unpacker) =
            (Packer::new().unwrap(), Packer::new().unwrap(), Unpacker::new().unwrap());
        let stored = one.pack(&content).unwrap();
        one.pack(b"something between").unwrap();
        assert_eq!(stored, one.pack(&content).unwrap());
        assert_eq!(stored, other.pack(&content).unwrap());
        assert_eq!(unpacker.unpack(&stored, content.len()).unwrap(), content);
        assert!(matches!(unpacker.unpack(&stored, 10), Err(ChunkError::Size { .. })));
        let twice = [stored.clone(), stored.clone()].concat();
        assert!(matches!(unpacker.unpack(&twice, content.len()), Err(ChunkError::Frame)));
        assert!(matches!(unpacker.unpack(&stored[..stored.len() - 1], content.len()), Err(ChunkError::Frame)));
        assert!(matches!(unpacker.unpack(b"", 0), Err(ChunkError::Frame)));
    }
}
