//! The whole of an image: every platform that is asked for, every layer, and everything that speaks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::error::{MirrorError, SharedError};
use super::{Mirror, blocking};
use crate::limits::{IMAGE_MANIFESTS_COUNT_MAX, MANIFEST_BYTES_MAX};
use crate::oci::descriptor::Platform;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::{ImageReference, Reference, RepositoryName};
use crate::oci::signature_tag::KINDS;
use crate::progress::Progress;
use crate::store::Store;

/// Blobs of one image that are fetched at the same time.
const BLOBS_COUNT_MAX: usize = 3;

/// Whoever asks for a fetch wants all of it, however slow the upstream is.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchReport {
    pub digest: Digest,
    /// Manifests of the image, of its platforms and of what speaks of them.
    pub manifests: u64,
    pub blobs: u64,
    pub blobs_fetched: u64,
    pub bytes_fetched: u64,
    /// Non-distributable layers that the upstream does not have either.
    pub blobs_elsewhere: u64,
    /// Why it may not be the upstream's newest.
    pub warning: Option<String>,
}

impl Mirror {
    /// Fetches an image with all its layers and all evidence, so that nothing of it is missing when the upstream is gone.
    /// What is here already is not fetched again, so the same call continues after an interruption. `platforms` such as
    /// `linux/arm64` leave others sparse; `None` takes all.
    pub async fn fetch_all(
        self: &Arc<Self>,
        image: &ImageReference,
        platforms: Option<&[String]>,
        progress: &dyn Progress,
    ) -> Result<FetchReport, SharedError> {
        let repository = &image.repository;
        self.upstream_of(repository)?;
        if self.settings.offline {
            return Err(Arc::new(MirrorError::Offline));
        }
        progress.step("looking at the upstream", 0, 0);
        let own = self.look_up(repository, &image.reference).await?;
        // Whoever asks again has perhaps had it signed meanwhile.
        self.refused.forget(&(repository.clone(), image.reference.clone()));
        let (digest, warning) = self.bring(repository, &image.reference, own).await?;
        let walk = Walk {
            store: self.store.clone(),
            repository: repository.clone(),
            platforms: platforms.map(<[String]>::to_vec),
        };
        let closure = blocking(move || walk.closure(digest)).await?;
        let mut report = FetchReport {
            digest,
            manifests: closure.manifests.len() as u64,
            blobs: closure.blobs.len() as u64,
            blobs_fetched: 0,
            bytes_fetched: 0,
            blobs_elsewhere: 0,
            warning,
        };
        let absent: Vec<_> = closure.blobs.into_iter().filter(|(_, blob)| !blob.present).collect();
        report.blobs_fetched = absent.len() as u64;
        report.bytes_fetched = absent.iter().map(|(_, blob)| blob.size_bytes).fold(0, u64::saturating_add);
        let elsewhere = self.fetch_blobs(repository, absent, progress).await?;
        report.blobs_elsewhere = elsewhere.count.into_inner();
        report.blobs_fetched -= report.blobs_elsewhere;
        report.bytes_fetched = report.bytes_fetched.saturating_sub(elsewhere.bytes.into_inner());
        Ok(report)
    }

