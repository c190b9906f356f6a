//! The tar container, written and read without freedom: a name and a size determine all 512 bytes of a header.
//!
//! ```text
//! offset  bytes  field
//!      0    100  name, zero-filled
//!    100      8  mode      "0000444\0"
//!    108      8  uid       "0000000\0"
//!    116      8  gid       "0000000\0"
//!    124     12  size      11 octal digits, zero
//!    136     12  mtime     "00000000000\0"
//!    148      8  checksum  7 octal digits, zero
//!    156      1  type      "0", a file
//!    157    100  link name, zeros
//!    257      8  "ustar\0" "00"
//!    265     64  user and group name, zeros
//!    329     16  device numbers "0000000\0" twice
//!    345    167  prefix and rest, zeros
//! ```
//!
//! Names are compared and never used as paths, so no archive can reach outside of itself.

use crate::limits::VOLUME_BYTES_MAX;

/// Size of a header and unit of padding.
pub const BLOCK_BYTES: usize = 512;
/// Zeros at the end of a volume.
pub const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];
/// Length of the end of a volume.
pub const END_BYTES: u64 = END.len() as u64;

/// Why 512 bytes are not the header that must stand there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeaderError {
    #[error("no size in octal digits stands in the header")]
    Size,
    #[error("size {actual} in the header is above the bound of {limit} bytes")]
    TooLarge { actual: u64, limit: u64 },
    #[error("header is not the one that '{name}' of {size_bytes} bytes must have")]
    Differs { name: String, size_bytes: u64, at_byte: usize },
}

impl HeaderError {
    /// Offset in the header at which it goes wrong.
    pub const fn at_byte(&self) -> usize {
        match self {
            Self::Size | Self::TooLarge { .. } => SIZE_AT,
            Self::Differs { at_byte, .. } => *at_byte,
        }
    }
}

const SIZE_AT: usize = 124;
const SIZE_DIGITS: usize = 11;

/// The header of an entry.
pub fn header(name: &str, size_bytes: u64) -> [u8; BLOCK_BYTES] {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("names of entries are short and relative");
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size_bytes);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_device_major(0).expect("a ustar header has device numbers");
    header.set_device_minor(0).expect("a ustar header has device numbers");
    header.set_cksum();
    *header.as_bytes()
}

/// The size that a header of a foreign volume claims, which may be `limit` at the most.
pub fn parse_size(found: &[u8; BLOCK_BYTES], limit: u64) -> Result<u64, HeaderError> {
    let mut size = 0_u64;
    for digit in &found[SIZE_AT..SIZE_AT + SIZE_DIGITS] {
        if !(b'0'..=b'7').contains(digit) {
            return Err(HeaderError::Size);
        }
        size = size * 8 + u64::from(digit - b'0');
    }
    let limit = limit.min(VOLUME_BYTES_MAX);
    if size > limit { Err(HeaderError::TooLarge { actual: size, limit }) } else { Ok(size) }
}

/// Compares a header with the only one that may stand there.
pub fn check(found: &[u8; BLOCK_BYTES], name: &str, size_bytes: u64) -> Result<(), HeaderError> {
    let expected = header(name, size_bytes);
    match found.iter().zip(&expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at_byte) => Err(HeaderError::Differs { name: name.to_owned(), size_bytes, at_byte }),
    }
}

/// Zeros that follow an entry of `size_bytes`.
#[expect(clippy::cast_possible_truncation, reason = "what is left of a division by a block is below a block")]
pub const fn padding_bytes(size_bytes: u64) -> usize {
    (BLOCK_BYTES - (size_bytes % BLOCK_BYTES as u64) as usize) % BLOCK_BYTES
}

/// What an entry of `size_bytes` takes in the volume: header, content and padding.
pub const fn entry_bytes(size_bytes: u64) -> u64 {
    BLOCK_BYTES as u64 + size_bytes + padding_bytes(size_bytes) as u64
}

#[cfg(test)]
mod tests {
    use super::{HeaderError, check, entry_bytes, header, padding_bytes, parse_size};

    #[test]
    fn the_header_is_the_one_that_is_drawn() {
        let bytes = header("chunks/00000001.zst", 0o1234);
        let mut expected = vec![0_u8; 512];
        let mut put = |at: usize, text: &[u8]| expected[at..at + text.len()].copy_from_slice(text);
        put(0, b"chunks/00000001.zst");
        put(100, b"0000444\x000000000\x000000000\x0000000001234\x0000000000000\0");
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        put(329, b"0000000\x000000000\0");
        let sum: u32 = expected.iter().map(|byte| u32::from(*byte)).sum();
        expected[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
        assert_eq!(bytes.as_slice(), expected);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = header("set.json", 1000);
        assert_eq!(parse_size(&good, 1000).unwrap(), 1000);
        for bit in 0..512 * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = match parse_size(&bad, 1 << 20) {
                Ok(size) => check(&bad, "set.json", size).unwrap_err(),
                Err(error) => error,
            };
            assert!(error.at_byte() < 512);
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(parse_size(&header("a", 11), 10), Err(HeaderError::TooLarge { actual: 11, limit: 10 }));
        assert_eq!(parse_size(&[0; 512], 10), Err(HeaderError::Size));
        assert_eq!(parse_size(&[0xff; 512], 10), Err(HeaderError::Size));
    }

    #[test]
    fn paddings() {
        let check = |size, padding| {
            assert_eq!(padding_bytes(size), padding);
            assert_eq!(entry_bytes(size) % 512, 0);
        };
        check(0, 0);
        check(1, 511);
        check(512, 0);
        check(513, 511);
    }
}
