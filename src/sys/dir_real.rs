//! [`Dir`] on the real file system. The only user of `std::fs`.
#![expect(clippy::disallowed_methods, reason = "this module is the owner of the file system")]

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rustix::io::{ReadWriteFlags, preadv2};

use super::dir::{Create, Dir, DirError, Entry, File, Stat};

/// No link is followed, and a pipe that somebody put on a stick under a volume's name is opened without waiting for a
/// writer who never comes.
const READ_FLAGS: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// A directory tree below a real path. Files are made with mode 0600 and directories with 0700: the data directory holds
/// keys and everything a site wants to keep for itself.
#[derive(Clone, Debug)]
pub struct RealDir {
    root: PathBuf,
}

impl RealDir {
    /// The tree at `root`, which must exist.
    pub fn open(root: &Path) -> Result<Self, DirError> {
        let failed = |source| DirError { operation: "open directory", path: root.display().to_string(), source };
        let root = fs::canonicalize(root).map_err(failed)?;
        if !fs::metadata(&root).map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root })
    }

    /// The tree at `root`, made where it is missing.
    pub fn create(root: &Path) -> Result<Self, DirError> {
        let failed = |source| DirError { operation: "make directory", path: root.display().to_string(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        Self::open(root)
    }

    /// Refuses a path that could leave the tree; names come from digests and counters, so this is a broken invariant.
    fn at(&self, operation: &'static str, path: &str) -> Result<PathBuf, DirError> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        let inside = Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
        if inside {
            return Ok(self.root.join(path));
        }
        Err(DirError { operation, path: path.to_owned(), source: io::ErrorKind::InvalidInput.into() })
    }
}

fn named<T>(operation: &'static str, path: &str, result: io::Result<T>) -> Result<T, DirError> {
    result.map_err(|source| DirError { operation, path: path.to_owned(), source })
}

/// The fields are narrower on 32-bit systems, so both are widened before they are multiplied.
fn blocks_to_bytes(blocks: impl Into<u64>, block_bytes: impl Into<u64>) -> u64 {
    blocks.into().saturating_mul(block_bytes.into())
}

fn stat_of(metadata: &fs::Metadata) -> Stat {
    Stat { is_dir: metadata.is_dir(), len_bytes: if metadata.is_file() { metadata.len() } else { 0 } }
}

impl Dir for RealDir {
    fn open(&self, path: &str) -> Result<Arc<dyn File>, DirError> {
        let real = self.at("open", path)?;
        let file = named("open", path, fs::OpenOptions::new().read(true).custom_flags(READ_FLAGS).open(real))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn open_write(&self, path: &str, create: Create) -> Result<Arc<dyn File>, DirError> {
        let real = self.at("open for writing", path)?;
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        match create {
            Create::New => options.create_new(true),
            Create::Existing => &mut options,
            Create::Missing => options.create(true),
        };
        Ok(Arc::new(RealFile { file: named("open for writing", path, options.open(real))? }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        named("rename", from, fs::rename(self.at("rename", from)?, self.at("rename to", to)?))
    }

    fn remove(&self, path: &str) -> Result<(), DirError> {
        named("remove", path, fs::remove_file(self.at("remove", path)?))
    }

    fn remove_tree(&self, path: &str) -> Result<(), DirError> {
        match fs::remove_dir_all(self.at("remove", path)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => named("remove", path, result),
        }
    }

    fn create_dir_all(&self, path: &str) -> Result<(), DirError> {
        let real = self.at("make directory", path)?;
        named("make directory", path, fs::DirBuilder::new().recursive(true).mode(0o700).create(real))
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, DirError> {
        let mut entries = Vec::new();
        for entry in named("list", path, fs::read_dir(self.at("list", path)?))? {
            let entry = named("list", path, entry)?;
            // A name that is not UTF-8 is none of ours: it is left alone and never shown.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { stat: stat_of(&named("stat", &name, entry.metadata())?), name });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, DirError> {
        match fs::symlink_metadata(self.at("stat", path)?) {
            Ok(metadata) => Ok(Some(stat_of(&metadata))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => named("stat", path, Err(error)),
        }
    }

    fn sync_dir(&self, path: &str) -> Result<(), DirError> {
        let directory = named("open", path, fs::File::open(self.at("sync", path)?))?;
        named("sync", path, directory.sync_all())
    }

    fn free_bytes(&self) -> Result<u64, DirError> {
        let statistics = named("measure", "", nix::sys::statvfs::statvfs(&self.root).map_err(io::Error::from))?;
        Ok(blocks_to_bytes(statistics.blocks_available(), statistics.fragment_size()))
    }

    fn real_path(&self, path: &str) -> Option<PathBuf> {
        self.at("name", path).ok()
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset_bytes)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Option<usize> {
        // Any error, as that it would have to wait, is left to the read that may.
        preadv2(&self.file, &mut [io::IoSliceMut::new(buffer)], offset_bytes, ReadWriteFlags::NOWAIT).ok()
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset_bytes)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_write_back(&self, offset_bytes: u64, len_bytes: u64) {
        // DONTNEED begins write-back of dirty pages without waiting; pages still dirty stay in the cache.
        let (Ok(offset), Ok(len)) = (offset_bytes.try_into(), len_bytes.try_into()) else { return };
        let _ = posix_fadvise(self.file.as_fd(), offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }

    fn drop_cache(&self) {
        let _ = posix_fadvise(self.file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::{RealDir, blocks_to_bytes};
    use crate::sys::dir::{Create, Dir};

    #[test]
    fn offsets_lengths_and_free_space_go_on_beyond_32_bits() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = RealDir::open(scratch.path()).unwrap();
        let file = dir.open_write("sparse", Create::New).unwrap();
        file.set_len(5 << 30).unwrap();
        file.write_at(b"here", (1 << 32) + 3).unwrap();
        file.start_write_back(1 << 32, 4096);
        let mut found = [0; 6];
        assert_eq!(file.read_at(&mut found, (1 << 32) + 2).unwrap(), 6);
        assert_eq!(&found, b"\0here\0");
        assert_eq!(file.read_at(&mut found, 2).unwrap(), 6);
        assert_eq!(found, [0; 6], "4 GiB earlier there is nothing");
        assert_eq!(file.len_bytes().unwrap(), 5 << 30);
        assert_eq!(dir.stat("sparse").unwrap().unwrap().len_bytes, 5 << 30);
        assert_eq!(blocks_to_bytes(u32::MAX, 4096_u32), 4096 * u64::from(u32::MAX));
    }

    #[test]
    fn a_pipe_or_a_link_under_a_files_name_holds_nobody_up() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = RealDir::open(scratch.path()).unwrap();
        nix::unistd::mkfifo(&scratch.path().join("pipe"), Mode::S_IRWXU).unwrap();
        nix::unistd::symlinkat("/etc/passwd", nix::fcntl::AT_FDCWD, &scratch.path().join("link")).unwrap();
        let pipe = dir.open("pipe").unwrap();
        assert_eq!(pipe.len_bytes().unwrap(), 0);
        assert!(dir.open("link").is_err());
        assert_eq!(dir.stat("link").unwrap().unwrap().len_bytes, 0);
        for outside in ["../x", "/etc/passwd", "a/../../b"] {
            assert!(dir.open(outside).is_err(), "{outside}");
        }
    }
}
