//! Zeros, with noise at known places: any part of it can be made again from its offset alone.
//!
//! The noise is what volumes are made of, since zeros take no room on a medium; and each word of it depends on its
//! whole 64-bit offset, so that bytes from 4 GiB further on or back are other bytes.

use sha2::{Digest, Sha256};

pub const MIB: u64 = 1024 * 1024;

const STRETCHES_COUNT: u64 = 64;
/// Where offsets stop to fit.
const BEYOND_32_BITS: u64 = 1 << 32;
/// Noise on both sides of the place that matters, and before the end.
const EDGE_BYTES: u64 = 4096;

#[derive(Debug, Clone)]
pub struct Content {
    pub size_bytes: u64,
    /// 2^32 where there is so much, otherwise the middle.
    pub boundary: u64,
}

impl Content {
    pub fn of(size_bytes: u64) -> Self {
        assert!(size_bytes >= 16 * MIB, "{size_bytes} bytes are no large blob");
        let boundary = if size_bytes > BEYOND_32_BITS + 8 * MIB { BEYOND_32_BITS } else { size_bytes / 2 };
        Self { size_bytes, boundary }
    }

    /// How much cannot be compressed.
    pub const fn noise_bytes(&self) -> u64 {
        STRETCHES_COUNT * self.stretch_bytes()
    }

    const fn stretch_bytes(&self) -> u64 {
        let part = self.size_bytes / 10_240;
        if part < 65_536 { 65_536 } else { part }
    }

    fn noisy(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let (stretch, period) = (self.stretch_bytes(), self.size_bytes / STRETCHES_COUNT);
        let edges =
            [(self.boundary - EDGE_BYTES, self.boundary + EDGE_BYTES), (self.size_bytes - EDGE_BYTES, self.size_bytes)];
        (0..STRETCHES_COUNT).map(move |index| (index * period, index * period + stretch)).chain(edges)
    }

    fn fill(&self, at_byte: u64, buffer: &mut [u8]) {
        buffer.fill(0);
        let end = at_byte + buffer.len() as u64;
        for (first, behind) in self.noisy() {
            for position in first.max(at_byte)..behind.min(end) {
                let index = usize::try_from(position - at_byte).expect("it lies in the buffer");
                buffer[index] = noise(position);
            }
        }
    }

    /// A part of it.
    pub fn bytes(&self, at_byte: u64, len_bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; len_bytes];
        self.fill(at_byte, &mut buffer);
        buffer
    }

    /// All of it in order, hashed as it goes.
    pub fn sender(&self) -> Sender {
        Sender { content: self.clone(), hasher: Hasher::new() }
    }
}

/// One of eight bytes of a mixed word (splitmix64's last step).
fn noise(position: u64) -> u8 {
    let mut word = (position / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)).to_le_bytes()[(position % 8) as usize]
}

pub struct Sender {
    content: Content,
    hasher: Hasher,
}

impl Sender {
    /// The next bytes, up to `end_byte` of the whole; gives their number.
    pub fn fill(&mut self, piece: &mut [u8], end_byte: u64) -> usize {
        let at_byte = self.hasher.bytes();
        let length = piece.len().min(usize::try_from(end_byte - at_byte).unwrap_or(usize::MAX));
        self.content.fill(at_byte, &mut piece[..length]);
        self.hasher.update(&piece[..length]);
        length
    }

    /// Of what was sent.
    pub fn digest(self) -> String {
        self.hasher.digest()
    }
}

/// SHA-256 with a count.
pub struct Hasher {
    hasher: Sha256,
    bytes: u64,
}

impl Hasher {
    pub fn new() -> Self {
        Self { hasher: Sha256::new(), bytes: 0 }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn digest(self) -> String {
        let hex: String = self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, MIB};

    #[test]
    fn every_part_is_the_same_however_it_is_asked_for() {
        let content = Content::of(5 << 30);
        let at = content.boundary;
        let whole = content.bytes(at - 100, 200);
        assert_eq!(content.bytes(at, 100), whole[100..]);
        assert_ne!(content.bytes(at, 64), content.bytes(0, 64), "4 GiB apart");
        assert!(content.bytes(at + MIB, 64).iter().all(|byte| *byte == 0));
        assert!(content.bytes((5 << 30) - 8, 8).iter().any(|byte| *byte != 0));
    }
}
