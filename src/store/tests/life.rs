//! What can be done, what is refused, and that all of it is still there after opening again.

use std::time::Duration;

use super::world::{
    World, commit, device, image, index, link, move_tag, publish, remove_manifest, remove_tag, repository, settings,
    tag, whole,
};
use crate::oci::digest::Digest;
use crate::oci::name::Reference;
use crate::progress::Silent;
use crate::store::{
    Change, CheckDepth, CommitError, Conflict, DeviceRole, PrincipalRef, Store, StoreError, Transaction, Usage,
};
use crate::sys::dir;
use crate::verify::Refusal;

fn conflict(result: Result<crate::store::Position, CommitError>) -> Conflict {
    match result {
        Err(CommitError::Conflict(conflict)) => conflict,
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

#[test]
fn an_image_is_published_whole_and_is_there_after_opening_again() {
    let mut world = World::new();
    let store = world.store();
    let child = image(store, &["layer one", "layer two"], None);
    let root = index(store, &[&child]);
    let signature = image(store, &["signature"], Some(&root));
    let mut changes = whole("app/web", &child, None);
    changes.extend([publish("app/web", &root), move_tag("app/web", "v1", &root.digest)]);
    changes.extend(whole("app/web", &signature, None));
    let position = commit(store, changes).unwrap();
    for _ in 0..2 {
        let store = world.store();
        let name = repository("app/web");
        assert_eq!(store.head(), position);
        assert_eq!(store.repositories(None, 10).unwrap(), std::slice::from_ref(&name));
        assert_eq!(store.resolve(&name, &tag("v1")).unwrap(), Some(root.digest));
        assert_eq!(store.tags(&name, None, 10).unwrap(), [(tag("v1"), root.digest)]);
        assert_eq!(store.tags(&name, Some(&tag("v1")), 10).unwrap(), []);
        assert_eq!(store.tags_of(&name, &root.digest, 10).unwrap(), [tag("v1")]);
        let referrers = store.referrers(&name, &root.digest).unwrap();
        assert_eq!(referrers.iter().map(|record| record.digest).collect::<Vec<_>>(), [signature.digest]);
        assert_eq!(store.parents(&name, &child.digest).unwrap(), [root.digest]);
        assert_eq!(store.manifests(&name, None, 10).unwrap().len(), 3);
        let layer = Digest::of(b"layer one");
        let blob = store.blob_link(&name, &layer).unwrap().unwrap();
        assert!(blob.present && blob.size_bytes == 9 && blob.media_type.ends_with("tar+gzip"));
        assert_eq!(store.blobs().read(&layer, 100).unwrap().unwrap(), b"layer one");
        assert!(store.children(&name, &root.digest).unwrap()[0].present);
        assert_eq!(store.blob_link(&repository("other"), &layer).unwrap(), None);
        assert!(store.check(CheckDepth::Full, &Silent).unwrap().is_sound());
        world.reopen();
    }
}

#[test]
fn a_transaction_that_does_not_fit_changes_nothing() {
    let world = World::new();
    let store = world.store();
    let head = store.head();
    let child = image(store, &["layer"], None);
    let root = index(store, &[&child]);
    let absent = Digest::of(b"absent");
    let judged_for_another = match publish("b", &child) {
        Change::Publish { manifest, sparse, origin, .. } => {
            Change::Publish { repository: repository("a"), manifest, sparse, origin }
        }
        other => other,
    };
    let there = Digest::of(b"{}");
    dir::replace(store.dir().as_ref(), &crate::store::access_path(&there), b"{}").unwrap();
    let access = |digest, expected| {
        let (act, object) = ("user_added".to_owned(), "u".to_owned());
        Change::ChangeAccess { digest, expected, act, object, values: serde_json::Value::Null, only_removes: false }
    };
    type Expected = fn(&Conflict) -> bool;
    let cases: [(Vec<Change>, Expected); 12] = [
        (vec![publish("a", &child)], |c| matches!(c, Conflict::EdgeMissing { .. })),
        (vec![publish("a", &root)], |c| matches!(c, Conflict::EdgeMissing { .. })),
        (vec![judged_for_another], |c| matches!(c, Conflict::JudgedForAnother { .. })),
        (vec![link("a", &absent, 6)], |c| matches!(c, Conflict::BytesMissing { .. })),
        (vec![link("a", &child.digest, 6)], |c| matches!(c, Conflict::BytesMissing { .. })),
        (vec![move_tag("a", "v1", &absent)], |c| matches!(c, Conflict::ManifestUnknown { .. })),
        (vec![remove_tag("a", "v1")], |c| matches!(c, Conflict::TagUnknown { .. })),
        (vec![remove_manifest("a", &absent)], |c| matches!(c, Conflict::ManifestUnknown { .. })),
        (vec![Change::RemoveDevice { device_id: device() }], |c| matches!(c, Conflict::DeviceUnknown(_))),
        (vec![Change::ActivatePolicy { digest: absent }], |c| matches!(c, Conflict::PolicyMissing(_))),
        (vec![access(absent, None)], |c| matches!(c, Conflict::AccessMissing(_))),
        (vec![access(there, Some(absent))], |c| matches!(c, Conflict::AccessChanged)),
    ];
    for (bad, expected) in cases {
        let mut changes = whole("b", &child, Some("v1"));
        changes.extend(bad);
        let conflict = conflict(commit(store, changes));
        assert!(expected(&conflict), "{conflict}");
        assert_eq!(store.head(), head);
        assert_eq!(store.repositories(None, 10).unwrap(), []);
    }
}

#[test]
fn a_tag_moves_only_from_where_it_is_expected() {
    let world = World::new();
    let store = world.store();
    let (one, two) = (image(store, &["1"], None), image(store, &["2"], None));
    commit(store, whole("a", &one, Some("v1"))).unwrap();
    commit(store, whole("a", &two, None)).unwrap();
    let expecting = |expected| {
        let (repository, tag) = (repository("a"), tag("v1"));
        commit(store, vec![Change::MoveTag { repository, tag, target: two.digest, expected: Some(expected) }])
    };
    assert!(matches!(conflict(expecting(None)), Conflict::TagMoved { actual, .. } if actual == Some(one.digest)));
    expecting(Some(one.digest)).unwrap();
    assert_eq!(store.tags_of(&repository("a"), &one.digest, 10).unwrap(), []);
    assert_eq!(store.tags_of(&repository("a"), &two.digest, 10).unwrap(), [tag("v1")]);
}

#[test]
fn what_repositories_of_one_name_hold_is_counted_once() {
    let world = World::new();
    let store = world.store();
    let (one, two) = (image(store, &["shared", "1"], None), image(store, &["shared", "22"], None));
    commit(store, whole("team", &one, Some("v1"))).unwrap();
    commit(store, whole("team/web", &one, Some("v1"))).unwrap();
    commit(store, whole("team/web", &two, Some("v2"))).unwrap();
    commit(store, whole("team-b/web", &two, Some("v2"))).unwrap();
    let manifests = one.size + two.size;
    let expected = Usage { bytes: manifests + "{}".len() as u64 + 6 + 1 + 2, tags_count: 3 };
    assert_eq!(store.usage("team").unwrap(), expected);
    assert_eq!(store.usage("team-b").unwrap(), Usage { bytes: two.size + 2 + 6 + 2, tags_count: 1 });
    assert_eq!(store.usage("tea").unwrap(), Usage::default());
}

#[test]
fn a_sparse_manifest_waits_for_its_layers() {
    let world = World::new();
    let store = world.store();
    let sparse = image(store, &["late"], None);
    let name = repository("a");
    let late = Digest::of(b"late");
    let manifest = crate::verify::Admitted::for_test(&name, sparse);
    commit(store, vec![Change::Publish { repository: name.clone(), manifest, sparse: true, origin: None }]).unwrap();
    assert!(!store.blob_link(&name, &late).unwrap().unwrap().present);
    commit(store, vec![link("a", &late, 4)]).unwrap();
    assert!(store.blob_link(&name, &late).unwrap().unwrap().present);
}

#[test]
fn sequences_of_sets_only_rise_and_survive_a_rebuild() {
    let world = World::new();
    let store = world.store();
    let import = |sequence, table: &[u8]| Change::CommitImport {
        set_id: format!("set-{sequence}"),
        sender: device(),
        series: "main".into(),
        sequence,
        table_digest: Digest::of(table),
        admitted: 1,
        refused: 0,
    };
    assert_eq!(store.high_water(&device(), "main").unwrap(), 0);
    commit(store, vec![import(3, b"table")]).unwrap();
    for (replayed, table) in [(1, b"table"), (2, b"table"), (3, b"other")] {
        let refused = conflict(commit(store, vec![import(replayed, table)]));
        assert!(matches!(refused, Conflict::SequenceTooLow { current: 3, .. }));
    }
    // The newest set itself may be judged again, also when the index was made anew.
    commit(store, vec![import(3, b"table")]).unwrap();
    let rebuilt = store.rebuild(&Silent).unwrap();
    assert_eq!(rebuilt.head, store.head());
    assert_eq!(store.high_water(&device(), "main").unwrap(), 3);
    assert!(matches!(conflict(commit(store, vec![import(3, b"other")])), Conflict::SequenceTooLow { .. }));
    commit(store, vec![import(3, b"table")]).unwrap();
    assert_eq!(store.next_export_sequence(&device(), "main").unwrap(), 1);
}

#[test]
fn devices_policies_and_refusals_are_remembered() {
    let mut world = World::new();
    let store = world.store();
    let identity = vec![7; 10_000];
    let enrol = |identity: &[u8]| Change::EnrolDevice {
        device_id: device(),
        name: "low side".into(),
        role: DeviceRole::Sender,
        identity: identity.to_vec(),
    };
    commit(store, vec![enrol(&identity)]).unwrap();
    commit(store, vec![enrol(&identity[..5000])]).unwrap();
    let policy = Digest::of(b"policy");
    dir::replace(store.dir().as_ref(), &crate::store::policy_path(&policy), b"policy").unwrap();
    let refused = image(store, &["bad"], None);
    let refusal = Refusal { rule: "signed".into(), reason: "x\n".repeat(10_000), next_step: None };
    let reference = Reference::Tag(tag("v1"));
    let record = Change::RecordRefusal {
        repository: repository("a"),
        reference: reference.clone(),
        digest: Some(refused.digest),
        refusal,
    };
    commit(store, vec![Change::ActivatePolicy { digest: policy }, record]).unwrap();
    world.reopen();
    let store = world.store();
    let devices = store.devices().unwrap();
    assert_eq!((devices.len(), devices[0].identity.as_slice()), (1, &identity[..5000]));
    assert_eq!(store.active_policy().unwrap(), Some(policy));
    for reference in [reference.clone(), Reference::Digest(refused.digest)] {
        assert_eq!(store.refusal(&repository("a"), &reference).unwrap().unwrap().refusal.rule, "signed");
    }
    commit(store, whole("a", &refused, Some("v1"))).unwrap();
    for reference in [reference, Reference::Digest(refused.digest)] {
        assert_eq!(store.refusal(&repository("a"), &reference).unwrap(), None);
    }
    commit(store, vec![Change::RemoveDevice { device_id: device() }]).unwrap();
    assert!(store.devices().unwrap().is_empty());
}

#[test]
fn what_is_swept_was_needed_by_nobody_for_the_whole_grace() {
    let world = World::new();
    let store = world.store();
    let (old, new) = (image(store, &["old", "shared"], None), image(store, &["new", "shared"], None));
    commit(store, whole("a", &old, Some("old"))).unwrap();
    commit(store, whole("a", &new, Some("new"))).unwrap();
    let refused = conflict(commit(store, vec![remove_manifest("a", &old.digest)]));
    assert!(matches!(refused, Conflict::StillTagged { .. }));
    commit(store, vec![remove_tag("a", "old"), remove_manifest("a", &old.digest)]).unwrap();
    let idle: Vec<Digest> = store.unreferenced(None, 10).unwrap().into_iter().map(|content| content.digest).collect();
    assert_eq!(idle, [Digest::of(b"old")]);
    let all = vec![Digest::of(b"old"), Digest::of(b"shared"), old.digest];
    commit(store, vec![Change::Condemn { digests: all.clone(), grace_seconds: 100 }]).unwrap();
    assert_eq!(store.condemned(None, 10).unwrap().len(), 2);
    world.clock.advance(Duration::from_secs(99));
    commit(store, vec![Change::Condemn { digests: all.clone(), grace_seconds: 100 }]).unwrap();
    let head = store.head();
    commit(store, vec![Change::Sweep { digests: all.clone() }]).unwrap();
    assert_eq!(store.head(), head, "nothing is due");
    world.clock.advance(Duration::from_secs(1));
    commit(store, vec![Change::Sweep { digests: all.clone() }]).unwrap();
    let removed = store.unlink_swept(all).unwrap();
    assert_eq!(removed.len(), 2);
    assert!(!store.blobs().has(&Digest::of(b"old")) && !store.blobs().has(&old.digest));
    assert!(store.blobs().has(&Digest::of(b"shared")));
    assert!(store.check(CheckDepth::Full, &Silent).unwrap().is_sound());
}

#[test]
fn content_that_is_wanted_again_is_not_swept() {
    let world = World::new();
    let store = world.store();
    let old = image(store, &["old"], None);
    commit(store, whole("a", &old, None)).unwrap();
    commit(store, vec![remove_manifest("a", &old.digest)]).unwrap();
    let digests = vec![Digest::of(b"old"), old.digest];
    commit(store, vec![Change::Condemn { digests: digests.clone(), grace_seconds: 0 }]).unwrap();
    commit(store, whole("b", &old, None)).unwrap();
    commit(store, vec![Change::Sweep { digests: digests.clone() }]).unwrap();
    assert!(store.unlink_swept(digests).unwrap().is_empty());
    assert!(store.check(CheckDepth::Full, &Silent).unwrap().is_sound());
}

#[test]
fn orphans_are_files_that_nothing_holds_and_nobody_is_about_to_link() {
    let mut world = World::new();
    let fresh = world.store().blobs().put(b"fresh").unwrap();
    assert!(world.store().orphans(None, 10).unwrap().is_empty());
    world.reopen();
    let store = world.store();
    let kept = image(store, &["kept"], None);
    commit(store, whole("a", &kept, None)).unwrap();
    let orphans: Vec<Digest> = store.orphans(None, 10).unwrap().into_iter().map(|content| content.digest).collect();
    assert_eq!(orphans, [fresh]);
    assert!(store.orphans(Some(&fresh), 10).unwrap().is_empty());
    assert_eq!(store.unlink_swept(vec![fresh, kept.digest]).unwrap().len(), 1);
}

#[test]
fn many_threads_commit_at_once_and_each_is_answered_with_its_own_position() {
    let world = World::new();
    let store = world.store();
    let images: Vec<_> = (0..32).map(|number| image(store, &[&format!("layer {number}")], None)).collect();
    let mut sequences: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = images
            .iter()
            .enumerate()
            .map(|(number, image)| {
                scope.spawn(move || commit(store, whole("a", image, Some(&format!("v{number}")))).unwrap().sequence)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), images.len());
    assert_eq!(store.tags(&repository("a"), None, 100).unwrap().len(), images.len());
}

#[test]
fn a_store_is_made_once_and_opened_by_one() {
    let world = World::new();
    let made_again = Store::create(&world.dir(), &world.clock(), &device());
    assert!(matches!(made_again, Err(StoreError::Locked)));
    assert!(matches!(Store::open(world.dir(), world.clock(), &settings()), Err(StoreError::Locked)));
    let empty = tempfile::tempdir().unwrap();
    let dir = std::sync::Arc::new(crate::sys::dir_real::RealDir::open(empty.path()).unwrap());
    assert!(matches!(Store::open(dir, world.clock(), &settings()), Err(StoreError::Missing)));
}

#[test]
fn the_time_floor_never_goes_back() {
    let mut world = World::new();
    let raise = |store: &Store, at: &str| {
        let change = Change::RaiseTimeFloor { at: at.parse().unwrap(), source: "test".into() };
        store.commit(Transaction::new(PrincipalRef::system("test"), vec![change])).unwrap()
    };
    raise(world.store(), "2026-12-01T00:00:00Z");
    raise(world.store(), "2026-11-15T00:00:00Z");
    world.reopen();
    assert_eq!(world.store().time_floor().to_string(), "2026-12-01T00:00:00Z");
}
