//! Fetches all that a decision about an image needs: its manifests down to the platforms, and the evidence about each.
//!
//! Layers are not fetched here. Nothing here is stored or served: that needs the gate's word.

use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::header::{CONTENT_TYPE, HeaderName, LINK};
use bytes::Bytes;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};

use super::error::MirrorError;
use super::gathered::{Fetched, Gathered};
use super::source::{Ask, Upstream};
use crate::http::client::Received;
use crate::limits::{
    EVIDENCE_BYTES_MAX, EVIDENCE_DOCUMENTS_COUNT_MAX, EVIDENCE_MANIFESTS_COUNT_MAX, IMAGE_MANIFESTS_COUNT_MAX,
    INDEX_DEPTH_COUNT_MAX, MANIFEST_BYTES_MAX,
};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{self, OCI_INDEX};
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::oci::signature_tag::SignatureTagKind;
use crate::store::Store;

/// Requests to one upstream at the same time for one image.
const REQUESTS_COUNT_MAX: usize = 6;
/// Pages of a list of referrers that are followed.
const REFERRERS_PAGES_COUNT_MAX: usize = 16;
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Fetches from one repository of one upstream. What the store has admitted there is taken from the store.
pub(super) struct Gatherer<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) store: &'a Store,
    /// Its name here.
    pub(super) repository: &'a RepositoryName,
    /// Its name there.
    pub(super) path: &'a str,
    /// What came in so far: counted as it comes, or a list of large things would fill the memory before it is added up.
    held_bytes: AtomicUsize,
    limit_bytes: usize,
}

impl<'a> Gatherer<'a> {
    /// Gathers for one image; what it may hold is bounded for all its calls together.
    pub(super) fn new(
        upstream: &'a Upstream,
        store: &'a Store,
        repository: &'a RepositoryName,
        path: &'a str,
        limit_bytes: usize,
    ) -> Self {
        Self { upstream, store, repository, path, held_bytes: AtomicUsize::new(0), limit_bytes }
    }

    /// Counts `bytes` against the budget.
    fn hold(&self, bytes: Bytes) -> Result<Bytes, MirrorError> {
        let held = self.held_bytes.fetch_add(bytes.len(), Ordering::Relaxed).saturating_add(bytes.len());
        if held > self.limit_bytes {
            return Err(MirrorError::too_much_gathered(self.limit_bytes));
        }
        Ok(bytes)
    }

    /// The image at `reference`, its children, and the evidence about all of them.
    pub(super) async fn gather(&self, reference: &Reference) -> Result<Gathered, MirrorError> {
        let root = self.manifest(reference).await?;
        let mut gathered = Gathered::new(root.manifest.digest, self.limit_bytes);
        let mut subjects = vec![root.manifest.digest];
        let mut level = children(&root.manifest);
        gathered.take(root)?;
        for _ in 0..INDEX_DEPTH_COUNT_MAX {
            level.retain(|part| !gathered.holds(&part.digest));
            if level.is_empty() {
                break;
            }
            if subjects.len() + level.len() > IMAGE_MANIFESTS_COUNT_MAX {
                return Err(MirrorError::TooMuch { what: "manifests", limit: IMAGE_MANIFESTS_COUNT_MAX as u64 });
            }
            let mut next = Vec::new();
            for (part, child) in self.manifests(std::mem::take(&mut level)).await? {
                if !is_attestation_of_builder(&part) {
                    subjects.push(part.digest);
                }
                next.extend(children(&child.manifest));
                gathered.take(child)?;
            }
            level = next;
        }
        let evidence: Vec<Evidence> = futures_util::stream::iter(subjects)
            .map(|subject| self.evidence(subject))
            .buffer_unordered(REQUESTS_COUNT_MAX)
            .try_collect()
            .await?;
        for found in evidence {
            found.add_to(&mut gathered)?;
        }
        Ok(gathered)
    }

    /// Those of `parts` that the upstream has. An index may list platforms that were never pushed.
    async fn manifests(&self, parts: Vec<Descriptor>) -> Result<Vec<(Descriptor, Fetched)>, MirrorError> {
        let fetched: Vec<_> = futures_util::stream::iter(parts)
            .map(|part| async move {
                let found = present(self.manifest(&Reference::Digest(part.digest)).await)?;
                Ok::<_, MirrorError>(found.map(|fetched| (part, fetched)))
            })
            .buffered(REQUESTS_COUNT_MAX)
            .try_collect()
            .await?;
        Ok(fetched.into_iter().flatten().collect())
    }

    /// What the upstream says is the digest of a tag, asked without fetching. `None` where it does not say.
    pub(super) async fn latest(&self, tag: &Tag) -> Result<Option<Digest>, MirrorError> {
        let response = self.upstream.ask(&Ask::head(self.path, &format!("manifests/{tag}"))).await?;
        let header = response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        Ok(header.and_then(|text| text.parse().ok()).filter(|digest: &Digest| digest.algorithm() == Algorithm::Sha256))
    }

