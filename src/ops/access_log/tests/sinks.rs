//! Collectors on real sockets of loopback: that take everything, that stall, that leave and come back, that want TLS.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::record;
use crate::http::delivery::{DeliveryTls, Target};
use crate::ops::access_log::{AccessLog, AccessLogSettings, Format, OnLoss, Place, SinkSettings, Way};
use crate::sys::clock::RealClock;
use crate::sys::dir::Dir;
use crate::sys::dir_real::RealDir;
use crate::sys::dir_simulated::SimulatedDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes all whole messages off the front of `received`.
pub(super) fn split(received: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    loop {
        let Some(space) = received.iter().position(|byte| *byte == b' ') else { return messages };
        let length: usize = std::str::from_utf8(&received[..space]).unwrap().parse().unwrap();
        if received.len() < space + 1 + length {
            return messages;
        }
        let rest = received.split_off(space + 1 + length);
        messages.push(std::mem::replace(received, rest).split_off(space + 1));
    }
}

/// The number of a message.
fn sequence(message: &[u8]) -> u64 {
    let text = std::str::from_utf8(message).unwrap();
    let from = text.split_once("sequenceId=\"").unwrap().1;
    from.split_once('"').unwrap().0.parse().unwrap()
}

/// The collector's side of a connection.
struct Collector<S> {
    stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Collector<S> {
    const fn new(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Reads at least `count` messages, and fewer only at the end; their numbers in order of arrival.
    async fn read(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            if read.expect("more comes in time").unwrap() == 0 {
                assert!(self.received.is_empty(), "it ends within a message");
                break;
            }
            numbers.extend(split(&mut self.received).iter().map(|message| sequence(message)));
        }
        numbers
    }
}

fn log_to(way: Way, settings: AccessLogSettings) -> Arc<AccessLog> {
    let dir: Arc<dyn Dir> = Arc::new(SimulatedDir::default());
    let sinks = vec![SinkSettings::new("siem".to_owned(), way, Format::Rfc5424)];
    let settings = AccessLogSettings { sinks, ..settings };
    Arc::new(AccessLog::start_with(dir, Arc::new(RealClock), settings).unwrap())
}

fn target(listener: &TcpListener, tls: Option<DeliveryTls>) -> Target {
    Target { send_seconds_max: 1, ..Target::new("127.0.0.1".to_owned(), listener.local_addr().unwrap().port(), tls) }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A port that is ours, and refuses until it is listened on.
fn refusing() -> (TcpSocket, Target) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, Target::new("127.0.0.1".to_owned(), port, None))
}

async fn accept(listener: &TcpListener) -> TcpStream {
    tokio::time::timeout(PATIENCE, listener.accept()).await.expect("it connects").unwrap().0
}

async fn collector(listener: &TcpListener) -> Collector<TcpStream> {
    Collector::new(accept(listener).await)
}

fn sink(log: &AccessLog) -> &Place {
    log.places().nth(1).unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[tokio::test]
async fn what_is_recorded_arrives_in_order_and_the_end_is_waited_for() {
    let listener = listener().await;
    let log = log_to(Way::Syslog(target(&listener, None)), AccessLogSettings::default());
    for _ in 0..500 {
        log.record(record("/a"));
    }
    let ending = Arc::clone(&log);
    let ended = tokio::spawn(async move { ending.end(PATIENCE).await });
    let mut collector = collector(&listener).await;
    assert_eq!(collector.read(501).await, (1..=500).collect::<Vec<u64>>());
    ended.await.unwrap();
    assert_eq!((sink(&log).kept_count(), sink(&log).lost_count(), sink(&log).waiting_count()), (500, 0, 0));
}

#[tokio::test]
async fn a_collector_that_leaves_and_returns_misses_nothing() {
    let listener = listener().await;
    let log = log_to(Way::Syslog(target(&listener, None)), AccessLogSettings::default());
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let mut collector = collector(&listener).await;
        for _ in 0..50 {
            log.record(record("/a"));
        }
        if round == 2 {
            // It leaves without having read a thing that its kernel took.
            until("the kernel takes them", || sink(&log).waiting_count() == 0).await;
        } else {
            seen.extend(collector.read(20).await);
        }
    }
    let mut collector = collector(&listener).await;
    while seen.len() < 200 {
        seen.extend(collector.read(1).await);
    }
    assert_eq!(seen, (1..=200).collect());
    assert_eq!((sink(&log).kept_count(), sink(&log).lost_count()), (200, 0));
}

