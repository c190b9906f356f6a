//! What operators see: health, the access log, the log, counters.

pub mod access_log;
pub mod health;
pub mod log;
pub mod metrics;
pub mod traffic;
