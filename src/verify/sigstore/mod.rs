//! Sigstore: bundles, the trusted roots by which keyless ones are believed, and the logs behind them.
//!
//! Written here and not taken from Sigstore's verifier for three reasons: that one reads the machine's clock, where here
//! time is an argument and a board without a clock must neither refuse all nor believe all; it cannot be linked with the
//! validated module of the FIPS edition; and it takes an entry without a proof where another entry has one. The tests put
//! every vector to both.

pub mod bundle;
pub mod checkpoint;
pub mod compose;
mod entry_body;
pub mod identity;
pub mod keyless;
mod log;
pub mod merkle;
mod sct;
#[cfg(test)]
mod tests;
pub mod trusted_root;

pub use bundle::{Bundle, BundleError, Material, SignedContent, parse};
pub use keyless::{KeylessError, KeylessSigner};
pub use trusted_root::{Instance, TrustedRoot, TrustedRootError};
