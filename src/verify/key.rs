//! Public keys that a policy names: parsed and judged once, when the policy is loaded.
//!
//! The hash follows the key, never the signature: nothing in the evidence chooses an algorithm.

use std::fmt;

use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use data_encoding::BASE64;

use crate::oci::digest::Digest;

/// A public key that may be trusted.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    /// Digest of the SubjectPublicKeyInfo: the same key under two names is one key.
    fingerprint: Digest,
    forms: Vec<ParsedPublicKey>,
}

/// The kinds of keys that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    EcdsaP256,
    EcdsaP384,
    Rsa,
    /// Of transparency logs only, which sign plainly with it.
    Ed25519,
}

/// Why a text is not a key that can be trusted here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("not a PEM public key: expected one block from '-----BEGIN PUBLIC KEY-----' to '-----END PUBLIC KEY-----'")]
    NotPem,
    #[error("this is a private key: keep it secret, and give its public half")]
    Private,
    #[error("this is a certificate: give the public key alone (openssl x509 -pubkey -noout)")]
    Certificate,
    #[error(
        "an Ed25519 key: the tools sign with it in a pre-hashed form that is not verified in this version, use P-256, P-384 or RSA"
    )]
    Ed25519,
    #[error("the key's algorithm is not supported: use P-256, P-384 or RSA of 2048 to 8192 bits")]
    Algorithm,
    #[error("the key is damaged, or RSA of fewer than 2048 or more than 8192 bits")]
    Rejected,
    #[error(
        "RSA of {0} bits is not approved by the FIPS module: use RSA of 2048, 3072 or 4096 bits, P-256 or P-384, or the standard edition"
    )]
    NotApproved(usize),
}

// DER of SubjectPublicKeyInfo up to the key itself (RFC 5480, RFC 8410, RFC 3279), so that the algorithm is told by the
// key's own bytes and not by trying one parser after the other.
pub(super) const P256_PREFIX: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
pub(super) const P384_PREFIX: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00\x04";
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const RSA_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03";
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// What the module's service indicator calls approved for verification, without 1024, which is too short for us. The curves
/// and hashes of the other keys are all approved.
const RSA_BITS_APPROVED: [usize; 3] = [2048, 3072, 4096];
/// Where it stands: after the outer SEQUENCE's tag and a length of two or three bytes.
const RSA_ALGORITHM_OFFSETS: [usize; 2] = [3, 4];

