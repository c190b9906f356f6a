//! Random operations, done to a registry and to a small picture of one; after each both must say the same.
//!
//! ```text
//! POSTERN_MODEL_SEED    replay one run by the seed that a failure names, to its end
//! POSTERN_MODEL_RUNS    how many runs instead of a few seconds of them
//! ```

mod picture;
mod play;

use std::time::Duration;

use self::play::Play;
use crate::sys::clock::{Clock, RealClock};
use crate::sys::random;

/// Operations of one run.
const STEPS_COUNT: usize = 120;
/// No further run begins after this.
const SECONDS_MAX: u64 = 3;

/// xorshift64*: a seed says everything.
pub struct Random(u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap() % bound.max(1)
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[expect(clippy::disallowed_methods, reason = "whoever replays a failure says so in the environment")]
fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

async fn run(seed: u64) {
    // Zero is the one state that xorshift never leaves.
    let mut play = Play::new(seed, Random(seed | 1));
    for _ in 0..STEPS_COUNT {
        play.step().await;
    }
    play.end().await;
}

#[tokio::test]
async fn a_registry_and_its_picture_say_the_same() {
    if let Some(seed) = asked_for("POSTERN_MODEL_SEED") {
        return run(seed).await;
    }
    let began = RealClock.running();
    let runs = asked_for("POSTERN_MODEL_RUNS");
    for number in 0.. {
        let is_over = match runs {
            Some(runs) => number >= runs,
            None => RealClock.running().saturating_sub(began) > Duration::from_secs(SECONDS_MAX),
        };
        if is_over {
            break;
        }
        run(u64::from_le_bytes(random::bytes())).await;
    }
}
