//! `postern backup`, `postern restore`, `postern drill`: for the day on which a disk is gone.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::context::absolute;
use super::output::bytes;
use super::{Context, ExitStatus, progress};
use crate::app::backups::{BackedUp, Confirmed, DrillReport, RestoreCommand, RestoredReport, drill, restore, verify};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::backup::BackupReport;

/// Copy everything to a second disk while serving; only what is new is copied
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Example:\n  postern backup --to /mnt/second/postern\n  \
                        postern backup verify --from /mnt/second/postern\n\n\
                        A backup holds no private key, and accounts only locked with those keys: keep the data directory's \
                        identity/ in a safe place, once.\n\n\
                        Exit code 4 says that something is not what it was, in the store or on the medium.")]
pub struct BackupArguments {
    #[command(subcommand)]
    pub command: Option<BackupSubcommand>,
    /// Directory of the backup
    #[arg(long, value_name = "DIR", required = true)]
    pub to: Option<PathBuf>,
    /// Read the content that is in the backup already, and copy once more what the medium has changed
    #[arg(long)]
    pub reread: bool,
}

/// What can be done with a backup that is there.
#[derive(Debug, Subcommand)]
pub enum BackupSubcommand {
    /// Read all of a backup, and say what the medium has changed or lost
    #[command(after_help = "Example:\n  postern backup verify --from /mnt/second/postern\n\n\
                            It needs no appliance. Exit code 4 says that something is not what was copied.")]
    Verify {
        /// Directory that `postern backup` has written
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
}

/// Make a data directory out of a backup, and confirm it
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Example:\n  postern restore --from /mnt/second/postern --data ./new --keys ./safe/identity\n  \
                        postern restore confirm --data ./new\n\n\
                        Until it is confirmed it answers pulls and changes nothing.\n\
                        Exit code 4 says that the backup was not whole: what it still had is there."
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
    /// Take those keys though they are another device's than the one that was backed up
    #[arg(long, requires = "keys")]
    pub adopt_keys: bool,
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
    let to = match (&arguments.command, &arguments.to) {
        (Some(BackupSubcommand::Verify { from }), _) => return run_verify(context, from),
        (None, Some(to)) => absolute(to)?,
        (None, None) => return Err(Failure::usage("nowhere to copy to").next("name a directory with --to")),
    };
    let operation = Operation::Backup { to, reread: arguments.reread };
    let status = |report: &BackedUp| {
        let is_whole = report.taken.damaged.is_empty() && report.taken.changed.is_empty();
        if is_whole { ExitStatus::Success } else { ExitStatus::Damaged }
    };
    context.operate_judging(operation, backed_up, status)
}

fn run_verify(context: &Context, from: &Path) -> Result<ExitStatus, Failure> {
    context.log_to_people("warn")?;
    let report = verify(&absolute(from)?, progress::on_standard_error(context.output).as_ref())?;
    context.output.result(&report, || verified(&report))?;
    Ok(if report.is_sound() { ExitStatus::Success } else { ExitStatus::Damaged })
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
        adopt_keys: arguments.adopt_keys,
        survivor: arguments.survivor.clone(),
        content_later: arguments.content_later,
    };
    let report = restore(&order, progress::on_standard_error(context.output).as_ref())?;
    context.output.result(&report, || restored(&report))?;
    Ok(if report.restore.is_whole() { ExitStatus::Success } else { ExitStatus::Damaged })
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
    let order = RestoreCommand { from: absolute(from)?, data_dir, keys, adopt_keys: false, survivor, content_later };
    let report = restore(&order, progress::on_standard_error(context.output).as_ref())?;
    // It serves what there is, and says so: `postern status` goes on saying it.
    if !report.restore.is_whole() || report.restore.accounts_locked {
        context.output.note(&lacking_of(&report));
    }
    Ok(())
}

/// Tries a restore.
pub fn run_drill(context: &Context, command: &DrillCommand) -> Result<ExitStatus, Failure> {
    let DrillCommand::Restore { from, hash } = command;
    context.log_to_people("warn")?;
    let report = drill(&absolute(from)?, *hash, progress::on_standard_error(context.output).as_ref())?;
    context.output.result(&report, || drilled(&report))?;
    Ok(if report.is_sound() { ExitStatus::Success } else { ExitStatus::Damaged })
}

fn backed_up(report: &BackedUp) -> String {
    let taken = &report.taken;
    let mut text: String =
        taken.damaged.iter().map(|digest| format!("changed by the disk, not in the backup: {digest}\n")).collect();
    text.extend(taken.changed.iter().map(|path| format!("not what it was, here nor in the backup: {path}\n")));
    if taken.files_mended > 0 {
        text.push_str(&format!("{} files were changed by the medium and are copied once more\n", taken.files_mended));
    }
    text.push_str(&format!(
        "'{}' holds everything up to event {}: {} files of content, {}; {} new, {} copied, {} gone\n\
         no private key is in it, and the accounts in it are locked with those keys: keep identity/ of the data directory elsewhere\n",
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

fn verified(report: &BackupReport) -> String {
    let mut text: String =
        report.damaged.iter().map(|digest| format!("changed by the medium: content {digest}\n")).collect();
    text.extend(report.changed.iter().map(|path| format!("changed or lost by the medium: {path}\n")));
    text.extend(report.journal_missing.iter().map(|missing| format!("{missing}\n")));
    if report.files_missing > 0 {
        text.push_str(&format!("{} files of content are gone\n", report.files_missing));
    }
    if !report.listed {
        text.push_str("it has no list of what its other files hashed to: the next backup writes one\n");
    }
    let verdict = if report.is_sound() { "is what was copied" } else { "is not what was copied" };
    text.push_str(&format!(
        "the backup of {}, up to event {}, {verdict}: {} files of content, {}\n",
        report.taken,
        report.position.sequence,
        report.files_count,
        bytes(report.content_bytes)
    ));
    if !report.is_sound() {
        text.push_str("next step: postern backup --to that directory --reread, while the appliance still has it\n");
    }
    text
}

/// What a restore did not find in its backup.
fn lacking_of(report: &RestoredReport) -> String {
    let restore = &report.restore;
    let mut text: String =
        restore.changed.iter().map(|path| format!("changed in the backup, taken as it is: {path}\n")).collect();
    if restore.accounts_locked {
        text.push_str(
            "the documents of accounts stay locked in the backup, because the keys that open them are not here: where there are \
             accounts nobody is let in until 'postern access begin-anew'\n",
        );
    }
    text.extend(
        restore
            .journal_missing
            .iter()
            .map(|missing| format!("{missing}; what came after is here only as far as a snapshot knew it\n")),
    );
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
    let lacking = lacking_of(report);
    format!(
        "{lacking}'{}' holds what the backup of {} held, up to event {}, {content}; {:.1} s\n{device}\n\
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
    text.extend(report.changed.iter().map(|path| format!("changed in the backup: {path}\n")));
    text.extend(report.journal_missing.iter().map(|missing| format!("{missing}\n")));
    for lacking in &report.losses.lacking {
        text.push_str(&format!("the backup lacks {}\n", lacking.digest));
    }
    text
}
