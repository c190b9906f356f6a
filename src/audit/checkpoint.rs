//! One signed word of a device: so far its journal went, and there it had this hash.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::device_id::DeviceId;
use crate::dsse::{Envelope, EnvelopeError};
use crate::limits::{CHECKPOINT_BYTES_MAX, CHECKPOINTS_KEPT_COUNT};
use crate::store::{JOURNAL_DIR, Position, Store};
use crate::sys::clock::trusted_now;
use crate::sys::dir::{Dir, DirError, read_bounded, replace};
use crate::sys::identity::SUITE;
use crate::sys::keys::{CHECKPOINT_TYPE, Identity, KeyError, KeyRing, Purpose, StatementError};

const VERSION: u32 = 1;
pub(super) const SUFFIX: &str = ".checkpoint";

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    version: u32,
    suite: String,
    pub device: DeviceId,
    pub position: Position,
    /// The time that counted as now at the device.
    pub time: Timestamp,
}

/// Why there is no checkpoint, or why one is not believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("checkpoint is not a signed envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("checkpoint is not signed by this device")]
    Statement(#[from] StatementError),
    #[error("checkpoint is not readable by this version")]
    Payload(#[from] serde_json::Error),
    #[error("checkpoint has version {0}, which this version does not read")]
    Version(u32),
    #[error("checkpoint cannot be signed")]
    Key(#[from] KeyError),
    #[error("checkpoint cannot be kept or read")]
    Dir(#[from] DirError),
}

pub(super) fn path(position: &Position) -> String {
    format!("{JOURNAL_DIR}/{:010}-{:020}{SUFFIX}", position.epoch, position.sequence)
}

/// The checkpoints in a store or a copy, by their paths, the oldest first.
pub(super) fn paths(dir: &dyn Dir) -> Result<Vec<String>, DirError> {
    let entries = dir.list(JOURNAL_DIR)?;
    let names = entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(SUFFIX));
    Ok(names.map(|name| format!("{JOURNAL_DIR}/{name}")).collect())
}

/// Reads a checkpoint and checks its signature.
pub(super) fn read(dir: &dyn Dir, path: &str, device: &Identity) -> Result<Checkpoint, CheckpointError> {
    let envelope = Envelope::parse(&read_bounded(dir, path, CHECKPOINT_BYTES_MAX)?, CHECKPOINT_BYTES_MAX)?;
    let payload = device.verify(Purpose::Journal, &envelope, CHECKPOINT_TYPE)?;
    let checkpoint: Checkpoint = serde_json::from_slice(payload)?;
    if checkpoint.version != VERSION || checkpoint.suite != SUITE {
        return Err(CheckpointError::Version(checkpoint.version));
    }
    Ok(checkpoint)
}

/// Signs where the journal stands now, unless that was done already.
pub fn sign(store: &Store, keys: &KeyRing) -> Result<Checkpoint, CheckpointError> {
    let position = store.head();
    let (dir, path) = (store.dir().as_ref(), path(&position));
    if dir.stat(&path)?.is_some()
        && let Ok(known) = read(dir, &path, keys.identity())
        && known.position == position
    {
        return Ok(known);
    }
    let checkpoint = Checkpoint {
        version: VERSION,
        suite: SUITE.to_owned(),
        device: keys.device_id().clone(),
        position,
        time: trusted_now(store.clock().wall(), store.time_floor()),
    };
    let payload = serde_json::to_vec(&checkpoint)?;
    let envelope = keys.sign(Purpose::Journal, CHECKPOINT_TYPE, payload)?;
    replace(dir, &path, &envelope.to_json())?;
    thin_out(dir)?;
    Ok(checkpoint)
}

/// Of many checkpoints the oldest go, except for every tenth: the chain proves what lies between two.
fn thin_out(dir: &dyn Dir) -> Result<(), DirError> {
    let all = paths(dir)?;
    let too_many = all.len().saturating_sub(CHECKPOINTS_KEPT_COUNT);
    for (number, path) in all.iter().take(too_many).enumerate() {
        if number % 10 != 0 {
            dir.remove(path)?;
        }
    }
    Ok(())
}
