//! Reads one volume and believes nothing: every byte that it passes is compared, or covered by a digest under the seal.
//!
//! The import reads with it, and so does the export after writing.

use std::io;
use std::sync::Arc;

use super::format::chunk::{ChunkError, Unpacker};
use super::format::container::{self, BLOCK_BYTES, END, HeaderError, entry_bytes, padding_bytes};
use super::format::layout::{self, ChunkPlace};
use super::format::seal::{SealError, UnverifiedSeal, table_digest};
use super::format::table::{ChunkDigest, SetTable, TableError};
use super::format::volume::{FileName, SetId, VolumeHead, VolumeHeadError};
use super::format::{SEAL_ENTRY, TABLE_ENTRY, VOLUME_ENTRY};
use crate::limits::{SEAL_BYTES_MAX, SET_TABLE_BYTES_MAX, VOLUME_HEAD_BYTES_MAX};
use crate::sys::dir::{DirError, File};
use crate::sys::medium::Medium;

/// What is wrong with a volume, and where.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(
        "volume '{file}' is damaged at byte {at_byte} (in '{entry}'): bring this volume again; the sender writes it \
         anew with the same 'postern bundle export'"
    )]
    Damaged {
        file: String,
        entry: String,
        at_byte: u64,
        #[source]
        damage: Damage,
    },
    #[error(
        "volume '{file}' cannot be read at byte {at_byte} (in '{entry}'): put the medium back and run the same command \
         again, or bring another copy of this volume"
    )]
    Unreadable {
        file: String,
        entry: String,
        at_byte: u64,
        #[source]
        source: io::Error,
    },
    #[error(
        "the table of the set in volume '{file}' has {bytes} bytes, and memory_max_bytes leaves {limit_bytes} for one"
    )]
    TableTooLarge { file: String, bytes: u64, limit_bytes: usize },
    #[error("volume '{file}' cannot be opened: put the medium back and run the same command again")]
    Open {
        file: String,
        #[source]
        source: DirError,
    },
}

