//! The files: what an earlier run left, days that go, and a disk that is full.

use std::sync::Arc;
use std::time::Duration;

use super::record;
use crate::ops::access_log::{AccessLog, AccessLogSettings, AccessRecord, FOLDER, FileSettings, OnLoss};
use crate::sys::clock::{Clock, RealClock, SimulatedClock};
use crate::sys::dir::{Create, Dir, read_bounded};
use crate::sys::dir_real::RealDir;
use crate::sys::dir_simulated::SimulatedDir;

fn names(dir: &dyn Dir) -> Vec<String> {
    dir.list(FOLDER).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn paths(dir: &dyn Dir, name: &str) -> Vec<String> {
    let text = String::from_utf8(read_bounded(dir, &format!("{FOLDER}/{name}"), 10_000_000).unwrap()).unwrap();
    text.lines().filter_map(|line| Some(serde_json::from_str::<AccessRecord>(line).ok()?.path)).collect()
}

/// Waits for a condition that the writer's thread brings about.
#[track_caller]
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let began = RealClock.running();
    while !condition() {
        assert!(RealClock.running() - began < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn waiting(log: &AccessLog) -> usize {
    log.places().next().unwrap().waiting_count()
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
    assert_eq!(paths(dir.as_ref(), "1970-01-01.log"), ["/a", "/b"]);
    let text = String::from_utf8(read_bounded(dir.as_ref(), &name, 10_000).unwrap()).unwrap();
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn days_on_which_something_was_written_are_kept_by_number() {
    let dir: Arc<dyn Dir> = Arc::new(SimulatedDir::default());
    let clock = Arc::new(SimulatedClock::new("2026-11-24T23:00:00Z".parse().unwrap()));
    let file = FileSettings { days_count_max: 3, ..FileSettings::default() };
    let settings = AccessLogSettings { file, ..AccessLogSettings::default() };
    let log = AccessLog::start_with(Arc::clone(&dir), Arc::clone(&clock) as _, settings).unwrap();
    dir.open_write("access/notes.txt", Create::New).unwrap();
    let write_at = |time: &str| {
        clock.set_wall(time.parse().unwrap());
        log.record(record(time));
        wait_for("a line", || waiting(&log) == 0);
    };
    write_at("2026-11-24T23:00:00Z");
    write_at("2026-11-25T00:00:00Z");
    write_at("2026-11-25T23:59:59Z");
    // A clock that jumps takes one day's file with it and not a year of them.
    write_at("2040-01-01T00:00:00Z");
    assert_eq!(names(dir.as_ref()), ["2026-11-24.log", "2026-11-25.log", "2040-01-01.log", "notes.txt"]);
    write_at("2026-11-26T00:00:00Z");
    assert_eq!(names(dir.as_ref()), ["2026-11-25.log", "2026-11-26.log", "2040-01-01.log", "notes.txt"]);
    assert_eq!(paths(dir.as_ref(), "2026-11-25.log").len(), 2);
}

#[test]
fn bytes_are_kept_below_their_bound_within_one_day() {
    let dir: Arc<dyn Dir> = Arc::new(SimulatedDir::default());
    let clock = Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()));
    let file = FileSettings { bytes_max: 16_000, ..FileSettings::default() };
    let settings = AccessLogSettings { file, ..AccessLogSettings::default() };
    let log = AccessLog::start_with(Arc::clone(&dir), clock, settings).unwrap();
    let mut most_bytes = 0;
    for number in 0..200 {
        log.record(record(&format!("/{number:03}")));
        wait_for("a line", || waiting(&log) == 0);
        most_bytes = most_bytes.max(dir.list(FOLDER).unwrap().iter().map(|entry| entry.stat.len_bytes).sum());
    }
    assert!((12_000..=16_000).contains(&most_bytes), "{most_bytes}");
    let mut kept: Vec<String> = names(dir.as_ref()).iter().flat_map(|name| paths(dir.as_ref(), name)).collect();
    kept.sort();
    let newest: Vec<String> = (200 - kept.len()..200).map(|number| format!("/{number:03}")).collect();
    assert_eq!(kept, newest);
}

#[test]
fn a_full_disk_loses_what_no_longer_fits_and_nothing_else() {
    let simulated = SimulatedDir::default();
    let dir: Arc<dyn Dir> = Arc::new(simulated.clone());
    let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
    let settings = AccessLogSettings { queue_count_max: 10, ..AccessLogSettings::default() };
    let log = AccessLog::start_with(Arc::clone(&dir), Arc::clone(&clock) as _, settings).unwrap();
    log.record(record("/first"));
    wait_for("the first line", || waiting(&log) == 0);
    // Half a line still fits.
    simulated.set_capacity(dir.stat("access/1970-01-01.log").unwrap().unwrap().len_bytes + 50);
    for number in 0..25 {
        log.record(record(&format!("/{number}")));
    }
    let place = log.places().next().unwrap();
    assert_eq!((place.kept_count(), place.waiting_count(), place.lost_count()), (1, 10, 15));
    simulated.set_capacity(u64::MAX);
    wait_for("room", || {
        clock.advance(Duration::from_secs(1));
        waiting(&log) == 0
    });
    log.record(record("/last"));
    drop(log);
    let expected: Vec<String> = std::iter::once("/first".to_owned())
        .chain((0..10).map(|number| format!("/{number}")))
        .chain(["/last".to_owned()])
        .collect();
    assert_eq!(paths(dir.as_ref(), "1970-01-01.log"), expected);
    // What was written by half was written over: every line is whole.
    let text = read_bounded(dir.as_ref(), "access/1970-01-01.log", 100_000).unwrap();
    assert_eq!(text.split(|byte| *byte == b'\n').count() - 1, expected.len());
}

#[test]
fn nothing_is_answered_whose_record_might_be_lost() {
    let simulated = SimulatedDir::default();
    let dir: Arc<dyn Dir> = Arc::new(simulated.clone());
    let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
    let settings = AccessLogSettings { on_loss: OnLoss::Stop, queue_count_max: 4, ..AccessLogSettings::default() };
    let log = AccessLog::start_with(Arc::clone(&dir), Arc::clone(&clock) as _, settings).unwrap();
    simulated.set_capacity(0);
    // Requests under way take room as records do.
    let under_way = [log.reserve().unwrap(), log.reserve().unwrap()];
    for _ in 0..2 {
        let _reserved = log.reserve().unwrap();
        log.record(record("/a"));
    }
    assert_eq!(log.reserve().unwrap_err().to_string(), log.stopped().unwrap().to_string());
    assert_eq!(log.stopped().unwrap().0, "file");
    for reserved in under_way {
        log.record(record("/a"));
        drop(reserved);
    }
    assert!(log.reserve().is_err());
    let place = log.places().next().unwrap();
    assert_eq!((place.waiting_count(), place.lost_count(), log.refused_count()), (4, 0, 2));
    simulated.set_capacity(u64::MAX);
    wait_for("room", || {
        clock.advance(Duration::from_secs(1));
        log.stopped().is_none()
    });
    assert!(log.reserve().is_ok());
    wait_for("the rest", || {
        clock.advance(Duration::from_secs(1));
        waiting(&log) == 0
    });
    assert_eq!((log.places().next().unwrap().lost_count(), paths(dir.as_ref(), "1970-01-01.log").len()), (0, 4));
}
