//! Time, as four different things that must not be mixed: wall time (which may be wrong), running time (which cannot
//! jump), the boot that it belongs to, and the floor of trusted time.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;

/// The clock of the machine, or of a simulation.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time in UTC, as the machine believes it. A box without a battery may say 1970.
    fn wall(&self) -> Timestamp;
    /// Time since boot, also while suspended. It never jumps and begins anew at each boot.
    fn running(&self) -> Duration;
    /// Names the current boot.
    fn boot_id(&self) -> String;
}

/// `now` for every judgement: wall time, but never before the floor of trusted time.
pub fn trusted_now(wall: Timestamp, floor: Timestamp) -> Timestamp {
    wall.max(floor)
}

/// No earlier than this was this release made: where trusted time begins on a device that was told nothing yet.
pub const RELEASED: Timestamp = Timestamp::constant(1_793_491_200, 0);

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealClock;

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this module is the owner of the clock")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn running(&self) -> Duration {
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
    }

    #[expect(clippy::disallowed_methods, reason = "a kernel file, not one of the store")]
    fn boot_id(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    }
}

/// A clock that a test moves by hand, in either direction.
#[derive(Debug)]
pub struct SimulatedClock {
    state: Mutex<(Timestamp, Duration, u64)>,
}

impl SimulatedClock {
    /// A clock in its first boot, at `wall`.
    pub fn new(wall: Timestamp) -> Self {
        Self { state: Mutex::new((wall, Duration::ZERO, 1)) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration, u64)> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets time pass: both wall and running time move.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.0 = state.0.saturating_add(by).unwrap_or(Timestamp::MAX);
        state.1 += by;
    }

    /// Sets the wall clock, as a person or a dead battery does; running time is not touched.
    pub fn set_wall(&self, wall: Timestamp) {
        self.state().0 = wall;
    }

    /// Power off and on again: running time begins anew under another boot id.
    pub fn reboot(&self) {
        let mut state = self.state();
        state.1 = Duration::ZERO;
        state.2 += 1;
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> Timestamp {
        self.state().0
    }

    fn running(&self) -> Duration {
        self.state().1
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.state().2)
    }
}
