//! What is said of one image: where it stands here, and what the policy says of it now.

use std::sync::Arc;

use jiff::Timestamp;

use super::pod_image::{PodImage, PodImageError};
use super::{Review, ReviewSettings};
use crate::access::Caller;
use crate::admission::{AdmissionError, Judgement, Stored, Unserved, judge};
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName};
use crate::registry::RegistryError;
use crate::store::StoreError;
use crate::sys::clock::trusted_now;
use crate::verify::{Refusal, Verdict};

/// An image that may be used.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Its repository here.
    pub repository: RepositoryName,
    pub digest: Digest,
    /// What is to be said of it all the same, where its project only looks on.
    pub warning: Option<String>,
    /// The same image by digest, to be written where it was named.
    pub pinned: String,
    /// Whether it was named by digest already.
    pub is_pinned: bool,
}

/// Why an image may not be used. The text is for the author of a Pod.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    #[error(transparent)]
    Name(#[from] PodImageError),
    #[error(
        "'{0}' is not in the registry: push, mirror or import it first; where its host is this registry itself, that belongs into \
         review.registry_names"
    )]
    NotHere(String),
    #[error(
        "whoever asks may not pull from '{0}': name the network of the API server in review.networks, or give it an account that may"
    )]
    NoRight(String),
    #[error("'{0}' is something that is said of an image, and not one")]
    NotAnImage(String),
    #[error("{refusal}{}", next_step(refusal))]
    Refused { digest: Option<Digest>, refusal: Refusal, verdict: Option<Arc<Verdict>> },
    #[error("it could not be looked at: {0}")]
    Registry(#[from] RegistryError),
    #[error("it could not be judged: {0}")]
    Judge(#[source] AdmissionError),
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("there was no time to look at it: try again, or give the webhook more timeoutSeconds")]
    NoTime,
}

fn next_step(refusal: &Refusal) -> String {
    refusal.next_step.as_ref().map(|step| format!(" ({step})")).unwrap_or_default()
}

impl Review {
    /// Looks at one image as a Pod names it.
    pub(super) fn look(&self, caller: &Caller, text: &str) -> Result<Admitted, NotAdmitted> {
        let image: PodImage = text.parse()?;
        let is_own = is_own(&self.settings, &image.registry);
        let namespace = if is_own { None } else { Some(image.registry.as_str()) };
        let not_here = || NotAdmitted::NotHere(text.chars().take(300).collect());
        // Rights are asked for before anything is looked for: a stranger does not learn what is here.
        let whose = if self.is_near(caller) { None } else { Some(caller) };
        let repository = match self.registry.repository_of(namespace, &image.path, whose) {
            Ok(found) => found.ok_or_else(not_here)?,
            Err(RegistryError::Denied(_)) => return Err(NotAdmitted::NoRight(text.chars().take(300).collect())),
            Err(error) => return Err(error.into()),
        };
        let digest = match &image.reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => self.store.resolve(&repository, tag)?,
        };
        let record = match digest {
            Some(digest) => self.store.manifest(&repository, &digest)?,
            None => None,
        };
        let Some(record) = record else {
            let refused = self.store.refusal(&repository, &image.reference)?.ok_or_else(not_here)?;
            return Err(NotAdmitted::Refused { digest: refused.digest, refusal: refused.refusal, verdict: None });
        };
        let served =
            self.registry.rechecks().check(&repository, &record.digest).map_err(|unserved| match unserved {
                Unserved::Refused(refusal) => NotAdmitted::Refused {
                    verdict: self.verdict(&repository, record.digest),
                    digest: Some(record.digest),
                    refusal,
                },
                Unserved::Missing => not_here(),
                Unserved::Failed(error) => NotAdmitted::Judge(*error),
            })?;
        if served.is_companion() {
            return Err(NotAdmitted::NotAnImage(text.chars().take(300).collect()));
        }
        let name = text.split_once('@').map_or(text, |(name, _)| name);
        Ok(Admitted {
            warning: served.warning(self.now()),
            pinned: format!("{name}@{}", record.digest),
            is_pinned: matches!(image.reference, Reference::Digest(_)),
            digest: record.digest,
            repository,
        })
    }

    fn now(&self) -> Timestamp {
        trusted_now(self.store.clock().wall(), self.store.time_floor())
    }

    /// All that the policy says of an image that is here, for whoever wants to know more than yes or no.
    pub(super) fn verdict(&self, repository: &RepositoryName, root: Digest) -> Option<Arc<Verdict>> {
        let stored = Stored { store: &self.store, repository };
        match judge(&(self.policy)(), &stored.candidate(root).ok()?, &stored, self.now()).ok()? {
            Judgement::Admitted(image) => Some(image.verdict),
            Judgement::Refused { verdict, .. } => Some(verdict),
        }
    }

    /// Whether `caller` is told about every repository.
    pub(super) fn is_near(&self, caller: &Caller) -> bool {
        let is_near = |remote| self.settings.networks.iter().any(|network| network.holds(remote));
        // Somebody whose credentials are wrong is not answered like somebody who has shown none.
        caller.failed.is_none() && caller.remote.is_some_and(is_near)
    }
}

/// Whether a Pod means this registry itself by the name, and not one that it mirrors.
fn is_own(settings: &ReviewSettings, registry: &str) -> bool {
    settings.registry_names.iter().any(|own| own.eq_ignore_ascii_case(registry))
}
