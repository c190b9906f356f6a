//! What a registry is, without any of how.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::digest::Digest;

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
    pub blobs: Vec<Digest>,
    pub children: Vec<Digest>,
    pub subject: Option<Digest>,
    pub artifact_type: Option<String>,
}

#[derive(Debug, Default)]
pub struct Repository {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub manifests: BTreeMap<Digest, Pushed>,
    pub tags: BTreeMap<String, Digest>,
}

impl Repository {
    /// Whether everything that a manifest needs is here.
    pub fn has_all_of(&self, manifest: &Pushed) -> bool {
        manifest.blobs.iter().all(|digest| self.blobs.contains_key(digest))
            && manifest.children.iter().all(|digest| self.manifests.contains_key(digest))
    }

    /// What a stranger reads of a blob.
    pub fn readable(&self, digest: &Digest) -> Option<&Vec<u8>> {
        let pointed_at = self.manifests.values().any(|manifest| manifest.blobs.contains(digest));
        self.blobs.get(digest).filter(|_| pointed_at)
    }

    pub fn resolve(&self, reference: &str) -> Option<(&Digest, &Pushed)> {
        let digest = match reference.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => *self.tags.get(reference)?,
        };
        self.manifests.get_key_value(&digest)
    }

    pub fn delete_manifest(&mut self, digest: &Digest) -> u16 {
        if !self.manifests.contains_key(digest) {
            return 404;
        }
        if self.manifests.values().any(|manifest| manifest.children.contains(digest)) {
            return 405;
        }
        self.manifests.remove(digest);
        self.tags.retain(|_, target| target != digest);
        202
    }

    pub fn delete_blob(&mut self, digest: &Digest) -> u16 {
        if !self.blobs.contains_key(digest) {
            return 404;
        }
        if self.manifests.values().any(|manifest| manifest.blobs.contains(digest)) {
            return 405;
        }
        self.blobs.remove(digest);
        202
    }

    pub fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Vec<Digest> {
        let speaks = |manifest: &Pushed| {
            manifest.subject == Some(*subject)
                && artifact_type.is_none_or(|kind| manifest.artifact_type.as_deref() == Some(kind))
        };
        self.manifests.iter().filter(|(_, manifest)| speaks(manifest)).map(|(digest, _)| *digest).collect()
    }
}

/// An upload that is under way.
#[derive(Debug)]
pub struct Session {
    pub address: String,
    pub repository: &'static str,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Picture {
    pub repositories: BTreeMap<&'static str, Repository>,
    pub sessions: Vec<Session>,
    /// Every manifest and blob that was ever there, to be asked for again.
    pub known: BTreeSet<Digest>,
}

impl Picture {
    pub fn at(&mut self, repository: &'static str) -> &mut Repository {
        self.repositories.entry(repository).or_default()
    }

    pub fn catalog(&self) -> Vec<&'static str> {
        self.repositories.iter().filter(|(_, held)| !held.manifests.is_empty()).map(|(name, _)| *name).collect()
    }

    /// Content that was pushed, and that no manifest of any repository needs, is given up after its grace. There is none here.
    pub fn sweep(&mut self) {
        let held = self.repositories.values().flat_map(|held| &held.manifests);
        let needed: BTreeSet<Digest> =
            held.flat_map(|(digest, manifest)| manifest.blobs.iter().chain([digest])).copied().collect();
        for held in self.repositories.values_mut() {
            held.blobs.retain(|digest, _| needed.contains(digest));
        }
    }

    /// Who holds a blob.
    pub fn holds(&self, repository: &str, digest: &Digest) -> bool {
        self.repositories.get(repository).is_some_and(|held| held.blobs.contains_key(digest))
    }
}
