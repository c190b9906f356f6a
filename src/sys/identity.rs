//! The public side of a device: its signed identity file, and checking what its keys have signed.
//!
//! An identity proves only that its keys belong together. Whether the device is trusted is a matter of enrolment; nothing
//! here knows any key.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, ParsedPublicKey, UnparsedPublicKey};
use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::device_id::DeviceId;
use crate::dsse::{Envelope, EnvelopeError};
use crate::limits::{DEVICE_NAME_BYTES_MAX, IDENTITY_BYTES_MAX};

/// Payload type of an identity file.
pub const IDENTITY_TYPE: &str = "application/vnd.postern.identity.v1+json";
/// The cryptographic suite of version 1: ECDSA over P-384 with SHA-384, signatures in DER.
pub const SUITE: &str = "p384-sha384";
const VERSION: u32 = 1;

/// DER of a P-384 SubjectPublicKeyInfo up to the uncompressed point: the only encoding that is taken, so that one key
/// has one device id.
const SPKI_PREFIX: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00, 0x04,
];
const SPKI_BYTES: usize = SPKI_PREFIX.len() + 96;

/// What a key of a device is for. A key signs for its purpose and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The root of the device: certifies the others and names the device.
    Device,
    /// Seals transfer bundles.
    Seal,
    /// Signs receipts of imports.
    Receipt,
    /// Signs checkpoints of the journal.
    Journal,
}

impl Purpose {
    /// All purposes, the device's own first.
    pub const ALL: [Self; 4] = [Self::Device, Self::Seal, Self::Receipt, Self::Journal];

    /// The word that names the purpose in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Seal => "seal",
            Self::Receipt => "receipt",
            Self::Journal => "journal",
        }
    }
}

/// A public key, in the one encoding that is taken.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    subject_public_key_info: Vec<u8>,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", BASE64.encode(&self.subject_public_key_info))
    }
}

impl PublicKey {
    /// Takes a SubjectPublicKeyInfo in DER; `None` where it is not P-384 with an uncompressed point on the curve.
    pub fn from_der(subject_public_key_info: &[u8]) -> Option<Self> {
        let form = subject_public_key_info.len() == SPKI_BYTES && subject_public_key_info.starts_with(&SPKI_PREFIX);
        let on_curve = || ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, subject_public_key_info).is_ok();
        (form && on_curve()).then(|| Self { subject_public_key_info: subject_public_key_info.to_vec() })
    }

    /// The SubjectPublicKeyInfo in DER.
    pub fn as_der(&self) -> &[u8] {
        &self.subject_public_key_info
    }

    fn from_base64(text: &str) -> Option<Self> {
        Self::from_der(&BASE64.decode(text.as_bytes()).ok()?)
    }

    fn has_signed(&self, envelope: &Envelope) -> bool {
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &self.subject_public_key_info)
            .verify(&envelope.signed_bytes(), &envelope.signature)
            .is_ok()
    }
}

/// A device's name and keys, as its own signature binds them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub device_id: DeviceId,
    /// What people call the device. Never used to decide anything.
    pub name: String,
    pub created: Timestamp,
    keys: [PublicKey; 4],
}

/// Why bytes are not an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("identity file is not a signed envelope: ask for the file that 'postern enroll show' writes")]
    Envelope(#[source] EnvelopeError),
    #[error("identity file holds '{0}' instead of an identity: ask for the file that 'postern enroll show' writes")]
    PayloadType(String),
    #[error("identity file's content is not readable by this version")]
    Payload(#[source] serde_json::Error),
    #[error("identity file has version {version} and suite '{suite}', this version reads {VERSION} and '{SUITE}'")]
    Version { version: u32, suite: String },
    #[error(
        "device name '{0}' is not 1 to {DEVICE_NAME_BYTES_MAX} visible characters without a slash, and no blanks at its ends"
    )]
    Name(String),
    #[error("{0} key of the identity file is not a P-384 public key")]
    Key(&'static str),
    #[error("identity file uses one key for two purposes")]
    SharedKey,
    #[error("identity file is not signed by the device key that it names: it was changed after it was made")]
    Signature,
}