impl PublicKey {
    /// Parses a PEM block `PUBLIC KEY` (SubjectPublicKeyInfo).
    pub fn parse_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_spki(&decode_pem(text)?)
    }

    /// The key in a certificate, or in any other SubjectPublicKeyInfo.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let rsa = RSA_ALGORITHM_OFFSETS
            .iter()
            .any(|offset| der.get(*offset..).is_some_and(|rest| rest.starts_with(RSA_ALGORITHM)));
        let (algorithm, forms) = if der.starts_with(P256_PREFIX) {
            (
                KeyAlgorithm::EcdsaP256,
                vec![
                    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der),
                    // Some write the two numbers of a signature without their wrapping.
                    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der),
                ],
            )
        } else if der.starts_with(P384_PREFIX) {
            // cosign signed with SHA-256 under every key before it let the hash follow the key: both forms exist.
            let forms = vec![
                ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, der),
                ParsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, der),
                ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, der),
            ];
            (KeyAlgorithm::EcdsaP384, forms)
        } else if rsa {
            // The verifier looks at the length only when it is given a signature: too late to tell an operator.
            let bits = PublicEncryptingKey::from_der(der).map_or(0, |key| key.key_size_bits());
            check_rsa_bits(bits, cfg!(feature = "fips"))?;
            (KeyAlgorithm::Rsa, vec![ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)])
        } else if der.starts_with(ED25519_PREFIX) {
            return Err(KeyError::Ed25519);
        } else {
            return Err(KeyError::Algorithm);
        };
        let forms = forms.into_iter().collect::<Result<_, _>>().map_err(|_| KeyError::Rejected)?;
        Ok(Self { algorithm, fingerprint: Digest::of(der), forms })
    }

    /// A P-256 key from its point, without the wrapping that names the curve.
    pub fn from_p256_point(point: &[u8]) -> Result<Self, KeyError> {
        // The prefix already ends in the 0x04 with which the point begins.
        match point.split_first() {
            Some((4, coordinates)) => Self::from_spki(&[P256_PREFIX, coordinates].concat()),
            _ => Err(KeyError::Algorithm),
        }
    }

    /// A plain Ed25519 key from its 32 bytes, for documents that sign plainly with it.
    pub fn from_ed25519(key: &[u8]) -> Result<Self, KeyError> {
        Self::of_log(&[ED25519_PREFIX, key].concat())
    }

    /// The key of a transparency log. These sign plainly with Ed25519, and some write RSA keys without their wrapping.
    pub fn of_log(der: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, form) = if der.starts_with(ED25519_PREFIX) {
            (KeyAlgorithm::Ed25519, ParsedPublicKey::new(&ED25519, &der[ED25519_PREFIX.len()..]))
        } else {
            match Self::from_spki(der) {
                Err(KeyError::Algorithm) => (KeyAlgorithm::Rsa, ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)),
                other => return other,
            }
        };
        let form = form.map_err(|_| KeyError::Algorithm)?;
        Ok(Self { algorithm, fingerprint: Digest::of(der), forms: vec![form] })
    }

    /// Which kind of key it is.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub const fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// Whether `signature` over something of which only the SHA-256 is here was made with this key's private half.
    pub fn verifies_sha256(&self, hash: &[u8; 32], signature: &[u8]) -> bool {
        let algorithm = &aws_lc_rs::digest::SHA256;
        let Ok(hash) = aws_lc_rs::digest::Digest::import_less_safe(hash, algorithm) else { return false };
        self.forms.iter().any(|form| form.verify_digest_sig(&hash, signature).is_ok())
    }

    /// Whether `signature` over `message` was made with this key's private half.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.forms.iter().any(|form| form.verify_sig(message, signature).is_ok())
    }
}

fn check_rsa_bits(bits: usize, only_approved: bool) -> Result<(), KeyError> {
    match RSA_BITS.contains(&bits) {
        false => Err(KeyError::Rejected),
        true if only_approved && !RSA_BITS_APPROVED.contains(&bits) => Err(KeyError::NotApproved(bits)),
        true => Ok(()),
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.algorithm, self.fingerprint)
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
        })
    }
}

fn decode_pem(text: &str) -> Result<Vec<u8>, KeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(KeyError::Certificate);
    }
    let body = text
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
        .ok_or(KeyError::NotPem)?;
    let encoded: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(&encoded).map_err(|_| KeyError::NotPem)
}

#[cfg(test)]
mod tests {
    use super::{KeyAlgorithm, KeyError, PublicKey};
    use crate::verify::test_keys::{TestKey, pem};

    #[test]
    fn an_ecdsa_key_verifies_its_own_signatures_only() {
        for (key, algorithm) in [(TestKey::p256(), KeyAlgorithm::EcdsaP256), (TestKey::p384(), KeyAlgorithm::EcdsaP384)]
        {
            let public = PublicKey::parse_pem(&key.public_pem()).unwrap();
            assert_eq!(public.algorithm(), algorithm);
            let signature = key.sign(b"message");
            assert!(public.verifies(b"message", &signature));
            assert!(!public.verifies(b"massage", &signature));
            assert!(!PublicKey::parse_pem(&TestKey::p256().public_pem()).unwrap().verifies(b"message", &signature));
            assert!(!public.verifies(b"message", b""));
        }
    }

    #[test]
    fn refuses_each_wrong_text_with_its_own_reason() {
        let check = |text: &str, expected: KeyError| assert_eq!(PublicKey::parse_pem(text).unwrap_err(), expected);
        check("", KeyError::NotPem);
        check("-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----", KeyError::NotPem);
        check("-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----", KeyError::Private);
        check("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", KeyError::Certificate);
        let ed25519 = [super::ED25519_PREFIX, &[7; 32]].concat();
        check(&pem(&ed25519), KeyError::Ed25519);
        check(&pem(b"\x30\x00"), KeyError::Algorithm);
        check(&pem(&[super::P256_PREFIX, &[1; 64]].concat()), KeyError::Rejected);
        check(RSA_1024, KeyError::Rejected);
        check(P521, KeyError::Algorithm);
    }

