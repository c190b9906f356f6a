//! The site's own key: with it a site says of an image what others can check by one public key. ECDSA, since that is what
//! every verifier in the field takes.
//!
//! ```text
//! identity/site.pk8    PKCS#8, mode 0600
//! identity/site.json   its public half, signed by the device's key; written last, so that the key above is whole
//! ```
//!
//! A key can also come from elsewhere, as PEM: a file that somebody names, or a credential that the service manager hands
//! over. Like the keys of the device it is never printed.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::dir::{Dir, DirError, read_bounded, replace};
use super::keys::{IDENTITY_DIR, KeyError, KeyRing, Purpose, StatementError};
use crate::dsse::{Envelope, EnvelopeError, pre_authentication_encoding};
use crate::limits::{IDENTITY_BYTES_MAX, PRIVATE_KEY_BYTES_MAX};
use crate::oci::digest::Digest;

/// Where the key made here lies.
const KEY_FILE: &str = "identity/site.pk8";
/// Its public half, as the device vouches for it.
pub const CERTIFICATE_FILE: &str = "identity/site.json";
/// Payload type of what the device signs about it.
pub const SITE_KEY_TYPE: &str = "application/vnd.postern.site-key.v1+json";
/// The name under which the service manager hands over a key.
pub const CREDENTIAL: &str = "site-key";
const VERSION: u32 = 1;

/// A private key that signs for the site.
pub struct SiteKey {
    pair: EcdsaKeyPair,
    public_der: Vec<u8>,
}

impl std::fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SiteKey({}, private half withheld)", self.fingerprint())
    }
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SiteKeyError {
    #[error("there is no key of the site")]
    Missing,
    #[error("this is no private key in PEM: expected one block 'PRIVATE KEY' (PKCS#8) or 'EC PRIVATE KEY'")]
    NotPem,
    #[error("this is a public key, and signing needs the private one")]
    Public,
    #[error(
        "this private key is under a password: write it without one into a file of mode 0600 (openssl pkcs8 -topk8 -nocrypt)"
    )]
    Password,
    #[error("the private key is none of ECDSA on P-256 or P-384, or is damaged")]
    Algorithm,
    #[error(
        "the key of the site is damaged, or not the one that the device vouches for: restore 'identity/' from a copy"
    )]
    Damaged,
    #[error("what the device says of the key of the site cannot be read")]
    Envelope(#[source] EnvelopeError),
    #[error("what stands beside the key of the site is not signed by this device")]
    Statement(#[from] StatementError),
    #[error("cannot keep or read the key of the site")]
    Dir(#[from] DirError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the cryptographic module could not make or use a key")]
    Module,
}

impl From<aws_lc_rs::error::Unspecified> for SiteKeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Module
    }
}

/// What the device says of the key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certified {
    version: u32,
    public_key: String,
    created: Timestamp,
}

impl SiteKey {
    /// The key in a text of PEM.
    pub fn from_pem(text: &str) -> Result<Self, SiteKeyError> {
        if text.contains("ENCRYPTED") {
            return Err(SiteKeyError::Password);
        }
        if text.contains("PUBLIC KEY-----") {
            return Err(SiteKeyError::Public);
        }
        let block = pem::parse(text).map_err(|_| SiteKeyError::NotPem)?;
        if !matches!(block.tag(), "PRIVATE KEY" | "EC PRIVATE KEY") {
            return Err(SiteKeyError::NotPem);
        }
        let der = zeroize::Zeroizing::new(block.into_contents());
        let pair = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING]
            .into_iter()
            .find_map(|algorithm| EcdsaKeyPair::from_private_key_der(algorithm, &der).ok());
        Self::of(pair.ok_or(SiteKeyError::Algorithm)?)
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, SiteKeyError> {
        let public_der = pair.public_key().as_der()?.as_ref().to_vec();
        Ok(Self { pair, public_der })
    }

