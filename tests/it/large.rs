//! A blob whose offsets do not fit into 32 bits: pushed in pieces, read in ranges, carried over a medium and pulled.
//!
//! `POSTERN_TEST_LARGE_BYTES` says how large; `make test-large` makes it 5 GiB. Without it the same goes over 48 MiB,
//! with the places that matter around the middle. The content is made as it is sent and hashed as it comes, so nobody
//! here ever holds it; that the server does not either is seen by its peak of memory.

mod content;
mod wire;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use self::content::{Content, MIB};
use self::wire::{Framing, ask, send};
use crate::clients::Clients;
use crate::crossing::appliance::{Appliance, Serving};
use crate::crossing::{activate, exchange, volumes};
use crate::http;
use crate::outside::Image;
use crate::outside::signing::{self, SigningKey};
use crate::push::{ADMIT, OPEN};
use crate::skip;

const REPOSITORY: &str = "demo/large";
const TAG: &str = "v1";
const SHORT_BYTES: u64 = 48 * MIB;
/// What a server may need however large the blob is.
const PEAK_BYTES_MAX: u64 = 96 * MIB;
/// For one command on the whole content, under emulation too.
const PATIENCE: Duration = Duration::from_secs(3600);

#[test]
fn a_blob_beyond_32_bits_is_pushed_ranged_carried_and_pulled() {
    let size_bytes = std::env::var("POSTERN_TEST_LARGE_BYTES")
        .map_or(SHORT_BYTES, |text| text.parse().expect("POSTERN_TEST_LARGE_BYTES is a number of bytes"));
    let Some(clients) = Clients::find(&["cosign", "crane"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    // On both sides, and what is on the medium and on its way.
    if !has_room(folder.path(), 2 * size_bytes + size_bytes / 8 + 256 * MIB) {
        return;
    }
    let content = Content::of(size_bytes);
    let key = SigningKey::generate(&clients, "apps");
    let low = Appliance::set_up(folder.path(), "low", None);
    let high = Appliance::set_up_high(folder.path(), "high", None);
    exchange(&low, &high, folder.path());
    low.without_tls(OPEN);
    high.without_tls("");
    activate(&low, ADMIT, folder.path());
    activate(&high, &policy(&key), folder.path());

    let serving = low.serve();
    let digest = timed("push in pieces", || push(serving.address(), &content));
    let image = push_manifest(&clients, serving.address(), &digest, size_bytes);
    signing::sign_bundle(&clients, &key, &image);
    timed("ranges of the low side", || read_ranges(serving.address(), &digest, &content));
    let medium = folder.path().join("stick");
    std::fs::create_dir(&medium).expect("the folder is ours");
    timed("export with read-back", || export_to(&low, &medium, &content));
    assert_bounded("low side", &serving);
    drop(serving);

    // The server does the work of the commands, so that its peak tells of them too.
    let serving = high.serve();
    let medium = medium.display().to_string();
    let report = timed("import", || high.json_within(PATIENCE, ["bundle", "import", &medium]));
    assert_eq!(report["admitted"].as_array().map(Vec::len), Some(1), "{report:#}");
    timed("ranges of the high side", || read_ranges(serving.address(), &digest, &content));
    timed("pull", || pull(serving.address(), &digest, size_bytes));
    let checked = timed("check of the store", || high.json_within(PATIENCE, ["store", "check"]));
    assert_eq!(checked["findings"].as_array().map(Vec::len), Some(0), "{checked:#}");
    assert_bounded("high side", &serving);
    high.accesses_once_written(&[&digest, "\"status\":200", &format!("\"bytes\":{size_bytes}")], 1);
}

/// Whether the disk takes that much; otherwise a skip.
#[track_caller]
fn has_room(folder: &Path, needed_bytes: u64) -> bool {
    let disk = nix::sys::statvfs::statvfs(folder).expect("a folder's disk can be asked");
    let free_bytes = disk.blocks_available() * disk.fragment_size();
    if free_bytes < needed_bytes {
        let what = format!("{} MiB are free below {}", free_bytes / MIB, folder.display());
        skip::absent(&what, &format!("make {} MiB free, or name another disk in TMPDIR", needed_bytes / MIB));
    }
    free_bytes >= needed_bytes
}

/// Three pieces, each with another framing: the second goes over the place that matters. Gives the digest.
#[track_caller]
fn push(address: &str, content: &Content) -> String {
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let opened = send(address, "POST", &uploads, &[], Framing::Length(0), |_| 0).expect_status(202);
    let session = opened.header("location").expect("an upload has a place").to_owned();
    let mut sender = content.sender();
    let (first, second) = (content.boundary - MIB - 3, content.boundary + MIB + 5);

    let range = format!("0-{}", first - 1);
    let headers = [("Content-Range", range.as_str())];
    let taken = send(address, "PATCH", &session, &headers, Framing::Length(first), |piece| sender.fill(piece, first));
    assert_eq!(taken.expect_status(202).header("range"), Some(range.as_str()));
    let taken = send(address, "PATCH", &session, &[], Framing::Chunked, |piece| sender.fill(piece, second));
    let range = format!("0-{}", second - 1);
    assert_eq!(taken.expect_status(202).header("range"), Some(range.as_str()));
    let asked = ask(address, "GET", &session, &[]).expect_status(204);
    assert_eq!(asked.header("range"), Some(range.as_str()));
    // A piece that does not begin where the upload stands, though it does in 32 bits.
    let wrapped = second % (1 << 32);
    if wrapped != second {
        let range = format!("{wrapped}-{wrapped}");
        let headers = [("Content-Range", range.as_str())];
        send(address, "PATCH", &session, &headers, Framing::Length(1), |piece| piece.len()).expect_status(416);
    }
    let range = format!("{second}-{}", content.size_bytes - 1);
    let headers = [("Content-Range", range.as_str())];
    let framing = Framing::Length(content.size_bytes - second);
    // What is left is sent before its digest is known, so the end is a piece of its own.
    let taken = send(address, "PATCH", &session, &headers, framing, |piece| sender.fill(piece, content.size_bytes));
    let range = format!("0-{}", content.size_bytes - 1);
    assert_eq!(taken.expect_status(202).header("range"), Some(range.as_str()));
    let digest = sender.digest();
    let target = format!("{session}?digest={digest}");
    send(address, "PUT", &target, &[], Framing::Length(0), |_| 0).expect_status(201);
    digest
}

/// An image of that one layer.
#[track_caller]
fn push_manifest(clients: &Clients, address: &str, layer: &str, size_bytes: u64) -> Image {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let target = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", signing::sha256(config));
    put(address, "POST", &target, "application/octet-stream", config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": config.len(),
            "digest": signing::sha256(config),
        },
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": size_bytes, "digest": layer}],
    });
    let manifest = manifest.to_string().into_bytes();
    put(address, "PUT", &format!("/v2/{REPOSITORY}/manifests/{TAG}"), MANIFEST, &manifest);
    let digest = clients.succeed("crane", ["digest", &format!("{address}/{REPOSITORY}:{TAG}")]);
    assert_eq!(digest, signing::sha256(&manifest));
    Image { address: address.to_owned(), repository: REPOSITORY.to_owned(), tag: TAG.to_owned(), digest }
}

