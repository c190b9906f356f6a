//! The mirror: the only module that opens an outbound connection.

pub mod token;
