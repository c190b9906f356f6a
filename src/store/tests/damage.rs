//! Files that were changed by something else than this store.

use super::world::{World, commit, image, repository, settings, tag, whole};
use crate::progress::Silent;
use crate::store::{CheckDepth, CommitError, Store};
use crate::sys::dir::{Create, Dir, read_exact_at};

/// Where the journal's n-th frame begins; a frame of these tests is one or two blocks long.
const SECOND_FRAME_AT: u64 = 2 * 4096;

fn filled() -> World {
    let mut world = World::new();
    for number in 0..4 {
        let image = image(world.store(), &[&format!("layer {number}")], None);
        commit(world.store(), whole("a", &image, Some(&format!("v{number}")))).unwrap();
    }
    world.close();
    world
}

fn flip(dir: &dyn Dir, path: &str, offset_bytes: u64) {
    let file = dir.open_write(path, Create::Existing).unwrap();
    let mut byte = [0];
    read_exact_at(file.as_ref(), &mut byte, offset_bytes).unwrap();
    file.write_at(&[byte[0] ^ 0x40], offset_bytes).unwrap();
}

fn journal(dir: &dyn Dir) -> String {
    format!("journal/{}", dir.list("journal").unwrap()[0].name)
}

fn end_of_journal(dir: &dyn Dir, path: &str) -> u64 {
    let bytes = crate::sys::dir::read_bounded(dir, path, 4 << 20).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

fn tags_count(store: &Store) -> usize {
    store.tags(&repository("a"), None, 100).unwrap().len()
}

#[test]
fn an_index_that_is_gone_or_broken_is_made_anew() {
    let breakages: [fn(&dyn Dir); 5] = [
        |dir| dir.remove_tree("index").unwrap(),
        |dir| dir.remove("index/CURRENT").unwrap(),
        |dir| {
            let file = dir.open_write("index/generation-1/db", Create::Existing).unwrap();
            file.write_at(&[0x5a; 4096], 0).unwrap();
        },
        |dir| {
            let file = dir.open_write("index/generation-1/db", Create::Existing).unwrap();
            file.set_len(file.len_bytes().unwrap() / 3).unwrap();
        },
        |dir| dir.remove("index/generation-1/db").unwrap(),
    ];
    for (number, breakage) in breakages.iter().enumerate() {
        let mut world = filled();
        let dir = world.dir();
        breakage(dir.as_ref());
        if !matches!(dir.stat("index"), Ok(Some(_))) {
            dir.create_dir_all("index").unwrap();
        }
        // As after a power cut, so that the index is looked at closely.
        dir.open_write("index.dirty", Create::Missing).unwrap();
        world.reopen();
        assert_eq!(world.store().read_only(), None);
        assert_eq!(tags_count(world.store()), 4, "breakage {number}");
        assert!(world.store().check(CheckDepth::Full, &Silent).unwrap().is_sound());
    }
}

#[test]
fn damage_inside_the_journal_is_named_and_reading_goes_on() {
    let mut world = filled();
    let dir = world.dir();
    let path = journal(dir.as_ref());
    flip(dir.as_ref(), &path, SECOND_FRAME_AT + 200);
    world.reopen();
    let report = world.store().check(CheckDepth::Fast, &Silent).unwrap();
    assert!(report.findings.iter().any(|finding| finding.place.contains(&path) && finding.place.contains("8192")));
    assert_eq!(tags_count(world.store()), 4, "the index knows more than the journal can prove again");
    world.close();
    dir.remove_tree("index").unwrap();
    dir.create_dir_all("index").unwrap();
    world.reopen();
    let reason = world.store().read_only().unwrap();
    assert!(reason.contains(&path) && reason.contains("8192"), "{reason}");
    assert!(matches!(commit(world.store(), vec![]), Err(CommitError::ReadOnly { .. })));
}

#[test]
fn a_lost_end_of_the_journal_is_damage_when_the_index_knows_better() {
    let mut world = filled();
    let dir = world.dir();
    let path = journal(dir.as_ref());
    let end = end_of_journal(dir.as_ref(), &path);
    flip(dir.as_ref(), &path, end - 100);
    world.reopen();
    let reason = world.store().read_only().unwrap();
    assert!(reason.contains("acknowledged"), "{reason}");
    assert!(world.store().resolve(&repository("a"), &tag("v3")).unwrap().is_some());
    assert!(matches!(world.store().rebuild(&Silent), Err(crate::store::StoreError::JournalShort { .. })));
    assert_eq!(tags_count(world.store()), 4);
}

#[test]
fn what_a_killed_process_leaves_opens_with_everything_acknowledged() {
    // A copy of the files while they are in use is what a process finds whose predecessor was killed.
    let world = World::new();
    let mut acknowledged = None;
    for number in 0..40 {
        let image = image(world.store(), &[&format!("layer {number}"), &"x".repeat(number * 500)], None);
        acknowledged = Some(commit(world.store(), whole("a", &image, Some(&format!("v{number}")))).unwrap());
        if number == 20 {
            world.store().rebuild(&Silent).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    copy(world.path.path(), &left);
    let dir = std::sync::Arc::new(crate::sys::dir_real::RealDir::open(&left).unwrap());
    let store = Store::open(dir, world.clock(), &settings()).unwrap();
    assert_eq!((store.read_only(), Some(store.head())), (None, acknowledged));
    assert_eq!(tags_count(&store), 40);
    assert!(store.check(CheckDepth::Full, &Silent).unwrap().is_sound());
}

#[test]
fn the_journal_of_another_store_makes_another_index() {
    let mut world = filled();
    let other = World::new();
    let dir = world.dir();
    dir.remove_tree("index").unwrap();
    let (from, to) = (other.path.path().join("index"), world.path.path().join("index"));
    drop(other.store);
    copy(&from, &to);
    world.reopen();
    assert_eq!(world.store().read_only(), None);
    assert_eq!(tags_count(world.store()), 4);
}

#[test]
fn a_changed_blob_is_never_handed_out_whole_and_found_by_a_full_check() {
    let mut world = filled();
    let dir = world.dir();
    let digest = crate::oci::digest::Digest::of(b"layer 1");
    flip(dir.as_ref(), &crate::store::layout::blob_path(&digest), 2);
    world.reopen();
    world.store().blobs().read(&digest, 100).unwrap_err();
    assert!(world.store().check(CheckDepth::Fast, &Silent).unwrap().is_sound());
    let report = world.store().check(CheckDepth::Full, &Silent).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].what.contains(&digest.to_string()));
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let world = filled();
    let later = br#"{"min_reader":3,"min_writer":3,"written_by":"postern 9"}"#;
    crate::sys::dir::replace(world.dir().as_ref(), "VERSION", later).unwrap();
    let opened = Store::open(world.dir(), world.clock(), &settings());
    assert!(matches!(opened, Err(crate::store::StoreError::TooNew { needed: 3, own: 2 })));
}
