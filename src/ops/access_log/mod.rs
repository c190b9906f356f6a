//! Who did what: a record of each request and each act of administration, in files here and wherever else a site wants it.
//!
//! It is a record and no state: nothing is ever decided by reading it. By default a request never waits for it; where
//! records come faster than a place can take them, they are dropped, counted, and the count is told. A site that would
//! rather stop than lose one says so ([`OnLoss::Stop`]): then a request is answered only after room for its record was
//! set aside in every place.
//!
//! ```text
//!             ┌► queue ► file     access/<day>.log, a thread
//!  record() ──┼► queue ► sink     syslog over TCP or TLS, a task
//!             └► queue ► sink     journald, a task
//! ```

mod cef;
mod file;
mod format;
mod journal_entry;
mod place;
mod record;
mod rfc5424;
mod settings;
mod sink;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ::http::Response;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use file::FOLDER;
pub use format::{FACILITY_AUDIT, Format, Origin};
pub use place::Place;
pub use record::{AccessRecord, Event};
pub use settings::{AccessLogSettings, FileSettings, OnLoss, SinkSettings, Way};

use self::file::Writer;
use self::sink::{Backlog, Sink, Told};
use crate::http::Body;
use crate::ops::traffic::Requests;
use crate::sys::clock::Clock;
use crate::sys::dir::{Dir, DirError};

