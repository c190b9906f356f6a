//! Which other devices this one knows, and how it came to know them: a person compared a fingerprint.
//!
//! No device is known by default, and a signature by an unknown device proves nothing. Every change is journalled.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::device_id::DeviceId;
use crate::store::{Change, CommitError, DeviceRole, PrincipalRef, Store, StoreError, Transaction};
use crate::sys::keys::{Identity, IdentityError, KeyRing};

/// Why a device is not enrolled, or not found.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    #[error("identity file cannot be used")]
    Identity(#[from] IdentityError),
    #[error(
        "fingerprint '{}' was confirmed, but the identity file is of '{}': compare it again with the person at the \
         other device",
        .confirmed.fingerprint(), .actual.fingerprint()
    )]
    Fingerprint { confirmed: DeviceId, actual: DeviceId },
    #[error("identity file is of this device itself: ask for the file of the other device")]
    Itself,
    #[error("device '{}' is not enrolled: 'postern enroll list' shows those that are", .0.fingerprint())]
    Unknown(DeviceId),
    #[error("identity of device '{}', as it was enrolled, cannot be read: remove and enrol it again", .device.fingerprint())]
    Damaged {
        device: DeviceId,
        #[source]
        source: IdentityError,
    },
    #[error("enrolled devices cannot be read")]
    Store(#[from] StoreError),
    #[error("enrolment was not kept")]
    Commit(#[from] CommitError),
}

/// A device as it is shown to a person, who compares the fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub device_id: DeviceId,
    /// Groups of four letters, for reading aloud.
    pub fingerprint: String,
    pub name: String,
    pub created: Timestamp,
}

impl Card {
    fn of(identity: &Identity) -> Self {
        Self {
            device_id: identity.device_id.clone(),
            fingerprint: identity.device_id.fingerprint(),
            name: identity.name.clone(),
            created: identity.created,
        }
    }
}

/// An enrolled device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    #[serde(flatten)]
    pub card: Card,
    pub role: DeviceRole,
}

/// This device, to be shown beside its identity file ([`KeyRing::identity_file`]).
pub fn show(keys: &KeyRing) -> Card {
    Card::of(keys.identity())
}

/// What an identity file claims, before anybody has confirmed it.
pub fn preview(identity_file: &[u8]) -> Result<Card, EnrolmentError> {
    Ok(Card::of(&Identity::parse_and_verify(identity_file)?))
}

/// Enrols the device of an identity file in a role. `confirmed` is the fingerprint as a person has heard it from the
/// other side; it must be the file's own.
pub fn add(
    store: &Store,
    keys: &KeyRing,
    identity_file: &[u8],
    role: DeviceRole,
    confirmed: &DeviceId,
    principal: PrincipalRef,
) -> Result<Enrolled, EnrolmentError> {
    let identity = Identity::parse_and_verify(identity_file)?;
    if identity.device_id != *confirmed {
        return Err(EnrolmentError::Fingerprint { confirmed: confirmed.clone(), actual: identity.device_id });
    }
    if identity.device_id == *keys.device_id() {
        return Err(EnrolmentError::Itself);
    }
    let change = Change::EnrolDevice {
        device_id: identity.device_id.clone(),
        name: identity.name.clone(),
        role,
        identity: identity_file.to_vec(),
    };
    store.commit(Transaction::new(principal, vec![change]))?;
    Ok(Enrolled { card: Card::of(&identity), role })
}

/// Every enrolled device, in order of ids. Each is read from its own signed file, not from what the index says of it.
pub fn list(store: &Store) -> Result<Vec<Enrolled>, EnrolmentError> {
    let records = store.devices()?;
    records
        .iter()
        .map(|record| {
            Ok(Enrolled { card: Card::of(&identity_of(&record.device_id, &record.identity)?), role: record.role })
        })
        .collect()
}

/// Forgets a device in every role.
pub fn remove(store: &Store, device: &DeviceId, principal: PrincipalRef) -> Result<(), EnrolmentError> {
    if !store.devices()?.iter().any(|record| record.device_id == *device) {
        return Err(EnrolmentError::Unknown(device.clone()));
    }
    store.commit(Transaction::new(principal, vec![Change::RemoveDevice { device_id: device.clone() }]))?;
    Ok(())
}

/// The keys of a device that is enrolled in `role`; `None` where it is not.
pub fn find(store: &Store, device: &DeviceId, role: DeviceRole) -> Result<Option<Identity>, EnrolmentError> {
    let records = store.devices()?;
    let found = records.iter().find(|record| record.device_id == *device && record.role == role);
    found.map(|record| identity_of(device, &record.identity)).transpose()
}

/// The index is only a copy: the file must verify, and be of the device under whose id it stands.
fn identity_of(device: &DeviceId, identity_file: &[u8]) -> Result<Identity, EnrolmentError> {
    let damaged = |source| EnrolmentError::Damaged { device: device.clone(), source };
    let identity = Identity::parse_and_verify(identity_file).map_err(damaged)?;
    if identity.device_id == *device { Ok(identity) } else { Err(damaged(IdentityError::Signature)) }
}
