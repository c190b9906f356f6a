//! Finds what speaks of a manifest: referrers, the referrers fallback tag, and cosign's tags.
//!
//! Anybody who may push can write lists, annotations, tags and subjects. They say where to look and nothing more: each
//! manifest is opened, and what counts is what was signed. A list's claim about a type is never used as a filter.

use std::collections::BTreeSet;

use super::content::{Reader, hashes_to};
use super::error::AdmissionError;
use crate::limits::{
    EVIDENCE_BYTES_MAX, EVIDENCE_LAYERS_COUNT_MAX, EVIDENCE_MANIFESTS_COUNT_MAX, EVIDENCE_UNSIGNED_COUNT_MAX,
};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::Tag;
use crate::oci::signature_tag::{self, KINDS, SignatureTagKind};
use crate::verify::{Evidence, EvidenceContent, EvidenceItem, NotationForm};

/// What was found about one manifest. Nothing of it is verified.
#[derive(Debug, Default)]
pub struct Found {
    /// Manifests, in the order in which they were found, with the tag that led there.
    pub manifests: Vec<(Option<Tag>, Manifest)>,
    /// Manifests that were named but cannot be used, and why.
    unusable: Vec<(Digest, String)>,
    over_limit: bool,
}

/// Finds everything that may speak of `subject`.
pub fn find(reader: &mut Reader<'_>, subject: &Digest) -> Result<Found, AdmissionError> {
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for kind in KINDS {
        let tag = kind.tag_for(subject);
        let Some(digest) = reader.tag(&tag)? else { continue };
        let fallback = kind == SignatureTagKind::ReferrersFallback;
        let listed =
            found.open(reader, digest, Some(tag), &mut seen)?.filter(|manifest| fallback && manifest.is_index());
        let listed: Vec<Digest> = listed
            .iter()
            .flat_map(|list| list.edges())
            .filter(|edge| edge.kind == EdgeKind::Manifest)
            .map(|edge| edge.digest)
            .collect();
        for digest in listed {
            found.open(reader, digest, None, &mut seen)?;
        }
    }
    for digest in reader.referrers(subject)? {
        found.open(reader, digest, None, &mut seen)?;
    }
    Ok(found)
}

