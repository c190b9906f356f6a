//! One document of evidence, examined once: which of the policy's keys made it, what it says and about what.
//!
//! Rules come later. What could not be verified keeps what it claims, for the text of a refusal and for nothing else.

use std::fmt;

use data_encoding::BASE64;
use serde_json::Value;

use super::cosign_legacy::{self, CERTIFICATE_ANNOTATION, SIGNATURE_ANNOTATION};
use super::evidence::{EvidenceContent, EvidenceItem};
use super::key::PublicKey;
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
    /// The name of the key that made it, or why none is known.
    pub maker: Result<String, Doubt>,
    /// Whether it speaks of the image in question.
    pub about: About,
}

/// What kind of thing a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    Signature,
    Attestation(Attestation),
}

/// As much of an attestation as rules ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    pub predicate_type: String,
    pub builder: Option<String>,
    pub build_type: Option<String>,
}

/// Of what a document speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Target,
    /// Of others; the first of them.
    Another(Option<Digest>),
}

/// Why it is not known who made a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It cannot be read.
    Unreadable(String),
    /// It carries a certificate and no key of the policy made it.
    Keyless,
    /// None of the keys that were tried made it.
    NoKey,
}

/// What is being asked about.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub digest: Digest,
    pub bytes: &'a [u8],
}

/// Names and keys, in the order in which they are tried.
pub type Keys<'a> = [(&'a str, &'a PublicKey)];

/// Examines one document.
pub fn examine(item: &EvidenceItem, keys: &Keys<'_>, target: Target<'_>) -> Finding {
    let examined = match &item.content {
        EvidenceContent::CosignSignature { payload, annotations } => {
            let annotation = |key: &str| annotations.get(key).map(String::as_str);
            let keyless = annotation(CERTIFICATE_ANNOTATION).is_some_and(|text| !text.is_empty());
            simple_signing(payload, annotation(SIGNATURE_ANNOTATION), keyless, keys, target)
        }
        EvidenceContent::Envelope(bytes) => match Envelope::parse(bytes, EVIDENCE_BYTES_MAX) {
            Ok(envelope) => examine_envelope(&envelope, keys, target),
            Err(error) => Examined::unreadable(&error),
        },
        EvidenceContent::SigstoreBundle(bytes) => match sigstore::parse(bytes) {
            Ok(Bundle { material: Material::Keyless(_), .. }) => {
                Examined { maker: Err(Doubt::Keyless), ..Examined::nothing() }
            }
            Ok(Bundle { content: SignedContent::Envelope(envelope), .. }) => examine_envelope(&envelope, keys, target),
            Ok(Bundle { content: SignedContent::Message { signature, claimed }, .. }) => {
                message(&signature, claimed, keys, target)
            }
            Err(error) => Examined::unreadable(&error),
        },
        EvidenceContent::Unusable(reason) => Examined::unreadable(&reason),
    };
    Finding { document: item.digest, says: examined.says, maker: examined.maker, about: examined.about }
}

struct Examined {
    says: Option<Says>,
    maker: Result<String, Doubt>,
    about: About,
}

impl Examined {
    fn nothing() -> Self {
        Self { says: None, maker: Err(Doubt::NoKey), about: About::Another(None) }
    }

    fn unreadable(why: &dyn fmt::Display) -> Self {
        Self { maker: Err(Doubt::Unreadable(why.to_string())), ..Self::nothing() }
    }
}

fn maker(keys: &Keys<'_>, message: &[u8], signature: &[u8]) -> Result<String, Doubt> {
    let made = keys.iter().find(|(_, key)| key.verifies(message, signature));
    made.map(|(name, _)| (*name).to_owned()).ok_or(Doubt::NoKey)
}

fn about(subjects: &[Digest], target: Target<'_>) -> About {
    if subjects.contains(&target.digest) { About::Target } else { About::Another(subjects.first().copied()) }
}

fn simple_signing(
    payload: &[u8],
    signature: Option<&str>,
    keyless: bool,
    keys: &Keys<'_>,
    target: Target<'_>,
) -> Examined {
    let signed = match cosign_legacy::signed_digest(payload) {
        Ok(signed) => signed,
        Err(error) => return Examined::unreadable(&error),
    };
    let Some(signature) = signature.and_then(|text| BASE64.decode(text.as_bytes()).ok()) else {
        return Examined::unreadable(&"the layer carries no signature in base64");
    };
    let maker = maker(keys, payload, &signature).map_err(|doubt| if keyless { Doubt::Keyless } else { doubt });
    Examined { says: Some(Says::Signature), maker, about: about(&[signed], target) }
}

fn examine_envelope(envelope: &Envelope, keys: &Keys<'_>, target: Target<'_>) -> Examined {
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
    let maker = maker(keys, &envelope.signed_bytes(), &envelope.signature);
    let about = about(&statement.subjects, target);
    Examined { says: Some(says(statement)), maker, about }
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
    })
}

/// A bare signature holds nothing that says of what: it verifies over this manifest's bytes, or it is not known whose.
fn message(signature: &[u8], claimed: Option<Digest>, keys: &Keys<'_>, target: Target<'_>) -> Examined {
    let about = match claimed {
        Some(digest) if digest != target.digest => About::Another(Some(digest)),
        _ => About::Target,
    };
    Examined { says: Some(Says::Signature), maker: maker(keys, target.bytes, signature), about }
}
