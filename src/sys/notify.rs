//! Telling systemd how the service is (`sd_notify`): datagrams to the socket that it named.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The way to the service manager, where there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Requests are answered from now on.
    Ready,
    /// The end has begun.
    Stopping,
    /// Still alive.
    Watchdog,
    /// One line for people.
    Status(&'a str),
}

impl Notifier {
    /// Connects to the socket in NOTIFY_SOCKET; a name that begins with `@` is in the abstract namespace.
    pub fn new(socket: Option<&Path>) -> io::Result<Self> {
        let Some(path) = socket else { return Ok(Self::default()) };
        let address = match path.as_os_str().as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self { socket: Some(socket) })
    }

    /// Tells `state`. A service manager that does not listen is its own problem.
    pub fn tell(&self, state: State<'_>) {
        let Some(socket) = &self.socket else { return };
        let text = match state {
            State::Ready => "READY=1".to_owned(),
            State::Stopping => "STOPPING=1".to_owned(),
            State::Watchdog => "WATCHDOG=1".to_owned(),
            State::Status(line) => format!("STATUS={}", line.replace('\n', " ")),
        };
        if let Err(error) = socket.send(text.as_bytes()) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::{Notifier, State};

    #[test]
    fn states_arrive() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(&path)).unwrap();
        let check = |state, expected: &str| {
            notifier.tell(state);
            let mut buffer = [0; 100];
            let count = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], expected.as_bytes());
        };
        check(State::Ready, "READY=1");
        check(State::Stopping, "STOPPING=1");
        check(State::Watchdog, "WATCHDOG=1");
        check(State::Status("a\nb"), "STATUS=a b");
        Notifier::new(None).unwrap().tell(State::Ready);
        assert!(Notifier::new(Some(&temporary.path().join("absent"))).is_err());
    }
}
