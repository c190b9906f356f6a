//! Pushed first, signed afterwards: what a rule refuses for want of evidence waits for it, and is let in with the evidence
//! that satisfies the rule.
//!
//! What waits is served to nobody. Whoever pushed it sees it (tools that sign read the manifest first), for bounded hours.

use std::collections::HashMap;
use std::sync::Arc;

use ::http::Response;
use jiff::{SignedDuration, Timestamp};

use super::error::RegistryError;
use super::manifests::{Content, Ready};
use super::push::{Entered, Pushed, not_kept};
use super::route::Place;
use super::{Asked, Noted, Registry};
use crate::access::{Action, Enforcement};
use crate::admission::{AdmittedImage, Destination};
use crate::http::Body;
use crate::limits::{
    MANIFEST_BYTES_MAX, STAGED_COUNT_MAX, STAGED_PRINCIPALS_COUNT_MAX, STAGED_SECONDS_MAX, STAGED_TAGS_COUNT_MAX,
};
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::store::{Change, LinkVia, ManifestRecord, PrincipalRef, StagedRecord, Store, StoreError, Transaction};
use crate::verify::{Refusal, rule_names};

/// Where a tag points for whoever staged something under it: the newest of what waits.
pub(super) fn staged_under<'a>(waiting: &'a [StagedRecord], tag: &Tag) -> Option<&'a StagedRecord> {
    waiting.iter().rev().find(|record| record.tags.contains(tag))
}

