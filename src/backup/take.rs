//! Taking a backup of an open store. Nothing waits for it but the end of one segment and a snapshot.

use serde::{Deserialize, Serialize};

use super::copy::{self, CopyError, Known};
use super::metadata::{Changes, Metadata, MetadataError};
use super::sums::Sums;
use super::{BackupState, STATE_FILE, VERSION};
use crate::audit::{CheckpointError, sign};
use crate::error_chain::chain;
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::{
    ACCESS_DOCUMENTS, JOURNAL_DIR, POLICIES, Position, SNAPSHOTS, Store, StoreError, TRUST_OBJECTS, VERSION_FILE,
};
use crate::sys::dir::{Dir, DirError, read_bounded, replace};
use crate::sys::keys::{IDENTITY_FILE, KeyError, KeyRing};
use crate::sys::kill_point::kill_point;

const RECEIPTS: &str = "identity/receipts";
/// Ends the name of a segment that is compressed.
const PACKED: &str = ".zst";
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
    #[error("a document of accounts cannot be locked away")]
    Key(#[from] KeyError),
    #[error("the backup cannot be looked at or finished: is the medium in place and writable?")]
    Dir(#[from] DirError),
}

impl From<MetadataError> for TakeError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Copy(error) => error.into(),
            MetadataError::Key(error) => error.into(),
        }
    }
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
    /// Content and other files that the medium had changed: they were copied once more.
    #[serde(default)]
    pub files_mended: u64,
    /// Other files that are not what they were when they were copied first, neither in the store nor in the backup.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Never: keep `identity/` elsewhere.
    pub holds_private_keys: bool,
}

/// How to take one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeOptions {
    /// Reads the content that is in the backup already, and copies once more what the medium has changed.
    pub reread: bool,
}

/// Brings the backup in `to` to where the store is now. What is there already is not copied again.
pub fn take(
    store: &Store,
    keys: &KeyRing,
    to: &dyn Dir,
    options: TakeOptions,
    progress: &dyn Progress,
) -> Result<TakeReport, TakeError> {
    let before = BackupState::read(to)?;
    if before.as_ref().is_some_and(|before| before.position.journal_id != store.head().journal_id) {
        return Err(TakeError::Other);
    }
    let from = store.dir().as_ref();
    if let Err(error) = store.pack_segments(&|| false) {
        tracing::warn!(error = %chain(&error), "a segment of the journal could not be compressed");
    }
    // From here no file goes; the snapshot comes after every removal that was under way, and ends the segment.
    let _held = store.hold_files();
    let position = store.snapshot()?.position;
    sign(store, keys)?;
    let known = if options.reread { Known::ByContent } else { Known::ByLength };
    let (content, _) = copy::content(from, to, known, &|| false, &mut |content| {
        progress.step("content", content.bytes, 0);
    })?;
    let mut metadata = Metadata::new(from, to, Sums::read(to, before.as_ref())?.unwrap_or_default());
    let kept = copy_metadata(&mut metadata, keys, &position)?;
    let state = BackupState {
        version: VERSION,
        device: keys.device_id().clone(),
        position: position.clone(),
        taken: store.clock().wall(),
        files_count: content.files_count,
        content_bytes: content.bytes,
        sums: Some(metadata.sums.write(to)?),
    };
    let bytes = serde_json::to_vec_pretty(&state).expect("texts and numbers always serialise");
    kill_point("backup-before-state");
    replace(to, STATE_FILE, &bytes)?;
    kill_point("backup-before-prune");
    let files_pruned = copy::prune(from, to)?;
    forget_others(to, SNAPSHOTS, &kept.snapshots)?;
    // Also those that an earlier release has copied as they are.
    forget_others(to, ACCESS_DOCUMENTS, &kept.documents)?;
    forget_plain_segments(from, to)?;
    Ok(TakeReport {
        position,
        files_count: content.files_count,
        content_bytes: content.bytes,
        files_copied: content.files_copied,
        bytes_copied: content.bytes_copied + metadata.bytes,
        files_pruned,
        damaged: content.damaged,
        files_mended: content.files_mended + metadata.mended.len() as u64,
        changed: metadata.damaged,
        holds_private_keys: false,
    })
}

/// All but the content.
fn copy_metadata(metadata: &mut Metadata<'_>, keys: &KeyRing, position: &Position) -> Result<Kept, TakeError> {
    metadata.documents(POLICIES)?;
    metadata.documents(TRUST_OBJECTS)?;
    let documents = metadata.locked_documents(ACCESS_DOCUMENTS, keys)?;
    metadata.directory(RECEIPTS, Changes::AtTimes, |_| true)?;
    metadata.replace(IDENTITY_FILE, keys.identity_file())?;
    metadata.file(VERSION_FILE, Changes::AtTimes)?;
    if metadata.from.stat(CONFIGURATION)?.is_some() {
        let bytes = read_bounded(metadata.from, CONFIGURATION, crate::limits::MIB)?;
        metadata.replace(CONFIGURATION, &bytes)?;
    }
    let snapshots = metadata.directory(SNAPSHOTS, Changes::Never, |name| name.ends_with(".snapshot"))?;
    // The record comes last: what it speaks of is there. What was begun behind the snapshot is not ended yet.
    let belongs = |name: &str| first_sequence(name).is_some_and(|sequence| sequence <= position.sequence);
    metadata.directory(JOURNAL_DIR, Changes::Never, belongs)?;
    Ok(Kept { snapshots, documents })
}

/// What stays of the names that a backup held before.
struct Kept {
    snapshots: Vec<String>,
    documents: Vec<String>,
}

/// The event that a segment begins with, or that a checkpoint is about.
fn first_sequence(name: &str) -> Option<u64> {
    let (_, rest) = name.split_once('-')?;
    let rest = rest.strip_suffix(PACKED).unwrap_or(rest);
    rest.strip_suffix(".log").or_else(|| rest.strip_suffix(".checkpoint"))?.parse().ok()
}

/// Segments that have been compressed since they were copied first.
fn forget_plain_segments(from: &dyn Dir, to: &dyn Dir) -> Result<(), DirError> {
    for entry in to.list(JOURNAL_DIR)? {
        let Some(plain) = entry.name.strip_suffix(PACKED) else { continue };
        let path = format!("{JOURNAL_DIR}/{plain}");
        if from.stat(&path)?.is_none() && to.stat(&path)?.is_some() {
            to.remove(&path)?;
        }
    }
    to.sync_dir(JOURNAL_DIR)
}

fn forget_others(to: &dyn Dir, path: &str, kept: &[String]) -> Result<(), DirError> {
    let entries = match to.list(path) {
        Err(error) if error.is_not_found() => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        if !kept.contains(&entry.name) {
            to.remove(&format!("{path}/{}", entry.name))?;
        }
    }
    to.sync_dir(path)
}
