//! Evidence on request: referrers, and the tags that are made from a digest.
//!
//! An empty list ends a client's search. So it is never answered for a manifest whose evidence nobody looked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::error::{MirrorError, SharedError};
use super::resolve::Found;
use super::{Mirror, blocking};
use crate::error_chain::chain;
use crate::limits::INDEX_DEPTH_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName, Tag};

impl Mirror {
    /// Brings what speaks of `subject` up to date, and the subject itself where it is absent. Returns a warning where the
    /// upstream could not say.
    pub async fn refresh_evidence(
        self: &Arc<Self>,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Option<String>, SharedError> {
        let key = (repository.clone(), *subject);
        if self.looked_for.recall(&key).is_some() {
            return Ok(None);
        }
        let incomplete = |why: &dyn std::fmt::Display| {
            Ok(Some(format!("only what is in this mirror already is listed, it may be incomplete: {why}")))
        };
        if self.settings.offline {
            return incomplete(&"it is declared offline");
        }
        let (upstream, _) = self.upstream_of(repository)?;
        let is_here = self.is_admitted(repository, *subject).await?;
        let attempt = if !is_here {
            self.fetch(repository, &Reference::Digest(*subject), None).await.map(drop)
        } else if upstream.failed_lately() {
            Err(Arc::new(MirrorError::Silent { upstream: upstream.name.clone() }))
        } else {
            self.look_again(repository, *subject, Duration::from_secs(self.settings.revalidate_seconds_max)).await
        };
        match attempt {
            Ok(()) => {
                self.looked_for.remember(key, ());
                Ok(None)
            }
            // Nothing can speak of what the upstream does not have.
            Err(error) if !is_here && matches!(*error, MirrorError::NotFound { .. }) => Ok(None),
            Err(error) if is_here || error.is_upstream() => incomplete(&error),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn resolve_evidence(
        self: &Arc<Self>,
        repository: &RepositoryName,
        tag: &Tag,
        subject: &Digest,
    ) -> Result<Found, SharedError> {
        let warning = self.refresh_evidence(repository, subject).await?;
        let (store, own, tag) = (self.store.clone(), repository.clone(), tag.clone());
        let found = blocking(move || Ok(store.resolve(&own, &tag)?)).await?;
        let (upstream, _) = self.upstream_of(repository)?;
        match (found, warning) {
            (Some(digest), warning) => Ok(Found { digest, warning }),
            (None, None) => Err(Arc::new(MirrorError::NotFound { upstream: upstream.name.clone() })),
            (None, Some(_)) => Err(Arc::new(MirrorError::Silent { upstream: upstream.name.clone() })),
        }
    }

    /// Looks for new evidence about an image that is here. A client's wait is short: what came with the image is here too.
    pub(super) async fn look_again(
        self: &Arc<Self>,
        repository: &RepositoryName,
        subject: Digest,
        patience: Duration,
    ) -> Result<(), SharedError> {
        let (mirror, own) = (Arc::clone(self), repository.clone());
        let fetches = Arc::clone(&self.looks);
        let looking = fetches.join((repository.clone(), subject), move || async move {
            for root in mirror.roots_of(&own, subject).await? {
                let (upstream, path) = mirror.upstream_of(&own)?;
                let _place = mirror.gathering_place().await?;
                let gatherer = mirror.gatherer(upstream, &own, path);
                let gathered = gatherer.gather(&Reference::Digest(root)).await?;
                let looked_at: Vec<Digest> = gathered.subjects().copied().collect();
                match mirror.admit(&own, gathered, Vec::new()).await {
                    // The policy may have changed since the image came in. What is here stays; what is new does not enter.
                    Err(error @ MirrorError::Refused(_)) => {
                        tracing::info!(repository = %own, %root, error = %chain(&error), "new evidence is not taken");
                    }
                    outcome => outcome?,
                }
                mirror.note_looked_at(&own, looked_at);
            }
            Ok(())
        });
        match tokio::time::timeout(patience, looking).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let (upstream, _) = self.upstream_of(repository)?;
                Err(Arc::new(MirrorError::Silent { upstream: upstream.name.clone() }))
            }
        }
    }

    /// Notes that everything that speaks of these was asked for.
    pub(super) fn note_looked_at(&self, repository: &RepositoryName, subjects: Vec<Digest>) {
        for subject in subjects {
            self.looked_for.remember((repository.clone(), subject), ());
        }
    }

    /// The manifests under which `digest` was admitted: itself, or the indexes that hold it.
    async fn roots_of(&self, repository: &RepositoryName, digest: Digest) -> Result<BTreeSet<Digest>, MirrorError> {
        let (store, repository) = (self.store.clone(), repository.clone());
        blocking(move || {
            let mut roots = BTreeSet::new();
            let mut level = BTreeSet::from([digest]);
            for _ in 0..INDEX_DEPTH_COUNT_MAX {
                let mut above = BTreeSet::new();
                for digest in level {
                    let parents = store.parents(&repository, &digest)?;
                    if parents.is_empty() {
                        roots.insert(digest);
                    }
                    above.extend(parents);
                }
                level = above;
            }
            Ok(roots)
        })
        .await
    }
}