#[tokio::test]
async fn what_a_stalled_collector_does_not_take_is_counted_exactly() {
    let listener = listener().await;
    let settings = AccessLogSettings { queue_count_max: 64, ..AccessLogSettings::default() };
    let log = log_to(Way::Syslog(target(&listener, None)), settings);
    let stalled = accept(&listener).await;
    let long = format!("/{}", "x".repeat(1_000));
    let mut recorded = 0_u64;
    while sink(&log).lost_count() < 100 {
        log.record(record(&long));
        recorded += 1;
        tokio::task::yield_now().await;
    }
    // It is given up after a second; the next connection gets all that the first one may not have read.
    let mut next = collector(&listener).await;
    let ending = Arc::clone(&log);
    let ended = tokio::spawn(async move { ending.end(PATIENCE).await });
    let seen: BTreeSet<u64> = next.read(usize::MAX).await.into_iter().collect();
    ended.await.unwrap();
    let (kept, lost) = (sink(&log).kept_count(), sink(&log).lost_count());
    assert_eq!((kept + lost, sink(&log).waiting_count()), (recorded, 0));
    // Numbers tell the same: each that was kept is with the one or the other, and what is missing was lost.
    let (mut stalled, mut received) = (stalled, Vec::new());
    while let Ok(Ok(1..)) = tokio::time::timeout(PATIENCE, stalled.read_buf(&mut received)).await {}
    let taken: BTreeSet<u64> = split(&mut received).iter().map(|message| sequence(message)).collect();
    assert!(taken.contains(&1));
    assert_eq!(taken.union(&seen).count() as u64, kept);
    assert!(seen.first().unwrap() <= &(taken.last().unwrap() + 1), "{taken:?} {seen:?}");
}

#[tokio::test]
async fn nobody_there_stops_requests_until_somebody_is() {
    let (closed, target) = refusing();
    let settings = AccessLogSettings { on_loss: OnLoss::Stop, queue_count_max: 8, ..AccessLogSettings::default() };
    let log = log_to(Way::Syslog(target), settings);
    for _ in 0..8 {
        let _reserved = log.reserve().unwrap();
        log.record(record("/a"));
    }
    until("the files", || log.places().next().unwrap().waiting_count() == 0).await;
    assert_eq!(log.reserve().unwrap_err().0, "siem");
    assert_eq!(log.stopped().unwrap().0, "siem");
    let listener = closed.listen(16).unwrap();
    assert_eq!(collector(&listener).await.read(8).await.len(), 8);
    until("requests again", || log.stopped().is_none()).await;
    assert!(log.reserve().is_ok());
    assert_eq!((sink(&log).kept_count(), sink(&log).lost_count(), log.refused_count()), (8, 0, 1));
}

#[tokio::test]
async fn what_cannot_be_delivered_at_the_end_is_counted() {
    let (_closed, target) = refusing();
    let log = log_to(Way::Syslog(target), AccessLogSettings::default());
    for _ in 0..3 {
        log.record(record("/a"));
    }
    log.end(Duration::from_millis(200)).await;
    assert_eq!((sink(&log).kept_count(), sink(&log).lost_count(), sink(&log).waiting_count()), (0, 3, 0));
}

