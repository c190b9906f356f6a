//! Who asked for what: one line of JSON for each request, in `access/<day>.log`.
//!
//! It is a record and no state: nothing is ever decided by reading it. A request never waits for the disk here; when the
//! writer cannot keep up, lines are dropped, counted, and the count is logged. Never written: credentials, and queries,
//! which may hold them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sys::clock::Clock;
use crate::sys::dir::{Create, Dir, DirError, File};

/// One request and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    pub time: Timestamp,
    pub request_id: String,
    /// Who asked; absent over a socket file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    pub method: String,
    pub path: String,
    /// The registry that the client meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns: Option<String>,
    /// The repository here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub status: u16,
    /// Bytes of the body that were handed to the connection.
    pub bytes: u64,
    /// Whether the body was sent to its end. Clients cut bodies on purpose, so this is no error.
    pub complete: bool,
    pub duration_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The rule that denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// The directory of the log, in the data directory.
pub const FOLDER: &str = "access";
const QUEUE_LINES_MAX: usize = 4_096;
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// The writing end. It ends, with everything written and synced, when it is dropped.
#[derive(Debug)]
pub struct AccessLog {
    queue: Option<SyncSender<AccessRecord>>,
    dropped: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Starts the writer on the data directory `dir`.
    pub fn start(dir: Arc<dyn Dir>, clock: Arc<dyn Clock>) -> Result<Self, DirError> {
        dir.create_dir_all(FOLDER)?;
        let (queue, records) = sync_channel(QUEUE_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { dir, clock, dropped: Arc::clone(&dropped), open: None, failed: false };
        let spawned = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run(&records));
        let thread =
            spawned.map_err(|source| DirError { operation: "start the writer of", path: FOLDER.to_owned(), source })?;
        Ok(Self { queue: Some(queue), dropped, writer: Mutex::new(Some(thread)) })
    }

    /// Hands over one record. Never waits.
    pub fn record(&self, record: AccessRecord) {
        let taken = self.queue.as_ref().is_some_and(|queue| queue.try_send(record).is_ok());
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct Writer {
    dir: Arc<dyn Dir>,
    clock: Arc<dyn Clock>,
    dropped: Arc<AtomicU64>,
    open: Option<Day>,
    /// An error is logged once, until writing works again.
    failed: bool,
}

struct Day {
    name: String,
    file: Arc<dyn File>,
    end_bytes: u64,
    is_synced: bool,
}

impl Writer {
    fn run(&mut self, records: &Receiver<AccessRecord>) {
        let mut synced_at = self.clock.running();
        loop {
            match records.recv_timeout(SYNC_EVERY) {
                Ok(first) => {
                    let mut lines = Vec::new();
                    for record in std::iter::once(first).chain(records.try_iter().take(QUEUE_LINES_MAX)) {
                        if serde_json::to_writer(&mut lines, &record).is_ok() {
                            lines.push(b'\n');
                        }
                    }
                    self.append(&lines);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.clock.running();
            if now.saturating_sub(synced_at) >= SYNC_EVERY {
                synced_at = now;
                self.sync();
            }
            self.tell_dropped();
        }
        self.sync();
    }

    fn append(&mut self, lines: &[u8]) {
        let written = self.today().and_then(|day| {
            let failed = |source| DirError { operation: "append to", path: day.name.clone(), source };
            day.file.write_at(lines, day.end_bytes).map_err(failed)?;
            day.end_bytes += lines.len() as u64;
            day.is_synced = false;
            Ok(())
        });
        self.note(written);
    }

    fn sync(&mut self) {
        let Some(day) = self.open.as_mut().filter(|day| !day.is_synced) else { return };
        let synced =
            day.file.sync_data().map_err(|source| DirError { operation: "sync", path: day.name.clone(), source });
        day.is_synced = true;
        self.note(synced);
    }

    fn note(&mut self, result: Result<(), DirError>) {
        match result {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !self.failed {
                    tracing::error!(error = %error, cause = %error.source, "the access log cannot be written");
                }
                self.failed = true;
                self.open = None;
            }
        }
    }

    fn tell_dropped(&self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "lines of the access log were dropped, the disk is too slow");
        }
    }

    /// The file of this day, opened at its end. A line that a power cut left half written is closed off.
    fn today(&mut self) -> Result<&mut Day, DirError> {
        let name = format!("{FOLDER}/{}.log", self.clock.wall().strftime("%Y-%m-%d"));
        if self.open.as_ref().is_some_and(|day| day.name != name) {
            self.sync();
            self.open = None;
        }
        let day = match self.open.take() {
            Some(day) => day,
            None => open_day(self.dir.as_ref(), name)?,
        };
        Ok(self.open.insert(day))
    }
}

fn open_day(dir: &dyn Dir, name: String) -> Result<Day, DirError> {
    let file = dir.open_write(&name, Create::Missing)?;
    let failed = |source| DirError { operation: "open the end of", path: name.clone(), source };
    let mut end_bytes = file.len_bytes().map_err(failed)?;
    let mut last = [b'\n'];
    if end_bytes > 0 {
        file.read_at(&mut last, end_bytes - 1).map_err(failed)?;
    }
    if last != [b'\n'] {
        file.write_at(b"\n", end_bytes).map_err(failed)?;
        end_bytes += 1;
    }
    dir.sync_dir(FOLDER)?;
    Ok(Day { name, file, end_bytes, is_synced: true })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{AccessLog, AccessRecord, FOLDER};
    use crate::sys::clock::SimulatedClock;
    use crate::sys::dir::{Create, Dir, read_bounded};
    use crate::sys::dir_real::RealDir;

    fn record(path: &str) -> AccessRecord {
        AccessRecord {
            time: jiff::Timestamp::UNIX_EPOCH,
            request_id: "1".to_owned(),
            remote: None,
            method: "GET".to_owned(),
            path: path.to_owned(),
            ns: None,
            repository: None,
            reference: None,
            status: 200,
            bytes: 0,
            complete: true,
            duration_us: 1,
            user_agent: None,
            rule: None,
        }
    }

    #[test]
    fn lines_follow_what_an_earlier_run_left() {
        let temporary = tempfile::tempdir().unwrap();
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(temporary.path()).unwrap());
        dir.create_dir_all(FOLDER).unwrap();
        let name = format!("{FOLDER}/1970-01-01.log");
        dir.open_write(&name, Create::New).unwrap().write_at(b"{\"torn", 0).unwrap();
        for path in ["/a", "/b"] {
            let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
            let log = AccessLog::start(Arc::clone(&dir), clock).unwrap();
            log.record(record(path));
        }
        let text = String::from_utf8(read_bounded(dir.as_ref(), &name, 10_000).unwrap()).unwrap();
        let paths: Vec<_> =
            text.lines().filter_map(|line| Some(serde_json::from_str::<AccessRecord>(line).ok()?.path)).collect();
        assert_eq!(paths, ["/a", "/b"]);
        assert_eq!(text.lines().count(), 3);
    }
}
