//! The power is cut on real file systems while images are pushed: every acknowledged answer is there, every digest right.
//!
//! ```text
//! POSTERN_TEST_POWER_STATES   cuts on each file system; a few where nothing is said (make test-power says 160)
//! ```

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::disk::{Disk, Kind};
use super::workload::{Book, appliance};

const STATES_COUNT: u64 = 4;

fn states_count() -> u64 {
    std::env::var("POSTERN_TEST_POWER_STATES").ok().map_or(STATES_COUNT, |text| text.parse().expect("a number"))
}

fn campaign(kind: Kind) {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let Some(mut disk) = Disk::make(folder.path(), kind, None) else { return };
    let appliance = appliance(&disk.mount);
    // What is on the disk before the first cut is there.
    nix::unistd::sync();
    let (mut book, began) = (Book::default(), Instant::now());
    let states = states_count();
    for state in 0..states {
        let mut serving = appliance.serve();
        book.check(&serving);
        // Between the beginning of a start and the middle of much work.
        let cut_at = Instant::now() + Duration::from_millis(state * 37 % 260);
        let mount = &disk;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(cut_at.saturating_duration_since(Instant::now()));
                mount.cut_power();
            });
            while book.push(&serving.endpoint) {}
        });
        serving.server.kill();
        drop(serving);
        disk.restart();
    }
    let serving = appliance.serve();
    book.check(&serving);
    drop(serving);
    appliance.run(["store", "check"]).succeeded();
    assert!(book.acknowledged_count() as u64 > states / 2, "hardly anything was acknowledged");
    #[expect(clippy::disallowed_macros, reason = "how much was tried is for whoever runs it")]
    {
        let (count, seconds) = (book.acknowledged_count(), began.elapsed().as_secs());
        println!("{kind:?}: {states} power cuts, {count} images acknowledged, none lost; {seconds} s");
    }
}

#[test]
fn on_ext4() {
    campaign(Kind::Ext4);
}

#[test]
fn on_xfs() {
    campaign(Kind::Xfs);
}
