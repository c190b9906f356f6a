//! A store to try things on, and short ways to say what happens to it.

use std::sync::Arc;

use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use crate::oci::name::{RepositoryName, Tag};
use crate::store::{Change, CommitError, LinkVia, Position, PrincipalRef, Store, StoreSettings, Transaction};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::Dir;
use crate::sys::dir_real::RealDir;
use crate::verify::Admitted;

pub fn settings() -> StoreSettings {
    StoreSettings { reserve_bytes: 0, ..StoreSettings::default() }
}

pub fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()))
}

pub fn device() -> DeviceId {
    DeviceId::of_public_key(b"device")
}

/// A store in a temporary directory.
pub struct World {
    pub path: tempfile::TempDir,
    pub clock: Arc<SimulatedClock>,
    pub store: Option<Store>,
}

impl World {
    pub fn new() -> Self {
        let path = tempfile::tempdir().unwrap();
        let clock = clock();
        let world = Self { path, clock, store: None };
        Store::create(&world.dir(), &world.clock(), &device()).unwrap();
        let mut world = world;
        world.reopen();
        world
    }

    pub fn dir(&self) -> Arc<dyn Dir> {
        Arc::new(RealDir::open(self.path.path()).unwrap())
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    pub fn close(&mut self) {
        self.store = None;
    }

    pub fn reopen(&mut self) {
        self.close();
        self.store = Some(Store::open(self.dir(), self.clock(), &settings()).unwrap());
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }
}

pub fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

pub fn commit(store: &Store, changes: Vec<Change>) -> Result<Position, CommitError> {
    store.commit(Transaction::new(PrincipalRef::system("test"), changes))
}

/// An image whose layers are `layers`, stored but not published.
pub fn image(store: &Store, layers: &[&str], subject: Option<&Manifest>) -> Manifest {
    let part = |media_type: &str, content: &str| {
        let digest = store.blobs().put(content.as_bytes()).unwrap();
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len())
    };
    let layers: Vec<String> =
        layers.iter().map(|layer| part("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
    let subject = subject.map_or_else(String::new, |subject| {
        format!(
            r#","subject":{{"mediaType":"{}","digest":"{}","size":{}}}"#,
            subject.media_type, subject.digest, subject.size
        )
    });
    let config = part("application/vnd.oci.image.config.v1+json", "{}");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{}]{subject}}}"#,
        layers.join(",")
    );
    put(store, &text, OCI_MANIFEST)
}

/// An index of `children`, stored but not published.
pub fn index(store: &Store, children: &[&Manifest]) -> Manifest {
    let children: Vec<String> = children
        .iter()
        .map(|child| {
            format!(r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#, child.media_type, child.digest, child.size)
        })
        .collect();
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, children.join(","));
    put(store, &text, OCI_INDEX)
}

fn put(store: &Store, text: &str, media_type: &str) -> Manifest {
    store.blobs().put(text.as_bytes()).unwrap();
    Manifest::parse(text.as_bytes(), media_type).unwrap()
}

/// Publishes a manifest whose edges are linked.
pub fn publish(name: &str, manifest: &Manifest) -> Change {
    let manifest = Admitted::for_test(&repository(name), manifest.clone());
    Change::Publish { repository: repository(name), manifest, sparse: false, origin: None }
}

/// Links everything that an image points at, publishes it, and tags it.
pub fn whole(name: &str, manifest: &Manifest, tag_name: Option<&str>) -> Vec<Change> {
    let mut changes: Vec<Change> = manifest
        .edges()
        .filter(|edge| edge.kind == crate::oci::manifest::EdgeKind::Blob)
        .map(|edge| link(name, &edge.digest, edge.size))
        .collect();
    changes.push(publish(name, manifest));
    changes.extend(tag_name.map(|tag_name| move_tag(name, tag_name, &manifest.digest)));
    changes
}

pub fn link(name: &str, digest: &Digest, size_bytes: u64) -> Change {
    Change::LinkBlob { repository: repository(name), digest: *digest, size_bytes, via: LinkVia::Upload }
}

pub fn move_tag(name: &str, tag_name: &str, target: &Digest) -> Change {
    Change::MoveTag { repository: repository(name), tag: tag(tag_name), target: *target, expected: None }
}

pub fn remove_tag(name: &str, tag_name: &str) -> Change {
    Change::RemoveTag { repository: repository(name), tag: tag(tag_name), expected: None, reason: "test".into() }
}

pub fn remove_manifest(name: &str, digest: &Digest) -> Change {
    Change::RemoveManifest { repository: repository(name), digest: *digest, reason: "test".into() }
}
