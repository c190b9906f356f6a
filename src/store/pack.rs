//! Compressing ended segments, one after the other, beside everything else. They never change, so only the change of the name
//! needs the sequencer.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::journal::segment_path;
use super::packed::{self, packed_path, unfinished_path};
use super::sequencer::Sequencer;
use super::{Store, layout, scan, version};
use crate::limits::DISK_FREE_BYTES_MIN;
use crate::sys::kill_point::kill_point;

/// What was compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackReport {
    pub segments_count: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl Store {
    /// The segments that have ended and are not compressed: how many, and of how many bytes together.
    pub fn segments_to_pack(&self) -> Result<(u64, u64), StoreError> {
        let Some(active) = self.alone(|sequencer| sequencer.active_segment())? else { return Ok((0, 0)) };
        let dir = self.dir();
        let (mut count, mut bytes) = (0, 0);
        for name in scan::segments(dir.as_ref())?.into_iter().filter(|name| *name < active) {
            if let Some(stat) = dir.stat(&segment_path(&name))? {
                count += 1;
                bytes += stat.len_bytes;
            }
        }
        Ok((count, bytes))
    }

    /// Compresses the segments that have ended, until all are or `stop` says so; none in a store whose form does not allow it,
    /// and none while somebody copies its files.
    pub fn pack_segments(&self, stop: &dyn Fn() -> bool) -> Result<PackReport, StoreError> {
        let mut report = PackReport::default();
        if self.format().0 < version::PACKED_SEGMENTS || self.read_only().is_some() {
            return Ok(report);
        }
        let Some(active) = self.alone(|sequencer| sequencer.active_segment())? else { return Ok(report) };
        let dir = self.dir();
        for name in scan::segments(dir.as_ref())?.into_iter().filter(|name| *name < active) {
            if stop() {
                break;
            }
            let Some(stat) = dir.stat(&segment_path(&name))? else { continue };
            if dir.free_bytes()? < 2 * DISK_FREE_BYTES_MIN + stat.len_bytes {
                break;
            }
            let written = match packed::write(dir.as_ref(), &name) {
                Ok(written) => written,
                Err(error) => {
                    let _ = dir.remove(&unfinished_path(&name));
                    return Err(error.into());
                }
            };
            kill_point("pack-written");
            if !self.alone(move |sequencer| switch(sequencer, &name, written.is_new))?? {
                break;
            }
            report.segments_count += 1;
            report.bytes_before += written.bytes;
            report.bytes_after += written.packed_bytes;
        }
        Ok(report)
    }
}

/// Puts the compressed form in the place of the other; whether it did.
fn switch(sequencer: &Sequencer, name: &str, is_new: bool) -> Result<bool, StoreError> {
    if sequencer.state.files_held.load(Ordering::SeqCst) > 0 {
        return Ok(false);
    }
    let dir = sequencer.state.dir.as_ref();
    if is_new {
        dir.rename(&unfinished_path(name), &packed_path(name))?;
        dir.sync_dir(layout::JOURNAL)?;
    }
    kill_point("pack-renamed");
    dir.remove(&segment_path(name))?;
    dir.sync_dir(layout::JOURNAL)?;
    Ok(true)
}
