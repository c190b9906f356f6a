//! Whether trusted time may move.

use jiff::Timestamp;

use super::{Decided, View, index, short};
use crate::limits::JOURNAL_TEXT_BYTES_MAX;
use crate::store::error::Conflict;
use crate::store::event::Body;
use crate::store::rows::{time_floor, time_waiting};

impl View<'_> {
    /// By a step at the most: a log whose clock ran away, or whose key was stolen, cannot carry this device to where all
    /// that is trusted has expired.
    pub(super) fn raise_time(&self, at: Timestamp, source: String) -> Decided {
        short("source", &source, JOURNAL_TEXT_BYTES_MAX)?;
        let floor = time_floor(self.rows).map_err(index)?;
        if at <= floor {
            return Ok(None);
        }
        let step_seconds = at.duration_since(floor).as_secs();
        if u64::try_from(step_seconds).is_ok_and(|seconds| seconds <= self.time_step_seconds_max) {
            return Ok(Some(Body::TimeFloorRaised { at, source }));
        }
        // Said once: who attaches such evidence again and again does not fill the journal.
        let waiting = time_waiting(self.rows).map_err(index)?;
        Ok(waiting.is_none_or(|waiting| waiting.at < at).then_some(Body::TimeStepHeld { at, source }))
    }

    pub(super) fn set_time(&self, at: Timestamp, expected: Timestamp, reason: String) -> Decided {
        short("reason", &reason, JOURNAL_TEXT_BYTES_MAX)?;
        let previous = time_floor(self.rows).map_err(index)?;
        if previous != expected {
            return Err(Conflict::TimeMoved(previous).into());
        }
        Ok(Some(Body::TimeFloorSet { at, previous, reason }))
    }
}
