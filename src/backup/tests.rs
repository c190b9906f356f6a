//! A store is backed up while it changes, lost, and restored.

use std::sync::Arc;

use super::{BackupState, RestoreError, RestoreOrder, TakeError, TakeOptions, fill, restore, take, verify};
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::retention::{SweepOptions, sweep};
use crate::store::{
    Change, CheckDepth, CommitError, ConfirmError, LinkVia, PrincipalRef, Store, StoreSettings, Transaction,
    access_path, policy_path,
};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::{Create, Dir, read_bounded, read_exact_at, replace};
use crate::sys::dir_layered::LayeredDir;
use crate::sys::dir_real::RealDir;
use crate::sys::keys::KeyRing;

const ANEW: TakeOptions = TakeOptions { reread: false };
const REREAD: TakeOptions = TakeOptions { reread: true };

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
        RestoreOrder { backup: self.dir.as_ref(), backup_path, keys: None, survivor: None, content_later }
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
    let first = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!((first.files_copied, first.files_count, first.holds_private_keys), (1, 1, false));
    assert_eq!(BackupState::read(to.dir.as_ref()).unwrap().unwrap().position, store.head());
    assert!(to.dir.list("identity").unwrap().iter().all(|entry| !entry.name.ends_with(".pk8")), "a private key");
    link(&store, "two");
    let second = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
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
    let third = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!((third.files_count, third.files_pruned), (0, 2), "no manifest needs either of them");

    let (_other, another, other_keys) = created();
    assert!(matches!(take(&another, &other_keys, to.dir.as_ref(), ANEW, &Silent), Err(TakeError::Other)));
}

#[test]
fn documents_of_accounts_are_locked_away_and_opened_by_the_same_keys_alone() {
    let (data, store, keys) = created();
    let document = br#"{"users":{"u":{"name":"ada","second_factor":"JBSWY3DPEHPK3PXP"}}}"#;
    let (path, to) = (access_path(&Digest::of(document)), Folder::new());
    store.dir().create_dir_all("trust/access").unwrap();
    replace(store.dir().as_ref(), &path, document).unwrap();
    // As an earlier release has left it.
    to.dir.create_dir_all("trust/access").unwrap();
    replace(to.dir.as_ref(), &path, document).unwrap();
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!(to.dir.stat(&path).unwrap(), None, "what anybody can read is not left there");
    let locked = format!("{path}.locked");
    let sealed = read_bounded(to.dir.as_ref(), &locked, 10_000).unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("JBSWY3DPEHPK3PXP"));
    let again = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!((read_bounded(to.dir.as_ref(), &locked, 10_000).unwrap(), again.files_mended), (sealed.clone(), 0));

    let restored = |keys: Option<&KeyRing>| {
        let data = Folder::new();
        let report = restore(data.dir.as_ref(), &RestoreOrder { keys, ..to.order(true) }, &Silent).unwrap();
        (report, read_bounded(data.dir.as_ref(), &path, 10_000).ok())
    };
    let (report, content) = restored(Some(&KeyRing::open(data.dir.as_ref()).unwrap()));
    assert!(report.is_whole() && !report.accounts_locked && content.as_deref() == Some(document));
    let (_other, _, others) = created();
    for keys in [None, Some(&others)] {
        let (report, content) = restored(keys);
        assert!(report.is_whole() && report.accounts_locked && content.is_none());
    }
    rot(to.dir.as_ref(), &locked, 40);
    let (report, content) = restored(Some(&keys));
    assert_eq!((report.damaged_count, content), (1, None));
    assert_eq!(take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap().files_mended, 1);
    assert!(restored(Some(&keys)).1.is_some());
    store.dir().remove(&path).unwrap();
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!(to.dir.list("trust/access").unwrap(), [], "what the appliance has forgotten is forgotten there too");
}

#[test]
fn a_document_that_the_medium_has_changed_is_not_taken() {
    let (_data, store, keys) = created();
    let (path, to) = (policy_path(&Digest::of(b"version = 1")), Folder::new());
    replace(store.dir().as_ref(), &path, b"version = 1").unwrap();
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    replace(to.dir.as_ref(), &path, b"version = 2").unwrap();
    let data = Folder::new();
    let report = restore(data.dir.as_ref(), &to.order(false), &Silent).unwrap();
    assert_eq!((report.damaged_count, data.dir.stat(&path).unwrap()), (1, None));
}

