//! [`Admitted`]: the proof, in a type, that something passed the gate.
//!
//! The field is private and a verdict that passed is the only mint, so that the store cannot be handed a manifest that
//! nobody judged. What an admitted manifest covers (its children, the evidence about it) is admitted through it, by
//! digest and never by what a tag, an annotation or a list says.

use std::sync::Arc;

use super::refusal::Refusal;
use super::rule_names;
use super::verdict::{Outcome, Verdict};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::{RepositoryName, Tag};
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
    #[error("manifest '{0}' is on the deny list of the trust policy")]
    Denied(Digest),
    #[error("manifest '{0}' was admitted as something said about an image and covers nothing itself")]
    Companion(Digest),
}

impl Verdict {
    /// The mint: `target` must be the manifest that was judged, and every rule must have passed.
    pub fn admit(self: &Arc<Self>, target: Manifest) -> Result<Admitted<Manifest>, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        if self.outcome() != Outcome::Passed {
            return Err(self.about_another(&target));
        }
        self.mint(target)
    }

    /// The same where rules are not enforced: what one of them refuses is let in, and the verdict says so. What the deny list
    /// names, and what is not what it says it is, is not.
    pub fn admit_unenforced(self: &Arc<Self>, target: Manifest) -> Result<Admitted<Manifest>, Refusal> {
        let refusals = self.rules().iter().filter(|rule| rule.outcome == Outcome::Failed);
        if refusals.map(|rule| rule.rule.as_str()).any(|rule| rule_names::ABOVE_PROJECTS.contains(&rule)) {
            return Err(self.refusal().unwrap_or_else(|| self.about_another(&target)));
        }
        self.mint(target)
    }

    fn mint(self: &Arc<Self>, target: Manifest) -> Result<Admitted<Manifest>, Refusal> {
        if *self.target() != target.digest {
            return Err(self.about_another(&target));
        }
        Ok(Admitted { inner: target, verdict: Arc::clone(self), standing: Standing::Image })
    }

    fn about_another(&self, target: &Manifest) -> Refusal {
        Refusal {
            rule: rule_names::INTEGRITY.to_owned(),
            reason: format!("the verdict is about '{}', not about '{}'", self.target(), target.digest),
            next_step: None,
        }
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

    /// Whether it was judged for this name. Admitted under one name says nothing about another.
    pub fn is_for(&self, repository: &RepositoryName) -> bool {
        self.verdict.repository() == repository
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

    /// Admits `companion` because it speaks of this manifest: its subject is this digest, or it stands under `tag`, which
    /// is made from this digest (`sha256-<hex>`, `.sig`, `.att`, `.sbom`). What a container runtime would run is refused.
    pub fn companion(&self, companion: Manifest, tag: Option<&Tag>) -> Result<Self, NotCovered> {
        let subject = *self.covering()?;
        check_companion(&companion, tag, &subject)?;
        Ok(Self { inner: companion, verdict: Arc::clone(&self.verdict), standing: Standing::Companion })
    }
}

/// Whether `companion` speaks of `subject`, as [`Admitted::companion`] has it.
pub fn check_companion(companion: &Manifest, tag: Option<&Tag>, subject: &Digest) -> Result<(), NotCovered> {
    let named = companion.subject.as_ref().map(|named| named.digest);
    let tag_kind = tag.and_then(signature_tag::parse).filter(|(digest, _)| digest == subject).map(|(_, kind)| kind);
    let speaks_of_this = match tag {
        // cosign's older forms have no subject; where there is one, it may not contradict the tag.
        Some(_) => tag_kind.is_some() && named.is_none_or(|named| named == *subject),
        None => named == Some(*subject),
    };
    if !speaks_of_this {
        return Err(NotCovered::SpeaksOfAnother(companion.digest));
    }
    // An index can be nothing but the list of referrers under its tag: any other could list images.
    let is_list = tag_kind == Some(SignatureTagKind::ReferrersFallback);
    if companion.is_index() != is_list || is_runnable(companion) {
        return Err(NotCovered::Runnable(companion.digest));
    }
    Ok(())
}

/// Configs that no runtime takes for an image's: OCI's empty one, and notation's.
const ARTIFACT_CONFIGS: [&str; 2] = [media_type::OCI_EMPTY, "application/vnd.cncf.notary.signature"];
const RUNNABLE_LAYER_PREFIXES: [&str; 4] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.wasm.",
    "application/wasm",
];
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

