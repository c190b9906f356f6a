//! Leg 7: the importing server dies where it hurts most. The same command, typed again, goes on from there; and whoever
//! pulls meanwhile gets the whole image or none of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Endpoint};
use crate::outside::signing;
use crate::process;

use super::appliance::{Appliance, Serving};
use super::carried::{Carried, VOLUME_BYTES, carried};
use super::export;
use super::goods::mirrored;

const PATIENCE: Duration = Duration::from_secs(60);

/// How many chunks are staged when the first kill comes: more than the first volume holds.
const CHUNKS: usize = 24;

/// Where the server is killed, in the order in which an import passes there.
const POINTS: [&str; 5] =
    ["import-mid-chunk@24", "import-all-staged", "import-mid-publish", "journal-synced", "import-before-receipt"];

#[test]
fn an_import_survives_every_kill_of_the_server() {
    let Some(carried) = carried() else { return };
    let whole = uninterrupted(&carried);
    for point in POINTS {
        server_killed_at(&carried, point, &whole);
    }
}

/// Without a server the command does the work itself, and may be killed as well.
#[test]
fn an_import_survives_every_kill_of_the_command() {
    let Some(carried) = carried() else { return };
    let whole = uninterrupted(&carried);
    for point in POINTS {
        command_killed_at(&carried, point, &whole);
    }
}

/// The report of an import that nobody disturbs.
#[track_caller]
fn uninterrupted(carried: &Carried) -> Value {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let receiver = carried.receiver(folder.path());
    let (ran, report) = receiver.run_json(import(carried));
    assert_eq!(ran.status.code(), Some(3), "{}", ran.report());
    assert_eq!(report["refused"][0]["digest"], carried.unsigned.digest.as_str(), "{report:#}");
    report
}

fn import(carried: &Carried) -> [String; 3] {
    ["bundle".to_owned(), "import".to_owned(), carried.first.display().to_string()]
}

#[track_caller]
fn server_killed_at(carried: &Carried, point: &str, whole: &Value) {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let receiver = carried.receiver(folder.path());
    // It is looked at without a pause.
    receiver.configure("[access]\nproject_pulls_per_minute = 0\n");
    let mut doomed = serve_armed(&receiver, point, &folder);
    let reader = Reader::start(carried, &doomed);

    let (first, _) = receiver.run_json(import(carried));
    assert!(!first.status.success() && first.status.code() != Some(3), "{point}: {}", first.report());
    doomed.server.wait_end(PATIENCE);
    assert_reached(point, &folder);

    let again = receiver.serve();
    reader.look_at(&again);
    finishes(carried, &receiver, point, whole);
    reader.finish(point);
    drop(again);
    receiver.run(["store", "check"]).succeeded();
}

#[track_caller]
fn command_killed_at(carried: &Carried, point: &str, whole: &Value) {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let receiver = carried.receiver(folder.path());
    let mut command = receiver.command(import(carried));
    command.env("POSTERN_KILL_AT", point).env("POSTERN_KILL_MARK", folder.path().join("mark"));
    process::run(command, PATIENCE).failed();
    assert_reached(point, &folder);
    finishes(carried, &receiver, point, whole);
    receiver.run(["store", "check"]).succeeded();
}

#[track_caller]
fn assert_reached(point: &str, folder: &TempDir) {
    let mark = std::fs::read_to_string(folder.path().join("mark"));
    assert_eq!(mark.ok().as_deref(), point.split('@').next(), "the point was reached");
}

/// The same command again: it goes on, and its report is that of an import that nobody disturbed.
#[track_caller]
fn finishes(carried: &Carried, receiver: &Appliance<'_>, point: &str, whole: &Value) {
    let (ran, report) = receiver.run_json(import(carried));
    assert_eq!(ran.status.code(), Some(3), "{point}: {}", ran.report());
    for key in ["admitted", "refused", "set"] {
        assert_eq!(report[key], whole[key], "{point}, {key}");
    }
    assert_continued(carried, point, &report, whole);
}

