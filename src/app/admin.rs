//! The administration socket: operations for the server that holds the data directory.
//!
//! ```text
//! <data>/admin.sock, mode 0600, or where the configuration says, mode 0660 for a group; HTTP/1.1
//! POST /v1/operations   an Operation as JSON
//! 200, application/x-ndjson, one message a line:
//!   {"progress":{"what":…,"done":…,"total":…}}     any number
//!   {"outcome":…}  or  {"error":{"kind":…,"chain":[…],"next_step":…}}     exactly one, the last
//! ```
//!
//! Whoever may open the socket may do everything that the user who runs the server may: there is nothing to log in to. A
//! [`role`] with less has a socket of its own.
//! [`guard`] says who that is, and each operation is recorded in the access log with the user who asked for it.

pub mod client;
pub mod guard;
pub mod role;
pub mod server;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::Failure;

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";
/// Where operations are posted.
pub const OPERATIONS: &str = "/v1/operations";

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    Progress { what: String, done: u64, total: u64 },
    Outcome(Value),
    Error(Failure),
}

#[cfg(test)]
mod tests;
