//! A store is backed up while it changes, lost, and restored.

use std::sync::Arc;

use super::{BackupState, RestoreError, RestoreOrder, TakeError, fill, restore, take};
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::retention::{SweepOptions, sweep};
use crate::store::{
    Change, CheckDepth, CommitError, ConfirmError, LinkVia, PrincipalRef, Store, StoreSettings, Transaction,
    access_path,
};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::{Create, Dir, read_bounded, replace};
use crate::sys::dir_layered::LayeredDir;
use crate::sys::dir_real::RealDir;
use crate::sys::keys::KeyRing;

struct Folder {
    folder: tempfile::TempDir,
    dir: Arc<dyn Dir>,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(folder.path()).unwrap());
        Self { folder, dir }
    }

    fn order(&self, content_later: bool) -> RestoreOrder<'_> {
        let backup_path = self.folder.path().to_str().unwrap();
        RestoreOrder { backup: self.dir.as_ref(), backup_path, survivor: None, content_later }
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()))
}

fn open(dir: &Arc<dyn Dir>) -> Store {
    let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
    Store::open(Arc::clone(dir), clock(), &settings).unwrap()
}

fn created() -> (Folder, Store, KeyRing) {
    let data = Folder::new();
    let keys = KeyRing::create(data.dir.as_ref(), "box", clock().wall()).unwrap();
    Store::create(&data.dir, &clock(), keys.device_id()).unwrap();
    let store = open(&data.dir);
    (data, store, keys)
}

fn commit(store: &Store, change: Change) -> Result<u64, CommitError> {
    store.commit(Transaction::new(PrincipalRef::system("test"), vec![change])).map(|position| position.sequence)
}

fn link(store: &Store, content: &str) -> Digest {
    let digest = store.blobs().put(content.as_bytes()).unwrap();
    let size_bytes = content.len() as u64;
    commit(store, Change::LinkBlob { repository: "a".parse().unwrap(), digest, size_bytes, via: LinkVia::Upload })
        .unwrap();
    digest
}

fn import_mark(sequence: u64) -> Change {
    Change::CommitImport {
        set_id: format!("set-{sequence}"),
        sender: crate::device_id::DeviceId::of_public_key(b"sender"),
        series: "default".to_owned(),
        sequence,
        table_digest: Digest::of(b"table"),
        admitted: 1,
        refused: 0,
    }
}

fn confirm(store: &Store) -> Result<crate::store::Position, ConfirmError> {
    store.confirm_restore(PrincipalRef::operator("0"))
}

#[test]
fn a_backup_grows_by_what_is_new_and_forgets_what_is_gone() {
    let (_data, store, keys) = created();
    let (to, one) = (Folder::new(), link(&store, "one"));
    let first = take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    assert_eq!((first.files_copied, first.files_count, first.holds_private_keys), (1, 1, false));
    assert_eq!(BackupState::read(to.dir.as_ref()).unwrap().unwrap().position, store.head());
    assert!(to.dir.list("identity").unwrap().iter().all(|entry| !entry.name.ends_with(".pk8")), "a private key");
    link(&store, "two");
    let second = take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    assert_eq!((second.files_copied, second.files_count), (1, 2));

    let unlink = Change::UnlinkBlob { repository: "a".parse().unwrap(), digest: one, reason: "test".into() };
    commit(&store, unlink).unwrap();
    let options = SweepOptions { grace_seconds: 0, dry_run: false };
    let held = store.hold_files();
    assert_eq!(sweep(&store, options, &PrincipalRef::system("sweep")).unwrap().unlinked, 0, "held for a copy");
    drop(held);
    for _ in 0..2 {
        sweep(&store, options, &PrincipalRef::system("sweep")).unwrap();
    }
    assert!(!store.blobs().has(&one));
    let third = take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    assert_eq!((third.files_count, third.files_pruned), (0, 2), "no manifest needs either of them");

    let (_other, another, other_keys) = created();
    assert!(matches!(take(&another, &other_keys, to.dir.as_ref(), &Silent), Err(TakeError::Other)));
}

#[test]
fn a_document_that_the_medium_has_changed_is_not_taken() {
    let (_data, store, keys) = created();
    let (path, to) = (access_path(&Digest::of(b"{}")), Folder::new());
    store.dir().create_dir_all("trust/access").unwrap();
    replace(store.dir().as_ref(), &path, b"{}").unwrap();
    take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    replace(to.dir.as_ref(), &path, b"{").unwrap();
    let data = Folder::new();
    let report = restore(data.dir.as_ref(), &to.order(false), &Silent).unwrap();
    assert_eq!((report.damaged_count, data.dir.stat(&path).unwrap()), (1, None));
}

