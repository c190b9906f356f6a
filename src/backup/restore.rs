//! From a backup to a data directory: everything but the content in seconds, the content then or later.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::copy::{self, Content, Copied, CopyError, Known, hash};
use super::sums::Sums;
use super::take::CONFIGURATION;
use super::{BackupState, CONTENT, LOCKED};
use crate::limits::ACCESS_DOCUMENT_BYTES_MAX;
use crate::oci::digest::{Algorithm, Digest};
use crate::progress::Progress;
use crate::store::{
    ACCESS_DOCUMENTS, JOURNAL_DIR, MissingEvents, POLICIES, Position, Restored, SNAPSHOTS, StoreError, TRUST_OBJECTS,
    VERSION_FILE, shards, walk_journal,
};
use crate::sys::dir::{Dir, DirError, read_bounded, replace};
use crate::sys::keys::{KeyError, KeyRing};
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
    #[error("a document of accounts cannot be opened")]
    Key(#[from] KeyError),
    #[error("the journal of the backup cannot be looked at")]
    Journal(#[source] StoreError),
    #[error("the journal of the surviving store cannot be read")]
    Survivor(#[source] StoreError),
}

/// Out of what to restore, and how.
#[derive(Debug)]
pub struct RestoreOrder<'a> {
    pub backup: &'a dyn Dir,
    /// Where the backup is, as the marker of the restore names it.
    pub backup_path: &'a str,
    /// The keys of the device that is to be. They open the documents of accounts, if they are those that locked them away.
    pub keys: Option<&'a KeyRing>,
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
    /// Other files that are not what was copied into the backup. They were taken as they are.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Documents of accounts stay locked in the backup: the keys that open them were not given.
    #[serde(default)]
    pub accounts_locked: bool,
    /// What is missing of the journal, where it does not reach as far as it did.
    #[serde(default)]
    pub journal_missing: Option<String>,
}

impl RestoreReport {
    /// Whether all that was in the backup is here, or still there.
    pub fn is_whole(&self) -> bool {
        self.damaged_count == 0 && self.changed.is_empty() && self.journal_missing.is_none()
    }
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
    let mut taken =
        Taken { from, to, sums: Sums::read(from, Some(&state))?.unwrap_or_default(), bytes: 0, changed: Vec::new() };
    for path in [JOURNAL_DIR, SNAPSHOTS, "identity/receipts"] {
        taken.directory(path)?;
    }
    let mut damaged_count = 0;
    for path in [POLICIES, TRUST_OBJECTS, ACCESS_DOCUMENTS] {
        damaged_count += taken.documents(path)?;
    }
    let locked = taken.locked_documents(ACCESS_DOCUMENTS, order.keys)?;
    damaged_count += locked.damaged_count;
    let missing = journal_lack(to, &state.position)?;
    if to.stat(CONFIGURATION)?.is_none() && from.stat(CONFIGURATION)?.is_some() {
        taken.file(CONFIGURATION)?;
    }
    let mut marker = Restored::new(order.backup_path.to_owned(), state.position.clone(), order.content_later);
    marker.missing.clone_from(&missing);
    let survived_count = match order.survivor {
        Some(survivor) => marker.keep_survivors(survivor).map_err(RestoreError::Survivor)? as u64,
        None => 0,
    };
    let content = if order.content_later {
        Content { files_count: state.files_count, bytes: state.content_bytes, ..Content::default() }
    } else {
        let mut told = |content: &Content| progress.step("content", content.bytes, state.content_bytes);
        copy::content(from, to, Known::ByLength, &|| false, &mut told)?.0
    };
    for path in ["blobs/sha256", "blobs/sha512", "blobs", "trust", "identity", ""] {
        to.sync_dir(path)?;
    }
    marker.write(to)?;
    kill_point("restore-before-version");
    taken.file(VERSION_FILE)?;
    to.sync_dir("")?;
    Ok(RestoreReport {
        position: state.position,
        taken: state.taken,
        metadata_bytes: taken.bytes,
        files_count: content.files_count,
        content_bytes: content.bytes,
        content_later: order.content_later,
        survived_count,
        damaged_count: damaged_count + content.damaged.len() as u64,
        changed: taken.changed,
        accounts_locked: locked.left_count > 0,
        journal_missing: missing.map(|missing| missing.what),
    })
}

/// What comes out of a backup beside its content.
struct Taken<'a> {
    from: &'a dyn Dir,
    to: &'a dyn Dir,
    sums: Sums,
    bytes: u64,
    changed: Vec<String>,
}