#[test]
fn what_was_restored_serves_and_takes_changes_when_somebody_has_looked() {
    let (_data, store, keys) = created();
    let (to, one) = (Folder::new(), link(&store, "one"));
    commit(&store, import_mark(3)).unwrap();
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
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
    let taken = take(&again, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!(taken.position.epoch, begun.epoch);
}

#[test]
fn content_is_served_out_of_the_backup_until_it_is_here() {
    let (_data, store, keys) = created();
    let to = Folder::new();
    let digests: Vec<Digest> = (0..20).map(|number| link(&store, &format!("content {number}"))).collect();
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
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
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    rot(store.dir().as_ref());
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!(read_bounded(to.dir.as_ref(), &path, 10).unwrap(), b"one", "the good copy stays");
    let fresh = Folder::new();
    assert_eq!(take(&store, &keys, fresh.dir.as_ref(), ANEW, &Silent).unwrap().damaged, [one]);
    rot(to.dir.as_ref());
    let data = Folder::new();
    assert_eq!(restore(data.dir.as_ref(), &to.order(false), &Silent).unwrap().damaged_count, 1);
    assert!(matches!(
        restore(Folder::new().dir.as_ref(), &Folder::new().order(false), &Silent),
        Err(RestoreError::NoBackup)
    ));
}

/// One bit of a file, its length as before.
fn rot(dir: &dyn Dir, path: &str, at: u64) {
    let file = dir.open_write(path, Create::Existing).unwrap();
    let mut byte = [0];
    read_exact_at(file.as_ref(), &mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 1], at).unwrap();
}

fn segments(dir: &dyn Dir) -> Vec<String> {
    let names = dir.list("journal").unwrap().into_iter().map(|entry| entry.name);
    names.filter(|name| name.ends_with(".log")).map(|name| format!("journal/{name}")).collect()
}

/// WHY: a restore from a backup whose journal was cut came up out of its snapshot, or at an earlier state, and said nothing.
#[test]
fn a_journal_that_was_cut_in_the_backup_is_told() {
    let (_data, store, keys) = created();
    let to = Folder::new();
    link(&store, "one");
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    link(&store, "two");
    let taken = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    let [first, second] = segments(to.dir.as_ref()).try_into().unwrap();
    let sound = |path: &str| read_bounded(to.dir.as_ref(), path, 4 << 20).unwrap();
    let (first_bytes, second_bytes) = (sound(&first), sound(&second));
    let cuts: [(&str, &dyn Fn()); 4] = [
        ("its end is missing", &|| to.dir.remove(&second).unwrap()),
        ("its end is missing", &|| {
            to.dir.open_write(&second, Create::Existing).unwrap().set_len(4096).unwrap();
        }),
        ("are missing", &|| to.dir.remove(&first).unwrap()),
        ("damaged", &|| rot(to.dir.as_ref(), &first, 4096 + 50)),
    ];
    for (number, (told, cut)) in cuts.into_iter().enumerate() {
        cut();
        let data = Folder::new();
        let report = restore(data.dir.as_ref(), &to.order(false), &Silent).unwrap();
        let missing = report.journal_missing.clone().unwrap_or_else(|| panic!("cut {number} is not told"));
        assert!(missing.contains(told) && !report.is_whole(), "cut {number}: {missing}");
        let verified = verify(to.dir.as_ref(), &Silent).unwrap();
        assert!(verified.journal_missing == Some(missing.clone()) && !verified.is_sound());
        let restored = open(&data.dir);
        let reason = restored.read_only().unwrap();
        assert!(reason.contains(&missing) && reason.contains("restore confirm"), "cut {number}: {reason}");
        // Where the hole is below the snapshot all is served; where the end is gone, what was before it.
        assert_eq!(restored.head().sequence, if number < 2 { 2 } else { taken.position.sequence }, "cut {number}");
        assert_eq!(confirm(&restored).unwrap().epoch, 2);
        replace(to.dir.as_ref(), &first, &first_bytes).unwrap();
        replace(to.dir.as_ref(), &second, &second_bytes).unwrap();
    }
    let data = Folder::new();
    assert!(restore(data.dir.as_ref(), &to.order(false), &Silent).unwrap().is_whole());
    assert!(verify(to.dir.as_ref(), &Silent).unwrap().is_sound());
}

