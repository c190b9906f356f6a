//! `postern mirror`: images from registries outside.

use clap::Subcommand;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::report::FetchedReport;
use crate::oci::name::ImageReference;

/// Fetch images from the configured upstreams
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern mirror fetch registry.example/apps/web:2.1.0")]
pub enum MirrorCommand {
    /// Fetch images as a whole: every platform, every layer, signatures and attestations
    #[command(after_help = "Example:\n  postern mirror fetch registry.example/apps/web:2.1.0\n\n\
                            Exit code 3 says that policy refused something; the rest was fetched all the same.")]
    Fetch {
        /// Images, as UPSTREAM/NAME:TAG or UPSTREAM/NAME@DIGEST
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<ImageReference>,
    },
}

/// Runs it.
pub fn run(context: &Context, command: &MirrorCommand) -> Result<ExitStatus, Failure> {
    let MirrorCommand::Fetch { images } = command;
    let operation = Operation::MirrorFetch { references: images.clone() };
    context.operate_judging(operation, human, |report: &FetchedReport| {
        if report.refused.is_empty() { ExitStatus::Success } else { ExitStatus::Refused }
    })
}

fn human(report: &FetchedReport) -> String {
    let mut text = String::new();
    for fetched in &report.fetched {
        text.push_str(&format!("fetched  {} {}\n", fetched.image, fetched.fetch.digest));
        match fetched.fetch.blobs_elsewhere {
            0 => {}
            count => text.push_str(&format!("         non-distributable layers that are not there: {count}\n")),
        }
    }
    for refused in &report.refused {
        text.push_str(&format!("refused  {}\n         {}\n", refused.image, refused.refusal));
    }
    text
}
