//! From a reference to a manifest that is admitted here: compared with the upstream where that is due, fetched where it is
//! absent, and served stale where the upstream cannot say.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::error::{MirrorError, SharedError};
use super::gather::Gatherer;
use super::source::Upstream;
use super::{Mirror, blocking};
use crate::error_chain::chain;
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::oci::signature_tag;

/// A manifest that is admitted and stored here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub digest: Digest,
    /// What a person should know about it, such as that the upstream could not be asked.
    pub warning: Option<String>,
}

impl Found {
    fn stale(digest: Digest, why: impl std::fmt::Display) -> Self {
        Self { digest, warning: Some(format!("served from this mirror as it was last seen: {why}")) }
    }
}

impl Mirror {
    /// Whether `own`, which the tag is here, was what the tag is at its upstream a moment ago.
    pub fn is_fresh(&self, repository: &RepositoryName, tag: &Tag, own: &Digest) -> bool {
        self.settings.offline || self.latest.recall(&(repository.clone(), tag.clone())).as_ref() == Some(own)
    }

    /// Finds what `reference` is. `own` is what it is here already.
    pub async fn resolve(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &Reference,
        own: Option<Digest>,
    ) -> Result<Found, SharedError> {
        if let (Reference::Tag(tag), false) = (reference, self.settings.offline)
            && let Some((subject, _)) = signature_tag::parse(tag)
        {
            return self.resolve_evidence(repository, tag, &subject).await;
        }
        let attempt = match (reference, own) {
            (Reference::Digest(digest), Some(own)) if *digest == own => {
                return Ok(Found { digest: own, warning: None });
            }
            _ if self.settings.offline => Err(Arc::new(MirrorError::Offline)),
            (Reference::Tag(tag), Some(own)) => self.compare(repository, tag, own).await,
            _ => self.fetch(repository, reference, None).await,
        };
        match (attempt, own) {
            (Ok(digest), _) => Ok(Found { digest, warning: None }),
            (Err(error), Some(own)) if matches!(*error, MirrorError::Offline) => {
                Ok(Found { digest: own, warning: None })
            }
            (Err(error), Some(own)) => {
                if !error.is_upstream() {
                    tracing::warn!(%repository, %reference, error = %chain(&*error), "a tag cannot be brought up to date");
                }
                Ok(Found::stale(own, &error))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Asks the upstream whether a tag has moved, and follows it.
    async fn compare(
        self: &Arc<Self>,
        repository: &RepositoryName,
        tag: &Tag,
        own: Digest,
    ) -> Result<Digest, SharedError> {
        let key = (repository.clone(), tag.clone());
        let latest = match self.latest.recall(&key) {
            Some(latest) => Some(latest),
            None => self.ask_latest(repository, tag).await?,
        };
        if latest == Some(own) {
            self.latest.remember(key, own);
            return Ok(own);
        }
        // The fetch goes on behind, so that an upstream that only drips is followed by a later pull.
        let limit = Duration::from_secs(self.settings.revalidate_seconds_max);
        let reference = Reference::Tag(tag.clone());
        match tokio::time::timeout(limit, self.fetch(repository, &reference, latest)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Arc::new(MirrorError::Silent { upstream: self.upstream_of(repository)?.0.name.clone() })),
        }
    }

    /// What a tag is at its upstream, waiting no longer than is decent when there is something to serve. The question goes
    /// on behind, so that an upstream that is only slow is followed too.
    async fn ask_latest(
        self: &Arc<Self>,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, SharedError> {
        let (upstream, _) = self.upstream_of(repository)?;
        let gone = || Arc::new(MirrorError::Silent { upstream: upstream.name.clone() });
        if upstream.failed_lately() {
            return Err(gone());
        }
        let limit = Duration::from_secs(self.settings.revalidate_seconds_max);
        match tokio::time::timeout(limit, self.ask_latest_patiently(repository, tag)).await {
            Ok(answer) => answer,
            Err(_) => {
                upstream.note_failure();
                Err(gone())
            }
        }
    }

    /// The same, for as long as it takes.
    pub(super) async fn ask_latest_patiently(
        self: &Arc<Self>,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, SharedError> {
        let (mirror, key) = (Arc::clone(self), (repository.clone(), tag.clone()));
        let question = move || async move {
            let (repository, tag) = &key;
            let (upstream, path) = mirror.upstream_of(repository)?;
            let latest = mirror.gatherer(upstream, repository, path).latest(tag).await?;
            if let Some(latest) = latest {
                mirror.latest.remember(key.clone(), latest);
            }
            Ok(latest)
        };
        self.comparisons.join((repository.clone(), tag.clone()), question).await
    }

    /// Fetches an image, once for all who ask, and lets it be judged. `latest` is its digest where that is known.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &Reference,
        latest: Option<Digest>,
    ) -> Result<Digest, SharedError> {
        let key = (repository.clone(), reference.clone());
        let by = (self.policy_digest().await?, self.access.enforcement(repository));
        if let Some((_, refusal)) = self.refused.recall(&key).filter(|(before, _)| *before == by) {
            return Err(Arc::new(MirrorError::Refused(refusal)));
        }
        let (mirror, own) = (Arc::clone(self), key.clone());
        self.fetches
            .join(key, move || async move {
                let (repository, reference) = own;
                let fetched = mirror.fetch_now(&repository, &reference, latest).await;
                match &fetched {
                    Ok(digest) => {
                        tracing::info!(%repository, %reference, %digest, "mirrored");
                        if let Reference::Tag(tag) = reference {
                            mirror.latest.remember((repository, tag), *digest);
                        }
                    }
                    Err(MirrorError::Refused(refusal)) => {
                        tracing::info!(%repository, %reference, rule = %refusal.rule, reason = %refusal.reason, "refused");
                        mirror.refused.remember((repository, reference), (by, refusal.clone()));
                    }
                    Err(error) => tracing::info!(%repository, %reference, error = %chain(error), "not mirrored"),
                }
                fetched
            })
            .await
    }

    /// Names the policy in force. Finding it may read a file.
    async fn policy_digest(&self) -> Result<Digest, MirrorError> {
        let policy = self.policy.clone();
        blocking(move || Ok(*policy().digest())).await
    }

    async fn fetch_now(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &Reference,
        latest: Option<Digest>,
    ) -> Result<Digest, MirrorError> {
        let tags: Vec<Tag> = match reference {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(_) => Vec::new(),
        };
        // Also what is here already is judged before a tag moves to it: something said about an image is here without being
        // one, and an image may stand here under an older policy.
        let (upstream, path) = self.upstream_of(repository)?;
        let _place = self.gathering_place().await?;
        let gatherer = self.gatherer(upstream, repository, path);
        let start = latest.map_or_else(|| reference.clone(), Reference::Digest);
        let gathered = gatherer.gather(&start).await?;
        let root = gathered.root;
        let looked_at: Vec<Digest> = gathered.subjects().copied().collect();
        self.admit(repository, gathered, tags).await?;
        self.note_looked_at(repository, looked_at);
        Ok(root)
    }

    /// A place for one more image in memory.
    pub(super) async fn gathering_place(&self) -> Result<SemaphorePermit<'_>, MirrorError> {
        self.gathering_places.acquire().await.map_err(|_| MirrorError::Interrupted)
    }

    pub(super) fn gatherer<'a>(
        &'a self,
        upstream: &'a Upstream,
        repository: &'a RepositoryName,
        path: &'a str,
    ) -> Gatherer<'a> {
        Gatherer::new(upstream, &self.store, repository, path, self.settings.gathered_bytes_max)
    }

    pub(super) async fn is_admitted(&self, repository: &RepositoryName, digest: Digest) -> Result<bool, MirrorError> {
        let (store, repository) = (self.store.clone(), repository.clone());
        blocking(move || Ok(store.manifest(&repository, &digest)?.is_some())).await
    }
}
