//! Retention on a real store in a temporary directory, under a clock moved by hand.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{RetentionError, RetentionPlan, RetentionRule, SweepOptions, SweepReport, WrittenRule, apply, plan, sweep};
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{OCI_EMPTY, OCI_MANIFEST};
use crate::oci::name::{RepositoryName, Tag};
use crate::oci::signature_tag::SignatureTagKind;
use crate::store::{Change, LinkVia, PrincipalRef, Store, StoreSettings, Transaction};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::Dir;
use crate::sys::dir_real::RealDir;
use crate::verify::Admitted;

const LAYER_BYTES: usize = 10_000;

struct World {
    store: Store,
    clock: Arc<SimulatedClock>,
    repository: RepositoryName,
    folder: TempDir,
}

fn open(folder: &TempDir, clock: &Arc<SimulatedClock>) -> Store {
    let dir: Arc<dyn Dir> = Arc::new(RealDir::open(folder.path()).unwrap());
    let clock: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(clock);
    Store::open(dir, clock, &StoreSettings { reserve_bytes: 0, ..StoreSettings::default() }).unwrap()
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(SimulatedClock::new(Timestamp::UNIX_EPOCH));
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(folder.path()).unwrap());
        let as_clock: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(&clock);
        Store::create(&dir, &as_clock, &DeviceId::of_public_key(b"device")).unwrap();
        Self { store: open(&folder, &clock), clock, repository: "team/app".parse().unwrap(), folder }
    }

    fn commit(&self, changes: Vec<Change>) {
        self.store.commit(Transaction::new(PrincipalRef::operator("0"), changes)).unwrap();
    }

    /// Stores a blob and gives the change that links it and its descriptor.
    fn blob(&self, media_type: &str, content: &[u8]) -> (Change, Value) {
        let digest = self.store.blobs().put(content).unwrap();
        let size_bytes = content.len() as u64;
        let change = Change::LinkBlob { repository: self.repository.clone(), digest, size_bytes, via: LinkVia::Mirror };
        (change, json!({"mediaType": media_type, "digest": digest, "size": size_bytes}))
    }

    /// Publishes a manifest of one layer that all share and one of its own; `subject` makes it speak of another.
    fn publish(&self, tag: &Tag, own: &str, subject: Option<&Digest>) -> Digest {
        let (link_config, config) = self.blob(OCI_EMPTY, b"{}");
        let (link_shared, shared) = self.blob("application/x-layer", &[1; LAYER_BYTES]);
        let content = own.repeat(LAYER_BYTES / own.len() + 1);
        let (link_own, own) = self.blob("application/x-layer", &content.as_bytes()[..LAYER_BYTES]);
        let mut body =
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [shared, own]});
        if let Some(subject) = subject {
            body["subject"] = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 1});
        }
        let bytes = body.to_string().into_bytes();
        let digest = self.store.blobs().put(&bytes).unwrap();
        let manifest = Admitted::for_test(&self.repository, Manifest::parse(&bytes, OCI_MANIFEST).unwrap());
        let repository = self.repository.clone();
        let publish = Change::Publish { repository: repository.clone(), manifest, sparse: false, origin: None };
        let tag = Change::MoveTag { repository, tag: tag.clone(), target: digest, expected: None };
        self.commit(vec![link_config, link_shared, link_own, publish, tag]);
        digest
    }

    fn versions(&self, tags: &[&str]) -> Vec<Digest> {
        tags.iter().map(|tag| self.publish(&tag.parse().unwrap(), tag, None)).collect()
    }

    fn plan(&self, newest: u32) -> RetentionPlan {
        let written = WrittenRule {
            name: "few".into(),
            repositories: vec!["team/*".into()],
            keep_semver_newest: Some(newest),
            keep_tags: Vec::new(),
        };
        plan(&self.store, &[RetentionRule::new(written).unwrap()]).unwrap()
    }

    fn sweep(&self, grace_seconds: u64, dry_run: bool) -> SweepReport {
        sweep(&self.store, SweepOptions { grace_seconds, dry_run }, &PrincipalRef::operator("0")).unwrap()
    }

    fn tags(&self) -> Vec<String> {
        let tags = self.store.tags(&self.repository, None, 100).unwrap();
        tags.iter().map(|(tag, _)| tag.as_str().to_owned()).collect()
    }
}

