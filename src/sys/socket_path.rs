//! Paths of socket files that are longer than the kernel takes.
//!
//! A socket's address has room for 107 bytes of path. A data directory can lie deeper, so a longer path is reached through
//! an open descriptor of its directory, which `/proc` names in a few bytes.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

const SUN_PATH_BYTES_MAX: usize = 107;

/// A path under which a socket file can be bound or connected to, as long as this value lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl SocketPath {
    /// The path itself where it is short enough, otherwise one through its directory.
    pub fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SUN_PATH_BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory = open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }

    /// The usable path.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::SocketPath;

    #[test]
    fn a_deep_directory_can_hold_a_socket() {
        let temporary = tempfile::tempdir().unwrap();
        let deep = temporary.path().join("d".repeat(100)).join("e".repeat(100));
        std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
            .create(&deep)
            .unwrap();
        let path = deep.join("s.sock");
        let listener = UnixListener::bind(SocketPath::new(&path).unwrap().as_path()).unwrap();
        UnixStream::connect(SocketPath::new(&path).unwrap().as_path()).unwrap();
        listener.accept().unwrap();
        assert!(path.exists());
    }
}
