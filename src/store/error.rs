//! Why the store said no, or could not say anything.

use crate::device_id::DeviceId;
use crate::limits::TRUST_OBJECTS_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::{RepositoryName, Tag};
use crate::sys::dir::DirError;

/// The store cannot be made, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the data directory holds no store: make one with 'postern setup'")]
    Missing,
    #[error("the data directory holds a store already: choose an empty directory")]
    Exists,
    #[error("another process uses this data directory: stop it, or talk to it over its socket")]
    Locked,
    #[error(
        "the file 'VERSION' cannot be read: restore it from a backup, or from another data directory of this version"
    )]
    VersionFile(#[source] serde_json::Error),
    #[error("the store needs at least reader version {needed}, this binary is {own}: use the newer binary")]
    TooNew { needed: u32, own: u32 },
    #[error("content of the store cannot be used")]
    Blob(#[from] super::blobs::BlobError),
    #[error("a file of the store cannot be used")]
    Dir(#[from] DirError),
    #[error("the index of the store cannot be used: make it anew with 'postern store rebuild'")]
    Index(#[from] super::index::IndexError),
    #[error("the journal has no readable beginning: restore the data directory from a backup")]
    JournalMissing,
    #[error("the journal can be read up to event {reached} only, the store stands at {head}: restore it from a backup")]
    JournalShort { reached: u64, head: u64 },
    #[error("the journal holds something that this binary cannot take in")]
    Event(#[from] super::event::EventError),
    #[error("the sequencer of the store has ended: restart the appliance")]
    Stopped,
}

/// A transaction was not committed. None of its changes took place, unless it is [`CommitError::Indeterminate`].
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("the store is read-only since {reason}: check the disk, then restart; reading goes on")]
    ReadOnly { reason: String },
    #[error(
        "the change may or may not have been kept, because the disk failed while it was written: check the disk, restart, and look"
    )]
    Indeterminate,
    #[error("the disk is full: {free_bytes} bytes are free, {needed_bytes} are needed; retire and sweep, or add space")]
    Full { free_bytes: u64, needed_bytes: u64 },
    #[error("the transaction makes {bytes} bytes of journal, the most is {limit_bytes}: split it")]
    TooLarge { bytes: usize, limit_bytes: usize },
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A change does not fit what the store holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("the bytes of '{digest}' are not in the store, or not {size_bytes} long: fetch them first")]
    BytesMissing { digest: Digest, size_bytes: u64 },
    #[error("manifest '{manifest}' needs '{edge}', which '{repository}' does not hold")]
    EdgeMissing { repository: RepositoryName, manifest: Digest, edge: Digest },
    #[error("manifest '{manifest}' was judged for '{judged}', so it cannot be served from '{repository}'")]
    JudgedForAnother { repository: RepositoryName, judged: RepositoryName, manifest: Digest },
    #[error("'{repository}' holds no admitted manifest '{digest}'")]
    ManifestUnknown { repository: RepositoryName, digest: Digest },
    #[error("'{repository}' holds no blob '{digest}'")]
    BlobUnknown { repository: RepositoryName, digest: Digest },
    #[error("'{repository}' has no tag '{tag}'")]
    TagUnknown { repository: RepositoryName, tag: Tag },
    #[error("tag '{tag}' of '{repository}' has moved meanwhile: look again and decide anew")]
    TagMoved { repository: RepositoryName, tag: Tag, actual: Option<Digest> },
    #[error("manifest '{digest}' of '{repository}' still has the tag '{tag}': remove it first")]
    StillTagged { repository: RepositoryName, digest: Digest, tag: String },
    #[error("'{digest}' of '{repository}' is still needed by '{parent}': remove that first")]
    StillNeeded { repository: RepositoryName, digest: Digest, parent: Digest },
    #[error(
        "series '{series}' of '{device}' stands at sequence {current}, so {offered} comes too late: export a new set"
    )]
    SequenceTooLow { device: DeviceId, series: String, current: u64, offered: u64 },
    #[error("device '{0}' is not enrolled")]
    DeviceUnknown(DeviceId),
    #[error("policy '{0}' has no file under 'trust/policies'")]
    PolicyMissing(Digest),
    #[error("object of trust '{object}' has no file '{digest}' under 'trust/objects'")]
    ObjectMissing { object: String, digest: Digest },
    #[error("there is no version {version} of '{object}': `postern trust list` shows what there is")]
    ObjectUnknown { object: String, version: u64 },
    #[error("'{0}' was activated by another command meanwhile: look again and decide anew")]
    ObjectChanged(String),
    #[error(
        "there are {TRUST_OBJECTS_COUNT_MAX} objects of trust, which is as many as there may be: use their names again"
    )]
    TooManyObjects,
    #[error("root {offered} of '{name}' comes too late: root {known} was accepted meanwhile")]
    UpdateTooOld { name: String, known: u64, offered: u64 },
    #[error("trusted time has moved to {0} meanwhile: look again and decide anew")]
    TimeMoved(jiff::Timestamp),
    #[error("access document '{0}' has no file under 'trust/access'")]
    AccessMissing(Digest),
    #[error("projects or accounts were changed by another command meanwhile: give the command again")]
    AccessChanged,
    #[error("'{field}' is {bytes} bytes long, the most is {limit_bytes}")]
    TooLong { field: &'static str, bytes: usize, limit_bytes: usize },
}
