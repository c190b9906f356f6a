//! Where the server listens: TCP with or without TLS, or a socket in the data directory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::stat::{SFlag, lstat};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::peers::{MayConnect, Peer, Peers};
use super::tls::ServerTls;
use super::traffic::Traffic;
use crate::sys::dir::{Dir, DirError};
use crate::sys::socket_path::SocketPath;

/// Something that accepts connections.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    pub(super) tls: Option<ServerTls>,
    pub(super) traffic: Arc<Traffic>,
    peers: Peers,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

pub(super) enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Stream {
    /// Who is at the other end; nobody of a network at that of a socket file.
    pub(super) const fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, remote) => Some(*remote),
            Self::Unix(_) => None,
        }
    }

    /// The user on the other side of a socket file.
    pub(super) fn peer_uid(&self) -> Option<u32> {
        match self {
            Self::Tcp(..) => None,
            Self::Unix(stream) => stream.peer_cred().ok().map(|credentials| credentials.uid()),
        }
    }

    fn peer(&self) -> Peer {
        match self {
            Self::Tcp(_, remote) => Peer::Address(remote.ip().to_canonical()),
            Self::Unix(_) => self.peer_uid().map_or(Peer::Unknown, Peer::User),
        }
    }
}

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "'{0}' can be reached from other machines and there is no TLS certificate: name one, listen on 127.0.0.1, or say `insecure_http = true`"
    )]
    NoTls(SocketAddr),
    #[error("cannot listen on '{address}'")]
    Bind {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot remove the socket of an earlier run")]
    StaleSocket(#[source] DirError),
    #[error("'{0}' is there and is no socket: remove it, or name another path")]
    NoSocket(String),
    #[error("the directory of socket '{0}' is not on a file system")]
    NoPath(String),
}

impl Listener {
    /// Listens on a TCP address. Without TLS only loopback is taken, unless `insecure_http` was said explicitly.
    pub async fn bind_tcp(
        address: SocketAddr,
        tls: Option<ServerTls>,
        insecure_http: bool,
    ) -> Result<Self, ListenError> {
        if tls.is_none() && !insecure_http && !address.ip().is_loopback() {
            return Err(ListenError::NoTls(address));
        }
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| ListenError::Bind { address: address.to_string(), source })?;
        Ok(Self::of(Socket::Tcp(socket), tls))
    }

    /// Listens on a socket `name` in `dir`, replacing one of an earlier run: whoever holds the directory's lock owns it.
    pub fn bind_unix(dir: &dyn Dir, name: &str) -> Result<Self, ListenError> {
        let path = dir.real_path(name).ok_or_else(|| ListenError::NoPath(name.to_owned()))?;
        let what = lstat(&path).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
        if what.is_ok_and(|what| what != SFlag::S_IFSOCK) {
            return Err(ListenError::NoSocket(path.display().to_string()));
        }
        match dir.remove(name) {
            Err(error) if !error.is_not_found() => return Err(ListenError::StaleSocket(error)),
            _ => {}
        }
        let failed = |source| ListenError::Bind { address: path.display().to_string(), source };
        let reachable = SocketPath::new(&path).map_err(failed)?;
        let socket = UnixListener::bind(reachable.as_path()).map_err(failed)?;
        Ok(Self::of(Socket::Unix(socket), None))
    }

    fn of(socket: Socket, tls: Option<ServerTls>) -> Self {
        Self { socket, tls, traffic: Arc::default(), peers: Peers::new(None) }
    }

    /// The same listener, for those peers only of whom `may_connect` says so.
    #[must_use]
    pub fn only_for(self, may_connect: Arc<MayConnect>) -> Self {
        Self { peers: Peers::new(Some(may_connect)), ..self }
    }

    /// What goes over it.
    pub const fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The address, with the port that the system chose when 0 was asked; `None` for a socket file.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// The next connection of somebody who may connect; `None` where it was somebody else's.
    pub(super) async fn accept(&self) -> io::Result<Option<Stream>> {
        let stream = self.accept_any().await?;
        Ok(self.peers.admit(stream.peer(), &self.traffic).then_some(stream))
    }

    async fn accept_any(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, remote) = socket.accept().await?;
                // Answers to small requests must not wait for Nagle's algorithm.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream, remote))
            }
            Socket::Unix(socket) => socket.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenError, Listener};
    use crate::sys::dir::{Create, Dir as _};
    use crate::sys::dir_real::RealDir;

    #[tokio::test]
    async fn what_is_no_socket_is_never_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temporary.path()).unwrap();
        dir.open_write("s", Create::New).unwrap();
        assert!(matches!(Listener::bind_unix(&dir, "s"), Err(ListenError::NoSocket(_))));
        dir.remove("s").unwrap();
        assert!(Listener::bind_unix(&dir, "s").is_ok());
        assert!(Listener::bind_unix(&dir, "s").is_ok());
    }

    #[tokio::test]
    async fn plain_http_beyond_loopback_must_be_asked_for() {
        let everywhere = "0.0.0.0:0".parse().unwrap();
        assert!(matches!(Listener::bind_tcp(everywhere, None, false).await, Err(ListenError::NoTls(_))));
        assert!(Listener::bind_tcp(everywhere, None, true).await.is_ok());
        assert!(Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), None, false).await.is_ok());
    }
}
