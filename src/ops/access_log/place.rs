//! One place where records are kept: how many wait for it, and how many never got there.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How often lost records are told to the log at the most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Counters of one place, shared by those who hand records over and the one who keeps them.
#[derive(Debug)]
pub struct Place {
    name: String,
    waiting_count: AtomicUsize,
    kept_count: AtomicU64,
    lost_count: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Duration>,
    lost_count: u64,
}

impl Place {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            waiting_count: AtomicUsize::new(0),
            kept_count: AtomicU64::new(0),
            lost_count: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records that wait.
    pub fn waiting_count(&self) -> usize {
        self.waiting_count.load(Ordering::Acquire)
    }

    /// Records that were written to a file, or handed to the connection.
    pub fn kept_count(&self) -> u64 {
        self.kept_count.load(Ordering::Relaxed)
    }

    /// Records that never got there.
    pub fn lost_count(&self) -> u64 {
        self.lost_count.load(Ordering::Relaxed)
    }

    /// Takes one record in, unless `count_max` wait already; then it is lost.
    pub(super) fn take_in(&self, count_max: usize) -> bool {
        let fits = |waiting: usize| (waiting < count_max).then_some(waiting + 1);
        let taken = self.waiting_count.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        if !taken {
            self.lost_count.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// `count` records that waited were kept.
    pub(super) fn kept(&self, count: usize) {
        self.waiting_count.fetch_sub(count, Ordering::AcqRel);
        self.kept_count.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// `count` records that waited are given up.
    pub(super) fn gave_up(&self, count: usize) {
        self.waiting_count.fetch_sub(count, Ordering::AcqRel);
        self.lost_count.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Tells what was lost since this was told last, at most once a minute; at the end whatever is left.
    pub(super) fn tell_lost(&self, now: Duration, is_end: bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let lost_count = self.lost_count();
        let is_time = is_end || told.at.is_none_or(|at| now.saturating_sub(at) >= TELL_EVERY);
        if lost_count > told.lost_count && is_time {
            let since = lost_count - told.lost_count;
            *told = Told { at: Some(now), lost_count };
            tracing::warn!(to = self.name, lost = since, total = lost_count, "records of the access log were lost");
        }
    }
}
