//! Is the simulator blind? Each mistake that somebody could make with a disk is planted, and must be found.

use super::run;
use crate::sys::dir_simulated::Planted;

/// Seeds after which a mistake that was not found counts as unseen.
const SEEDS_COUNT: u64 = 100;

fn is_found(planted: &Planted) {
    let found = (0..SEEDS_COUNT).find(|seed| run(*seed, Some(planted.clone())).is_err());
    assert!(found.is_some(), "{planted:?} went unnoticed in {SEEDS_COUNT} seeds");
}

#[test]
fn every_planted_mistake_is_found() {
    let planted = [
        Planted::NoSync { path_part: "journal/" },
        Planted::NoSync { path_part: "uploads/blob-" },
        Planted::NoSync { path_part: "uploads/import-" },
        Planted::NoSync { path_part: "trust/policies/" },
        Planted::NoSyncDir { path_part: "journal" },
        Planted::NoSyncDir { path_part: "blobs/" },
        Planted::NoSyncDir { path_part: "trust/policies" },
        Planted::LateSync { path_part: "uploads/blob-" },
        Planted::LateSync { path_part: "journal/" },
        Planted::Copied { path_part: "blobs/" },
    ];
    planted.iter().for_each(is_found);
}