/// How a place of a volume differs from what must stand there.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("entry has no proper header")]
    Header(#[from] HeaderError),
    #[error("volume's head is not one")]
    Head(#[from] VolumeHeadError),
    #[error("table of the set is not one")]
    Table(#[from] TableError),
    #[error("seal is not one")]
    Seal(#[from] SealError),
    #[error("chunk cannot be unpacked")]
    Chunk(#[from] ChunkError),
    #[error("chunk's bytes are not those of the sealed table")]
    ChunkDigest,
    #[error("table's bytes are not those that the seal names")]
    TableDigest,
    #[error("zeros are missing between two entries")]
    Padding,
    #[error("zeros are missing at the end")]
    End,
    #[error("file ends here, after {actual} of {expected} bytes")]
    Truncated { actual: u64, expected: u64 },
    #[error("file goes on after its end: {actual} bytes where {expected} are expected")]
    Trailing { actual: u64, expected: u64 },
    #[error("volume is of set {found}, but its seal makes set {sealed}")]
    OtherSet { found: SetId, sealed: SetId },
    #[error("volume is number {volume} of {volumes}, but its seal speaks of {sealed} volumes")]
    Count { volume: u16, volumes: u16, sealed: u16 },
    #[error("volume is '{0}' by its head, but its file has another name")]
    FileName(String),
}

/// The three leading entries of a volume. They agree with each other; whether the seal is anyone's is still open.
#[derive(Debug)]
pub struct Head {
    pub volume: VolumeHead,
    pub seal: UnverifiedSeal,
    /// `seal.json` as it was read.
    pub seal_bytes: Vec<u8>,
    /// `set.json` as it was read; its digest is the one that the seal names.
    pub table_bytes: Vec<u8>,
    /// Offset of the content of `seal.json`.
    pub seal_at: u64,
    /// Offset of the first chunk's entry.
    pub body_at: u64,
}

/// An open volume.
pub struct VolumeReader {
    file: Arc<dyn File>,
    name: String,
    len_bytes: u64,
    bytes_read: u64,
    table_bytes_max: usize,
    unpacker: Unpacker,
}

/// A table that other machines would read is not damaged.
fn too_large(error: VolumeError, limit_bytes: usize) -> VolumeError {
    match error {
        VolumeError::Damaged { file, damage: Damage::Header(HeaderError::TooLarge { actual, .. }), .. }
            if actual <= SET_TABLE_BYTES_MAX as u64 =>
        {
            VolumeError::TableTooLarge { file, bytes: actual, limit_bytes }
        }
        error => error,
    }
}

impl VolumeReader {
    /// Opens the volume in the file `name` of a medium.
    pub fn open(medium: &dyn Medium, name: &str) -> Result<Self, VolumeError> {
        let file = medium.dir().open(name).map_err(|source| VolumeError::Open { file: name.to_owned(), source })?;
        Self::over(file, name)
    }

    /// A volume in an open file.
    pub fn over(file: Arc<dyn File>, name: &str) -> Result<Self, VolumeError> {
        let unreadable = |source| VolumeError::Unreadable {
            file: name.to_owned(),
            entry: VOLUME_ENTRY.to_owned(),
            at_byte: 0,
            source,
        };
        let len_bytes = file.len_bytes().map_err(unreadable)?;
        let unpacker = Unpacker::new().map_err(|error| unreadable(io::Error::other(error)))?;
        Ok(Self {
            len_bytes,
            file,
            name: name.to_owned(),
            bytes_read: 0,
            table_bytes_max: SET_TABLE_BYTES_MAX,
            unpacker,
        })
    }

    /// Reads no larger table than this: it is read before anybody can vouch for it.
    pub const fn with_table_bytes_max(mut self, table_bytes_max: usize) -> Self {
        self.table_bytes_max = table_bytes_max;
        self
    }

    /// Bytes read up to now.
    pub const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An error at a place of this volume.
    pub fn damaged(&self, entry: &str, at_byte: u64, damage: impl Into<Damage>) -> VolumeError {
        VolumeError::Damaged { file: self.name.clone(), entry: entry.to_owned(), at_byte, damage: damage.into() }
    }

    fn read(&mut self, entry: &str, at_byte: u64, length: usize) -> Result<Vec<u8>, VolumeError> {
        if at_byte.saturating_add(length as u64) > self.len_bytes {
            let expected = at_byte.saturating_add(length as u64);
            return Err(self.damaged(entry, self.len_bytes, Damage::Truncated { actual: self.len_bytes, expected }));
        }
        let mut buffer = vec![0; length];
        match crate::sys::dir::read_exact_at(self.file.as_ref(), &mut buffer, at_byte) {
            Ok(()) => {
                self.bytes_read += length as u64;
                Ok(buffer)
            }
            Err(source) => {
                Err(VolumeError::Unreadable { file: self.name.clone(), entry: entry.to_owned(), at_byte, source })
            }
        }
    }

    /// Reads one of the leading entries at `at_byte`; answers its content and where the next entry begins.
    fn entry(&mut self, entry: &str, at_byte: u64, limit_bytes: usize) -> Result<(Vec<u8>, u64), VolumeError> {
        let found = self.read(entry, at_byte, BLOCK_BYTES)?;
        let found: [u8; BLOCK_BYTES] = found.try_into().expect("a block was asked for");
        let checked = container::parse_size(&found, limit_bytes as u64)
            .and_then(|size| container::check(&found, entry, size).map(|()| size));
        let size = checked.map_err(|error| self.damaged(entry, at_byte + error.at_byte() as u64, error))?;
        let content_at = at_byte + BLOCK_BYTES as u64;
        let content_bytes = usize::try_from(size).expect("bounded by the limit above");
        let mut content = self.read(entry, content_at, content_bytes + padding_bytes(size))?;
        self.check_zeros(entry, content_at + size, content.get(content_bytes..), Damage::Padding)?;
        content.truncate(content_bytes);
        Ok((content, at_byte + entry_bytes(size)))
    }

    fn check_zeros(&self, entry: &str, at_byte: u64, zeros: Option<&[u8]>, damage: Damage) -> Result<(), VolumeError> {
        match zeros.unwrap_or_default().iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(at) => Err(self.damaged(entry, at_byte + at as u64, damage)),
        }
    }

    /// Reads the three leading entries and checks that they, and the file's name, agree with each other.
    pub fn head(&mut self) -> Result<Head, VolumeError> {
        let content_at = BLOCK_BYTES as u64;
        let (volume, table_at) = self.entry(VOLUME_ENTRY, 0, VOLUME_HEAD_BYTES_MAX)?;
        let volume = VolumeHead::parse(&volume).map_err(|error| self.damaged(VOLUME_ENTRY, content_at, error))?;
        let limit_bytes = self.table_bytes_max;
        let (table_bytes, seal_at) =
            self.entry(TABLE_ENTRY, table_at, limit_bytes).map_err(|error| too_large(error, limit_bytes))?;
        let (seal_bytes, body_at) = self.entry(SEAL_ENTRY, seal_at, SEAL_BYTES_MAX)?;
        let seal = UnverifiedSeal::parse(&seal_bytes)
            .map_err(|error| self.damaged(SEAL_ENTRY, seal_at + content_at, error))?;
        if seal.claims().table != table_digest(&table_bytes) {
            return Err(self.damaged(TABLE_ENTRY, table_at + content_at, Damage::TableDigest));
        }
        if volume.set != seal.set_id() {
            let other = Damage::OtherSet { found: volume.set, sealed: seal.set_id() };
            return Err(self.damaged(VOLUME_ENTRY, content_at, other));
        }
        if volume.volumes != seal.claims().volumes {
            let count = Damage::Count { volume: volume.volume, volumes: volume.volumes, sealed: seal.claims().volumes };
            return Err(self.damaged(VOLUME_ENTRY, content_at, count));
        }
        let expected = volume.file_name();
        if FileName::parse(self.name.trim_end_matches(PARTIAL_SUFFIX)).as_ref() != Some(&expected) {
            return Err(self.damaged(VOLUME_ENTRY, content_at, Damage::FileName(expected.to_string())));
        }
        Ok(Head { volume, seal, seal_bytes, table_bytes, seal_at: seal_at + content_at, body_at })
    }

    /// Parses the table of a head whose seal was verified, and checks what follows from it about this file.
    pub fn table(&self, head: &Head) -> Result<SetTable, VolumeError> {
        let table = SetTable::parse(&head.table_bytes).map_err(|error| self.damaged(TABLE_ENTRY, 0, error))?;
        self.check_body(head, &table)?;
        Ok(table)
    }

    /// Checks the length of the file and the zeros at its end.
    pub fn check_body(&self, head: &Head, table: &SetTable) -> Result<(), VolumeError> {
        if table.volumes.len() != usize::from(head.volume.volumes) {
            let Ok(sealed) = u16::try_from(table.volumes.len()) else {
                return Err(self.damaged(TABLE_ENTRY, 0, Damage::TableDigest));
            };
            let (volume, volumes) = (head.volume.volume, head.volume.volumes);
            return Err(self.damaged(TABLE_ENTRY, 0, Damage::Count { volume, volumes, sealed }));
        }
        let expected = head.body_at + layout::body_bytes(table, head.volume.volume);
        let actual = self.len_bytes;
        match actual.cmp(&expected) {
            std::cmp::Ordering::Less => {
                let entry = self.entry_at(head, table, actual);
                Err(self.damaged(&entry, actual, Damage::Truncated { actual, expected }))
            }
            std::cmp::Ordering::Greater => {
                Err(self.damaged(END_OF_VOLUME, expected, Damage::Trailing { actual, expected }))
            }
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    /// The entry that stands at `at_byte`, for messages.
    fn entry_at(&self, head: &Head, table: &SetTable, at_byte: u64) -> String {
        let mut end = head.body_at;
        for place in layout::chunks_of_volume(table, head.volume.volume) {
            end += entry_bytes(u64::from(place.chunk.stored));
            if at_byte < end {
                return place.entry_name();
            }
        }
        END_OF_VOLUME.to_owned()
    }

    /// Reads the chunks for which `wanted` is true, in order, checks each, and gives its content to `take`. Bytes of other
    /// chunks are not read. At the end the closing zeros are checked.
    pub fn chunks<E: From<VolumeError>>(
        &mut self,
        head: &Head,
        table: &SetTable,
        wanted: impl Fn(&ChunkPlace) -> bool,
        mut take: impl FnMut(&ChunkPlace, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at_byte = head.body_at;
        for place in layout::chunks_of_volume(table, head.volume.volume) {
            let stored_bytes = u64::from(place.chunk.stored);
            if wanted(&place) {
                let content = self.chunk(&place, at_byte)?;
                take(&place, &content)?;
            }
            at_byte += entry_bytes(stored_bytes);
        }
        let end = self.read(END_OF_VOLUME, at_byte, END.len())?;
        self.check_zeros(END_OF_VOLUME, at_byte, Some(&end), Damage::End)?;
        Ok(())
    }

    fn chunk(&mut self, place: &ChunkPlace, at_byte: u64) -> Result<Vec<u8>, VolumeError> {
        let name = place.entry_name();
        let size = u64::from(place.chunk.stored);
        let length = usize::try_from(entry_bytes(size)).expect("a stored chunk's size is bounded by the table's check");
        let bytes = self.read(&name, at_byte, length)?;
        let (header, rest) = bytes.split_first_chunk::<BLOCK_BYTES>().expect("an entry begins with a block");
        container::check(header, &name, size)
            .map_err(|error| self.damaged(&name, at_byte + error.at_byte() as u64, error))?;
        let (stored, zeros) = rest.split_at(rest.len() - padding_bytes(size));
        let content_at = at_byte + BLOCK_BYTES as u64;
        if ChunkDigest::of(stored) != place.chunk.sha256 {
            return Err(self.damaged(&name, content_at, Damage::ChunkDigest));
        }
        self.check_zeros(&name, content_at + size, Some(zeros), Damage::Padding)?;
        self.unpacker.unpack(stored, place.content_bytes).map_err(|error| self.damaged(&name, content_at, error))
    }
}

/// What a volume is called while it is being written.
pub const PARTIAL_SUFFIX: &str = ".partial";
const END_OF_VOLUME: &str = "end of the volume";
