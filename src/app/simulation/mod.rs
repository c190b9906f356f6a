//! A seeded world in which the real store, imports, retention and sweeps run beside each other on a simulated disk,
//! with a power cut, a kill or a fault at any step, and a small picture of what must be there afterwards.
//!
//! ```text
//! POSTERN_SIMULATE_SEED    replay one seed, which a failure names together with its commit
//! POSTERN_SIMULATE_SEEDS   how many seeds `make simulate` runs
//! ```
//!
//! One thread drives everything, and whatever comes between is called from the steps of the simulated directory, so the
//! same seed does the same on the same commit.

mod act;
mod goods;
mod life;
mod picture;
mod planted;
mod world;

use std::time::Duration;

use self::life::{Counts, Run};
use crate::sys::clock::{Clock, RealClock};
use crate::sys::dir_simulated::Planted;

const LIVES_COUNT: u32 = 5;
/// Seeds that every run of the tests tries, as far as the time allows.
const SEEDS_COUNT: u64 = 150;
const SECONDS_MAX: u64 = 10;
/// A long run says so often where it is.
const TOLD_SEEDS_COUNT: u64 = 100;
/// Seeds that are tried however slow the machine is.
const SEEDS_COUNT_MIN: u64 = 8;

#[expect(clippy::disallowed_methods, reason = "whoever replays a failure says so in the environment")]
fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs one seed to its end or to its first finding.
fn run(seed: u64, planted: Option<Planted>) -> Result<Counts, String> {
    let mut run = Run::new(seed, planted);
    let mut outcome = Ok(());
    for _ in 0..LIVES_COUNT {
        outcome = run.live();
        if outcome.is_err() {
            break;
        }
    }
    outcome
        .and_then(|()| run.finish())
        .map(|()| run.counts)
        .map_err(|what| format!("seed {seed}: {what}\nreplay with POSTERN_SIMULATE_SEED={seed}\n{}", run.said()))
}

fn tell(all: &Counts, began: Duration) {
    let seconds = RealClock.running().saturating_sub(began).as_secs_f64();
    let states = f64::from(u32::try_from(all.states).unwrap_or(u32::MAX));
    let per_second = if seconds > 0.0 { (states / seconds).round() } else { 0.0 };
    #[expect(clippy::disallowed_macros, reason = "what a simulation has tried is for whoever runs it")]
    {
        println!("{all:?}: {per_second} states a second");
    }
}

fn run_many(seeds: impl Iterator<Item = u64>, seconds_max: u64) -> Counts {
    let began = RealClock.running();
    let mut all = Counts::default();
    for seed in seeds {
        let is_over = RealClock.running().saturating_sub(began) > Duration::from_secs(seconds_max);
        if is_over && all.seeds >= SEEDS_COUNT_MIN {
            break;
        }
        let counts = run(seed, None).unwrap_or_else(|what| panic!("{what}"));
        all.seeds += counts.seeds;
        all.cuts += counts.cuts;
        all.kills += counts.kills;
        all.faults += counts.faults;
        all.states += counts.states;
        if all.seeds.is_multiple_of(TOLD_SEEDS_COUNT) {
            tell(&all, began);
        }
    }
    tell(&all, began);
    all
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_shown_by_half() {
    if let Some(seed) = asked_for("POSTERN_SIMULATE_SEED") {
        run(seed, None).unwrap_or_else(|what| panic!("{what}"));
        return;
    }
    let counts = run_many(0..SEEDS_COUNT, SECONDS_MAX);
    assert!(counts.states > 40 && counts.cuts > 10, "{counts:?}");
}

#[test]
#[ignore = "runs for as long as it is told to: make simulate SEEDS=…"]
fn for_a_long_time() {
    let first = u64::from_le_bytes(crate::sys::random::bytes()) >> 16;
    let count = asked_for("POSTERN_SIMULATE_SEEDS").unwrap_or(1000);
    run_many(first..first + count, u64::MAX);
}
