//! What there is to be had about an image: its platforms, and the documents that speak of each, as somebody who chooses an
//! image wants to see them.
//!
//! It lists what is there and says nothing of what it is worth: whoever may push can attach anything. That is the verdict's.

use serde::{Deserialize, Serialize};

use super::content::{Content, Reader};
use super::error::AdmissionError;
use super::gather;
use crate::limits::{CONFIG_BYTES_MAX, DESCRIBED_PLATFORMS_COUNT_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_LAYERS_COUNT_MAX};
use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::Tag;
use crate::oci::signature_tag::{self, SignatureTagKind};
use statement::predicate_type;

/// What a document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// That somebody stands for the image.
    Signature,
    /// What it is made of (SPDX, CycloneDX).
    Sbom,
    /// How it was built (SLSA).
    Provenance,
    /// Anything else.
    Attestation,
}

/// How a document is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentForm {
    /// In the index itself, as BuildKit does it. Not signed.
    Index,
    /// As a referrer, which names the image as its subject.
    Referrer,
    /// Under a tag made out of the digest, as cosign did it.
    Tag,
}

/// A document that speaks of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Document {
    pub kind: DocumentKind,
    pub form: DocumentForm,
    /// Type of the predicate, or of the document where it is none.
    pub document_type: String,
    /// The manifest that holds it.
    pub manifest: Digest,
    /// The layer with it.
    pub digest: Digest,
    pub size_bytes: u64,
}

/// A platform of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedPlatform {
    pub platform: String,
    pub digest: Digest,
    /// Whether its manifest is here.
    pub present: bool,
    /// What speaks of this platform alone.
    pub documents: Vec<Document>,
}

/// An image with what there is about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub platforms: Vec<DescribedPlatform>,
    /// What speaks of the whole.
    pub documents: Vec<Document>,
    /// Whether there was more than is looked at.
    pub incomplete: bool,
}

const ATTESTATION_OF: &str = "vnd.docker.reference.digest";
const ATTESTATION_TYPE: &str = "vnd.docker.reference.type";
const PREDICATE_OF_BUILDKIT: &str = "in-toto.io/predicate-type";
const PREDICATE_OF_COSIGN: &str = "predicateType";
const NOTATION: &str = "application/vnd.cncf.notary.signature";

/// Describes the image `digest`; `None` where it is not there.
pub fn describe(content: &dyn Content, digest: &Digest) -> Result<Option<Described>, AdmissionError> {
    let mut reader = Reader::new(content);
    let Some((manifest, _)) = reader.manifest(digest)? else { return Ok(None) };
    let mut described = Described {
        digest: *digest,
        media_type: manifest.media_type.clone(),
        artifact_type: if manifest.is_index() { None } else { manifest.artifact_type.clone() },
        platforms: Vec::new(),
        documents: documents(&mut reader, digest)?,
        incomplete: false,
    };
    if manifest.is_index() {
        describe_index(&mut reader, &manifest, &mut described)?;
    } else if let Some(platform) = own_platform(&reader, &manifest)? {
        // What speaks of its only platform speaks of the image.
        described.platforms.push(DescribedPlatform { platform, digest: *digest, present: true, documents: Vec::new() });
    }
    Ok(Some(described))
}

fn describe_index(reader: &mut Reader<'_>, index: &Manifest, described: &mut Described) -> Result<(), AdmissionError> {
    let is_attestation = |part: &&Descriptor| part.annotations.contains_key(ATTESTATION_TYPE);
    for edge in index.edges().filter(|edge| edge.kind == EdgeKind::Manifest) {
        let Some(platform) = edge.platform.map(|platform| platform.to_string()) else { continue };
        if platform.starts_with("unknown/") {
            continue;
        }
        if described.platforms.len() == DESCRIBED_PLATFORMS_COUNT_MAX {
            described.incomplete = true;
            break;
        }
        let present = reader.manifest(&edge.digest)?.is_some();
        let mut documents = if present { documents(reader, &edge.digest)? } else { Vec::new() };
        let about = |part: &&Descriptor| part.annotations.get(ATTESTATION_OF) == Some(&edge.digest.to_string());
        for part in index.parts.iter().filter(is_attestation).filter(about).take(EVIDENCE_LAYERS_COUNT_MAX) {
            let Some((manifest, _)) = reader.manifest(&part.digest)? else { continue };
            documents.extend(layers(reader, &manifest, DocumentForm::Index)?);
        }
        documents.sort();
        described.platforms.push(DescribedPlatform { platform, digest: edge.digest, present, documents });
    }
    Ok(())
}

