//! A failed operation as the person sees it: what kind it is, the chain of what went wrong, and what to do next.
//!
//! The one table from the modules' errors to kinds. It travels over the administration socket, so that a command says
//! the same whether it did the work itself or asked the running server.

use std::error::Error;

use serde::{Deserialize, Serialize};

/// Which way an operation failed; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It was tried and did not work.
    Failed,
    /// It was asked for in a wrong way.
    Usage,
    /// Policy or verification said no.
    Refused,
    /// What was read is damaged or was tampered with.
    Damaged,
    /// It may work later: something is busy, full or missing.
    NotNow,
}

impl FailureKind {
    /// The kind in one word, for records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::NotNow => "not_now",
        }
    }
}

/// A failed operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// What went wrong, from the operation down to the cause.
    pub chain: Vec<String>,
    pub next_step: Option<String>,
}

impl Failure {
    /// A failure that says `message`.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, chain: vec![message.into()], next_step: None }
    }

    /// An operation that did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, message)
    }

    /// Something asked for in a wrong way.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// An error with all that lies below it.
    pub fn of(kind: FailureKind, error: &dyn Error) -> Self {
        Self { kind, chain: Vec::new(), next_step: None }.because(error)
    }

    /// Adds a cause and all that lies below it. A level that only repeats its cause is left out.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        let mut level = Some(error);
        while let Some(error) = level {
            let text = error.to_string();
            if self.chain.last() != Some(&text) {
                self.chain.push(text);
            }
            level = error.source();
        }
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next_step = Some(step.into());
        self
    }
}
