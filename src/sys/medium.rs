//! Removable media: a directory that may vanish, be full, be write-protected, or lie about what it has stored.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::dir::{Create, Dir, DirError, Entry, File, Stat};
use super::dir_real::RealDir;
use crate::limits::VOLUME_BYTES_MAX;

/// A medium, seen as the directory in which volumes stand.
pub trait Medium: Send + Sync + fmt::Debug {
    /// The directory itself.
    fn dir(&self) -> &dyn Dir;
    /// How people know it, for messages.
    fn label(&self) -> String;
    /// Largest file that its file system takes. One answer for all of them would do, since volumes stay below FAT32's
    /// bound everywhere; a simulation has smaller ones.
    fn file_bytes_max(&self) -> u64;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> Result<u64, DirError> {
        self.dir().free_bytes()
    }

    /// Makes the next read of a file come from the device and not from memory: what was written is synced first.
    fn drop_cache(&self, path: &str) -> Result<(), DirError> {
        self.dir().open(path)?.drop_cache();
        Ok(())
    }
}

/// A mounted directory.
#[derive(Debug)]
pub struct RealMedium {
    dir: RealDir,
    path: PathBuf,
}

impl RealMedium {
    /// The medium mounted at `path`, or a directory on it.
    pub fn open(path: &Path) -> Result<Self, DirError> {
        Ok(Self { dir: RealDir::open(path)?, path: path.to_owned() })
    }
}

impl Medium for RealMedium {
    fn dir(&self) -> &dyn Dir {
        &self.dir
    }

    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn file_bytes_max(&self) -> u64 {
        VOLUME_BYTES_MAX
    }
}

/// A medium whose faults a test sets, over any directory.
#[derive(Debug)]
pub struct SimulatedMedium {
    dir: FaultyDir,
}

/// What goes wrong, and when.
#[derive(Debug)]
struct Faults {
    /// Bytes that may still be read or written before the stick is pulled out.
    bytes_before_yank: AtomicU64,
    /// Bytes that fit.
    free_bytes: AtomicU64,
    read_only: AtomicBool,
    /// Path of a file whose next read after a drop of the cache shows one flipped bit, as a bad cell does.
    lying_about: Mutex<Option<(String, u64)>>,
    bytes_read: AtomicU64,
    writes_count: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            bytes_before_yank: AtomicU64::new(u64::MAX),
            free_bytes: AtomicU64::new(u64::MAX),
            read_only: AtomicBool::new(false),
            lying_about: Mutex::new(None),
            bytes_read: AtomicU64::new(0),
            writes_count: AtomicU64::new(0),
        }
    }
}

impl Faults {
    /// Takes `count` bytes from the budget; the stick is gone when it does not hold.
    fn spend(&self, count: u64) -> io::Result<()> {
        let took = self.bytes_before_yank.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            if left == u64::MAX { Some(left) } else { left.checked_sub(count) }
        });
        if took.is_err() {
            self.bytes_before_yank.store(0, Ordering::Relaxed);
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        Ok(())
    }

    fn write(&self, count: u64) -> io::Result<()> {
        if self.read_only.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.writes_count.fetch_add(1, Ordering::Relaxed);
        self.spend(count)?;
        let took = self.free_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            if left == u64::MAX { Some(left) } else { left.checked_sub(count) }
        });
        took.map(|_| ()).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

impl SimulatedMedium {
    /// A medium without faults over `dir`.
    pub fn new(dir: Arc<dyn Dir>) -> Self {
        Self { dir: FaultyDir { inner: dir, faults: Arc::default() } }
    }

    /// Pulls the stick out once `bytes` more were read or written; `u64::MAX` puts it back.
    pub fn yank_after(&self, bytes: u64) {
        self.dir.faults.bytes_before_yank.store(bytes, Ordering::Relaxed);
    }

    /// Leaves room for `bytes` more.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.dir.faults.free_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Moves the write-protect tab.
    pub fn set_read_only(&self, read_only: bool) {
        self.dir.faults.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Lets the file that ends in `suffix` show one flipped bit at `offset_bytes` whenever it is read.
    pub fn lie_about(&self, suffix: &str, offset_bytes: u64) {
        *self.dir.faults.lying_about.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((suffix.to_owned(), offset_bytes));
    }

    /// Bytes read from the medium up to now.
    pub fn bytes_read(&self) -> u64 {
        self.dir.faults.bytes_read.load(Ordering::Relaxed)
    }

    /// Attempts to write up to now.
    pub fn writes_count(&self) -> u64 {
        self.dir.faults.writes_count.load(Ordering::Relaxed)
    }
}

impl Medium for SimulatedMedium {
    fn dir(&self) -> &dyn Dir {
        &self.dir
    }

    fn label(&self) -> String {
        "simulated medium".to_owned()
    }