    /// The manifest, admitted here with the newest evidence; and a warning where the upstream could not be asked but
    /// something is here. A refusal by policy is never softened into a warning.
    async fn bring(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &Reference,
        own: Option<Digest>,
    ) -> Result<(Digest, Option<String>), SharedError> {
        let attempt = async {
            let latest = match (reference, own) {
                (Reference::Tag(tag), Some(_)) => self.ask_latest_patiently(repository, tag).await?,
                _ => own,
            };
            match own {
                Some(own) if latest == Some(own) => self.look_again(repository, own, PATIENCE).await.map(|()| own),
                _ => self.fetch(repository, reference, latest).await,
            }
        };
        match (attempt.await, own) {
            (Ok(digest), _) => Ok((digest, None)),
            (Err(error), Some(own)) if error.is_upstream() => {
                Ok((own, Some(format!("this is what was here already: {error}"))))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn look_up(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Digest>, MirrorError> {
        let (store, repository, reference) = (self.store.clone(), repository.clone(), reference.clone());
        blocking(move || {
            let digest = match reference {
                Reference::Digest(digest) => Some(digest),
                Reference::Tag(tag) => store.resolve(&repository, &tag)?,
            };
            let Some(digest) = digest else { return Ok(None) };
            Ok(store.manifest(&repository, &digest)?.map(|record| record.digest))
        })
        .await
    }

    /// Answers what the upstream does not have and need not have.
    async fn fetch_blobs(
        self: &Arc<Self>,
        repository: &RepositoryName,
        absent: Vec<(Digest, Blob)>,
        progress: &dyn Progress,
    ) -> Result<Elsewhere, SharedError> {
        let elsewhere = Elsewhere::default();
        let noted = &elsewhere;
        let total: u64 = absent.iter().map(|(_, blob)| blob.size_bytes).fold(0, u64::saturating_add);
        let done = AtomicU64::new(0);
        let done = &done;
        futures_util::stream::iter(absent.into_iter().map(Ok))
            .try_for_each_concurrent(BLOBS_COUNT_MAX, |(digest, blob)| async move {
                let download = self.start_download(repository, digest, blob.size_bytes).await?;
                let mut counted = 0;
                let landed = download
                    .finished(|bytes| {
                        let fresh = bytes.saturating_sub(counted);
                        counted += fresh;
                        let sum = done.fetch_add(fresh, Ordering::Relaxed) + fresh;
                        progress.step("fetching", sum, total);
                    })
                    .await;
                match landed {
                    Err(error) if blob.may_be_elsewhere && matches!(*error, MirrorError::NotFound { .. }) => {
                        noted.count.fetch_add(1, Ordering::Relaxed);
                        noted.bytes.fetch_add(blob.size_bytes, Ordering::Relaxed);
                        Ok(())
                    }
                    other => other,
                }
            })
            .await?;
        Ok(elsewhere)
    }
}

struct Blob {
    size_bytes: u64,
    present: bool,
    may_be_elsewhere: bool,
}

#[derive(Default)]
struct Elsewhere {
    count: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Closure {
    manifests: BTreeSet<Digest>,
    blobs: BTreeMap<Digest, Blob>,
}

/// Walks what is admitted here.
struct Walk {
    store: Store,
    repository: RepositoryName,
    platforms: Option<Vec<String>>,
}

impl Walk {
    fn closure(&self, root: Digest) -> Result<Closure, MirrorError> {
        let mut closure = Closure::default();
        let mut open = vec![root];
        while let Some(digest) = open.pop() {
            if closure.manifests.contains(&digest) {
                continue;
            }
            let Some(manifest) = self.manifest(&digest)? else { continue };
            closure.manifests.insert(digest);
            if closure.manifests.len() > IMAGE_MANIFESTS_COUNT_MAX {
                return Err(MirrorError::TooMuch { what: "manifests", limit: IMAGE_MANIFESTS_COUNT_MAX as u64 });
            }
            for edge in manifest.edges() {
                match edge.kind {
                    EdgeKind::Manifest if self.is_wanted(edge.platform.as_ref()) => open.push(edge.digest),
                    EdgeKind::Manifest => {}
                    EdgeKind::Blob => {
                        let link = self.store.blob_link(&self.repository, &edge.digest)?;
                        let present = link.is_some_and(|link| link.present) && self.store.blobs().has(&edge.digest);
                        let may_be_elsewhere = media_type::is_non_distributable(&edge.media_type);
                        // Where one manifest calls a blob a layer like any other, it has to come.
                        let blob = Blob { size_bytes: edge.size, present, may_be_elsewhere };
                        let known = closure.blobs.entry(edge.digest).or_insert(blob);
                        known.may_be_elsewhere &= may_be_elsewhere;
                    }
                }
            }
            open.extend(self.speaking_of(&digest)?);
        }
        Ok(closure)
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, MirrorError> {
        let Some(record) = self.store.manifest(&self.repository, digest)? else { return Ok(None) };
        let Some(bytes) = self.store.blobs().read(digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        Ok(Manifest::parse_with(&bytes, &record.media_type, digest.algorithm()).ok())
    }

    fn speaking_of(&self, subject: &Digest) -> Result<Vec<Digest>, MirrorError> {
        let by_subject = self.store.referrers(&self.repository, subject)?.into_iter().map(|record| record.digest);
        let mut digests: Vec<Digest> = by_subject.collect();
        for kind in KINDS {
            digests.extend(self.store.resolve(&self.repository, &kind.tag_for(subject))?);
        }
        Ok(digests)
    }

    /// `linux/arm64` wants `linux/arm64/v8` too. What is built for no platform goes with every one.
    fn is_wanted(&self, platform: Option<&Platform>) -> bool {
        let (Some(wanted), Some(platform)) = (&self.platforms, platform) else { return true };
        let text = platform.to_string();
        platform.architecture == "unknown"
            || wanted.iter().any(|wanted| {
                text.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}
