//! `postern backup`, `postern restore`, `postern drill`: for the day on which a disk is gone.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::context::absolute;
use super::output::bytes;
use super::{Context, ExitStatus, progress};
use crate::app::backups::{BackedUp, Confirmed, DrillReport, RestoreCommand, RestoredReport, drill, restore};
use crate::app::failure::Failure;
use crate::app::operation::Operation;

/// Copy everything to a second disk while serving; only what is new is copied
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postern backup --to /mnt/second/postern\n\n\
                        A backup holds no private key: keep the data directory's identity/ in a safe place, once.")]
pub struct BackupArguments {
    /// Directory of the backup
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Make a data directory out of a backup, and confirm it
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Example:\n  postern restore --from /mnt/second/postern --data ./new --keys ./safe/identity\n  \
                        postern restore confirm --data ./new\n\n\
                        Until it is confirmed it answers pulls and changes nothing."
)]
pub struct RestoreArguments {
    #[command(subcommand)]
    pub command: Option<RestoreSubcommand>,
    /// Directory that `postern backup` has written
    #[arg(long, value_name = "DIR", required = true)]
    pub from: Option<PathBuf>,
    /// The identity/ of the lost appliance; without it this is another device, which others enroll anew
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Data directory that is damaged: its sequences, removed devices and times beyond the backup are kept
    #[arg(long, value_name = "DIR")]
    pub survivor: Option<PathBuf>,
    /// Leave the content in the backup: `postern serve` serves it from there and copies it meanwhile
    #[arg(long)]
    pub content_later: bool,
}

/// What comes after a restore.
#[derive(Debug, Subcommand)]
pub enum RestoreSubcommand {
    /// Allow changes again, in a new epoch, after somebody has looked at what was restored
    #[command(after_help = "Example:\n  postern restore confirm --data ./new")]
    Confirm,
}

/// Try what must work on that day
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern drill restore --from /mnt/second/postern")]
pub enum DrillCommand {
    /// Restore into a scratch directory on the backup's disk, measure it, and remove it
    #[command(after_help = "Example:\n  postern drill restore --from /mnt/second/postern --hash\n\n\
                            Exit code 4 says that the backup lacks something or holds changed content.")]
    Restore {
        /// Directory that `postern backup` has written
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Hash all content too
        #[arg(long)]
        hash: bool,
    },
}

/// Takes a backup.
pub fn run(context: &Context, arguments: &BackupArguments) -> Result<ExitStatus, Failure> {
    let operation = Operation::Backup { to: absolute(&arguments.to)? };
    let status =
        |report: &BackedUp| if report.taken.damaged.is_empty() { ExitStatus::Success } else { ExitStatus::Damaged };
    context.operate_judging(operation, backed_up, status)
}

/// Restores, or confirms a restore.
pub fn run_restore(context: &Context, arguments: &RestoreArguments) -> Result<ExitStatus, Failure> {
    if let Some(RestoreSubcommand::Confirm) = &arguments.command {
        return context.operate(Operation::RestoreConfirm, |confirmed: &Confirmed| {
            let position = &confirmed.position;
            format!("epoch {} begins behind event {}: changes are taken again\n", position.epoch, position.sequence)
        });
    }
    let (Some(from), Some(data_dir)) =
        (&arguments.from, context.global.data.clone().or_else(|| context.environment.data.clone()))
    else {
        return Err(Failure::usage("nowhere to restore to").next("name an empty directory with --data"));
    };
    context.log_to_people("warn")?;
    let order = RestoreCommand {
        from: absolute(from)?,
        data_dir,
        keys: arguments.keys.clone(),
        survivor: arguments.survivor.clone(),
        content_later: arguments.content_later,
    };
    let report = restore(&order, progress::on_standard_error(context.output).as_ref())?;
    context.output.result(&report, || restored(&report))?;
    Ok(if report.restore.damaged_count == 0 { ExitStatus::Success } else { ExitStatus::Damaged })
}

/// For a server that is to answer at once. A data directory that was begun this way before is gone on with.
pub fn restore_to_serve(context: &Context, from: &Path, keys: Option<&PathBuf>) -> Result<(), Failure> {
    let Some(data_dir) = context.global.data.clone().or_else(|| context.environment.data.clone()) else {
        return Err(Failure::usage("nowhere to restore to").next("name an empty directory with --data"));
    };
    if data_dir.join("VERSION").exists() {
        return Ok(());
    }
    let (keys, survivor, content_later) = (keys.cloned(), None, true);
    let order = RestoreCommand { from: absolute(from)?, data_dir, keys, survivor, content_later };
    restore(&order, progress::on_standard_error(context.output).as_ref())?;
    Ok(())
}

/// Tries a restore.
pub fn run_drill(context: &Context, command: &DrillCommand) -> Result<ExitStatus, Failure> {
    let DrillCommand::Restore { from, hash } = command;
    context.log_to_people("warn")?;
    let report = drill(&absolute(from)?, *hash, progress::on_standard_error(context.output).as_ref())?;
    context.output.result(&report, || drilled(&report))?;
    let sound = report.losses.is_empty() && report.damaged_count == 0;
    Ok(if sound { ExitStatus::Success } else { ExitStatus::Damaged })
}

fn backed_up(report: &BackedUp) -> String {
    let taken = &report.taken;
    let mut text: String =
        taken.damaged.iter().map(|digest| format!("changed by the disk, not in the backup: {digest}\n")).collect();
    text.push_str(&format!(
        "'{}' holds everything up to event {}: {} files of content, {}; {} new, {} copied, {} gone\n\
         no private key is in it: keep identity/ of the data directory elsewhere\n",
        report.to.display(),
        taken.position.sequence,
        taken.files_count,
        bytes(taken.content_bytes),
        taken.files_copied,
        bytes(taken.bytes_copied),
        taken.files_pruned
    ));
    text
}

fn restored(report: &RestoredReport) -> String {
    let device = if report.same_device {
        "it is the same device as before".to_owned()
    } else {
        format!("it is another device, which others enroll anew: fingerprint {}", report.fingerprint)
    };
    let content = match (report.restore.content_later, report.restore.damaged_count) {
        (false, 0) => "all of its content".to_owned(),
        (true, 0) => "its content is still in the backup".to_owned(),
        (_, count) => format!(
            "but {count} files of it, which do not hash to their names any more: postern store check and policy show name \
             what is lacking"
        ),
    };
    format!(
        "'{}' holds what the backup of {} held, up to event {}, {content}; {:.1} s\n{device}\n\
         next step: postern serve --data {}, look at it, then postern restore confirm; until then nothing is changed\n",
        report.data_dir.display(),
        report.restore.taken,
        report.restore.position.sequence,
        report.seconds,
        report.data_dir.display()
    )
}

fn drilled(report: &DrillReport) -> String {
    let mut text = format!(
        "the backup of {} answers after {:.1} s: {} repositories, {} tags, up to event {}\n",
        report.taken, report.seconds_to_answer, report.repositories_count, report.tags_count, report.position.sequence
    );
    if let Some(seconds) = report.seconds_to_hash {
        let (size, damaged) = (bytes(report.content_bytes), report.damaged_count);
        text.push_str(&format!("{size} of content hashed in {seconds:.1} s: {damaged} files are not what they were\n"));
    }
    for lacking in &report.losses.lacking {
        text.push_str(&format!("the backup lacks {}\n", lacking.digest));
    }
    text
}
