//! An ended segment, compressed. It reads as the segment that it was: offsets, checksums and hashes are those of the
//! uncompressed bytes, so nothing that names a place in the journal changes.
//!
//! ```text
//! journal/<epoch>-<sequence>.log.zst
//!
//!  0  0x184D2A50, length of what stands before the first chunk behind byte 8, u32
//!  8  "PSTNPACK"
//! 16  version, u32 = 1
//! 20  length of a chunk before compression, u32
//! 24  length of the segment, u64
//! 32  SHA-256 of the segment, 32 bytes
//! 64  where each chunk ends in this file, u64 …
//!  …  CRC-32 over all from byte 8 on, u32
//!  …  chunks, a zstd frame each
//! ```
//!
//! Numbers are little-endian. The beginning is a frame that zstd skips, so `zstd -dc` gives the segment back. Chunks are short
//! so that reading at an offset needs little memory.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::journal::segment_path;
use crate::limits::{JOURNAL_FRAME_BYTES_MAX, JOURNAL_SEGMENT_BYTES, MIB};
use crate::oci::digest::{Algorithm, Digest};
use crate::sys::dir::{Create, Dir, DirError, File, read_exact_at};

/// Ends the name of a segment that is compressed.
pub const SUFFIX: &str = ".zst";
const SKIPPED: u32 = 0x184D_2A50;
const MAGIC: &[u8; 8] = b"PSTNPACK";
const VERSION: u32 = 1;
const MAGIC_AT: usize = 8;
const TABLE_AT: usize = 64;
const CHUNK_BYTES: u64 = MIB as u64;
const LEVEL: i32 = 3;
/// The longest segment there can be: a frame goes into one that is not full yet.
const SEGMENT_BYTES_MAX: u64 = JOURNAL_SEGMENT_BYTES + JOURNAL_FRAME_BYTES_MAX as u64 + 2 * MIB as u64;

/// Where the compressed form of a segment is.
pub fn packed_path(name: &str) -> String {
    format!("{}{SUFFIX}", segment_path(name))
}

/// Where it is on its way.
pub fn unfinished_path(name: &str) -> String {
    format!("{}.new", packed_path(name))
}

/// A segment in either form, as its uncompressed bytes; none where the beginning of a compressed one cannot be read.
#[derive(Debug)]
pub struct Opened {
    pub file: Option<Arc<dyn File>>,
    pub is_packed: bool,
}

/// Opens a segment. Where both forms are there the plain one is read: the other was not finished with.
pub fn open(dir: &dyn Dir, name: &str) -> Result<Opened, DirError> {
    match dir.open(&segment_path(name)) {
        Ok(file) => Ok(Opened { file: Some(file), is_packed: false }),
        Err(plain) if plain.is_not_found() => match PackedSegment::open(dir, &packed_path(name)) {
            Ok(packed) => Ok(Opened { file: packed.map(|packed| Arc::new(packed) as Arc<dyn File>), is_packed: true }),
            Err(error) if error.is_not_found() => Err(plain),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// What stands at the beginning.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    chunk_bytes: u64,
    segment_bytes: u64,
    sha256: [u8; 32],
    ends: Vec<u64>,
}

const fn head_bytes(chunks_count: u64) -> u64 {
    TABLE_AT as u64 + 8 * chunks_count + 4
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let follows = u32::try_from(head_bytes(self.ends.len() as u64) - MAGIC_AT as u64).unwrap_or(u32::MAX);
        let mut bytes = [SKIPPED.to_le_bytes(), follows.to_le_bytes()].concat();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.chunk_bytes).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&self.segment_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.sha256);
        bytes.extend(self.ends.iter().flat_map(|end| end.to_le_bytes()));
        let crc = crc32fast::hash(bytes.get(MAGIC_AT..).unwrap_or_default());
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// How many bytes the head has that begins with `fixed`; none where none does.
    fn len_bytes(fixed: &[u8; TABLE_AT]) -> Option<usize> {
        let number = |at: usize| Some(u32::from_le_bytes(fixed.get(at..at + 4)?.try_into().ok()?));
        let segment_bytes = u64::from_le_bytes(fixed.get(24..32)?.try_into().ok()?);
        let sound = number(0)? == SKIPPED
            && fixed.get(MAGIC_AT..MAGIC_AT + 8)? == MAGIC
            && number(16)? == VERSION
            && u64::from(number(20)?) == CHUNK_BYTES
            && segment_bytes <= SEGMENT_BYTES_MAX;
        let bytes = head_bytes(segment_bytes.div_ceil(CHUNK_BYTES));
        (sound && u64::from(number(4)?) + MAGIC_AT as u64 == bytes).then(|| usize::try_from(bytes).ok())?
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.get(MAGIC_AT..)?.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(covered) {
            return None;
        }
        let table = bytes.get(TABLE_AT..bytes.len() - 4)?;
        let ends: Option<Vec<u64>> =
            table.chunks_exact(8).map(|eight| Some(u64::from_le_bytes(eight.try_into().ok()?))).collect();
        let mut before = bytes.len() as u64;
        let ends = ends?;
        for end in &ends {
            // What does not shrink grows by less than this.
            let in_order = before < *end && end - before <= 2 * CHUNK_BYTES;
            before = in_order.then_some(*end)?;
        }
        Some(Self {
            chunk_bytes: CHUNK_BYTES,
            segment_bytes: u64::from_le_bytes(bytes.get(24..32)?.try_into().ok()?),
            sha256: bytes.get(32..TABLE_AT)?.try_into().ok()?,
            ends,
        })
    }
}