/// Whether its config is known to be none of an image.
pub fn has_artifact_config(manifest: &Manifest) -> bool {
    let kind = |config: &Descriptor| media_type::essence(&config.media_type).to_owned();
    manifest.config.as_ref().is_some_and(|config| ARTIFACT_CONFIGS.contains(&&*kind(config)))
}

/// Whether a container runtime might run it. Under a config that is known to be none of an image, any layer goes but a
/// runnable one; under any other config (cosign's signatures have an image's) every layer must be a known document.
fn is_runnable(manifest: &Manifest) -> bool {
    if manifest.is_index() {
        return false;
    }
    let kind = |part: &Descriptor| media_type::essence(&part.media_type).to_owned();
    let is_document = |layer: &Descriptor| {
        let kind = kind(layer);
        DOCUMENT_LAYERS.contains(&&*kind) || kind.starts_with(media_type::SIGSTORE_BUNDLE_PREFIX)
    };
    let is_runnable_layer = |layer: &Descriptor| {
        // Types are compared without regard to case (RFC 6838).
        let media_type = layer.media_type.to_ascii_lowercase();
        RUNNABLE_LAYER_PREFIXES.iter().any(|prefix| media_type.starts_with(prefix))
    };
    if has_artifact_config(manifest) {
        manifest.parts.iter().any(is_runnable_layer)
    } else {
        !manifest.parts.iter().all(is_document)
    }
}

#[cfg(test)]
impl Admitted<Manifest> {
    /// An admitted manifest for tests of what comes after the gate.
    pub(crate) fn for_test(repository: &RepositoryName, manifest: Manifest) -> Self {
        let verdict = Verdict {
            outcome: Outcome::Passed,
            target: manifest.digest,
            repository: repository.clone(),
            original: None,
            rules: Vec::new(),
            policy_digest: Digest::of(b"test policy"),
            evidence_digests: Vec::new(),
            time_used: jiff::Timestamp::UNIX_EPOCH,
            proved_time: None,
        };
        Self { inner: manifest, verdict: Arc::new(verdict), standing: Standing::Image }
    }
}

