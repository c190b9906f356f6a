//! The journal's bytes: segments and frames. Pure.
//!
//! ```text
//! segment   header block │ frame │ frame │ … │ zeros, written ahead
//!
//! header    0  "PSTNJRNL"                    frame   0  "PFRM"
//!           8  version, u32 = 1                      4  payload length, u32
//!          12  zero, u32                             8  sequence of its first event, u64
//!          16  salt, u64                            16  number of events, u32
//!          24  epoch, u64                           20  zero, u32
//!          32  sequence of its first event, u64     24  salt of its segment, u64
//!          40  journal id, 32 bytes of text         32  CRC-32 over bytes 0..32 and the payload, u32
//!          72  SHA-256 of the event before, 32      36  payload: one event a line, as JSON
//!         104  CRC-32 over bytes 0..104, u32         …  zeros up to the next block
//! ```
//!
//! Numbers are little-endian. A header and every frame begin at a multiple of 4 KiB, so that no write touches a block
//! that holds what was acknowledged, and so that a frame behind bad bytes can be looked for. The salt is new in every
//! segment: bytes of an older life of the same disk blocks are never taken for a frame.

use crate::limits::JOURNAL_FRAME_BYTES_MAX;

/// What headers and frames are aligned to.
pub const BLOCK_BYTES: usize = 4096;
/// Length of the fixed part of a frame.
pub const FRAME_HEAD_BYTES: usize = 36;
const SEGMENT_MAGIC: &[u8; 8] = b"PSTNJRNL";
const FRAME_MAGIC: &[u8; 4] = b"PFRM";
const VERSION: u32 = 1;
const FRAME_CRC_AT: usize = 32;
const SEGMENT_CRC_AT: usize = 104;
const JOURNAL_ID_BYTES: usize = 32;
/// Stands for "no event before".
const NO_HASH: [u8; 32] = [0; 32];

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    pub salt: u64,
    pub epoch: u64,
    pub first_sequence: u64,
    pub journal_id: String,
    /// SHA-256 of the event before the first; none in the first segment of all.
    pub previous: Option<[u8; 32]>,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub payload_bytes: usize,
    pub first_sequence: u64,
    pub event_count: u32,
    crc: u32,
}

