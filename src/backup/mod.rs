//! A second copy of everything that cannot be had again, taken while the appliance serves.
//!
//! ```text
//! backup.json            JSON: version, device, where the journal ended; written last, so that what it names is there
//! SHA256SUMS             what all other files but content hashed to when they were copied
//! postern.toml           the configuration, if it lies in the data directory
//! VERSION                of the store
//! identity/identity.json who this is. No private key is ever in a backup: keep `identity/` elsewhere, or enrol anew
//! identity/receipts/     receipts of sets
//! trust/                 policies; documents of projects and accounts, locked away with the keys of the device: they hold names,
//!                        derived passwords, and what one-time passwords are counted from
//! journal/ snapshots/    ended segments, signed checkpoints, the newest snapshot
//! blobs/                 all content
//! ```
//!
//! It has the form of a data directory, so that it can be served from. Files are copied that are not there yet; none but
//! `backup.json`, `SHA256SUMS` and the configuration ever changes. Everything is hashed on its way; what the disk has changed
//! stays out, and what the medium has changed is copied once more: everything but the content is read from the medium at every
//! backup, content where somebody asks for it.

mod copy;
mod metadata;
mod restore;
mod sums;
mod take;
#[cfg(test)]
mod tests;
mod verify;

use serde::{Deserialize, Serialize};

pub use copy::CopyError;
pub use restore::{RestoreError, RestoreOrder, RestoreReport, fill, restore};
pub use take::{TakeError, TakeOptions, TakeReport, take};
pub use verify::{BackupReport, verify};

use crate::device_id::DeviceId;
use crate::limits::KIB;
use crate::oci::digest::Digest;
use crate::store::Position;
use crate::sys::dir::{Dir, DirError, read_bounded};

const VERSION: u32 = 1;
const STATE_FILE: &str = "backup.json";
/// Ends the name of a document that only the device's keys open.
const LOCKED: &str = ".locked";
/// Below this folder lies content.
pub const CONTENT: &str = "blobs/";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupState {
    version: u32,
    pub device: DeviceId,
    pub position: Position,
    /// Wall time of the appliance when it was taken.
    pub taken: jiff::Timestamp,
    pub files_count: u64,
    pub content_bytes: u64,
    /// Of the list of all other files. Earlier releases wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<Digest>,
}

impl BackupState {
    /// Reads what the backup in `dir` says; none where there is no finished one.
    pub fn read(dir: &dyn Dir) -> Result<Option<Self>, DirError> {
        let bytes = match read_bounded(dir, STATE_FILE, 16 * KIB) {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        let failed = |source| DirError { operation: "read", path: STATE_FILE.to_owned(), source };
        let state: Self = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
        if state.version != VERSION {
            return Err(failed(std::io::Error::other(format!(
                "version {} is not known: use a newer binary",
                state.version
            ))));
        }
        Ok(Some(state))
    }
}
