//! `postern retention`: which versions stay.

use clap::Subcommand;

use super::output::columns;
use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::retire::Applied;
use crate::retention::RetentionPlan;
use crate::retention::plan::Action;

/// Plan and apply the configured retention rules
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern retention plan\n  postern retention apply")]
pub enum RetentionCommand {
    /// Say what the rules would retire, with a reason on every line; nothing is changed
    #[command(after_help = "Example:\n  postern retention plan --json")]
    Plan,
    /// Retire what the rules do not keep; `postern sweep` gives the bytes back
    #[command(after_help = "Example:\n  postern retention apply --dry-run")]
    Apply {
        /// Only plan
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs one of them.
pub fn run(context: &Context, command: &RetentionCommand) -> Result<ExitStatus, Failure> {
    match command {
        RetentionCommand::Plan | RetentionCommand::Apply { dry_run: true } => context
            .operate(Operation::RetentionPlan, |plan: &RetentionPlan| {
                format!("{}\n{} lines would be retired\n", plan_text(plan), retired_count(plan))
            }),
        RetentionCommand::Apply { dry_run: false } => {
            context.operate(Operation::RetentionApply, |applied: &Applied| {
                let report = &applied.report;
                format!(
                    "{}\n{} tags and {} manifests were retired\n",
                    plan_text(&applied.plan),
                    report.tags_removed,
                    report.manifests_removed
                )
            })
        }
    }
}

fn retired_count(plan: &RetentionPlan) -> usize {
    plan.repositories.iter().map(|repository| repository.retired().count()).sum()
}

fn plan_text(plan: &RetentionPlan) -> String {
    let mut rows = vec![["ACTION", "IMAGE", "REASON"].map(str::to_owned).to_vec()];
    for repository in &plan.repositories {
        for line in &repository.lines {
            let action = if line.action == Action::Keep { "keep" } else { "retire" };
            let image = match &line.tag {
                Some(tag) => format!("{}:{tag}", repository.repository),
                None => format!("{}@{}", repository.repository, line.digest),
            };
            rows.push(vec![action.to_owned(), image, line.reason.clone()]);
        }
    }
    columns(&rows)
}
