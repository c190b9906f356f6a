//! What would travel, before anything is written: images, evidence, bytes, volumes, room, and what is still missing.

use serde::{Deserialize, Serialize};

use super::closure::{Closure, ClosureError, EvidenceCounts, Missing};
use super::content::{ImageContent, Source};
use super::format::container::{END_BYTES, entry_bytes};
use super::format::seal::is_series;
use super::format::table::Image;
use crate::admission::{Allowance, Bytes, Candidate, ContentError, Judgement, Stream, judge};
use crate::device_id::DeviceId;
use crate::enrolment::{self, EnrolmentError};
use crate::limits::{CHUNK_BYTES, CHUNK_BYTES_MIN, VOLUME_BYTES_MAX, VOLUME_BYTES_MIN};
use crate::oci::digest::Digest;
use crate::oci::name::{ImageReference, RepositoryName, Tag};
use crate::store::{DeviceRole, Store, StoreError};
use crate::sys::clock::trusted_now;
use crate::sys::dir::DirError;
use crate::sys::medium::Medium;
use crate::verify::{Refusal, TrustPolicy, rule_names};

/// What somebody wants to carry to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    pub references: Vec<ImageReference>,
    /// Platforms of every index that travel; all of them where this is none.
    pub platforms: Option<Vec<String>>,
    pub receiver: DeviceId,
    /// Sets of one series are taken in in order.
    pub series: String,
    /// Largest file to be written.
    pub volume_bytes_max: u64,
}

/// The series that is used where none is named.
pub const DEFAULT_SERIES: &str = "default";

/// What would travel.
#[derive(Clone, Debug, Serialize)]
pub struct ExportPlan {
    pub request: ExportRequest,
    pub receiver_name: String,
    /// The sequence number that the set would get.
    pub sequence: u64,
    pub images: Vec<PlannedImage>,
    pub blobs_count: usize,
    /// Bytes of content, each blob counted once.
    pub content_bytes: u64,
    /// What the volumes would take if nothing could be compressed.
    pub volumes_bytes_max: u64,
    pub volumes_count_max: u64,
    pub medium: Option<PlannedMedium>,
    /// Content that must be fetched first; an export refuses while there is any.
    pub missing: Vec<Missing>,
    /// Non-distributable layers that are not here: the images travel without them.
    pub elsewhere: Vec<Missing>,
    #[serde(skip)]
    pub(super) closure: Closure,
}

/// One image of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedImage {
    pub repository: RepositoryName,
    pub original: RepositoryName,
    pub digest: Digest,
    pub tags: Vec<Tag>,
    pub platforms: Vec<String>,
    pub evidence: EvidenceCounts,
    /// Why this device's own policy would refuse it; none where it is satisfied.
    pub refusal: Option<Refusal>,
}

