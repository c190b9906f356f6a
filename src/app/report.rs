//! What operations answer where no lower module has a report of its own. Each is both shown to people and printed as
//! JSON, so a field keeps its name.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trust::Impact;
use crate::admission::Described;
use crate::bundle::closure::Missing;
use crate::bundle::export::ExportReport;
use crate::bundle::format::volume::SetId;
use crate::bundle::plan::{ExportRequest, PlannedImage, PlannedMedium};
use crate::bundle::receipt::{AdmittedEntry, Receipt, RefusedEntry};
use crate::device_id::DeviceId;
use crate::enrolment::Enrolled;
use crate::oci::digest::Digest;
use crate::oci::name::{ImageReference, RepositoryName, Tag};
use crate::store::{Condition, Position};
use crate::upstream::FetchReport;
use crate::verify::Refusal;

/// How an appliance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub name: String,
    pub device_id: DeviceId,
    pub fingerprint: String,
    pub version: String,
    pub data_dir: PathBuf,
    pub head: Position,
    /// Why nothing can be changed; none in a healthy store.
    pub read_only: Option<String>,
    /// Everything that is not as it should be.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The form that the store is in, and the newest one that this release knows.
    #[serde(default)]
    pub format: u32,
    #[serde(default)]
    pub format_newest: u32,
    /// Seconds of running time over all boots.
    pub running_seconds: u64,
    pub free_bytes: u64,
    pub policy: Option<Digest>,
    pub offline: bool,
    pub upstreams: Vec<String>,
    pub repositories_count: u64,
    pub senders_count: u64,
    pub receivers_count: u64,
}

/// This device's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityReport {
    pub name: String,
    pub device_id: DeviceId,
    pub fingerprint: String,
    /// The signed identity file, to be handed to other devices.
    pub identity: String,
}

/// Enrolled devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesReport {
    pub devices: Vec<Enrolled>,
}

/// A policy that was activated, or is active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// None where no policy was ever activated and nothing is trusted.
    pub digest: Option<Digest>,
    pub rules: Vec<String>,
    /// The policy as it was written.
    pub text: String,
    /// What an activation did to tagged images, or would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
}

/// Images, a line for each tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesReport {
    pub images: Vec<ImageLine>,
}

/// One tag of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLine {
    pub repository: RepositoryName,
    pub tag: Tag,
    pub digest: Digest,
    pub platforms: Vec<String>,
    /// Rules of the active policy that it satisfies now; none where one refuses it or no rule is about it.
    pub rules: Vec<String>,
}

/// One image in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    pub repository: RepositoryName,
    pub digest: Digest,
    pub tags: Vec<Tag>,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub size_bytes: u64,
    /// Where it came from: an upstream's name or a set's id.
    pub origin: Option<String>,
    /// Journal sequence of the event that admitted it.
    pub admitted_by_event: u64,
    pub platforms: Vec<String>,
    /// What its manifest lists.
    pub children: Vec<Child>,
    /// Manifests that have it as their subject.
    pub referrers: Vec<Referrer>,
    /// Its platforms, with the SBOMs, provenance and signatures that there are. What they are worth is the judgement's.
    pub described: Described,
    pub judgement: JudgementReport,
}

/// One entry of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    pub digest: Digest,
    pub media_type: String,
    pub size_bytes: u64,
    pub platform: Option<String>,
    pub is_manifest: bool,
    /// Whether this repository holds it.
    pub present: bool,
}

/// Something that speaks of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referrer {
    pub digest: Digest,
    pub artifact_type: Option<String>,
}

/// What the active policy says of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgementReport {
    /// None where the image never got so far that it had one.
    pub digest: Option<Digest>,
    pub admitted: bool,
    pub refusal: Option<Refusal>,
    /// Every rule and every check; none where the image was refused before it came in.
    pub verdict: Option<Value>,
}

/// What would travel in a transfer bundle, as it is shown. It cannot be exported: only a plan made anew can.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanReport {
    pub request: ExportRequest,
    pub receiver_name: String,
    pub sequence: u64,
    pub images: Vec<PlannedImage>,
    pub blobs_count: usize,
    pub content_bytes: u64,
    pub volumes_bytes_max: u64,
    pub volumes_count_max: u64,
    pub medium: Option<PlannedMedium>,
    pub missing: Vec<Missing>,
    pub elsewhere: Vec<Missing>,
}

/// A transfer bundle that stands on its medium.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportedReport {
    #[serde(flatten)]
    pub export: ExportReport,
    /// Every volume was read from the medium again and compared.
    pub read_back: bool,
}

/// What an import admitted and refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportedReport {
    pub set: SetId,
    /// It was imported before; nothing was done but putting back what was lost.
    pub already_imported: bool,
    /// Content that had come in before, was lost by the disk, and is here again.
    #[serde(default)]
    pub restored_count: u64,
    pub sender: DeviceId,
    pub series: String,
    pub sequence: u64,
    pub admitted: Vec<AdmittedEntry>,
    pub refused: Vec<RefusedEntry>,
    pub policy_digest: Digest,
    pub position: Position,
    /// The signed receipt.
    pub receipt_path: PathBuf,
    pub bytes_read: u64,
    pub volumes_read: Vec<u16>,
}

/// What was fetched from upstreams, and what the policy refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchedReport {
    pub fetched: Vec<FetchedImage>,
    pub refused: Vec<RefusedImage>,
}

/// An image that is here as a whole now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchedImage {
    pub image: ImageReference,
    #[serde(flatten)]
    pub fetch: FetchReport,
}

/// An image that stays outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusedImage {
    pub image: ImageReference,
    pub refusal: Refusal,
}

/// Receipts kept here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReceiptsReport {
    pub receipts: Vec<Receipt>,
}

/// One receipt, and the signed file that proves it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReceiptReport {
    pub receipt: Receipt,
    pub file: String,
}
