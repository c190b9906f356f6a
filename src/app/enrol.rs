//! Operations on enrolled devices.

use super::appliance::Appliance;
use super::failure::Failure;
use super::operation::EnrolAdd;
use super::report::{DevicesReport, IdentityReport};
use crate::device_id::DeviceId;
use crate::enrolment::{self, Enrolled};

/// This device, with the file that others enrol it by.
pub fn show(appliance: &Appliance) -> IdentityReport {
    let card = enrolment::show(&appliance.keys);
    IdentityReport {
        name: card.name,
        device_id: card.device_id,
        fingerprint: card.fingerprint,
        identity: String::from_utf8_lossy(appliance.keys.identity_file()).into_owned(),
    }
}

/// Enrols a device whose fingerprint a person has compared.
pub fn add(appliance: &Appliance, order: &EnrolAdd) -> Result<Enrolled, Failure> {
    let EnrolAdd { identity, role, fingerprint } = order;
    let (store, keys) = (&appliance.store, &appliance.keys);
    Ok(enrolment::add(store, keys, identity.as_bytes(), *role, fingerprint, Appliance::operator())?)
}

/// Every enrolled device.
pub fn list(appliance: &Appliance) -> Result<DevicesReport, Failure> {
    Ok(DevicesReport { devices: enrolment::list(&appliance.store)? })
}

/// Forgets a device, and says as what it was enrolled.
pub fn remove(appliance: &Appliance, device: &str, dry_run: bool) -> Result<DevicesReport, Failure> {
    let device = find(appliance, device)?;
    let mut enrolled = list(appliance)?;
    enrolled.devices.retain(|enrolled| enrolled.card.device_id == device);
    if !dry_run {
        enrolment::remove(&appliance.store, &device, Appliance::operator())?;
    }
    Ok(enrolled)
}

/// The enrolled device that a person means: by id, by fingerprint, or by a name that only one has.
pub fn find(appliance: &Appliance, meant: &str) -> Result<DeviceId, Failure> {
    if let Ok(id) = meant.parse() {
        return Ok(id);
    }
    let mut named: Vec<DeviceId> = list(appliance)?
        .devices
        .into_iter()
        .filter(|enrolled| enrolled.card.name == meant)
        .map(|enrolled| enrolled.card.device_id)
        .collect();
    named.sort();
    named.dedup();
    match named.as_slice() {
        [device] => Ok(device.clone()),
        [] => Err(Failure::usage(format!("no device '{meant}' is enrolled"))
            .next("`postern enroll list` shows those that are; enrol one with `postern enroll add FILE`")),
        _ => Err(Failure::usage(format!("{} enrolled devices are named '{meant}'", named.len()))
            .next("write the fingerprint, as `postern enroll list` shows it")),
    }
}
