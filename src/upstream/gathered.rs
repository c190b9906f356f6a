//! What was fetched for a decision, in memory and bounded.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::error::MirrorError;
use crate::admission::{Content, ContentError};
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::name::Tag;

/// A manifest and its bytes, which hash to its digest.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) manifest: Manifest,
    pub(super) bytes: Bytes,
}

/// An image as far as it must be known to be judged.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) root: Digest,
    manifests: HashMap<Digest, Fetched>,
    tags: BTreeMap<Tag, Digest>,
    /// Every manifest that was looked at as a subject, and who refers to it.
    referrers: HashMap<Digest, Vec<Digest>>,
    blobs: HashMap<Digest, Bytes>,
    held_bytes: usize,
    limit_bytes: usize,
}

impl Gathered {
    pub(super) fn new(root: Digest, limit_bytes: usize) -> Self {
        Self {
            root,
            manifests: HashMap::new(),
            tags: BTreeMap::new(),
            referrers: HashMap::new(),
            blobs: HashMap::new(),
            held_bytes: 0,
            limit_bytes,
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), MirrorError> {
        self.held_bytes += bytes;
        if self.held_bytes > self.limit_bytes {
            return Err(MirrorError::too_much_gathered(self.limit_bytes));
        }
        Ok(())
    }

    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.manifests.contains_key(digest)
    }

    pub(super) fn take(&mut self, fetched: Fetched) -> Result<(), MirrorError> {
        self.count(fetched.bytes.len())?;
        self.manifests.insert(fetched.manifest.digest, fetched);
        Ok(())
    }

    pub(super) fn take_tagged(&mut self, tag: Tag, fetched: Fetched) -> Result<(), MirrorError> {
        self.tags.insert(tag, fetched.manifest.digest);
        self.take(fetched)
    }

    pub(super) fn take_referrers(&mut self, subject: Digest, referrers: Vec<Fetched>) -> Result<(), MirrorError> {
        let digests = referrers.iter().map(|fetched| fetched.manifest.digest).collect();
        self.referrers.insert(subject, digests);
        referrers.into_iter().try_for_each(|fetched| self.take(fetched))
    }

    pub(super) fn take_blob(&mut self, digest: Digest, bytes: Bytes) -> Result<(), MirrorError> {
        self.count(bytes.len())?;
        self.blobs.insert(digest, bytes);
        Ok(())
    }

    pub(super) fn fetched(&self, digest: &Digest) -> Option<&Fetched> {
        self.manifests.get(digest)
    }

    /// The root and what it lists, as far as it was gathered: the images among them, without what speaks of them.
    pub(super) fn images(&self) -> Vec<Manifest> {
        let (mut images, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![self.root]);
        while let Some(digest) = open.pop() {
            let Some(fetched) = self.manifests.get(&digest).filter(|_| seen.insert(digest)) else { continue };
            open.extend(
                fetched.manifest.edges().filter(|edge| edge.kind == EdgeKind::Manifest).map(|edge| edge.digest),
            );
            images.push(fetched.manifest.clone());
        }
        images
    }

    pub(super) fn document(&self, digest: &Digest) -> Option<&Bytes> {
        self.blobs.get(digest)
    }

    /// Every manifest whose evidence was looked for.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &Digest> {
        self.referrers.keys()
    }
}

impl Content for Gathered {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        let found = self.manifests.get(digest);
        Ok(found.map(|fetched| (fetched.manifest.media_type.clone(), fetched.bytes.to_vec())))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        Ok(self.tags.get(tag).copied())
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        Ok(self.referrers.get(subject).cloned().unwrap_or_default())
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        Ok(self.blobs.get(digest).filter(|bytes| bytes.len() <= limit_bytes).map(|bytes| bytes.to_vec()))
    }
}