#[test]
fn what_the_medium_changes_at_equal_length_is_noticed_and_copied_once_more() {
    let (_data, store, keys) = created();
    let (to, one) = (Folder::new(), link(&store, "one"));
    replace(store.dir().as_ref(), "postern.toml", b"offline = true").unwrap();
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    let content = crate::store::blob_path(&one);
    let journal = segments(to.dir.as_ref()).remove(0);
    let checkpoint = to.dir.list("journal").unwrap().into_iter().map(|entry| entry.name);
    let checkpoint =
        checkpoint.filter(|name| name.ends_with(".checkpoint")).map(|name| format!("journal/{name}")).next();
    let checkpoint = checkpoint.unwrap();
    for path in [&content, &journal, &checkpoint, "postern.toml"] {
        rot(to.dir.as_ref(), path, 1);
    }
    let report = verify(to.dir.as_ref(), &Silent).unwrap();
    assert_eq!(report.damaged, [one]);
    assert_eq!(report.changed, [journal.as_str(), &checkpoint, "postern.toml"]);
    let data = Folder::new();
    let restored = restore(data.dir.as_ref(), &to.order(true), &Silent).unwrap();
    assert_eq!(restored.changed, [journal.as_str(), &checkpoint, "postern.toml"]);

    let taken = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!((taken.files_mended, taken.files_copied), (2, 0), "content is not read again each time");
    assert_eq!(verify(to.dir.as_ref(), &Silent).unwrap().damaged, [one]);
    let taken = take(&store, &keys, to.dir.as_ref(), REREAD, &Silent).unwrap();
    assert_eq!((taken.files_mended, taken.files_copied), (1, 1));
    assert!(verify(to.dir.as_ref(), &Silent).unwrap().is_sound());

    // What rots in the store does not replace the good copy.
    let sound = read_bounded(to.dir.as_ref(), &journal, 4 << 20).unwrap();
    rot(store.dir().as_ref(), &journal, 4096 + 50);
    let taken = take(&store, &keys, to.dir.as_ref(), REREAD, &Silent).unwrap();
    assert!(taken.changed.is_empty(), "the backup has it as it was");
    assert_eq!(read_bounded(to.dir.as_ref(), &journal, 4 << 20).unwrap(), sound);
    rot(to.dir.as_ref(), &journal, 4096 + 51);
    let taken = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert_eq!(taken.changed, [journal], "neither has it");
}

#[test]
fn a_backup_of_an_earlier_release_has_no_list_and_gets_one() {
    let (_data, store, keys) = created();
    let to = Folder::new();
    link(&store, "one");
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    let state = BackupState::read(to.dir.as_ref()).unwrap().unwrap();
    let earlier = BackupState { sums: None, ..state };
    replace(to.dir.as_ref(), "backup.json", &serde_json::to_vec(&earlier).unwrap()).unwrap();
    to.dir.remove("SHA256SUMS").unwrap();
    let report = verify(to.dir.as_ref(), &Silent).unwrap();
    assert!(report.is_sound() && !report.listed);
    assert!(restore(Folder::new().dir.as_ref(), &to.order(false), &Silent).unwrap().is_whole());
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert!(verify(to.dir.as_ref(), &Silent).unwrap().listed);
}

#[test]
fn a_backup_of_a_compressed_journal_replaces_what_was_copied_before_and_is_gone_on_with() {
    let (_data, store, keys) = created();
    let to = Folder::new();
    link(&store, "one");
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    store.finalize(PrincipalRef::operator("0")).unwrap();
    link(&store, "two");
    take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    let taken = take(&store, &keys, to.dir.as_ref(), ANEW, &Silent).unwrap();
    assert!(segments(to.dir.as_ref()).is_empty(), "compressed ones have taken their places");
    assert!(verify(to.dir.as_ref(), &Silent).unwrap().is_sound());
    let data = Folder::new();
    assert!(restore(data.dir.as_ref(), &to.order(false), &Silent).unwrap().is_whole());
    let restored = open(&data.dir);
    assert_eq!(restored.head(), taken.position);
    assert_eq!(confirm(&restored).unwrap().epoch, 2);
    link(&restored, "three");
    drop(restored);
    assert!(open(&data.dir).check(CheckDepth::Full, &Silent).unwrap().is_sound());
}
