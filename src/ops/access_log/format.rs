//! How a record is written down: which format, and what of this machine stands in it.

use super::record::{AccessRecord, Event};
use super::{cef, rfc5424};

/// The forms of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    #[default]
    Json,
    /// A message of RFC 5424 with everything in its structured data.
    Rfc5424,
    /// ArcSight's Common Event Format, version 0.
    Cef,
}

/// What a format says of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub host: String,
    pub process_id: u32,
    /// Numerical code of RFC 5424, table 1.
    pub facility: u8,
}

impl Default for Origin {
    fn default() -> Self {
        Self { host: String::new(), process_id: 0, facility: FACILITY_AUDIT }
    }
}

/// "log audit" in RFC 5424, table 1.
pub const FACILITY_AUDIT: u8 = 13;

/// RFC 5424, table 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Information = 6,
}

impl Severity {
    pub(super) const fn of(record: &AccessRecord) -> Self {
        match record.event {
            Event::Denial => Self::Warning,
            _ if record.status >= 500 => Self::Error,
            Event::Admin | Event::Login | Event::Delete => Self::Notice,
            _ => Self::Information,
        }
    }
}

/// `record` as one line of a file, without its end.
pub fn line(format: Format, record: &AccessRecord, origin: &Origin) -> Vec<u8> {
    match format {
        Format::Json => json(record),
        Format::Rfc5424 => rfc5424::message(record, origin, &rfc5424::Content::StructuredData),
        Format::Cef => cef::line(record, origin).into_bytes(),
    }
}

/// `record` as a message of syslog. JSON and CEF travel as the text of one.
pub fn message(format: Format, record: &AccessRecord, origin: &Origin) -> Vec<u8> {
    match format {
        Format::Rfc5424 => rfc5424::message(record, origin, &rfc5424::Content::StructuredData),
        Format::Json => rfc5424::message(record, origin, &rfc5424::Content::Text(&json(record))),
        Format::Cef => rfc5424::message(record, origin, &rfc5424::Content::Text(cef::line(record, origin).as_bytes())),
    }
}

fn json(record: &AccessRecord) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_else(|_| b"{}".to_vec())
}
