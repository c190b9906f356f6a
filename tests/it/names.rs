//! Names of upstreams, resolved by the real binary with the files and the name server of a machine made for it: a
//! network namespace, its own `/etc/hosts` and `/etc/resolv.conf`, and a DNS server written here that also misbehaves.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::crossing::appliance::Appliance;
use crate::netns::Namespace;
use crate::process::{self, Ran};

const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &[u8] = b"{}";

/// The names that the server knows behave as they are called; `host.corp.test` is what a search domain makes of `host`.
const HOSTS: [&str; 7] =
    ["plain.test", "host", "written.test", "long.test", "silent.test", "garbage.test", "none.test"];

struct Machine<'n> {
    folder: TempDir,
    namespace: &'n Namespace,
    asked: Arc<Mutex<Vec<String>>>,
}

impl<'n> Machine<'n> {
    #[track_caller]
    fn start(namespace: &'n Namespace) -> (Self, u16) {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let asked = Arc::default();
        let (udp, tcp, upstream) = namespace.inside(|| {
            (
                UdpSocket::bind("127.0.0.1:53").expect("nobody else is in there"),
                TcpListener::bind("127.0.0.1:53").expect("nobody else is in there"),
                TcpListener::bind("127.0.0.1:0").expect("loopback is up inside"),
            )
        });
        let port = upstream.local_addr().expect("it is bound").port();
        // They end with the test process: each waits for a peer that can no more come.
        let log = Arc::clone(&asked);
        std::thread::spawn(move || answer_datagrams(&udp, &log));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || answer_streams(&tcp, &log));
        std::thread::spawn(move || serve_image(&upstream));
        let machine = Self { folder, namespace, asked };
        machine.write("hosts", "127.0.0.1 written.test\n");
        machine.write("resolv.conf", "search corp.test\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
        (machine, port)
    }

    /// In place: the files are mounted where the binary looks for them.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("the folder is ours");
    }

    /// The same command, on this machine. `ip netns exec` gives it mounts of its own.
    fn wrap(&self, command: &Command) -> Command {
        let script =
            "mount --bind \"$0/hosts\" /etc/hosts && mount --bind \"$0/resolv.conf\" /etc/resolv.conf && exec \"$@\"";
        let leading = [OsString::from("-c"), script.into(), self.folder.path().into()];
        self.namespace.wrap(&process::prefixed(Path::new("/bin/sh"), &leading, command))
    }

    fn fetch(&self, appliance: &Appliance<'_>, host: &str) -> Ran {
        self.asked.lock().expect("no holder panics").clear();
        process::run(self.wrap(&appliance.command(["mirror", "fetch", &format!("{host}/demo/app:v1")])), PATIENCE)
    }

    /// What was asked since the last fetch, as `udp name`.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

fn low_side(folder: &Path, port: u16, top: &str) -> Appliance<'static> {
    let appliance = Appliance::set_up(folder, "low", None);
    let upstreams: String =
        HOSTS.iter().map(|host| format!("[[upstream]]\nname = \"{host}\"\nurl = \"http://{host}:{port}\"\n")).collect();
    appliance.without_tls(&format!("{top}\n{upstreams}"));
    let policy: PathBuf = folder.join("policy.toml");
    std::fs::write(&policy, "version = 1\ndefault = \"admit\"\n").expect("the folder is ours");
    appliance.run([std::ffi::OsStr::new("policy"), "activate".as_ref(), policy.as_os_str()]).succeeded();
    appliance
}

#[test]
fn upstreams_are_found_by_the_machines_own_files() {
    let Some(namespace) = Namespace::empty() else { return };
    let (machine, port) = Machine::start(&namespace);
    let low = low_side(machine.folder.path(), port, "");

    machine.fetch(&low, "plain.test").succeeded();
    assert!(machine.asked().contains(&"udp plain.test".to_owned()), "{:?}", machine.asked());
    machine.fetch(&low, "host").succeeded();
    assert!(machine.asked().contains(&"udp host.corp.test".to_owned()), "{:?}", machine.asked());
    machine.fetch(&low, "written.test").succeeded();
    assert_eq!(machine.asked(), Vec::<String>::new(), "the hosts file is enough");
    machine.fetch(&low, "long.test").succeeded();
    assert!(machine.asked().contains(&"tcp long.test".to_owned()), "a truncated answer: {:?}", machine.asked());

    machine.fetch(&low, "none.test").failed_saying("name server '127.0.0.1' knows no address of 'none.test'");
    let start = Instant::now();
    machine.fetch(&low, "silent.test").failed_saying("name server '127.0.0.1' did not resolve 'silent.test'");
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    machine.fetch(&low, "garbage.test").failed_saying("resolve 'garbage.test'");

    machine.write("resolv.conf", "");
    machine.fetch(&low, "none.test").failed_saying("names no server");
    assert_eq!(machine.asked(), Vec::<String>::new(), "no server is asked that is not written");
}

