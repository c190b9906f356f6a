//! What can be chosen about the access log.

use std::path::PathBuf;

use super::format::{FACILITY_AUDIT, Format};
use crate::http::delivery::Target;
use crate::limits::{ACCESS_LOG_BYTES_MAX, ACCESS_LOG_DAYS_COUNT_MAX, ACCESS_LOG_QUEUE_COUNT_MAX};

/// What happens when a record cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// It is counted, and the count is told. No request ever waits or fails because of it.
    #[default]
    Count,
    /// No request is answered whose record might not be kept (AU-5).
    Stop,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSettings {
    pub on_loss: OnLoss,
    /// Records that wait for each place where they are kept.
    pub queue_count_max: usize,
    pub file: FileSettings,
    pub sinks: Vec<SinkSettings>,
    /// Name of this machine in the records of formats that have one.
    pub host: String,
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self {
            on_loss: OnLoss::default(),
            queue_count_max: ACCESS_LOG_QUEUE_COUNT_MAX,
            file: FileSettings::default(),
            sinks: Vec::new(),
            host: String::new(),
        }
    }
}

/// The files in the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    pub format: Format,
    /// Days that are kept: those on which there was something to write, so that a clock that jumps removes nothing.
    pub days_count_max: usize,
    pub bytes_max: u64,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { format: Format::Json, days_count_max: ACCESS_LOG_DAYS_COUNT_MAX, bytes_max: ACCESS_LOG_BYTES_MAX }
    }
}

/// Somewhere else that records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// Stands in log lines, metrics and readiness.
    pub name: String,
    pub way: Way,
    pub format: Format,
    pub facility: u8,
}

impl SinkSettings {
    /// A sink with the usual facility.
    pub const fn new(name: String, way: Way, format: Format) -> Self {
        Self { name, way, format, facility: FACILITY_AUDIT }
    }
}

/// How records get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Syslog over TCP, in the clear or in TLS.
    Syslog(Target),
    /// The native socket of systemd's journal.
    Journal(PathBuf),
}