    #[test]
    fn the_fips_edition_takes_no_length_that_is_not_approved() {
        for bits in [2048, 3072, 4096] {
            assert_eq!(super::check_rsa_bits(bits, true), Ok(()));
        }
        for bits in [2560, 8192] {
            assert_eq!(super::check_rsa_bits(bits, false), Ok(()));
            assert_eq!(super::check_rsa_bits(bits, true), Err(KeyError::NotApproved(bits)));
        }
        for only_approved in [true, false] {
            assert_eq!(super::check_rsa_bits(1024, only_approved), Err(KeyError::Rejected));
        }
    }

    #[test]
    fn an_rsa_key_verifies() {
        let public = PublicKey::parse_pem(RSA_2048).unwrap();
        assert_eq!(public.algorithm(), KeyAlgorithm::Rsa);
        let signature = data_encoding::BASE64.decode(RSA_2048_SIGNATURE_OF_MESSAGE.as_bytes()).unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
    }

    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC9RxEstucUE8N9FPA5WajC2zq8
IYIBYv8zd52vV9l2j43lJA/kxl7T5cYcy8khxwiRfgl+DJOkvolHXfOHPLCpk+RD
VGJ+E4FxkZ8ybPVWORZdzF3BmLfB47/VnT3S+rjr/o0Ws2dcKQO2EWQ3nldMFb8M
IG1OgApkBjDuy1PTiQIDAQAB
-----END PUBLIC KEY-----";
    const RSA_2048: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA08fzgX4CJ3z0Kp4kOXtL
7Ya8U98t5YvBVxyaC6cajbljhSqHA0GbZN2qb6k1NJhojctXM4pdiTmMNm7QkCEj
zx0g+LcqiFgYq6oINOztqFQlAvAiOZVPOamvdL7Fd4rDg7j6GCwd5g6z2aCQCwNq
s6ZsXLhYSTJL0z9bVGkmuS+0rNgWb+a5rHsAAMy3dM4gTFaUiGddfphoVCpUKk3E
jhQHhsCXSBHAtxQkDLfQR8Aihlp9sm2D0MhAAVcQ6xOyfWx6I9eoZOlzqEi9dSph
rjWoFg0k3XvQ49+OqsgBA8W0M55Kgmmf+lpw6sSy2TT2ziuLWZHLTvVDl3OcrX/n
6QIDAQAB
-----END PUBLIC KEY-----";
    const RSA_2048_SIGNATURE_OF_MESSAGE: &str = "0IGNkVCseckbke3dTPnypXn/WZkzD2lMdMevmjOtMESFOkuKU/QaCTX9mnPe3hVgtR31lmBqFmbgwYGcxGcWOaMdgHBTGgxTg7+QTQbWRyHeqEndm/kxJcYI36qhvVVOEQ48o7Akl0oaX3kiUH8a9Xh1EhWSstt3H0cronHPFM44ZG7KtpgP9HrRbuSrUlK8ZtQvloRK5wInSpOvWofKJJlYgUpe5DTzt6uIkDC/1VTlmYS/naNxdt231yBPONBHiVd9FgbM1xkP4Y1oU5hK8oM9vKFGs20V7z/5ivBxCdODigNayw7dLwPt4+xU17/jxupInRPP9062EsIv3ELjJA==";
    const P521: &str = "-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBDDzd5oOVQp3uY0lXBLx6KmceU3pR
gls2WishITDKR+1XcTIfKuoNEnrMAcsswe26KUSsPgaSMbMPZdBc6GU7piYA2VVo
xgBl3XSxt03/Sdto6E1o8m2t5TxNVXVrAAhS61XsgXgn9pRz9rpNwXlE18HSrL9h
nr5oZ3YtxXTeqx05OyU=
-----END PUBLIC KEY-----";
}