#[track_caller]
fn put(address: &str, method: &str, target: &str, media_type: &str, bytes: &[u8]) {
    let answer = http::request(address, method, target, &[("Content-Type", media_type)], bytes);
    answer.unwrap_or_else(|error| panic!("{method} {target}: {error}")).expect_status(201);
}

/// Around the place that matters, at the end, and beyond it; the bytes are the ones that belong there.
#[track_caller]
fn read_ranges(address: &str, digest: &str, content: &Content) {
    let (size, at) = (content.size_bytes, content.boundary);
    let target = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let head = ask(address, "HEAD", &target, &[]).expect_status(200);
    assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
    for (asked, first, last) in [
        (format!("bytes={}-{}", at - 1, at), at - 1, at),
        (format!("bytes={at}-{at}"), at, at),
        (format!("bytes={}-{}", at - 1000, at + 1000), at - 1000, at + 1000),
        (format!("bytes={}-{}", at + 7, at + 3 * MIB), at + 7, at + 3 * MIB),
        ("bytes=0-0".to_owned(), 0, 0),
        (format!("bytes={}-", size - 100), size - 100, size - 1),
        (format!("bytes={}-{}", size - 1, size - 1), size - 1, size - 1),
        (format!("bytes={}-{}", size - 5, u64::MAX), size - 5, size - 1),
        ("bytes=-1".to_owned(), size - 1, size - 1),
        (format!("bytes=-{}", 2 * MIB), size - 2 * MIB, size - 1),
    ] {
        let answer = ask(address, "GET", &target, &[("Range", &asked)]).expect_status(206);
        let range = format!("bytes {first}-{last}/{size}");
        assert_eq!(answer.header("content-range"), Some(range.as_str()), "{asked}");
        let mut at_byte = first;
        answer.read(|piece| {
            assert!(piece == content.bytes(at_byte, piece.len()), "{asked}: other bytes after byte {at_byte}");
            at_byte += piece.len() as u64;
        });
        assert_eq!(at_byte, last + 1, "{asked}");
    }
    let answer = ask(address, "GET", &target, &[("Range", &format!("bytes={size}-"))]).expect_status(416);
    assert_eq!(answer.header("content-range"), Some(format!("bytes */{size}").as_str()));
}

