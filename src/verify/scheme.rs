//! Ways to make a signature, where a document names one and the key must agree.
//!
//! Keys that a policy names choose for themselves ([`super::key`]); this is for certificates, whose issuers chose.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::ObjectIdentifier;

use crate::verify::x509::Certificate;

/// A hash function that is good enough to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// By its identifier; SHA-1 and older are none.
    pub fn named(id: ObjectIdentifier) -> Option<Self> {
        match id {
            SHA256 => Some(Self::Sha256),
            SHA384 => Some(Self::Sha384),
            SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The hash of `content`.
    pub fn of(self, content: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &aws_lc_rs::digest::SHA256,
            Self::Sha384 => &aws_lc_rs::digest::SHA384,
            Self::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        aws_lc_rs::digest::digest(algorithm, content).as_ref().to_vec()
    }
}

/// SHA-1, for documents that name a certificate by it and prove nothing with it.
pub fn sha1_for_naming(content: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, content).as_ref().to_vec()
}

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// What kind of key a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    P256,
    P384,
    P521,
    /// Bits of the modulus.
    Rsa(usize),
}

impl KeyKind {
    /// The kind of a certificate's key; `None` for any other.
    pub fn of(certificate: &Certificate) -> Option<Self> {
        let key = &certificate.parsed().tbs_certificate.subject_public_key_info;
        match key.algorithm.oid {
            EC_PUBLIC_KEY => match key.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()? {
                P256 => Some(Self::P256),
                P384 => Some(Self::P384),
                P521 => Some(Self::P521),
                _ => None,
            },
            RSA_ENCRYPTION => {
                let sequence = x509_cert::der::asn1::AnyRef::from_der(key.subject_public_key.as_bytes()?).ok()?;
                let modulus = sequence.sequence(|reader| {
                    let modulus: UintRef<'_> = x509_cert::der::Reader::decode(reader)?;
                    let _: UintRef<'_> = x509_cert::der::Reader::decode(reader)?;
                    Ok(modulus.as_bytes().len())
                });
                modulus.ok().map(|bytes| Self::Rsa(bytes * 8))
            }
            _ => None,
        }
    }
}

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA as the web writes it: two numbers of fixed width.
    EcdsaFixed(KeyKind),
    /// ECDSA as certificates write it.
    Ecdsa(KeyKind, Hash),
    RsaPkcs1(Hash),
    RsaPss(Hash),
}

impl Scheme {
    fn algorithm(self) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match self {
            Self::EcdsaFixed(KeyKind::P256) => &ECDSA_P256_SHA256_FIXED,
            Self::EcdsaFixed(KeyKind::P384) => &ECDSA_P384_SHA384_FIXED,
            Self::EcdsaFixed(KeyKind::P521) => &ECDSA_P521_SHA512_FIXED,
            Self::Ecdsa(KeyKind::P256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
            Self::Ecdsa(KeyKind::P256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
            Self::Ecdsa(KeyKind::P384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
            Self::Ecdsa(KeyKind::P384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
            Self::Ecdsa(KeyKind::P521, Hash::Sha512) => &ECDSA_P521_SHA512_ASN1,
            Self::RsaPkcs1(Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
            Self::RsaPkcs1(Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
            Self::RsaPkcs1(Hash::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
            Self::RsaPss(Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
            Self::RsaPss(Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
            Self::RsaPss(Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
            Self::EcdsaFixed(KeyKind::Rsa(_)) | Self::Ecdsa(..) => return None,
        })
    }

    /// Whether the key of `certificate` made `signature` over `message` in this way.
    pub fn verifies(self, certificate: &Certificate, message: &[u8], signature: &[u8]) -> bool {
        let Some(algorithm) = self.algorithm() else { return false };
        ParsedPublicKey::new(algorithm, certificate.public_key_der())
            .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::Rsa(bits) => write!(f, "RSA of {bits} bits"),
        }
    }
}
