//! What stands on a medium, for a person who holds it in the hand: sets, volumes, images, and whose seal it is. Reads only
//! the heads of volumes, changes nothing, and vouches for no chunk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::format::seal::Seal;
use super::format::table::SetTable;
use super::format::volume::SetId;
use super::medium_scan::{ScanError, Volumes, scan};
use super::reader::{Head, VolumeError, VolumeReader};
use crate::device_id::DeviceId;
use crate::enrolment::{self, EnrolmentError};
use crate::oci::digest::Digest;
use crate::oci::name::{RepositoryName, Tag};
use crate::store::{DeviceRole, Store};
use crate::sys::medium::Medium;

/// Everything on one medium.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inspection {
    pub label: String,
    pub sets: Vec<InspectedSet>,
}

/// One set, as far as it is on the medium.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InspectedSet {
    /// The part of the set's id that its files carry.
    pub name: String,
    /// What the first volume with a whole head says; none where no volume has one.
    pub summary: Option<SetSummary>,
    pub volumes_here: Vec<u16>,
    pub volumes_missing: Vec<u16>,
    /// What is wrong with volumes, one line each.
    pub problems: Vec<String>,
}

/// What a set's seal and table say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetSummary {
    pub set: SetId,
    pub sender: DeviceId,
    /// The sender's name if it is enrolled here and the seal is its own. Without it, the rest is only what somebody says.
    pub sender_name: Option<String>,
    pub receivers: Vec<DeviceId>,
    pub series: String,
    pub sequence: u64,
    pub created: jiff::Timestamp,
    pub volumes: u16,
    pub content_bytes: u64,
    pub images: Vec<InspectedImage>,
}

/// An image that a set carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InspectedImage {
    pub repository: RepositoryName,
    pub tags: Vec<Tag>,
    pub digest: Digest,
    pub platforms: Vec<String>,
    pub companions_count: usize,
}

/// Why a medium cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error("enrolled senders cannot be looked up")]
    Enrolment(#[from] EnrolmentError),
}

/// Looks at every volume's head on `medium`. A table of more than `table_bytes_max` is not read.
pub fn inspect(store: &Store, medium: &dyn Medium, table_bytes_max: usize) -> Result<Inspection, InspectError> {
    let sets: BTreeMap<String, Volumes> = scan(medium)?;
    let sets = sets.into_iter().map(|(name, files)| inspect_set(store, medium, (name, &files), table_bytes_max));
    Ok(Inspection { label: medium.label(), sets: sets.collect::<Result<_, _>>()? })
}

fn inspect_set(
    store: &Store,
    medium: &dyn Medium,
    (name, files): (String, &Volumes),
    table_bytes_max: usize,
) -> Result<InspectedSet, InspectError> {
    let mut inspected = InspectedSet {
        name,
        summary: None,
        volumes_here: Vec::new(),
        volumes_missing: Vec::new(),
        problems: Vec::new(),
    };
    let mut volumes_count = 0;
    for (volume, file) in files {
        let head = VolumeReader::open(medium, file).and_then(|reader| {
            let mut reader = reader.with_table_bytes_max(table_bytes_max);
            let head = reader.head()?;
            let table = reader.table(&head)?;
            Ok((head, table))
        });
        match head {
            Ok((head, table)) => {
                inspected.volumes_here.push(*volume);
                volumes_count = head.volume.volumes;
                if inspected.summary.is_none() {
                    inspected.summary = Some(summarise(store, &head, &table)?);
                }
            }
            Err(error) => inspected.problems.push(one_line(&error)),
        }
    }
    inspected.volumes_missing = (1..=volumes_count).filter(|volume| !inspected.volumes_here.contains(volume)).collect();
    Ok(inspected)
}

fn summarise(store: &Store, head: &Head, table: &SetTable) -> Result<SetSummary, EnrolmentError> {
    let seal: &Seal = head.seal.claims();
    let sender = enrolment::find(store, &seal.sender, DeviceRole::Sender)?;
    let sender_name = sender.filter(|sender| head.seal.verify(sender).is_ok()).map(|sender| sender.name);
    let images = table.images.iter().map(|image| InspectedImage {
        repository: image.repository.clone(),
        tags: image.tags.clone(),
        digest: image.digest,
        platforms: image.platforms.clone(),
        companions_count: image.companions.len(),
    });
    Ok(SetSummary {
        set: head.volume.set,
        sender: seal.sender.clone(),
        sender_name,
        receivers: seal.receivers.clone(),
        series: seal.series.clone(),
        sequence: seal.sequence,
        created: seal.created,
        volumes: seal.volumes,
        content_bytes: table.blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.size)),
        images: images.collect(),
    })
}

/// An error with its causes, for a list.
fn one_line(error: &VolumeError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
