//! The vocabulary of the OCI image and distribution specifications. Pure: no clock, no I/O, no async, no logging.
//!
//! Every type here has one way to be made, and that way checks it: whoever holds a [`digest::Digest`] or a
//! [`name::RepositoryName`] need not check it again.

pub mod descriptor;
pub mod digest;
pub mod error_body;
pub mod error_code;
pub mod folded_keys;
mod hashing;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod remote_name;
pub mod signature_tag;