/// Onto as many volumes as the bytes that are not zero need.
#[track_caller]
fn export_to(low: &Appliance<'_>, medium: &Path, content: &Content) {
    let volume_bytes = content.noise_bytes() / 4;
    let (image, size) = (format!("{REPOSITORY}:{TAG}"), volume_bytes.to_string());
    let path = medium.display().to_string();
    let arguments =
        ["bundle", "export", "--receiver", "high", "--medium", &path, "--volume-size", size.as_str(), image.as_str()];
    let report = low.json_within(PATIENCE, arguments);
    assert_eq!(report["read_back"], true, "{report:#}");
    let written = volumes(medium);
    assert!(written.len() >= 4 && written.values().all(|bytes| *bytes <= volume_bytes), "{written:?}");
}

/// All of it, hashed as it comes.
#[track_caller]
fn pull(address: &str, digest: &str, size_bytes: u64) {
    let answer = ask(address, "GET", &format!("/v2/{REPOSITORY}/blobs/{digest}"), &[]).expect_status(200);
    let mut hasher = content::Hasher::new();
    answer.read(|piece| hasher.update(piece));
    assert_eq!((hasher.bytes(), hasher.digest()), (size_bytes, digest.to_owned()));
}

fn policy(key: &SigningKey) -> String {
    let pem = key.public_pem();
    format!(
        "version = 1\ndefault = \"deny\"\n[keys.apps]\npem = \"\"\"\n{pem}\"\"\"\n\
         [[rule]]\nname = \"apps-are-signed\"\nrepositories = [\"demo/**\"]\nsignature.keys = [\"apps\"]\n"
    )
}

/// The most that the server ever had in memory, without what the kernel keeps of files.
#[track_caller]
#[expect(clippy::disallowed_macros, reason = "a test's own output, which libtest keeps with the test")]
fn assert_bounded(side: &str, serving: &Serving<'_>) {
    let process = std::path::PathBuf::from(format!("/proc/{}", serving.server.pid()));
    let status = std::fs::read_to_string(process.join("status")).expect("it still runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak_bytes = peak.and_then(|text| text.parse::<u64>().ok()).expect("the kernel tells the peak") * 1024;
    let program = std::fs::read_link(process.join("exe")).expect("it still runs");
    println!("    {side}: peak of memory {} MiB ({})", peak_bytes / MIB, program.display());
    // An emulator has memory of its own.
    let emulated = program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("qemu-"));
    assert!(emulated || peak_bytes <= PEAK_BYTES_MAX, "{side}: {peak_bytes} bytes");
}

/// Runs one step and says how long it took.
#[expect(clippy::disallowed_macros, reason = "a test's own output, which libtest keeps with the test")]
fn timed<T>(step: &str, action: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = action();
    println!("    {step}: {:.1} s", start.elapsed().as_secs_f64());
    outcome
}