/// The platform that an image's config names; none for what is no image.
fn own_platform(reader: &Reader<'_>, manifest: &Manifest) -> Result<Option<String>, AdmissionError> {
    let Some(config) = manifest.config.as_ref().filter(|config| config.size <= CONFIG_BYTES_MAX as u64) else {
        return Ok(None);
    };
    let bytes = reader.blob(&config.digest, CONFIG_BYTES_MAX)?.unwrap_or_default();
    let platform = serde_json::from_slice::<Platform>(&bytes).ok();
    Ok(platform.filter(|platform| !platform.os.is_empty()).map(|platform| platform.to_string()))
}

/// What speaks of `subject`, by referrers and by tags.
fn documents(reader: &mut Reader<'_>, subject: &Digest) -> Result<Vec<Document>, AdmissionError> {
    let found = gather::find(reader, subject)?;
    let mut documents = Vec::new();
    for (tag, manifest) in &found.manifests {
        // A list of what speaks of it, which the list itself does not.
        if manifest.is_index() {
            continue;
        }
        let form = if tag.is_some() { DocumentForm::Tag } else { DocumentForm::Referrer };
        let is_signature_tag = kind_of_tag(tag.as_ref()) == Some(SignatureTagKind::Signature);
        let found = layers(reader, manifest, form)?.into_iter();
        documents.extend(found.map(|document| match is_signature_tag {
            true => Document { kind: DocumentKind::Signature, ..document },
            false => document,
        }));
    }
    documents.sort();
    documents.dedup();
    Ok(documents)
}

fn kind_of_tag(tag: Option<&Tag>) -> Option<SignatureTagKind> {
    tag.and_then(signature_tag::parse).map(|(_, kind)| kind)
}

fn layers(reader: &Reader<'_>, manifest: &Manifest, form: DocumentForm) -> Result<Vec<Document>, AdmissionError> {
    let mut documents = Vec::new();
    for layer in manifest.parts.iter().take(EVIDENCE_LAYERS_COUNT_MAX) {
        let document_type = document_type(reader, manifest, layer)?;
        documents.push(Document {
            kind: kind_of(&document_type),
            form,
            document_type,
            manifest: manifest.digest,
            digest: layer.digest,
            size_bytes: layer.size,
        });
    }
    Ok(documents)
}

/// The type of the predicate, where the layer or its description tells it; otherwise the type of what it is.
fn document_type(reader: &Reader<'_>, manifest: &Manifest, layer: &Descriptor) -> Result<String, AdmissionError> {
    for name in [PREDICATE_OF_BUILDKIT, PREDICATE_OF_COSIGN] {
        if let Some(said) = layer.annotations.get(name) {
            return Ok(said.clone());
        }
    }
    let kind = media_type::essence(&layer.media_type);
    let is_envelope = kind == media_type::DSSE_ENVELOPE || kind.starts_with(media_type::SIGSTORE_BUNDLE_PREFIX);
    if is_envelope
        && layer.size <= EVIDENCE_BYTES_MAX as u64
        && let Some(bytes) = reader.blob(&layer.digest, EVIDENCE_BYTES_MAX)?
        && let Some(said) = predicate_type(&bytes)
    {
        return Ok(said);
    }
    let of_manifest = manifest.artifact_type.clone().unwrap_or_default();
    Ok(if of_manifest == NOTATION { of_manifest } else { kind.to_owned() })
}

fn kind_of(document_type: &str) -> DocumentKind {
    let has = |parts: &[&str]| parts.iter().any(|part| document_type.contains(part));
    if has(&["slsa.dev/provenance"]) {
        DocumentKind::Provenance
    } else if has(&["spdx", "cyclonedx", "syft"]) {
        DocumentKind::Sbom
    } else if has(&["sigstore.dev/cosign/sign", media_type::COSIGN_SIMPLE_SIGNING, NOTATION]) {
        DocumentKind::Signature
    } else {
        DocumentKind::Attestation
    }
}

/// The statement in an envelope, or in a bundle with one.
mod statement {
    use data_encoding::BASE64;
    use serde::Deserialize;

    use crate::limits::MEDIA_TYPE_BYTES_MAX;

    #[derive(Deserialize)]
    struct Envelope {
        payload: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bundle {
        dsse_envelope: Option<Envelope>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statement {
        predicate_type: String,
    }

    /// The type of the predicate.
    pub fn predicate_type(bytes: &[u8]) -> Option<String> {
        let bundle = serde_json::from_slice::<Bundle>(bytes).ok().and_then(|bundle| bundle.dsse_envelope);
        let envelope = bundle.or_else(|| serde_json::from_slice(bytes).ok())?;
        let payload = BASE64.decode(envelope.payload.as_bytes()).ok()?;
        let statement: Statement = serde_json::from_slice(&payload).ok()?;
        Some(statement.predicate_type).filter(|said| said.len() <= MEDIA_TYPE_BYTES_MAX)
    }
}
