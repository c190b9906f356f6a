//! How the store behaves with many manifests: keys and pages, memory, opening, making the index anew, commit latency.
//!
//! `cargo bench --bench index_scale -- 100000` (the default is 10000). Each phase runs in a process of its own, so that
//! the memory of one is not counted for another. The promise stands in SPECIFICATION.md: 96 MB in all at 10,000 images.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a measurement prints, times and makes files"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use postern::backup::{self, RestoreOrder, TakeOptions};
use postern::device_id::DeviceId;
use postern::oci::digest::Digest;
use postern::oci::manifest::{EdgeKind, Manifest};
use postern::oci::media_type::OCI_MANIFEST;
use postern::oci::name::RepositoryName;
use postern::progress::Silent;
use postern::store::{Change, LinkVia, PrincipalRef, ScrubOptions, Store, StoreSettings, Transaction};
use postern::sys::clock::{Clock, RealClock};
use postern::sys::dir::{Create, Dir};
use postern::sys::dir_layered::LayeredDir;
use postern::sys::dir_real::RealDir;
use postern::sys::keys::KeyRing;
use postern::verify::evaluate::{Question, evaluate};
use postern::verify::evidence::Evidence;
use postern::verify::policy::TrustPolicy;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tags in one repository.
const TAGS_COUNT: usize = 100;
/// Tags in one transaction.
const TAGS_BATCH_COUNT: usize = 2_000;
/// Images in one transaction while filling.
const BATCH_COUNT: usize = 100;
const OWN_LAYERS_COUNT: usize = 4;
const SHARED_LAYERS_COUNT: usize = 6;
const SINGLE_COMMITS_COUNT: usize = 200;
const READS_COUNT: usize = 20_000;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [phase, path, count] => run(phase, Path::new(path), count.parse()?),
        _ => {
            let count = arguments.first().map_or("10000", String::as_str);
            let path = std::env::temp_dir().join(format!("postern-index-scale-{}", std::process::id()));
            println!("{count} manifests of {} layers below {}", OWN_LAYERS_COUNT + SHARED_LAYERS_COUNT, path.display());
            for phase in [
                "fill", "open", "commit", "killed", "rebuild", "check", "snapshot", "lost", "scrub", "backup",
                "restore",
            ] {
                let own: PathBuf = std::env::current_exe()?;
                let status = Command::new(own).args([phase, &path.display().to_string(), count]).status()?;
                if !status.success() {
                    return Err(format!("phase '{phase}' failed").into());
                }
            }
            std::fs::remove_dir_all(backup_of(&path))?;
            std::fs::remove_dir_all(restored_of(&path))?;
            Ok(std::fs::remove_dir_all(path)?)
        }
    }
}

