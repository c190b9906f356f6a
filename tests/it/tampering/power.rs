//! The power fails during an import, at every single change that it makes to the receiver's disk. What the next start
//! finds is decided by a seed: anything that was not synced may be there, gone or torn.

use std::sync::Arc;

use postern::bundle::import::{ImportError, ImportOptions, ImportReport, import};
use postern::enrolment;
use postern::limits::SET_TABLE_BYTES_MAX;
use postern::oci::digest::Digest;
use postern::oci::manifest::Manifest;
use postern::progress::Silent;
use postern::store::{DeviceRole, PrincipalRef, Store, StoreSettings};
use postern::sys::clock::{Clock, SimulatedClock};
use postern::sys::dir::Dir;
use postern::sys::dir_simulated::SimulatedDir;
use postern::sys::keys::KeyRing;

use super::world::{World, admit_all};

const APP: &str = "docker.io/library/app";

fn clock() -> Arc<dyn Clock> {
    Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()))
}

fn open(dir: &SimulatedDir) -> Store {
    let settings = StoreSettings { reserve_bytes: 4_096, ..StoreSettings::default() };
    Store::open(Arc::new(dir.clone()), clock(), &settings).unwrap()
}

/// A receiver on a simulated disk that knows the sender.
fn receiver(world: &World) -> SimulatedDir {
    let dir = SimulatedDir::default();
    let shared: Arc<dyn Dir> = Arc::new(dir.clone());
    for entry in world.high.dir().list("identity").unwrap() {
        let path = format!("identity/{}", entry.name);
        let content = postern::sys::dir::read_bounded(world.high.dir(), &path, 1 << 16).unwrap();
        dir.create_dir_all("identity").unwrap();
        postern::sys::dir::replace(&dir, &path, &content).unwrap();
    }
    dir.sync_dir("").unwrap();
    let keys = KeyRing::open(&dir).unwrap();
    Store::create(&shared, &clock(), keys.device_id()).unwrap();
    let (file, sender) = (world.low.keys.identity_file(), world.low.keys.device_id());
    enrolment::add(&open(&dir), &keys, file, DeviceRole::Sender, sender, PrincipalRef::operator("0")).unwrap();
    dir
}

fn try_import(world: &World, store: &Store, keys: &KeyRing) -> Result<ImportReport, ImportError> {
    let options = ImportOptions {
        set: None,
        principal: PrincipalRef::operator("0"),
        table_bytes_max: SET_TABLE_BYTES_MAX,
        judged_bytes_max: None,
        unenforced: std::collections::BTreeSet::new(),
    };
    import(store, keys, &admit_all(), &world.medium, &options, &Silent)
}

/// Nothing, or everything: the index, both platforms, every blob, each hashing to its name.
fn is_there(store: &Store) -> bool {
    let repository = APP.parse().unwrap();
    let Some(root) = store.resolve(&repository, &"v1".parse().unwrap()).unwrap() else {
        assert!(store.repositories(None, 10).unwrap().is_empty(), "something without its tag");
        return false;
    };
    let check = |digest: &Digest| store.blobs().read(digest, 1 << 20).unwrap().expect("bytes of what is served");
    let record = store.manifest(&repository, &root).unwrap().expect("the tag's manifest");
    let index = Manifest::parse(&check(&root), &record.media_type).unwrap();
    for child in index.edges() {
        let record = store.manifest(&repository, &child.digest).unwrap().expect("a platform");
        let image = Manifest::parse(&check(&child.digest), &record.media_type).unwrap();
        for part in image.edges() {
            assert!(store.blob_link(&repository, &part.digest).unwrap().expect("a link").present);
            check(&part.digest);
        }
    }
    assert_eq!(store.referrers(&repository, &root).unwrap().len(), 1);
    true
}

#[test]
fn at_every_change_of_an_import() {
    let world = World::with_image(20_000);
    world.export(32 << 10);
    let base = receiver(&world);
    let keys = KeyRing::open(&base).unwrap();
    let whole = base.fork();
    let store = open(&whole);
    let begun = whole.steps_count();
    try_import(&world, &store, &keys).unwrap();
    let steps = whole.steps_count() - begun;
    assert!(is_there(&store));
    assert!(steps > 50, "{steps}");

    let (mut nothing, mut everything) = (0, 0);
    for step in 0..steps {
        let dir = base.fork();
        let store = open(&dir);
        dir.cut_power_after(step);
        let acknowledged = try_import(&world, &store, &keys).is_ok();
        drop(store);
        let found = dir.after_power_cut(step);
        let store = open(&found);
        let there = is_there(&store);
        assert!(there || !acknowledged, "acknowledged and lost at step {step}");
        if there {
            everything += 1
        } else {
            nothing += 1
        }
        let report = try_import(&world, &store, &keys).unwrap_or_else(|error| panic!("step {step}: {error:?}"));
        assert_eq!(report.receipt.admitted.len(), 1);
        assert!(is_there(&store), "step {step}");
        assert!(found.list("uploads").unwrap().is_empty(), "step {step}");
        assert!(try_import(&world, &store, &keys).unwrap().already_imported);
    }
    assert!(nothing > 0 && everything > 0, "{nothing} and {everything}");
}

/// The disk is full or fails in the middle: the error says so, nothing is seen, and later it goes on.
#[test]
fn a_full_or_failing_disk_stops_it_and_it_goes_on_later() {
    use postern::sys::dir_simulated::{Failure, Fault, Operation};
    let world = World::with_image(20_000);
    world.export(32 << 10);
    let base = receiver(&world);
    let keys = KeyRing::open(&base).unwrap();
    for (operation, failure) in
        [(Operation::Write, Failure::Full), (Operation::Write, Failure::Short), (Operation::Write, Failure::Io)]
    {
        for after_count in [0, 3, 9] {
            let dir = base.fork();
            let store = open(&dir);
            dir.fail(Fault { operation, path_part: "uploads/import-".to_owned(), after_count, failure });
            let error = try_import(&world, &store, &keys).unwrap_err();
            assert!(error.to_string().contains("goes on where this one stopped"), "{error}");
            assert!(!is_there(&store));
            try_import(&world, &store, &keys).unwrap();
            assert!(is_there(&store));
        }
    }
}

/// The simulator found it: after a sync that failed, a second one succeeded without the bytes of the first, they were noted as
/// staged, hashed out of the kernel's memory, acknowledged, and gone after a power cut.
#[test]
fn what_a_failed_sync_left_is_read_from_the_stick_again() {
    use postern::sys::dir_simulated::{Failure, Fault, Operation};
    let world = World::with_image(20_000);
    world.export(32 << 10);
    let base = receiver(&world);
    let keys = KeyRing::open(&base).unwrap();
    for after_count in 0..6 {
        let dir = base.fork();
        let store = open(&dir);
        let path_part = "/parts/".to_owned();
        dir.fail(Fault { operation: Operation::Sync, path_part, after_count, failure: Failure::Io });
        if try_import(&world, &store, &keys).is_ok() {
            continue;
        }
        assert!(!is_there(&store));
        try_import(&world, &store, &keys).unwrap();
        for seed in 0..10 {
            assert!(is_there(&open(&dir.after_power_cut(seed))), "sync {after_count}, seed {seed}");
        }
    }
}
