//! The envelope of a time stamp: CMS signed data, alone or in a server's answer.

use std::time::Duration;

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use jiff::Timestamp;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, OctetString, OctetStringRef};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, Tagged as _};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::info::{Info, InfoError};
use crate::limits::{CERTIFICATES_COUNT_MAX, TIMESTAMP_BYTES_MAX};
use crate::verify::scheme::{Hash, KeyKind, Scheme, sha1_for_naming};
use crate::verify::x509::Certificate;
use crate::verify::x509::certificate::ID_TIME_STAMPING;

/// A time stamp, read and not yet believed.
#[derive(Clone, Debug)]
pub struct Token {
    info: Info,
    info_der: Vec<u8>,
    signer: SignerInfo,
    certificates: Vec<Certificate>,
}

/// Why a time stamp cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it is {0} bytes long, the most is {TIMESTAMP_BYTES_MAX}")]
    TooLarge(usize),
    #[error("it is not a time stamp of RFC 3161")]
    Form,
    #[error("it is a server's refusal")]
    Refused,
    #[error("it is signed by more than one or by none")]
    Signers,
    #[error("{0}")]
    Info(#[from] InfoError),
    #[error("the certificate of its maker is not here")]
    NoCertificate,
    #[error("its maker's certificate is not for time stamps alone")]
    Usage,
    #[error("its signed attributes do not say what RFC 3161 demands")]
    Attributes,
    #[error("it does not name its maker's certificate by a hash that is good enough")]
    CertificateHash,
    #[error("its signature is not its maker's, or it was altered")]
    Signature,
}

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");

impl Token {
    /// Parses a token, or a server's answer with one in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        if bytes.len() > TIMESTAMP_BYTES_MAX {
            return Err(TokenError::TooLarge(bytes.len()));
        }
        let token = unwrapped(bytes)?;
        let outer = ContentInfo::from_der(&token).map_err(|_| TokenError::Form)?;
        if outer.content_type != SIGNED_DATA {
            return Err(TokenError::Form);
        }
        let data: SignedData = outer.content.decode_as().map_err(|_| TokenError::Form)?;
        if data.encap_content_info.econtent_type != TST_INFO {
            return Err(TokenError::Form);
        }
        let content = data.encap_content_info.econtent.as_ref().ok_or(TokenError::Form)?;
        let info_der = content.decode_as::<OctetStringRef<'_>>().map_err(|_| TokenError::Form)?.as_bytes().to_vec();
        let [signer] = data.signer_infos.0.as_slice() else { return Err(TokenError::Signers) };
        let mut certificates = Vec::new();
        for choice in data.certificates.iter().flat_map(|set| set.0.iter()) {
            let CertificateChoices::Certificate(found) = choice else { continue };
            if certificates.len() == CERTIFICATES_COUNT_MAX {
                return Err(TokenError::Form);
            }
            let der = found.to_der().map_err(|_| TokenError::Form)?;
            certificates.push(Certificate::parse(&der).map_err(|_| TokenError::Form)?);
        }
        Ok(Self { info: Info::parse(&info_der)?, info_der, signer: signer.clone(), certificates })
    }

    /// The time that it says.
    pub const fn time(&self) -> Timestamp {
        self.info.time
    }

    /// By how much that may be wrong, in either direction.
    pub const fn accuracy(&self) -> Duration {
        self.info.accuracy
    }

    /// Certificates that came inside, of which none is trusted.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether it is over `message`.
    pub fn is_over(&self, message: &[u8]) -> bool {
        self.info.hash.of(message) == self.info.hashed
    }

    /// The certificate that made it, out of those inside and `known`.
    pub fn signer(&self, known: &[Certificate]) -> Result<Certificate, TokenError> {
        let all: Vec<Certificate> = self.certificates.iter().chain(known).cloned().collect();
        self.signed_by_one_of(&all)
    }

    /// The one of `candidates` that made it.
    pub fn signed_by_one_of(&self, candidates: &[Certificate]) -> Result<Certificate, TokenError> {
        let signer = candidates.iter().find(|candidate| self.names(candidate)).ok_or(TokenError::NoCertificate)?;
        if signer.extended_key_usage() != Some((true, vec![ID_TIME_STAMPING])) {
            return Err(TokenError::Usage);
        }
        self.verify_signature(signer)?;
        Ok(signer.clone())
    }

    fn names(&self, certificate: &Certificate) -> bool {
        let content = &certificate.parsed().tbs_certificate;
        match &self.signer.sid {
            SignerIdentifier::IssuerAndSerialNumber(named) => {
                content.issuer == named.issuer && content.serial_number == named.serial_number
            }
            SignerIdentifier::SubjectKeyIdentifier(named) => {
                let found = certificate.extension(SUBJECT_KEY_IDENTIFIER);
                let id = found.and_then(|found| OctetString::from_der(found.extn_value.as_bytes()).ok());
                id.is_some_and(|id| id.as_bytes() == named.0.as_bytes())
            }
        }
    }

    fn verify_signature(&self, signer: &Certificate) -> Result<(), TokenError> {
        let attributes = self.signer.signed_attrs.as_ref().ok_or(TokenError::Attributes)?;
        let hash = Hash::named(self.signer.digest_alg.oid).ok_or(InfoError::Hash)?;
        let content_type = self.attribute(CONTENT_TYPE)?.decode_as::<ObjectIdentifier>();
        let digest = self.attribute(MESSAGE_DIGEST)?;
        let digest = digest.decode_as::<OctetStringRef<'_>>().map_err(|_| TokenError::Attributes)?;
        if content_type != Ok(TST_INFO) || digest.as_bytes() != hash.of(&self.info_der) {
            return Err(TokenError::Attributes);
        }
        self.verify_named_certificate(signer)?;
        let kind = KeyKind::of(signer).ok_or(TokenError::Signature)?;
        let scheme = match kind {
            KeyKind::Rsa(_) if self.signer.signature_algorithm.oid == RSA_PSS => Scheme::RsaPss(hash),
            KeyKind::Rsa(_) => Scheme::RsaPkcs1(hash),
            curve => Scheme::Ecdsa(curve, hash),
        };
        let signed = attributes.to_der().map_err(|_| TokenError::Attributes)?;
        match scheme.verifies(signer, &signed, self.signer.signature.as_bytes()) {
            true => Ok(()),
            false => Err(TokenError::Signature),
        }
    }

    /// The one value of a signed attribute that stands there once.
    fn attribute(&self, id: ObjectIdentifier) -> Result<&x509_cert::der::Any, TokenError> {
        let mut found = self.signer.signed_attrs.iter().flat_map(|all| all.iter()).filter(|one| one.oid == id);
        let only = found.next().filter(|_| found.next().is_none()).ok_or(TokenError::Attributes)?;
        match only.values.as_slice() {
            [value] => Ok(value),
            _ => Err(TokenError::Attributes),
        }
    }

    /// The token must name its maker's certificate by hash, or another one with the same key could be put in its place.
    fn verify_named_certificate(&self, signer: &Certificate) -> Result<(), TokenError> {
        let (attribute, form) = match self.attribute(SIGNING_CERTIFICATE_V2) {
            Ok(attribute) => (attribute, Named::ByChoice),
            Err(_) => (self.attribute(SIGNING_CERTIFICATE)?, Named::BySha1),
        };
        match first_named(attribute.value(), form, signer) {
            Some(true) => Ok(()),
            _ => Err(TokenError::CertificateHash),
        }
    }
}

