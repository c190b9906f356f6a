//! From what was fetched to what is served: the gate judges, and one transaction makes all of it visible.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::MirrorError;
use super::gathered::Gathered;
use super::{Mirror, blocking};
use crate::access::Enforcement;
use crate::admission::{
    AdmittedImage, Bytes, Candidate, Content, ContentError, Destination, Judgement, Stream, judge_for, needed,
};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::name::{RepositoryName, Tag};
use crate::store::{Change, LinkVia, PrincipalRef, Store, StoreError, Transaction};
use crate::sys::clock::trusted_now;
use crate::verify::{Admitted, TrustPolicy};

impl Mirror {
    /// Judges what was gathered and publishes it, with `tags` on its root.
    pub(super) async fn admit(
        self: &Arc<Self>,
        repository: &RepositoryName,
        gathered: Gathered,
        tags: Vec<Tag>,
    ) -> Result<(), MirrorError> {
        let brought = self.bring_what_is_looked_into(repository, &gathered).await?;
        let entry = Entry {
            enforcement: self.access.enforcement(repository),
            brought,
            store: self.store.clone(),
            candidate: Candidate {
                repository: repository.clone(),
                // Its name here is its name there: the upstream's, then the path.
                original: None,
                root: gathered.root,
                tags,
            },
            gathered,
        };
        let policy = self.policy.clone();
        blocking(move || entry.admit(&policy())).await
    }

    /// Where a rule asks what an image holds, its layers come before the judgement instead of when somebody pulls them. Those
    /// that came belong to the repository with the image: it is judged by them again whenever it is asked for.
    async fn bring_what_is_looked_into(
        self: &Arc<Self>,
        repository: &RepositoryName,
        gathered: &Gathered,
    ) -> Result<BTreeSet<Digest>, MirrorError> {
        let (policy, store, local) = (self.policy.clone(), self.store.clone(), repository.clone());
        let images = gathered.images();
        let absent = blocking(move || {
            if policy().content_wanted(&local, None).is_none() {
                return Ok(Vec::new());
            }
            let mut absent = needed(&images);
            // What belongs to the repository already need not be asked for again.
            absent.retain(|(digest, _)| !matches!(store.blob_link(&local, digest), Ok(Some(link)) if link.present));
            Ok(absent)
        });
        let mut brought = BTreeSet::new();
        for (digest, size_bytes) in absent.await? {
            match self.bring_to_look_into(repository, digest, size_bytes).await {
                // A layer that is kept elsewhere: the gate says that it is not here.
                Err(MirrorError::NotFound { .. }) => {}
                other => {
                    other?;
                    brought.insert(digest);
                }
            }
        }
        Ok(brought)
    }
}

/// What was gathered, and the bytes that were brought into the store to be looked into.
struct Held<'a> {
    gathered: &'a Gathered,
    store: &'a Store,
}

impl Content for Held<'_> {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        self.gathered.manifest_by_digest(digest)
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        self.gathered.tag(tag)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        self.gathered.referrers(subject)
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        if let Some(bytes) = self.gathered.blob(digest, limit_bytes)? {
            return Ok(Some(bytes));
        }
        match self.store.blobs().stat(digest)? {
            Some(size_bytes) if size_bytes <= limit_bytes as u64 => Ok(self.store.blobs().read(digest, limit_bytes)?),
            _ => Ok(None),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        Ok(self.store.blobs().open(digest)?.map(Bytes::of))
    }
}

/// An image at the gate.
struct Entry {
    enforcement: Enforcement,
    store: Store,
    /// Layers that came to be looked into.
    brought: BTreeSet<Digest>,
    candidate: Candidate,
    gathered: Gathered,
}

impl Entry {
    fn admit(&self, policy: &TrustPolicy) -> Result<(), MirrorError> {
        let now = trusted_now(self.store.clock().wall(), self.store.time_floor());
        let judged = judge_for(
            self.enforcement,
            policy,
            &self.candidate,
            &Held { gathered: &self.gathered, store: &self.store },
            now,
        )
        .map_err(|error| match error.refusal() {
            Some(refusal) => MirrorError::Refused(refusal),
            None => MirrorError::Admission(Box::new(error)),
        })?;
        let image = match judged {
            Judgement::Admitted(image) => image,
            Judgement::Refused { refusal, .. } => return Err(MirrorError::Refused(refusal)),
        };
        let kept = self.keep(&image)?;
        let linked = |digest: &Digest| -> bool {
            kept.contains(digest)
                || self.brought.contains(digest)
                || matches!(self.store.blob_link(&self.candidate.repository, digest), Ok(Some(link)) if link.present)
        };
        let origin = Some(self.candidate.repository.as_str());
        let destination = Destination { via: LinkVia::Mirror, origin, present: &linked };
        let mut changes = Vec::new();
        for change in image.changes(&destination) {
            if !self.is_so_already(&change)? {
                changes.push(change);
            }
        }
        if !changes.is_empty() {
            let policy = Some(*image.verdict.policy_digest());
            let transaction = Transaction { policy, ..Transaction::new(PrincipalRef::system("mirror"), changes) };
            self.store.commit(transaction)?;
        }
        Ok(())
    }

    /// Stores the bytes of everything that was admitted, and names the documents among them.
    fn keep(&self, image: &AdmittedImage) -> Result<BTreeSet<Digest>, MirrorError> {
        let blobs = self.store.blobs();
        let mut documents = BTreeSet::new();
        let companions = || image.companions.iter().map(|(_, companion)| companion);
        for manifest in image.children.iter().chain([&image.root]).chain(companions()).map(Admitted::get) {
            if let Some(fetched) = self.gathered.fetched(&manifest.digest)
                && !blobs.has(&manifest.digest)
            {
                blobs.put(&fetched.bytes)?;
            }
        }
        for manifest in companions().map(Admitted::get).filter(|companion| !Manifest::is_index(companion)) {
            for edge in manifest.edges() {
                let Some(bytes) = self.gathered.document(&edge.digest) else { continue };
                if bytes.len() as u64 == edge.size && documents.insert(edge.digest) && !blobs.has(&edge.digest) {
                    let mut writer = blobs.begin_with(edge.digest.algorithm())?;
                    writer.write(bytes)?;
                    writer.finish(Some(&edge.digest))?;
                }
            }
        }
        Ok(documents)
    }

    /// Whether the store says so already: looking again for evidence must not fill the journal.
    fn is_so_already(&self, change: &Change) -> Result<bool, StoreError> {
        Ok(match change {
            Change::Publish { repository, manifest, .. } => {
                self.store.manifest(repository, &manifest.get().digest)?.is_some()
            }
            Change::LinkBlob { repository, digest, .. } => {
                self.store.blob_link(repository, digest)?.is_some_and(|link| link.present)
            }
            Change::MoveTag { repository, tag, target, .. } => self.store.resolve(repository, tag)? == Some(*target),
            Change::RaiseTimeFloor { at, .. } => {
                *at <= self.store.time_floor() || self.store.time_waiting()?.is_some_and(|(waiting, _)| *at <= waiting)
            }
            _ => false,
        })
    }
}
