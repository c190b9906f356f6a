//! The command's side of the administration socket.

use std::path::Path;

use ::http::Request;
use serde_json::Value;

use super::{Message, OPERATIONS};
use crate::app::failure::{Failure, FailureKind};
use crate::app::operation::Operation;
use crate::http::Body;
use crate::http::local::{self, LocalBody, LocalError};
use crate::limits::ADMIN_ANSWER_LINE_BYTES_MAX;
use crate::progress::Progress;

/// Why no outcome came.
#[derive(Debug)]
pub enum SendError {
    /// Nothing was sent: nobody listens on the socket.
    NobodyThere(Failure),
    Failed(Failure),
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Has the server that listens on `socket` carry out `operation`.
pub async fn send(socket: &Path, operation: &Operation, progress: &dyn Progress) -> Result<Value, SendError> {
    let body = serde_json::to_vec(operation)
        .map_err(|error| Failure::failed("the operation cannot be written as JSON").because(&error))?;
    let request = Request::post(format!("http://postern{OPERATIONS}"))
        .body(Body::full(body))
        .map_err(|error| Failure::failed("the operation cannot be sent").because(&error))?;
    let answer = local::request(socket, request).await.map_err(|error| unsent(&error))?;
    let mut lines = Lines { body: answer.into_body(), pending: Vec::new() };
    while let Some(line) = lines.next().await? {
        let message: Message = serde_json::from_slice(&line).map_err(|error| {
            broken_off("the server's answer cannot be read")
                .because(&error)
                .next("use the same version of postern as the server")
        })?;
        match message {
            Message::Progress { what, done, total } => progress.step(&what, done, total),
            Message::Outcome(outcome) => return Ok(outcome),
            Message::Error(failure) => return Err(failure.into()),
        }
    }
    Err(broken_off("the server ended before the operation was done")
        .next("look at the server's log; the same command goes on where it stopped")
        .into())
}

fn unsent(error: &LocalError) -> SendError {
    if matches!(error, LocalError::Request(_)) {
        return SendError::Failed(broken_off("the server did not answer").because(error));
    }
    let failure =
        Failure::new(FailureKind::NotNow, "the data directory is in use, and no server answers on its socket")
            .because(error)
            .next("wait for the other postern command to end, or for the server to start, and try again");
    SendError::NobodyThere(failure)
}

fn broken_off(message: &str) -> Failure {
    Failure::failed(message)
}

/// Cuts a stream into lines of bounded length.
struct Lines {
    body: LocalBody,
    pending: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.pending.iter().skip(searched).position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(searched + end + 1);
                return Ok(Some(std::mem::replace(&mut self.pending, rest)));
            }
            searched = self.pending.len();
            if searched > ADMIN_ANSWER_LINE_BYTES_MAX {
                return Err(broken_off("the server's answer is longer than can be taken"));
            }
            let piece =
                self.body.next().await.map_err(|error| broken_off("the server's answer broke off").because(&error))?;
            match piece {
                Some(piece) => self.pending.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}