impl Registry {
    /// What `asked` has pushed and nobody else sees, if that is what it asks for.
    pub(super) async fn staged_manifest(
        self: &Arc<Self>,
        place: &Place,
        reference: &Reference,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Option<Response<Body>>, RegistryError> {
        let repository = &place.path;
        let may_wait = place.namespace.is_none() && asked.caller.is_somebody();
        if !may_wait || !self.store.may_have_staged(repository) {
            return Ok(None);
        }
        self.access.decide(&asked.caller, repository, Action::Pull)?;
        let (repository, reference, caller) = (repository.clone(), reference.clone(), Arc::clone(&asked.caller));
        let name = repository.to_string();
        let found = self.blocking(move |registry| registry.staged_for(&caller.principal(), &repository, &reference));
        let Some((ready, until)) = found.await? else { return Ok(None) };
        noted.repository = Some(name);
        let warning = format!("waits to be signed, seen by you alone until {until}");
        self.manifest_response(ready, asked, Some(&warning)).map(Some)
    }

    fn staged_for(
        &self,
        principal: &PrincipalRef,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<(Ready, Timestamp)>, RegistryError> {
        let now = self.access.now();
        let mut own = self.store.staged_in(repository, now)?;
        own.retain(|record| record.principals.contains(principal));
        let found = match reference {
            Reference::Digest(digest) => own.iter().find(|record| record.digest == *digest),
            Reference::Tag(tag) => {
                // What was let in since is what the tag means, also to whoever has something waiting.
                let moved_at = self.store.tag_moved_at(repository, tag)?;
                staged_under(&own, tag).filter(|record| moved_at.is_none_or(|moved_at| record.sequence > moved_at))
            }
        };
        let Some(found) = found else { return Ok(None) };
        // Swept, where its time is longer than the grace.
        let Some(bytes) = self.store.blobs().read(&found.digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        if let Some(refusal) = (self.push.policy)().refusal_of_denied(&bytes, now) {
            return Err(RegistryError::Refused(refusal));
        }
        let record = ManifestRecord {
            digest: found.digest,
            media_type: found.media_type.clone(),
            size_bytes: found.size_bytes,
            artifact_type: None,
            subject: found.subject,
            sparse: false,
            origin: None,
            sequence: found.sequence,
        };
        let ready = Ready { record, served: None, content: Some(Content::Whole(bytes.into())) };
        Ok(Some((ready, found.until)))
    }
}

impl Pushed {
    /// Whether what was refused may wait for evidence: a rule of the policy asks for some, and whoever pushes has a name.
    pub(super) fn may_wait(&self, refusal: &Refusal) -> bool {
        self.is_somebodys && self.enforcement == Enforcement::Enforce && !rule_names::ALL.contains(&&*refusal.rule)
    }

    /// Keeps it until then.
    pub(super) fn stage(&self, registry: &Registry, refusal: Refusal) -> Result<Entered, RegistryError> {
        let (store, now) = (&registry.store, registry.access.now());
        let (mut waiting, mut over): (Vec<_>, Vec<_>) =
            store.all_staged(&self.repository)?.into_iter().partition(|record| now < record.until);
        if waiting.len() >= STAGED_COUNT_MAX && !waiting.iter().any(|record| record.digest == self.manifest.digest) {
            let Some(place) = gives_way(&waiting, &self.principal) else {
                return Err(RegistryError::Refused(refusal));
            };
            over.push(waiting.remove(place));
        }
        registry.take_bytes(&self.repository, self.manifest.size)?;
        if !store.blobs().has(&self.manifest.digest) {
            store.blobs().put_with(&self.bytes, self.manifest.digest.algorithm())?;
        }
        let until = now.saturating_add(SignedDuration::from_secs(STAGED_SECONDS_MAX)).unwrap_or(Timestamp::MAX);
        // Whoever pushes the same bytes sees what waits under them, and takes nothing from whoever pushed them before.
        let mut tags = tags_waiting_for(store, &self.repository, &waiting, &self.manifest.digest)?;
        let before = waiting.into_iter().find(|record| record.digest == self.manifest.digest);
        let mut beside = before.map(|record| record.principals).unwrap_or_default();
        tags.retain(|tag| !self.tags.contains(tag));
        // The oldest give way.
        tags.drain(..tags.len().saturating_sub(STAGED_TAGS_COUNT_MAX));
        tags.extend(self.tags.iter().cloned());
        beside.retain(|principal| *principal != self.principal);
        beside.truncate(STAGED_PRINCIPALS_COUNT_MAX - 1);
        let over = over.into_iter().map(|record| record.digest).collect();
        let changes = vec![
            Change::EndStaging { repository: self.repository.clone(), digests: over },
            Change::Stage {
                repository: self.repository.clone(),
                manifest: Box::new(self.manifest.clone()),
                tags,
                beside,
                until,
                rule: refusal.rule.clone(),
            },
        ];
        store.commit(Transaction::new(self.principal.clone(), changes)).map_err(not_kept)?;
        Ok(Entered::Staged { refusal, until })
    }

    /// Whether something of an image beside what was pushed has waited for it.
    pub(super) fn has_waited(&self, image: &AdmittedImage) -> bool {
        let companions = image.companions.iter().map(|(_, companion)| companion);
        let all = image.children.iter().chain([&image.root]).chain(companions).map(|part| part.get().digest);
        all.filter(|digest| *digest != self.manifest.digest).any(|digest| self.waiting(&digest).is_some())
    }

    /// Everything that becomes servable with an image that was waiting, and is not yet.
    pub(super) fn release(&self, store: &Store, image: &AdmittedImage) -> Result<Vec<Change>, RegistryError> {
        let held = |digest: &Digest| matches!(store.held_blob(&self.repository, digest), Ok(Some(_)));
        let destination = Destination { via: LinkVia::Upload, origin: None, present: &held };
        let mut changes = Vec::new();
        let mut digests = Vec::new();
        for change in image.changes(&destination) {
            let is_news = match &change {
                // Uploads have linked what is here.
                Change::LinkBlob { .. } => false,
                Change::Publish { repository, manifest, .. } => {
                    digests.push(manifest.get().digest);
                    store.manifest(repository, &manifest.get().digest)?.is_none()
                }
                // The push moves its own tags, where they are as it wants them.
                Change::MoveTag { tag, .. } if self.tags.contains(tag) => false,
                Change::MoveTag { repository, tag, target, .. } => store.resolve(repository, tag)? != Some(*target),
                _ => true,
            };
            if is_news {
                changes.push(change);
            }
        }
        changes.push(Change::EndStaging { repository: self.repository.clone(), digests });
        Ok(changes)
    }
}

/// What gives its place to a push of `newcomer` where all places are taken: the oldest that is seen by nobody but the account
/// with the most, which must have more than the newcomer. So nobody keeps others out, and none is put out by its equal.
fn gives_way(waiting: &[StagedRecord], newcomer: &PrincipalRef) -> Option<usize> {
    let mut held: HashMap<&PrincipalRef, usize> = HashMap::new();
    for principal in waiting.iter().flat_map(|record| &record.principals) {
        *held.entry(principal).or_default() += 1;
    }
    let own = held.get(newcomer).copied().unwrap_or(0);
    let most = held.values().copied().max().filter(|most| *most > own)?;
    let oldest = waiting.iter().enumerate().filter(|(_, record)| match record.principals.as_slice() {
        [only] => held.get(only) == Some(&most),
        _ => false,
    });
    oldest.min_by_key(|(_, record)| record.sequence).map(|(place, _)| place)
}

/// The tags that are to point at `digest` when it is let in: those under which nothing newer waits, and that have moved
/// nowhere since it came.
pub(super) fn tags_waiting_for(
    store: &Store,
    repository: &RepositoryName,
    waiting: &[StagedRecord],
    digest: &Digest,
) -> Result<Vec<Tag>, StoreError> {
    let Some(own) = waiting.iter().find(|record| record.digest == *digest) else { return Ok(Vec::new()) };
    let mut tags = Vec::new();
    for tag in &own.tags {
        let is_newest = staged_under(waiting, tag).is_some_and(|newest| newest.digest == *digest);
        let has_moved = store.tag_moved_at(repository, tag)?.is_some_and(|moved_at| moved_at > own.sequence);
        if is_newest && !has_moved {
            tags.push(tag.clone());
        }
    }
    Ok(tags)
}

/// Whether a manifest is here, if only to wait.
pub(super) fn is_known(
    store: &Store,
    waiting: &[StagedRecord],
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<bool, StoreError> {
    Ok(waiting.iter().any(|record| record.digest == *digest) || store.manifest(repository, digest)?.is_some())
}
