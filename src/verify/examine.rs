//! One document of evidence, examined once: who made it, what it says and about what.
//!
//! Rules come later. What could not be verified keeps what it claims, for the text of a refusal and for nothing else.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use serde_json::Value;

use super::artifact::Artifact;
use super::cosign_legacy::{self, SIGNATURE_ANNOTATION, keyless_material};
use super::evidence::{EvidenceContent, EvidenceItem, NotationForm};
use super::key::PublicKey;
pub use super::maker::{Doubt, Maker, Trusted};
use super::notation::{self, cose, jws};
use super::policy::SignedName;
use super::sigstore::bundle::KeylessMaterial;
use super::sigstore::{self, Bundle, Material, SignedContent};
use super::slsa;
use super::statement::{self, Statement};
use crate::dsse::Envelope;
use crate::limits::EVIDENCE_BYTES_MAX;
use crate::oci::digest::Digest;

/// What came of one document.
#[derive(Clone, Debug)]
pub struct Finding {
    pub document: Digest,
    /// What it says; `None` where it cannot even be read. Believed only where `maker` is known.
    pub says: Option<Says>,
    /// Who made it, or why that is not known.
    pub maker: Result<Maker, Doubt>,
    /// Whether it speaks of the image in question.
    pub about: About,
    /// The name that it says the image has, where its form says one.
    pub signed_name: Option<SignedName>,
}

/// What kind of thing a document says.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    Signature,
    Attestation(Attestation),
}

/// As much of an attestation as rules ask about.
#[derive(Clone, Debug, PartialEq)]
pub struct Attestation {
    pub predicate_type: String,
    pub builder: Option<String>,
    pub build_type: Option<String>,
    pub predicate: Value,
}

/// Of what a document speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Target,
    /// Of others; the first of them.
    Another(Option<Digest>),
}

/// What is being asked about.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub digest: Digest,
    pub bytes: &'a [u8],
    pub media_type: &'a str,
}

/// Examines one document.
pub fn examine(item: &EvidenceItem, trusted: &Trusted<'_>, target: Target<'_>) -> Finding {
    let examined = match &item.content {
        EvidenceContent::CosignSignature { payload, annotations } => {
            simple_signing(payload, annotations, trusted, target)
        }
        EvidenceContent::Envelope { bytes, annotations } => match Envelope::parse(bytes, EVIDENCE_BYTES_MAX) {
            Ok(envelope) => match keyless_material(annotations) {
                None => examine_envelope(envelope, &By::Key { timestamps: &[] }, trusted, target),
                Some(Some(material)) => examine_envelope(envelope, &By::Certificate(&material), trusted, target),
                Some(None) => examine_envelope(envelope, &By::Unreadable, trusted, target),
            },
            Err(error) => Examined::unreadable(&error),
        },
        EvidenceContent::SigstoreBundle(bytes) => match sigstore::parse(bytes) {
            Ok(bundle) => examine_bundle(bundle, trusted, target),
            Err(error) => Examined::unreadable(&error),
        },
        EvidenceContent::Notation { bytes, form } => examine_notation(bytes, *form, trusted, target),
        EvidenceContent::Unsigned(bytes) => examine_unsigned(bytes, target),
        EvidenceContent::Unusable(reason) => Examined::unreadable(&reason),
    };
    let signed_name = match &item.content {
        EvidenceContent::CosignSignature { payload, .. } => cosign_legacy::signed_name(payload),
        _ => None,
    };
    Finding { document: item.digest, says: examined.says, maker: examined.maker, about: examined.about, signed_name }
}

struct Examined {
    says: Option<Says>,
    maker: Result<Maker, Doubt>,
    about: About,
}

impl Examined {
    fn unreadable(why: &dyn fmt::Display) -> Self {
        Self { says: None, maker: Err(Doubt::Unreadable(why.to_string())), about: About::Another(None) }
    }
}

/// By what a document is to be verified.
enum By<'a> {
    Key {
        timestamps: &'a [Vec<u8>],
    },
    Certificate(&'a KeylessMaterial),
    /// There is a certificate, and what comes with it cannot be read.
    Unreadable,
}

fn about(subjects: &[Digest], target: Target<'_>) -> About {
    let named = Artifact::Bytes(target.bytes).is_among(subjects) || subjects.contains(&target.digest);
    if named { About::Target } else { About::Another(subjects.first().copied()) }
}

fn unreadable_parts() -> Doubt {
    Doubt::Keyless("what came with its certificate cannot be read".to_owned())
}

fn maker(by: &By<'_>, content: &SignedContent, artifact: Artifact<'_>, trusted: &Trusted<'_>) -> Result<Maker, Doubt> {
    match by {
        By::Key { timestamps } => {
            let encoded = match content {
                SignedContent::Envelope(envelope) => Some(envelope.signed_bytes()),
                SignedContent::Message { .. } => None,
            };
            let signature = content.signature();
            let verifies = |key: &PublicKey| match &encoded {
                Some(encoded) => key.verifies(encoded, signature),
                None => artifact.is_signed_by(key, signature),
            };
            trusted.by_key(verifies, timestamps, signature)
        }
        By::Certificate(material) => trusted.by_certificate(material, content, artifact),
        By::Unreadable => Err(unreadable_parts()),
    }
}

