//! The only reader of environment variables.

use std::path::PathBuf;

/// The processor that this binary is built for.
pub const ARCHITECTURE: &str = std::env::consts::ARCH;
/// The operating system that this binary is built for.
pub const OPERATING_SYSTEM: &str = std::env::consts::OS;

/// Every variable that means something here, read once at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// POSTERN_CONFIG: the configuration file.
    pub config: Option<PathBuf>,
    /// POSTERN_DATA: the data directory.
    pub data: Option<PathBuf>,
    /// POSTERN_LOG: what is logged, as `level` or `module=level,…`.
    pub log: Option<String>,
    /// NOTIFY_SOCKET, from systemd: where readiness is told.
    pub notify_socket: Option<PathBuf>,
    /// CREDENTIALS_DIRECTORY, from systemd: where it hands over what is secret.
    pub credentials: Option<PathBuf>,
    /// WATCHDOG_USEC, from systemd: how often a sign of life is wanted. Only when it is meant for this process.
    pub watchdog_microseconds: Option<u64>,
    /// NO_COLOR: no colours, whoever asks.
    pub no_color: bool,
    /// POSTERN_KILL_AT and POSTERN_KILL_MARK: where a test wants the process to die, and the file that proves it got there.
    #[cfg(feature = "killpoints")]
    pub kill_point: Option<(String, PathBuf)>,
}

impl Environment {
    /// Whether a word stands among the arguments, for when they cannot be read as a whole.
    pub fn has_argument(word: &str) -> bool {
        std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == word)
    }

    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this module is the owner of the environment")]
    pub fn read() -> Self {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let watchdog_is_ours =
            text("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(nix::unistd::Pid::this().as_raw()));
        Self {
            config: path("POSTERN_CONFIG"),
            data: path("POSTERN_DATA"),
            log: text("POSTERN_LOG"),
            notify_socket: path("NOTIFY_SOCKET"),
            credentials: path("CREDENTIALS_DIRECTORY"),
            watchdog_microseconds: text("WATCHDOG_USEC")
                .and_then(|text| text.parse().ok())
                .filter(|_| watchdog_is_ours),
            no_color: path("NO_COLOR").is_some(),
            #[cfg(feature = "killpoints")]
            kill_point: text("POSTERN_KILL_AT").zip(path("POSTERN_KILL_MARK")),
        }
    }
}
