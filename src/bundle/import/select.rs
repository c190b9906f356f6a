//! Before any chunk is read: which set, whose seal, for whom, and whether it comes in its turn.

use super::{ImportError, ImportOptions};
use crate::bundle::format::SEAL_ENTRY;
use crate::bundle::format::seal::Seal;
use crate::bundle::format::table::SetTable;
use crate::bundle::format::volume::SetId;
use crate::bundle::medium_scan::{Volumes, scan};
use crate::bundle::reader::{Damage, Head, VolumeReader};
use crate::device_id::DeviceId;
use crate::enrolment;
use crate::store::{DeviceRole, Store};
use crate::sys::medium::Medium;

/// A set whose seal is an enrolled sender's and names this device, and those of its volumes that are on the medium.
pub(super) struct Selected {
    pub set: SetId,
    pub seal: Seal,
    pub table: SetTable,
    pub volumes: Vec<OpenVolume>,
    pub bytes_read: u64,
}

/// A volume on the medium whose head was checked.
pub(super) struct OpenVolume {
    pub reader: VolumeReader,
    pub head: Head,
}

/// Chooses the set and checks the heads of all its volumes on the medium.
pub(super) fn select(
    store: &Store,
    this_device: &DeviceId,
    medium: &dyn Medium,
    options: &ImportOptions,
) -> Result<Selected, ImportError> {
    let files = choose(medium, options.set.as_deref())?;
    let mut volumes: Vec<OpenVolume> = Vec::new();
    let mut known: Option<(SetTable, Seal)> = None;
    for file in files.values() {
        let mut reader = VolumeReader::open(medium, file)?.with_table_bytes_max(options.table_bytes_max);
        let mut head = reader.head()?;
        let seal = vouch(store, this_device, &reader, &head)?;
        match &known {
            None => known = Some((reader.table(&head)?, seal)),
            Some((table, first)) if *first == seal => reader.check_body(&head, table)?,
            Some((_, first)) => {
                return Err(ImportError::Foreign { file: file.clone(), set: seal.set_id(), expected: first.set_id() });
            }
        }
        // One copy of the table is enough.
        head.table_bytes = Vec::new();
        volumes.push(OpenVolume { reader, head });
    }
    let Some((table, seal)) = known else { return Err(ImportError::Nothing { label: medium.label() }) };
    let bytes_read = volumes.iter().map(|volume| volume.reader.bytes_read()).sum();
    Ok(Selected { set: seal.set_id(), seal, table, volumes, bytes_read })
}

fn choose(medium: &dyn Medium, wanted: Option<&str>) -> Result<Volumes, ImportError> {
    let mut sets = scan(medium)?;
    if let Some(wanted) = wanted {
        let wanted = wanted.trim().to_ascii_lowercase();
        sets.retain(|set, _| wanted.starts_with(set.as_str()) || (wanted.len() >= 4 && set.starts_with(&wanted)));
        if sets.is_empty() {
            return Err(ImportError::SetNotHere { set: wanted.chars().take(64).collect(), label: medium.label() });
        }
    }
    if sets.len() > 1 {
        return Err(ImportError::SeveralSets { sets: sets.into_keys().collect() });
    }
    sets.into_values().next().ok_or_else(|| ImportError::Nothing { label: medium.label() })
}

/// The statement of a seal that an enrolled sender has signed and that names this device as a receiver.
fn vouch(store: &Store, this_device: &DeviceId, reader: &VolumeReader, head: &Head) -> Result<Seal, ImportError> {
    let claimed = &head.seal.claims().sender;
    let file = reader.name().to_owned();
    let Some(sender) = enrolment::find(store, claimed, DeviceRole::Sender)? else {
        return Err(ImportError::UnknownSender { file, sender: claimed.clone() });
    };
    // First the signature: a changed list of receivers is a broken seal, not a wrong address.
    let seal =
        head.seal.verify(&sender).map_err(|error| reader.damaged(SEAL_ENTRY, head.seal_at, Damage::Seal(error)))?;
    if !seal.receivers.contains(this_device) {
        return Err(ImportError::NotForUs {
            file,
            receivers: seal.receivers.iter().map(DeviceId::fingerprint).collect(),
            this_device: this_device.fingerprint(),
        });
    }
    Ok(seal)
}
