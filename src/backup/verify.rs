//! Reading a backup from its first byte to its last, with nothing but the medium: is it what was copied?

use serde::{Deserialize, Serialize};

use super::copy::{hash, listed};
use super::restore::journal_lack;
use super::sums::Sums;
use super::{BackupState, CopyError, RestoreError};
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::{ACCESS_DOCUMENTS, POLICIES, Position, TRUST_OBJECTS, blob_path, shards};
use crate::sys::dir::Dir;

/// What a backup is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    pub position: Position,
    pub taken: jiff::Timestamp,
    pub files_count: u64,
    pub content_bytes: u64,
    /// Content that the medium has changed.
    pub damaged: Vec<Digest>,
    /// Files of content that were there when it was taken, and are no more.
    pub files_missing: u64,
    /// Other files that the medium has changed or lost.
    pub changed: Vec<String>,
    /// What is missing of the journal.
    pub journal_missing: Option<String>,
    /// Whether there is a list of what the other files hashed to. Backups of earlier releases have none, and one that was
    /// stopped has another one: the next backup makes it.
    pub listed: bool,
}

impl BackupReport {
    /// Whether all of it is what was copied.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.files_missing == 0 && self.changed.is_empty() && self.journal_missing.is_none()
    }
}

/// Reads all of the backup in `dir`.
pub fn verify(dir: &dyn Dir, progress: &dyn Progress) -> Result<BackupReport, RestoreError> {
    let state = BackupState::read(dir)?.ok_or(RestoreError::NoBackup)?;
    let sums = Sums::read(dir, Some(&state))?;
    let mut report = BackupReport {
        journal_missing: journal_lack(dir, &state.position)?.map(|missing| missing.what),
        position: state.position,
        taken: state.taken,
        files_count: 0,
        content_bytes: 0,
        damaged: Vec::new(),
        files_missing: 0,
        changed: Vec::new(),
        listed: sums.is_some(),
    };
    for (path, digest) in sums.unwrap_or_default().iter() {
        if !is_sound(dir, path, digest)? {
            report.changed.push(path.to_owned());
        }
    }
    if !report.listed {
        documents(dir, &mut report)?;
    }
    for shard in shards() {
        for (digest, bytes) in listed(dir, &shard).map_err(CopyError::From)? {
            report.files_count += 1;
            report.content_bytes += bytes;
            if !is_sound(dir, &blob_path(&digest), &digest)? {
                report.damaged.push(digest);
            }
            progress.step("content", report.content_bytes, state.content_bytes);
        }
    }
    report.files_missing = state.files_count.saturating_sub(report.files_count);
    Ok(report)
}

/// What a medium cannot read is no better than what it has changed.
fn is_sound(dir: &dyn Dir, path: &str, expected: &Digest) -> Result<bool, RestoreError> {
    match hash(dir, path, expected.algorithm()) {
        Ok(actual) => Ok(actual == *expected),
        Err(error) => {
            tracing::warn!(path, error = %error.source, "a file of the backup cannot be read");
            Ok(false)
        }
    }
}

fn documents(dir: &dyn Dir, report: &mut BackupReport) -> Result<(), RestoreError> {
    for folder in [POLICIES, TRUST_OBJECTS, ACCESS_DOCUMENTS] {
        let entries = match dir.list(folder) {
            Err(error) if error.is_not_found() => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = format!("{folder}/{}", entry.name);
            if let Some(digest) = super::copy::named(&entry.name)
                && !is_sound(dir, &path, &digest)?
            {
                report.changed.push(path);
            }
        }
    }
    Ok(())
}
