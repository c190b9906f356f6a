//! The gzip format (RFC 1952) without compression: a frame around bytes as they are. Pure.
//!
//! Some clients take no layer in another form, and others would compress a plain one when they copy it, which changes its
//! digest. What a compressor makes changes with its version; these bytes never do.
//!
//! ```text
//! 1f 8b 08 00  00 00 00 00  00 ff        head: deflate, no flags, no time, no system
//! 00  LEN  !LEN  LEN bytes               a stored block (RFC 1951, 3.2.4) of 65535 bytes, as often as it takes
//! 01  LEN  !LEN  LEN bytes               the last one, which may be empty
//! CRC32  length                          of all bytes; the length modulo 2^32
//! ```

const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const BLOCK_BYTES: u16 = u16::MAX;

/// A frame that is being written.
#[derive(Debug)]
pub struct Gzip {
    checksum: crc32fast::Hasher,
    length_bytes: u32,
    block: Vec<u8>,
    /// What is ready to be written.
    ready: Vec<u8>,
}

impl Gzip {
    /// The beginning of a frame.
    pub fn begin() -> Self {
        let block = Vec::with_capacity(usize::from(BLOCK_BYTES));
        Self { checksum: crc32fast::Hasher::new(), length_bytes: 0, block, ready: HEAD.to_vec() }
    }

    /// Takes in the next piece. How the whole was cut into pieces does not show in what comes out.
    pub fn push(&mut self, mut piece: &[u8]) {
        self.checksum.update(piece);
        while !piece.is_empty() {
            let room = usize::from(BLOCK_BYTES) - self.block.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.block.extend_from_slice(now);
            piece = later;
            if self.block.len() == usize::from(BLOCK_BYTES) {
                self.close_block(false);
            }
        }
    }

    /// What can be written by now.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ready)
    }

    /// The rest of the frame.
    pub fn finish(mut self) -> Vec<u8> {
        self.close_block(true);
        self.ready.extend_from_slice(&self.checksum.finalize().to_le_bytes());
        self.ready.extend_from_slice(&self.length_bytes.to_le_bytes());
        self.ready
    }

    fn close_block(&mut self, is_last: bool) {
        let length = u16::try_from(self.block.len()).expect("a block is closed when it is full");
        self.length_bytes = self.length_bytes.wrapping_add(u32::from(length));
        self.ready.push(u8::from(is_last));
        self.ready.extend_from_slice(&length.to_le_bytes());
        self.ready.extend_from_slice(&(!length).to_le_bytes());
        self.ready.append(&mut self.block);
    }
}

/// What a frame of ours holds.
#[cfg(test)]
pub(super) fn unframed(frame: &[u8]) -> Vec<u8> {
    let (mut at, mut content) = (HEAD.len(), Vec::new());
    assert_eq!(frame[..at], HEAD);
    loop {
        let length = u16::from_le_bytes([frame[at + 1], frame[at + 2]]);
        assert_eq!(u16::from_le_bytes([frame[at + 3], frame[at + 4]]), !length);
        content.extend_from_slice(&frame[at + 5..at + 5 + usize::from(length)]);
        let is_last = frame[at] == 1;
        at += 5 + usize::from(length);
        if is_last {
            break;
        }
    }
    let length = u32::try_from(content.len()).unwrap();
    assert_eq!(frame[at..], [crc32fast::hash(&content).to_le_bytes(), length.to_le_bytes()].concat());
    content
}

#[cfg(test)]
mod tests {
    use super::{Gzip, unframed};

    fn framed(content: &[u8], piece_bytes: usize) -> Vec<u8> {
        let (mut gzip, mut frame) = (Gzip::begin(), Vec::new());
        for piece in content.chunks(piece_bytes) {
            gzip.push(piece);
            frame.append(&mut gzip.take());
        }
        frame.append(&mut gzip.finish());
        frame
    }

    #[test]
    fn what_goes_in_comes_out_however_it_was_cut() {
        for length in [0, 1, 65_534, 65_535, 65_536, 131_070, 200_000] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            let frame = framed(&content, 1_000);
            assert_eq!(unframed(&frame), content);
            assert_eq!(framed(&content, 77_777), frame);
        }
    }

    /// The bytes of `printf abc | gzip -n`, but stored: head, block, and the checksum that every implementation knows.
    #[test]
    fn the_frame_is_the_one_that_is_drawn() {
        let frame = framed(b"abc", 3);
        let expected = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x03\0\xfc\xffabc\xc2\x41\x24\x35\x03\0\0\0";
        assert_eq!(frame, expected);
    }
}
