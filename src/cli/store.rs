//! `postern store`: looking after the store itself.

use clap::Subcommand;

use super::output::bytes;
use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::store::{CheckDepth, CheckReport, RebuildReport};

/// Check the store, and rebuild its index
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern store check\n  postern store rebuild")]
pub enum StoreCommand {
    /// Compare journal, index and files, and hash every file; nothing is changed
    #[command(after_help = "Example:\n  postern store check --data ./high\n\n\
                            Exit code 4 says that something is damaged; each finding names its next step.")]
    Check {
        /// Do not hash the files, only look that each is there with its length
        #[arg(long)]
        fast: bool,
    },
    /// Make the index anew from the journal
    #[command(after_help = "Example:\n  postern store rebuild --data ./high")]
    Rebuild,
}

/// Runs one of them.
pub fn run(context: &Context, command: &StoreCommand) -> Result<ExitStatus, Failure> {
    match command {
        StoreCommand::Check { fast } => {
            let depth = if *fast { CheckDepth::Fast } else { CheckDepth::Full };
            context.operate_judging(Operation::StoreCheck { depth }, checked, |report: &CheckReport| {
                if report.is_sound() { ExitStatus::Success } else { ExitStatus::Damaged }
            })
        }
        StoreCommand::Rebuild => context.operate(Operation::StoreRebuild, |report: &RebuildReport| {
            format!("the index was made anew: {} rows, up to event {}\n", report.rows_count, report.head.sequence)
        }),
    }
}

fn checked(report: &CheckReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&format!("{}: {}\n  next step: {}\n", finding.place, finding.what, finding.next_step));
    }
    let hashed = match report.depth {
        CheckDepth::Full => format!("{} files hashed, {}", report.files_count, bytes(report.files_bytes)),
        CheckDepth::Fast => "files not hashed".to_owned(),
    };
    let verdict = match report.findings.len() {
        0 => "the store is in order".to_owned(),
        count => format!("{count} findings"),
    };
    text.push_str(&format!("{verdict}: {} rows, {hashed}, up to event {}\n", report.rows_count, report.head.sequence));
    text
}
