//! `postern completions`: what the shell offers behind the tabulator key.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::arguments::Arguments;
use super::{Context, ExitStatus};
use crate::app::failure::Failure;

/// Write a shell's completions to standard output
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postern completions bash > /etc/bash_completion.d/postern")]
pub struct CompletionsArguments {
    /// The shell
    pub shell: Shell,
}

/// Prints the completions.
pub fn run(context: &Context, arguments: &CompletionsArguments) -> Result<ExitStatus, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "postern", &mut text);
    context.output.text(&String::from_utf8_lossy(&text))?;
    Ok(ExitStatus::Success)
}
