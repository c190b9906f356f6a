//! Something that is said here about an image of the store, judged together with it before it is attached.
//!
//! The new document counts when the image is judged, so that an image which lacks nothing but this signature is admitted
//! by it. Where the image is refused all the same nothing is attached.

use jiff::Timestamp;

use super::content::{Content, ContentError, Stream};
use super::error::AdmissionError;
use super::judge::{Candidate, Judgement, judge};
use super::stored::Stored;
use crate::limits::REFERRERS_COUNT_MAX;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest, ManifestError};
use crate::oci::media_type;
use crate::oci::name::{RepositoryName, Tag};
use crate::store::{BlobError, Change, LinkVia, ManifestRecord, StoreError};
use crate::verify::sigstore::compose;
use crate::verify::{Admitted, Refusal, TrustPolicy};

/// A bundle and the manifest that attaches it to its subject.
#[derive(Debug)]
pub struct Attachment {
    subject: Digest,
    original: Option<RepositoryName>,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    bundle: Vec<u8>,
}

/// Why something was not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("the manifest that attaches it cannot be used")]
    Manifest(#[source] ManifestError),
    #[error("'{0}' has as many referrers as are looked at ({REFERRERS_COUNT_MAX}): remove those that are not needed")]
    TooMany(Digest),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the image cannot be judged")]
    Admission(#[source] AdmissionError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl Attachment {
    /// `bundle`, which says something of type `predicate_type` about the image that the store records as `subject`.
    pub fn new(subject: &ManifestRecord, bundle: Vec<u8>, predicate_type: &str) -> Result<Self, AttachError> {
        let described = Descriptor {
            media_type: subject.media_type.clone(),
            digest: subject.digest,
            size: subject.size_bytes,
            artifact_type: None,
            platform: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let manifest_bytes = compose::referrer(&described, &bundle, predicate_type);
        let manifest = Manifest::parse(&manifest_bytes, media_type::OCI_MANIFEST).map_err(AttachError::Manifest)?;
        let original = subject.origin.as_ref().filter(|origin| origin.contains('/'));
        let original = original.and_then(|origin| origin.parse().ok());
        Ok(Self { subject: subject.digest, original, manifest, manifest_bytes, bundle })
    }

    /// Digest of the manifest that attaches it.
    pub const fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// Judges the image with the new document beside it, writes the document's bytes, and says what makes it visible.
    pub fn admit(&self, to: &Stored<'_>, policy: &TrustPolicy, now: Timestamp) -> Result<Vec<Change>, AttachError> {
        let there = to.store.referrers_page(to.repository, &self.subject, None, REFERRERS_COUNT_MAX)?;
        if there.len() == REFERRERS_COUNT_MAX {
            return Err(AttachError::TooMany(self.subject));
        }
        let (repository, original) = (to.repository.clone(), self.original.clone());
        let candidate = Candidate { repository, original, root: self.subject, tags: Vec::new() };
        let image = match judge(policy, &candidate, &With { stored: to, attachment: self }, now) {
            Ok(Judgement::Admitted(image)) => image,
            Ok(Judgement::Refused { refusal, .. }) => return Err(refusal.into()),
            Err(error) => return Err(error.refusal().map_or(AttachError::Admission(error), AttachError::Refused)),
        };
        let own = |companion: &Admitted<Manifest>| companion.get().digest == self.manifest.digest;
        let companion = image.companions.into_iter().map(|(_, companion)| companion).find(own);
        // Its subject is the image, so only too many others can have hidden it.
        self.changes(to, companion.ok_or(AttachError::TooMany(self.subject))?)
    }

    fn changes(&self, to: &Stored<'_>, companion: Admitted<Manifest>) -> Result<Vec<Change>, AttachError> {
        for content in [&self.manifest_bytes, &self.bundle, &compose::EMPTY.to_vec()] {
            to.store.blobs().put(content)?;
        }
        let link = |digest, size_bytes| Change::LinkBlob {
            repository: to.repository.clone(),
            digest,
            size_bytes,
            via: LinkVia::Upload,
        };
        let blobs = self.manifest.edges().filter(|edge| edge.kind == EdgeKind::Blob);
        let mut changes: Vec<Change> = blobs.map(|edge| link(edge.digest, edge.size)).collect();
        let repository = to.repository.clone();
        changes.push(Change::Publish { repository, manifest: companion, sparse: false, origin: None });
        Ok(changes)
    }
}

/// The repository as it would be.
struct With<'a> {
    stored: &'a Stored<'a>,
    attachment: &'a Attachment,
}

impl Content for With<'_> {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        let own = &self.attachment.manifest;
        if *digest == own.digest {
            return Ok(Some((own.media_type.clone(), self.attachment.manifest_bytes.clone())));
        }
        self.stored.manifest_by_digest(digest)
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        self.stored.tag(tag)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        let mut referrers = self.stored.referrers(subject)?;
        let own = self.attachment.manifest.digest;
        if *subject == self.attachment.subject && !referrers.contains(&own) {
            referrers.insert(0, own);
        }
        Ok(referrers)
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        self.stored.open(digest)
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        if *digest == Digest::of(&self.attachment.bundle) {
            return Ok(Some(self.attachment.bundle.clone()).filter(|bundle| bundle.len() <= limit_bytes));
        }
        self.stored.blob(digest, limit_bytes)
    }
}
