//! A store that came out of a backup: it serves and changes nothing until somebody has looked at it and says so. Then a new
//! epoch begins, because history may have been cut.
//!
//! ```text
//! restored       JSON: version, where the backup was, where its journal ended, what is missing of it, what survived elsewhere
//! ```

use serde::{Deserialize, Serialize};

use super::error::{CommitError, StoreError};
use super::event::Body;
use super::index::IndexError;
use super::layout;
use super::record::Position;
use super::scan::{self, ScanError, Start};
use super::sequencer::Sequencer;
use super::state::locked;
use super::transaction::{Change, PrincipalRef, Transaction};
use super::{Store, recover};
use crate::limits::RESTORED_BYTES_MAX;
use crate::sys::dir::{self, Dir, DirError};
use crate::sys::kill_point::kill_point;

const VERSION: u32 = 1;

/// Events that were in a backup once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingEvents {
    /// Up to where the journal can be read, and why not further.
    pub what: String,
    pub after_sequence: u64,
}

/// What is known of a restore that nobody has confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    version: u32,
    /// Where the backup was when it was taken from there.
    pub from: String,
    /// Where the backup's journal ended.
    pub position: Position,
    /// Content still lies in the backup alone.
    pub filling: bool,
    /// What is missing of the backup's journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingEvents>,
    /// What a damaged store knew beyond the backup and must not be forgotten: marks, removals, times.
    survived: Vec<Body>,
}

impl Restored {
    /// A restore out of `from`, whose journal ends at `position`. `filling`: content comes later.
    pub const fn new(from: String, position: Position, filling: bool) -> Self {
        Self { version: VERSION, from, position, filling, missing: None, survived: Vec::new() }
    }

    /// The marker of a data directory; none where nothing was restored, or all was confirmed.
    pub fn read(dir: &dyn Dir) -> Result<Option<Self>, DirError> {
        let bytes = match dir::read_bounded(dir, layout::RESTORED, RESTORED_BYTES_MAX) {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        let failed = |source| DirError { operation: "read", path: layout::RESTORED.to_owned(), source };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into()))
    }

    /// Puts the marker into a data directory, durably.
    pub fn write(&self, dir: &dyn Dir) -> Result<(), DirError> {
        let bytes = serde_json::to_vec(self).expect("texts and numbers always serialise");
        dir::replace(dir, layout::RESTORED, &bytes)
    }

    /// Takes over what the journal of a damaged store knew beyond the backup: the sequences of series, removed devices and
    /// times. Reads as far as it can; how much that was.
    pub fn keep_survivors(&mut self, dir: &dyn Dir) -> Result<usize, StoreError> {
        let start = Start::Beginning;
        let journal_id = self.position.journal_id.clone();
        let sequence = self.missing.as_ref().map_or(self.position.sequence, |missing| missing.after_sequence);
        let survived = &mut self.survived;
        let scanned = scan::scan::<IndexError>(dir, &start, &mut |_, events| {
            for event in events {
                let beyond = event.head.journal == journal_id && event.head.sequence > sequence;
                survived.extend(event.body.filter(|body| beyond && must_not_be_forgotten(body)));
            }
            Ok(())
        });
        match scanned {
            Ok(_) | Err(ScanError::Missing) => Ok(self.survived.len()),
            Err(error) => Err(recover::unreadable(error)),
        }
    }

    /// Why nothing can be changed.
    pub(super) fn reason(&self) -> String {
        let missing = self.missing.as_ref().map_or_else(String::new, |missing| {
            format!(
                "; {}, so what came after is here only as far as a snapshot knew it, and no audit can prove it",
                missing.what
            )
        });
        format!(
            "it was restored from a backup that ends at event {}{missing}: look whether that is what you want, then run \
             'postern restore confirm'",
            self.position.sequence
        )
    }
}

const fn must_not_be_forgotten(body: &Body) -> bool {
    matches!(
        body,
        Body::ImportCommitted { .. }
            | Body::ExportSealed { .. }
            | Body::DeviceRemoved { .. }
            | Body::TimeFloorRaised { .. }
            | Body::TrustUpdateAccepted { .. }
    )
}

fn again(body: Body) -> Option<Change> {
    Some(match body {
        Body::ImportCommitted { set_id, sender, series, sequence, table_digest, admitted, refused } => {
            Change::CommitImport { set_id, sender, series, sequence, table_digest, admitted, refused }
        }
        Body::ExportSealed { set_id, receiver, series, sequence, table_digest } => {
            Change::SealExport { set_id, receiver, series, sequence, table_digest }
        }
        Body::DeviceRemoved { device_id } => Change::RemoveDevice { device_id },
        Body::TrustUpdateAccepted { name, versions, root, expired, reason } => {
            Change::AcceptTrustUpdate { name, versions, root, expired, reason }
        }
        Body::TimeFloorRaised { at, source } => Change::RaiseTimeFloor { at, source },
        _ => return None,
    })
}

/// Why a restore was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    #[error("nothing was restored here, or it was confirmed before")]
    Nothing,
    #[error("content is still being copied out of the backup '{0}': wait until that has ended")]
    Filling(String),
    #[error("the store is read-only for another reason: {0}")]
    ReadOnly(String),
    #[error("the new epoch was not begun")]
    Commit(#[from] CommitError),
    #[error("the marker of the restore cannot be used")]
    Dir(#[from] DirError),
    #[error("the store cannot be asked")]
    Store(#[from] StoreError),
}

impl Store {
    /// Begins a new epoch on what was restored, and allows changes again.
    pub fn confirm_restore(&self, principal: PrincipalRef) -> Result<Position, ConfirmError> {
        self.alone(move |sequencer| confirm(sequencer, principal))?
    }
}

fn confirm(sequencer: &mut Sequencer, principal: PrincipalRef) -> Result<Position, ConfirmError> {
    let dir = std::sync::Arc::clone(&sequencer.state.dir);
    let Some(restored) = Restored::read(dir.as_ref())? else { return Err(ConfirmError::Nothing) };
    if restored.filling {
        return Err(ConfirmError::Filling(restored.from));
    }
    let reason = restored.reason();
    if let Some(other) = sequencer.state.read_only().filter(|other| *other != reason) {
        return Err(ConfirmError::ReadOnly(other));
    }
    *locked(&sequencer.state.read_only) = None;
    let begun = begin(sequencer, &restored, principal);
    if begun.is_err() {
        locked(&sequencer.state.read_only).get_or_insert(reason);
        return Ok(begun?);
    }
    kill_point("restore-epoch-begun");
    dir.remove(layout::RESTORED)?;
    dir.sync_dir("")?;
    Ok(begun?)
}

fn begin(sequencer: &mut Sequencer, restored: &Restored, principal: PrincipalRef) -> Result<Position, CommitError> {
    // Where this history really ends: a journal that was cut does not reach as far as the backup did.
    let from = sequencer.state.head();
    let begin = Change::BeginEpoch { reason: "restored from a backup".to_owned(), from };
    let mut position = sequencer.begin_epoch(Transaction::new(principal.clone(), vec![begin]))?;
    for change in restored.survived.clone().into_iter().filter_map(again) {
        match sequencer.commit_alone(Transaction::new(principal.clone(), vec![change])) {
            Ok(reached) => position = reached,
            // The backup knows better, or does not know the device at all.
            Err(CommitError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(position)
}
