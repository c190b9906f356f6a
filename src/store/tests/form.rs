//! From the first form of a store to the newest: what the first release wrote is read, gone on with, and not changed before
//! somebody says so.

use std::sync::Arc;

use super::world::{World, clock, commit, image, repository, settings, tag, whole};
use crate::progress::Silent;
use crate::store::version::{FIRST, LATEST};
use crate::store::{
    CheckDepth, ConditionKind, Finalized, PackReport, PrincipalRef, ScrubOptions, Store, StoreError, blob_path, shards,
    walk_journal,
};
use crate::sys::clock::Clock;
use crate::sys::dir::{Create, Dir, read_bounded, replace};
use crate::sys::dir_real::RealDir;

/// Every kind of event that the first release reads. Never added to.
const FIRST_KINDS: [&str; 19] = [
    "journal_created",
    "manifest_published",
    "manifest_removed",
    "blobs_linked",
    "blob_unlinked",
    "tag_moved",
    "tag_removed",
    "refusal_recorded",
    "import_committed",
    "export_sealed",
    "device_enrolled",
    "device_removed",
    "policy_activated",
    "access_changed",
    "retention_applied",
    "content_condemned",
    "content_swept",
    "time_floor_raised",
    "epoch_begun",
];

fn finalize(store: &Store) -> Finalized {
    store.finalize(PrincipalRef::operator("0")).unwrap()
}

fn pack(store: &Store) -> PackReport {
    store.pack_segments(&|| false).unwrap()
}

fn names(dir: &dyn Dir) -> Vec<String> {
    dir.list("journal").unwrap().into_iter().map(|entry| entry.name).collect()
}

fn lose_index(dir: &dyn Dir) {
    dir.remove_tree("index").unwrap();
    dir.create_dir_all("index").unwrap();
}

fn is_sound(store: &Store) -> bool {
    store.check(CheckDepth::Full, &Silent).unwrap().is_sound()
}

fn publish(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let image = image(world.store(), &[&format!("layer {number}")], None);
        commit(world.store(), whole("app", &image, Some(&format!("v{number}")))).unwrap();
    }
}

fn tags(store: &Store) -> Vec<String> {
    let tags = store.tags(&repository("app"), None, 100).unwrap();
    tags.into_iter().map(|(tag, _)| tag.as_str().to_owned()).collect()
}

/// What `postern` 0.1.0 has written: a policy, five images under four tags, a backup in between, an end in order.
fn first_release(dir: &dyn Dir) {
    for path in crate::store::layout::DIRECTORIES {
        dir.create_dir_all(path).unwrap();
    }
    for shard in shards() {
        dir.create_dir_all(&shard.path()).unwrap();
    }
    dir.create_dir_all("snapshots").unwrap();
    let unpacked = |bytes: &[u8]| zstd::decode_all(bytes).unwrap();
    let first = unpacked(include_bytes!("first_release/0000000001-00000000000000000001.log.zst"));
    let second = unpacked(include_bytes!("first_release/0000000001-00000000000000000013.log.zst"));
    let policy = "bbbf475d436e5cd54833ed16cd9f9e3b75ae55e72592f297c2c9aacb77756835.toml";
    let files: [(&str, &[u8]); 5] = [
        ("journal/0000000001-00000000000000000001.log", &first),
        ("journal/0000000001-00000000000000000013.log", &second),
        (
            "snapshots/0000000001-00000000000000000012.snapshot",
            include_bytes!("first_release/0000000001-00000000000000000012.snapshot"),
        ),
        (&format!("trust/policies/{policy}"), b"version = 1\ndefault = \"admit\"\n"),
        ("VERSION", include_bytes!("first_release/VERSION")),
    ];
    for (path, bytes) in files {
        replace(dir, path, bytes).unwrap();
    }
    let config = crate::oci::digest::Digest::of(b"{}");
    replace(dir, &blob_path(&config), b"{}").unwrap();
    for number in 0..5 {
        let layer = format!("layer {number}");
        let digest = crate::oci::digest::Digest::of(layer.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":7}}]}}"#
        );
        replace(dir, &blob_path(&digest), layer.as_bytes()).unwrap();
        let digest = crate::oci::digest::Digest::of(manifest.as_bytes());
        replace(dir, &blob_path(&digest), manifest.as_bytes()).unwrap();
    }
}

#[test]
fn a_store_of_the_first_release_is_read_gone_on_with_and_brought_into_the_newest_form() {
    let folder = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Dir> = Arc::new(RealDir::open(folder.path()).unwrap());
    first_release(dir.as_ref());
    let clock = clock();
    let open = || Store::open(Arc::clone(&dir), Arc::clone(&clock) as Arc<dyn Clock>, &settings()).unwrap();
    let check = |store: &Store, form: u32| {
        assert_eq!((tags(store), store.read_only()), (["v0", "v1", "v2", "v3"].map(str::to_owned).to_vec(), None));
        let target = store.resolve(&repository("app"), &tag("v2")).unwrap().unwrap();
        assert!(target.to_string().starts_with("sha256:65805f3d"), "the tag that was moved: {target}");
        assert!(is_sound(store) && store.active_policy().unwrap().is_some());
        assert_eq!(store.format(), (form, LATEST));
    };
    let store = open();
    check(&store, FIRST);
    assert_eq!(store.head().sequence, 18);
    // From the journal alone, as from its snapshot.
    store.rebuild(&Silent).unwrap();
    store.seal_segment().unwrap();
    assert_eq!(pack(&store), PackReport::default());
    check(&store, FIRST);
    let mut before = Vec::new();
    walk_journal(dir.as_ref(), &mut |position| before.push(position.clone())).unwrap();

    assert_eq!((finalize(&store).before, finalize(&store).before), (FIRST, LATEST));
    let packed = pack(&store);
    assert_eq!(packed.segments_count, 2);
    assert!(packed.bytes_after * 5 < packed.bytes_before, "{packed:?}");
    check(&store, LATEST);
    drop(store);
    lose_index(dir.as_ref());
    dir.remove_tree("snapshots").unwrap();
    let store = open();
    check(&store, LATEST);
    let mut after = Vec::new();
    walk_journal(dir.as_ref(), &mut |position| after.push(position.clone())).unwrap();
    assert_eq!(after[..before.len()], before, "hashes are those of the uncompressed bytes");
}

