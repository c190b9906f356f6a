//! Which releases may read and write a store, and the step to a newer form.
//!
//! ```text
//! VERSION        JSON: the least version of a reader, of a writer, and who wrote it
//!
//! 1              the first release
//! 2              ended segments of the journal may be compressed
//! ```
//!
//! A release reads every form before its own, and goes on writing the one that it found: the release before it can take over
//! again. Only [`Store::finalize`] begins a newer form, once somebody has said that an update is good.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::Store;
use super::error::{CommitError, StoreError};
use super::layout;
use super::record::Position;
use super::sequencer::Sequencer;
use super::transaction::{Change, PrincipalRef, Transaction};
use crate::limits::KIB;
use crate::sys::dir::{self, Dir};
use crate::sys::kill_point::kill_point;

/// The form that every release reads and writes.
pub const FIRST: u32 = 1;
/// From here on, ended segments may be compressed.
pub const PACKED_SEGMENTS: u32 = 2;
/// The newest form that this release knows.
pub const LATEST: u32 = PACKED_SEGMENTS;
const WRITER: &str = concat!("postern ", env!("CARGO_PKG_VERSION"));

#[derive(Serialize, Deserialize)]
struct VersionFile {
    min_reader: u32,
    min_writer: u32,
    written_by: String,
}

/// The form that a store is in. Refuses one that is newer than this release.
pub fn check(dir: &dyn Dir) -> Result<u32, StoreError> {
    let bytes = match dir::read_bounded(dir, layout::VERSION, KIB) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Err(StoreError::Missing),
        Err(error) => return Err(error.into()),
    };
    let version: VersionFile = serde_json::from_slice(&bytes).map_err(StoreError::VersionFile)?;
    let needed = version.min_reader.max(version.min_writer);
    if needed > LATEST {
        return Err(StoreError::TooNew { needed, own: LATEST });
    }
    Ok(needed.max(FIRST))
}

/// Writes down the form of a store, durably.
pub fn write(dir: &dyn Dir, format: u32) -> Result<(), StoreError> {
    let version = VersionFile { min_reader: format, min_writer: format, written_by: WRITER.to_owned() };
    let bytes = serde_json::to_vec(&version).expect("numbers and a text always serialise");
    Ok(dir::replace(dir, layout::VERSION, &bytes)?)
}

/// The step to the newest form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finalized {
    /// The form that the store was in.
    pub before: u32,
    pub format: u32,
    pub position: Position,
}

impl Store {
    /// The form that the store is in, and the newest one that it could be in.
    pub fn format(&self) -> (u32, u32) {
        (self.shared.state.format.load(Ordering::SeqCst), LATEST)
    }

    /// Allows the newest form from here on. Releases that do not know it refuse the store afterwards.
    pub fn finalize(&self, principal: PrincipalRef) -> Result<Finalized, CommitError> {
        self.alone(move |sequencer| finalize(sequencer, principal))?
    }
}

fn finalize(sequencer: &mut Sequencer, principal: PrincipalRef) -> Result<Finalized, CommitError> {
    let before = sequencer.state.format.load(Ordering::SeqCst);
    if before == LATEST {
        return Ok(Finalized { before, format: LATEST, position: sequencer.state.head() });
    }
    let change = Change::FinalizeFormat { version: LATEST };
    let position = sequencer.commit_alone(Transaction::new(principal, vec![change]))?;
    kill_point("finalize-journalled");
    write(sequencer.state.dir.as_ref(), LATEST)?;
    kill_point("finalize-versioned");
    sequencer.state.format.store(LATEST, Ordering::SeqCst);
    Ok(Finalized { before, format: LATEST, position })
}