/// A lease of DHCP may come long after the service: the next dial knows of it.
#[test]
fn a_name_server_that_comes_later_is_noticed_while_serving() {
    let Some(namespace) = Namespace::empty() else { return };
    let (machine, port) = Machine::start(&namespace);
    machine.write("resolv.conf", "");
    let low = low_side(machine.folder.path(), port, "mirror.fresh_seconds = 0");
    let serving = low.serve_command(machine.wrap(&low.command(["serve"])));
    let get = |host: &str| {
        machine.namespace.inside(|| crate::http::get(serving.address(), &format!("/v2/{host}/demo/app/manifests/v1")))
    };
    let answer = get("plain.test");
    assert!(answer.status >= 500 && !answer.text().contains("127.0.0.1"), "{}: {}", answer.status, answer.text());
    machine.write("resolv.conf", "nameserver 127.0.0.1\n");
    // Another upstream: the first is left alone for a while after it could not be reached.
    get("long.test").expect_status(200);
}

#[test]
fn offline_nothing_is_asked() {
    let Some(namespace) = Namespace::empty() else { return };
    let (machine, port) = Machine::start(&namespace);
    let low = low_side(machine.folder.path(), port, "offline = true");
    machine.fetch(&low, "plain.test").failed_saying("offline");
    assert_eq!(machine.asked(), Vec::<String>::new());
}

/// What is sent back for a question; nothing where the server is silent.
fn reply(question: &[u8], way: &str, log: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let (mut name, mut at) = (Vec::new(), 12);
    while let Some(len) = question.get(at).map(|len| usize::from(*len)).filter(|len| *len > 0) {
        name.push(String::from_utf8_lossy(question.get(at + 1..=at + len)?).to_lowercase());
        at += len + 1;
    }
    let (name, end) = (name.join("."), at + 5);
    let is_ipv4 = question.get(at + 1..at + 3)? == [0, 1];
    log.lock().expect("no holder panics").push(format!("{way} {name}"));
    let known = ["plain.test", "host.corp.test", "long.test"].contains(&name.as_str());
    let answers = is_ipv4 && known && !(name == "long.test" && way == "udp");
    let (flags, code) = match name.as_str() {
        "silent.test" => return None,
        "garbage.test" => return Some([&question[..2], &[0xff; 30]].concat()),
        "long.test" if way == "udp" => (0x87, 0x80),
        _ if known => (0x85, 0x80),
        _ => (0x85, 0x83),
    };
    let mut reply =
        [&question[..2], &[flags, code, 0, 1, 0, u8::from(answers), 0, 0, 0, 0], question.get(12..end)?].concat();
    if answers {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(reply)
}

fn answer_datagrams(socket: &UdpSocket, log: &Mutex<Vec<String>>) {
    let mut buffer = [0; 1500];
    while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
        if let Some(reply) = reply(&buffer[..count], "udp", log) {
            let _ = socket.send_to(&reply, peer);
        }
    }
}

fn answer_streams(listener: &TcpListener, log: &Mutex<Vec<String>>) {
    for mut stream in listener.incoming().flatten() {
        let mut len = [0; 2];
        while stream.read_exact(&mut len).is_ok() {
            let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
            let Ok(()) = stream.read_exact(&mut question) else { break };
            let Some(reply) = reply(&question, "tcp", log) else { break };
            let framed = [&u16::try_from(reply.len()).expect("a short reply").to_be_bytes()[..], &reply].concat();
            let Ok(()) = stream.write_all(&framed) else { break };
        }
    }
}

/// An upstream with one image, without layers, that answers under any name.
fn serve_image(listener: &TcpListener) {
    let digest = |bytes: &[u8]| -> String {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{kind}\",\"config\":{{\"mediaType\":\
         \"application/vnd.oci.image.config.v1+json\",\"digest\":\"{}\",\"size\":{}}},\"layers\":[]}}",
        digest(CONFIG),
        CONFIG.len()
    );
    let manifest_digest = digest(manifest.as_bytes());
    for mut stream in listener.incoming().flatten() {
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let (status, body, kind, digest) = if request.contains("/manifests/v1 ") || request.contains(&manifest_digest) {
            (200, manifest.as_bytes(), kind, manifest_digest.as_str())
        } else if request.contains(&format!("/blobs/{}", digest(CONFIG))) {
            (200, CONFIG, "application/octet-stream", "")
        } else {
            (404, &b""[..], "text/plain", "")
        };
        let headers = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
            body.len(),
            if digest.is_empty() { String::new() } else { format!("Docker-Content-Digest: {digest}\r\n") },
        );
        let _ = stream.write_all(headers.as_bytes());
        if !request.starts_with("HEAD") {
            let _ = stream.write_all(body);
        }
    }
}
