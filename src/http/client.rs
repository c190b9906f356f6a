//! The client towards upstreams: time limits on every step, and credentials that never leave the host they were meant for.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::{Bytes, BytesMut};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::{Body, BodyError, Incoming, next_piece};
use super::names::Names;
use super::tls::{TlsError, client_config};
use crate::limits::REDIRECTS_COUNT_MAX;

/// Bounds and trust of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Certificates that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Time for name resolution, TCP and TLS together.
    pub connect_seconds_max: u64,
    /// Time from the request, or from the last byte of its body that was taken, to the answer's headers.
    pub response_seconds_max: u64,
    /// Time in which some of a body must come.
    pub body_idle_seconds_max: u64,
    /// Bytes of one connection that wait to be read; `None` leaves it to the HTTP library.
    pub receive_bytes_max: Option<u32>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            connect_seconds_max: 10,
            response_seconds_max: 30,
            body_idle_seconds_max: 60,
            receive_bytes_max: None,
        }
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot set up TLS towards upstreams")]
    Tls(#[from] TlsError),
    #[error("cannot connect to '{host}'")]
    Connect {
        host: String,
        #[source]
        source: legacy::Error,
    },
    #[error("'{host}' gave no answer within {seconds} seconds")]
    Timeout { host: String, seconds: u64 },
    #[error("the request to '{host}' broke off")]
    Request {
        host: String,
        #[source]
        source: legacy::Error,
    },
    #[error("'{host}' redirected more than {REDIRECTS_COUNT_MAX} times")]
    RedirectCount { host: String },
    #[error("'{host}' redirected to '{location}', which is not followed: {reason}")]
    Redirect { host: String, location: String, reason: &'static str },
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl ClientError {
    /// Whether the other side could not be reached at all, or was silent.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Timeout { .. } | Self::Request { .. })
    }
}

/// A client with its pool of connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector<Names>>, Body>,
    settings: ClientSettings,
}

impl Client {
    /// A client. It opens no connection before the first request.
    pub fn new(settings: ClientSettings) -> Result<Self, ClientError> {
        let connect_limit = Duration::from_secs(settings.connect_seconds_max);
        let mut http = HttpConnector::new_with_resolver(Names::of_machine(connect_limit));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(connect_limit));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(client_config(settings.ca_file.as_deref())?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(60)).pool_max_idle_per_host(8);
        if let Some(bytes) = settings.receive_bytes_max {
            builder.http1_max_buf_size(bytes as usize);
            builder.http2_initial_stream_window_size(bytes).http2_initial_connection_window_size(bytes);
        }
        Ok(Self { inner: builder.build(https), settings })
    }

    /// Sends one request and follows no redirect.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Received>, ClientError> {
        let host = authority(request.uri());
        let agent = HeaderValue::from_static(concat!("postern/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(agent);
        let seconds = self.settings.connect_seconds_max + self.settings.response_seconds_max;
        let response = match self.answer(request, Duration::from_secs(seconds)).await {
            None => return Err(ClientError::Timeout { host, seconds }),
            Some(Err(source)) if source.is_connect() => return Err(ClientError::Connect { host, source }),
            Some(Err(source)) => return Err(ClientError::Request { host, source }),
            Some(Ok(response)) => response,
        };
        let idle = Duration::from_secs(self.settings.body_idle_seconds_max);
        Ok(response.map(|body| Received { body, idle }))
    }

    /// The answer's headers; none where a whole `limit` passed in which nothing of the request was taken. A large body may
    /// need hours, but never a silent one.
    async fn answer(
        &self,
        request: Request<Body>,
        limit: Duration,
    ) -> Option<Result<Response<Incoming>, legacy::Error>> {
        let taken_bytes = Arc::new(AtomicU64::new(0));
        let mut answer = pin!(self.inner.request(request.map(|body| body.counted(Arc::clone(&taken_bytes)))));
        let mut before_bytes = 0;
        loop {
            if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
                return Some(answer);
            }
            let now_bytes = taken_bytes.load(Ordering::Relaxed);
            if now_bytes == before_bytes {
                return None;
            }
            before_bytes = now_bytes;
        }
    }

    /// Sends a GET or HEAD and follows redirects. Credentials go only to the scheme, host and port they were given for.
    pub async fn fetch(
        &self,
        method: Method,
        uri: Uri,
        mut headers: HeaderMap,
    ) -> Result<Response<Received>, ClientError> {
        let host = authority(&uri);
        let mut uri = uri;
        let mut elsewhere = false;
        for _ in 0..=REDIRECTS_COUNT_MAX {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            let mut response = self.send(request).await?;
            let Some(location) = redirect_location(&response) else {
                if elsewhere {
                    response.extensions_mut().insert(FromElsewhere);
                }
                return Ok(response);
            };
            let next = next_uri(&uri, &location).map_err(|reason| ClientError::Redirect {
                host: host.clone(),
                location: location.chars().take(200).collect(),
                reason,
            })?;
            if !same_origin(&uri, &next) {
                elsewhere = true;
                for secret in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE] {
                    headers.remove(secret);
                }
            }
            uri = next;
        }
        Err(ClientError::RedirectCount { host })
    }
}

