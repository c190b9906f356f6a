//! `postern audit`: the journal as evidence.

use std::path::PathBuf;

use clap::Subcommand;

use super::context::absolute;
use super::output::bytes;
use super::{Context, ExitStatus};
use crate::app::audit::{AuditExported, verify_copy};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::audit::{Checkpoint, VerifyReport};
use crate::device_id::DeviceId;

/// Prove what happened: check the journal's chain and signatures, copy it to media that are written once
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern audit verify\n  postern audit export --out /media/worm")]
pub enum AuditCommand {
    /// Check every checksum, the chain of hashes and every signed checkpoint
    #[command(after_help = "Example:\n  postern audit verify --data ./high\n  \
                            postern audit verify --copy /media/worm --device abcd2345-abcd2345-abcd2345-abcd2345\n\n\
                            A copy is checked without any appliance. Exit code 4 says that something does not hold.")]
    Verify {
        /// Directory that `postern audit export` has written, instead of the appliance's own journal
        #[arg(long, value_name = "DIR")]
        copy: Option<PathBuf>,
        /// Fingerprint or id of the device whose journal it must be
        #[arg(long, value_name = "FINGERPRINT", requires = "copy")]
        device: Option<DeviceId>,
    },
    /// Copy the journal; a later export only adds files
    #[command(after_help = "Example:\n  postern audit export --out /media/worm\n\n\
                            No file that was written is ever changed, so media that can be written once will do.")]
    Export {
        /// Directory of the copy
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Sign where the journal stands now; a server does it every hour and at its end
    #[command(after_help = "Example:\n  postern audit checkpoint --json")]
    Checkpoint,
}

/// Runs one of them.
pub fn run(context: &Context, command: &AuditCommand) -> Result<ExitStatus, Failure> {
    let status = |report: &VerifyReport| if report.is_sound() { ExitStatus::Success } else { ExitStatus::Damaged };
    match command {
        AuditCommand::Verify { copy: None, .. } => context.operate_judging(Operation::AuditVerify, verified, status),
        AuditCommand::Verify { copy: Some(copy), device } => {
            let report = verify_copy(copy, device.as_ref())?;
            context.output.result(&report, || verified(&report))?;
            Ok(status(&report))
        }
        AuditCommand::Export { out } => {
            context.operate(Operation::AuditExport { out: absolute(out)? }, |exported: &AuditExported| {
                let report = &exported.export;
                format!(
                    "copied to '{}' up to event {}: {} files written, {}; {} were there and are the same\n\
                     check the copy with: postern audit verify --copy {}\n",
                    exported.out.display(),
                    report.position.sequence,
                    report.files_written,
                    bytes(report.bytes_written),
                    report.files_kept,
                    exported.out.display()
                )
            })
        }
        AuditCommand::Checkpoint => context.operate(Operation::AuditCheckpoint, |checkpoint: &Checkpoint| {
            format!("signed: event {}, {}\n", checkpoint.position.sequence, checkpoint.position.hash)
        }),
    }
}

fn verified(report: &VerifyReport) -> String {
    let mut text = format!("device: {}\n  fingerprint  {}\n", report.device_name, report.fingerprint);
    for problem in &report.problems {
        text.push_str(&format!("does not hold: {problem}\n"));
    }
    let signed = report.signed_up_to.as_ref().map_or("nothing of it is signed".to_owned(), |checkpoint| {
        format!("signed up to event {} on {}", checkpoint.position.sequence, checkpoint.time)
    });
    let verdict = if report.is_sound() { "the chain holds" } else { "not everything holds" };
    text.push_str(&format!(
        "{verdict}: {} events in {} segments, {} checkpoints, {signed}, {} events behind that\n",
        report.events_count, report.segments_count, report.checkpoints_count, report.unsigned_events_count
    ));
    text
}
