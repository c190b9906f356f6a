//! Whom Notation signatures are trusted from: trust stores of certificates, identities, and how strictly.

use super::name::{NameError, NameRule};
use crate::verify::x509::{Certificate, CertificateError, ChainError, RevocationLists};

/// What the certificates of a store may vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustStoreKind {
    /// Signers with certificates of their own.
    Ca,
    /// Services that sign for others.
    SigningAuthority,
    /// Time stamps.
    Tsa,
}

/// A named set of certificates.
#[derive(Clone, Debug)]
pub struct TrustStore {
    pub kind: TrustStoreKind,
    pub certificates: Vec<Certificate>,
    /// What was brought here of revocation lists for what these certificates issued.
    pub revocation: RevocationLists,
}

/// Why certificates are no trust store, or a text no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("a certificate in it ({0}) is neither an authority nor signed by itself: put the root in, not the leaf")]
    NotAnAuthority(String),
    #[error("a certificate in it ({0}) is not a root: time stamps are trusted by roots alone")]
    NotARoot(String),
    #[error("{0}")]
    Revocation(#[from] ChainError),
    #[error("identity '{0}' is neither '*' nor of the form 'x509.subject: C=…, ST=…, O=…'")]
    Identity(String),
    #[error("identity: {0}")]
    Name(#[from] NameError),
    #[error("'*' stands beside other identities: it alone says everything")]
    Wildcard,
    #[error("no identity is named: write \"*\" for anybody whom the store vouches for")]
    NoIdentity,
}

impl TrustStore {
    /// Takes certificates in DER or PEM.
    pub fn parse(kind: TrustStoreKind, bytes: &[u8], lists: Vec<Vec<u8>>) -> Result<Self, TrustError> {
        let certificates = match std::str::from_utf8(bytes) {
            Ok(text) => Certificate::parse_pem(text)?,
            Err(_) => vec![Certificate::parse(bytes)?],
        };
        for certificate in &certificates {
            let subject = || certificate.parsed().tbs_certificate.subject.to_string().chars().take(120).collect();
            if kind == TrustStoreKind::Tsa {
                if !certificate.is_authority() || !certificate.is_self_issued() {
                    return Err(TrustError::NotARoot(subject()));
                }
            } else if !certificate.is_authority() && !certificate.is_self_issued() {
                return Err(TrustError::NotAnAuthority(subject()));
            }
        }
        Ok(Self { kind, certificates, revocation: RevocationLists::parse(lists)? })
    }
}

/// Which signers of those that a store vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedIdentities {
    /// All of them.
    Any,
    /// Those whose certificate's name holds all parts of one of these.
    Names(Vec<NameRule>),
}

impl TrustedIdentities {
    /// Parses the identities of a trust policy.
    pub fn parse<'a>(written: impl IntoIterator<Item = &'a str>) -> Result<Self, TrustError> {
        let written: Vec<&str> = written.into_iter().collect();
        match written.as_slice() {
            [] => return Err(TrustError::NoIdentity),
            ["*"] => return Ok(Self::Any),
            all if all.contains(&"*") => return Err(TrustError::Wildcard),
            _ => {}
        }
        let name = |text: &str| {
            let name = text.strip_prefix("x509.subject:");
            let name = name.ok_or_else(|| TrustError::Identity(text.chars().take(120).collect()))?;
            Ok(NameRule::parse(name)?)
        };
        Ok(Self::Names(written.into_iter().map(name).collect::<Result<_, TrustError>>()?))
    }

    /// Whether the signer with this certificate is one of them.
    pub fn includes(&self, leaf: &Certificate) -> bool {
        match self {
            Self::Any => true,
            Self::Names(names) => names.iter().any(|name| name.matches(&leaf.parsed().tbs_certificate.subject)),
        }
    }
}

/// How strictly. Notation's `audit` and `skip` never admit anything, so they are none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every check counts.
    Strict,
    /// Integrity and authenticity count; time, expiry and revocation are written down.
    Permissive,
}