/// How a certificate is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// RFC 5816: by a hash of the token's choice.
    ByChoice,
    /// RFC 3161 itself: always by SHA-1. It names which of the certificates made the signature, and proves nothing: that
    /// the signature does.
    BySha1,
}

/// Whether the first certificate named is `signer`; `None` where it cannot be read.
fn first_named(content: &[u8], form: Named, signer: &Certificate) -> Option<bool> {
    let inner = |der: &AnyRef<'_>| der.tag() == Tag::Sequence;
    let mut outer = SliceReader::new(content).ok()?;
    let list: AnyRef<'_> = outer.decode().ok().filter(inner)?;
    let mut list = SliceReader::new(list.value()).ok()?;
    let first: AnyRef<'_> = list.decode().ok().filter(inner)?;
    let mut first = SliceReader::new(first.value()).ok()?;
    let hash = match (form, first.peek_tag().ok()?) {
        (Named::BySha1, _) => None,
        (Named::ByChoice, Tag::Sequence) => Some(Hash::named(first.decode::<AlgorithmIdentifierRef<'_>>().ok()?.oid)?),
        (Named::ByChoice, _) => Some(Hash::Sha256),
    };
    let named: OctetStringRef<'_> = first.decode().ok()?;
    let hashed = hash.map_or_else(|| sha1_for_naming(signer.der()), |hash| hash.of(signer.der()));
    let same_hash = hashed == named.as_bytes();
    if first.is_finished() {
        return Some(same_hash);
    }
    // IssuerSerial: general names, then a serial number.
    let issuer: AnyRef<'_> = first.decode().ok().filter(inner)?;
    let mut issuer = SliceReader::new(issuer.value()).ok()?;
    let names: x509_cert::ext::pkix::name::GeneralNames = issuer.decode().ok()?;
    let serial: x509_cert::serial_number::SerialNumber = issuer.decode().ok()?;
    let content = &signer.parsed().tbs_certificate;
    let same_name = matches!(
        names.as_slice(),
        [x509_cert::ext::pkix::name::GeneralName::DirectoryName(name)] if *name == content.issuer
    );
    Some(same_hash && same_name && serial == content.serial_number)
}

/// The token in a server's answer (a status before it), or the bytes themselves.
fn unwrapped(bytes: &[u8]) -> Result<Vec<u8>, TokenError> {
    let outer = AnyRef::from_der(bytes).map_err(|_| TokenError::Form)?;
    if outer.tag() != Tag::Sequence {
        return Err(TokenError::Form);
    }
    let mut reader = SliceReader::new(outer.value()).map_err(|_| TokenError::Form)?;
    if reader.peek_tag().map_err(|_| TokenError::Form)? != Tag::Sequence {
        return Ok(bytes.to_vec());
    }
    let status: AnyRef<'_> = reader.decode().map_err(|_| TokenError::Form)?;
    let mut status = SliceReader::new(status.value()).map_err(|_| TokenError::Form)?;
    // 0 is granted, 1 granted with changes; all others are refusals.
    let status: u8 = status.decode().map_err(|_| TokenError::Form)?;
    if status > 1 || reader.is_finished() {
        return Err(TokenError::Refused);
    }
    let token: AnyRef<'_> = reader.decode().map_err(|_| TokenError::Form)?;
    token.to_der().map_err(|_| TokenError::Form)
}
