//! The journal: an append-only chain of events in segment files. It is the truth; all else is made from it.
//!
//! [`Journal`] is the seam for a site that outgrows one machine. Its form here is files: a group is one frame, and the
//! next frame is written only after the sync of the one before. Segments are zero-filled ahead, so that a sync writes
//! data and nothing else. Reading them back is in [`super::scan`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frame::{self, BLOCK_BYTES, SegmentHead};
use super::layout;
use super::packed;
use super::record::Position;
use crate::limits::{JOURNAL_SEGMENT_BYTES, MIB};
use crate::oci::digest::{Algorithm, Digest};
use crate::sys::dir::{Create, Dir, DirError, File};
use crate::sys::random;

/// How far ahead a segment is filled with zeros.
const AHEAD_BYTES: u64 = MIB as u64;
/// Segments are short in tests, so that new ones are begun.
const SEGMENT_BYTES: u64 = if cfg!(test) { 2 * MIB as u64 } else { JOURNAL_SEGMENT_BYTES };

/// Where a frame begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The segment, by its file's name.
    pub segment: String,
    pub offset_bytes: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}/{}' at byte {}", layout::JOURNAL, self.segment, self.offset_bytes)
    }
}

/// Events that become durable together.
#[derive(Debug)]
pub struct Group {
    /// The head that they follow.
    pub after: Option<Digest>,
    pub first_sequence: u64,
    pub event_count: u32,
    /// One event a line.
    pub payload: Vec<u8>,
    /// The position of the last of them.
    pub last: Position,
}

