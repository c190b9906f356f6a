//! The tools as an operator meets them: scrub and repair, audit, backup, restore and the drill.

use serde_json::Value;
use tempfile::TempDir;

use super::workload::{Book, appliance};
use crate::crossing::appliance::Appliance;

const DAMAGED: i32 = 4;

fn word(path: &std::path::Path) -> String {
    path.display().to_string()
}

#[test]
fn a_backup_is_taken_while_serving_and_serves_again_at_once() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let lost = appliance(folder.path());
    let serving = lost.serve();
    let mut book = Book::default();
    let to = word(&folder.path().join("second"));
    for _ in 0..3 {
        assert!(book.push(&serving.endpoint));
    }
    assert_eq!(lost.json(["backup", "--to", &to])["files_copied"], 7, "three layers, three manifests, one config");
    assert!(book.push(&serving.endpoint));
    let second = lost.json(["backup", "--to", &to]);
    assert_eq!((&second["files_copied"], &second["holds_private_keys"]), (&Value::from(2), &Value::from(false)));
    drop(serving);
    let drill = lost.json(["drill", "restore", "--from", &to, "--hash"]);
    assert_eq!((&drill["tags_count"], &drill["damaged_count"]), (&Value::from(4), &Value::from(0)), "{drill}");

    let verified = lost.json(["backup", "verify", "--from", &to]);
    assert_eq!((&verified["files_count"], &verified["listed"]), (&Value::from(9), &Value::from(true)), "{verified}");

    // Keys of another device are not taken for those of this one.
    let other = Appliance::set_up(&folder.path().join("other"), "other", None);
    let (others, third) = (word(&other.data().join("identity")), Appliance::at(&folder.path().join("third")));
    let refused = third.run(["restore", "--from", &to, "--keys", &others]);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.report());
    assert!(
        refused.complaint().contains("--adopt-keys") && !third.data().join("identity").exists(),
        "{}",
        refused.report()
    );
    let adopted = third.json(["restore", "--from", &to, "--keys", &others, "--adopt-keys"]);
    assert_eq!(adopted["same_device"], false, "{adopted}");

    // The disk is gone; the keys were kept elsewhere.
    let keys = word(&lost.data().join("identity"));
    let new = Appliance::at(&folder.path().join("new"));
    let serving = new.serve_command(new.command(["serve", "--from-backup", &to, "--keys", &keys]));
    book.check(&serving);
    let status = new.json(["status"]);
    assert!(status["read_only"].as_str().is_some_and(|reason| reason.contains("restore confirm")), "{status}");
    assert_eq!(status["device_id"], lost.json(["status"])["device_id"], "the same device");
    assert_eq!(status["conditions"][0]["kind"], "read_only", "{status}");
    let ready = serving.get("/readyz").expect_status(200).json();
    assert_eq!((&ready["status"], &ready["takes_changes"]), (&Value::from("degraded"), &Value::from(false)));
    assert!(ready["reasons"][0].as_str().is_some_and(|reason| reason.starts_with("read_only: ")), "{ready}");
    serving.get("/readyz?for=changes").expect_status(503);
    assert!(!book.push(&serving.endpoint), "nothing is taken before somebody has looked");
    crate::process::wait_for("the content to be here", std::time::Duration::from_secs(60), || {
        new.run(["restore", "confirm"]).status.success().then_some(())
    });
    assert!(book.push(&serving.endpoint));
    serving.get("/readyz?for=changes").expect_status(200);
    book.check(&serving);
    drop(serving);
    assert_eq!(new.json(["status"])["head"]["epoch"], 2);
    cut_the_journal(&to);
    let cut = Appliance::at(&folder.path().join("cut"));
    let (ran, report) = cut.run_json(["restore", "--from", &to, "--keys", &keys]);
    assert_eq!(ran.status.code(), Some(DAMAGED), "{}", ran.report());
    assert!(report["journal_missing"].as_str().is_some_and(|missing| missing.contains("up to event")), "{report}");
    for command in [&["backup", "verify", "--from", &to][..], &["drill", "restore", "--from", &to]] {
        let ran = cut.run(command);
        assert_eq!(ran.status.code(), Some(DAMAGED), "{}", ran.report());
    }
    std::fs::remove_dir_all(&to).expect("it is not needed any more");
    let serving = new.serve();
    book.check(&serving);
    drop(serving);
    new.run(["store", "check"]).succeeded();
    assert!(new.json(["audit", "verify"])["problems"].as_array().is_some_and(Vec::is_empty));
}

/// The last segment goes, as if a medium had been pulled out too early.
fn cut_the_journal(backup: &str) {
    let names =
        std::fs::read_dir(format!("{backup}/journal")).expect("it is there").flatten().map(|entry| entry.path());
    let last = names.filter(|path| path.extension().is_some_and(|end| end == "log")).max().expect("a segment");
    std::fs::remove_file(last).expect("the folder is ours");
}

