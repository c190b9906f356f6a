//! Taking a backup of an open store. Nothing waits for it but the end of one segment and a snapshot.

use serde::{Deserialize, Serialize};

use super::copy::{self, CopyError};
use super::{BackupState, STATE_FILE, VERSION};
use crate::audit::{CheckpointError, sign};
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::{ACCESS_DOCUMENTS, JOURNAL_DIR, POLICIES, Position, SNAPSHOTS, Store, StoreError, VERSION_FILE};
use crate::sys::dir::{Dir, DirError, replace};
use crate::sys::keys::{IDENTITY_FILE, KeyRing};
use crate::sys::kill_point::kill_point;

const RECEIPTS: &str = "identity/receipts";
pub(super) const CONFIGURATION: &str = "postern.toml";

/// Why there is no new backup. The one before is still whole.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error("the directory holds a backup of another store: choose another one")]
    Other,
    #[error("the journal cannot be ended or written down")]
    Store(#[from] StoreError),
    #[error("the journal's end cannot be signed")]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("the backup cannot be looked at or finished: is the medium in place and writable?")]
    Dir(#[from] DirError),
}

/// What a backup holds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeReport {
    pub position: Position,
    pub files_count: u64,
    pub content_bytes: u64,
    pub files_copied: u64,
    pub bytes_copied: u64,
    /// Content that the store holds no more, taken out of the backup.
    pub files_pruned: u64,
    /// Content whose bytes the disk has changed: it is not in the backup unless an earlier one has it.
    pub damaged: Vec<Digest>,
    /// Never: keep `identity/` elsewhere.
    pub holds_private_keys: bool,
}

/// Brings the backup in `to` to where the store is now. What is there already is not copied again.
pub fn take(store: &Store, keys: &KeyRing, to: &dyn Dir, progress: &dyn Progress) -> Result<TakeReport, TakeError> {
    let before = BackupState::read(to)?;
    if before.is_some_and(|before| before.position.journal_id != store.head().journal_id) {
        return Err(TakeError::Other);
    }
    let from = store.dir().as_ref();
    // From here no file goes; the snapshot comes after every removal that was under way, and ends the segment.
    let _held = store.hold_files();
    let position = store.snapshot()?.position;
    sign(store, keys)?;
    let (content, _) = copy::content(from, to, &|| false, &mut |content| {
        progress.step("content", content.bytes, 0);
    })?;
    let mut bytes_copied = content.bytes_copied;
    for path in [POLICIES, ACCESS_DOCUMENTS, RECEIPTS] {
        copy::directory(from, to, path, |_| true, &mut bytes_copied)?;
    }
    copy::make_parent(to, IDENTITY_FILE)?;
    replace(to, IDENTITY_FILE, keys.identity_file())?;
    copy::file(from, to, VERSION_FILE, None)?;
    if from.stat(CONFIGURATION)?.is_some() {
        let bytes = crate::sys::dir::read_bounded(from, CONFIGURATION, crate::limits::MIB)?;
        replace(to, CONFIGURATION, &bytes)?;
    }
    let snapshots = copy::directory(from, to, SNAPSHOTS, |name| name.ends_with(".snapshot"), &mut bytes_copied)?;
    // The record comes last: what it speaks of is there. What was begun behind the snapshot is not ended yet.
    let belongs = |name: &str| first_sequence(name).is_some_and(|sequence| sequence <= position.sequence);
    copy::directory(from, to, JOURNAL_DIR, belongs, &mut bytes_copied)?;
    let state = BackupState {
        version: VERSION,
        device: keys.device_id().clone(),
        position: position.clone(),
        taken: store.clock().wall(),
        files_count: content.files_count,
        content_bytes: content.bytes,
    };
    let bytes = serde_json::to_vec_pretty(&state).expect("texts and numbers always serialise");
    kill_point("backup-before-state");
    replace(to, STATE_FILE, &bytes)?;
    kill_point("backup-before-prune");
    let files_pruned = copy::prune(from, to)?;
    forget_old_snapshots(to, &snapshots)?;
    Ok(TakeReport {
        position,
        files_count: content.files_count,
        content_bytes: content.bytes,
        files_copied: content.files_copied,
        bytes_copied,
        files_pruned,
        damaged: content.damaged,
        holds_private_keys: false,
    })
}

/// The event that a segment begins with, or that a checkpoint is about.
fn first_sequence(name: &str) -> Option<u64> {
    let (_, rest) = name.split_once('-')?;
    rest.strip_suffix(".log").or_else(|| rest.strip_suffix(".checkpoint"))?.parse().ok()
}

fn forget_old_snapshots(to: &dyn Dir, kept: &[String]) -> Result<(), DirError> {
    for entry in to.list(SNAPSHOTS)? {
        if !kept.contains(&entry.name) {
            to.remove(&format!("{SNAPSHOTS}/{}", entry.name))?;
        }
    }
    Ok(())
}
