//! Each tool is killed where it hurts most. The same command, typed again, ends well, and nothing that was acknowledged is
//! gone.

use std::path::Path;

use tempfile::TempDir;

use super::workload::{Book, appliance};
use crate::crossing::appliance::Appliance;
use crate::crossing::{activate, exchange};
use crate::process;
use crate::push::ADMIT;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Kills the command at the point, then lets it end.
#[track_caller]
fn killed_and_again(appliance: &Appliance<'_>, folder: &Path, point: &str, words: &[&str], ends_with: i32) {
    killed(appliance, folder, point, words);
    let ran = appliance.run(words);
    assert_eq!(ran.status.code(), Some(ends_with), "{point}: {}", ran.report());
}

/// Kills the command at the point.
#[track_caller]
fn killed(appliance: &Appliance<'_>, folder: &Path, point: &str, words: &[&str]) {
    let mark = folder.join("mark");
    let mut command = appliance.command(words);
    command.env("POSTERN_KILL_AT", point).env("POSTERN_KILL_MARK", &mark);
    let ran = process::run(command, PATIENCE);
    let reached = std::fs::read_to_string(&mark).unwrap_or_default();
    assert_eq!(reached, point.split('@').next().unwrap_or_default(), "the point was not reached: {}", ran.report());
    assert!(!ran.status.success(), "{point}: {}", ran.report());
    std::fs::remove_file(&mark).expect("it was read");
}

fn check(appliance: &Appliance<'_>, book: &mut Book) {
    let serving = appliance.serve();
    book.check(&serving);
    drop(serving);
    appliance.run(["store", "check"]).succeeded();
}

/// In the order in which an export passes there.
const EXPORT_POINTS: [&str; 5] =
    ["export-kept", "export-numbered", "export-sealed", "export-mid-volume", "export-read-back"];

/// Whatever became of the sequence number, the receiver takes what the same command then writes.
#[test]
fn an_export_is_gone_on_with_and_the_receiver_takes_it() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let low = appliance(folder.path());
    let high = Appliance::set_up(folder.path(), "high", None);
    high.without_tls("");
    exchange(&low, &high, folder.path());
    activate(&high, ADMIT, folder.path());
    let serving = low.serve();
    let mut book = Book::default();
    assert!(book.push(&serving.endpoint));
    drop(serving);
    for point in EXPORT_POINTS {
        let medium = folder.path().join(point);
        std::fs::create_dir(&medium).expect("the folder is ours");
        let medium = medium.display().to_string();
        let words = ["bundle", "export", "--receiver", "high", "--series", point, "--medium", &medium, "app:t0"];
        killed_and_again(&low, folder.path(), point, &words, 0);
        let imported = high.json(["bundle", "import", &medium]);
        assert_eq!(imported["admitted"].as_array().map(Vec::len), Some(1), "{point}: {imported}");
        // A number that the journal has and no medium is given up.
        let given_up = u64::from(point == "export-numbered");
        assert_eq!(imported["sequence"].as_u64(), Some(1 + given_up), "{point}");
    }
    let high = high.serve();
    high.get("/v2/app/manifests/t0").expect_status(200);
    drop(high);
    low.run(["store", "check"]).succeeded();
}

#[test]
fn and_each_ends_well_the_second_time() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path());
    let mut book = Book::default();
    let serving = appliance.serve();
    for number in 0..6_u8 {
        assert!(book.push(&serving.endpoint));
        let waste = [number; 3_000];
        let target = format!("/v2/waste/blobs/uploads/?digest={}", crate::outside::signing::sha256(&waste));
        crate::push::wire::send(&serving.endpoint, "POST", &target, &waste)
            .expect("it goes through")
            .expect_status(201);
    }
    drop(serving);
    let to = folder.path().join("second").display().to_string();
    let worm = folder.path().join("worm").display().to_string();
    let backup = ["backup", "--to", &to];
    for (point, words) in [
        ("sweep-mid-unlink@2", &["sweep", "--grace-seconds", "0"][..]),
        ("rebuild-made", &["store", "rebuild"]),
        ("rebuild-switched", &["store", "rebuild"]),
        // While there is something to copy.
        ("copy-before-name@4", &backup),
        ("snapshot-written", &backup),
        ("backup-before-state", &backup),
        ("backup-before-prune", &backup),
        ("audit-before-name", &["audit", "export", "--out", &worm]),
    ] {
        killed_and_again(&appliance, folder.path(), point, words, 0);
        check(&appliance, &mut book);
    }
    appliance.run(["audit", "verify", "--copy", &worm]).succeeded();
    let finalize = ["store", "finalize"];
    let dry = appliance.json(["store", "finalize", "--dry-run"]);
    assert_eq!((&dry["before"], &dry["dry_run"]), (&1.into(), &true.into()));
    assert!(dry["packed"]["segments_count"].as_u64().is_some_and(|count| count > 0), "{dry}");
    assert_eq!(dry["packed"].get("bytes_after"), None, "nobody can know: {dry}");
    assert_eq!(appliance.json(["status"])["format"], 1, "nothing was done");
    killed(&appliance, folder.path(), "finalize-journalled", &finalize);
    check(&appliance, &mut book);
    assert_eq!(appliance.json(["status"])["format"], 1, "what an earlier release reads, until the version says so");
    killed_and_again(&appliance, folder.path(), "finalize-versioned", &finalize, 0);
    check(&appliance, &mut book);
    for point in ["pack-written", "pack-renamed"] {
        // One backup ends a segment, the next one compresses it.
        assert!(book.push(&appliance.serve().endpoint));
        appliance.run(backup).succeeded();
        killed_and_again(&appliance, folder.path(), point, &backup, 0);
        check(&appliance, &mut book);
    }
    appliance.run(["audit", "verify", "--copy", &worm]).succeeded();
    appliance.run(["audit", "export", "--out", &worm]).succeeded();

    let new = Appliance::at(&folder.path().join("new"));
    let keys = appliance.data().join("identity").display().to_string();
    let restore = ["restore", "--from", &to, "--keys", &keys];
    killed_and_again(&new, folder.path(), "restore-before-version", &restore, 0);
    killed_and_again(&new, folder.path(), "restore-epoch-begun", &["restore", "confirm"], 0);
    check(&new, &mut book);

    let manifest = appliance.serve().get("/v2/app/manifests/t0").json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("it has one").to_owned();
    let hex = layer.trim_start_matches("sha256:");
    std::fs::write(new.data().join(format!("blobs/sha256/{}/{hex}", &hex[..2])), b"rot").expect("the folder is ours");
    killed_and_again(&new, folder.path(), "scrub-quarantined", &["store", "scrub", "--bytes-per-second", "0"], 4);
    assert!(new.run(["store", "repair", "--dry-run"]).text().contains(&layer));
}