    fn file_bytes_max(&self) -> u64 {
        VOLUME_BYTES_MAX
    }
}

#[derive(Debug)]
struct FaultyDir {
    inner: Arc<dyn Dir>,
    faults: Arc<Faults>,
}

impl FaultyDir {
    fn touch<T>(
        &self,
        operation: &'static str,
        path: &str,
        then: impl FnOnce() -> Result<T, DirError>,
    ) -> Result<T, DirError> {
        self.faults.spend(1).map_err(|source| DirError { operation, path: path.to_owned(), source })?;
        then()
    }

    fn change<T>(
        &self,
        operation: &'static str,
        path: &str,
        then: impl FnOnce() -> Result<T, DirError>,
    ) -> Result<T, DirError> {
        self.faults.write(1).map_err(|source| DirError { operation, path: path.to_owned(), source })?;
        then()
    }

    fn wrap(&self, path: &str, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { inner, faults: Arc::clone(&self.faults), path: path.to_owned() })
    }
}

impl Dir for FaultyDir {
    fn open(&self, path: &str) -> Result<Arc<dyn File>, DirError> {
        self.touch("open", path, || Ok(self.wrap(path, self.inner.open(path)?)))
    }

    fn open_write(&self, path: &str, create: Create) -> Result<Arc<dyn File>, DirError> {
        self.change("open for writing", path, || Ok(self.wrap(path, self.inner.open_write(path, create)?)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        self.change("rename", from, || self.inner.rename(from, to))
    }

    fn remove(&self, path: &str) -> Result<(), DirError> {
        self.change("remove", path, || self.inner.remove(path))
    }

    fn remove_tree(&self, path: &str) -> Result<(), DirError> {
        self.change("remove", path, || self.inner.remove_tree(path))
    }

    fn create_dir_all(&self, path: &str) -> Result<(), DirError> {
        self.change("make directory", path, || self.inner.create_dir_all(path))
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, DirError> {
        self.touch("list", path, || self.inner.list(path))
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, DirError> {
        self.touch("stat", path, || self.inner.stat(path))
    }

    fn sync_dir(&self, path: &str) -> Result<(), DirError> {
        self.change("sync", path, || self.inner.sync_dir(path))
    }

    fn free_bytes(&self) -> Result<u64, DirError> {
        Ok(self.inner.free_bytes()?.min(self.faults.free_bytes.load(Ordering::Relaxed)))
    }

    fn real_path(&self, _path: &str) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn File>,
    faults: Arc<Faults>,
    path: String,
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        let count = self.inner.read_at(buffer, offset_bytes)?;
        self.faults.spend(count as u64)?;
        self.faults.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        let lie = self.faults.lying_about.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some((suffix, at)) = lie
            && self.path.ends_with(&suffix)
            && (offset_bytes..offset_bytes + count as u64).contains(&at)
            && let Some(byte) = usize::try_from(at - offset_bytes).ok().and_then(|index| buffer.get_mut(index))
        {
            *byte ^= 1;
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
        self.faults.write(bytes.len() as u64)?;
        self.inner.write_at(bytes, offset_bytes)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.faults.spend(0)?;
        self.inner.len_bytes()
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.faults.write(0)?;
        self.inner.set_len(len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.write(0)?;
        self.inner.sync_data()
    }

    fn start_write_back(&self, offset_bytes: u64, len_bytes: u64) {
        self.inner.start_write_back(offset_bytes, len_bytes);
    }

    fn drop_cache(&self) {
        self.inner.drop_cache();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Medium, RealMedium, SimulatedMedium};
    use crate::sys::dir::{Create, read_bounded};
    use crate::sys::dir_real::RealDir;

    #[test]
    fn faults_happen_when_told() {
        let directory = tempfile::tempdir().unwrap();
        let medium = SimulatedMedium::new(Arc::new(RealDir::open(directory.path()).unwrap()));
        let file = medium.dir().open_write("a", Create::New).unwrap();
        file.write_at(b"0123456789", 0).unwrap();
        medium.set_free_bytes(4);
        assert_eq!(file.write_at(b"01234", 0).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        medium.set_read_only(true);
        assert!(medium.dir().remove("a").is_err());
        medium.lie_about("a", 3);
        assert_eq!(read_bounded(medium.dir(), "a", 100).unwrap(), b"0122456789");
        medium.yank_after(5);
        assert!(read_bounded(medium.dir(), "a", 100).is_err());
        assert!(medium.dir().list("").is_err(), "a pulled stick stays away");
        medium.yank_after(u64::MAX);
        assert!(medium.dir().list("").is_ok());
    }

    #[test]
    fn a_real_directory_is_a_medium() {
        let directory = tempfile::tempdir().unwrap();
        let medium = RealMedium::open(directory.path()).unwrap();
        assert!(medium.free_bytes().unwrap() > 0);
        assert!(RealMedium::open(&directory.path().join("absent")).is_err());
    }
}
