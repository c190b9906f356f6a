//! What operators see: health, the access log, the log.

pub mod access_log;
pub mod health;
pub mod log;
