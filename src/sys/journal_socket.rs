//! The native socket of systemd's journal: one entry, one datagram.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where it is on every machine that has one.
pub const PATH: &str = "/run/systemd/journal/socket";

/// A socket that is connected to the journal. It never waits: a journal that is slow says so.
#[derive(Debug)]
pub struct JournalSocket(UnixDatagram);

impl JournalSocket {
    /// Connects to the journal that listens at `path`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(Self(socket))
    }

    /// Hands over one entry; `WouldBlock` where the journal has no room now.
    pub fn send(&self, entry: &[u8]) -> io::Result<()> {
        self.0.send(entry).map(drop)
    }
}