#[tokio::test]
async fn the_journal_gets_entries_and_may_be_away_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let log = log_to(Way::Journal(path.clone()), AccessLogSettings::default());
    log.record(record("/a"));
    let read = |path: &Path| {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let socket = read(&path);
    let mut buffer = [0; 4_096];
    let taken = tokio::task::spawn_blocking(move || socket.recv(&mut buffer).map(|count| (buffer, count)));
    let (buffer, count) = taken.await.unwrap().unwrap();
    let text = std::str::from_utf8(&buffer[..count]).unwrap();
    assert!(text.starts_with("MESSAGE=pull GET /a 200\nPRIORITY=6\nSYSLOG_IDENTIFIER=postern-access\n"), "{text}");
    assert!(text.contains("\nPOSTERN_SEQUENCE=1\n"), "{text}");
    until("it is counted", || sink(&log).kept_count() == 1).await;
    // The socket was closed: the next entry waits for another one.
    log.record(record("/b"));
    RealDir::open(folder.path()).unwrap().remove("socket").unwrap();
    let socket = read(&path);
    let count = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 4_096];
        socket.recv(&mut buffer)
    });
    assert!(count.await.unwrap().unwrap() > 0);
}

mod tls {
    use std::sync::Arc;

    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig};
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::TlsAcceptor;

    use super::{Collector, PATIENCE, accept, listener, log_to, sink, target, until};
    use crate::http::delivery::DeliveryTls;
    use crate::http::tls::TlsFiles;
    use crate::ops::access_log::tests::record;
    use crate::ops::access_log::{AccessLogSettings, Way};
    use crate::sys::certificate::{SelfSigned, self_signed, self_signed_client};
    use crate::sys::dir::replace;
    use crate::sys::dir_real::RealDir;

    struct Files {
        _folder: tempfile::TempDir,
        files: TlsFiles,
    }

    fn server() -> Files {
        files(self_signed("a server", None, "127.0.0.1:0".parse().unwrap()).unwrap())
    }

    fn files(made: SelfSigned) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: folder.path().join("c"), key: folder.path().join("k") };
        let dir = RealDir::open(folder.path()).unwrap();
        replace(&dir, "c", made.certificate.as_bytes()).unwrap();
        replace(&dir, "k", made.key.as_bytes()).unwrap();
        Files { _folder: folder, files }
    }

    fn acceptor(server: &Files, client: Option<&Files>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = |files: &Files| CertificateDer::from_pem_file(&files.files.certificate).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = match client {
            None => config.unwrap().with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(client)).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                config.unwrap().with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&server.files.key).unwrap();
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate(server)], key).unwrap()))
    }

    #[tokio::test]
    async fn a_collector_is_told_only_when_its_certificate_is_trusted() {
        let (server, other) = (server(), server());
        let listener = listener().await;
        let trusting = |trusted: &Files| DeliveryTls { ca_file: Some(trusted.files.certificate.clone()), client: None };
        let wrong = Way::Syslog(target(&listener, Some(trusting(&other))));
        let log = log_to(wrong, AccessLogSettings::default());
        log.record(record("/a"));
        assert!(acceptor(&server, None).accept(accept(&listener).await).await.is_err());
        drop(log);
        let right = Way::Syslog(target(&listener, Some(trusting(&server))));
        let log = log_to(right, AccessLogSettings::default());
        log.record(record("/a"));
        let mut stream = loop {
            // A last try of the first one may still be in the queue.
            if let Ok(stream) = acceptor(&server, None).accept(accept(&listener).await).await {
                break stream;
            }
        };
        let mut collector = Collector::new(&mut stream);
        assert_eq!(collector.read(1).await, [1]);
        let ended = tokio::spawn(async move {
            log.end(PATIENCE).await;
            assert_eq!(sink(&log).lost_count(), 0);
        });
        // The end is said in TLS too: a cut connection would be an error here.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_collector_that_wants_a_certificate_gets_it() {
        let (server, client) = (server(), files(self_signed_client("a client").unwrap()));
        let listener = listener().await;
        let tls = DeliveryTls { ca_file: Some(server.files.certificate.clone()), client: Some(client.files.clone()) };
        let log = log_to(Way::Syslog(target(&listener, Some(tls))), AccessLogSettings::default());
        log.record(record("/a"));
        let stream = acceptor(&server, Some(&client)).accept(accept(&listener).await).await.unwrap();
        assert!(stream.get_ref().1.peer_certificates().is_some());
        assert_eq!(Collector::new(stream).read(1).await, [1]);
        until("it is counted", || sink(&log).kept_count() == 1).await;
    }
}
