//! The disk fails without the power going: an error of the device, a full file system.

use super::crash::{State, empty, open};
use super::world::{commit, image, remove_manifest, remove_tag, whole};
use crate::oci::digest::Algorithm;
use crate::store::{Change, CommitError, Store};
use crate::sys::dir::Dir;
use crate::sys::dir_simulated::{Failure, Fault, Operation, SimulatedDir};

fn fault(operation: Operation, path_part: &str, failure: Failure) -> Fault {
    Fault { operation, path_part: path_part.to_owned(), after_count: 0, failure }
}

fn publish(store: &Store, number: usize) -> Result<crate::store::Position, CommitError> {
    let image = image(store, &[&format!("layer {number}")], None);
    commit(store, whole("a", &image, Some(&format!("v{number}"))))
}

#[test]
fn a_failed_sync_of_the_journal_is_final_for_this_process() {
    let dir = empty();
    let store = open(&dir).unwrap();
    publish(&store, 1).unwrap();
    let before = State::of(&store);
    dir.fail(fault(Operation::Sync, "journal/", Failure::Io));
    assert!(matches!(publish(&store, 2), Err(CommitError::Indeterminate)));
    assert_eq!(State::of(&store), before, "what was not acknowledged is not shown");
    let Err(CommitError::ReadOnly { reason }) = publish(&store, 3) else { panic!("it must be read-only") };
    assert!(reason.contains("journal"), "{reason}");
    drop(store);
    // The kernel still shows the frame whose sync failed. What is acknowledged behind it must not stand on sand.
    let store = open(&dir).unwrap();
    publish(&store, 4).unwrap();
    let after = State::of(&store);
    for seed in 0..50 {
        let survivor = open(&dir.after_power_cut(seed)).unwrap();
        assert_eq!((survivor.read_only(), State::of(&survivor)), (None, after.clone()), "seed {seed}");
    }
}

#[test]
fn a_full_journal_refuses_and_goes_on_when_there_is_room() {
    for (operation, failure) in [(Operation::Write, Failure::Full), (Operation::Write, Failure::Short)] {
        let dir = empty();
        let store = open(&dir).unwrap();
        publish(&store, 1).unwrap();
        dir.fail(fault(operation, "journal/", failure));
        assert!(matches!(publish(&store, 2), Err(CommitError::Full { .. })), "{failure:?}");
        publish(&store, 3).unwrap();
        let after = State::of(&store);
        drop(store);
        for seed in 0..20 {
            let survivor = open(&dir.after_power_cut(seed)).unwrap();
            assert_eq!(State::of(&survivor), after, "{failure:?}, seed {seed}");
        }
    }
}

#[test]
fn on_a_full_disk_only_giving_up_still_works() {
    let dir = empty();
    let store = open(&dir).unwrap();
    let old = image(&store, &["old"], None);
    commit(&store, whole("a", &old, Some("old"))).unwrap();
    let fits = image(&store, &["fits"], None);
    let used: u64 = u64::MAX - dir.free_bytes().unwrap();
    dir.set_capacity(used + 100_000);
    assert!(matches!(commit(&store, whole("a", &fits, None)), Err(CommitError::Full { .. })));
    commit(&store, vec![remove_tag("a", "old"), remove_manifest("a", &old.digest)]).unwrap();
    let digests: Vec<_> = store.unreferenced(None, 10).unwrap().into_iter().map(|content| content.digest).collect();
    commit(&store, vec![Change::Condemn { digests: digests.clone(), grace_seconds: 0 }]).unwrap();
    commit(&store, vec![Change::Sweep { digests: digests.clone() }]).unwrap();
    assert!(!store.unlink_swept(digests).unwrap().is_empty());
}

#[test]
fn content_that_could_not_be_stored_leaves_nothing() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDir] {
        let dir = empty();
        let store = open(&dir).unwrap();
        let path_part = if matches!(operation, Operation::Rename | Operation::SyncDir) { "blobs/" } else { "uploads/" };
        dir.fail(fault(operation, path_part, Failure::Io));
        store.blobs().put(b"content").unwrap_err();
        assert_eq!(dir.list("uploads").unwrap(), [], "{operation:?}");
        store.blobs().put(b"content").unwrap();
        assert_eq!(store.blobs().read(&crate::oci::digest::Digest::of(b"content"), 10).unwrap().unwrap(), b"content");
    }
}

/// A disk that filled up in the middle of a piece leaves bytes behind that nobody acknowledged: whoever goes on, or ends
/// there, gets what was acknowledged and nothing else.
#[test]
fn a_piece_that_was_written_by_half_is_no_part_of_the_content() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let dir = empty();
        let store = open(&dir).unwrap();
        let mut writer = store.blobs().begin().unwrap();
        writer.write(b"acknowledged").unwrap();
        dir.fail(fault(Operation::Write, "uploads/", Failure::Short));
        writer.write(b" and lost").unwrap_err();
        if algorithm != Algorithm::Sha256 {
            writer.rehash(algorithm).unwrap();
        }
        let digest = writer.finish(None).unwrap();
        assert_eq!(digest, algorithm.hash(b"acknowledged"));
        assert_eq!(store.blobs().read(&digest, 100).unwrap().as_deref(), Some(&b"acknowledged"[..]));
    }
}

#[test]
fn a_segment_that_could_not_be_begun_stands_in_nobodys_way() {
    let dir = empty();
    let store = open(&dir).unwrap();
    let fill = |store: &Store| {
        let values = serde_json::Value::String("x".repeat(900 * 1024));
        commit(store, vec![Change::ApplyRetention { rule: "r".into(), values }])
    };
    fill(&store).unwrap();
    fill(&store).unwrap();
    dir.fail(fault(Operation::Write, "journal/", Failure::Full));
    assert!(matches!(fill(&store), Err(CommitError::Full { .. })));
    publish(&store, 1).unwrap();
    fill(&store).unwrap();
    publish(&store, 2).unwrap();
    let after = State::of(&store);
    drop(store);
    assert!(dir.list("journal").unwrap().len() > 1);
    let again: SimulatedDir = dir.after_power_cut(1);
    assert_eq!(State::of(&open(&again).unwrap()), after);
}
