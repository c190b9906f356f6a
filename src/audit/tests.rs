//! Journals that are sound, copied, cut, changed and foreign.

use std::sync::Arc;

use super::{ExportError, VerifyError, export, sign, verify};
use crate::device_id::DeviceId;
use crate::store::{Change, PrincipalRef, Store, StoreSettings, Transaction};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::{Create, Dir, read_bounded, replace};
use crate::sys::dir_real::RealDir;
use crate::sys::keys::KeyRing;

struct World {
    _folder: tempfile::TempDir,
    dir: Arc<dyn Dir>,
    store: Store,
    keys: KeyRing,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(folder.path()).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()));
        let keys = KeyRing::create(dir.as_ref(), "box", clock.wall()).unwrap();
        Store::create(&dir, &clock, keys.device_id()).unwrap();
        let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
        let store = Store::open(Arc::clone(&dir), clock, &settings).unwrap();
        Self { _folder: folder, dir, store, keys }
    }

    fn note(&self, count: u64) {
        for number in 0..count {
            let change = Change::ApplyRetention { rule: format!("rule {number}"), values: number.into() };
            self.store.commit(Transaction::new(PrincipalRef::system("test"), vec![change])).unwrap();
        }
    }
}

fn copy() -> (tempfile::TempDir, RealDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = RealDir::open(folder.path()).unwrap();
    (folder, dir)
}

fn names(dir: &dyn Dir, end: &str) -> Vec<String> {
    let entries = dir.list("journal").unwrap();
    entries.into_iter().map(|entry| format!("journal/{}", entry.name)).filter(|name| name.ends_with(end)).collect()
}

#[test]
fn a_sound_journal_is_proved_up_to_its_newest_checkpoint() {
    let world = World::new();
    world.note(3);
    let signed = sign(&world.store, &world.keys).unwrap();
    assert_eq!(sign(&world.store, &world.keys).unwrap(), signed, "signed once");
    world.note(2);
    let report = verify(world.dir.as_ref(), Some(world.keys.device_id())).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.events_count, report.checkpoints_count, report.unsigned_events_count), (6, 1, 2));
    assert_eq!(report.signed_up_to, Some(signed));
    let other = DeviceId::of_public_key(b"another");
    assert!(matches!(verify(world.dir.as_ref(), Some(&other)), Err(VerifyError::OtherDevice { .. })));
}

#[test]
fn a_copy_is_checked_without_the_appliance_and_grows_by_new_files_only() {
    let world = World::new();
    let (_folder, medium) = copy();
    world.note(3);
    let first = export(&world.store, &world.keys, &medium).unwrap();
    assert!(first.files_written >= 3 && first.files_kept == 0);
    let report = verify(&medium, Some(world.keys.device_id())).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.last.clone(), report.unsigned_events_count), (Some(world.store.head()), 0));

    let before: Vec<(String, Vec<u8>)> = ["", ".log"]
        .iter()
        .flat_map(|end| names(&medium, end))
        .map(|name| (name.clone(), read_bounded(&medium, &name, 1 << 23).unwrap()))
        .collect();
    world.note(2);
    let second = export(&world.store, &world.keys, &medium).unwrap();
    assert_eq!((second.files_written, second.files_kept), (2, first.files_written));
    for (name, bytes) in before {
        assert_eq!(read_bounded(&medium, &name, 1 << 23).unwrap(), bytes, "{name} was changed");
    }
    let report = verify(&medium, None).unwrap();
    assert!(report.is_sound() && report.events_count == 6 && report.checkpoints_count == 2, "{report:?}");
    let sums = String::from_utf8(read_bounded(&medium, &second.sums, 1 << 16).unwrap()).unwrap();
    assert_eq!(sums.lines().count(), 5, "{sums}");

    let changed = &names(&medium, ".log")[0];
    medium.open_write(changed, Create::Existing).unwrap().write_at(b"?", 4200).unwrap();
    assert!(matches!(export(&world.store, &world.keys, &medium), Err(ExportError::Differs(_))));
}

#[test]
fn whatever_is_done_to_a_copy_is_named() {
    let world = World::new();
    world.note(3);
    sign(&world.store, &world.keys).unwrap();
    world.note(2);
    let stranger = World::new();
    stranger.note(3);
    let foreign = sign(&stranger.store, &stranger.keys).unwrap();
    assert_eq!(foreign.position.sequence, 4);
    let check = |words: &str, spoil: &dyn Fn(&RealDir)| {
        let (_folder, medium) = copy();
        export(&world.store, &world.keys, &medium).unwrap();
        spoil(&medium);
        let report = verify(&medium, None).unwrap();
        assert!(report.problems.iter().any(|problem| problem.contains(words)), "{words}: {report:?}");
    };
    let log = names(world.dir.as_ref(), ".log").remove(0);
    check("damaged", &|dir| dir.open_write(&log, Create::Existing).unwrap().write_at(b"?", 2 * 4096 + 50).unwrap());
    check("events are missing", &|dir| dir.open_write(&log, Create::Existing).unwrap().set_len(4 * 4096).unwrap());
    check("events are missing", &|dir| dir.remove(&log).unwrap());
    check("not signed by this device", &|dir| {
        let own = names(dir, ".checkpoint")[0].clone();
        let theirs = names(stranger.dir.as_ref(), ".checkpoint")[0].clone();
        let bytes = read_bounded(stranger.dir.as_ref(), &theirs, 1 << 16).unwrap();
        replace(dir, &own, &bytes).unwrap();
    });
    check("history was changed", &|dir| {
        // The journal of another device whose owner took this one's checkpoints and keys' names.
        let theirs = names(stranger.dir.as_ref(), ".log")[0].clone();
        let bytes = read_bounded(stranger.dir.as_ref(), &theirs, 1 << 23).unwrap();
        replace(dir, &log, &bytes).unwrap();
    });
    check("not a signed envelope", &|dir| {
        let own = names(dir, ".checkpoint")[0].clone();
        replace(dir, &own, b"{}").unwrap();
    });
}
