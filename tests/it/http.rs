//! A request as bytes on a socket: for what no client would send, and to see what a server really answered.
//!
//! One request for each connection, HTTP/1.1, plain or over TLS, blocking. Never retried, never redirected, never
//! decoded.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The longest pause between two bytes.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    #[track_caller]
    pub fn expect_status(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "{}", self.text());
        self
    }
}

/// Every type of manifest that there is.
pub const ANY_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A server to ask.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host and port.
    pub address: String,
    /// PEM certificate that its chain must end in; plain HTTP without.
    pub authority: Option<PathBuf>,
}

/// GET `target` with every type of manifest accepted.
pub fn try_get_from(endpoint: &Endpoint, target: &str) -> std::io::Result<Response> {
    request_from(endpoint, "GET", target, &[("Accept", ANY_MANIFEST)], b"")
}

/// The same, where an answer is certain to come.
#[track_caller]
pub fn get_from(endpoint: &Endpoint, target: &str) -> Response {
    try_get_from(endpoint, target).unwrap_or_else(|error| panic!("GET {target} from {}: {error}", endpoint.address))
}

/// GET `target` (a path with its query) from `address` (host and port).
#[track_caller]
pub fn get(address: &str, target: &str) -> Response {
    request(address, "GET", target, &[], b"").unwrap_or_else(|error| panic!("GET {target} from {address}: {error}"))
}

/// Any request. The lengths and the host are added here; an error is the transport's, never the server's answer.
pub fn request(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    request_from(&Endpoint { address: address.to_owned(), authority: None }, method, target, headers, body)
}

/// Any request to any server.
pub fn request_from(
    endpoint: &Endpoint,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let bytes = exchange(connect(endpoint)?, &head_and_body(endpoint, method, target, headers, body, body.len()))?;
    parse(&bytes, method).ok_or_else(|| {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        std::io::Error::new(ErrorKind::InvalidData, format!("no complete answer: {shown:?}"))
    })
}

/// Sends a request that says that its body is `len` bytes long, only the beginning of that body, and is gone.
pub fn break_off(endpoint: &Endpoint, method: &str, target: &str, body: &[u8], len: usize) -> std::io::Result<()> {
    let mut stream = connect(endpoint)?;
    stream.write_all(&head_and_body(endpoint, method, target, &[], body, len))?;
    stream.flush()
}

trait Connection: Read + Write {}

impl<C: Read + Write> Connection for C {}

fn connect(endpoint: &Endpoint) -> std::io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(&endpoint.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(match &endpoint.authority {
        None => Box::new(stream),
        Some(authority) => Box::new(encrypted(stream, &endpoint.address, authority)?),
    })
}

/// A connection that stays open over several requests.
pub struct Kept {
    endpoint: Endpoint,
    stream: Box<dyn Connection>,
}

impl Kept {
    #[track_caller]
    pub fn open(endpoint: &Endpoint) -> Self {
        let stream =
            connect(endpoint).unwrap_or_else(|error| panic!("cannot connect to {}: {error}", endpoint.address));
        Self { endpoint: endpoint.clone(), stream }
    }

    /// One more request; the server must answer over this connection and say how long its answer is.
    #[track_caller]
    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Response {
        let sent = head_and_body(&self.endpoint, "GET", target, headers, b"", 0);
        let sent = String::from_utf8(sent).expect("a head is text").replace("Connection: close\r\n", "");
        self.stream.write_all(sent.as_bytes()).expect("the connection is open");
        self.stream.flush().expect("the connection is open");
        let mut bytes = Vec::new();
        loop {
            if bytes.windows(4).any(|window| window == b"\r\n\r\n")
                && let Some(response) = parse(&bytes, "GET")
            {
                assert!(response.header("content-length").is_some(), "{response:?}");
                return response;
            }
            let mut piece = [0; 4_096];
            let count = self.stream.read(&mut piece).expect("an answer comes");
            assert!(count > 0, "the connection was closed in front of {target}");
            bytes.extend_from_slice(&piece[..count]);
        }
    }
}

fn head_and_body(
    endpoint: &Endpoint,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    len: usize,
) -> Vec<u8> {
    let address = &endpoint.address;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("Content-Length: {len}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut sent = head.into_bytes();
    sent.extend_from_slice(body);
    sent
}

fn exchange(mut stream: impl Read + Write, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(sent)?;
    stream.flush()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// TLS with one authority and no other.
fn encrypted(
    stream: TcpStream,
    address: &str,
    authority: &Path,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let invalid = |text: String| std::io::Error::new(ErrorKind::InvalidInput, text);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).map_err(|error| invalid(error.to_string()))? {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
    let name = ServerName::try_from(host).map_err(|error| invalid(error.to_string()))?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| invalid(error.to_string()))?;
    Ok(StreamOwned::new(connection, stream))
}

/// `None` for an answer that was cut short: half a body must never look like a whole one to a test.
fn parse(bytes: &[u8], method: &str) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let rest = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if (100..200).contains(&status) {
        return parse(rest, method);
    }
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())))
        .collect::<Option<Vec<_>>>()?;
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let bodiless = method == "HEAD" || matches!(status, 204 | 304);
    let body = if bodiless {
        Vec::new()
    } else if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        join_chunks(rest)?
    } else if let Some(length) = header("content-length") {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else {
        rest.to_vec()
    };
    Some(Response { status, headers, body })
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(answer: &str, method: &str, expected: Option<(u16, &str)>) {
        let found = parse(answer.as_bytes(), method).map(|response| (response.status, response.text()));
        assert_eq!(found, expected.map(|(status, body)| (status, body.to_owned())), "{answer:?}");
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET", Some((200, "hi")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "GET", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", Some((200, "")));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "GET", Some((200, "hi")));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "GET", None);
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "PUT", Some((404, "")));
        check("", "GET", None);
    }
}
