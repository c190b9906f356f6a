//! The file that carries running time over a restart.

use serde::{Deserialize, Serialize};

use super::layout;
use crate::limits::KIB;
use crate::sys::dir::{self, Dir};

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    seconds: u64,
}

const VERSION: u32 = 1;

/// What was counted so far. A file that is missing or not readable counts as nothing: grace begins anew, and nothing is
/// swept too early.
pub fn load(dir: &dyn Dir) -> u64 {
    let bytes = dir::read_bounded(dir, layout::RUNNING, KIB).ok();
    let written: Option<Written> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    written.filter(|written| written.version == VERSION).map_or(0, |written| written.seconds)
}

/// Writes down what was counted. Failing is harmless for the same reason.
pub fn save(dir: &dyn Dir, seconds: u64) {
    let written = serde_json::to_vec(&Written { version: VERSION, seconds }).expect("two numbers always serialise");
    if let Err(error) = dir::replace(dir, layout::RUNNING, &written) {
        tracing::warn!(%error, "running time could not be written down");
    }
}
