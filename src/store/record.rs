//! What the store answers with: plain records, no behaviour.

use serde::{Deserialize, Serialize};

use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::EdgeKind;
use crate::oci::name::Tag;
use crate::store::transaction::PrincipalRef;
use crate::verify::Refusal;

/// A place in a journal. Two stores are in the same state exactly when their positions are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub journal_id: String,
    /// Rises whenever history may have been cut: after a restore, or when a durable frame was given up.
    pub epoch: u64,
    pub sequence: u64,
    /// Digest of the event at `sequence`.
    pub hash: Digest,
}

/// A manifest that was admitted to a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManifestRecord {
    pub digest: Digest,
    pub media_type: String,
    pub size_bytes: u64,
    pub artifact_type: Option<String>,
    pub subject: Option<Digest>,
    /// Some of what it points at may be absent: a mirror fetches on demand, an export may leave platforms behind.
    pub sparse: bool,
    /// Where it came from, as the one who published it said: an upstream's name, a set's id.
    pub origin: Option<String>,
    /// Journal sequence of the event that admitted it.
    pub sequence: u64,
}

/// A blob as one repository knows it, through at least one admitted manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlobLink {
    pub digest: Digest,
    pub size_bytes: u64,
    pub media_type: String,
    /// Whether this repository holds the bytes. A blob that another repository holds does not count.
    pub present: bool,
}

/// A manifest that was pushed and waits for what would let it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedRecord {
    pub digest: Digest,
    pub media_type: String,
    pub size_bytes: u64,
    pub subject: Option<Digest>,
    /// Tags that are to point at it once it is admitted.
    pub tags: Vec<Tag>,
    /// Who pushed it, the last one first. They alone see it.
    pub principals: Vec<PrincipalRef>,
    /// From when on nobody sees it any more.
    pub until: jiff::Timestamp,
    /// Journal sequence of the event that staged it.
    pub sequence: u64,
}

/// One thing that an admitted manifest points at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildRecord {
    pub digest: Digest,
    pub kind: EdgeKind,
    /// Whether this repository holds it: as an admitted manifest, or as a linked blob.
    pub present: bool,
}

/// What was last refused under a tag or digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalRecord {
    pub refusal: Refusal,
    /// The manifest that was refused, where it got so far that it has a digest.
    pub digest: Option<Digest>,
    /// Journal sequence of the event that recorded it.
    pub sequence: u64,
}

/// What an enrolled device may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceRole {
    /// Its sets are imported here.
    Sender,
    /// Sets are exported to it, and its receipts are believed.
    Receiver,
}

/// A device that a person has enrolled. One device may be enrolled once in each role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRecord {
    pub device_id: DeviceId,
    pub name: String,
    pub role: DeviceRole,
    pub identity_digest: Digest,
    /// The signed identity file, exactly as it was enrolled.
    #[serde(skip)]
    pub identity: Vec<u8>,
    /// Journal sequence of the enrolment.
    pub sequence: u64,
}

/// Bytes that no admitted manifest needs any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreferenced {
    pub digest: Digest,
    pub size_bytes: u64,
}

/// Bytes on their way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condemned {
    pub digest: Digest,
    /// Seconds of running time that are still to pass before it may be swept.
    pub grace_seconds_left: u64,
}

/// What the newest import of a series left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportMark {
    pub sequence: u64,
    /// Digest of the set's table.
    pub table_digest: Digest,
    /// The policy under which its images were judged.
    pub policy: Option<Digest>,
}
