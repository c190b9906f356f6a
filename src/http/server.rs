//! The accept loop: bounds on connections and time, HTTP/1.1 and HTTP/2, and a graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::body::{Body, Incoming};
use super::certificate_names;
use super::listener::{Listener, Stream};
use super::share::Shares;
use super::stall::StallGuard;
use super::traffic::{Metered, Traffic};
use crate::limits::{HTTP1_BUFFER_BYTES_MAX, REQUEST_HEADERS_BYTES_MAX};
use crate::memory::Bounds;

/// Bounds of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Connections that are open at the same time; further ones wait to be accepted.
    pub connections_count_max: usize,
    /// Requests under way at the same time on one HTTP/2 connection.
    pub streams_count_max: u32,
    /// Bytes of one answer that wait for an HTTP/2 client to take them.
    pub send_bytes_max: usize,
    /// Bytes of one connection that wait to be read; `None` leaves it to the HTTP library.
    pub receive_bytes_max: Option<u32>,
    /// Time for a TLS handshake, and for all headers of a request.
    pub header_seconds_max: u64,
    /// Time after which a connection without a request is closed.
    pub idle_seconds_max: u64,
    /// Time in which a client must take some of what is sent to it.
    pub stall_seconds_max: u64,
    /// Time that requests under way get when the server ends.
    pub drain_seconds_max: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections_count_max: Bounds::UNBOUNDED.connections_count_max,
            streams_count_max: Bounds::UNBOUNDED.streams_count_max,
            send_bytes_max: Bounds::UNBOUNDED.piece_bytes,
            receive_bytes_max: Bounds::UNBOUNDED.receive_bytes_max,
            header_seconds_max: 15,
            idle_seconds_max: 90,
            stall_seconds_max: 60,
            drain_seconds_max: 20,
        }
    }
}

/// What is known of a request beside the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Stands in every log line and answer about this request.
    pub request_id: String,
    /// Who asks; `None` over a socket file.
    pub remote: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// The names in the certificate that the client has shown, once it was verified ([`super::certificate_names`]).
    pub certificate_names: Option<Arc<[String]>>,
    /// The user who asks over a socket file, as the kernel says.
    pub peer_uid: Option<u32>,
}

/// Answers requests. Errors are answers too.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        info: RequestInfo,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves until `shutdown` is done, then lets requests under way end within their bound.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: Arc<H>,
    settings: ServerSettings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (ending, ended) = watch::channel(false);
    let places = Arc::new(Semaphore::new(settings.connections_count_max.max(1)));
    let shares = Shares::of(settings.connections_count_max);
    let shared = Shared {
        handler,
        settings: Arc::new(settings),
        ids: Arc::new(RequestIds::new()),
        traffic: Arc::clone(listener.traffic()),
        ended,
    };
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let share = stream.remote().map(|remote| shares.take(remote.ip()));
        if matches!(share, Some(None)) {
            tracing::debug!(remote = ?stream.remote(), "a client has its share of the connections");
            continue;
        }
        let (shared, tls) = (shared.clone(), listener.tls.as_ref().map(super::tls::ServerTls::acceptor));
        let open = shared.traffic.open();
        connections.spawn(async move {
            shared.serve_stream(stream, tls).await;
            drop((share, place, open));
        });
    }
    drop(listener);
    let _ = ending.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(shared.settings.drain_seconds_max), drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections did not end in time and are cut");
        connections.shutdown().await;
    }
}

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> Option<(Stream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(stream) => stream.map(|stream| (stream, place)),
        Err(error) => {
            // Out of file descriptors, or a client that was gone at once: going on immediately would only burn time.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

struct Shared<H> {
    handler: Arc<H>,
    settings: Arc<ServerSettings>,
    ids: Arc<RequestIds>,
    traffic: Arc<Traffic>,
    ended: watch::Receiver<bool>,
}

impl<H> Clone for Shared<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            settings: Arc::clone(&self.settings),
            ids: Arc::clone(&self.ids),
            traffic: Arc::clone(&self.traffic),
            ended: self.ended.clone(),
        }
    }
}

