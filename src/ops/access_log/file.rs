//! The files of the access log: `access/<day>.log`, and `access/<day>.<part>.log` where a day has more than one.
//!
//! A write that fails, as on a full disk, is tried again at the same place of the same file once a second: what was half
//! written is written over, and nothing is written twice. Until then records wait, and what no longer fits is lost and
//! counted. Old files are removed when a new one is begun, never to make room for others on a full disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::format::{self, Origin};
use super::place::Place;
use super::record::AccessRecord;
use super::settings::FileSettings;
use crate::limits::{ACCESS_LOG_BATCH_COUNT_MAX, ACCESS_LOG_PARTS_COUNT_MIN};
use crate::sys::clock::Clock;
use crate::sys::dir::{Create, Dir, DirError, File};

/// The directory of the log, in the data directory.
pub const FOLDER: &str = "access";
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// How long a record waits for others. One that a killed process had not written is lost, as one that a power cut took.
const GATHER_FOR: Duration = Duration::from_millis(5);
/// Room for what comes meanwhile, however fast.
const GATHER_ROOM_COUNT_MIN: usize = 1_024;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    pub(super) dir: Arc<dyn Dir>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) place: Arc<Place>,
    pub(super) settings: FileSettings,
    /// Records that may wait.
    pub(super) room_count: usize,
    pub(super) origin: Origin,
    pub(super) open: Option<Part>,
    /// What was received and is not written yet.
    pub(super) batch: Vec<Arc<AccessRecord>>,
    /// When writing failed last; an error is logged once, until writing works again.
    pub(super) failed_at: Option<Duration>,
}

/// The file that is being written.
pub(super) struct Part {
    name: PartName,
    path: String,
    file: Arc<dyn File>,
    end_bytes: u64,
    is_synced: bool,
}

/// A day and its part, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PartName {
    day: String,
    part: u32,
}

impl PartName {
    fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".log")?;
        let (day, part) = stem.split_once('.').unwrap_or((stem, "1"));
        let is_day = day.len() == 10
            && day
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
        Some(Self { day: day.to_owned(), part: part.parse().ok()? }).filter(|_| is_day)
    }

    fn path(&self) -> String {
        match self.part {
            1 => format!("{FOLDER}/{}.log", self.day),
            part => format!("{FOLDER}/{}.{part:03}.log", self.day),
        }
    }
}

