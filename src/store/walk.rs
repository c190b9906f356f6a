//! The journal looked at from outside, also where there is no store around it: a copy, a medium, a backup.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::index::IndexError;
use super::journal::segment_path;
use super::layout;
use super::packed;
use super::record::Position;
use super::recover::unreadable;
use super::scan::{self, ScanError, Start};
use crate::sys::dir::{Dir, DirError, File};

/// Where segments lie, in a store and in a copy of a journal.
pub const JOURNAL_DIR: &str = layout::JOURNAL;

/// What a walk over a whole journal has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalWalk {
    pub segments: Vec<String>,
    pub events_count: u64,
    /// The last sound event.
    pub last: Option<Position>,
    /// The first thing that no power cut explains, with its segment and byte.
    pub damage: Option<String>,
    /// The end is the torn rest of a write that nobody was told of.
    pub is_torn: bool,
}

/// Reads a journal from its beginning to its end or to the first damage: checksums, frames and the chain of hashes. Shows
/// the position after every event.
pub fn walk_journal(dir: &dyn Dir, visit: &mut dyn FnMut(&Position)) -> Result<JournalWalk, StoreError> {
    let segments = scan::segments(dir)?;
    let mut events_count = 0;
    let scanned = scan::scan::<IndexError>(dir, &Start::Beginning, &mut |_, events| {
        for event in events {
            events_count += 1;
            visit(&event.position());
        }
        Ok(())
    });
    let scanned = match scanned {
        Ok(scanned) => scanned,
        Err(error @ (ScanError::Missing | ScanError::Event(_))) => {
            let damage = Some(error.to_string());
            return Ok(JournalWalk { segments, events_count, last: None, damage, is_torn: false });
        }
        Err(error) => return Err(unreadable(error)),
    };
    Ok(JournalWalk {
        segments,
        events_count,
        last: scanned.position,
        damage: scanned.damage.map(|damage| damage.to_string()),
        is_torn: scanned.tail.is_some_and(|tail| tail.is_torn),
    })
}

/// The bytes of a segment, in whichever form it is kept.
pub fn open_segment(dir: &dyn Dir, segment: &str) -> Result<Arc<dyn File>, DirError> {
    let unreadable = || DirError {
        operation: "read",
        path: segment_path(segment),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, "the head of the compressed segment is damaged"),
    };
    packed::open(dir, segment)?.file.ok_or_else(unreadable)
}

/// The path of a segment.
pub fn journal_path(segment: &str) -> String {
    segment_path(segment)
}
