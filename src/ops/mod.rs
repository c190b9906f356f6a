//! What operators see: health, the access log, the log.

pub mod log;