impl Found {
    /// Opens a manifest once. One that is absent or damaged is noted and hides no other.
    fn open(
        &mut self,
        reader: &mut Reader<'_>,
        digest: Digest,
        tag: Option<Tag>,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<Option<Manifest>, AdmissionError> {
        if tag.is_none() && seen.contains(&digest) {
            return Ok(None);
        }
        if self.manifests.len() + self.unusable.len() == EVIDENCE_MANIFESTS_COUNT_MAX {
            self.over_limit = true;
            return Ok(None);
        }
        seen.insert(digest);
        match reader.manifest(&digest) {
            Ok(Some((manifest, _))) => {
                self.manifests.push((tag, manifest.clone()));
                return Ok(Some(manifest));
            }
            Ok(None) => self.unusable.push((digest, "the manifest that holds it is not there".to_owned())),
            // A source that fails may be hiding the one signature that counts: no conclusion, try again.
            Err(error @ (AdmissionError::Unread { .. } | AdmissionError::TooMuch)) => return Err(error),
            Err(error) => self.unusable.push((digest, error.whole_text())),
        }
        Ok(None)
    }

    /// Reads the documents out of the manifests that were found.
    pub fn read_evidence(&self, reader: &Reader<'_>) -> Result<Evidence, AdmissionError> {
        let mut evidence = Evidence::default();
        if self.over_limit {
            evidence.exceed();
        }
        for (digest, reason) in &self.unusable {
            let content = EvidenceContent::Unusable(reason.clone());
            evidence.add(EvidenceItem { manifest: *digest, digest: *digest, content });
        }
        for (tag, manifest) in &self.manifests {
            if manifest.is_index() || is_sbom(tag.as_ref()) {
                continue;
            }
            if manifest.parts.len() > EVIDENCE_LAYERS_COUNT_MAX {
                evidence.exceed();
            }
            for layer in manifest.parts.iter().take(EVIDENCE_LAYERS_COUNT_MAX) {
                if evidence.is_over_limit() {
                    return Ok(evidence);
                }
                if let Some(content) = read_layer(reader, layer)? {
                    evidence.add(EvidenceItem { manifest: manifest.digest, digest: layer.digest, content });
                }
            }
        }
        Ok(evidence)
    }
}

/// What BuildKit writes beside an image that lies in the index as a manifest of attestations.
const REFERENCE_TYPE: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");
/// A Statement without an envelope around it: nobody signed it.
const STATEMENT: &str = "application/vnd.in-toto+json";

/// Adds the attestations that lie in an index, unsigned. They prove nothing; a refusal can say that they are there. What
/// cannot be read of them is passed over, since nothing depends on it.
pub fn read_unsigned(reader: &mut Reader<'_>, index: &Manifest, evidence: &mut Evidence) -> Result<(), AdmissionError> {
    let (key, value) = REFERENCE_TYPE;
    let listed = index.parts.iter().filter(|part| part.annotations.get(key).is_some_and(|found| found == value));
    for part in listed.take(EVIDENCE_UNSIGNED_COUNT_MAX) {
        let Ok(Some((manifest, _))) = reader.manifest(&part.digest) else { continue };
        for layer in manifest.parts.iter().take(EVIDENCE_UNSIGNED_COUNT_MAX) {
            if media_type::essence(&layer.media_type) != STATEMENT || layer.size > EVIDENCE_BYTES_MAX as u64 {
                continue;
            }
            let Some(bytes) = reader.blob(&layer.digest, EVIDENCE_BYTES_MAX)? else { continue };
            if hashes_to(&bytes, &layer.digest) && evidence.has_room_for(bytes.len()) {
                let content = EvidenceContent::Unsigned(bytes);
                evidence.add(EvidenceItem { manifest: manifest.digest, digest: layer.digest, content });
            }
        }
    }
    Ok(())
}

/// A `.sbom` tag holds a list that nobody signed.
fn is_sbom(tag: Option<&Tag>) -> bool {
    tag.and_then(signature_tag::parse).is_some_and(|(_, kind)| kind == SignatureTagKind::Sbom)
}

/// Notation's envelopes, by the type of their layer.
fn notation_form(kind: &str) -> Option<NotationForm> {
    match kind {
        "application/jose+json" => Some(NotationForm::Jws),
        "application/cose" => Some(NotationForm::Cose),
        _ => None,
    }
}

/// The document in a layer; `None` where the layer is of a kind that proves nothing.
fn read_layer(reader: &Reader<'_>, layer: &Descriptor) -> Result<Option<EvidenceContent>, AdmissionError> {
    let kind = media_type::essence(&layer.media_type);
    let is_bundle = kind.starts_with(media_type::SIGSTORE_BUNDLE_PREFIX);
    let unusable = |reason: &str| Ok(Some(EvidenceContent::Unusable(reason.to_owned())));
    let form = notation_form(kind);
    if !is_bundle && form.is_none() && kind != media_type::COSIGN_SIMPLE_SIGNING && kind != media_type::DSSE_ENVELOPE {
        return Ok(None);
    }
    if layer.size > EVIDENCE_BYTES_MAX as u64 {
        return unusable("it is larger than is looked at (evidence-limit)");
    }
    let Some(bytes) = reader.blob(&layer.digest, EVIDENCE_BYTES_MAX)? else {
        return unusable("its bytes are not there");
    };
    if bytes.len() > EVIDENCE_BYTES_MAX || !hashes_to(&bytes, &layer.digest) {
        return unusable("its bytes do not hash to their digest");
    }
    let annotations = layer.annotations.clone();
    Ok(Some(if is_bundle {
        EvidenceContent::SigstoreBundle(bytes)
    } else if let Some(form) = form {
        EvidenceContent::Notation { bytes, form }
    } else if kind == media_type::DSSE_ENVELOPE {
        EvidenceContent::Envelope { bytes, annotations }
    } else {
        EvidenceContent::CosignSignature { payload: bytes, annotations }
    }))
}
