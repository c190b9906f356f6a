//! The composition: everything that acts on a data directory, built once and used by the server and by commands.

mod certificate;
pub mod failure;
pub mod operation;
pub mod setup;
