//! Standard output and standard error. The only module that writes to either.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::exit_status::ExitStatus;
use crate::app::failure::Failure;

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints a result: `human` for people, `data` as JSON when that was asked for.
    pub fn result<T: Serialize>(self, data: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let mut text = serde_json::to_string_pretty(data)
                .map_err(|error| Failure::failed("the result cannot be written as JSON").because(&error))?;
            text.push('\n');
            return self.text(&text);
        }
        self.text(&human())
    }

    /// Prints text as it is. A reader that went away (`| head`) wanted no more: that is no failure.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::failed("cannot write to standard output").because(&error))
            }
            _ => Ok(()),
        }
    }

    /// Prints a failure once, with everything below it and what to do next.
    pub fn failure(self, failure: &Failure) {
        let status = ExitStatus::from(failure.kind);
        let text = if self.json {
            let error = serde_json::json!({
                "error": { "exit": status.code(), "chain": failure.chain, "next_step": failure.next_step }
            });
            format!("{error}\n")
        } else {
            failure_text(failure)
        };
        self.note(&text);
    }

    /// Says something beside the result. Nobody to hear it is no failure.
    pub fn note(self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Asks on the terminal; none where there is no person at it.
    pub fn ask(self, question: &str) -> Option<String> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        self.note(question);
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).ok()?;
        Some(answer.trim().to_owned())
    }
}

fn failure_text(failure: &Failure) -> String {
    let mut chain = failure.chain.iter();
    let mut text = format!("postern: {}\n", chain.next().map_or("failed", String::as_str));
    for cause in chain {
        text.push_str(&format!("  because: {cause}\n"));
    }
    if let Some(next_step) = &failure.next_step {
        text.push_str(&format!("  next step: {next_step}\n"));
    }
    text
}

/// Rows of cells as aligned columns; the first row is the head.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count of bytes as a person reads it.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Names and values, one pair a line.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let rows: Vec<Vec<String>> = pairs.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    columns(&rows)
}
