//! X.509 certificates: parsed once, chained at a given time, looked up in revocation lists that travelled here.
//!
//! The one place that touches the crates for chains. Time is always an argument: what counts is when something was
//! signed, which is seldom now.

pub mod certificate;
pub mod chain;
#[cfg(test)]
mod tests;

pub use certificate::{Certificate, CertificateError};
pub use chain::{ChainError, Purpose, RevocationLists, Verified, verify_chain};
