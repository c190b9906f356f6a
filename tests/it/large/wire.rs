//! HTTP/1.1 with bodies that are never whole in memory. One request for each connection, plain.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest pause between two bytes: the end of an upload is made durable before it is answered.
const PATIENCE: Duration = Duration::from_secs(300);
const PIECE_BYTES: usize = 256 * 1024;

/// How a body says where it ends.
#[derive(Debug, Clone, Copy)]
pub enum Framing {
    Length(u64),
    Chunked,
}

/// Status and headers; the body still to come.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: BufReader<TcpStream>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn expect_status(mut self, expected: u16) -> Self {
        if self.status != expected {
            let mut text = Vec::new();
            let _ = self.body.by_ref().take(4096).read_to_end(&mut text);
            panic!("{} instead of {expected}: {}", self.status, String::from_utf8_lossy(&text));
        }
        self
    }

    /// Gives the body in pieces; it must be as long as it says.
    #[track_caller]
    pub fn read(mut self, mut take: impl FnMut(&[u8])) {
        let length = self.header("content-length").expect("a length stands before the content");
        let mut left: u64 = length.parse().expect("a length is a number");
        let mut buffer = vec![0; PIECE_BYTES];
        while left > 0 {
            let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = self.body.read(&mut buffer[..length]).expect("the server goes on");
            assert!(count > 0, "{left} bytes are missing at the end");
            take(&buffer[..count]);
            left -= count as u64;
        }
        assert_eq!(self.body.read(&mut buffer[..1]).expect("the server ends"), 0, "more than it said");
    }
}

/// A request without a body.
#[track_caller]
pub fn ask(address: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(&head(address, method, target, headers, None)).expect("a request can be sent");
    answer(stream)
}

/// A request with a body: `fill` gives the number of bytes that it put into a piece, 0 at the end.
///
/// A server may answer and close before all of it was sent; then the answer counts.
#[track_caller]
pub fn send(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    framing: Framing,
    fill: impl FnMut(&mut [u8]) -> usize,
) -> Answer {
    let mut stream = connect(address);
    stream.write_all(&head(address, method, target, headers, Some(framing))).expect("a request can be sent");
    let _ = send_body(&mut stream, framing, fill);
    answer(stream)
}

fn send_body(
    stream: &mut TcpStream,
    framing: Framing,
    mut fill: impl FnMut(&mut [u8]) -> usize,
) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut left = match framing {
        Framing::Length(length) => length,
        Framing::Chunked => u64::MAX,
    };
    while left > 0 {
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = fill(&mut buffer[..length]);
        if count == 0 {
            break;
        }
        left -= count as u64;
        match framing {
            Framing::Length(_) => stream.write_all(&buffer[..count])?,
            Framing::Chunked => {
                stream.write_all(format!("{count:x}\r\n").as_bytes())?;
                stream.write_all(&buffer[..count])?;
                stream.write_all(b"\r\n")?;
            }
        }
    }
    match framing {
        Framing::Length(_) => Ok(()),
        Framing::Chunked => stream.write_all(b"0\r\n\r\n"),
    }
}

#[track_caller]
fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE))).expect("a socket");
    stream
}

fn head(address: &str, method: &str, target: &str, headers: &[(&str, &str)], framing: Option<Framing>) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    match framing {
        Some(Framing::Length(length)) => head.push_str(&format!("Content-Length: {length}\r\n")),
        Some(Framing::Chunked) => head.push_str("Transfer-Encoding: chunked\r\n"),
        None => {}
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

#[track_caller]
fn answer(stream: TcpStream) -> Answer {
    let mut body = BufReader::with_capacity(PIECE_BYTES, stream);
    let mut line = String::new();
    let mut next = |body: &mut BufReader<TcpStream>| {
        line.clear();
        body.read_line(&mut line).expect("a server answers");
        line.trim_end().to_owned()
    };
    let first = next(&mut body);
    let status = first.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {first:?}"));
    let mut headers = Vec::new();
    loop {
        let text = next(&mut body);
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Answer { status, headers, body }
}
