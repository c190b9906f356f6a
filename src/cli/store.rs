//! `postern store`: looking after the store itself.

use clap::Subcommand;

use super::output::bytes;
use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::upkeep::{FinalizeReport, RepairReport};
use crate::store::{CheckDepth, CheckReport, Losses, RebuildReport, ScrubReport};

/// Look after the store: check, scrub, repair, rebuild
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern store check\n  postern store scrub\n  postern store repair --dry-run")]
pub enum StoreCommand {
    /// Compare journal, index and files, and hash every file; nothing is changed
    #[command(after_help = "Example:\n  postern store check --data ./high\n\n\
                            Exit code 4 says that something is damaged; each finding names its next step.")]
    Check {
        /// Do not hash the files, only look that each is there with its length
        #[arg(long)]
        fast: bool,
    },
    /// Read all content again at a pace, and take out of the way what the disk has changed
    #[command(
        after_help = "Example:\n  postern store scrub --data ./high\n  postern store scrub --bytes-per-second 4194304\n\n\
                            A scrub that was stopped goes on where it was. Exit code 4 says that something is lost; \
                            `postern store repair` says what it hurts."
    )]
    Scrub {
        /// Bytes read in a second at the most; 0 for as many as the disk gives [default: the configuration's scrub.bytes_per_second]
        #[arg(long, value_name = "BYTES")]
        bytes_per_second: Option<u64>,
    },
    /// Put back what was lost: the index from the journal, content from upstreams; list what a bundle must bring
    #[command(after_help = "Example:\n  postern store repair --dry-run\n  postern store repair --data ./high\n  \
                            postern store repair --list > lacking; at the sender: xargs postern bundle export … < lacking\n\n\
                            What is still lacking is listed with the images that it hurts: let the sender export those \
                            images again, and import the set. Exit code 4 says that something is lacking.")]
    Repair {
        /// Say what is lacking, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Print nothing but the images that a repair bundle must carry, a line each, and do nothing
        #[arg(long, conflicts_with = "dry_run")]
        list: bool,
    },
    /// Allow what releases before this one do not read, once an update is good: ended segments of the journal are compressed
    #[command(after_help = "Example:\n  postern store finalize --dry-run\n  postern store finalize --data ./high\n\n\
                            Until then the release before this one can take over again. Afterwards it refuses the data \
                            directory, and backups that are made of it.")]
    Finalize {
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
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
        StoreCommand::Scrub { bytes_per_second } => context.operate_judging(
            Operation::StoreScrub { bytes_per_second: *bytes_per_second },
            scrubbed,
            |report: &ScrubReport| if report.is_sound() { ExitStatus::Success } else { ExitStatus::Damaged },
        ),
        StoreCommand::Repair { dry_run, list } => {
            let operation = Operation::StoreRepair { dry_run: *dry_run || *list };
            let text = if *list { carried } else { repaired };
            context.operate_judging(operation, text, |report: &RepairReport| {
                if report.losses.is_empty() { ExitStatus::Success } else { ExitStatus::Damaged }
            })
        }
        StoreCommand::Finalize { dry_run } => {
            context.operate(Operation::StoreFinalize { dry_run: *dry_run }, finalized)
        }
        StoreCommand::Rebuild => context.operate(Operation::StoreRebuild, |report: &RebuildReport| {
            format!("the index was made anew: {} rows, up to event {}\n", report.rows_count, report.head.sequence)
        }),
    }
}

fn finalized(report: &FinalizeReport) -> String {
    let (finalized, packed) = (&report.finalized, &report.packed);
    let count = packed.segments_count;
    if !report.dry_run {
        return format!(
            "the store is in form {} (it was in {}); {count} segments of the journal compressed, from {} to {}\n",
            finalized.format,
            finalized.before,
            bytes(packed.bytes_before),
            bytes(packed.bytes_after.unwrap_or_default())
        );
    }
    let first = match finalized.before == finalized.format {
        true => format!("the store is in form {} already\n", finalized.format),
        false => format!(
            "the store would go from form {} to {}, and releases that do not know that would refuse it\n",
            finalized.before, finalized.format
        ),
    };
    format!(
        "{first}{count} segments of the journal ({}) would be compressed, to about a tenth\nnothing was done\n",
        bytes(packed.bytes_before)
    )
}

/// What is lacking and whom it hurts, as a list that the sender of a repair bundle can work from.
fn lost(losses: &Losses) -> String {
    let mut text = String::new();
    for lacking in &losses.lacking {
        let how = if lacking.quarantined { "changed by the disk, in quarantine" } else { "not there" };
        text.push_str(&format!("lacking: {} ({}): {how}\n", lacking.digest, bytes(lacking.size_bytes)));
    }
    for image in &losses.images {
        let tags: Vec<String> =
            image.tags.iter().map(|tag| format!(" {}:{}", image.repository, tag.as_str())).collect();
        text.push_str(&format!("hurt: {}@{}{}\n", image.repository, image.digest, tags.concat()));
    }
    if !losses.is_empty() {
        text.push_str(
            "next step: push or fetch these images again, or let the sender export them in a new set and import that\n",
        );
    }
    text
}

fn scrubbed(report: &ScrubReport) -> String {
    let mut text = lost(&report.losses);
    if let Some(damage) = &report.journal_damage {
        text.push_str(&format!("the journal is damaged in {damage}\n  next step: restore it from a backup\n"));
    }
    let end = if report.finished { "to its end" } else { "and was stopped; it goes on there next time" };
    let quarantined = report.quarantined.len();
    text.push_str(&format!(
        "read {} files, {}, {end}: {quarantined} now in quarantine, {} cleared from it\n",
        report.files_count,
        bytes(report.files_bytes),
        report.cleared_count
    ));
    text
}

fn repaired(report: &RepairReport) -> String {
    let mut text = String::new();
    if report.index.is_some() {
        text.push_str("the index was made anew from the journal\n");
    }
    for digest in &report.restored {
        text.push_str(&format!("restored: {digest}\n"));
    }
    for failed in &report.failed {
        text.push_str(&format!("not restored: {}: {}\n", failed.digest, failed.reason));
    }
    text.push_str(&lost(&report.losses));
    if report.losses.is_empty() {
        text.push_str("nothing is lacking\n");
    }
    text
}

/// As `postern bundle export` takes them.
fn carried(report: &RepairReport) -> String {
    let images = report.losses.images.iter();
    images.map(|image| format!("{}@{}\n", image.repository, image.digest)).collect()
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
