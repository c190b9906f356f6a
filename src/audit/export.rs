//! A copy of the journal that grows by new files only, for media that can be written once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, CheckpointError, sign};
use crate::limits::{CHECKPOINT_BYTES_MAX, IDENTITY_BYTES_MAX, MIB};
use crate::oci::digest::{Algorithm, Digest};
use crate::store::{JOURNAL_DIR, Position, Store, StoreError, journal_path, open_segment, walk_journal};
use crate::sys::dir::{Create, Dir, DirError, File, parent, read_bounded};
use crate::sys::keys::{IDENTITY_FILE, KeyRing};
use crate::sys::kill_point::kill_point;

/// Why there is no copy, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the journal cannot be ended here")]
    Store(#[from] StoreError),
    #[error("the journal's end cannot be signed")]
    Checkpoint(#[from] CheckpointError),
    #[error(
        "the copy cannot be written: is the medium in place, writable, and not full? the same command goes on where this one stopped"
    )]
    Dir(#[from] DirError),
    #[error("'{0}' of the copy is not what the journal holds: keep that medium, and export to another one")]
    Differs(String),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// Up to here the copy goes, and this is signed.
    pub position: Position,
    pub files_written: u64,
    pub bytes_written: u64,
    /// Files that an earlier export had written, compared byte for byte.
    pub files_kept: u64,
    /// A list of the SHA-256 of every file, as `sha256sum --check` reads it.
    pub sums: String,
}

/// Copies everything up to now. The segment that is being written is ended first, so that no file of the copy ever has to
/// change; what is there already is compared and left alone.
pub fn export(store: &Store, keys: &KeyRing, to: &dyn Dir) -> Result<ExportReport, ExportError> {
    store.seal_segment()?;
    let checkpoint = sign(store, keys)?;
    let from = store.dir().as_ref();
    to.create_dir_all(JOURNAL_DIR)?;
    to.create_dir_all(parent(IDENTITY_FILE))?;
    let mut copy = Copy {
        from,
        to,
        sums: String::new(),
        report: ExportReport {
            position: checkpoint.position.clone(),
            files_written: 0,
            bytes_written: 0,
            files_kept: 0,
            sums: format!("SHA256SUMS-{:010}-{:020}", checkpoint.position.epoch, checkpoint.position.sequence),
        },
    };
    copy.small(IDENTITY_FILE, IDENTITY_BYTES_MAX)?;
    // The last segment has only just begun: it is not ended, and holds nothing that was signed.
    let mut segments = walk_journal(from, &mut |_| {})?.segments;
    let begun = format!("-{:020}.log", copy.report.position.sequence + 1);
    if segments.last().is_some_and(|last| last.ends_with(&begun)) {
        segments.pop();
    }
    for segment in &segments {
        // As what it was before it was compressed: no file of an earlier export has to change.
        copy.file(&journal_path(segment), open_segment(from, segment)?)?;
    }
    for path in checkpoint::paths(from)? {
        copy.small(&path, CHECKPOINT_BYTES_MAX)?;
    }
    copy.end()
}

struct Copy<'a> {
    from: &'a dyn Dir,
    to: &'a dyn Dir,
    sums: String,
    report: ExportReport,
}

impl Copy<'_> {
    fn sum(&mut self, path: &str, digest: &Digest) {
        self.sums.push_str(&format!("{}  {path}\n", digest.hex()));
    }

    fn small(&mut self, path: &str, limit_bytes: usize) -> Result<(), ExportError> {
        read_bounded(self.from, path, limit_bytes)?;
        self.file(path, self.from.open(path)?)
    }

    fn file(&mut self, path: &str, source: Arc<dyn File>) -> Result<(), ExportError> {
        let there = self.to.stat(path)?.is_some();
        let temporary = format!("{path}.part");
        let failed = |source| DirError { operation: "copy", path: path.to_owned(), source };
        let target = if there { self.to.open(path)? } else { self.to.open_write(&temporary, Create::Missing)? };
        let len_bytes = source.len_bytes().map_err(failed)?;
        if there && target.len_bytes().map_err(failed)? != len_bytes {
            return Err(ExportError::Differs(path.to_owned()));
        }
        let (mut hasher, mut at) = (Algorithm::Sha256.hasher(), 0);
        let (mut piece, mut other) = (vec![0; MIB], vec![0; MIB]);
        loop {
            let count = source.read_at(&mut piece, at).map_err(failed)?;
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
            if there {
                crate::sys::dir::read_exact_at(target.as_ref(), &mut other[..count], at).map_err(failed)?;
                if other[..count] != piece[..count] {
                    return Err(ExportError::Differs(path.to_owned()));
                }
            } else {
                target.write_at(&piece[..count], at).map_err(failed)?;
            }
            at += count as u64;
        }
        self.sum(path, &hasher.finish());
        if there {
            self.report.files_kept += 1;
            return Ok(());
        }
        target.set_len(at).map_err(failed)?;
        target.sync_data().map_err(failed)?;
        kill_point("audit-before-name");
        self.to.rename(&temporary, path)?;
        self.to.sync_dir(parent(path))?;
        self.report.files_written += 1;
        self.report.bytes_written += at;
        Ok(())
    }

    fn end(self) -> Result<ExportReport, ExportError> {
        let path = &self.report.sums;
        if self.to.stat(path)?.is_none() {
            crate::sys::dir::replace(self.to, path, self.sums.as_bytes())?;
        }
        self.to.sync_dir("")?;
        Ok(self.report)
    }
}
