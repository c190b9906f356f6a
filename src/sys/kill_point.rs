//! Named points at which a crash test ends the process, as a power cut would: no destructor runs, nothing is flushed.
//!
//! Without the feature `killpoints` everything here compiles to nothing, so a release holds no way to be told to die.

/// Where the armed point is and what it leaves behind.
#[cfg(feature = "killpoints")]
#[derive(Debug)]
struct Armed {
    name: String,
    /// Times that the point is still passed unharmed.
    passes: std::sync::atomic::AtomicU64,
    mark: std::path::PathBuf,
}

#[cfg(feature = "killpoints")]
static ARMED: std::sync::OnceLock<Armed> = std::sync::OnceLock::new();

/// Chooses the point at which this process ends, as `name` or, for the third time that it gets there, `name@3`; `mark` is
/// a file that is made just before, so that a test can tell this end from any other. Only the first call counts.
#[cfg(feature = "killpoints")]
pub fn arm(point: String, mark: std::path::PathBuf) {
    let (name, times) = point.split_once('@').unwrap_or((&point, "1"));
    let times: u64 = times.parse().expect("a test writes a number behind the '@'");
    let _ = ARMED.set(Armed { name: name.to_owned(), passes: times.saturating_sub(1).into(), mark });
}

/// Ends the process here, if this point was armed.
#[cfg(feature = "killpoints")]
#[expect(clippy::disallowed_methods, reason = "a mark for the test, not a file of the store")]
pub fn kill_point(name: &'static str) {
    use nix::sys::signal::{Signal, kill};
    use std::sync::atomic::Ordering;
    if let Some(armed) = ARMED.get().filter(|armed| armed.name == name) {
        let unharmed = armed.passes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |passes| passes.checked_sub(1));
        if unharmed.is_ok() {
            return;
        }
        let _ = std::fs::write(&armed.mark, name);
        let _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
    }
}

/// Ends the process here, if this point was armed. In this build it never is.
#[cfg(not(feature = "killpoints"))]
pub fn kill_point(_name: &'static str) {}