fn run(phase: &str, path: &Path, count: usize) -> Outcome<()> {
    let dir: Arc<dyn Dir> = Arc::new(RealDir::create(path)?);
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    // `benches/scale` fills what `postern setup` has made.
    if phase == "fill" && !path.join("VERSION").exists() {
        Store::create(&dir, &clock, &DeviceId::of_public_key(b"bench"))?;
    }
    match phase {
        // As a process leaves it that was killed: the index is looked at page by page.
        "killed" => std::fs::write(path.join("index.dirty"), b"")?,
        "lost" => {
            std::fs::remove_dir_all(path.join("index"))?;
            std::fs::create_dir(path.join("index"))?;
        }
        "restore" => return restore_metadata(path),
        _ => {}
    }
    let begin = Instant::now();
    let store = Store::open(dir, clock, &StoreSettings { reserve_bytes: 0, ..StoreSettings::default() })?;
    println!("{phase}: open {:?}, anonymous memory {} MB", begin.elapsed(), anonymous_megabytes()?);
    let begin = Instant::now();
    match phase {
        "fill" => fill(&store, count)?,
        "tag" => tag(&store, count)?,
        "open" => read(&store, count)?,
        "commit" => commit(&store, count)?,
        "killed" | "lost" => {}
        "snapshot" => println!("snapshot: {:?}", store.snapshot()?),
        "scrub" => {
            let options = ScrubOptions { bytes_per_second: 0 };
            let report = store.scrub(options, &|| false, &Silent)?;
            println!("scrub: {} files, {} bytes", report.files_count, report.files_bytes);
        }
        "backup" => {
            let keys = KeyRing::create(store.dir().as_ref(), "bench", jiff::Timestamp::UNIX_EPOCH)?;
            let to = RealDir::create(&backup_of(path))?;
            println!(
                "backup: {} files",
                backup::take(&store, &keys, &to, TakeOptions::default(), &Silent)?.files_copied
            );
            let begin = Instant::now();
            backup::take(&store, &keys, &to, TakeOptions::default(), &Silent)?;
            println!("backup: the second time {:?}", begin.elapsed());
        }
        "rebuild" => println!("rebuild: {:?}", store.rebuild(&Silent)?),
        _ => {
            let report = store.check(postern::store::CheckDepth::Fast, &Silent)?;
            println!("check: {} rows, {} findings", report.rows_count, report.findings.len());
        }
    }
    println!("{phase}: {:?}, anonymous memory {} MB", begin.elapsed(), anonymous_megabytes()?);
    drop(store);
    println!(
        "{phase}: files of index {} MB, of journal {} MB",
        megabytes(&path.join("index"))?,
        megabytes(&path.join("journal"))?
    );
    Ok(())
}

fn backup_of(path: &Path) -> PathBuf {
    path.with_extension("backup")
}

fn restored_of(path: &Path) -> PathBuf {
    path.with_extension("restored")
}

/// From an empty directory to a store that answers, with its content still in the backup.
fn restore_metadata(path: &Path) -> Outcome<()> {
    let begin = Instant::now();
    let from = RealDir::open(&backup_of(path))?;
    let to: Arc<dyn Dir> = Arc::new(RealDir::create(&restored_of(path))?);
    let backup_path = backup_of(path).display().to_string();
    let order =
        RestoreOrder { backup: &from, backup_path: &backup_path, keys: None, survivor: None, content_later: true };
    let report = backup::restore(to.as_ref(), &order, &Silent)?;
    let layered: Arc<dyn Dir> = Arc::new(LayeredDir::new(to, Arc::new(from), backup::CONTENT));
    let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
    let store = Store::open(layered, Arc::new(RealClock), &settings)?;
    println!("restore: answers after {:?}, {} repositories", begin.elapsed(), store.repositories(None, 10_000)?.len());
    println!("restore: {} bytes of metadata", report.metadata_bytes);
    Ok(())
}

fn anonymous_megabytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

fn megabytes(path: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes += metadata.len();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes / 1024 / 1024)
}

fn repository(number: usize) -> Outcome<RepositoryName> {
    Ok(format!("registry.example/team-{}/service-{}", number / TAGS_COUNT % 10, number / TAGS_COUNT).parse()?)
}

/// Content without its durability, which is not what is measured.
fn put(store: &Store, content: &str) -> Outcome<Digest> {
    let digest = Digest::of(content.as_bytes());
    let hex = digest.hex();
    let path = format!("blobs/sha256/{}/{hex}", &hex[..2]);
    store.dir().open_write(&path, Create::Missing)?.write_at(content.as_bytes(), 0)?;
    Ok(digest)
}

fn image(store: &Store, number: usize) -> Outcome<Vec<Change>> {
    let name = repository(number)?;
    let tag = format!("v1.{}", number % TAGS_COUNT).parse()?;
    let (mut changes, target) = untagged(store, &name, number)?;
    changes.push(Change::MoveTag { repository: name, tag, target, expected: None });
    Ok(changes)
}

