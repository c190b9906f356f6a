//! The OCI distribution API towards clients.

pub mod range;
pub mod route;
