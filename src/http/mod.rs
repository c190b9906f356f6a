//! The only owners of hyper and rustls: server, client, TLS, streamed bodies, and the
//! connection that carries the access log.
//!
//! Nothing here knows what a registry is, and no body is ever held in memory as a whole unless its bound is small.

pub mod body;
pub mod certificate_names;
pub mod client;
pub mod delivery;
pub mod listener;
pub mod local;
mod names;
pub mod network;
pub mod peers;
pub mod server;
pub mod share;
mod stall;
pub mod tls;
pub mod traffic;

pub use body::{Body, BodySender, Incoming};
