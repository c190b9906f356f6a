//! Finds what speaks of a manifest: referrers, the referrers fallback tag, and cosign's tags.
//!
//! Anybody who may push can write lists, annotations, tags and subjects. They say where to look and nothing more: each
//! manifest is opened, and what counts is what was signed. A list's claim about a type is never used as a filter.

use std::collections::BTreeSet;

use super::content::{Reader, hashes_to};
use super::error::AdmissionError;
use crate::limits::{EVIDENCE_BYTES_MAX, EVIDENCE_LAYERS_COUNT_MAX, EVIDENCE_MANIFESTS_COUNT_MAX};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::Tag;
use crate::oci::signature_tag::{self, KINDS, SignatureTagKind};
use crate::verify::{Evidence, EvidenceContent, EvidenceItem};

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

/// A `.sbom` tag holds a list that nobody signed.
fn is_sbom(tag: Option<&Tag>) -> bool {
    tag.and_then(signature_tag::parse).is_some_and(|(_, kind)| kind == SignatureTagKind::Sbom)
}

const NOTATION: [&str; 2] = ["application/jose+json", "application/cose"];

/// The document in a layer; `None` where the layer is of a kind that proves nothing.
fn read_layer(reader: &Reader<'_>, layer: &Descriptor) -> Result<Option<EvidenceContent>, AdmissionError> {
    let kind = media_type::essence(&layer.media_type);
    let is_bundle = kind.starts_with(media_type::SIGSTORE_BUNDLE_PREFIX);
    let unusable = |reason: &str| Ok(Some(EvidenceContent::Unusable(reason.to_owned())));
    if NOTATION.contains(&kind) {
        return unusable("it is a Notation signature, which is not verified in this version");
    }
    if !is_bundle && kind != media_type::COSIGN_SIMPLE_SIGNING && kind != media_type::DSSE_ENVELOPE {
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
    Ok(Some(if is_bundle {
        EvidenceContent::SigstoreBundle(bytes)
    } else if kind == media_type::DSSE_ENVELOPE {
        EvidenceContent::Envelope(bytes)
    } else {
        EvidenceContent::CosignSignature { payload: bytes, annotations: layer.annotations.clone() }
    }))
}
