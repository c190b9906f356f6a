//! The access log from a record to whoever reads it: files on a disk that fails, collectors that stall, leave and return.

mod escaping;
mod files;
mod sinks;

use super::{AccessRecord, Event};
use crate::ops::traffic::RouteClass;

fn record(path: &str) -> AccessRecord {
    AccessRecord {
        event: Event::Pull,
        class: RouteClass::BlobGet,
        request_id: "1".to_owned(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        status: 200,
        complete: true,
        duration_us: 1,
        ..AccessRecord::default()
    }
}