#[test]
fn nothing_that_the_first_release_does_not_read_is_written_before_somebody_says_so() {
    let mut world = World::new();
    publish(&world, 0..3);
    world.store().snapshot().unwrap();
    publish(&world, 3..5);
    world.store().scrub(ScrubOptions { bytes_per_second: 0 }, &|| false, &Silent).unwrap();
    assert_eq!(pack(world.store()), PackReport::default());
    world.close();
    let dir = world.dir();
    let version = read_bounded(dir.as_ref(), "VERSION", 1_000).unwrap();
    assert!(version.starts_with(br#"{"min_reader":1,"min_writer":1,"#));
    let mut kinds_count = 0;
    for name in names(dir.as_ref()) {
        assert!(name.ends_with(".log"), "{name}");
        let segment = read_bounded(dir.as_ref(), &format!("journal/{name}"), 4 << 20).unwrap();
        for line in String::from_utf8_lossy(&segment).lines() {
            let Some((_, rest)) = line.split_once(r#""writer":""#) else { continue };
            let kind = rest.split_once(r#"","kind":""#).and_then(|(_, kind)| kind.split_once('"')).unwrap().0;
            assert!(FIRST_KINDS.contains(&kind), "{kind}");
            kinds_count += 1;
        }
    }
    assert!(kinds_count > 10);

    world.reopen();
    finalize(world.store());
    let version = read_bounded(dir.as_ref(), "VERSION", 1_000).unwrap();
    assert!(version.starts_with(br#"{"min_reader":2,"min_writer":2,"#), "the first release refuses it");
    world.close();
    let later = br#"{"min_reader":3,"min_writer":1,"written_by":"postern 9"}"#;
    replace(dir.as_ref(), "VERSION", later).unwrap();
    let opened = Store::open(world.dir(), world.clock(), &settings());
    assert!(matches!(opened, Err(StoreError::TooNew { needed: 3, .. })));
}

#[test]
fn only_what_has_ended_is_compressed_and_not_while_somebody_copies() {
    let mut world = World::new();
    finalize(world.store());
    publish(&world, 0..2);
    assert_eq!(pack(world.store()).segments_count, 0, "it is being written");
    world.store().snapshot().unwrap();
    let held = world.store().hold_files();
    assert_eq!(pack(world.store()).segments_count, 0);
    drop(held);
    assert_eq!(pack(world.store()).segments_count, 1);
    publish(&world, 2..4);
    assert_eq!(names(world.dir().as_ref()).iter().filter(|name| name.ends_with(".log.zst")).count(), 1);
    world.reopen();
    assert!(is_sound(world.store()));
    // The last segment gone with the index: what is left is read and gone on with in a new one.
    world.store().snapshot().unwrap();
    pack(world.store());
    world.close();
    let dir = world.dir();
    let last = names(dir.as_ref()).pop().unwrap();
    assert!(last.ends_with(".log"));
    dir.remove(&format!("journal/{last}")).unwrap();
    lose_index(dir.as_ref());
    world.reopen();
    assert_eq!((tags(world.store()).len(), world.store().read_only()), (4, None));
    publish(&world, 4..5);
    world.reopen();
    assert!(is_sound(world.store()) && tags(world.store()).len() == 5);
}

#[test]
fn damage_in_a_compressed_segment_is_told_and_stops_nothing_above_a_snapshot() {
    let mut world = World::new();
    finalize(world.store());
    publish(&world, 0..3);
    world.store().snapshot().unwrap();
    publish(&world, 3..4);
    pack(world.store());
    world.close();
    let dir = world.dir();
    let packed = names(dir.as_ref()).into_iter().find(|name| name.ends_with(".log.zst")).unwrap();
    let path = format!("journal/{packed}");
    let sound = read_bounded(dir.as_ref(), &path, 4 << 20).unwrap();
    for at in [20, 90, sound.len() / 2, sound.len() - 3] {
        dir.open_write(&path, Create::Existing).unwrap().write_at(&[sound[at] ^ 0x55], at as u64).unwrap();
        lose_index(dir.as_ref());
        world.reopen();
        assert_eq!((tags(world.store()).len(), world.store().read_only()), (4, None), "byte {at}");
        let report = world.store().scrub(ScrubOptions { bytes_per_second: 0 }, &|| false, &Silent).unwrap();
        assert!(
            report.journal_damage.is_some_and(|damage| damage.contains(path.trim_end_matches(".zst"))),
            "byte {at}"
        );
        assert_eq!(world.store().conditions()[0].kind, ConditionKind::JournalDamaged);
        world.close();
        replace(dir.as_ref(), &path, &sound).unwrap();
    }
}
