//! What is wrong with a configuration, said so that the person can mend it: where, what, and what to do.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line of the file, counted from 1; none where the key is missing or came from elsewhere.
    pub line: Option<usize>,
    /// The key with its tables, such as `upstream[0].url`; empty where the text is not TOML at all.
    pub key: String,
    pub problem: String,
    pub next_step: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "key '{}': ", self.key)?;
        }
        write!(f, "{}; {}", self.problem, self.next_step)
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("configuration {origin} is not usable: {}", joined(problems))]
pub struct ConfigError {
    /// The file in quotes, or words for where the values came from.
    pub origin: String,
    pub problems: Vec<Problem>,
}

fn joined(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    lines.concat()
}
