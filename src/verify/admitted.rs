//! [`Admitted`]: the proof, in a type, that something passed the gate.
//!
//! The field is private and a verdict that passed is the only mint, so that the store cannot be handed a manifest that
//! nobody judged. What an admitted manifest covers (its children, the evidence about it) is admitted through it, by
//! digest and never by what a tag, an annotation or a list says.

use std::sync::Arc;

use super::refusal::Refusal;
use super::verdict::{Outcome, Verdict};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::Tag;
use crate::oci::signature_tag::{self, SignatureTagKind};

/// Something that passed the gate, and the verdict that let it pass.
#[derive(Clone, Debug)]
pub struct Admitted<T> {
    inner: T,
    verdict: Arc<Verdict>,
    standing: Standing,
}

/// In what capacity a manifest was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Judged itself, or a member of an index that was.
    Image,
    /// Speaks of an image. It covers nothing further, or a list of referrers could carry any image in.
    Companion,
}

/// Why an admitted manifest does not cover another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCovered {
    #[error("manifest '{0}' is not listed in the index that was admitted")]
    NotAMember(Digest),
    #[error(
        "manifest '{0}' neither has the admitted manifest as its subject nor stands under a tag made from its digest"
    )]
    SpeaksOfAnother(Digest),
    #[error("manifest '{0}' could be run as an image, so it is not taken as something said about one")]
    Runnable(Digest),
    #[error("manifest '{0}' was admitted as something said about an image and covers nothing itself")]
    Companion(Digest),
}

impl Verdict {
    /// The one mint: `target` must be the manifest that was judged, and every rule must have passed.
    pub fn admit(self: &Arc<Self>, target: Manifest) -> Result<Admitted<Manifest>, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        if self.outcome() != Outcome::Passed || *self.target() != target.digest {
            return Err(Refusal {
                rule: super::rule_names::INTEGRITY.to_owned(),
                reason: format!("the verdict is about '{}', not about '{}'", self.target(), target.digest),
                next_step: None,
            });
        }
        Ok(Admitted { inner: target, verdict: Arc::clone(self), standing: Standing::Image })
    }
}

impl<T> Admitted<T> {
    /// What was admitted.
    pub const fn get(&self) -> &T {
        &self.inner
    }

    /// What was admitted, without the proof.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// The verdict under which it was.
    pub const fn verdict(&self) -> &Arc<Verdict> {
        &self.verdict
    }
}

impl Admitted<Manifest> {
    fn covering(&self) -> Result<&Digest, NotCovered> {
        match self.standing {
            Standing::Image => Ok(&self.inner.digest),
            Standing::Companion => Err(NotCovered::Companion(self.inner.digest)),
        }
    }

    /// Admits `child` because this index lists it as a manifest. Signing an index covers its platforms in this way only.
    pub fn child(&self, child: Manifest) -> Result<Self, NotCovered> {
        self.covering()?;
        let listed = self.inner.edges().any(|edge| edge.kind == EdgeKind::Manifest && edge.digest == child.digest);
        if !listed {
            return Err(NotCovered::NotAMember(child.digest));
        }
        Ok(Self { inner: child, verdict: Arc::clone(&self.verdict), standing: Standing::Image })
    }

    /// Admits `companion` because it speaks of this manifest: its subject is this digest, or it stands under a tag that
    /// is made from this digest (`sha256-<hex>`, `.sig`, `.att`, `.sbom`). What a container runtime would run is refused.
    pub fn companion(&self, companion: Manifest, tag: Option<&Tag>) -> Result<Self, NotCovered> {
        let subject = *self.covering()?;
        let tag_kind =
            tag.and_then(signature_tag::parse).filter(|(digest, _)| *digest == subject).map(|(_, kind)| kind);
        let by_subject = companion.subject.as_ref().is_some_and(|named| named.digest == subject);
        let by_tag = tag_kind.is_some_and(|kind| (kind == SignatureTagKind::ReferrersFallback) == companion.is_index());
        if !by_subject && !by_tag {
            return Err(NotCovered::SpeaksOfAnother(companion.digest));
        }
        // An index can be nothing but the list of referrers under its tag: any other could list images.
        if is_runnable(&companion) || (companion.is_index() && !by_tag) {
            return Err(NotCovered::Runnable(companion.digest));
        }
        Ok(Self { inner: companion, verdict: Arc::clone(&self.verdict), standing: Standing::Companion })
    }
}

const IMAGE_CONFIGS: [&str; 2] = [media_type::OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];
const IMAGE_LAYER_PREFIXES: [&str; 2] = ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];
/// Layers that cosign puts beside an ordinary image config.
const DOCUMENT_LAYERS: [&str; 10] = [
    media_type::COSIGN_SIMPLE_SIGNING,
    media_type::DSSE_ENVELOPE,
    "text/spdx",
    "text/spdx+xml",
    "text/spdx+json",
    "application/spdx+json",
    "application/vnd.cyclonedx",
    "application/vnd.cyclonedx+xml",
    "application/vnd.cyclonedx+json",
    "application/vnd.syft+json",
];

/// Whether a container runtime might run it. cosign's signatures have an image's config, so their layers must tell; an
/// artifact with a config of its own may hold any layer but an image's.
fn is_runnable(manifest: &Manifest) -> bool {
    if manifest.is_index() {
        return false;
    }
    let image_config = manifest.config.as_ref().is_none_or(|config| IMAGE_CONFIGS.contains(&&*config.media_type));
    let is_document = |layer: &Descriptor| {
        let kind = media_type::essence(&layer.media_type);
        DOCUMENT_LAYERS.contains(&kind) || kind.starts_with(media_type::SIGSTORE_BUNDLE_PREFIX)
    };
    let is_image_layer =
        |layer: &Descriptor| IMAGE_LAYER_PREFIXES.iter().any(|prefix| layer.media_type.starts_with(prefix));
    if image_config { !manifest.parts.iter().all(is_document) } else { manifest.parts.iter().any(is_image_layer) }
}

#[cfg(test)]
impl Admitted<Manifest> {
    /// An admitted manifest for tests of what comes after the gate.
    pub(crate) fn for_test(manifest: Manifest) -> Self {
        let verdict = Verdict {
            outcome: Outcome::Passed,
            target: manifest.digest,
            repository: "test".parse().expect("a literal name"),
            original: None,
            rules: Vec::new(),
            policy_digest: Digest::of(b"test policy"),
            evidence_digests: Vec::new(),
            time_used: jiff::Timestamp::UNIX_EPOCH,
        };
        Self { inner: manifest, verdict: Arc::new(verdict), standing: Standing::Image }
    }
}