impl<H: Handler> Shared<H> {
    async fn serve_stream(self, stream: Stream, tls: Option<tokio_rustls::TlsAcceptor>) {
        let peer_uid = stream.peer_uid();
        let info = |remote, is_secure, certificate_names| RequestInfo {
            request_id: String::new(),
            remote,
            is_secure,
            certificate_names,
            peer_uid,
        };
        match (stream, tls) {
            (Stream::Unix(stream), _) => self.serve_connection(stream, info(None, false, None)).await,
            (Stream::Tcp(stream, remote), None) => self.serve_connection(stream, info(Some(remote), false, None)).await,
            (Stream::Tcp(stream, remote), Some(tls)) => {
                let limit = Duration::from_secs(self.settings.header_seconds_max);
                match tokio::time::timeout(limit, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let names = shown.map(|certificate| certificate_names::names_of(certificate).into());
                        self.serve_connection(stream, info(Some(remote), true, names)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%remote, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%remote, "TLS handshake took too long"),
                }
            }
        }
    }

    /// Serves one connection, of whom `of` is known.
    async fn serve_connection<I>(mut self, stream: I, of: RequestInfo)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let seconds = Duration::from_secs;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(seconds(self.settings.header_seconds_max));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.settings.streams_count_max)
            .max_send_buf_size(self.settings.send_bytes_max)
            .max_header_list_size(REQUEST_HEADERS_BYTES_MAX)
            .keep_alive_interval(seconds(self.settings.idle_seconds_max / 2))
            .keep_alive_timeout(seconds(self.settings.header_seconds_max));
        let receive_bytes = self.settings.receive_bytes_max.map_or(HTTP1_BUFFER_BYTES_MAX, |bytes| bytes as usize);
        builder.http1().max_buf_size(receive_bytes);
        if let Some(bytes) = self.settings.receive_bytes_max {
            builder.http2().initial_stream_window_size(bytes).initial_connection_window_size(bytes);
        }
        let (active, mut watched) = watch::channel(0_usize);
        let active = Arc::new(active);
        let service = service_fn(|request: Request<Incoming>| {
            let counted = Counted::new(&active);
            let info = RequestInfo { request_id: self.ids.next(), ..of.clone() };
            let answer = Arc::clone(&self.handler).handle(request, info);
            async move { Ok::<_, Infallible>(answer.await.on_end(counted)) }
        });
        let stream = Metered::new(stream, Arc::clone(&self.traffic));
        let io = TokioIo::new(StallGuard::new(stream, seconds(self.settings.stall_seconds_max)));
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        let idle_limit = seconds(self.settings.idle_seconds_max);
        let mut ending = false;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                _ = self.ended.wait_for(|ended| *ended), if !ending => {}
                () = idle(&mut watched, idle_limit), if !ending => {}
            }
            ending = true;
            connection.as_mut().graceful_shutdown();
        };
        if let Err(error) = result {
            tracing::debug!(remote = ?of.remote, error = %crate::error_chain::chain(error.as_ref()), "connection ended early");
        }
    }
}

/// Done when no request was under way for `limit`.
async fn idle(active: &mut watch::Receiver<usize>, limit: Duration) {
    loop {
        if active.wait_for(|count| *count == 0).await.is_err() {
            return std::future::pending().await;
        }
        if tokio::time::timeout(limit, active.changed()).await.is_err() {
            return;
        }
    }
}

/// One request under way, until its answer was sent or dropped.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(active: &Arc<watch::Sender<usize>>) -> Self {
        active.send_modify(|count| *count += 1);
        Self(Arc::clone(active))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

trait OnEnd {
    fn on_end(self, counted: Counted) -> Self;
}

impl OnEnd for Response<Body> {
    fn on_end(self, counted: Counted) -> Self {
        self.map(|body| body.on_end(move |_| drop(counted)))
    }
}

