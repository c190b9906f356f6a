//! What is on a disk at one moment, in the middle of pushes, deletions and imports, is what a power cut leaves there: copies of
//! the whole block device, taken at once while the appliance works, mounted afterwards and looked through.
//!
//! The file that is the device lies on a file system that shares blocks between files (xfs), so that a copy is of one moment.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::disk::{Disk, Kind};
use super::power::states_count;
use super::workload::{Book, Media, appliance};
use crate::crossing::appliance::Appliance;

const OUTER_BYTES: u64 = 6 << 30;
/// A copy takes longer to look at than a cut.
const STATES_FOR_A_COPY: u64 = 4;
#[test]
#[ignore = "part of make test-power: each copy is a whole appliance to look through"]
fn of_ext4_while_it_is_written() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let Some(outer) = Disk::make(folder.path(), Kind::Xfs, Some(OUTER_BYTES)) else { return };
    let Some(disk) = Disk::make(&outer.mount, Kind::Ext4, None) else { return };
    let appliance = appliance(&disk.mount);
    let copies_count = (states_count() / STATES_FOR_A_COPY).max(2);
    let sets_count = usize::try_from(copies_count).expect("a small number");
    let media = Media::of(folder.path(), &appliance, sets_count);
    let serving = appliance.serve();
    let mut book = Book::default();
    for number in 0..copies_count {
        let (settled, stop) = (Mutex::new(book.clone()), AtomicBool::new(false));
        let (before, image) = std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each copy is taken in the middle of other work.
                for step in number.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match step % 4 {
                        0 => assert!(book.import(&appliance, &media)),
                        2 => assert!(book.push_and_retire(&appliance, &serving.endpoint)),
                        _ => assert!(book.push(&serving.endpoint)),
                    }
                    *settled.lock().expect("nobody panics with it") = book.clone();
                }
            });
            // At another place of the work each time.
            std::thread::sleep(Duration::from_millis(300 + number * 337 % 4_000));
            let before = settled.lock().expect("nobody panics with it").clone();
            let image = disk.copy(&format!("copy-{number}"));
            stop.store(true, Ordering::Relaxed);
            (before, image)
        });
        look_through(before.and_perhaps(&book), image, outer.mount.join(format!("mount-{number}")));
    }
    book.check(&serving);
    drop(serving);
    appliance.run(["store", "check"]).succeeded();
    #[expect(clippy::disallowed_macros, reason = "how much was tried is for whoever runs it")]
    {
        println!("{copies_count} copies while it was written, {} acknowledged, nothing lost", book.told());
    }
}

/// Everything that was acknowledged before the copy is in it, and nothing is in it by half.
fn look_through(mut book: Book, image: PathBuf, mount: PathBuf) {
    let copy = Disk::of_copy(image, mount);
    let appliance = Appliance::at(&copy.mount.join("box"));
    let serving = appliance.serve();
    book.check(&serving);
    drop(serving);
    appliance.run(["store", "check"]).succeeded();
    appliance.run(["audit", "verify"]).succeeded();
}