/// The least multiple of the block size that holds `bytes`.
pub const fn padded(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl SegmentHead {
    /// The header block.
    pub fn encode(&self) -> Vec<u8> {
        assert_eq!(self.journal_id.len(), JOURNAL_ID_BYTES, "a journal id is 32 letters, because it is made here");
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(SEGMENT_MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&self.salt.to_le_bytes());
        block.extend_from_slice(&self.epoch.to_le_bytes());
        block.extend_from_slice(&self.first_sequence.to_le_bytes());
        block.extend_from_slice(self.journal_id.as_bytes());
        block.extend_from_slice(&self.previous.unwrap_or(NO_HASH));
        let crc = crc32fast::hash(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Reads a header block; `None` where it is not a whole and correct one.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let sound = block.starts_with(SEGMENT_MAGIC)
            && u32_at(block, 8)? == VERSION
            && u32_at(block, SEGMENT_CRC_AT)? == crc32fast::hash(block.get(..SEGMENT_CRC_AT)?);
        if !sound {
            return None;
        }
        let previous: [u8; 32] = block.get(72..SEGMENT_CRC_AT)?.try_into().ok()?;
        Some(Self {
            salt: u64_at(block, 16)?,
            epoch: u64_at(block, 24)?,
            first_sequence: u64_at(block, 32)?,
            journal_id: std::str::from_utf8(block.get(40..72)?).ok()?.to_owned(),
            previous: (previous != NO_HASH).then_some(previous),
        })
    }
}

/// A whole frame, padded.
pub fn encode(salt: u64, first_sequence: u64, event_count: u32, payload: &[u8]) -> Vec<u8> {
    let payload_bytes = u32::try_from(payload.len()).expect("the sequencer keeps a payload within its limit");
    let mut frame = Vec::with_capacity(padded(FRAME_HEAD_BYTES + payload.len()));
    frame.extend_from_slice(FRAME_MAGIC);
    frame.extend_from_slice(&payload_bytes.to_le_bytes());
    frame.extend_from_slice(&first_sequence.to_le_bytes());
    frame.extend_from_slice(&event_count.to_le_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&salt.to_le_bytes());
    let crc = crc_of(&frame, payload);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(payload);
    frame.resize(padded(frame.len()), 0);
    frame
}

fn crc_of(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

impl FrameHead {
    /// Reads the fixed part of a frame; `None` where none of this segment begins here.
    pub fn parse(bytes: &[u8], salt: u64) -> Option<Self> {
        let head = Self {
            payload_bytes: usize::try_from(u32_at(bytes, 4)?).ok()?,
            first_sequence: u64_at(bytes, 8)?,
            event_count: u32_at(bytes, 16)?,
            crc: u32_at(bytes, FRAME_CRC_AT)?,
        };
        let sound = bytes.starts_with(FRAME_MAGIC)
            && u64_at(bytes, 24)? == salt
            && head.payload_bytes <= JOURNAL_FRAME_BYTES_MAX
            && head.event_count > 0;
        sound.then_some(head)
    }

    /// Whether `payload` is the one that belongs to the fixed part `bytes`.
    pub fn matches(&self, bytes: &[u8], payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes
            && bytes.get(..FRAME_CRC_AT).is_some_and(|head| crc_of(head, payload) == self.crc)
    }

    /// Length of the whole frame with its padding.
    pub const fn frame_bytes(&self) -> u64 {
        padded(FRAME_HEAD_BYTES + self.payload_bytes) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, FRAME_HEAD_BYTES, FrameHead, SegmentHead, encode};

    const HEADER: &str = "fc55dff4397d1629d1b589aa622dfc7e23d087fb960e4dc5216a3292934ac11b";
    const FRAME: &str = "64d4265bf6f60d3fd4d83222cecd47d8e5104c59c8460e51d10d5fe1f9de529e";

    fn segment() -> SegmentHead {
        SegmentHead { salt: 7, epoch: 1, first_sequence: 3, journal_id: "0".repeat(32), previous: Some([1; 32]) }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let block = segment().encode();
        assert_eq!(SegmentHead::parse(&block), Some(segment()));
        for at in (0..108).filter(|at| !(12..16).contains(at)) {
            let mut flipped = block.clone();
            flipped[at] ^= 1;
            assert_ne!(SegmentHead::parse(&flipped), Some(segment()), "byte {at}");
        }
        assert_eq!(SegmentHead::parse(&[]), None);
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed() {
        let frame = encode(7, 3, 2, b"{}\n{}\n");
        assert_eq!(frame.len(), BLOCK_BYTES);
        let whole = |frame: &[u8], salt| {
            FrameHead::parse(frame, salt).is_some_and(|head| {
                frame
                    .get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + head.payload_bytes)
                    .is_some_and(|payload| head.matches(frame, payload))
            })
        };
        assert!(whole(&frame, 7));
        assert!(!whole(&frame, 8), "a frame of another segment");
        for at in 0..FRAME_HEAD_BYTES + 6 {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            assert!(!whole(&flipped, 7), "byte {at}");
        }
    }

    /// WHY: the first release wrote these bytes. A journal of it must always be read, so they are never changed; what a later
    /// version writes gets another version.
    #[test]
    fn the_first_format_stays_as_it_is() {
        let digest = |bytes: &[u8]| crate::oci::digest::Digest::of(bytes).hex();
        let header = segment().encode();
        assert_eq!(digest(&header), HEADER);
        assert_eq!(SegmentHead::parse(&header), Some(segment()));
        assert_eq!(digest(&encode(7, 3, 2, b"{}\n{}\n")), FRAME);
    }

    #[test]
    fn no_input_panics() {
        for length in 0..FRAME_HEAD_BYTES + 2 {
            let bytes = vec![0xff; length];
            assert_eq!(FrameHead::parse(&bytes, u64::MAX), None);
            assert_eq!(SegmentHead::parse(&bytes), None);
        }
    }
}