impl Taken<'_> {
    /// A file as the backup has it. Changed by the medium, it is better than none: a journal is served up to where it is sound.
    fn file(&mut self, path: &str) -> Result<(), RestoreError> {
        let actual = hash(self.from, path, Algorithm::Sha256).map_err(CopyError::From)?;
        if self.sums.get(path).is_some_and(|expected| expected != actual) {
            self.changed.push(path.to_owned());
        }
        if let Copied::Now(bytes) | Copied::Again(bytes) =
            copy::file(self.from, self.to, path, &actual, Known::ByContent)?
        {
            self.bytes += bytes;
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, CopyError> {
        let entries = match self.from.list(path) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            entries => entries.map_err(CopyError::From)?,
        };
        self.to.create_dir_all(path).map_err(CopyError::To)?;
        let files = entries.into_iter().filter(|entry| !entry.stat.is_dir);
        Ok(files.map(|entry| entry.name).filter(|name| !name.ends_with(copy::PART)).collect())
    }

    fn directory(&mut self, path: &str) -> Result<(), RestoreError> {
        for name in self.list(path)? {
            self.file(&format!("{path}/{name}"))?;
        }
        Ok(self.to.sync_dir(path).or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })?)
    }

    /// Documents that are named by their digest; how many of them do not hash to their names, and were not copied.
    fn documents(&mut self, path: &str) -> Result<u64, RestoreError> {
        let mut damaged_count = 0;
        for name in self.list(path)? {
            let Some(digest) = copy::named(&name) else { continue };
            match copy::file(self.from, self.to, &format!("{path}/{name}"), &digest, Known::ByContent)? {
                Copied::Now(bytes) | Copied::Again(bytes) => self.bytes += bytes,
                Copied::Before => {}
                Copied::Damaged => damaged_count += 1,
            }
        }
        self.to.sync_dir(path).or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })?;
        Ok(damaged_count)
    }
}

/// What became of documents that were locked away.
#[derive(Clone, Copy, Debug, Default)]
struct Locked {
    left_count: u64,
    damaged_count: u64,
}

impl Taken<'_> {
    /// Documents that only the keys open which locked them away.
    fn locked_documents(&mut self, path: &str, keys: Option<&KeyRing>) -> Result<Locked, RestoreError> {
        let mut found = Locked::default();
        for name in self.list(path)? {
            let Some(plain) = name.strip_suffix(LOCKED) else { continue };
            let Some(digest) = copy::named(plain) else { continue };
            let bytes = read_bounded(self.from, &format!("{path}/{name}"), 2 * ACCESS_DOCUMENT_BYTES_MAX)
                .map_err(CopyError::From)?;
            let expected = self.sums.get(&format!("{path}/{name}"));
            if expected.is_some_and(|expected| expected != Digest::of(&bytes)) {
                found.damaged_count += 1;
                continue;
            }
            let content = keys.map(|keys| keys.take_out(plain, &bytes)).transpose()?.flatten();
            let Some(content) = content.filter(|content| Digest::of(content) == digest) else {
                found.left_count += 1;
                continue;
            };
            replace(self.to, &format!("{path}/{plain}"), &content)?;
            self.bytes += content.len() as u64;
        }
        Ok(found)
    }
}

/// What is missing of the journal below `dir`, if it was to reach `position`.
pub(super) fn journal_lack(dir: &dyn Dir, position: &Position) -> Result<Option<MissingEvents>, RestoreError> {
    let mut is_reached = false;
    let walk = walk_journal(dir, &mut |seen| is_reached |= seen == position).map_err(RestoreError::Journal)?;
    let reached = walk.last.as_ref().map_or(0, |last| last.sequence);
    let ends = format!("the journal of the backup can be read up to event {reached} of {}", position.sequence);
    let what = match walk.damage {
        _ if is_reached => return Ok(None),
        Some(damage) => format!("{ends}: it is damaged in {damage}"),
        None if walk.is_torn => format!("{ends}: its last segment was cut in the middle of a record"),
        None => format!("{ends}: its end is missing"),
    };
    Ok(Some(MissingEvents { what, after_sequence: reached }))
}

/// Copies the content that a restore has left in its backup, until `stop` says so; whether all of it is here now.
pub fn fill(to: &Arc<dyn Dir>, backup: &dyn Dir, stop: &dyn Fn() -> bool) -> Result<bool, RestoreError> {
    debug_assert!(CONTENT.starts_with("blobs"), "content lies where the store puts it");
    let (content, finished) = copy::content(backup, to.as_ref(), Known::ByLength, stop, &mut |_| {})?;
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