    /// The key that was made here.
    pub fn open(dir: &dyn Dir, ring: &KeyRing) -> Result<Self, SiteKeyError> {
        if dir.stat(CERTIFICATE_FILE)?.is_none() {
            return Err(SiteKeyError::Missing);
        }
        let envelope = Envelope::parse(&read_bounded(dir, CERTIFICATE_FILE, IDENTITY_BYTES_MAX)?, IDENTITY_BYTES_MAX)
            .map_err(SiteKeyError::Envelope)?;
        let payload = ring.identity().verify(Purpose::Device, &envelope, SITE_KEY_TYPE)?;
        let certified: Certified = serde_json::from_slice(payload).map_err(|_| SiteKeyError::Damaged)?;
        let bytes = zeroize::Zeroizing::new(read_bounded(dir, KEY_FILE, PRIVATE_KEY_BYTES_MAX)?);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &bytes);
        let key = Self::of(pair.map_err(|_| SiteKeyError::Damaged)?)?;
        if certified.version != VERSION || certified.public_key != BASE64.encode(&key.public_der) {
            return Err(SiteKeyError::Damaged);
        }
        Ok(key)
    }

    /// The key that was made here, made now where there is none. Interrupted, it is begun anew: what the device vouches
    /// for is written last.
    pub fn open_or_create(dir: &dyn Dir, ring: &KeyRing, now: Timestamp) -> Result<Self, SiteKeyError> {
        match Self::open(dir, ring) {
            Err(SiteKeyError::Missing) => {}
            opened => return opened,
        }
        let key = Self::of(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?)?;
        let certified = Certified { version: VERSION, public_key: BASE64.encode(&key.public_der), created: now };
        let payload = serde_json::to_vec(&certified).expect("texts and a time always serialise");
        let envelope = ring.sign(Purpose::Device, SITE_KEY_TYPE, payload)?;
        dir.create_dir_all(IDENTITY_DIR)?;
        replace(dir, KEY_FILE, key.pair.to_pkcs8v1()?.as_ref())?;
        replace(dir, CERTIFICATE_FILE, &envelope.to_json())?;
        Ok(key)
    }

    /// The public half as others take it.
    pub fn public_pem(&self) -> String {
        pem::encode_config(
            &pem::Pem::new("PUBLIC KEY", self.public_der.clone()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// SHA-256 of the public half.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.public_der)
    }

    /// Signs `payload` as a `payload_type`.
    pub fn sign(&self, payload_type: &str, payload: Vec<u8>) -> Result<Envelope, SiteKeyError> {
        let signed = pre_authentication_encoding(payload_type, &payload);
        let signature = self.pair.sign(&SystemRandom::new(), &signed)?.as_ref().to_vec();
        Ok(Envelope { payload_type: payload_type.to_owned(), payload, key_id: None, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::{CERTIFICATE_FILE, KEY_FILE, SiteKey, SiteKeyError};
    use crate::sys::dir::{read_bounded, replace};
    use crate::sys::dir_real::RealDir;
    use crate::sys::keys::KeyRing;

    fn device() -> (tempfile::TempDir, RealDir, KeyRing) {
        let folder = tempfile::tempdir().unwrap();
        let dir = RealDir::open(folder.path()).unwrap();
        let ring = KeyRing::create(&dir, "site", "2026-11-24T00:00:00Z".parse().unwrap()).unwrap();
        (folder, dir, ring)
    }

    #[test]
    fn it_is_made_once_and_is_the_devices() {
        let (_folder, dir, ring) = device();
        assert!(matches!(SiteKey::open(&dir, &ring), Err(SiteKeyError::Missing)));
        let now = "2026-11-25T00:00:00Z".parse().unwrap();
        let made = SiteKey::open_or_create(&dir, &ring, now).unwrap();
        assert_eq!(SiteKey::open_or_create(&dir, &ring, now).unwrap().public_pem(), made.public_pem());
        assert!(format!("{made:?}").contains("withheld"));
        // What another device vouches for is not this one's, and neither is a key that was exchanged.
        let (_other_folder, other, other_ring) = device();
        SiteKey::open_or_create(&other, &other_ring, now).unwrap();
        assert!(matches!(SiteKey::open(&other, &ring), Err(SiteKeyError::Statement(_))));
        let exchanged = read_bounded(&other, KEY_FILE, 1000).unwrap();
        replace(&dir, KEY_FILE, &exchanged).unwrap();
        assert!(matches!(SiteKey::open(&dir, &ring), Err(SiteKeyError::Damaged)));
        replace(&dir, CERTIFICATE_FILE, b"{}").unwrap();
        assert!(matches!(SiteKey::open(&dir, &ring), Err(SiteKeyError::Envelope(_))));
    }

    #[test]
    fn a_key_from_elsewhere_is_pem_and_each_other_text_has_its_own_reason() {
        let check = |text: &str| SiteKey::from_pem(text).unwrap_err();
        assert!(matches!(check(""), SiteKeyError::NotPem));
        assert!(matches!(check("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----"), SiteKeyError::Public));
        let encrypted =
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAA==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----";
        assert!(matches!(check(encrypted), SiteKeyError::Password));
        assert!(matches!(check("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"), SiteKeyError::NotPem));
        assert!(matches!(
            check("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            SiteKeyError::Algorithm
        ));
        let (_folder, dir, ring) = device();
        let made = SiteKey::open_or_create(&dir, &ring, "2026-11-25T00:00:00Z".parse().unwrap()).unwrap();
        let text = pem::encode(&pem::Pem::new("PRIVATE KEY", read_bounded(&dir, KEY_FILE, 1000).unwrap()));
        assert_eq!(SiteKey::from_pem(&text).unwrap().public_pem(), made.public_pem());
    }
}
