//! A connection that only sends: to one configured address, over TCP or TLS, for whoever collects the access log.
//!
//! It is broken off when what was sent stays unconfirmed for [`CONFIRMED_WITHIN`]: the kernel keeps that time
//! (TCP_USER_TIMEOUT), and takes only few bytes ahead. So whoever keeps what was sent for a little longer has all that may
//! not have arrived. What comes back is read, since a connection that ended says so there, and thrown away.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::names::{NameError, Names};
use super::tls::{TlsError, TlsFiles, client_config_of};
use crate::limits::DELIVERY_UNCONFIRMED_BYTES_MAX;

/// After this time what was sent has arrived, or the connection is broken.
pub const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);

/// How long the other side may take to close.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// Where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub tls: Option<DeliveryTls>,
    /// Time for name, TCP and TLS together.
    pub connect_seconds_max: u64,
    /// Time in which some of what is sent must be taken.
    pub send_seconds_max: u64,
}

impl Target {
    /// The target with the usual times.
    pub const fn new(host: String, port: u16, tls: Option<DeliveryTls>) -> Self {
        Self { host, port, tls, connect_seconds_max: 10, send_seconds_max: CONFIRMED_WITHIN.as_secs() }
    }

    /// Whether the certificates that it names can be used, asked at the start while somebody looks.
    pub fn check(&self) -> Result<(), TlsError> {
        match &self.tls {
            Some(tls) => client_config_of(tls.ca_file.as_deref(), tls.client.as_ref()).map(drop),
            None => Ok(()),
        }
    }
}

/// Whom to trust, and what to show. The files are read anew for each connection, so that a renewed certificate holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryTls {
    /// Authorities that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key of this side.
    pub client: Option<TlsFiles>,
}

/// Why nothing more can be sent.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("cannot find '{0}'")]
    Name(String, #[source] NameError),
    #[error("cannot connect to '{0}'")]
    Connect(SocketAddr, #[source] io::Error),
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    #[error("'{0}' is no name that a certificate can have")]
    ServerName(String),
    #[error("TLS with '{0}' was not agreed on")]
    Handshake(String, #[source] io::Error),
    #[error("'{host}' was not connected to within {seconds} seconds")]
    Slow { host: String, seconds: u64 },
    #[error("'{host}' took nothing for {seconds} seconds")]
    Stalled { host: String, seconds: u64 },
    #[error("the other side closed the connection")]
    Closed,
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub struct Delivery {
    stream: Box<dyn Stream>,
    host: String,
    limit: Duration,
}

impl Delivery {
    /// Connects to `target`.
    pub async fn connect(target: &Target) -> Result<Self, DeliveryError> {
        let limit = Duration::from_secs(target.connect_seconds_max);
        match tokio::time::timeout(limit, open(target, limit)).await {
            Ok(opened) => {
                let limit = Duration::from_secs(target.send_seconds_max);
                Ok(Self { stream: opened?, host: target.host.clone(), limit })
            }
            Err(_) => Err(DeliveryError::Slow { host: target.host.clone(), seconds: target.connect_seconds_max }),
        }
    }

    /// Hands all of `bytes` to the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), DeliveryError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match tokio::time::timeout(self.limit, self.stream.write(rest)).await {
                Ok(Ok(0)) => return Err(DeliveryError::Closed),
                Ok(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                Ok(Err(error)) => return Err(DeliveryError::Broken(error)),
                Err(_) => return Err(self.stalled()),
            }
        }
        match tokio::time::timeout(self.limit, self.stream.flush()).await {
            Ok(flushed) => flushed.map_err(DeliveryError::Broken),
            Err(_) => Err(self.stalled()),
        }
    }

    fn stalled(&self) -> DeliveryError {
        DeliveryError::Stalled { host: self.host.clone(), seconds: self.limit.as_secs() }
    }

    /// Waits until the connection has ended, and says how. May be dropped and called again.
    pub async fn ended(&mut self) -> DeliveryError {
        let mut ignored = [0; 512];
        loop {
            match self.stream.read(&mut ignored).await {
                Ok(0) => return DeliveryError::Closed,
                Ok(_) => {}
                Err(error) => return DeliveryError::Broken(error),
            }
        }
    }

    /// Ends in order, once everything was sent: says so, and waits a moment for the other side to do the same. A socket
    /// that is closed with something unread in it would be reset, and what the other side has not read yet be thrown away.
    pub async fn finish(mut self) {
        let closed_both_ways = async {
            if self.stream.shutdown().await.is_ok() {
                self.ended().await;
            }
        };
        let _ = tokio::time::timeout(CLOSED_WITHIN, closed_both_ways).await;
    }
}

async fn open(target: &Target, limit: Duration) -> Result<Box<dyn Stream>, DeliveryError> {
    let stream = connect(target, limit).await?;
    let Some(tls) = &target.tls else { return Ok(Box::new(stream)) };
    let host = target.host.clone();
    let name = ServerName::try_from(host.clone()).map_err(|_| DeliveryError::ServerName(host.clone()))?;
    let (ca_file, client) = (tls.ca_file.clone(), tls.client.clone());
    // Certificates are files, and so is the system's list of them.
    let config = tokio::task::spawn_blocking(move || client_config_of(ca_file.as_deref(), client.as_ref())).await;
    let config = config.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(|error| DeliveryError::Handshake(host, error))?;
    Ok(Box::new(stream))
}

async fn connect(target: &Target, limit: Duration) -> Result<TcpStream, DeliveryError> {
    let addresses = match target.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let found = Names::of_machine(limit).resolve(target.host.clone()).await;
            found.map_err(|error| DeliveryError::Name(target.host.clone(), error))?
        }
    };
    let mut last = DeliveryError::Closed;
    for address in addresses {
        let address = SocketAddr::new(address, target.port);
        match connect_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = DeliveryError::Connect(address, error),
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The kernel doubles it for its own bookkeeping.
    let half_bytes = u32::try_from(DELIVERY_UNCONFIRMED_BYTES_MAX / 2).unwrap_or(u32::MAX);
    socket.set_send_buffer_size(half_bytes)?;
    socket.set_keepalive(true)?;
    SockRef::from(&socket).set_tcp_user_timeout(Some(CONFIRMED_WITHIN))?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
