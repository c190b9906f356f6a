//! What both forms of a Notation envelope hold, once read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::limits::{CERTIFICATES_COUNT_MAX, EVIDENCE_BYTES_MAX};
use crate::oci::digest::Digest;
use crate::verify::scheme::{Hash, KeyKind, Scheme as SignatureScheme};
use crate::verify::strict_json;
use crate::verify::x509::{Certificate, CertificateError};

/// The one type of payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.cncf.notary.payload.v1+json";
/// Headers of Notation's own.
pub const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
/// When the signer says to have signed.
pub const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
/// When a signing authority says to have signed.
pub const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
/// Until when the signature counts.
pub const EXPIRY: &str = "io.cncf.notary.expiry";
/// A time stamp over the signature.
pub const TIMESTAMP: &str = "io.cncf.notary.timestampSignature";

/// By what it is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A certificate of the signer's own.
    X509,
    /// A service that signs for others and vouches for the time.
    SigningAuthority,
}

impl Scheme {
    /// As an envelope writes it.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "notary.x509" => Some(Self::X509),
            "notary.x509.signingAuthority" => Some(Self::SigningAuthority),
            _ => None,
        }
    }
}

/// An envelope, read and not yet believed.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub scheme: Scheme,
    /// The signer's word, or the authority's.
    pub signing_time: Timestamp,
    pub expiry: Option<Timestamp>,
    /// From the leaf to the root.
    pub chain: Vec<Certificate>,
    pub target: TargetArtifact,
    pub timestamp: Option<Vec<u8>>,
    pub signature: Vec<u8>,
    /// The bytes under the signature.
    pub signed: Vec<u8>,
    pub algorithm: Algorithm,
}

/// What was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetArtifact {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// What the signer said beside it.
    pub annotations: BTreeMap<String, String>,
}

/// Algorithms that an envelope may name. Which one it must be is for the leaf's key to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

/// Why an envelope cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("envelope is {0} bytes long, the most is {EVIDENCE_BYTES_MAX} (evidence-limit)")]
    TooLarge(usize),
    #[error("envelope is not of Notation's form")]
    Form,
    #[error("envelope's header '{0}' is missing or cannot be read")]
    Header(&'static str),
    #[error("envelope holds '{0}', expected '{PAYLOAD_TYPE}'")]
    PayloadType(String),
    #[error("envelope is signed with '{0}', which is not taken")]
    Algorithm(String),
    #[error("envelope demands that '{0}' is understood, and it is not")]
    Critical(String),
    #[error("envelope must mark '{0}' as critical, and does not")]
    NotCritical(&'static str),
    #[error("header '{0}' does not go with this signing scheme")]
    Misplaced(&'static str),
    #[error("a certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    #[error("envelope's payload is not a target of Notation")]
    Payload,
}

/// Protected headers as either form writes them.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    pub algorithm: Option<Algorithm>,
    pub content_type: String,
    pub critical: Vec<String>,
    /// All names of the protected headers that are not the form's own.
    pub present: Vec<String>,
    pub scheme: String,
    pub signing_time: Option<Timestamp>,
    pub authentic_signing_time: Option<Timestamp>,
    pub expiry: Option<Timestamp>,
}

impl Headers {
    /// The rules that both forms share. Scheme and time of signing.
    pub fn check(&self) -> Result<(Scheme, Timestamp), EnvelopeError> {
        if self.content_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType(self.content_type.chars().take(120).collect()));
        }
        const UNDERSTOOD: [&str; 3] = [SIGNING_SCHEME, AUTHENTIC_SIGNING_TIME, EXPIRY];
        if let Some(unknown) = self.critical.iter().find(|name| !UNDERSTOOD.contains(&name.as_str())) {
            return Err(EnvelopeError::Critical(unknown.chars().take(120).collect()));
        }
        // Understood and named as critical, but not there: a reader that looks elsewhere would see something else.
        if let Some(absent) = self.critical.iter().find(|name| !self.present.contains(name)) {
            return Err(EnvelopeError::Critical(absent.chars().take(120).collect()));
        }
        let must_be_critical = |name: &'static str| match self.critical.iter().any(|critical| critical == name) {
            true => Ok(()),
            false => Err(EnvelopeError::NotCritical(name)),
        };
        must_be_critical(SIGNING_SCHEME)?;
        if self.expiry.is_some() {
            must_be_critical(EXPIRY)?;
        }
        // Attributes that an extension would have to look at are not passed over, critical or not.
        if let Some(name) = self.present.iter().find(|name| name.starts_with("io.cncf.notary.verificationPlugin")) {
            return Err(EnvelopeError::Critical(name.clone()));
        }
        let scheme = Scheme::named(&self.scheme).ok_or(EnvelopeError::Header(SIGNING_SCHEME))?;
        let time = match scheme {
            Scheme::X509 if self.authentic_signing_time.is_some() => {
                return Err(EnvelopeError::Misplaced(AUTHENTIC_SIGNING_TIME));
            }
            Scheme::X509 => self.signing_time.ok_or(EnvelopeError::Header(SIGNING_TIME))?,
            Scheme::SigningAuthority if self.signing_time.is_some() => {
                return Err(EnvelopeError::Misplaced(SIGNING_TIME));
            }
            Scheme::SigningAuthority => {
                must_be_critical(AUTHENTIC_SIGNING_TIME)?;
                self.authentic_signing_time.ok_or(EnvelopeError::Header(AUTHENTIC_SIGNING_TIME))?
            }
        };
        Ok((scheme, time))
    }
}

