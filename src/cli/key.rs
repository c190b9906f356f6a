//! `postern key`: the site's own key.

use clap::Subcommand;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::site::SiteKeyReport;

/// Make and show the key with which this site signs
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern key create\n  postern key export-public > site.pub")]
pub enum KeyCommand {
    /// Make the site's key where there is none; signing does it too
    #[command(after_help = "Example:\n  postern key create --data ./low\n\n\
                            It is made once, stays in the data directory's identity/ and is in no backup. A service \
                            that is given the credential 'site-key' (PEM) signs with that one instead.")]
    Create,
    /// Show which key signs
    #[command(after_help = "Example:\n  postern key show --json\n\nExit code 2 says that there is none yet.")]
    Show,
    /// Print the public half, for `cosign verify --key` and for trust policies
    #[command(
        after_help = "Example:\n  postern key export-public > site.pub\n\nExit code 2 says that there is none yet."
    )]
    ExportPublic,
}

/// Runs one of them.
pub fn run(context: &Context, command: &KeyCommand) -> Result<ExitStatus, Failure> {
    let create = matches!(command, KeyCommand::Create);
    context.operate(Operation::SiteKey { create }, |report: &SiteKeyReport| match command {
        KeyCommand::ExportPublic => report.public_key.clone(),
        KeyCommand::Create | KeyCommand::Show => {
            let made = if report.created { "the site's key was made" } else { "the site's key" };
            let place = if report.from_credential { "handed over by the service manager" } else { "in identity/" };
            format!("{made}: {}\n  ECDSA, {place}\n{}", report.fingerprint, report.public_key)
        }
    })
}