/// Why a statement of a device is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StatementError {
    #[error("signed statement is of type '{actual}' where '{expected}' is asked")]
    PayloadType { expected: String, actual: String },
    #[error("signature is not by the {purpose} key of device '{device}' ({name})")]
    Signature { purpose: &'static str, device: DeviceId, name: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    suite: String,
    name: String,
    device_key: String,
    keys: WrittenKeys,
    created: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKeys {
    seal: String,
    receipt: String,
    journal: String,
}

/// The payload that a new device signs. `keys` stand in the order of [`Purpose::ALL`].
pub(super) fn payload(name: &str, keys: &[PublicKey; 4], created: Timestamp) -> Result<Vec<u8>, IdentityError> {
    check_name(name)?;
    let [device, seal, receipt, journal] = keys.each_ref().map(|key| BASE64.encode(key.as_der()));
    let written = Written {
        version: VERSION,
        suite: SUITE.to_owned(),
        name: name.to_owned(),
        device_key: device,
        keys: WrittenKeys { seal, receipt, journal },
        created,
    };
    Ok(serde_json::to_vec(&written).expect("strings and a time always serialise"))
}

/// Whether a device may be called so: visible characters, and none by which a path would lead elsewhere.
pub fn check_name(name: &str) -> Result<(), IdentityError> {
    let visible = |letter: char| !letter.is_control() && (letter == ' ' || !letter.is_whitespace());
    let good = !name.is_empty() && name.len() <= DEVICE_NAME_BYTES_MAX && name.trim() == name && !name.contains('/');
    if good && name.chars().all(visible) {
        return Ok(());
    }
    Err(IdentityError::Name(name.chars().filter(|letter| visible(*letter)).take(DEVICE_NAME_BYTES_MAX).collect()))
}

impl Identity {
    /// Parses an identity file and checks that its own device key has signed it.
    pub fn parse_and_verify(bytes: &[u8]) -> Result<Self, IdentityError> {
        let envelope = Envelope::parse(bytes, IDENTITY_BYTES_MAX).map_err(IdentityError::Envelope)?;
        if envelope.payload_type != IDENTITY_TYPE {
            return Err(IdentityError::PayloadType(envelope.payload_type.chars().take(100).collect()));
        }
        let written: Written = serde_json::from_slice(&envelope.payload).map_err(IdentityError::Payload)?;
        if written.version != VERSION || written.suite != SUITE {
            let suite = written.suite.chars().take(40).collect();
            return Err(IdentityError::Version { version: written.version, suite });
        }
        check_name(&written.name)?;
        let key = |purpose: Purpose, text: &str| PublicKey::from_base64(text).ok_or(IdentityError::Key(purpose.name()));
        let keys = [
            key(Purpose::Device, &written.device_key)?,
            key(Purpose::Seal, &written.keys.seal)?,
            key(Purpose::Receipt, &written.keys.receipt)?,
            key(Purpose::Journal, &written.keys.journal)?,
        ];
        if (1..keys.len()).any(|index| keys[..index].contains(&keys[index])) {
            return Err(IdentityError::SharedKey);
        }
        let identity = Self {
            device_id: DeviceId::of_public_key(keys[0].as_der()),
            name: written.name,
            created: written.created,
            keys,
        };
        identity.verify(Purpose::Device, &envelope, IDENTITY_TYPE).map_err(|_| IdentityError::Signature)?;
        Ok(identity)
    }

    /// The public key for a purpose.
    pub fn key(&self, purpose: Purpose) -> &PublicKey {
        &self.keys[purpose as usize]
    }

    /// The payload of an envelope, given only when this device's key for `purpose` has signed it as a `payload_type`.
    pub fn verify<'a>(
        &self,
        purpose: Purpose,
        envelope: &'a Envelope,
        payload_type: &str,
    ) -> Result<&'a [u8], StatementError> {
        if envelope.payload_type != payload_type {
            return Err(StatementError::PayloadType {
                expected: payload_type.to_owned(),
                actual: envelope.payload_type.chars().take(100).collect(),
            });
        }
        if !self.key(purpose).has_signed(envelope) {
            return Err(StatementError::Signature {
                purpose: purpose.name(),
                device: self.device_id.clone(),
                name: self.name.clone(),
            });
        }
        Ok(&envelope.payload)
    }
}
