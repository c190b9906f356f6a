//! The names in a tar archive, in one pass and without unpacking anything.
//!
//! Container runtimes unpack with Go's reader, and what this one sees must be what that one unpacks: whatever could be read
//! in two ways (a link with content, a checksum that is wrong, two names for one entry, a file with holes, an archive that goes on
//! behind its end) refuses the layer.
//!
//! ```text
//! header     512 bytes: name, size in octal or base 256, type, checksum
//! content    size bytes, padded to 512
//! …
//! end        two blocks of zeros, or the end of the bytes
//! ```
//! Headers of type `x` hold names and sizes of the next entry as `LENGTH KEY=VALUE\n`, those of type `L` a long name.

use std::io::Read;
use std::ops::Range;

use tar::Header;

use super::LayerError;
use crate::limits::{LAYER_ENTRIES_COUNT_MAX, LAYER_HEADER_BYTES_MAX, LAYER_PATH_BYTES_MAX};

const BLOCK_BYTES: usize = 512;
/// The byte that says what an entry is. The oldest archives have a NUL there, which is not the same as a `0`.
const KIND_AT: usize = 156;
/// Magic and version of a header, and what ends one of star's.
const MAGIC: Range<usize> = 257..263;
const MAGIC_AND_VERSION: Range<usize> = 257..265;
const VERSION: Range<usize> = 263..265;
const TRAILER: Range<usize> = 508..512;
/// Times of access and change in GNU's header. Where they are no numbers, Go takes a part of a name for what stands there.
const GNU_TIMES: [Range<usize>; 2] = [345..357, 357..369];
/// What describes a file with holes. Its name and size are others than those that stand in the header.
const SPARSE: &[u8] = b"GNU.sparse.";

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From the root of the image, without a slash before or behind it; empty for the root itself.
    pub path: String,
    pub is_file: bool,
    pub is_directory: bool,
    /// Bytes of its content.
    pub size_bytes: u64,
}

/// An archive that is being read.
pub struct Archive<R> {
    source: R,
    entries_left: usize,
    /// What is left of the entry's content, and the padding behind it.
    content_left: u64,
    padding_left: u64,
}

/// What stands before an entry and speaks of it.
#[derive(Default)]
struct Before {
    has_records: bool,
    path: Option<Vec<u8>>,
    long_name: Option<Vec<u8>>,
    size_bytes: Option<u64>,
}

impl<R: Read> Archive<R> {
    /// An archive from its first byte.
    pub const fn new(source: R) -> Self {
        Self { source, entries_left: LAYER_ENTRIES_COUNT_MAX, content_left: 0, padding_left: 0 }
    }

    /// Where the archive is read from.
    pub const fn source(&self) -> &R {
        &self.source
    }

    /// The next entry; what is left of the one before is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut before = Before::default();
        loop {
            self.skip(self.content_left.saturating_add(self.padding_left))?;
            (self.content_left, self.padding_left) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            self.entries_left = self.entries_left.checked_sub(1).ok_or(LayerError::TooMany("entries"))?;
            let size = header.entry_size().map_err(|_| LayerError::Archive("a size is no number"))?;
            match header.as_bytes()[KIND_AT] {
                b'x' | b'L' | b'g' if before.names_an_entry() => {
                    return Err(LayerError::Archive("more than one header speaks of the name of an entry"));
                }
                b'x' => {
                    let bytes = self.small(size, LAYER_HEADER_BYTES_MAX)?;
                    before.read_records(&bytes)?;
                }
                b'L' => before.long_name = Some(long_name(&self.small(size, LAYER_HEADER_BYTES_MAX)?)?),
                b'S' => return Err(HOLES),
                // A long name of a link's target, and what holds for all entries: neither names a file.
                b'K' | b'g' => self.announce(size),
                _ => return self.entry(&header, before, size).map(Some),
            }
        }
    }

    /// The whole content of the entry, where it is no longer than `limit_bytes`.
    pub fn content(&mut self, limit_bytes: usize) -> Result<Option<Vec<u8>>, LayerError> {
        let Some(len) = usize::try_from(self.content_left).ok().filter(|len| *len <= limit_bytes) else {
            return Ok(None);
        };
        let mut bytes = vec![0; len];
        self.source.read_exact(&mut bytes).map_err(LayerError::Read)?;
        self.content_left = 0;
        Ok(Some(bytes))
    }

    fn entry(&mut self, header: &Header, before: Before, own_size: u64) -> Result<Entry, LayerError> {
        let kind = header.as_bytes()[KIND_AT];
        let size_bytes = before.size_bytes.unwrap_or(own_size);
        let bytes = match (before.path, before.long_name) {
            (Some(path), _) => path,
            (None, Some(name)) => name,
            (None, None) => header.path_bytes().into_owned(),
        };
        let is_directory_by_name = bytes.ends_with(b"/");
        if matches!(kind, b'1'..=b'6') && size_bytes != 0 {
            return Err(LayerError::Archive("a link, a device or a directory has content"));
        }
        if matches!(kind, b'0' | b'7' | 0) && is_directory_by_name && size_bytes != 0 {
            return Err(LayerError::Archive("a directory has content"));
        }
        self.announce(size_bytes);
        let is_file = matches!(kind, b'0' | b'7' | 0) && !is_directory_by_name;
        // Go takes a slash behind a name for a directory in archives of the oldest kind alone.
        let is_directory = kind == b'5' || (kind == 0 && is_directory_by_name);
        Ok(Entry { path: path(&bytes)?, is_file, is_directory, size_bytes })
    }

    /// Remembers how much content follows.
    fn announce(&mut self, size_bytes: u64) {
        self.content_left = size_bytes;
        self.padding_left = size_bytes.wrapping_neg() % BLOCK_BYTES as u64;
    }

    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let mut block = [0; BLOCK_BYTES];
        if !self.fill(&mut block)? {
            return Ok(None);
        }
        if block.iter().all(|byte| *byte == 0) {
            let ends = !self.fill(&mut block)? || block.iter().all(|byte| *byte == 0);
            return if ends { Ok(None) } else { Err(LayerError::Archive("it goes on behind a block of zeros")) };
        }
        match checked(&block) {
            Some(header) => check_kind(&block).map(|()| Some(header)),
            None => Err(LayerError::Archive("the checksum of a header is wrong, or it is no archive at all")),
        }
    }

    /// Fills a block; `false` where the bytes end before it.
    fn fill(&mut self, block: &mut [u8; BLOCK_BYTES]) -> Result<bool, LayerError> {
        let mut done = 0;
        while done < BLOCK_BYTES {
            match self.source.read(&mut block[done..]) {
                Ok(0) if done == 0 => return Ok(false),
                Ok(0) => return Err(LayerError::Archive("it ends within a block")),
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayerError::Read(error)),
            }
        }
        Ok(true)
    }

    fn small(&mut self, size: u64, limit_bytes: usize) -> Result<Vec<u8>, LayerError> {
        self.announce(size);
        self.content(limit_bytes)?.ok_or(LayerError::Archive("a header is longer than is read"))
    }

    fn skip(&mut self, count: u64) -> Result<(), LayerError> {
        let skipped = std::io::copy(&mut self.source.by_ref().take(count), &mut std::io::sink());
        match skipped.map_err(LayerError::Read)? {
            skipped if skipped == count => Ok(()),
            _ => Err(LayerError::Archive("it ends within a file")),
        }
    }
}

