//! `postern trust time`: the time before which it cannot be.

use clap::Subcommand;
use jiff::Timestamp;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::trust::{TimeOrder, TimeReport, TrustOrder};

/// Show and move the floor of trusted time, which what is signed raises
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern trust time show\n  postern trust time accept")]
pub enum TimeCommand {
    /// Show the machine's clock, the floor, and a step that waits
    #[command(after_help = "Example:\n  postern trust time show --json")]
    Show,
    /// Take a step that was too long to be taken without you
    #[command(
        after_help = "Example:\n  postern trust time accept\n\nCompare it with a clock of your own first. It is journalled."
    )]
    Accept,
    /// Set the floor back, where something signed had carried it too far
    #[command(after_help = "Example:\n  postern trust time lower 2026-12-01T00:00:00Z --reason log-ran-ahead\n\n\
                      It is journalled. Take away the trust in whoever signed that time first, or it rises again.")]
    Lower {
        /// The time, such as 2026-12-01T00:00:00Z
        to: Timestamp,
        /// Why, for the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Runs one of them.
pub fn run(context: &Context, command: &TimeCommand) -> Result<ExitStatus, Failure> {
    let order = match command {
        TimeCommand::Show => TimeOrder::Show,
        TimeCommand::Accept => TimeOrder::Accept,
        TimeCommand::Lower { to, reason } => TimeOrder::Lower { to: *to, reason: reason.clone() },
    };
    context.operate(Operation::Trust(TrustOrder::Time(order)), |report: &TimeReport| {
        let waiting = report.waiting.as_ref().map_or_else(String::new, |waiting| {
            format!(
                "waits: {} on the word of {}\n  next step: compare it with a clock of yours, then `postern trust time accept`\n",
                waiting.at, waiting.source
            )
        });
        format!(
            "clock: {}\nfloor: {}\ncounts as now: {}\nsteps of up to {} days are taken without you\n{waiting}",
            report.wall, report.floor, report.used, report.step_days_max
        )
    })
}