#[cfg(test)]
mod tests {
    use super::{Admitted, NotCovered};
    use crate::oci::digest::Digest;
    use crate::oci::manifest::Manifest;
    use crate::oci::media_type::{COSIGN_SIMPLE_SIGNING, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
    use crate::oci::signature_tag::SignatureTagKind;

    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

    fn descriptor(media_type: &str, digest: &Digest) -> serde_json::Value {
        serde_json::json!({"mediaType": media_type, "digest": digest, "size": 1})
    }

    fn document(config: &str, layer: &str, subject: Option<&Digest>) -> Manifest {
        let mut body = serde_json::json!({
            "schemaVersion": 2,
            "config": descriptor(config, &Digest::of(b"config")),
            "layers": [descriptor(layer, &Digest::of(b"layer"))],
        });
        if let Some(subject) = subject {
            body["subject"] = descriptor(OCI_MANIFEST, subject);
        }
        Manifest::parse(&serde_json::to_vec(&body).unwrap(), OCI_MANIFEST).unwrap()
    }

    fn index(children: &[&Manifest]) -> Manifest {
        let children: Vec<_> = children.iter().map(|child| descriptor(OCI_MANIFEST, &child.digest)).collect();
        let body = serde_json::json!({"schemaVersion": 2, "manifests": children});
        Manifest::parse(&serde_json::to_vec(&body).unwrap(), OCI_INDEX).unwrap()
    }

    #[test]
    fn a_child_is_a_member_or_nothing() {
        let (member, stranger) = (document(OCI_CONFIG, LAYER, None), document(OCI_CONFIG, "x/y", None));
        let admitted = Admitted::for_test(&"test".parse().unwrap(), index(&[&member]));
        let child = admitted.child(member.clone()).unwrap();
        assert_eq!(child.get().digest, member.digest);
        let digest = stranger.digest;
        assert_eq!(admitted.child(stranger.clone()).unwrap_err(), NotCovered::NotAMember(digest));
        // A member that is no index covers nobody.
        assert_eq!(child.child(stranger).unwrap_err(), NotCovered::NotAMember(digest));
    }

    #[test]
    fn a_companion_speaks_of_what_was_admitted_and_cannot_be_run() {
        let image = document(OCI_CONFIG, LAYER, None);
        let (own, other) = (image.digest, Digest::of(b"other"));
        let admitted = Admitted::for_test(&"test".parse().unwrap(), image);
        let tag = |kind: SignatureTagKind, digest: &Digest| Some(kind.tag_for(digest));
        let check =
            |manifest: Manifest, tag: Option<crate::oci::name::Tag>, expected: Option<fn(Digest) -> NotCovered>| {
                let digest = manifest.digest;
                let result = admitted.companion(manifest, tag.as_ref()).err();
                assert_eq!(result, expected.map(|make| make(digest)), "{tag:?}");
            };
        let signature = |subject| document(OCI_CONFIG, COSIGN_SIMPLE_SIGNING, subject);
        let list = || index(&[&signature(None)]);
        use NotCovered::{Runnable, SpeaksOfAnother};
        use SignatureTagKind::{ReferrersFallback, Sbom, Signature};
        check(signature(Some(&own)), None, None);
        check(signature(None), tag(Signature, &own), None);
        check(signature(Some(&own)), tag(Signature, &own), None);
        check(document(OCI_EMPTY, "text/plain", Some(&own)), None, None);
        check(document(OCI_CONFIG, "text/spdx+json", None), tag(Sbom, &own), None);
        check(list(), tag(ReferrersFallback, &own), None);
        check(signature(None), None, Some(SpeaksOfAnother));
        check(signature(Some(&other)), None, Some(SpeaksOfAnother));
        check(signature(None), tag(Signature, &other), Some(SpeaksOfAnother));
        check(signature(Some(&other)), tag(Signature, &own), Some(SpeaksOfAnother));
        check(signature(Some(&own)), Some("latest".parse().unwrap()), Some(SpeaksOfAnother));
        check(list(), None, Some(SpeaksOfAnother));
        check(list(), tag(Signature, &own), Some(Runnable));
        check(signature(None), tag(ReferrersFallback, &own), Some(Runnable));
        check(document(OCI_CONFIG, LAYER, Some(&own)), None, Some(Runnable));
        check(document(OCI_CONFIG, "text/plain", Some(&own)), None, Some(Runnable));
        check(document(OCI_EMPTY, LAYER, Some(&own)), None, Some(Runnable));
        check(document("application/vnd.wasm.config.v0+json", "x/y", Some(&own)), None, Some(Runnable));
    }

    #[test]
    fn a_companion_covers_nothing() {
        let image = document(OCI_CONFIG, LAYER, None);
        let evil = document(OCI_CONFIG, "x/y", None);
        let tag = SignatureTagKind::ReferrersFallback.tag_for(&image.digest);
        let list = Admitted::for_test(&"test".parse().unwrap(), image).companion(index(&[&evil]), Some(&tag)).unwrap();
        let digest = list.get().digest;
        assert_eq!(list.child(evil.clone()).unwrap_err(), NotCovered::Companion(digest));
        assert_eq!(list.companion(evil, None).unwrap_err(), NotCovered::Companion(digest));
    }
}