const HOLES: LayerError = LayerError::Archive("a file has holes, which readers describe differently");

/// The header in a block whose checksum is right, as whoever unpacks it would ask.
fn checked(block: &[u8; BLOCK_BYTES]) -> Option<Header> {
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    let sum = |block: &[u8]| block.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    // The checksum's own eight bytes count as spaces.
    let actual = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
    (header.cksum().ok()? == actual).then_some(header)
}

/// Whether bytes begin as an archive does, whatever else they may be as well: a text can be one.
pub fn begins_an_archive(bytes: &[u8]) -> bool {
    bytes.first_chunk::<BLOCK_BYTES>().is_some_and(|block| checked(block).is_some())
}

/// Whether all readers agree on the kind of a header, and so on whether its name goes on elsewhere in it.
fn check_kind(block: &[u8; BLOCK_BYTES]) -> Result<(), LayerError> {
    if &block[MAGIC] == b"ustar\0" && &block[VERSION] != b"00" {
        return Err(LayerError::Archive("a header has an unknown version"));
    }
    if &block[MAGIC] == b"ustar\0" && &block[TRAILER] == b"tar\0" {
        return Err(LayerError::Archive("a header is of the kind that star writes"));
    }
    let is_number = |field: Range<usize>| {
        let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
        let mut rest =
            block[field].iter().skip_while(|byte| is_blank(byte)).skip_while(|byte| matches!(byte, b'0'..=b'7'));
        rest.all(is_blank)
    };
    if &block[MAGIC_AND_VERSION] == b"ustar  \0" && !GNU_TIMES.into_iter().all(is_number) {
        return Err(LayerError::Archive("a time in a header is no number"));
    }
    Ok(())
}

/// The name in the content of a header of type `L`: up to the first NUL. Go passes over one that is empty.
fn long_name(bytes: &[u8]) -> Result<Vec<u8>, LayerError> {
    match bytes.split(|byte| *byte == 0).next() {
        Some(name) if !name.is_empty() => Ok(name.to_vec()),
        _ => Err(LayerError::Archive("a long name is empty")),
    }
}

impl Before {
    /// Whether a name may already be there. Readers differ in which of two counts, and in what a header between them ends.
    const fn names_an_entry(&self) -> bool {
        self.has_records || self.long_name.is_some()
    }

    fn read_records(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        const WRONG: LayerError = LayerError::Archive("an extended header cannot be read");
        self.has_records = true;
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or(WRONG)?;
            let len =
                std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse::<usize>().ok()).ok_or(WRONG)?;
            let record = bytes.get(space + 1..len).and_then(|record| record.strip_suffix(b"\n")).ok_or(WRONG)?;
            bytes = &bytes[len..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                // Go takes an empty value for a key that is left out again.
                b"path" if value.is_empty() => self.path = None,
                b"path" if value.contains(&0) => return Err(WRONG),
                b"path" => self.path = Some(value.to_vec()),
                b"size" => {
                    let text = std::str::from_utf8(value).ok();
                    self.size_bytes = Some(text.and_then(|text| text.parse().ok()).ok_or(WRONG)?);
                }
                key if key.starts_with(SPARSE) => return Err(HOLES),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A path from the root. One that leads out of it is none.
fn path(bytes: &[u8]) -> Result<String, LayerError> {
    if bytes.len() > LAYER_PATH_BYTES_MAX {
        return Err(LayerError::Archive("a path is longer than is read"));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut components = Vec::new();
    for component in text.split('/') {
        match component {
            "" | "." => {}
            ".." => return Err(LayerError::Archive("a path leads out of the image")),
            component => components.push(component),
        }
    }
    Ok(components.join("/"))
}
