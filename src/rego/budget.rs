//! How much one evaluation may work, counted in steps of the engine and not in time: a slow board gives the same answer as
//! a fast one. A step can be a long one where the input is large, so that time has an end too, far behind.
//!
//! The engine asks a clock every so many steps and stops at a limit. The clock that it is given counts how often it was
//! asked, each thread for itself.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use regorus::utils::limits::{ExecutionTimerConfig, TimeSource, set_time_source};

use crate::limits::{REGO_SECONDS_MAX, REGO_STEPS_COUNT_MAX};

/// Steps between two looks at the clock.
const STEPS_PER_LOOK_COUNT: NonZeroU32 = NonZeroU32::new(64).expect("not nought");

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

struct Counter;

static COUNTER: Counter = Counter;

impl TimeSource for Counter {
    fn now(&self) -> Option<Duration> {
        let looks = LOOKS.get().saturating_add(1);
        LOOKS.set(looks);
        let is_late = BEGUN.get().is_some_and(|begun| begun.elapsed() > Duration::from_secs(REGO_SECONDS_MAX));
        Some(Duration::from_secs(if is_late { u64::MAX } else { looks }))
    }
}

/// The engine's limit.
pub fn config() -> ExecutionTimerConfig {
    let looks = REGO_STEPS_COUNT_MAX / u64::from(STEPS_PER_LOOK_COUNT.get());
    ExecutionTimerConfig { limit: Duration::from_secs(looks), check_interval: STEPS_PER_LOOK_COUNT }
}

/// Lets the engine have this clock, and begins an evaluation on this thread.
#[expect(
    clippy::disallowed_methods,
    reason = "the engine has no clock handed to it, and no answer depends on this one"
)]
pub fn start() {
    BEGUN.set(Some(Instant::now()));
    // It was set before: by the evaluation before this one.
    let _ = set_time_source(&COUNTER);
}