/// A compressed segment that reads as if it were not.
#[derive(Debug)]
struct PackedSegment {
    file: Arc<dyn File>,
    head: Head,
    /// The last chunk that was read.
    chunk: Mutex<Option<(usize, Vec<u8>)>>,
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a compressed piece of the journal is damaged")
}

impl PackedSegment {
    fn open(dir: &dyn Dir, path: &str) -> Result<Option<Self>, DirError> {
        let failed = |source| DirError { operation: "read", path: path.to_owned(), source };
        let file = dir.open(path)?;
        let len_bytes = file.len_bytes().map_err(failed)?;
        let mut fixed = [0; TABLE_AT];
        if len_bytes < TABLE_AT as u64 {
            return Ok(None);
        }
        read_exact_at(file.as_ref(), &mut fixed, 0).map_err(failed)?;
        let Some(bytes) = Head::len_bytes(&fixed).filter(|bytes| *bytes as u64 <= len_bytes) else { return Ok(None) };
        let mut head = vec![0; bytes];
        read_exact_at(file.as_ref(), &mut head, 0).map_err(failed)?;
        Ok(Head::parse(&head).map(|head| Self { file, head, chunk: Mutex::new(None) }))
    }

    fn unpack(&self, number: usize) -> io::Result<Vec<u8>> {
        let ends = &self.head.ends;
        let end = *ends.get(number).ok_or_else(damaged)?;
        let begin = match number.checked_sub(1) {
            Some(before) => *ends.get(before).ok_or_else(damaged)?,
            None => head_bytes(ends.len() as u64),
        };
        let mut packed = vec![0; usize::try_from(end - begin).map_err(|_| damaged())?];
        read_exact_at(self.file.as_ref(), &mut packed, begin)?;
        let wanted = (self.head.segment_bytes - number as u64 * CHUNK_BYTES).min(CHUNK_BYTES);
        let wanted = usize::try_from(wanted).map_err(|_| damaged())?;
        let chunk = zstd::bulk::decompress(&packed, wanted).map_err(|_| damaged())?;
        if chunk.len() == wanted { Ok(chunk) } else { Err(damaged()) }
    }

    /// Whether all of it unpacks to what it was made from.
    fn is_sound(&self) -> bool {
        self.file.drop_cache();
        hash(self).is_ok_and(|digest| digest.raw() == self.head.sha256)
    }
}

