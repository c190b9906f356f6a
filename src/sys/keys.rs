//! The device's private keys: the only holder. They are made here, never leave here, and are never printed.
//!
//! ```text
//! identity/device.pk8     PKCS#8, mode 0600; signs the identity file, and which key is the site's (`site_key`)
//! identity/seal.pk8       transfer bundles
//! identity/receipt.pk8    receipts of imports
//! identity/journal.pk8    checkpoints of the journal
//! identity/identity.json  the signed public half; its presence says that all keys above are complete
//! ```

mod vault;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use jiff::Timestamp;

use super::dir::{Dir, DirError, read_bounded, replace};
use super::identity::{IDENTITY_TYPE, payload};
pub use super::identity::{Identity, IdentityError, PublicKey, Purpose, StatementError};
use crate::device_id::DeviceId;
use crate::dsse::{Envelope, pre_authentication_encoding};
use crate::limits::{IDENTITY_BYTES_MAX, PRIVATE_KEY_BYTES_MAX};

/// Directory of keys and receipts in the data directory.
pub const IDENTITY_DIR: &str = "identity";
/// This device as it presents itself to others, signed by itself.
pub const IDENTITY_FILE: &str = "identity/identity.json";

/// Payload type of a seal.
pub const SEAL_TYPE: &str = "application/vnd.postern.seal.v1+json";
/// Payload type of a receipt.
pub const RECEIPT_TYPE: &str = "application/vnd.postern.receipt.v1+json";
/// Payload type of a journal checkpoint.
pub const CHECKPOINT_TYPE: &str = "application/vnd.postern.checkpoint.v1+json";

/// The keys of this device.
pub struct KeyRing {
    identity: Identity,
    identity_file: Vec<u8>,
    keys: [EcdsaKeyPair; 4],
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({}, keys withheld)", self.identity.device_id)
    }
}

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("this data directory already has the identity of a device: keys are made once and never replaced")]
    Exists,
    #[error("this data directory has no device identity: run 'postern setup' first")]
    Missing,
    #[error("cannot keep the keys of the device")]
    Dir(#[from] DirError),
    #[error("device identity is not in order")]
    Identity(#[from] IdentityError),
    #[error("{0} key is damaged or not the one that the identity file certifies: restore 'identity/' from a backup")]
    Damaged(&'static str),
    #[error("the cryptographic module could not make or use a key")]
    Module,
}

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self::Module
    }
}

fn key_path(purpose: Purpose) -> String {
    format!("{IDENTITY_DIR}/{}.pk8", purpose.name())
}

fn public_half(key: &EcdsaKeyPair) -> Result<PublicKey, KeyError> {
    use aws_lc_rs::encoding::AsDer as _;
    PublicKey::from_der(key.public_key().as_der()?.as_ref()).ok_or(KeyError::Module)
}

impl KeyRing {
    /// Makes the keys of a new device and its signed identity. Interrupted, it can be run again: only the identity file,
    /// written last, makes them final.
    pub fn create(dir: &dyn Dir, name: &str, now: Timestamp) -> Result<Self, KeyError> {
        if dir.stat(IDENTITY_FILE)?.is_some() {
            return Err(KeyError::Exists);
        }
        dir.create_dir_all(IDENTITY_DIR)?;
        let generate = || EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING);
        let keys = [generate()?, generate()?, generate()?, generate()?];
        let public = [public_half(&keys[0])?, public_half(&keys[1])?, public_half(&keys[2])?, public_half(&keys[3])?];
        let envelope = sign_with(&keys[0], IDENTITY_TYPE, payload(name, &public, now)?)?;
        for purpose in Purpose::ALL {
            replace(dir, &key_path(purpose), keys[purpose as usize].to_pkcs8v1()?.as_ref())?;
        }
        replace(dir, IDENTITY_FILE, &envelope.to_json())?;
        dir.sync_dir("")?;
        Self::open(dir)
    }

    /// Opens the keys of this device and checks each against the identity file.
    pub fn open(dir: &dyn Dir) -> Result<Self, KeyError> {
        if dir.stat(IDENTITY_FILE)?.is_none() {
            return Err(KeyError::Missing);
        }
        let identity_file = read_bounded(dir, IDENTITY_FILE, IDENTITY_BYTES_MAX)?;
        let identity = Identity::parse_and_verify(&identity_file)?;
        let open = |purpose| open_key(dir, &identity, purpose);
        let keys = [open(Purpose::Device)?, open(Purpose::Seal)?, open(Purpose::Receipt)?, open(Purpose::Journal)?];
        Ok(Self { identity, identity_file, keys })
    }

    /// Signs `payload` as a `payload_type` with the key for `purpose`.
    pub fn sign(&self, purpose: Purpose, payload_type: &str, payload: Vec<u8>) -> Result<Envelope, KeyError> {
        sign_with(&self.keys[purpose as usize], payload_type, payload)
    }

    /// The signed identity file, to be given to other devices.
    pub fn identity_file(&self) -> &[u8] {
        &self.identity_file
    }

    /// The public half of this device.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Which device this is.
    pub fn device_id(&self) -> &DeviceId {
        &self.identity.device_id
    }
}