#[test]
fn old_versions_go_and_their_bytes_come_back() {
    let world = World::new();
    let digests = world.versions(&["v1.0.0", "v1.1.0", "v1.2.0", "v1.10.0", "v2.0.0"]);
    let of_kept = SignatureTagKind::Signature.tag_for(&digests[4]);
    let of_retired = SignatureTagKind::Signature.tag_for(&digests[0]);
    let kept_signature = world.publish(&of_kept, "kept", None);
    let retired_signature = world.publish(&of_retired, "retired", None);

    let report = apply(&world.store, &world.plan(3), PrincipalRef::operator("0")).unwrap();
    assert_eq!((report.tags_removed, report.manifests_removed), (3, 3));
    assert_eq!(world.tags(), [of_kept.as_str(), "v1.10.0", "v1.2.0", "v2.0.0"]);

    let rehearsal = world.sweep(0, true);
    let swept = world.sweep(0, false);
    assert_eq!((swept.unlinked, swept.bytes_freed), (rehearsal.unlinked, rehearsal.bytes_freed), "{swept:?}");
    assert_eq!(swept.unlinked, 6, "three manifests and a layer of each: {swept:?}");
    assert!(swept.bytes_freed > 3 * LAYER_BYTES as u64, "{swept:?}");
    for (digest, stays) in
        [(&digests[0], false), (&digests[2], true), (&kept_signature, true), (&retired_signature, false)]
    {
        assert_eq!(world.store.blobs().has(digest), stays, "{digest}");
        assert_eq!(world.store.manifest(&world.repository, digest).unwrap().is_some(), stays, "{digest}");
    }
    for kept in &digests[2..] {
        for child in world.store.children(&world.repository, kept).unwrap() {
            assert!(world.store.blobs().has(&child.digest), "{kept} still needs {}", child.digest);
        }
    }
    assert_eq!(world.sweep(0, false).unlinked, 0, "nothing is left to sweep");
}

#[test]
fn a_grace_counts_running_time_alone() {
    let world = World::new();
    world.versions(&["1.0.0", "2.0.0"]);
    apply(&world.store, &world.plan(1), PrincipalRef::operator("0")).unwrap();
    // The layer is still linked, the manifest's own bytes are named by no record any more: both wait.
    let first = world.sweep(1_000, false);
    assert_eq!((first.condemned, first.waiting, first.unlinked), (2, 2, 0), "{first:?}");
    world.clock.set_wall("2040-01-01T00:00:00Z".parse().unwrap());
    world.clock.advance(Duration::from_secs(900));
    let waiting = world.sweep(1_000, false);
    assert_eq!((waiting.condemned, waiting.waiting, waiting.unlinked), (0, 2, 0), "{waiting:?}");
    assert!(waiting.next_in_seconds <= 100, "{waiting:?}");
    world.clock.advance(Duration::from_secs(101));
    let swept = world.sweep(1_000, false);
    assert_eq!(swept.unlinked, 2, "{swept:?}");
    assert!(swept.bytes_freed > LAYER_BYTES as u64, "{swept:?}");
}

#[test]
fn what_is_needed_again_is_spared() {
    let world = World::new();
    world.versions(&["1.0.0", "2.0.0"]);
    apply(&world.store, &world.plan(1), PrincipalRef::operator("0")).unwrap();
    world.sweep(1_000, false);
    let again = world.versions(&["1.0.0"]);
    world.clock.advance(Duration::from_secs(2_000));
    assert_eq!(world.sweep(1_000, false).unlinked, 0);
    assert!(world.store.blobs().has(&again[0]));
}

#[test]
fn a_plan_that_is_no_longer_true_is_not_applied() {
    let world = World::new();
    world.versions(&["1.0.0", "2.0.0"]);
    let plan = world.plan(1);
    world.versions(&["3.0.0"]);
    let head = world.store.head();
    let refused = apply(&world.store, &plan, PrincipalRef::operator("0")).unwrap_err();
    assert!(matches!(refused, RetentionError::Changed(_)), "{refused}");
    assert_eq!(world.store.head(), head);
}

#[test]
fn a_busy_repository_is_left_alone() {
    let world = World::new();
    world.versions(&["1.0.0", "2.0.0"]);
    let plan = world.plan(1);
    let _lease = world.store.lease(std::slice::from_ref(&world.repository), "an import").unwrap();
    let refused = apply(&world.store, &plan, PrincipalRef::operator("0")).unwrap_err();
    assert!(matches!(refused, RetentionError::Busy(_)), "{refused}");
}

#[test]
fn a_plan_and_a_dry_run_change_nothing() {
    let world = World::new();
    world.versions(&["1.0.0", "2.0.0"]);
    let head = world.store.head();
    assert_eq!(world.plan(1).repositories[0].retired().count(), 2);
    world.sweep(0, true);
    assert_eq!(world.store.head(), head);
    let nothing = apply(&world.store, &world.plan(2), PrincipalRef::operator("0")).unwrap();
    assert_eq!((nothing.position, world.store.head()), (None, head));
}

#[test]
fn what_an_interrupted_upload_left_is_garbage() {
    let mut world = World::new();
    let orphan = world.store.blobs().put(b"left behind").unwrap();
    assert_eq!(world.sweep(0, false).unlinked, 0, "an upload may still be open");
    let clock = Arc::clone(&world.clock);
    drop(world.store);
    world.store = open(&world.folder, &clock);
    let first = world.sweep(1_000, false);
    assert_eq!((first.condemned, first.unlinked), (1, 0), "whoever sent it may go on: {first:?}");
    world.clock.advance(Duration::from_secs(1_001));
    assert_eq!(world.sweep(1_000, false).bytes_freed, b"left behind".len() as u64);
    assert!(!world.store.blobs().has(&orphan));
}