/// Ids that differ between requests and, very likely, between runs. They are names, not secrets.
///
/// One number of 64 bits from a random start: half of it would be round again within weeks of a busy server.
struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        Self::from(std::hash::RandomState::new().build_hasher().finish())
    }

    const fn from(start: u64) -> Self {
        Self { next: AtomicU64::new(start) }
    }

    fn next(&self) -> String {
        format!("{:016x}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::http::{Request, Response};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::{Handler, RequestIds, RequestInfo, ServerSettings, serve};
    use crate::http::{Body, Incoming, listener::Listener, peers::Peer};

    #[test]
    fn ids_do_not_come_back_after_32_bits_of_requests() {
        let ids = RequestIds::from(u64::from(u32::MAX) - 1);
        let names = [ids.next(), ids.next(), ids.next()];
        assert_eq!(names, ["00000000fffffffe", "00000000ffffffff", "0000000100000000"]);
        assert_ne!(RequestIds::new().next(), RequestIds::new().next());
    }

    struct Echo;

    impl Handler for Echo {
        async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
            assert_eq!(info.request_id.len(), 16);
            Response::new(Body::full(request.uri().path().to_owned()))
        }
    }

    async fn start(
        settings: ServerSettings,
    ) -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), None, false).await.unwrap();
        let address = listener.local_address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            serve(listener, Arc::new(Echo), settings, async { drop(stopped.await) }).await;
        });
        (address, stop, task)
    }

    #[tokio::test]
    async fn answers_and_ends_with_an_idle_connection_open() {
        let (address, stop, task) = start(ServerSettings::default()).await;
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"/a") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        stop.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }

    /// What a client says before anything is known of it has an end, and so has the time that it may take.
    #[tokio::test]
    async fn a_head_that_is_too_long_or_too_slow() {
        let settings = ServerSettings { header_seconds_max: 1, ..ServerSettings::default() };
        let (address, _stop, _task) = start(settings).await;
        let ask = async |head: String| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            // The server may answer and close before it has read everything.
            let _ = stream.write_all(head.as_bytes()).await;
            let mut answer = Vec::new();
            let reading = tokio::time::timeout(std::time::Duration::from_secs(10), stream.read_to_end(&mut answer));
            let _ = reading.await.expect("it does not wait for ever");
            String::from_utf8(answer).unwrap()
        };
        let long = "x".repeat(2 * crate::limits::HTTP1_BUFFER_BYTES_MAX);
        assert!(!ask(format!("GET /a HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n")).await.contains(" 200 "));
        let many: String = (0..101).map(|number| format!("x-{number}: y\r\n")).collect();
        assert!(ask(format!("GET /a HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await.contains(" 431 "));
        assert!(!ask(format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(65_536))).await.contains(" 200 "));
        assert!(ask("GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned()).await.contains(" 200 "));
        assert!(!ask("GET /a HTTP/1.1\r\nhost: ".to_owned()).await.contains(" 200 "), "it never ends");
    }

    #[tokio::test]
    async fn who_may_not_connect_is_closed_unread_and_counted() {
        let own = Peer::Address("127.0.0.1".parse().unwrap());
        for (may_connect, expected) in [(true, (1, 0)), (false, (0, 1))] {
            let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), None, false).await.unwrap();
            let listener = listener.only_for(Arc::new(move |peer| may_connect && peer == own));
            let (address, traffic) = (listener.local_address().unwrap(), Arc::clone(listener.traffic()));
            let task = tokio::spawn(serve(listener, Arc::new(Echo), ServerSettings::default(), std::future::pending()));
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = b"GET /abc HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let mut answer = Vec::new();
            if stream.write_all(request).await.is_ok() {
                let _ = stream.read_to_end(&mut answer).await;
            }
            assert_eq!(answer.ends_with(b"/abc"), may_connect);
            let counts = traffic.counts();
            assert_eq!((counts.accepted, counts.turned_away), expected);
            let bytes = if may_connect { (request.len() as u64, answer.len() as u64) } else { (0, 0) };
            assert_eq!((counts.received_bytes, counts.sent_bytes), bytes);
            task.abort();
        }
    }

    #[tokio::test]
    async fn a_client_with_its_share_is_turned_away() {
        let settings = ServerSettings { connections_count_max: 64, ..ServerSettings::default() };
        let (address, _stop, _task) = start(settings).await;
        let connect = || tokio::net::TcpStream::connect(address);
        let mut held = Vec::new();
        for _ in 0..48 {
            let mut stream = connect().await.unwrap();
            stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert!(stream.read(&mut [0; 1]).await.unwrap() > 0);
            held.push(stream);
        }
        let limit = std::time::Duration::from_secs(10);
        let turned_away = tokio::time::timeout(limit, connect().await.unwrap().read(&mut [0; 1])).await.unwrap();
        assert!(matches!(turned_away, Ok(0) | Err(_)), "{turned_away:?}");
        // From another address of this machine it goes on.
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = other.connect(address).await.unwrap();
        other.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(tokio::time::timeout(limit, other.read(&mut [0; 1])).await.unwrap().unwrap() > 0);
    }

    #[tokio::test]
    async fn a_connection_that_never_asks_is_closed() {
        let settings = ServerSettings { idle_seconds_max: 1, ..ServerSettings::default() };
        let (address, _stop, _task) = start(settings).await;
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let closed = tokio::time::timeout(std::time::Duration::from_secs(10), stream.read(&mut [0; 1])).await;
        assert_eq!(closed.unwrap().unwrap(), 0);
    }
}
