//! Reading everything again, slowly, before somebody needs it: cells forget, and cards lie.
//!
//! A pass goes through the shards of the content in order, notes how far it is, and goes on there after a restart. What
//! does not hash to its name goes into quarantine. Reading is held to a pace, so that clients do not notice.
//!
//! ```text
//! scrub                              JSON: version, shards done, passes, running time at the end of the last one, damage of
//!                                    the journal that it found
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::condition::JournalDamage;
use super::index::IndexError;
use super::layout::{self, shards};
use super::quarantine::Losses;
use super::recover;
use super::scan::{self, ScanError, Start};
use super::state::locked;
use super::{Store, StoreError};
use crate::limits::KIB;
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::sys::dir::{self, Dir};

const VERSION: u32 = 1;
/// Shards between two notes of how far a pass is.
const NOTED_SHARDS_COUNT: usize = 16;
/// A note with the longest description of damage.
const NOTED_BYTES_MAX: usize = 8 * KIB;
/// The longest that nothing is read in one go: whoever stops a scrub waits no longer.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How to scrub.
#[derive(Clone, Copy, Debug)]
pub struct ScrubOptions {
    /// Bytes read in a second at the most; as many as the disk gives where this is 0.
    pub bytes_per_second: u64,
}

/// Where scrubbing stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    version: u32,
    shards_done: usize,
    passes: u64,
    ended_running_seconds: u64,
    /// What the last pass found in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal_damage: Option<JournalDamage>,
}

/// What a scrub has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Whether it came to the end of its pass, and was not stopped.
    pub finished: bool,
    /// It went on where an earlier one was stopped.
    pub resumed: bool,
    /// Passes that came to their end, this one among them.
    pub passes: u64,
    pub files_count: u64,
    pub files_bytes: u64,
    /// What this scrub has taken out of the way.
    pub quarantined: Vec<Digest>,
    /// Quarantined before, and here again or needed no more.
    pub cleared_count: u64,
    /// What is wrong with the journal.
    pub journal_damage: Option<String>,
    /// What is lacking now, from whatever time.
    #[serde(flatten)]
    pub losses: Losses,
}

impl ScrubReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.journal_damage.is_none() && self.losses.is_empty()
    }
}

fn load(dir: &dyn Dir) -> Noted {
    let bytes = dir::read_bounded(dir, layout::SCRUB, NOTED_BYTES_MAX).ok();
    let noted: Option<Noted> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    // What cannot be read only means that a pass begins anew.
    noted.filter(|noted| noted.version == VERSION).unwrap_or(Noted { version: VERSION, ..Noted::default() })
}

/// What the last pass that came to its end found in the journal.
pub(super) fn noted_damage(dir: &dyn Dir) -> Option<JournalDamage> {
    load(dir).journal_damage
}

fn save(dir: &dyn Dir, noted: &Noted) {
    let bytes = serde_json::to_vec(noted).expect("numbers always serialise");
    if let Err(error) = dir::replace(dir, layout::SCRUB, &bytes) {
        tracing::warn!(%error, "how far a scrub is could not be written down");
    }
}

/// Reads no faster than it may.
struct Pace {
    bytes_per_second: u64,
    began: Duration,
    bytes: u64,
}

impl Store {
    /// Seconds of running time until the next pass is due, if there is to be one every `interval_seconds`. One that was
    /// begun is due.
    pub fn next_scrub_in_seconds(&self, interval_seconds: u64) -> u64 {
        let noted = load(self.dir().as_ref());
        if noted.shards_done > 0 {
            return 0;
        }
        let passed = self.running_seconds().saturating_sub(noted.ended_running_seconds);
        interval_seconds.saturating_sub(passed)
    }