fn untagged(store: &Store, name: &RepositoryName, number: usize) -> Outcome<(Vec<Change>, Digest)> {
    let mut descriptors = Vec::new();
    let mut changes = Vec::new();
    let shared = (0..SHARED_LAYERS_COUNT).map(|layer| format!("shared {} {layer}", number / TAGS_COUNT));
    let own = (0..=OWN_LAYERS_COUNT).map(|layer| format!("own {number} {layer}"));
    for content in own.chain(shared) {
        let digest = put(store, &content)?;
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        descriptors.push(format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len()));
        let size_bytes = content.len() as u64;
        changes.push(Change::LinkBlob { repository: name.clone(), digest, size_bytes, via: LinkVia::Mirror });
    }
    let (config, layers) = descriptors.split_first().ok_or("no layer")?;
    let config = config.replace("layer.v1.tar+gzip", "config.v1+json");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{}]}}"#,
        layers.join(",")
    );
    put(store, &text)?;
    let target = Manifest::parse(text.as_bytes(), OCI_MANIFEST)?;
    let digest = target.digest;
    let policy = TrustPolicy::parse(b"version = 1\ndefault = \"admit\"\n")?;
    let question = Question {
        local: name,
        original: None,
        tags: &[],
        target: &target,
        target_bytes: text.as_bytes(),
        images: &[],
    };
    let verdict = Arc::new(evaluate(&policy, &question, &Evidence::default(), jiff::Timestamp::UNIX_EPOCH));
    let manifest = verdict.admit(target)?;
    assert_eq!(manifest.get().edges().filter(|edge| edge.kind == EdgeKind::Blob).count(), changes.len());
    changes.push(Change::Publish { repository: name.clone(), manifest, sparse: false, origin: Some("bench".into()) });
    Ok((changes, digest))
}

fn fill(store: &Store, count: usize) -> Outcome<()> {
    for first in (0..count).step_by(BATCH_COUNT) {
        let mut changes = Vec::new();
        for number in first..count.min(first + BATCH_COUNT) {
            changes.extend(image(store, number)?);
        }
        store.commit(Transaction::new(PrincipalRef::system("bench"), changes))?;
    }
    Ok(())
}

/// One manifest of one repository under many names.
fn tag(store: &Store, count: usize) -> Outcome<()> {
    let repository: RepositoryName = "many/tags".parse()?;
    let (mut changes, target) = untagged(store, &repository, usize::MAX / 2)?;
    for first in (0..count).step_by(TAGS_BATCH_COUNT) {
        for number in first..count.min(first + TAGS_BATCH_COUNT) {
            let tag = format!("t{number:07}").parse()?;
            changes.push(Change::MoveTag { repository: repository.clone(), tag, target, expected: None });
        }
        store.commit(Transaction::new(PrincipalRef::system("bench"), std::mem::take(&mut changes)))?;
    }
    Ok(())
}

fn read(store: &Store, count: usize) -> Outcome<()> {
    let mut blobs = 0;
    for step in 0..READS_COUNT {
        let number = step.wrapping_mul(7919) % count;
        let name = repository(number)?;
        let tag = format!("v1.{}", number % TAGS_COUNT).parse()?;
        let digest = store.resolve(&name, &tag)?.ok_or("a tag is missing")?;
        let manifest = store.manifest(&name, &digest)?.ok_or("a manifest is missing")?;
        let child = store.children(&name, &manifest.digest)?.pop().ok_or("no child")?;
        blobs += usize::from(store.blob_link(&name, &child.digest)?.is_some_and(|link| link.present));
    }
    println!("open: {READS_COUNT} times tag, manifest, children and blob; {blobs} blobs present");
    Ok(())
}

fn commit(store: &Store, count: usize) -> Outcome<()> {
    let mut took = Vec::new();
    for number in 0..SINGLE_COMMITS_COUNT {
        let changes = image(store, count + number)?;
        let begin = Instant::now();
        store.commit(Transaction::new(PrincipalRef::system("bench"), changes))?;
        took.push(begin.elapsed());
    }
    took.sort();
    println!("commit: median {:?}, 99 in 100 below {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
    Ok(())
}