    async fn manifest(&self, reference: &Reference) -> Result<Fetched, MirrorError> {
        if let Reference::Digest(digest) = reference {
            // Manifests are kept under their SHA-256 only.
            if digest.algorithm() != Algorithm::Sha256 {
                return Err(MirrorError::NotFound { upstream: self.upstream.name.clone() });
            }
            if let Some(Fetched { manifest, bytes }) = self.kept_manifest(digest).await? {
                return Ok(Fetched { manifest, bytes: self.hold(bytes)? });
            }
        }
        let response = self.upstream.ask(&Ask::get(self.path, &format!("manifests/{reference}"))).await?;
        let header =
            |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (content_type, promised) = (header(CONTENT_TYPE), header(CONTENT_DIGEST));
        let bytes = self.body(response.into_body(), MANIFEST_BYTES_MAX).await?;
        let promised = promised.and_then(|text| text.parse::<Digest>().ok());
        let expected = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(_) => promised.filter(|digest| digest.algorithm() == Algorithm::Sha256),
        };
        self.check_digest(expected, &bytes)?;
        let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        // A type that is none of ours says nothing; the manifest must then name its own.
        let content_type =
            content_type.filter(|kind| media_type::essence(kind).contains("manifest") || media_type::is_index(kind));
        let manifest = Manifest::parse_with(&bytes, content_type.as_deref().unwrap_or_default(), algorithm)
            .map_err(|source| MirrorError::Manifest { upstream: self.upstream.name.clone(), source })?;
        Ok(Fetched { manifest, bytes })
    }

    async fn kept_manifest(&self, digest: &Digest) -> Result<Option<Fetched>, MirrorError> {
        let (store, repository, digest) = (self.store.clone(), self.repository.clone(), *digest);
        super::blocking(move || {
            let Some(record) = store.manifest(&repository, &digest)? else { return Ok(None) };
            let Some(bytes) = store.blobs().read(&digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
            let manifest = Manifest::parse_with(&bytes, &record.media_type, digest.algorithm()).ok();
            Ok(manifest.map(|manifest| Fetched { manifest, bytes: bytes.into() }))
        })
        .await
    }

    /// All that speaks of `subject`: the list of referrers, or its fallback tag where there is no such list, and cosign's tags.
    async fn evidence(&self, subject: Digest) -> Result<Evidence, MirrorError> {
        let mut evidence = Evidence { subject, referrers: Vec::new(), tagged: Vec::new(), blobs: Vec::new() };
        let listed = match self.referrers_list(&subject).await? {
            Some(listed) => listed,
            None => {
                let tag = SignatureTagKind::ReferrersFallback.tag_for(&subject);
                let index = present(self.manifest(&Reference::Tag(tag.clone())).await)?;
                let listed = index.as_ref().map(|index| children(&index.manifest)).unwrap_or_default();
                evidence.tagged.extend(index.map(|index| (tag, index)));
                listed
            }
        };
        if listed.len() > EVIDENCE_MANIFESTS_COUNT_MAX {
            return Err(MirrorError::TooMuch { what: "referrers", limit: EVIDENCE_MANIFESTS_COUNT_MAX as u64 });
        }
        evidence.referrers.extend(self.manifests(listed).await?.into_iter().map(|(_, fetched)| fetched));
        for kind in [SignatureTagKind::Signature, SignatureTagKind::Attestation, SignatureTagKind::Sbom] {
            let tag = kind.tag_for(&subject);
            let found = present(self.manifest(&Reference::Tag(tag.clone())).await)?;
            evidence.tagged.extend(found.map(|fetched| (tag, fetched)));
        }
        let documents: Vec<Descriptor> = evidence.manifests().flat_map(documents).collect();
        if documents.len() > EVIDENCE_DOCUMENTS_COUNT_MAX {
            return Err(MirrorError::TooMuch {
                what: "documents of evidence",
                limit: EVIDENCE_DOCUMENTS_COUNT_MAX as u64,
            });
        }
        evidence.blobs = futures_util::stream::iter(documents)
            .map(|document| async move { Ok::<_, MirrorError>((document.digest, self.small_blob(&document).await?)) })
            .buffered(REQUESTS_COUNT_MAX)
            .try_collect()
            .await?;
        Ok(evidence)
    }

    /// `None` where the upstream has no referrers API.
    async fn referrers_list(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>, MirrorError> {
        let mut listed = Vec::new();
        let mut rest = format!("referrers/{subject}");
        for _ in 0..REFERRERS_PAGES_COUNT_MAX {
            let response = match self.upstream.ask(&Ask::get(self.path, &rest)).await {
                Ok(response) => response,
                Err(MirrorError::NotFound { .. } | MirrorError::Denied { .. }) => return Ok(None),
                Err(MirrorError::Status { status: 400 | 405 | 406 | 501, .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let next = response.headers().get(LINK).and_then(|value| value.to_str().ok()).and_then(next_page);
            let bytes = self.body(response.into_body(), MANIFEST_BYTES_MAX).await?;
            // Something that answers every path with a page of its own has no such API either.
            let Ok(index) = Manifest::parse(&bytes, OCI_INDEX) else { return Ok(None) };
            listed.extend(children(&index));
            match next {
                Some(query) if listed.len() <= EVIDENCE_MANIFESTS_COUNT_MAX => {
                    rest = format!("referrers/{subject}?{query}");
                }
                _ => break,
            }
        }
        Ok(Some(listed))
    }

    async fn small_blob(&self, document: &Descriptor) -> Result<Bytes, MirrorError> {
        let (store, repository, digest) = (self.store.clone(), self.repository.clone(), document.digest);
        let kept = super::blocking(move || {
            let is_here = store.blob_link(&repository, &digest)?.is_some_and(|link| link.present);
            Ok(if is_here { store.blobs().read(&digest, EVIDENCE_BYTES_MAX)? } else { None })
        });
        if let Some(bytes) = kept.await? {
            return self.hold(bytes.into());
        }
        let response = self.upstream.ask(&Ask::get(self.path, &format!("blobs/{digest}"))).await?;
        let bytes = self.body(response.into_body(), EVIDENCE_BYTES_MAX).await?;
        self.check_digest(Some(digest), &bytes)?;
        Ok(bytes)
    }

    async fn body(&self, body: Received, limit_bytes: usize) -> Result<Bytes, MirrorError> {
        let collected = body.collect(limit_bytes).await;
        self.hold(collected.map_err(|source| MirrorError::Body { upstream: self.upstream.name.clone(), source })?)
    }

    fn check_digest(&self, expected: Option<Digest>, bytes: &[u8]) -> Result<(), MirrorError> {
        let Some(expected) = expected else { return Ok(()) };
        let actual = expected.algorithm().hash(bytes);
        if actual == expected {
            return Ok(());
        }
        Err(MirrorError::WrongContent { upstream: self.upstream.name.clone(), expected, actual })
    }
}

/// What speaks of one manifest.
struct Evidence {
    subject: Digest,
    referrers: Vec<Fetched>,
    tagged: Vec<(Tag, Fetched)>,
    blobs: Vec<(Digest, Bytes)>,
}

impl Evidence {
    fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.referrers.iter().chain(self.tagged.iter().map(|(_, fetched)| fetched)).map(|fetched| &fetched.manifest)
    }

    fn add_to(self, gathered: &mut Gathered) -> Result<(), MirrorError> {
        gathered.take_referrers(self.subject, self.referrers)?;
        for (tag, fetched) in self.tagged {
            gathered.take_tagged(tag, fetched)?;
        }
        for (digest, bytes) in self.blobs {
            gathered.take_blob(digest, bytes)?;
        }
        Ok(())
    }
}

/// The members of an index that are manifests.
fn children(manifest: &Manifest) -> Vec<Descriptor> {
    if !manifest.is_index() {
        return Vec::new();
    }
    manifest.parts.iter().filter(|part| media_type::is_manifest(&part.media_type)).cloned().collect()
}

/// What a manifest of evidence holds, as far as it is small enough to be a document.
fn documents(manifest: &Manifest) -> Vec<Descriptor> {
    if manifest.is_index() {
        return Vec::new();
    }
    let parts = manifest.config.iter().chain(&manifest.parts);
    parts.filter(|part| part.size <= EVIDENCE_BYTES_MAX as u64).cloned().collect()
}

/// BuildKit lists what it says about a platform beside the platform, so nobody speaks of that in turn.
fn is_attestation_of_builder(part: &Descriptor) -> bool {
    part.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
}

/// Something that need not be there.
fn present<T>(result: Result<T, MirrorError>) -> Result<Option<T>, MirrorError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(MirrorError::NotFound { .. } | MirrorError::Status { status: 400, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The query of the next page in a `Link` header. Only the query counts: a list cannot send us to another place.
fn next_page(header: &str) -> Option<String> {
    let (target, parameters) = header.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
    let query = target.split_once('?').map(|(_, query)| query.to_owned());
    query.filter(|query| is_next && query.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::next_page;

    #[test]
    fn the_next_page_is_only_ever_another_query() {
        let check =
            |header: &str, expected: Option<&str>| assert_eq!(next_page(header).as_deref(), expected, "{header}");
        check("</v2/a/referrers/d?last=x>; rel=\"next\"", Some("last=x"));
        check("<https://elsewhere/?n=1>; title=x; rel=next", Some("n=1"));
        check("</v2/a?x>; rel=\"prev\"", None);
        check("</v2/a>; rel=\"next\"", None);
        check("nonsense", None);
    }
}