impl File for PackedSegment {
    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        if offset_bytes >= self.head.segment_bytes || buffer.is_empty() {
            return Ok(0);
        }
        let number = usize::try_from(offset_bytes / CHUNK_BYTES).map_err(|_| damaged())?;
        let mut kept = self.chunk.lock().unwrap_or_else(PoisonError::into_inner);
        let chunk = match kept.take().filter(|(at, _)| *at == number) {
            Some((_, chunk)) => chunk,
            None => self.unpack(number)?,
        };
        let from = usize::try_from(offset_bytes % CHUNK_BYTES).map_err(|_| damaged())?;
        let rest = chunk.get(from..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        *kept = Some((number, chunk));
        Ok(count)
    }

    fn write_at(&self, _bytes: &[u8], _offset_bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.head.segment_bytes)
    }

    fn set_len(&self, _len_bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn start_write_back(&self, _offset_bytes: u64, _len_bytes: u64) {}

    fn drop_cache(&self) {
        self.file.drop_cache();
    }
}

fn hash(file: &dyn File) -> io::Result<Digest> {
    Ok(super::blobs::hash(file, Algorithm::Sha256)?.0)
}

/// What compressing a segment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub bytes: u64,
    pub packed_bytes: u64,
    /// It lies under its unfinished name. Otherwise it was there already, whole.
    pub is_new: bool,
}

/// Compresses an ended segment, durable under its unfinished name, and reads it back from the device.
pub fn write(dir: &dyn Dir, name: &str) -> Result<Written, DirError> {
    let path = unfinished_path(name);
    let failed = |source| DirError { operation: "compress", path: segment_path(name), source };
    let source = dir.open(&segment_path(name))?;
    let segment_bytes = source.len_bytes().map_err(failed)?;
    // Killed between the two names of an earlier attempt.
    if dir.stat(&packed_path(name))?.is_some()
        && let Some(there) = PackedSegment::open(dir, &packed_path(name))?
        && hash(source.as_ref()).map_err(failed)?.raw() == there.head.sha256
        && there.is_sound()
    {
        let packed_bytes = there.file.len_bytes().map_err(failed)?;
        return Ok(Written { bytes: segment_bytes, packed_bytes, is_new: false });
    }
    let target = dir.open_write(&path, Create::Missing)?;
    target.set_len(0).map_err(failed)?;
    let packed_bytes = write_chunks(source.as_ref(), target.as_ref(), segment_bytes).map_err(failed)?;
    target.sync_data().map_err(failed)?;
    let sound = PackedSegment::open(dir, &path)?.is_some_and(|packed| packed.is_sound());
    if !sound {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it does not read back as it was written")));
    }
    Ok(Written { bytes: segment_bytes, packed_bytes, is_new: true })
}

