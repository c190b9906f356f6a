//! One artifact and one bundle: whether somebody in particular signed it, or attested something about it.
//!
//! What images need beyond that (rules, sets, conditions) is for [`mod@super::evaluate`]; this is the question of a person
//! with two files, and of conformance suites.

use jiff::Timestamp;

use super::identity_rule::IdentityRule;
use super::key::PublicKey;
use super::sigstore::trusted_root::Span;
use super::sigstore::{self, BundleError, KeylessError, KeylessSigner, Material, SignedContent, TrustedRoot};
use super::statement::{PAYLOAD_TYPE, Statement, StatementError};
use super::timestamp::{self, TimestampError};
use crate::oci::digest::{Algorithm, Digest};

/// What is said to be signed: its bytes, or only a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artifact<'a> {
    /// It is here.
    Bytes(&'a [u8]),
    /// Only this is known of it.
    Digest(Digest),
}

impl Artifact<'_> {
    /// Its digest by `algorithm`; `None` where that would need bytes that are not here.
    pub fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        match self {
            Self::Bytes(bytes) => Some(algorithm.hash(bytes)),
            Self::Digest(digest) => Some(*digest).filter(|digest| digest.algorithm() == algorithm),
        }
    }

    /// Whether `signature` over it was made with `key`.
    pub fn is_signed_by(&self, key: &PublicKey, signature: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => key.verifies(bytes, signature),
            Self::Digest(digest) => match <[u8; 32]>::try_from(digest.raw()) {
                Ok(hash) => key.verifies_sha256(&hash, signature),
                Err(_) => false,
            },
        }
    }

    /// Whether one of `subjects` is it.
    pub fn is_among(&self, subjects: &[Digest]) -> bool {
        subjects.iter().any(|subject| self.digest(subject.algorithm()).as_ref() == Some(subject))
    }
}

/// Who must have signed.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Whoever holds this key, while it is valid.
    Key { key: &'a PublicKey, validity: KeyValidity<'a> },
    /// Whoever this rule describes, as a trusted root vouches for it.
    Identity { root: &'a TrustedRoot, rule: &'a IdentityRule },
}

/// From when to when a key counts, and how it is known when something was signed with it: by the time stamps that came with
/// the signature, where an authority of `root` made them, and else by the time of asking.
#[derive(Clone, Copy, Debug)]
pub struct KeyValidity<'a> {
    pub span: Option<Span>,
    pub root: Option<&'a TrustedRoot>,
    pub now: Timestamp,
}

/// Why a key does not count for a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidityError {
    #[error("the key was not valid at {0}")]
    Outside(Timestamp),
    #[error("a time stamp is not believed: {0}")]
    Timestamp(#[from] TimestampError),
}

impl KeyValidity<'_> {
    /// Whether the key counts for `signature`, which came with `timestamps`.
    pub fn check(&self, timestamps: &[Vec<u8>], signature: &[u8]) -> Result<(), ValidityError> {
        let Some(span) = self.span else { return Ok(()) };
        let mut times = Vec::with_capacity(timestamps.len() + 1);
        if let Some(root) = self.root {
            for token in timestamps {
                times.push(timestamp::verify(token, signature, root.timestamp_authorities())?);
            }
        }
        if times.is_empty() {
            times.push(self.now);
        }
        match times.into_iter().find(|time| !span.contains(*time)) {
            Some(time) => Err(ValidityError::Outside(time)),
            None => Ok(()),
        }
    }
}

/// What was found to be signed, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Proved {
    /// Who, where it was signed without a lasting key.
    pub signer: Option<KeylessSigner>,
    /// What was said, where it was more than a bare signature.
    pub statement: Option<Statement>,
}

/// Why a bundle proves nothing about an artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the bundle cannot be read")]
    Bundle(#[from] BundleError),
    #[error("the signature is not believed")]
    Keyless(#[from] KeylessError),
    #[error("the bundle was made with a key, and an identity was asked for")]
    KeyMade,
    #[error("the bundle was made with a certificate, and a key was asked for")]
    CertificateMade,
    #[error("the signature was not made with this key, or what was signed was altered")]
    NotByKey,
    #[error("the key does not count")]
    Validity(#[from] ValidityError),
    #[error("signed by '{subject}' of issuer '{issuer}', wanted is {wanted}")]
    AnotherIdentity { subject: String, issuer: String, wanted: String },
    #[error("the envelope holds '{0}', expected an in-toto statement")]
    PayloadType(String),
    #[error("the envelope's statement cannot be read")]
    Statement(#[from] StatementError),
    #[error("it speaks of another artifact")]
    AnotherArtifact,
}

/// Whether `bundle` proves that `wanted` signed `artifact` or attested something about it.
pub fn verify_bundle(bundle: &[u8], artifact: Artifact<'_>, wanted: Wanted<'_>) -> Result<Proved, ArtifactError> {
    let bundle = sigstore::parse(bundle)?;
    let signer = match (&bundle.material, wanted) {
        (Material::Key { timestamps }, Wanted::Key { key, validity }) => {
            let good = match &bundle.content {
                SignedContent::Envelope(envelope) => key.verifies(&envelope.signed_bytes(), &envelope.signature),
                SignedContent::Message { signature, .. } => artifact.is_signed_by(key, signature),
            };
            if !good {
                return Err(ArtifactError::NotByKey);
            }
            validity.check(timestamps, bundle.content.signature())?;
            None
        }
        (Material::Keyless(material), Wanted::Identity { root, rule }) => {
            let signer = sigstore::keyless::verify(material, &bundle.content, artifact, root)?;
            if !rule.matches(&signer.identity) {
                let (subject, issuer) = (signer.identity.subject, signer.identity.issuer);
                return Err(ArtifactError::AnotherIdentity { subject, issuer, wanted: rule.to_string() });
            }
            Some(signer)
        }
        (Material::Key { .. }, Wanted::Identity { .. }) => return Err(ArtifactError::KeyMade),
        (Material::Keyless(_), Wanted::Key { .. }) => return Err(ArtifactError::CertificateMade),
    };
    let statement = match &bundle.content {
        SignedContent::Envelope(envelope) if envelope.payload_type == PAYLOAD_TYPE => {
            Some(Statement::parse(&envelope.payload)?)
        }
        SignedContent::Envelope(envelope) => {
            return Err(ArtifactError::PayloadType(envelope.payload_type.chars().take(120).collect()));
        }
        SignedContent::Message { claimed, .. } => {
            // The claim is not signed, but one that contradicts shows that something was put together wrongly.
            if claimed.is_some_and(|claimed| artifact.digest(claimed.algorithm()) != Some(claimed)) {
                return Err(ArtifactError::AnotherArtifact);
            }
            None
        }
    };
    if statement.as_ref().is_some_and(|statement| !artifact.is_among(&statement.subjects)) {
        return Err(ArtifactError::AnotherArtifact);
    }
    Ok(Proved { signer, statement })
}