impl Writer {
    pub(super) fn run(&mut self, records: &Receiver<Arc<AccessRecord>>) {
        let mut synced_at = self.clock.running();
        loop {
            let wait = if self.batch.is_empty() { SYNC_EVERY } else { TRY_AGAIN_AFTER };
            let is_end = match records.recv_timeout(wait) {
                Ok(first) => {
                    self.batch.push(first);
                    self.gather();
                    self.batch.extend(records.try_iter().take(ACCESS_LOG_BATCH_COUNT_MAX));
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            let now = self.clock.running();
            if is_end || self.failed_at.is_none_or(|at| now.saturating_sub(at) >= TRY_AGAIN_AFTER) {
                self.write(now);
            }
            if is_end || now.saturating_sub(synced_at) >= SYNC_EVERY {
                synced_at = now;
                self.sync(now);
            }
            if is_end {
                self.place.gave_up(self.batch.len());
                self.batch.clear();
            }
            self.place.tell_lost(now, is_end);
            if is_end {
                return;
            }
        }
    }

    /// Lets records of a busy moment come together: each that woke this thread would cost more than to answer its request.
    fn gather(&self) {
        // Where there is room for few, none may be lost for it.
        if self.room_count >= GATHER_ROOM_COUNT_MIN && self.place.waiting_count() < self.room_count / 4 {
            std::thread::sleep(GATHER_FOR);
        }
    }

    fn write(&mut self, now: Duration) {
        if self.batch.is_empty() {
            return;
        }
        let mut lines = Vec::new();
        for record in &self.batch {
            lines.extend_from_slice(&format::line(self.settings.format, record, &self.origin));
            lines.push(b'\n');
        }
        let written = self.current().and_then(|part| {
            let failed = |source| DirError { operation: "append to", path: part.path.clone(), source };
            part.file.write_at(&lines, part.end_bytes).map_err(failed)?;
            part.end_bytes += lines.len() as u64;
            part.is_synced = false;
            Ok(())
        });
        if written.is_ok() {
            self.place.kept(self.batch.len());
            self.batch.clear();
        }
        self.note(now, written);
    }

    fn sync(&mut self, now: Duration) {
        let Some(part) = self.open.as_mut().filter(|part| !part.is_synced) else { return };
        part.is_synced = true;
        let synced = part.file.sync_data();
        if let Err(source) = synced {
            // What the device lost it does not say; the next line goes behind whatever is there.
            let error = DirError { operation: "sync", path: part.path.clone(), source };
            self.open = None;
            self.note(now, Err(error));
        }
    }

    fn note(&mut self, now: Duration, result: Result<(), DirError>) {
        match result {
            Ok(()) => {
                if self.failed_at.take().is_some() {
                    tracing::info!("the access log is written again");
                }
            }
            Err(error) => {
                if self.failed_at.replace(now).is_none() {
                    tracing::error!(error = %error, cause = %error.source, "the access log cannot be written");
                }
            }
        }
    }

    /// The file for now, opened at its end.
    fn current(&mut self) -> Result<&mut Part, DirError> {
        let day = self.clock.wall().strftime("%Y-%m-%d").to_string();
        let bytes_max = self.settings.bytes_max / ACCESS_LOG_PARTS_COUNT_MIN;
        let stays = self.open.as_ref().is_some_and(|part| part.name.day == day && part.end_bytes < bytes_max);
        if !stays && let Some(part) = self.open.take() {
            close(&part)?;
        }
        let part = match self.open.take() {
            Some(part) => part,
            None => self.begin(&day, bytes_max)?,
        };
        Ok(self.open.insert(part))
    }

    /// The last part of the day where it has room, otherwise a new one, before which old files go.
    fn begin(&self, day: &str, bytes_max: u64) -> Result<Part, DirError> {
        let dir = self.dir.as_ref();
        let last = parts(dir)?.into_iter().filter(|(name, _)| name.day == day).max();
        let name = match last {
            Some((name, len_bytes)) if len_bytes < bytes_max => name,
            Some((PartName { day, part }, _)) => PartName { day, part: part.saturating_add(1) },
            None => PartName { day: day.to_owned(), part: 1 },
        };
        remove_old(dir, &name, &self.settings)?;
        open(dir, name)
    }
}

fn close(part: &Part) -> Result<(), DirError> {
    let failed = |operation, source| DirError { operation, path: part.path.clone(), source };
    // A write that failed may have left bytes behind the last whole line.
    part.file.set_len(part.end_bytes).map_err(|source| failed("cut", source))?;
    part.file.sync_data().map_err(|source| failed("sync", source))
}

/// All parts with their lengths, the oldest first.
fn parts(dir: &dyn Dir) -> Result<Vec<(PartName, u64)>, DirError> {
    let mut parts: Vec<(PartName, u64)> = dir
        .list(FOLDER)?
        .into_iter()
        .filter(|entry| !entry.stat.is_dir)
        .filter_map(|entry| Some((PartName::parse(&entry.name)?, entry.stat.len_bytes)))
        .collect();
    parts.sort();
    Ok(parts)
}

/// Removes the oldest files until there is room for another part, and never `current`.
fn remove_old(dir: &dyn Dir, current: &PartName, settings: &FileSettings) -> Result<(), DirError> {
    let parts: Vec<_> = parts(dir)?.into_iter().filter(|(name, _)| name != current).collect();
    let days: BTreeSet<&str> = parts.iter().map(|(name, _)| name.day.as_str()).chain([current.day.as_str()]).collect();
    let days_too_many = days.len().saturating_sub(settings.days_count_max);
    let removed_days: BTreeSet<&str> = days.into_iter().take(days_too_many).collect();
    let mut bytes: u64 = parts.iter().map(|(_, len_bytes)| len_bytes).sum();
    let room_bytes = settings.bytes_max - settings.bytes_max / ACCESS_LOG_PARTS_COUNT_MIN;
    for (name, len_bytes) in &parts {
        if removed_days.contains(name.day.as_str()) || bytes > room_bytes {
            dir.remove(&name.path())?;
            bytes -= len_bytes;
            tracing::info!(file = name.path(), "an old file of the access log was removed");
        }
    }
    Ok(())
}

fn open(dir: &dyn Dir, name: PartName) -> Result<Part, DirError> {
    let path = name.path();
    let file = dir.open_write(&path, Create::Missing)?;
    let failed = |source| DirError { operation: "open the end of", path: path.clone(), source };
    let mut end_bytes = file.len_bytes().map_err(failed)?;
    let mut last = [b'\n'];
    if end_bytes > 0 {
        file.read_at(&mut last, end_bytes - 1).map_err(failed)?;
    }
    // A line that a power cut left half written is closed off.
    if last != [b'\n'] {
        file.write_at(b"\n", end_bytes).map_err(failed)?;
        end_bytes += 1;
    }
    dir.sync_dir(FOLDER)?;
    Ok(Part { name, path, file, end_bytes, is_synced: true })
}
