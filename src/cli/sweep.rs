//! `postern sweep`: bytes that nothing needs come back.

use clap::Args;

use super::output::bytes;
use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::retention::SweepReport;

/// Give back the bytes that nothing needs any more, after their grace
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postern sweep --dry-run")]
pub struct SweepArguments {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds of running time between condemning and removing [default: the configuration's sweep.grace_seconds]
    #[arg(long, value_name = "SECONDS")]
    pub grace_seconds: Option<u64>,
}

/// Sweeps.
pub fn run(context: &Context, arguments: &SweepArguments) -> Result<ExitStatus, Failure> {
    let operation = Operation::Sweep { grace_seconds: arguments.grace_seconds, dry_run: arguments.dry_run };
    context.operate(operation, human)
}

fn human(report: &SweepReport) -> String {
    let verb = if report.dry_run { "would be " } else { "" };
    let mut text = format!(
        "{verb}condemned: {}\n{verb}removed: {}, which gives back {}\nwaiting: {}\n",
        report.condemned,
        report.unlinked,
        bytes(report.bytes_freed),
        report.waiting
    );
    if report.next_in_seconds > 0 {
        text.push_str(&format!("the next may go after {} s of running time\n", report.next_in_seconds));
    }
    text
}
