//! How much one evaluation may work, counted in steps of the engine and not in time: a slow board gives the same answer as
//! a fast one.
//!
//! The engine asks a clock every so many steps and stops at a limit. The clock that it is given counts how often it was
//! asked, each thread for itself.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, TimeSource, set_time_source};

use crate::limits::REGO_STEPS_COUNT_MAX;

/// Steps between two looks at the clock.
const STEPS_PER_LOOK_COUNT: NonZeroU32 = NonZeroU32::new(64).expect("not nought");

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

struct Counter;

static COUNTER: Counter = Counter;

impl TimeSource for Counter {
    fn now(&self) -> Option<Duration> {
        LOOKS.with(|looks| {
            looks.set(looks.get().saturating_add(1));
            Some(Duration::from_secs(looks.get()))
        })
    }
}

/// The engine's limit.
pub fn config() -> ExecutionTimerConfig {
    let looks = REGO_STEPS_COUNT_MAX / u64::from(STEPS_PER_LOOK_COUNT.get());
    ExecutionTimerConfig { limit: Duration::from_secs(looks), check_interval: STEPS_PER_LOOK_COUNT }
}

/// Lets the engine have this clock.
pub fn start() {
    // It was set before: by the evaluation before this one.
    let _ = set_time_source(&COUNTER);
}