    /// Goes on with the pass that was begun, or begins one, until its end or until `stop` says so.
    pub fn scrub(
        &self,
        options: ScrubOptions,
        stop: &dyn Fn() -> bool,
        progress: &dyn Progress,
    ) -> Result<ScrubReport, StoreError> {
        let mut noted = load(self.dir().as_ref());
        let mut report = ScrubReport {
            finished: false,
            resumed: noted.shards_done > 0,
            passes: noted.passes,
            files_count: 0,
            files_bytes: 0,
            quarantined: Vec::new(),
            cleared_count: self.clear_quarantine()?,
            journal_damage: None,
            losses: Losses::default(),
        };
        let mut pace = Pace { bytes_per_second: options.bytes_per_second, began: self.clock().running(), bytes: 0 };
        let mut stopped = false;
        for (done, shard) in shards().enumerate().skip(noted.shards_done) {
            for (digest, _) in self.blobs().list(&shard)? {
                stopped = stop();
                if stopped {
                    break;
                }
                self.scrub_one(&digest, &mut report)?;
                progress.step("content", report.files_bytes, 0);
                pace.bytes = report.files_bytes;
                self.rest(&pace, stop);
            }
            if stopped {
                break;
            }
            noted.shards_done = done + 1;
            if noted.shards_done.is_multiple_of(NOTED_SHARDS_COUNT) {
                save(self.dir().as_ref(), &noted);
            }
        }
        if !stopped {
            let damage = self.journal_damage()?;
            self.secure_against(damage.as_ref());
            report.journal_damage = damage.as_ref().map(|damage| damage.what.clone());
            report.finished = true;
            report.passes = noted.passes + 1;
            let ended_running_seconds = self.running_seconds();
            noted = Noted {
                version: VERSION,
                shards_done: 0,
                passes: report.passes,
                ended_running_seconds,
                journal_damage: damage.clone(),
            };
            *locked(&self.shared.state.journal_damage) = damage;
        }
        save(self.dir().as_ref(), &noted);
        report.losses = self.losses()?;
        Ok(report)
    }

    fn scrub_one(&self, digest: &Digest, report: &mut ScrubReport) -> Result<(), StoreError> {
        let Some((mut sound, bytes)) = self.blobs().is_sound(digest)? else { return Ok(()) };
        report.files_count += 1;
        report.files_bytes += bytes;
        if !sound {
            // A cable or memory may have erred on the way; bytes that are wrong on the disk are wrong twice.
            sound = self.blobs().is_sound(digest)?.is_none_or(|(sound, _)| sound);
        }
        if !sound && self.quarantine(*digest)? {
            report.quarantined.push(*digest);
        }
        Ok(())
    }

    fn rest(&self, pace: &Pace, stop: &dyn Fn() -> bool) {
        if pace.bytes_per_second == 0 {
            return;
        }
        let due = Duration::from_millis(pace.bytes.saturating_mul(1000) / pace.bytes_per_second);
        while !stop() {
            let passed = self.clock().running().saturating_sub(pace.began);
            let Some(early) = due.checked_sub(passed).filter(|early| !early.is_zero()) else { return };
            std::thread::sleep(early.min(PAUSE_MAX));
        }
    }

    /// The index still knows what stood behind the damage: written down now, it need not be read from there again.
    fn secure_against(&self, damage: Option<&JournalDamage>) {
        let is_exposed = damage.is_some_and(|damage| !self.is_below_a_snapshot(damage));
        if !is_exposed || self.read_only().is_some() {
            return;
        }
        match self.snapshot() {
            Ok(report) => {
                tracing::warn!(sequence = report.position.sequence, "snapshot written above damage in the journal")
            }
            Err(error) => {
                tracing::error!(error = %crate::error_chain::chain(&error), "no snapshot could be written above damage in the journal");
            }
        }
    }

    /// The first thing in the journal that no power cut explains. A frame that is being written is none.
    fn journal_damage(&self) -> Result<Option<JournalDamage>, StoreError> {
        let mut after_sequence = 0;
        let scanned = scan::scan::<IndexError>(self.dir().as_ref(), &Start::Beginning, &mut |_, events| {
            after_sequence = events.last().map_or(after_sequence, |event| event.head.sequence);
            Ok(())
        });
        match scanned {
            Ok(scanned) => Ok(scanned.damage.map(|damage| JournalDamage { what: damage.to_string(), after_sequence })),
            Err(error @ (ScanError::Missing | ScanError::NoSuchPlace | ScanError::Event(_))) => {
                Ok(Some(JournalDamage { what: error.to_string(), after_sequence }))
            }
            Err(error) => Err(recover::unreadable(error)),
        }
    }
}
