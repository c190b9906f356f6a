//! Named points at which a crash test ends the process, as a power cut would: no destructor runs, nothing is flushed.
//!
//! Without the feature `killpoints` everything here compiles to nothing, so a release holds no way to be told to die.

/// Where the armed point is and what it leaves behind.
#[cfg(feature = "killpoints")]
#[derive(Debug)]
struct Armed {
    name: String,
    mark: std::path::PathBuf,
}

#[cfg(feature = "killpoints")]
static ARMED: std::sync::OnceLock<Armed> = std::sync::OnceLock::new();

/// Chooses the point at which this process ends; `mark` is a file that is made just before, so that a test can tell
/// this end from any other. Only the first call counts.
#[cfg(feature = "killpoints")]
pub fn arm(name: String, mark: std::path::PathBuf) {
    let _ = ARMED.set(Armed { name, mark });
}

/// Ends the process here, if this point was armed.
#[cfg(feature = "killpoints")]
#[expect(clippy::disallowed_methods, reason = "a mark for the test, not a file of the store")]
pub fn kill_point(name: &'static str) {
    use nix::sys::signal::{Signal, kill};
    if let Some(armed) = ARMED.get().filter(|armed| armed.name == name) {
        let _ = std::fs::write(&armed.mark, name);
        let _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
    }
}

/// Ends the process here, if this point was armed. In this build it never is.
#[cfg(not(feature = "killpoints"))]
pub fn kill_point(_name: &'static str) {}