#[test]
fn what_was_restored_serves_and_takes_changes_when_somebody_has_looked() {
    let (_data, store, keys) = created();
    let (to, one) = (Folder::new(), link(&store, "one"));
    commit(&store, import_mark(3)).unwrap();
    take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    let backed_up = store.head();
    commit(&store, import_mark(5)).unwrap();
    link(&store, "later");

    let data = Folder::new();
    let survivor = store.dir().as_ref();
    let order = RestoreOrder { survivor: Some(survivor), ..to.order(false) };
    let report = restore(data.dir.as_ref(), &order, &Silent).unwrap();
    assert_eq!((report.position.clone(), report.survived_count), (backed_up.clone(), 1));
    assert!(matches!(restore(data.dir.as_ref(), &order, &Silent), Err(RestoreError::Occupied)));

    let restored = open(&data.dir);
    let held = restored.held_blob(&"a".parse().unwrap(), &one).unwrap();
    assert_eq!((restored.head(), held), (backed_up.clone(), Some(3)));
    assert!(restored.read_only().unwrap().contains("restore confirm"));
    assert!(matches!(commit(&restored, import_mark(9)), Err(CommitError::ReadOnly { .. })));
    let begun = confirm(&restored).unwrap();
    assert_eq!(begun.epoch, backed_up.epoch + 1);
    assert_eq!(restored.read_only(), None);
    assert!(matches!(confirm(&restored), Err(ConfirmError::Nothing)));
    commit(&restored, import_mark(5)).unwrap();
    assert!(
        matches!(commit(&restored, import_mark(4)), Err(CommitError::Conflict(_))),
        "the mark beyond the backup holds"
    );
    assert!(restored.check(CheckDepth::Full, &Silent).unwrap().is_sound());
    link(&restored, "new");
    let head = restored.head();
    drop(restored);
    let again = open(&data.dir);
    assert_eq!((again.read_only(), again.head()), (None, head));
    // A backup of the new life goes into the same place.
    let taken = take(&again, &keys, to.dir.as_ref(), &Silent).unwrap();
    assert_eq!(taken.position.epoch, begun.epoch);
}

#[test]
fn content_is_served_out_of_the_backup_until_it_is_here() {
    let (_data, store, keys) = created();
    let to = Folder::new();
    let digests: Vec<Digest> = (0..20).map(|number| link(&store, &format!("content {number}"))).collect();
    take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    let data = Folder::new();
    restore(data.dir.as_ref(), &to.order(true), &Silent).unwrap();
    let layered: Arc<dyn Dir> = Arc::new(LayeredDir::new(Arc::clone(&data.dir), Arc::clone(&to.dir), super::CONTENT));
    let served = open(&layered);
    let read = |store: &Store| digests.iter().all(|digest| store.blobs().read(digest, 100).unwrap().is_some());
    assert!(read(&served) && served.losses().unwrap().is_empty());
    assert!(matches!(confirm(&served), Err(ConfirmError::Filling(_))));
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 10
    };
    assert!(!fill(&data.dir, to.dir.as_ref(), &stop).unwrap());
    assert!(read(&served));
    assert!(fill(&data.dir, to.dir.as_ref(), &|| false).unwrap());
    confirm(&served).unwrap();
    drop(served);
    let own = open(&data.dir);
    assert!(read(&own) && own.check(CheckDepth::Full, &Silent).unwrap().is_sound());
}

#[test]
fn changed_content_does_not_get_into_a_backup_nor_out_of_one() {
    let (_data, store, keys) = created();
    let (to, one) = (Folder::new(), link(&store, "one"));
    let path = crate::store::blob_path(&one);
    let rot = |dir: &dyn Dir| dir.open_write(&path, Create::Existing).unwrap().write_at(b"?", 0).unwrap();
    take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    rot(store.dir().as_ref());
    take(&store, &keys, to.dir.as_ref(), &Silent).unwrap();
    assert_eq!(read_bounded(to.dir.as_ref(), &path, 10).unwrap(), b"one", "the good copy stays");
    let fresh = Folder::new();
    assert_eq!(take(&store, &keys, fresh.dir.as_ref(), &Silent).unwrap().damaged, [one]);
    rot(to.dir.as_ref());
    let data = Folder::new();
    assert_eq!(restore(data.dir.as_ref(), &to.order(false), &Silent).unwrap().damaged_count, 1);
    assert!(matches!(
        restore(Folder::new().dir.as_ref(), &Folder::new().order(false), &Silent),
        Err(RestoreError::NoBackup)
    ));
}
