//! Proving the journal to somebody who was not there: signed checkpoints, a check that needs no appliance, and copies for
//! media that can be written once.
//!
//! ```text
//! journal/<epoch>-<sequence>.log          segments
//! journal/<epoch>-<sequence>.checkpoint   a DSSE envelope, signed with the device's journal key
//! identity/identity.json                  whose keys these are, signed by the device itself
//! ```
//!
//! A store and a copy have the same form, so one check does for both. The chain of hashes shows that nothing was changed
//! between two checkpoints; a checkpoint shows that the device stood there. It changes no event and judges none.

mod checkpoint;
mod export;
#[cfg(test)]
mod tests;
mod verify;

pub use checkpoint::{Checkpoint, CheckpointError, sign};
pub use export::{ExportError, ExportReport, export};
pub use verify::{VerifyError, VerifyReport, verify};