#[test]
fn what_the_disk_changed_is_found_named_and_pushed_again() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path());
    let serving = appliance.serve();
    let mut book = Book::default();
    assert!(book.push(&serving.endpoint));
    appliance.run(["store", "scrub"]).succeeded();
    let manifest = serving.get("/v2/app/manifests/t0").json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("it has one").to_owned();
    let hex = layer.trim_start_matches("sha256:");
    let path = appliance.data().join(format!("blobs/sha256/{}/{hex}", &hex[..2]));
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).expect("the folder is ours");

    let (ran, found) = appliance.run_json(["store", "scrub", "--bytes-per-second", "0"]);
    assert_eq!(ran.status.code(), Some(DAMAGED));
    assert_eq!(found["quarantined"][0], layer.as_str());
    let ran = appliance.run(["store", "repair", "--dry-run"]);
    assert_eq!(ran.status.code(), Some(DAMAGED));
    assert!(ran.text().contains(&layer) && ran.text().contains("app:t0"), "{}", ran.report());
    let image = crate::push::wire::Image::new(0, 2_000);
    image.push(&serving.endpoint, "app", "t0").expect("pushed once more");
    appliance.run(["store", "repair"]).succeeded();
    book.check(&serving);
}

/// Another Postern is an upstream like any other: what one has lost comes back from its peer, by the command, and by the
/// schedule of the server.
#[test]
fn what_rotted_comes_back_from_a_peer() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let peer = appliance(folder.path());
    let serving_peer = peer.serve();
    let mut book = Book::default();
    assert!(book.push(&serving_peer.endpoint));
    let manifest = serving_peer.get("/v2/app/manifests/t0").json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("it has one").to_owned();
    let near = Appliance::set_up(folder.path(), "near", None);
    let address = serving_peer.address();
    near.without_tls(&format!("[[upstream]]\nname = \"peer\"\nurl = \"http://{address}\"\n"));
    crate::crossing::activate(&near, crate::push::ADMIT, folder.path());
    near.run(["mirror", "fetch", "peer/app:t0"]).succeeded();
    let path = near.data().join(format!("blobs/sha256/{}/{}", &layer[7..9], &layer[7..]));
    let rot = || {
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes[7] ^= 1;
        std::fs::write(&path, bytes).expect("the folder is ours");
    };

    rot();
    let ran = near.run(["store", "scrub", "--bytes-per-second", "0"]);
    assert_eq!(ran.status.code(), Some(DAMAGED), "{}", ran.report());
    let listed = near.run(["store", "repair", "--list"]);
    let image = crate::push::wire::Image::new(0, 2_000);
    assert_eq!((listed.status.code(), listed.text()), (Some(DAMAGED), format!("peer/app@{}", image.digest())));
    let repaired = near.json(["store", "repair"]);
    assert_eq!(repaired["restored"][0], layer.as_str(), "{repaired}");

    rot();
    // A pass that was begun is due at once.
    std::fs::write(near.data().join("scrub"), br#"{"version":1,"shards_done":1,"passes":1,"ended_running_seconds":0}"#)
        .expect("the folder is ours");
    let serving = near.serve();
    crate::process::wait_for("the server to find and fetch it", std::time::Duration::from_secs(60), || {
        let healed = serving.server.log().contains("upstreams were asked for what is lacking");
        healed.then_some(())
    });
    let blob = serving.get(&format!("/v2/peer/app/blobs/{layer}")).expect_status(200);
    assert_eq!(crate::outside::signing::sha256(&blob.body), layer);
    drop(serving);
    near.run(["store", "repair", "--dry-run"]).succeeded();
}

#[test]
fn a_copy_of_the_journal_is_proved_without_the_appliance() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path());
    let out = word(&folder.path().join("worm"));
    let first = appliance.json(["audit", "export", "--out", &out]);
    assert!(first["files_written"].as_u64().is_some_and(|count| count >= 3));
    let device = appliance.json(["status"])["device_id"].as_str().expect("it has one").to_owned();
    let elsewhere = Appliance::at(&folder.path().join("nothing"));
    let proved = elsewhere.json(["audit", "verify", "--copy", &out, "--device", &device]);
    assert_eq!((&proved["unsigned_events_count"], &proved["checkpoints_count"]), (&Value::from(0), &Value::from(1)));
    let names = std::fs::read_dir(format!("{out}/journal")).expect("it is there").flatten();
    let log = names.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "log"));
    let log = log.expect("a segment");
    let mut bytes = std::fs::read(&log).expect("it reads");
    bytes[4096 + 60] ^= 1;
    std::fs::write(&log, bytes).expect("the folder is ours");
    let ran = elsewhere.run(["audit", "verify", "--copy", &out]);
    assert_eq!(ran.status.code(), Some(DAMAGED), "{}", ran.report());
}