/// Why a group was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written; the journal goes on.
    #[error("the journal's disk is full")]
    Full(#[source] DirError),
    /// The journal has another head than the group follows. Nothing was written.
    #[error("the journal's head is not the one that the group follows")]
    HeadMoved,
    /// Nobody knows whether the group is durable. The journal takes nothing more.
    #[error("the journal could not be written")]
    Failed(#[source] DirError),
    #[error("the journal has failed before")]
    Poisoned,
}

/// An append-only chain of events.
pub trait Journal: Send + fmt::Debug {
    /// Makes a group durable behind the head that it expects. On an error other than `Full` and `HeadMoved`, nothing
    /// more can be appended.
    fn append(&mut self, group: &Group) -> Result<Place, AppendError>;
    /// Begins the next segment, so that the one before never changes again. `next_sequence` is that of the next event.
    fn seal(&mut self, next_sequence: u64) -> Result<(), AppendError>;
    /// The same under a new epoch, also where the segment is empty.
    fn begin_epoch(&mut self, epoch: u64, next_sequence: u64) -> Result<(), AppendError>;
    /// The segment that is being written. All before it have ended.
    fn active_segment(&self) -> &str;
}

/// A journal in files.
#[derive(Debug)]
pub struct FileJournal {
    dir: Arc<dyn Dir>,
    active: Active,
    head: Option<Digest>,
    poisoned: bool,
}

/// The segment that takes new frames.
#[derive(Debug)]
struct Active {
    name: String,
    file: Arc<dyn File>,
    head: SegmentHead,
    /// Where the next frame begins.
    offset_bytes: u64,
    /// Up to here the file is filled with zeros.
    filled_bytes: u64,
}

/// Where a scan found the journal's end.
#[derive(Clone, Debug)]
pub struct Tail {
    pub segment: String,
    pub head: SegmentHead,
    /// Where the next frame begins.
    pub offset_bytes: u64,
    /// Bytes that are no frame stand behind it: the last write was torn.
    pub is_torn: bool,
    /// Where the last frame of this segment begins.
    pub last_frame_at: Option<u64>,
}

/// The name of a segment's file; names sort as their events do.
pub fn segment_name(epoch: u64, first_sequence: u64) -> String {
    format!("{epoch:010}-{first_sequence:020}.log")
}

pub fn segment_path(name: &str) -> String {
    format!("{}/{name}", layout::JOURNAL)
}

fn failed(operation: &'static str, name: &str) -> impl Fn(std::io::Error) -> DirError {
    let path = segment_path(name);
    move |source| DirError { operation, path: path.clone(), source }
}

fn raw(hash: &Digest) -> Option<[u8; 32]> {
    hash.raw().try_into().ok()
}

/// The digest in a segment's header.
pub fn previous_of(head: &SegmentHead) -> Option<Digest> {
    head.previous.as_ref().and_then(|raw| Digest::from_raw(Algorithm::Sha256, raw))
}

/// Makes an empty segment, durable with its name.
fn make_segment(dir: &dyn Dir, head: SegmentHead) -> Result<Active, DirError> {
    let name = segment_name(head.epoch, head.first_sequence);
    // One of this name can only be the rest of an attempt: its first event is not written yet.
    let file = dir.open_write(&segment_path(&name), Create::Missing)?;
    file.set_len(0).map_err(failed("cut", &name))?;
    let mut block = head.encode();
    block.resize(usize::try_from(AHEAD_BYTES).unwrap_or(MIB), 0);
    file.write_at(&block, 0).map_err(failed("write", &name))?;
    file.sync_data().map_err(failed("sync", &name))?;
    dir.sync_dir(layout::JOURNAL)?;
    Ok(Active { name, file, head, offset_bytes: BLOCK_BYTES as u64, filled_bytes: AHEAD_BYTES })
}

impl FileJournal {
    /// Begins a new journal.
    pub fn create(dir: &Arc<dyn Dir>, journal_id: &str, epoch: u64) -> Result<Self, DirError> {
        let salt = u64::from_le_bytes(random::bytes());
        let head = SegmentHead { salt, epoch, first_sequence: 1, journal_id: journal_id.to_owned(), previous: None };
        let active = make_segment(dir.as_ref(), head)?;
        Ok(Self { dir: Arc::clone(dir), active, head: None, poisoned: false })
    }

    /// Goes on behind `tail`. What was torn there is cut off, and with `unclean` the last frame is written once more:
    /// after a failed sync the kernel may show bytes that never reached the disk, and believe them clean.
    pub fn resume(dir: &Arc<dyn Dir>, tail: &Tail, head: &Position, unclean: bool) -> Result<Self, DirError> {
        let name = tail.segment.clone();
        if packed::open(dir.as_ref(), &name)?.is_packed {
            // Out of a backup: what has ended there is not written any more.
            let next = SegmentHead {
                salt: u64::from_le_bytes(random::bytes()),
                epoch: tail.head.epoch,
                first_sequence: head.sequence + 1,
                journal_id: tail.head.journal_id.clone(),
                previous: raw(&head.hash),
            };
            let active = make_segment(dir.as_ref(), next)?;
            return Ok(Self { dir: Arc::clone(dir), active, head: Some(head.hash), poisoned: false });
        }
        let file = dir.open_write(&segment_path(&name), Create::Existing)?;
        if tail.is_torn {
            file.set_len(tail.offset_bytes).map_err(failed("cut", &name))?;
        }
        if let Some(at) = tail.last_frame_at.filter(|_| unclean || tail.is_torn) {
            let mut last = vec![0; usize::try_from(tail.offset_bytes - at).unwrap_or_default()];
            crate::sys::dir::read_exact_at(file.as_ref(), &mut last, at).map_err(failed("read", &name))?;
            file.write_at(&last, at).map_err(failed("write", &name))?;
        }
        if unclean && tail.last_frame_at.is_none() {
            // The same for a segment whose making may have failed.
            file.write_at(&tail.head.encode(), 0).map_err(failed("write", &name))?;
        }
        if tail.is_torn || unclean {
            file.sync_data().map_err(failed("sync", &name))?;
        }
        // The process before may have been killed between making the segment and making its name durable.
        dir.sync_dir(layout::JOURNAL)?;
        let filled_bytes = file.len_bytes().map_err(failed("measure", &name))?;
        let active = Active { name, file, head: tail.head.clone(), offset_bytes: tail.offset_bytes, filled_bytes };
        Ok(Self { dir: Arc::clone(dir), active, head: Some(head.hash), poisoned: false })
    }

    /// Begins a new segment when the frame would make the active one too long.
    fn rotate(&mut self, frame_bytes: u64, group: &Group) -> Result<(), DirError> {
        if self.is_empty() || self.active.offset_bytes + frame_bytes <= SEGMENT_BYTES {
            return Ok(());
        }
        self.begin_segment(self.active.head.epoch, group.first_sequence)
    }

    const fn is_empty(&self) -> bool {
        self.active.offset_bytes == BLOCK_BYTES as u64
    }

    fn begin_segment(&mut self, epoch: u64, first_sequence: u64) -> Result<(), DirError> {
        let active = &self.active;
        let head = SegmentHead {
            salt: u64::from_le_bytes(random::bytes()),
            epoch,
            first_sequence,
            journal_id: active.head.journal_id.clone(),
            previous: self.head.as_ref().and_then(raw),
        };
        let name = segment_name(head.epoch, head.first_sequence);
        let next = match make_segment(self.dir.as_ref(), head) {
            Ok(next) => next,
            Err(error) => {
                // A smaller group may still go into the old segment, and then no other may stand behind it.
                match self.dir.remove(&segment_path(&name)) {
                    // Out of inodes: it was never made, and the first error is the one that tells.
                    Err(missing) if missing.is_not_found() => {}
                    Err(other) => return Err(other),
                    Ok(()) => self.dir.sync_dir(layout::JOURNAL)?,
                }
                return Err(error);
            }
        };
        // Zeros behind the last frame are of no more use. Where cutting fails they do no harm.
        let _ = active.file.set_len(active.offset_bytes);
        self.active = next;
        Ok(())
    }

    /// Fills the segment with zeros up to where the frame will end. A frame longer than a step is its own filling.
    fn fill_ahead(&mut self, frame_bytes: u64) -> Result<(), DirError> {
        let active = &mut self.active;
        let end = active.offset_bytes + frame_bytes;
        if end <= active.filled_bytes || frame_bytes > AHEAD_BYTES {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(AHEAD_BYTES).unwrap_or(MIB)];
        let filled = active
            .file
            .write_at(&zeros, active.filled_bytes)
            .map_err(failed("extend", &active.name))
            .and_then(|()| active.file.sync_data().map_err(failed("sync", &active.name)));
        if let Err(error) = filled {
            let _ = active.file.set_len(active.filled_bytes);
            return Err(error);
        }
        active.filled_bytes += AHEAD_BYTES;
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), AppendError> {
        let active = &mut self.active;
        let end = active.offset_bytes + frame.len() as u64;
        if let Err(source) = active.file.write_at(frame, active.offset_bytes) {
            let error = failed("write", &active.name)(source);
            // A frame that did not fit leaves a torn tail. If that can be cut off durably, nothing has happened.
            let undone = || active.file.set_len(active.offset_bytes).and_then(|()| active.file.sync_data());
            if error.is_full() && undone().is_ok() {
                active.filled_bytes = active.offset_bytes;
                return Err(AppendError::Full(error));
            }
            return Err(AppendError::Failed(error));
        }
        active.file.sync_data().map_err(failed("sync", &active.name)).map_err(AppendError::Failed)?;
        active.offset_bytes = end;
        active.filled_bytes = active.filled_bytes.max(end);
        Ok(())
    }

    fn try_append(&mut self, group: &Group) -> Result<Place, AppendError> {
        let preparing = |error: DirError| {
            if error.is_full() { AppendError::Full(error) } else { AppendError::Failed(error) }
        };
        let frame_bytes = frame::padded(frame::FRAME_HEAD_BYTES + group.payload.len()) as u64;
        self.rotate(frame_bytes, group).map_err(preparing)?;
        self.fill_ahead(frame_bytes).map_err(preparing)?;
        let frame = frame::encode(self.active.head.salt, group.first_sequence, group.event_count, &group.payload);
        let place = Place { segment: self.active.name.clone(), offset_bytes: self.active.offset_bytes };
        self.write(&frame)?;
        self.head = Some(group.last.hash);
        Ok(place)
    }
}

impl Journal for FileJournal {
    fn append(&mut self, group: &Group) -> Result<Place, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if self.head != group.after {
            return Err(AppendError::HeadMoved);
        }
        let outcome = self.try_append(group);
        self.poisoned = matches!(outcome, Err(AppendError::Failed(_)));
        outcome
    }

    fn seal(&mut self, next_sequence: u64) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if self.is_empty() {
            return Ok(());
        }
        self.begin_epoch(self.active.head.epoch, next_sequence)
    }

    fn active_segment(&self) -> &str {
        &self.active.name
    }

    fn begin_epoch(&mut self, epoch: u64, next_sequence: u64) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        let outcome = self
            .begin_segment(epoch, next_sequence)
            .map_err(|error| if error.is_full() { AppendError::Full(error) } else { AppendError::Failed(error) });
        self.poisoned = matches!(outcome, Err(AppendError::Failed(_)));
        outcome
    }
}