/// The handing-over end. The files are written and synced when it is dropped; sinks want [`AccessLog::end`] before.
#[derive(Debug)]
pub struct AccessLog {
    on_loss: OnLoss,
    queue_count_max: usize,
    sequence: AtomicU64,
    /// Requests that are under way, for whose records room is kept.
    reserved_count: Arc<AtomicUsize>,
    refused_count: AtomicU64,
    /// Whether it was told that requests are refused.
    is_stopped: AtomicBool,
    requests: Requests,
    file: Option<Sender<Arc<AccessRecord>>>,
    file_place: Arc<Place>,
    sinks: Vec<Handle>,
    clock: Arc<dyn Clock>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Handle {
    place: Arc<Place>,
    queue: UnboundedSender<Told>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// Room for the record of one request, until it is dropped.
#[derive(Debug)]
pub struct Reserved(Option<Arc<AtomicUsize>>);

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Why no request is answered: the place that takes no records, by its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access log's '{0}' takes no more records, and on_loss = \"stop\"")]
pub struct Stopped(pub String);

impl AccessLog {
    /// Starts the writer on the data directory `dir`, with no sinks and the usual bounds.
    pub fn start(dir: Arc<dyn Dir>, clock: Arc<dyn Clock>) -> Result<Self, DirError> {
        Self::start_with(dir, clock, AccessLogSettings::default())
    }

    /// Starts the writer on the data directory `dir`, and the sinks, which need a runtime.
    pub fn start_with(dir: Arc<dyn Dir>, clock: Arc<dyn Clock>, settings: AccessLogSettings) -> Result<Self, DirError> {
        dir.create_dir_all(FOLDER)?;
        let origin = Origin { host: settings.host, process_id: std::process::id(), facility: FACILITY_AUDIT };
        let (file, records) = channel();
        let file_place = Arc::new(Place::new("file".to_owned()));
        let mut writer = Writer {
            dir,
            clock: Arc::clone(&clock),
            place: Arc::clone(&file_place),
            settings: settings.file,
            room_count: settings.queue_count_max,
            origin: origin.clone(),
            open: None,
            batch: Vec::new(),
            failed_at: None,
        };
        let spawned = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run(&records));
        let thread =
            spawned.map_err(|source| DirError { operation: "start the writer of", path: FOLDER.to_owned(), source })?;
        let sinks = settings.sinks.into_iter().map(|sink| start_sink(sink, &origin, &clock)).collect();
        Ok(Self {
            on_loss: settings.on_loss,
            queue_count_max: settings.queue_count_max.max(1),
            sequence: AtomicU64::new(0),
            reserved_count: Arc::default(),
            refused_count: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            requests: Requests::default(),
            file: Some(file),
            file_place,
            sinks,
            clock,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Sets room aside for the record of a request that is to be answered. Where records may be lost it always is there.
    pub fn reserve(&self) -> Result<Reserved, Stopped> {
        if self.on_loss == OnLoss::Count {
            return Ok(Reserved(None));
        }
        self.reserved_count.fetch_add(1, Ordering::AcqRel);
        let reserved = Reserved(Some(Arc::clone(&self.reserved_count)));
        let Some(place) = self.full(0) else {
            // Told only once half of the room is free, or a slow disk would fill the log with it.
            if self.is_stopped.load(Ordering::Relaxed)
                && self.full(self.queue_count_max / 2).is_none()
                && self.is_stopped.swap(false, Ordering::Relaxed)
            {
                tracing::info!("the access log takes records again: requests are answered");
            }
            return Ok(reserved);
        };
        self.refused_count.fetch_add(1, Ordering::Relaxed);
        let stopped = Stopped(place.name().to_owned());
        if !self.is_stopped.swap(true, Ordering::Relaxed) {
            tracing::error!(reason = %stopped, "requests are not answered until the access log takes records again");
        }
        Err(stopped)
    }

    /// Why the next request would not be answered.
    pub fn stopped(&self) -> Option<Stopped> {
        let full = if self.on_loss == OnLoss::Stop { self.full(1) } else { None };
        full.map(|place| Stopped(place.name().to_owned()))
    }

    /// A place that has no room for `more` records beside those for which room is kept.
    fn full(&self, more: usize) -> Option<&Place> {
        let reserved = self.reserved_count.load(Ordering::Acquire) + more;
        self.places().find(|place| place.waiting_count() + reserved > self.queue_count_max)
    }

    /// Hands over one record. Never waits.
    pub fn record(&self, record: AccessRecord) {
        self.requests.count(record.class, record.status, record.bytes);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let record = Arc::new(AccessRecord { sequence, ..record });
        // A record is counted as waiting while its room is still kept. Acts of administration keep none.
        let count_max = match self.on_loss {
            OnLoss::Count => self.queue_count_max,
            OnLoss::Stop => self.queue_count_max.saturating_mul(2),
        };
        if self.file_place.take_in(count_max)
            && self.file.as_ref().is_none_or(|file| file.send(Arc::clone(&record)).is_err())
        {
            self.file_place.gave_up(1);
        }
        for sink in &self.sinks {
            if sink.place.take_in(count_max) && sink.queue.send(Told::Record(Arc::clone(&record))).is_err() {
                sink.place.gave_up(1);
            }
        }
    }

    /// Hands over the record of a request that came at running time `began`, once its answer was sent or given up.
    pub fn record_at_end(
        self: &Arc<Self>,
        response: Response<Body>,
        record: AccessRecord,
        began: Duration,
    ) -> Response<Body> {
        let log = Arc::clone(self);
        response.map(|body| {
            body.on_end(move |end| {
                let lasted = log.clock.running().saturating_sub(began).as_micros();
                log.record(AccessRecord {
                    bytes: end.sent_bytes,
                    complete: end.complete,
                    duration_us: u64::try_from(lasted).unwrap_or(u64::MAX),
                    ..record
                });
            })
        })
    }

    /// Where records are kept: the files first.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(self.file_place.as_ref()).chain(self.sinks.iter().map(|sink| sink.place.as_ref()))
    }

    /// Requests that were answered and recorded.
    pub const fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Requests that were not answered, since their records might have been lost.
    pub fn refused_count(&self) -> u64 {
        self.refused_count.load(Ordering::Relaxed)
    }

    /// Lets the sinks deliver what is there, for no longer than `limit`. What they could not is counted as lost.
    pub async fn end(&self, limit: Duration) {
        let mut tasks = Vec::new();
        for sink in &self.sinks {
            let _ = sink.queue.send(Told::End);
            let task = sink.task.lock().unwrap_or_else(PoisonError::into_inner).take();
            tasks.extend(task.map(|task| (sink, task)));
        }
        let until = tokio::time::Instant::now() + limit;
        for (sink, mut task) in tasks {
            if tokio::time::timeout_at(until, &mut task).await.is_err() {
                task.abort();
                // It may be in the midst of counting.
                let _ = task.await;
                sink.place.gave_up(sink.place.waiting_count());
                sink.place.tell_lost(self.clock.running(), true);
            }
        }
    }
}

fn start_sink(settings: SinkSettings, origin: &Origin, clock: &Arc<dyn Clock>) -> Handle {
    let place = Arc::new(Place::new(settings.name));
    let (queue, told) = unbounded_channel();
    let sink = Sink {
        way: settings.way,
        format: settings.format,
        origin: Origin { facility: settings.facility, ..origin.clone() },
        place: Arc::clone(&place),
        clock: Arc::clone(clock),
        queue: told,
        backlog: Backlog::default(),
    };
    Handle { place, queue, task: Mutex::new(Some(tokio::spawn(sink.run()))) }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.file = None;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
