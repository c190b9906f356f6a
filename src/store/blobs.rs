//! Content by digest. A file under `blobs/` always hashes to its name.
//!
//! It appears there only by renaming a file that was hashed and synced before; the directories stand since the store
//! was made. A file without a link in the index is garbage, never damage. Who may read what is not decided here.
//!
//! The seam for a site that outgrows one machine: stat, open (a reader takes its range), commit ([`BlobWriter`]), list,
//! remove. Nothing else touches `blobs/`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::layout;
use crate::limits::{KIB, MIB};
use crate::oci::digest::{Algorithm, Digest, Hasher};
use crate::sys::dir::{self, Create, Dir, DirError, File};
use crate::sys::random;

/// Write-back starts this often, so that the last sync is short.
const WRITE_BACK_BYTES: u64 = 4 * MIB as u64;

/// A file is hashed in pieces of this size.
const HASHED_PIECE_BYTES: usize = 64 * KIB;

/// Why content could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("content hashes to '{actual}', not to '{expected}' as was promised: fetch it again")]
    Mismatch { expected: Digest, actual: Digest },
    #[error("the file of '{0}' no longer hashes to its name: the disk has changed it; fetch or import it again")]
    Damaged(Digest),
    #[error("'{digest}' is {bytes} bytes long, the most read at once here is {limit_bytes}")]
    TooLarge { digest: Digest, bytes: u64, limit_bytes: usize },
    #[error("content cannot be kept or read")]
    Dir(#[from] DirError),
}

/// All content of a store.
#[derive(Debug)]
pub struct Blobs {
    dir: Arc<dyn Dir>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The names in each directory of content.
    names: BTreeMap<String, Names>,
    /// What this process stored and no event has linked yet: a sweep leaves it alone.
    fresh: HashSet<Digest>,
}

/// How many changes of names a directory has seen, and how many of them are durable.
#[derive(Clone, Copy, Debug)]
struct Names {
    made: u64,
    synced: u64,
}

impl Names {
    /// A process that was killed may have renamed a file and not synced its directory: nothing is known to be durable.
    const UNKNOWN: Self = Self { made: 1, synced: 0 };
    /// Changes that are none of this process.
    const FOREIGN_COUNT: u64 = 1;
}