impl Algorithm {
    /// As JWS writes it.
    pub fn named(text: &str) -> Option<Self> {
        Some(match text {
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            _ => return None,
        })
    }

    /// As COSE numbers it.
    pub const fn numbered(number: i64) -> Option<Self> {
        Some(match number {
            -37 => Self::Ps256,
            -38 => Self::Ps384,
            -39 => Self::Ps512,
            -7 => Self::Es256,
            -35 => Self::Es384,
            -36 => Self::Es512,
            _ => return None,
        })
    }

    /// The one that a key of this kind must sign with.
    pub const fn of(kind: KeyKind) -> Option<Self> {
        Some(match kind {
            KeyKind::P256 => Self::Es256,
            KeyKind::P384 => Self::Es384,
            KeyKind::P521 => Self::Es512,
            KeyKind::Rsa(2048) => Self::Ps256,
            KeyKind::Rsa(3072) => Self::Ps384,
            KeyKind::Rsa(4096) => Self::Ps512,
            KeyKind::Rsa(_) => return None,
        })
    }

    /// How it is verified.
    pub const fn scheme(self) -> SignatureScheme {
        match self {
            Self::Ps256 => SignatureScheme::RsaPss(Hash::Sha256),
            Self::Ps384 => SignatureScheme::RsaPss(Hash::Sha384),
            Self::Ps512 => SignatureScheme::RsaPss(Hash::Sha512),
            Self::Es256 => SignatureScheme::EcdsaFixed(KeyKind::P256),
            Self::Es384 => SignatureScheme::EcdsaFixed(KeyKind::P384),
            Self::Es512 => SignatureScheme::EcdsaFixed(KeyKind::P521),
        }
    }
}

/// Parses the certificates of an envelope.
pub fn parse_chain<'a>(ders: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Vec<Certificate>, EnvelopeError> {
    match ders.len() {
        0 => Err(CertificateError::None.into()),
        1..=CERTIFICATES_COUNT_MAX => Ok(ders.map(Certificate::parse).collect::<Result<_, _>>()?),
        _ => Err(CertificateError::TooMany.into()),
    }
}

/// Parses the payload of an envelope.
pub fn parse_payload(bytes: &[u8]) -> Result<TargetArtifact, EnvelopeError> {
    let value = strict_json::parse(bytes).map_err(|_| EnvelopeError::Payload)?;
    let target = value.get("targetArtifact").ok_or(EnvelopeError::Payload)?;
    let text = |key: &str| target.get(key).and_then(Value::as_str).ok_or(EnvelopeError::Payload);
    let annotations = match target.get("annotations") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(written) => serde_json::from_value(written.clone()).map_err(|_| EnvelopeError::Payload)?,
    };
    Ok(TargetArtifact {
        media_type: text("mediaType")?.to_owned(),
        digest: text("digest")?.parse().map_err(|_| EnvelopeError::Payload)?,
        size: target.get("size").and_then(Value::as_u64).ok_or(EnvelopeError::Payload)?,
        annotations,
    })
}