/// `postern serve`, told where to die.
fn serve_armed(receiver: &Appliance<'static>, point: &str, folder: &TempDir) -> Serving<'static> {
    let mut command = receiver.command(["serve"]);
    command.env("POSTERN_KILL_AT", point).env("POSTERN_KILL_MARK", folder.path().join("mark"));
    receiver.serve_command(command)
}

/// What was staged before the kill is not read again: less than one volume is, and once all was staged, nothing but the
/// heads of the volumes.
#[track_caller]
fn assert_continued(carried: &Carried, point: &str, report: &Value, whole: &Value) {
    let bytes = |report: &Value| report["bytes_read"].as_u64().expect("an import counts what it reads");
    let volumes = |report: &Value| report["volumes_read"].as_array().expect("an import names what it reads").clone();
    let (read, all) = (bytes(report), bytes(whole));
    let said = format!("{point}: {read} bytes of {:?} after the kill, {all} without one", volumes(report));
    if point.starts_with("import-mid-chunk") {
        let under_way = volume_of_chunk(carried, CHUNKS);
        assert!(under_way > 1, "the first volume holds all {CHUNKS} chunks: kill later");
        assert_eq!(volumes(report).first().and_then(Value::as_u64), Some(under_way), "{said}");
        assert!(read < all, "{said}");
    } else {
        assert_eq!(volumes(report), Vec::<Value>::new(), "{said}");
        assert!(read < VOLUME_BYTES, "{said}");
    }
}

/// The number of the volume in which the n-th chunk of the set stands.
#[track_caller]
fn volume_of_chunk(carried: &Carried, chunk: usize) -> u64 {
    let name = format!("chunks/{chunk:08}.zst");
    let holds = |file: &String| {
        let volume = std::fs::read(carried.first.join(file)).expect("the medium is ours");
        volume.windows(name.len()).any(|window| window == name.as_bytes())
    };
    let position = export::volumes(&carried.first).keys().position(holds).expect("the set has so many chunks");
    u64::try_from(position).expect("it is small") + 1
}

/// Pulls without pause. Whenever the tag is there, so is all that hangs on it.
struct Reader {
    endpoint: Arc<Mutex<Endpoint>>,
    stop: Arc<AtomicBool>,
    whole: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Reader {
    fn start(carried: &Carried, serving: &Serving<'_>) -> Self {
        let endpoint = Arc::new(Mutex::new(serving.endpoint.clone()));
        let (stop, whole) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let repository = mirrored(&carried.app);
        let tag = carried.app.tag.clone();
        let manifests = carried.app_parts.manifests.iter().map(|digest| ("manifests", digest.clone()));
        let blobs = carried.app_parts.blobs.iter().map(|digest| ("blobs", digest.clone()));
        let parts: Vec<_> = manifests.chain(blobs).collect();
        let (at, ended, count) = (endpoint.clone(), stop.clone(), whole.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                let endpoint = at.lock().expect("nobody panics with it").clone();
                if look(&endpoint, &repository, &tag, &parts) {
                    count.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        Self { endpoint, stop, whole, thread }
    }

    /// The server came back at another address.
    fn look_at(&self, serving: &Serving<'_>) {
        *self.endpoint.lock().expect("nobody panics with it") = serving.endpoint.clone();
    }

    /// Waits until the whole image was seen after all, and ends.
    #[track_caller]
    fn finish(self, point: &str) {
        let seen = self.whole.load(Ordering::Acquire);
        process::wait_for(&format!("{point}: a whole image"), PATIENCE, || {
            let ended = self.thread.is_finished();
            (ended || self.whole.load(Ordering::Acquire) > seen).then_some(())
        });
        self.stop.store(true, Ordering::Release);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Whether the whole image was there. A server that is gone, before or under way, is no answer.
fn look(endpoint: &Endpoint, repository: &str, tag: &str, parts: &[(&str, String)]) -> bool {
    let get =
        |kind: &str, reference: &str| http::try_get_from(endpoint, &format!("/v2/{repository}/{kind}/{reference}"));
    let Ok(tagged) = get("manifests", tag) else { return false };
    if tagged.status != 200 {
        assert!(matches!(tagged.status, 403 | 404), "{} {}", tagged.status, tagged.text());
        return false;
    }
    for (kind, digest) in parts {
        let Ok(answer) = get(kind, digest) else { return false };
        assert_eq!(answer.status, 200, "the tag was there, {kind}/{digest} is not: {}", answer.text());
        assert_eq!(&signing::sha256(&answer.body), digest, "{kind}");
    }
    true
}