fn write_chunks(source: &dyn File, target: &dyn File, segment_bytes: u64) -> io::Result<u64> {
    let chunks_count = segment_bytes.div_ceil(CHUNK_BYTES);
    let mut at = head_bytes(chunks_count);
    let mut hasher = Algorithm::Sha256.hasher();
    let mut ends = Vec::new();
    for number in 0..chunks_count {
        let wanted = (segment_bytes - number * CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = vec![0; usize::try_from(wanted).map_err(|_| damaged())?];
        read_exact_at(source, &mut chunk, number * CHUNK_BYTES)?;
        hasher.update(&chunk);
        let packed = zstd::bulk::compress(&chunk, LEVEL)?;
        target.write_at(&packed, at)?;
        at += packed.len() as u64;
        ends.push(at);
    }
    let sha256 = hasher.finish().raw().try_into().map_err(|_| damaged())?;
    target.write_at(&Head { chunk_bytes: CHUNK_BYTES, segment_bytes, sha256, ends }.encode(), 0)?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::{Head, PackedSegment, TABLE_AT, hash, open, packed_path, unfinished_path, write};
    use crate::sys::dir::{Create, Dir, File, read_bounded, read_exact_at, replace};
    use crate::sys::dir_simulated::SimulatedDir;

    const NAME: &str = "0000000001-00000000000000000001.log";

    fn segment(dir: &dyn Dir, bytes: &[u8]) {
        dir.create_dir_all("journal").unwrap();
        replace(dir, &format!("journal/{NAME}"), bytes).unwrap();
    }

    fn packed(dir: &dyn Dir) -> PackedSegment {
        PackedSegment::open(dir, &unfinished_path(NAME)).unwrap().unwrap()
    }

    #[test]
    fn a_segment_reads_as_it_was_at_every_offset_and_zstd_reads_it_too() {
        let dir = SimulatedDir::default();
        for length in [0, 1, 5_000, (1 << 20) - 1, 1 << 20, (2 << 20) + 77] {
            let bytes: Vec<u8> =
                (0..length).map(|at: usize| u8::try_from((at / 700 * 31 + at) % 251).unwrap()).collect();
            segment(&dir, &bytes);
            let written = write(&dir, NAME).unwrap();
            assert!(written.is_new && written.bytes == length as u64);
            let read = packed(&dir);
            assert!(read.is_sound());
            assert_eq!(hash(&read).unwrap(), crate::oci::digest::Digest::of(&bytes));
            for at in [0, 1, 4_096, (1 << 20) - 3, 1 << 20, length.saturating_sub(9)] {
                let mut found = vec![0; 9.min(length.saturating_sub(at))];
                read_exact_at(&read, &mut found, at as u64).unwrap();
                assert_eq!(found, bytes.get(at..at + found.len()).unwrap_or_default(), "{length} at {at}");
            }
            assert_eq!(read.read_at(&mut [0; 4], length as u64).unwrap(), 0);
            let stored = read_bounded(&dir, &unfinished_path(NAME), 4 << 20).unwrap();
            assert_eq!(zstd::decode_all(stored.as_slice()).unwrap(), bytes);
        }
    }

    #[test]
    fn no_flipped_bit_is_taken_for_the_segment() {
        let dir = SimulatedDir::default();
        segment(&dir, b"{\"one\":1}\n{\"two\":2}\n");
        write(&dir, NAME).unwrap();
        let path = unfinished_path(NAME);
        let sound = read_bounded(&dir, &path, 4_096).unwrap();
        for at in 0..sound.len() {
            let mut flipped = sound.clone();
            flipped[at] ^= 1;
            replace(&dir, &path, &flipped).unwrap();
            let read = PackedSegment::open(&dir, &path).unwrap();
            assert!(read.is_none_or(|read| !read.is_sound()), "byte {at}");
        }
        for length in 0..sound.len() {
            replace(&dir, &path, &sound[..length]).unwrap();
            let read = PackedSegment::open(&dir, &path).unwrap();
            assert!(read.is_none_or(|read| !read.is_sound()), "cut to {length}");
        }
    }

    #[test]
    fn an_attempt_that_was_killed_between_its_names_is_gone_on_with() {
        let dir = SimulatedDir::default();
        segment(&dir, &[7; 9_000]);
        assert!(open(&dir, "no.log").unwrap_err().is_not_found());
        write(&dir, NAME).unwrap();
        dir.rename(&unfinished_path(NAME), &packed_path(NAME)).unwrap();
        assert!(!open(&dir, NAME).unwrap().is_packed, "the plain one is as good as it ever was");
        assert!(!write(&dir, NAME).unwrap().is_new);
        dir.open_write(&packed_path(NAME), Create::Existing).unwrap().write_at(&[1], TABLE_AT as u64 + 20).unwrap();
        assert!(write(&dir, NAME).unwrap().is_new, "one that is not whole is made anew");
        dir.remove(&format!("journal/{NAME}")).unwrap();
        dir.rename(&unfinished_path(NAME), &packed_path(NAME)).unwrap();
        let opened = open(&dir, NAME).unwrap();
        assert!(opened.is_packed && opened.file.unwrap().len_bytes().unwrap() == 9_000);
    }

    /// WHY: the second format wrote these bytes, so they are never changed.
    #[test]
    fn the_head_stays_as_it_is() {
        let head = Head { chunk_bytes: 1 << 20, segment_bytes: 3, sha256: [2; 32], ends: vec![100] };
        let bytes = head.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let twos = "02".repeat(32);
        let expected =
            format!("502a4d18440000005053544e5041434b01000000000010000300000000000000{twos}6400000000000000");
        assert_eq!(hex[..hex.len() - 8], expected);
        assert_eq!(Head::parse(&bytes), Some(head));
    }
}
