//! The keys under `[access_log]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{ACCESS_LOG_BYTES_MAX, ACCESS_LOG_DAYS_COUNT_MAX, ACCESS_LOG_QUEUE_COUNT_MAX};

/// Who did what: a record of each request and of each operation over the administration socket, in the data directory's
/// `access/` and wherever else it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// What happens when a record cannot be kept: `count` goes on and counts what is lost; `stop` answers requests with
    /// 503 until there is room for their records again, and `/readyz` says why (AU-5). Commands of operators still work then.
    pub on_loss: OnLoss,
    /// How many records may wait for each place where they are kept, from 16 to 65536. What comes beyond is lost, or stops requests.
    pub queue_records: usize,
    /// The form of the lines in `access/`.
    pub format: AccessLogFormat,
    /// How many days of files are kept: days on which something was written, so that a clock that jumps removes nothing.
    pub keep_days: usize,
    /// How many bytes of files are kept, 1048576 (1 MiB) or more; the oldest go first. They never go to make room for something else.
    pub keep_bytes: u64,
    /// One table for each collector that gets the records as well, also where `offline` is set: it is configured by name.
    pub sink: Vec<Sink>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            on_loss: OnLoss::default(),
            queue_records: ACCESS_LOG_QUEUE_COUNT_MAX,
            format: AccessLogFormat::default(),
            keep_days: ACCESS_LOG_DAYS_COUNT_MAX,
            keep_bytes: ACCESS_LOG_BYTES_MAX,
            sink: Vec::new(),
        }
    }
}

/// What happens when a record cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLoss {
    #[default]
    Count,
    Stop,
}

/// The form of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    #[default]
    Json,
    Rfc5424,
    Cef,
}

/// A collector of the access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sink {
    /// How it is reached: syslog over TCP with lengths in front (RFC 6587), the same in TLS (RFC 5425), or the journal of this machine.
    pub kind: SinkKind,
    /// `host:port` of a syslog collector, such as `siem.example:6514`; for the journal the path of its socket, where it is another than systemd's.
    pub address: Option<String>,
    /// The form of the records. JSON and CEF travel as the text of a syslog message; the journal has fields of its own and no other form.
    pub format: AccessLogFormat,
    /// The facility of the messages, from RFC 5424.
    pub facility: Facility,
    /// PEM file with the certificate authorities to trust for it, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show to it, followed by its intermediates.
    pub certificate: Option<PathBuf>,
    /// PEM file with that certificate's private key.
    pub key: Option<PathBuf>,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            kind: SinkKind::default(),
            address: None,
            format: AccessLogFormat::Rfc5424,
            facility: Facility::default(),
            ca_file: None,
            certificate: None,
            key: None,
        }
    }
}

/// How a collector is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SinkKind {
    #[default]
    SyslogTls,
    SyslogTcp,
    Journald,
}

/// Facilities of syslog that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Facility {
    #[default]
    Audit,
    Auth,
    Authpriv,
    Daemon,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// Numerical code of RFC 5424, table 1.
    pub const fn code(self) -> u8 {
        match self {
            Self::Daemon => 3,
            Self::Auth => 4,
            Self::Authpriv => 10,
            Self::Audit => 13,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}
