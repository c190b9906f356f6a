//! The power is cut on real file systems while images are pushed: every acknowledged answer is there, every digest right.
//!
//! ```text
//! POSTERN_TEST_POWER_STATES   cuts on each file system; a few where nothing is said (make test-power says 160)
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::disk::{Disk, Kind};
use super::workload::{Book, appliance};
use crate::process::wait_for;

const STATES_COUNT: u64 = 4;
/// Answers before a cut, at the most.
const ANSWERS_COUNT: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

pub fn states_count() -> u64 {
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
        // After some answers, in the middle of what comes next.
        let (answers, wanted) = (AtomicU64::new(0), state % ANSWERS_COUNT);
        let (mount, later) = (&disk, Duration::from_millis(state * 37 % 230));
        let retires = state % 3 == 2;
        let endpoint = serving.endpoint.clone();
        let server = &mut serving.server;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for("some answers", PATIENCE, || (answers.load(Ordering::Relaxed) >= wanted).then_some(()));
                std::thread::sleep(later);
                mount.cut_power();
                if retires {
                    // A command would wait for an answer that never comes.
                    server.kill();
                }
            });
            let answered = || answers.fetch_add(1, Ordering::Relaxed);
            // Pushes and moving tags in most states; versions that are retired and swept in the others.
            if retires {
                while book.push_and_retire(&appliance, &endpoint) {
                    answered();
                }
                answers.store(wanted, Ordering::Relaxed);
            }
            while book.push(&endpoint) {
                answered();
            }
        });
        serving.server.kill();
        drop(serving);
        disk.restart();
    }
    let serving = appliance.serve();
    book.check(&serving);
    drop(serving);
    appliance.run(["store", "check"]).succeeded();
    assert!(book.acknowledged_count() as u64 >= states, "hardly anything was acknowledged");
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