fn open_key(dir: &dyn Dir, identity: &Identity, purpose: Purpose) -> Result<EcdsaKeyPair, KeyError> {
    let damaged = KeyError::Damaged(purpose.name());
    let bytes = zeroize::Zeroizing::new(read_bounded(dir, &key_path(purpose), PRIVATE_KEY_BYTES_MAX)?);
    let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &bytes) else { return Err(damaged) };
    if public_half(&key)? != *identity.key(purpose) {
        return Err(damaged);
    }
    Ok(key)
}

fn sign_with(key: &EcdsaKeyPair, payload_type: &str, payload: Vec<u8>) -> Result<Envelope, KeyError> {
    let signature = key.sign(&SystemRandom::new(), &pre_authentication_encoding(payload_type, &payload))?;
    Ok(Envelope {
        payload_type: payload_type.to_owned(),
        payload,
        key_id: None,
        signature: signature.as_ref().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::{IDENTITY_TYPE, Identity, IdentityError, KeyError, KeyRing, Purpose, RECEIPT_TYPE, SEAL_TYPE};
    use crate::dsse::Envelope;
    use crate::sys::dir::{Create, Dir};
    use crate::sys::dir_real::RealDir;

    fn ring() -> (tempfile::TempDir, RealDir, KeyRing) {
        let directory = tempfile::tempdir().unwrap();
        let dir = RealDir::open(directory.path()).unwrap();
        let ring = KeyRing::create(&dir, "low side", "2026-11-24T00:00:00Z".parse().unwrap()).unwrap();
        (directory, dir, ring)
    }

    #[test]
    fn signs_for_one_purpose_and_type_only() {
        let (_directory, _, ring) = ring();
        let identity = Identity::parse_and_verify(ring.identity_file()).unwrap();
        assert_eq!(identity.device_id, *ring.device_id());
        let envelope = ring.sign(Purpose::Seal, SEAL_TYPE, b"payload".to_vec()).unwrap();
        assert_eq!(identity.verify(Purpose::Seal, &envelope, SEAL_TYPE).unwrap(), b"payload");
        assert!(identity.verify(Purpose::Receipt, &envelope, SEAL_TYPE).is_err());
        assert!(identity.verify(Purpose::Seal, &envelope, RECEIPT_TYPE).is_err());
        let renamed = Envelope { payload_type: RECEIPT_TYPE.to_owned(), ..envelope };
        assert!(identity.verify(Purpose::Seal, &renamed, RECEIPT_TYPE).is_err());
    }

    #[test]
    fn opens_again_and_is_made_once() {
        let (_directory, dir, ring) = ring();
        let again = KeyRing::open(&dir).unwrap();
        assert_eq!(again.device_id(), ring.device_id());
        let second = KeyRing::create(&dir, "x", "2026-11-24T00:00:00Z".parse().unwrap());
        assert!(matches!(second, Err(KeyError::Exists)));
    }

    #[test]
    fn another_devices_key_is_noticed() {
        let (_first, dir, _) = ring();
        let (_second, other, _) = ring();
        let bytes = crate::sys::dir::read_bounded(&other, "identity/seal.pk8", 1000).unwrap();
        dir.open_write("identity/seal.pk8", Create::Existing).unwrap().write_at(&bytes, 0).unwrap();
        assert!(matches!(KeyRing::open(&dir), Err(KeyError::Damaged("seal"))));
    }

    #[test]
    fn every_changed_byte_of_an_identity_is_refused_or_changes_nothing() {
        let (_directory, _, ring) = ring();
        let identity = ring.identity();
        for at in 0..ring.identity_file().len() {
            let mut bytes = ring.identity_file().to_vec();
            bytes[at] ^= 1;
            if let Ok(parsed) = Identity::parse_and_verify(&bytes) {
                assert_eq!(&parsed, identity, "byte {at}");
            }
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let (_directory, dir, ring) = ring();
        let text = format!("{ring:?}");
        assert!(text.contains("withheld"), "{text}");
        let mode = {
            use std::os::unix::fs::MetadataExt as _;
            dir.real_path("identity/seal.pk8").unwrap().metadata().unwrap().mode()
        };
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn refuses_what_is_not_an_identity() {
        let (_directory, _, ring) = ring();
        let check = |purpose, payload_type: &str, payload: &str| {
            let envelope = ring.sign(purpose, payload_type, payload.as_bytes().to_vec()).unwrap();
            Identity::parse_and_verify(&envelope.to_json()).unwrap_err()
        };
        let payload = Envelope::parse(ring.identity_file(), 10_000).unwrap().payload;
        let payload = String::from_utf8(payload).unwrap();
        assert!(matches!(check(Purpose::Device, SEAL_TYPE, &payload), IdentityError::PayloadType(_)));
        assert!(matches!(check(Purpose::Seal, IDENTITY_TYPE, &payload), IdentityError::Signature));
        let newer = payload.replace("\"version\":1", "\"version\":2");
        assert!(matches!(check(Purpose::Device, IDENTITY_TYPE, &newer), IdentityError::Version { version: 2, .. }));
        let unnamed = payload.replace("low side", " ");
        assert!(matches!(check(Purpose::Device, IDENTITY_TYPE, &unnamed), IdentityError::Name(_)));
        assert!(matches!(Identity::parse_and_verify(b"{}"), Err(IdentityError::Envelope(_))));
    }
}
