//! `DELETE /v2/<name>/manifests/<reference>` and `DELETE /v2/<name>/blobs/<digest>`.
//!
//! What is deleted leaves the records and is 404 from then on; its bytes go with a later sweep, after its grace. A manifest
//! that an index here still lists, and a blob that a manifest here still needs, stay: an image is there whole or not at
//! all. What speaks of a deleted manifest (a signature, an SBOM) stays too, as it may come before what it speaks of.

use std::sync::Arc;

use ::http::{Response, StatusCode};

use super::error::{DeleteError, PushError, RegistryError};
use super::route::Place;
use super::{Asked, Noted, Registry};
use crate::access::Action;
use crate::http::Body;
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName};
use crate::store::{Change, CommitError, Conflict, PrincipalRef, Transaction};

/// Tags of one manifest that go in one transaction.
const TAGS_AT_ONCE_COUNT: usize = 1_000;
/// How often a manifest is looked at anew because somebody tagged it meanwhile.
const ATTEMPTS_COUNT: usize = 1_000;
const REASON: &str = "deleted by a client";

impl Registry {
    pub(super) async fn delete_manifest(
        self: &Arc<Self>,
        place: Place,
        reference: Reference,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        let conditions = asked.conditions();
        self.delete(place, asked, noted, move |registry, repository, principal| match reference {
            Reference::Digest(digest) => {
                conditions.admit_change(Some(&digest))?;
                registry.remove_manifest(repository, digest, &principal)
            }
            Reference::Tag(tag) => {
                let current = registry.store.resolve(repository, &tag)?.ok_or(RegistryError::ManifestUnknown)?;
                let expected = conditions.admit_change(Some(&current))?.flatten();
                let (repository, reason) = (repository.clone(), REASON.to_owned());
                match registry.remove(&principal, vec![Change::RemoveTag { repository, tag, expected, reason }])? {
                    Removed::Done => Ok(()),
                    Removed::LookAgain => Err(RegistryError::Precondition),
                }
            }
        })
        .await
    }

    pub(super) async fn delete_blob(
        self: &Arc<Self>,
        place: Place,
        digest: Digest,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        self.delete(place, asked, noted, move |registry, repository, principal| {
            let (repository, reason) = (repository.clone(), REASON.to_owned());
            registry.remove(&principal, vec![Change::UnlinkBlob { repository, digest, reason }])?;
            Ok(())
        })
        .await
    }

    /// One deletion at a time, and none while an import or retention works on the repository: those have looked at what is
    /// here and go on with it.
    async fn delete(
        self: &Arc<Self>,
        place: Place,
        asked: &Asked,
        noted: &mut Noted,
        work: impl FnOnce(&Self, &RepositoryName, PrincipalRef) -> Result<(), RegistryError> + Send + 'static,
    ) -> Result<Response<Body>, RegistryError> {
        let repository = match self.changed_repository(place, asked, Action::Delete).await {
            Err(RegistryError::Push(PushError::Mirrored(name))) => return Err(DeleteError::Mirrored(name).into()),
            other => other?,
        };
        noted.repository = Some(repository.to_string());
        let principal = asked.caller.principal();
        let _alone = self.deletions.lock().await;
        self.blocking(move |registry| {
            let lease = registry.store.lease(std::slice::from_ref(&repository), "a deletion");
            let _lease = lease.map_err(|held| DeleteError::Busy(held.by))?;
            work(registry, &repository, principal)
        })
        .await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    /// Takes a manifest out together with its tags: in one transaction, unless it has very many.
    fn remove_manifest(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        principal: &PrincipalRef,
    ) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS_COUNT {
            let tags = self.store.tags_of(repository, &digest, TAGS_AT_ONCE_COUNT)?;
            let is_last = tags.len() < TAGS_AT_ONCE_COUNT;
            let mut changes: Vec<Change> = tags
                .into_iter()
                .map(|tag| Change::RemoveTag {
                    repository: repository.clone(),
                    tag,
                    expected: Some(digest),
                    reason: REASON.to_owned(),
                })
                .collect();
            if is_last {
                let (repository, reason) = (repository.clone(), REASON.to_owned());
                changes.push(Change::RemoveManifest { repository, digest, reason });
            }
            // What is needed is refused before any of its tags is taken away.
            if !is_last && let Some(parent) = self.store.parents(repository, &digest)?.first() {
                return Err(DeleteError::Needed { digest, parent: *parent }.into());
            }
            match self.remove(principal, changes)? {
                Removed::Done if is_last => return Ok(()),
                Removed::Done | Removed::LookAgain => {}
            }
        }
        Err(DeleteError::Busy("somebody who tags it").into())
    }

    fn remove(&self, principal: &PrincipalRef, changes: Vec<Change>) -> Result<Removed, RegistryError> {
        match self.store.commit(Transaction::new(principal.clone(), changes)) {
            Ok(_) => Ok(Removed::Done),
            Err(CommitError::Conflict(conflict)) => match conflict {
                Conflict::StillTagged { .. } | Conflict::TagMoved { .. } => Ok(Removed::LookAgain),
                Conflict::TagUnknown { .. } | Conflict::ManifestUnknown { .. } => Err(RegistryError::ManifestUnknown),
                Conflict::BlobUnknown { .. } => Err(RegistryError::BlobUnknown),
                Conflict::StillNeeded { digest, parent, .. } => Err(DeleteError::Needed { digest, parent }.into()),
                conflict => Err(DeleteError::Commit(Box::new(conflict.into())).into()),
            },
            Err(error) => Err(DeleteError::Commit(Box::new(error)).into()),
        }
    }
}

/// What became of changes.
enum Removed {
    Done,
    /// Somebody else was faster.
    LookAgain,
}
