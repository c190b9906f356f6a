//! Judges an image where it is, at its upstream, as if it were asked for here. Nothing is stored, and no answer remembered.

use std::sync::Arc;

use super::error::MirrorError;
use super::{Mirror, blocking};
use crate::admission::{AdmissionError, Candidate, Judgement, judge};
use crate::oci::digest::Digest;
use crate::oci::name::{ImageReference, Reference};
use crate::sys::clock::trusted_now;
use crate::verify::TrustPolicy;

impl Mirror {
    /// What `policy` says of `image`, with its digest. Its manifests and the evidence about it are fetched; layers are not.
    pub async fn verify(
        &self,
        image: &ImageReference,
        policy: Arc<TrustPolicy>,
    ) -> Result<(Digest, Result<Judgement, AdmissionError>), MirrorError> {
        let repository = &image.repository;
        let (upstream, path) = self.upstream_of(repository)?;
        if self.settings.offline {
            return Err(MirrorError::Offline);
        }
        let _place = self.gathering_place().await?;
        let gathered = self.gatherer(upstream, repository, path).gather(&image.reference).await?;
        let tags = match &image.reference {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(_) => Vec::new(),
        };
        let candidate = Candidate { repository: repository.clone(), original: None, root: gathered.root, tags };
        let now = trusted_now(self.store.clock().wall(), self.store.time_floor());
        blocking(move || Ok((candidate.root, judge(&policy, &candidate, &gathered, now)))).await
    }
}
