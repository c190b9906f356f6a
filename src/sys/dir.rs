//! A directory tree with the few operations that the store needs, each of which can fail and each of which a simulator
//! can lose, reorder or tear.
//!
//! Durability is explicit: bytes written are lost in a power cut until [`File::sync_data`] returned, and a name made,
//! renamed or removed may be lost until [`Dir::sync_dir`] on its directory returned.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A failed operation on a directory tree, with the name it was about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} '{path}'")]
pub struct DirError {
    pub operation: &'static str,
    /// Path relative to the tree.
    pub path: String,
    #[source]
    pub source: io::Error,
}

impl DirError {
    /// Whether the thing was simply not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the file system is full.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// How a file is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// It must not exist yet.
    New,
    /// It must exist.
    Existing,
    /// It is made where it is missing.
    Missing,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len_bytes: u64,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub stat: Stat,
}

/// A directory tree. Paths are relative, joined by `/`, and never hold `..`; the empty path is the tree itself.
pub trait Dir: Send + Sync + fmt::Debug {
    /// Opens a file for reading.
    fn open(&self, path: &str) -> Result<Arc<dyn File>, DirError>;
    /// Opens a file for reading and writing.
    fn open_write(&self, path: &str, create: Create) -> Result<Arc<dyn File>, DirError>;
    /// Gives a file or directory a new name, replacing a file there.
    fn rename(&self, from: &str, to: &str) -> Result<(), DirError>;
    /// Removes a file.
    fn remove(&self, path: &str) -> Result<(), DirError>;
    /// Removes a directory and all below it; nothing there is no error.
    fn remove_tree(&self, path: &str) -> Result<(), DirError>;
    /// Makes a directory and its parents; one there already is no error.
    fn create_dir_all(&self, path: &str) -> Result<(), DirError>;
    /// The entries of a directory, sorted by name. A link is listed as an empty file and never followed.
    fn list(&self, path: &str) -> Result<Vec<Entry>, DirError>;
    /// What stands under a name; `None` where nothing does.
    fn stat(&self, path: &str) -> Result<Option<Stat>, DirError>;
    /// Makes names in a directory durable.
    fn sync_dir(&self, path: &str) -> Result<(), DirError>;
    /// Bytes that an ordinary user may still write.
    fn free_bytes(&self) -> Result<u64, DirError>;
    /// Where the tree really is, for the few who need a path (the index, the lock); `None` in a simulation.
    fn real_path(&self, path: &str) -> Option<PathBuf>;
}

/// An open file. Positions are explicit, so that readers share it.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes at `offset_bytes`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<usize>;
    /// The same where the bytes are in memory already, so that it never waits for the device; `None` where they are not, or
    /// where the system cannot tell.
    fn read_cached_at(&self, _buffer: &mut [u8], _offset_bytes: u64) -> Option<usize> {
        None
    }
    /// Writes all of `bytes` at `offset_bytes`.
    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) to a length.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;
    /// Makes content and length durable. An error is final: what was written since the last success may be lost.
    fn sync_data(&self) -> io::Result<()>;
    /// Asks the kernel to begin writing out, so that the next sync is short. A hint, it never fails.
    fn start_write_back(&self, offset_bytes: u64, len_bytes: u64);
    /// Asks the kernel to forget cached pages, so that the next read comes from the device. A hint, it never fails.
    fn drop_cache(&self);
}

/// Reads exactly `buffer.len()` bytes or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn File, buffer: &mut [u8], offset_bytes: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset_bytes + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => done += count,
        }
    }
    Ok(())
}

/// Reads a whole file of at most `limit_bytes`.
pub fn read_bounded(dir: &dyn Dir, path: &str, limit_bytes: usize) -> Result<Vec<u8>, DirError> {
    let failed = |source| DirError { operation: "read", path: path.to_owned(), source };
    let file = dir.open(path)?;
    let len = file.len_bytes().map_err(failed)?;
    if len > limit_bytes as u64 {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{len} bytes, the most is {limit_bytes}"),
        )));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?];
    read_exact_at(file.as_ref(), &mut bytes, 0).map_err(failed)?;
    Ok(bytes)
}

/// Puts `bytes` under `path` so that after a power cut either the old or the new content stands there, and returns when
/// the new one is durable.
pub fn replace(dir: &dyn Dir, path: &str, bytes: &[u8]) -> Result<(), DirError> {
    let temporary = format!("{path}.new");
    let file = dir.open_write(&temporary, Create::Missing)?;
    let failed = |source| DirError { operation: "write", path: temporary.clone(), source };
    file.set_len(0).map_err(failed)?;
    file.write_at(bytes, 0).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    dir.rename(&temporary, path)?;
    dir.sync_dir(parent(path))
}

/// The directory part of a path; empty for a name in the tree itself.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
