//! From a backup to a data directory: everything but the content in seconds, the content then or later.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::copy::{self, Content, CopyError};
use super::take::CONFIGURATION;
use super::{BackupState, CONTENT};
use crate::progress::Progress;
use crate::store::{
    ACCESS_DOCUMENTS, JOURNAL_DIR, POLICIES, Position, Restored, SNAPSHOTS, StoreError, VERSION_FILE, shards,
};
use crate::sys::dir::{Dir, DirError, read_bounded, replace};
use crate::sys::kill_point::kill_point;

/// Why nothing was restored, or not all.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("there is no finished backup: name the directory that 'postern backup' has written")]
    NoBackup,
    #[error(
        "the data directory holds a store already: restore into an empty one, and name the old one with --survivor"
    )]
    Occupied,
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("the data directory or the backup cannot be used")]
    Dir(#[from] DirError),
    #[error("the journal of the surviving store cannot be read")]
    Survivor(#[source] StoreError),
}

/// Out of what to restore, and how.
#[derive(Debug)]
pub struct RestoreOrder<'a> {
    pub backup: &'a dyn Dir,
    /// Where the backup is, as the marker of the restore names it.
    pub backup_path: &'a str,
    /// A damaged store whose marks must not be forgotten.
    pub survivor: Option<&'a dyn Dir>,
    /// Content stays in the backup and is filled in later.
    pub content_later: bool,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreReport {
    pub position: Position,
    pub taken: jiff::Timestamp,
    /// Everything but the content.
    pub metadata_bytes: u64,
    pub files_count: u64,
    pub content_bytes: u64,
    pub content_later: bool,
    /// Marks, removals and times that a damaged store knew beyond the backup.
    pub survived_count: u64,
    /// Content, policies and documents of accounts in the backup that do not hash to their names; none of them was taken.
    pub damaged_count: u64,
}

/// Restores into `to`, which holds no store. Stopped, it is begun again by the same command. The store that comes out of it
/// serves and takes no changes until somebody confirms it.
pub fn restore(to: &dyn Dir, order: &RestoreOrder<'_>, progress: &dyn Progress) -> Result<RestoreReport, RestoreError> {
    let from = order.backup;
    let state = BackupState::read(from)?.ok_or(RestoreError::NoBackup)?;
    if to.stat(VERSION_FILE)?.is_some() {
        return Err(RestoreError::Occupied);
    }
    progress.step("journal and index", 0, 0);
    for path in ["uploads", "index", "access", "identity", "quarantine", "trust"] {
        to.create_dir_all(path)?;
    }
    for shard in shards() {
        to.create_dir_all(&shard.path())?;
    }
    let mut metadata_bytes = 0;
    for path in [JOURNAL_DIR, SNAPSHOTS, "identity/receipts"] {
        copy::directory(from, to, path, |name| !name.ends_with(".part"), &mut metadata_bytes)?;
    }
    let mut damaged_count = 0;
    for path in [POLICIES, ACCESS_DOCUMENTS] {
        damaged_count += copy::documents(from, to, path, &mut metadata_bytes)?;
    }
    if to.stat(CONFIGURATION)?.is_none() && from.stat(CONFIGURATION)?.is_some() {
        replace(to, CONFIGURATION, &read_bounded(from, CONFIGURATION, crate::limits::MIB)?)?;
    }
    let mut marker = Restored::new(order.backup_path.to_owned(), state.position.clone(), order.content_later);
    let survived_count = match order.survivor {
        Some(survivor) => marker.keep_survivors(survivor).map_err(RestoreError::Survivor)? as u64,
        None => 0,
    };
    let content = if order.content_later {
        Content { files_count: state.files_count, bytes: state.content_bytes, ..Content::default() }
    } else {
        let mut told = |content: &Content| progress.step("content", content.bytes, state.content_bytes);
        copy::content(from, to, &|| false, &mut told)?.0
    };
    for path in ["blobs/sha256", "blobs/sha512", "blobs", "trust", "identity", ""] {
        to.sync_dir(path)?;
    }
    marker.write(to)?;
    kill_point("restore-before-version");
    copy::file(from, to, VERSION_FILE, None)?;
    to.sync_dir("")?;
    Ok(RestoreReport {
        position: state.position,
        taken: state.taken,
        metadata_bytes,
        files_count: content.files_count,
        content_bytes: content.bytes,
        content_later: order.content_later,
        survived_count,
        damaged_count: damaged_count + content.damaged.len() as u64,
    })
}

/// Copies the content that a restore has left in its backup, until `stop` says so; whether all of it is here now.
pub fn fill(to: &Arc<dyn Dir>, backup: &dyn Dir, stop: &dyn Fn() -> bool) -> Result<bool, RestoreError> {
    debug_assert!(CONTENT.starts_with("blobs"), "content lies where the store puts it");
    let (content, finished) = copy::content(backup, to.as_ref(), stop, &mut |_| {})?;
    if !finished {
        return Ok(false);
    }
    if let Some(mut marker) = Restored::read(to.as_ref())? {
        marker.filling = false;
        marker.write(to.as_ref())?;
    }
    tracing::info!(files = content.files_count, damaged = content.damaged.len(), "all content is out of the backup");
    Ok(true)
}