/// Marks an answer to which a redirect led, from another origin than the one that was asked: what it says of credentials
/// is not the word of whoever holds ours.
#[derive(Clone, Copy, Debug)]
pub struct FromElsewhere;

/// A body that is being received.
#[derive(Debug)]
pub struct Received {
    body: Incoming,
    idle: Duration,
}

impl Received {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        next_piece(&mut self.body, self.idle).await
    }

    /// All of it, when it is at most `limit_bytes`.
    pub async fn collect(mut self, limit_bytes: usize) -> Result<Bytes, BodyError> {
        let mut collected = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if collected.len() + piece.len() > limit_bytes {
                return Err(BodyError::TooLarge(limit_bytes));
            }
            collected.extend_from_slice(&piece);
        }
        Ok(collected.freeze())
    }
}

fn authority(uri: &Uri) -> String {
    uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default()
}

fn redirect_location<B>(response: &Response<B>) -> Option<String> {
    let follow = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| follow)?;
    location.to_str().ok().map(str::to_owned)
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

/// Whether what is meant for one address may be said to the other: scheme, host and port are the same.
pub fn same_origin(a: &Uri, b: &Uri) -> bool {
    a.scheme_str() == b.scheme_str() && a.host() == b.host() && port(a) == port(b)
}

/// Where a `Location` leads: absolute, or relative to the same origin (RFC 3986, as far as registries use it).
pub fn next_uri(from: &Uri, location: &str) -> Result<Uri, &'static str> {
    let text = location.split('#').next().unwrap_or_default();
    let absolute = if text.contains("://") {
        text.to_owned()
    } else {
        let scheme = from.scheme_str().unwrap_or("https");
        let host = from.authority().map_or("", |authority| authority.as_str());
        match text.strip_prefix("//") {
            Some(rest) => format!("{scheme}://{rest}"),
            None if text.starts_with('/') => format!("{scheme}://{host}{text}"),
            None if text.starts_with('?') => format!("{scheme}://{host}{}{text}", from.path()),
            None => {
                let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{scheme}://{host}{folder}/{text}")
            }
        }
    };
    let next: Uri = absolute.parse().map_err(|_| "it is not an address")?;
    match next.scheme_str() {
        Some("https") => Ok(next),
        Some("http") if from.scheme_str() == Some("http") => Ok(next),
        Some("http") => Err("it would leave TLS"),
        _ => Err("it is neither http nor https"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::http::Request;
    use futures_util::stream::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::{Client, ClientSettings, next_uri, same_origin};
    use crate::http::Body;

    const LIMIT: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_millis(300);
    const PIECES: u64 = 12;

    /// Sends a body whose pieces come slowly, but all of them in more than `LIMIT`, to a server that takes everything and
    /// answers at the end, if at all.
    async fn send_slowly(answers: bool) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut taken = Vec::new();
            while !taken.ends_with(b"end") {
                assert!(stream.read_buf(&mut taken).await.unwrap() > 0);
            }
            if answers {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
            // Open until the client goes away.
            let _ = stream.read_buf(&mut taken).await;
        });
        let pieces = futures_util::stream::iter(1..=PIECES).then(|number| async move {
            tokio::time::sleep(PAUSE).await;
            Ok(if number == PIECES { "end" } else { "..." }.into())
        });
        let request = Request::put(uri).body(Body::stream(pieces.boxed(), Some(3 * PIECES))).unwrap();
        let client = Client::new(ClientSettings::default()).unwrap();
        let answered = client.answer(request, LIMIT).await.is_some_and(|answer| answer.is_ok());
        drop(client);
        server.await.unwrap();
        answered
    }

    #[tokio::test]
    async fn a_body_may_take_long_but_never_be_silent() {
        const { assert!(PAUSE.as_millis() * PIECES as u128 > LIMIT.as_millis()) };
        assert_eq!(tokio::join!(send_slowly(true), send_slowly(false)), (true, false));
    }

    #[test]
    fn redirects_lead_where_they_say_and_never_out_of_tls() {
        let check = |from: &str, location: &str, expected: Option<&str>| {
            let next = next_uri(&from.parse().unwrap(), location).ok().map(|uri| uri.to_string());
            assert_eq!(next.as_deref(), expected, "{from} -> {location}");
        };
        check("https://a/v2/x/blobs/d", "https://cdn/d?sig=1", Some("https://cdn/d?sig=1"));
        check("https://a:5000/v2/x/blobs/d", "/other?q", Some("https://a:5000/other?q"));
        check("https://a/v2/x/blobs/d", "//cdn/d", Some("https://cdn/d"));
        check("https://a/v2/x/blobs/d", "e#f", Some("https://a/v2/x/blobs/e"));
        check("https://a/v2", "http://a/v2", None);
        check("http://a/v2", "http://b/v2", Some("http://b/v2"));
        check("http://a/v2", "file:///etc/passwd", None);
        check("http://a/v2", "http://[", None);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let check = |a: &str, b: &str, same: bool| {
            assert_eq!(same_origin(&a.parse().unwrap(), &b.parse().unwrap()), same, "{a} {b}");
        };
        check("https://a/x", "https://a:443/y", true);
        check("https://a/x", "https://a:444/x", false);
        check("https://a/x", "https://b/x", false);
        check("http://a:443/x", "https://a/x", false);
    }
}
