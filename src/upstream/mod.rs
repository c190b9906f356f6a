//! The mirror: the only module that opens an outbound connection.

mod connection;
mod error;
mod flight;
mod recent;
mod settings;
pub mod token;

pub use error::{MirrorError, SharedError};
pub use settings::{Credentials, MirrorSettings, UpstreamSettings};