impl Blobs {
    pub(super) fn new(dir: Arc<dyn Dir>) -> Self {
        Self { dir, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Length of some content; `None` where it is absent.
    pub fn stat(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        Ok(self.dir.stat(&layout::blob_path(digest))?.filter(|stat| !stat.is_dir).map(|stat| stat.len_bytes))
    }

    /// Whether some content is there. What cannot be looked at counts as absent.
    pub fn has(&self, digest: &Digest) -> bool {
        matches!(self.stat(digest), Ok(Some(_)))
    }

    /// Opens some content; `None` where it is absent.
    pub fn open(&self, digest: &Digest) -> Result<Option<Arc<dyn File>>, BlobError> {
        match self.dir.open(&layout::blob_path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads small content whole, and hashes it again; `None` where it is absent.
    pub fn read(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, BlobError> {
        match self.stat(digest)? {
            None => return Ok(None),
            Some(bytes) if bytes > limit_bytes as u64 => {
                return Err(BlobError::TooLarge { digest: *digest, bytes, limit_bytes });
            }
            Some(_) => {}
        }
        let content = match dir::read_bounded(self.dir.as_ref(), &layout::blob_path(digest), limit_bytes) {
            Ok(content) => content,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if digest.algorithm().hash(&content) == *digest { Ok(Some(content)) } else { Err(BlobError::Damaged(*digest)) }
    }

    /// Opens content that hashes to its name at this moment; `None` where it is absent. For what is not to be held whole.
    pub fn open_sound(&self, digest: &Digest) -> Result<Option<Arc<dyn File>>, BlobError> {
        let Some(file) = self.open(digest)? else { return Ok(None) };
        let failed = |source| DirError { operation: "read", path: layout::blob_path(digest), source };
        let (actual, _) = hash(file.as_ref(), digest.algorithm()).map_err(failed)?;
        if actual == *digest { Ok(Some(file)) } else { Err(BlobError::Damaged(*digest)) }
    }

    /// Begins to store content under its SHA-256.
    pub fn begin(self: &Arc<Self>) -> Result<BlobWriter, BlobError> {
        self.begin_with(Algorithm::Sha256)
    }

    /// Begins to store content under a digest of `algorithm`.
    pub fn begin_with(self: &Arc<Self>, algorithm: Algorithm) -> Result<BlobWriter, BlobError> {
        let path = format!("{}/{}{}", layout::UPLOADS, layout::UPLOAD_PREFIX, random::identifier());
        let file = self.dir.open_write(&path, Create::New)?;
        Ok(BlobWriter {
            blobs: Arc::clone(self),
            file,
            path,
            hasher: Some(algorithm.hasher()),
            size_bytes: 0,
            written_back_bytes: 0,
        })
    }

    /// Stores small content that is already in memory, under its SHA-256 digest.
    pub fn put(self: &Arc<Self>, content: &[u8]) -> Result<Digest, BlobError> {
        self.put_with(content, Algorithm::Sha256)
    }

    /// The same under a digest of `algorithm`.
    pub fn put_with(self: &Arc<Self>, content: &[u8], algorithm: Algorithm) -> Result<Digest, BlobError> {
        let mut writer = self.begin_with(algorithm)?;
        writer.write(content)?;
        writer.finish(None)
    }

    /// Takes over a staged file of this store's directory, which its caller has hashed to `digest` and synced. The name
    /// is durable after [`Blobs::sync_adopted`], and at the latest when an event links it.
    pub fn adopt(&self, staged_path: &str, digest: &Digest) -> Result<(), BlobError> {
        self.name(staged_path, digest).map(drop)
    }

    /// Gives a file its name among the content; which directory it is in.
    fn name(&self, staged_path: &str, digest: &Digest) -> Result<String, BlobError> {
        let path = layout::blob_path(digest);
        self.memory().fresh.insert(*digest);
        self.dir.rename(staged_path, &path)?;
        let directory = dir::parent(&path).to_owned();
        self.memory().names.entry(directory.clone()).or_insert(Names::UNKNOWN).made += 1;
        Ok(directory)
    }

    /// Makes every name durable that [`Blobs::adopt`] made.
    pub fn sync_adopted(&self) -> Result<(), BlobError> {
        let of_this_process = |names: &Names| names.made > Names::FOREIGN_COUNT;
        let memory = self.memory();
        let directories: Vec<String> =
            memory.names.iter().filter(|(_, names)| of_this_process(names)).map(|(path, _)| path.clone()).collect();
        drop(memory);
        directories.iter().try_for_each(|directory| self.sync_names(directory))
    }

    /// Makes the names of `digests` durable, whoever made them: nothing may be acknowledged that a power cut could take
    /// away again. Usually they are, and nothing is done.
    pub(super) fn keep_names(&self, digests: &[Digest]) -> Result<(), BlobError> {
        let directories: BTreeSet<String> =
            digests.iter().map(|digest| dir::parent(&layout::blob_path(digest)).to_owned()).collect();
        directories.iter().try_for_each(|directory| self.sync_names(directory))
    }

    fn sync_names(&self, directory: &str) -> Result<(), BlobError> {
        let names = self.memory().names.get(directory).copied().unwrap_or(Names::UNKNOWN);
        if names.synced >= names.made {
            return Ok(());
        }
        self.dir.sync_dir(directory)?;
        // What was renamed while the directory was synced may have come too late, and is not counted.
        let mut memory = self.memory();
        let entry = memory.names.entry(directory.to_owned()).or_insert(names);
        entry.synced = entry.synced.max(names.made);
        Ok(())
    }

    /// The content in one of [`layout::shards`], sorted. Files of other names are not ours and left out.
    pub fn list(&self, shard: &layout::Shard) -> Result<Vec<(Digest, u64)>, BlobError> {
        let entries = match self.dir.list(&shard.path()) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let named = entries.into_iter().filter(|entry| !entry.stat.is_dir);
        Ok(named.filter_map(|entry| Some((shard.digest(&entry.name)?, entry.stat.len_bytes))).collect())
    }

    /// Whether this process stored it and no event has linked it yet.
    pub(super) fn is_fresh(&self, digest: &Digest) -> bool {
        self.memory().fresh.contains(digest)
    }

    /// An event has linked it, now or before it was stored once more: from here the index protects it.
    pub fn linked(&self, digest: &Digest) {
        self.memory().fresh.remove(digest);
    }

    /// Removes the file of some content. Only the sequencer may, after it looked that nothing links it.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        match self.dir.remove(&layout::blob_path(digest)) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Hashes a whole file; gives its length too.
pub(super) fn hash(file: &dyn File, algorithm: Algorithm) -> std::io::Result<(Digest, u64)> {
    let (hasher, len_bytes) = hashed(file, algorithm, u64::MAX)?;
    Ok((hasher.finish(), len_bytes))
}

/// A hasher that has taken in a file up to `limit_bytes`, and how much that was.
fn hashed(file: &dyn File, algorithm: Algorithm, limit_bytes: u64) -> std::io::Result<(Hasher, u64)> {
    let mut hasher = algorithm.hasher();
    let mut piece = vec![0; HASHED_PIECE_BYTES];
    let mut at_byte = 0;
    loop {
        let wanted = usize::try_from(limit_bytes - at_byte).unwrap_or(HASHED_PIECE_BYTES).min(HASHED_PIECE_BYTES);
        match file.read_at(&mut piece[..wanted], at_byte)? {
            0 => return Ok((hasher, at_byte)),
            count => {
                hasher.update(&piece[..count]);
                at_byte += count as u64;
            }
        }
    }
}

/// Content on its way in. Dropped before it is finished, it leaves nothing.
pub struct BlobWriter {
    blobs: Arc<Blobs>,
    file: Arc<dyn File>,
    path: String,
    /// Taken when finished.
    hasher: Option<Hasher>,
    size_bytes: u64,
    written_back_bytes: u64,
}

impl BlobWriter {
    /// Appends the next piece.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.file.write_at(piece, self.size_bytes).map_err(|source| self.failed("write", source))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        self.size_bytes += piece.len() as u64;
        if self.size_bytes - self.written_back_bytes >= WRITE_BACK_BYTES {
            self.file.start_write_back(self.written_back_bytes, self.size_bytes - self.written_back_bytes);
            self.written_back_bytes = self.size_bytes;
        }
        Ok(())
    }

    /// The growing file, for a reader that keeps behind [`BlobWriter::size_bytes`].
    pub fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// Goes on hashing by another algorithm; what was written so far is read again.
    pub fn rehash(&mut self, algorithm: Algorithm) -> Result<(), BlobError> {
        let hashed = hashed(self.file.as_ref(), algorithm, self.size_bytes);
        let (hasher, len_bytes) = hashed.map_err(|source| self.failed("read", source))?;
        if len_bytes != self.size_bytes {
            return Err(self.failed("read", std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.hasher = Some(hasher);
        Ok(())
    }

    /// By which algorithm the content is hashed.
    pub const fn algorithm(&self) -> Algorithm {
        match &self.hasher {
            Some(hasher) => hasher.algorithm(),
            None => Algorithm::Sha256,
        }
    }

    /// Bytes so far.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes the content durable under its digest, which must be `expected` where that is given.
    pub fn finish(mut self, expected: Option<&Digest>) -> Result<Digest, BlobError> {
        let hasher = self.hasher.take().expect("a writer is finished once, because finishing consumes it");
        let digest = hasher.finish();
        match self.settle(digest, expected) {
            Ok(()) => Ok(digest),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn settle(&self, digest: Digest, expected: Option<&Digest>) -> Result<(), BlobError> {
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(BlobError::Mismatch { expected: *expected, actual: digest });
        }
        self.drop_leftovers().map_err(|source| self.failed("cut", source))?;
        self.file.sync_data().map_err(|source| self.failed("sync", source))?;
        let directory = self.blobs.name(&self.path, &digest)?;
        self.blobs.sync_names(&directory)
    }

    /// Cuts off what a write that failed half-way left behind the acknowledged bytes.
    fn drop_leftovers(&self) -> std::io::Result<()> {
        if self.file.len_bytes()? == self.size_bytes { Ok(()) } else { self.file.set_len(self.size_bytes) }
    }

    fn failed(&self, operation: &'static str, source: std::io::Error) -> BlobError {
        BlobError::Dir(DirError { operation, path: self.path.clone(), source })
    }

    fn discard(&self) {
        // What cannot be removed now is removed at the next start.
        let _ = self.blobs.dir.remove(&self.path);
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.hasher.is_some() {
            self.discard();
        }
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter").field("path", &self.path).field("size_bytes", &self.size_bytes).finish()
    }
}
