//! One certificate, read: its name, its key, its validity, and the extensions that are asked about.

use std::fmt;

use jiff::Timestamp;
use x509_cert::Certificate as Parsed;
use x509_cert::der::oid::{AssociatedOid as _, ObjectIdentifier};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};

use crate::limits::{CERTIFICATE_BYTES_MAX, CERTIFICATES_COUNT_MAX};
use crate::oci::digest::Digest;

/// A certificate and the bytes it was read from.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: Parsed,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("certificate is {0} bytes long, the most is {CERTIFICATE_BYTES_MAX}")]
    TooLarge(usize),
    #[error("certificate is not DER of X.509")]
    Form,
    #[error("certificate's validity is no time")]
    Validity,
    #[error("the text holds something else than certificates in PEM")]
    NotPem,
    #[error("the text holds no certificate")]
    None,
    #[error("the text holds more than {CERTIFICATES_COUNT_MAX} certificates")]
    TooMany,
}

impl Certificate {
    /// Parses DER.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let parsed = Parsed::from_der(der).map_err(|_| CertificateError::Form)?;
        let time = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).map_err(|_| CertificateError::Validity)?;
            Timestamp::from_second(seconds).map_err(|_| CertificateError::Validity)
        };
        let validity = parsed.tbs_certificate.validity;
        let (not_before, not_after) = (time(validity.not_before)?, time(validity.not_after)?);
        Ok(Self { der: der.to_vec(), parsed, not_before, not_after })
    }

    /// Parses every certificate of a PEM text, which may hold nothing else.
    pub fn parse_pem(text: &str) -> Result<Vec<Self>, CertificateError> {
        let blocks = pem::parse_many(text).map_err(|_| CertificateError::NotPem)?;
        if blocks.len() > CERTIFICATES_COUNT_MAX {
            return Err(CertificateError::TooMany);
        }
        if blocks.is_empty() {
            return Err(CertificateError::None);
        }
        blocks
            .iter()
            .map(|block| match block.tag() {
                "CERTIFICATE" => Self::parse(block.contents()),
                _ => Err(CertificateError::NotPem),
            })
            .collect()
    }

    /// The bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What the DER says.
    pub const fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// SHA-256 of the bytes: by this it is named in deny lists.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Its SubjectPublicKeyInfo.
    pub fn public_key_der(&self) -> Vec<u8> {
        // It was just decoded from DER, so it encodes; an empty key verifies nothing.
        self.parsed.tbs_certificate.subject_public_key_info.to_der().unwrap_or_default()
    }

    /// The first moment of its validity.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last moment of its validity.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is valid at `time`. Both ends count.
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.parsed.tbs_certificate.subject == self.parsed.tbs_certificate.issuer
    }

    /// Whether it may sign others.
    pub fn is_authority(&self) -> bool {
        self.decoded::<BasicConstraints>().is_some_and(|(_, constraints)| constraints.ca)
    }

    /// Its key usages; `None` where the extension is absent or damaged.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.decoded::<KeyUsage>().map(|(_, usage)| usage)
    }

    /// Whether its key usages hold exactly these and no others.
    pub fn has_only_key_usage(&self, wanted: KeyUsages) -> bool {
        self.key_usage().is_some_and(|usage| usage.0.into_iter().eq([wanted]))
    }

    /// Its extended key usages, and whether a reader must understand them; `None` where there are none.
    pub fn extended_key_usage(&self) -> Option<(bool, Vec<ObjectIdentifier>)> {
        self.decoded::<ExtendedKeyUsage>().map(|(critical, usage)| (critical, usage.0))
    }

    /// The content of an extension that stands in it exactly once.
    pub fn extension(&self, id: ObjectIdentifier) -> Option<&Extension> {
        let mut found = self.parsed.tbs_certificate.extensions.iter().flatten().filter(|found| found.extn_id == id);
        found.next().filter(|_| found.next().is_none())
    }

    fn decoded<'a, T>(&'a self) -> Option<(bool, T)>
    where
        T: x509_cert::der::Decode<'a> + x509_cert::der::oid::AssociatedOid,
    {
        let found = self.extension(T::OID)?;
        T::from_der(found.extn_value.as_bytes()).ok().map(|value| (found.critical, value))
    }

    /// Whether it has the form of a leaf that signs code for Sigstore: no authority, able to sign, for code.
    pub fn is_code_signing_leaf(&self) -> bool {
        let signs = self.key_usage().is_some_and(|usage| usage.0.contains(KeyUsages::DigitalSignature));
        let for_code = self.extended_key_usage().is_some_and(|(_, usages)| usages.contains(&ID_CODE_SIGNING));
        !self.is_authority() && signs && for_code
    }

    /// Whether it has the form of an authority: says so critically, and may sign certificates.
    pub fn is_well_formed_authority(&self) -> bool {
        let constraints = self.decoded::<BasicConstraints>();
        let signs = self.key_usage().is_some_and(|usage| usage.0.contains(KeyUsages::KeyCertSign));
        signs && constraints.is_some_and(|(critical, constraints)| critical && constraints.ca)
    }
}

/// For signing code.
pub const ID_CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// For time stamps.
pub const ID_TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.parsed.tbs_certificate.subject)
    }
}

/// Keeps the name of the extension's identifier in one place.
pub const KEY_USAGE: ObjectIdentifier = KeyUsage::OID;