fn simple_signing(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    trusted: &Trusted<'_>,
    target: Target<'_>,
) -> Examined {
    let signed = match cosign_legacy::signed_digest(payload) {
        Ok(signed) => signed,
        Err(error) => return Examined::unreadable(&error),
    };
    let signature = annotations.get(SIGNATURE_ANNOTATION).and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let Some(signature) = signature else {
        return Examined::unreadable(&"the layer carries no signature in base64");
    };
    let content = SignedContent::Message { signature, claimed: None };
    let by_key = || maker(&By::Key { timestamps: &[] }, &content, Artifact::Bytes(payload), trusted);
    let made_by = match keyless_material(annotations) {
        None => by_key(),
        // Made with a key and a certificate beside it: the key is enough where the policy names it.
        Some(material) => by_key().or_else(|_| match &material {
            Some(material) => maker(&By::Certificate(material), &content, Artifact::Bytes(payload), trusted),
            None => Err(unreadable_parts()),
        }),
    };
    Examined { says: Some(Says::Signature), maker: made_by, about: about(&[signed], target) }
}

fn examine_bundle(bundle: Bundle, trusted: &Trusted<'_>, target: Target<'_>) -> Examined {
    let by = match &bundle.material {
        Material::Key { timestamps } => By::Key { timestamps },
        Material::Keyless(material) => By::Certificate(material),
    };
    match bundle.content {
        SignedContent::Envelope(envelope) => examine_envelope(envelope, &by, trusted, target),
        // A bare signature holds nothing that says of what: it verifies over this manifest's bytes, or it is not known whose.
        SignedContent::Message { claimed, .. } => Examined {
            says: Some(Says::Signature),
            maker: maker(&by, &bundle.content, Artifact::Bytes(target.bytes), trusted),
            about: match claimed {
                Some(digest) if Artifact::Bytes(target.bytes).digest(digest.algorithm()) != Some(digest) => {
                    About::Another(Some(digest))
                }
                _ => About::Target,
            },
        },
    }
}

fn examine_envelope(envelope: Envelope, by: &By<'_>, trusted: &Trusted<'_>, target: Target<'_>) -> Examined {
    if envelope.payload_type != statement::PAYLOAD_TYPE {
        let kind: String = envelope.payload_type.chars().take(120).collect();
        return Examined::unreadable(&format_args!(
            "the envelope's payload is of type '{kind}', expected '{}'",
            statement::PAYLOAD_TYPE
        ));
    }
    let statement = match Statement::parse(&envelope.payload) {
        Ok(statement) => statement,
        Err(error) => return Examined::unreadable(&error),
    };
    let content = SignedContent::Envelope(envelope);
    let made_by = maker(by, &content, Artifact::Bytes(target.bytes), trusted);
    let about = about(&statement.subjects, target);
    Examined { says: Some(says(statement)), maker: made_by, about }
}

fn examine_notation(bytes: &[u8], form: NotationForm, trusted: &Trusted<'_>, target: Target<'_>) -> Examined {
    let parsed = match form {
        NotationForm::Jws => jws::parse(bytes),
        NotationForm::Cose => cose::parse(bytes),
    };
    let envelope = match parsed {
        Ok(envelope) => envelope,
        Err(error) => return Examined::unreadable(&format_args!("the Notation signature is not taken: {error}")),
    };
    let asked =
        notation::Target { media_type: target.media_type, digest: target.digest, size: target.bytes.len() as u64 };
    let signed = &envelope.target;
    let about = if signed.digest == target.digest { About::Target } else { About::Another(Some(signed.digest)) };
    Examined { says: Some(Says::Signature), maker: trusted.by_notation(&envelope, &asked), about }
}

fn examine_unsigned(bytes: &[u8], target: Target<'_>) -> Examined {
    match Statement::parse(bytes) {
        Ok(statement) => Examined {
            about: about(&statement.subjects, target),
            says: Some(says(statement)),
            maker: Err(Doubt::Unsigned),
        },
        Err(error) => Examined::unreadable(&error),
    }
}

fn says(statement: Statement) -> Says {
    if statement.predicate_type == statement::COSIGN_SIGNATURE {
        return Says::Signature;
    }
    let paths = slsa::paths(&statement.predicate_type);
    let text = |path: Option<&str>, predicate: &Value| {
        path.and_then(|path| slsa::text_at(predicate, path)).map(ToOwned::to_owned)
    };
    Says::Attestation(Attestation {
        builder: text(paths.map(|paths| paths.builder), &statement.predicate),
        build_type: text(paths.map(|paths| paths.build_type), &statement.predicate),
        predicate_type: statement.predicate_type,
        predicate: statement.predicate,
    })
}