/// The medium of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedMedium {
    pub label: String,
    pub free_bytes: u64,
    /// Whether the whole set is sure to fit.
    pub fits: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("nothing to carry: name at least one image as NAME:TAG or NAME@DIGEST")]
    Nothing,
    #[error(
        "device '{}' is not enrolled as a receiver: 'postern enroll add --role receiver' takes its identity file",
        .0.fingerprint()
    )]
    Receiver(DeviceId),
    #[error("series '{0}' is not 1 to 64 of a-z, 0-9, '.', '_' and '-'")]
    Series(String),
    #[error("volumes of {0} bytes are asked for: choose from {VOLUME_BYTES_MIN} to {VOLUME_BYTES_MAX}")]
    VolumeBytes(u64),
    #[error(transparent)]
    Closure(#[from] ClosureError),
    #[error("the receiver cannot be looked up")]
    Enrolment(#[from] EnrolmentError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("the medium cannot be looked at: is it still in place?")]
    Medium(#[from] DirError),
}

/// Plans an export. Writes nothing, neither here nor on the medium.
pub fn plan(
    store: &Store,
    request: &ExportRequest,
    policy: &TrustPolicy,
    medium: Option<&dyn Medium>,
) -> Result<ExportPlan, PlanError> {
    if request.references.is_empty() {
        return Err(PlanError::Nothing);
    }
    if !is_series(&request.series) {
        return Err(PlanError::Series(request.series.chars().take(80).collect()));
    }
    if !(VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&request.volume_bytes_max) {
        return Err(PlanError::VolumeBytes(request.volume_bytes_max));
    }
    let receiver = enrolment::find(store, &request.receiver, DeviceRole::Receiver)?
        .ok_or_else(|| PlanError::Receiver(request.receiver.clone()))?;
    let closure = Closure::collect(store, &request.references, request.platforms.as_deref())?;
    let images = closure.images.iter().zip(&closure.evidence);
    let images = images.map(|(image, counts)| planned_image(store, policy, &closure, image, *counts)).collect();
    let (volumes_bytes_max, volumes_count_max) = worst_case(&closure, request.volume_bytes_max);
    let medium = medium.map(|medium| planned_medium(medium, volumes_bytes_max)).transpose()?;
    Ok(ExportPlan {
        sequence: store.next_export_sequence(&request.receiver, &request.series)?,
        request: request.clone(),
        receiver_name: receiver.name,
        images,
        blobs_count: closure.needs.len(),
        content_bytes: closure.content_bytes(),
        volumes_bytes_max,
        volumes_count_max,
        medium,
        missing: closure.missing.clone(),
        elsewhere: closure.elsewhere.clone(),
        closure,
    })
}

fn planned_medium(medium: &dyn Medium, needed_bytes: u64) -> Result<PlannedMedium, DirError> {
    let free_bytes = medium.free_bytes()?;
    Ok(PlannedMedium { label: medium.label(), free_bytes, fits: needed_bytes <= free_bytes })
}

fn planned_image(
    store: &Store,
    policy: &TrustPolicy,
    closure: &Closure,
    image: &Image,
    evidence: EvidenceCounts,
) -> PlannedImage {
    PlannedImage {
        repository: image.repository.clone(),
        original: image.original.clone(),
        digest: image.digest,
        tags: image.tags.clone(),
        platforms: image.platforms.clone(),
        evidence,
        refusal: own_refusal(store, policy, closure, image),
    }
}

/// What this device's own policy says of an image. The receiver judges by its own; this only spares a journey in vain.
fn own_refusal(store: &Store, policy: &TrustPolicy, closure: &Closure, image: &Image) -> Option<Refusal> {
    let candidate = Candidate {
        repository: image.repository.clone(),
        original: Some(image.original.clone()),
        root: image.digest,
        tags: image.tags.clone(),
    };
    let now = trusted_now(store.clock().wall(), store.time_floor());
    // What stands here was judged within this device's memory when it came in.
    let allowance = Allowance::of(None);
    let content = ImageContent { image, source: &StoredSource { store, closure }, allowance };
    match judge(policy, &candidate, &content, now) {
        Ok(Judgement::Admitted(_)) => None,
        Ok(Judgement::Refused { refusal, .. }) => Some(refusal),
        Err(error) => Some(error.refusal().unwrap_or_else(|| Refusal {
            rule: rule_names::INTEGRITY.to_owned(),
            reason: error.to_string(),
            next_step: None,
        })),
    }
}

/// The bytes of a plan: what the store holds of it.
struct StoredSource<'a> {
    store: &'a Store,
    closure: &'a Closure,
}

impl Source for StoredSource<'_> {
    fn manifest_type(&self, digest: &Digest) -> Option<String> {
        self.closure.needs.get(digest)?.manifest.clone()
    }

    fn read(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        match self.closure.needs.get(digest) {
            Some(need) if need.size_bytes <= limit_bytes as u64 => Ok(self.store.blobs().read(digest, limit_bytes)?),
            _ => Ok(None),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        match self.closure.needs.contains_key(digest) {
            true => Ok(self.store.blobs().open(digest)?.map(Bytes::of)),
            false => Ok(None),
        }
    }
}

/// Content bytes of a chunk: 1 MiB, and less only where volumes are so small that few such chunks would fit.
pub(super) fn chunk_bytes(volume_bytes_max: u64) -> usize {
    let eighth = usize::try_from(volume_bytes_max / 8).unwrap_or(usize::MAX);
    (eighth / CHUNK_BYTES_MIN * CHUNK_BYTES_MIN).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES)
}

/// Bytes that one chunk takes in the table, rounded up, and those of an image or blob without its chunks.
const TABLE_CHUNK_BYTES: u64 = 128;
const TABLE_ITEM_BYTES: u64 = 512;

/// Bytes and number of volumes if nothing could be compressed: the table stands on each of them.
fn worst_case(closure: &Closure, volume_bytes_max: u64) -> (u64, u64) {
    let chunk = chunk_bytes(volume_bytes_max) as u64;
    let chunks: u64 = closure.needs.values().map(|need| need.size_bytes.div_ceil(chunk)).sum();
    let companions: usize = closure.images.iter().map(|image| image.companions.len() + image.tags.len()).sum();
    let items = (closure.needs.len() + closure.images.len() + companions) as u64;
    let head = 3 * entry_bytes(0) + chunks * TABLE_CHUNK_BYTES + items * TABLE_ITEM_BYTES + 8 * 512 + END_BYTES;
    // A block for each header, one of padding, and what zstd adds to what it cannot compress.
    let body = closure.content_bytes() + chunks * (2 * 512 + 64) + closure.content_bytes() / 128;
    let room = volume_bytes_max.saturating_sub(head).saturating_sub(chunk + 2 * 512).max(1);
    let volumes = body.div_ceil(room).max(1);
    (body + volumes * head, volumes)
}

#[cfg(test)]
mod tests {
    use super::chunk_bytes;

    #[test]
    fn chunks_shrink_with_small_volumes_only() {
        for (volume, expected) in [(4 << 30, 1 << 20), (8 << 20, 1 << 20), (1 << 20, 128 << 10), (32 << 10, 4096)] {
            assert_eq!(chunk_bytes(volume), expected);
        }
    }
}
