//! `postern enroll`: which other devices this one knows.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::output::columns;
use super::{Context, ExitStatus};
use crate::app::failure::{Failure, FailureKind};
use crate::app::operation::{EnrolAdd, Operation};
use crate::app::report::{DevicesReport, IdentityReport};
use crate::device_id::DeviceId;
use crate::enrolment::{self, Card, Enrolled};
use crate::limits::IDENTITY_BYTES_MAX;
use crate::store::DeviceRole;

/// Make this device and others known to each other
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern enroll show --out low-side.identity.json\n  postern enroll list")]
pub enum EnrollCommand {
    /// Show this device's fingerprint, and write its identity file for other devices
    #[command(after_help = "Example:\n  postern enroll show --data ./low --out low-side.identity.json")]
    Show {
        /// Write the identity file here
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    Add(AddArguments),
    /// List the devices that are enrolled
    #[command(after_help = "Example:\n  postern enroll list --json")]
    List,
    /// Forget a device in every role
    #[command(after_help = "Example:\n  postern enroll remove low-side --dry-run")]
    Remove {
        /// Its name, fingerprint or id
        device: String,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Enrol a device by its identity file, after its fingerprint was compared with the person who sent it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postern enroll add low-side.identity.json --role sender")]
pub struct AddArguments {
    /// Identity file, as `postern enroll show --out` writes it there
    pub file: PathBuf,
    /// What it is to this device
    #[arg(long, visible_alias = "as", value_enum)]
    pub role: RoleArgument,
    /// Fingerprint that the other side read out; asked for on a terminal when it is not given
    #[arg(long)]
    pub fingerprint: Option<DeviceId>,
}

/// What a device is enrolled as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArgument {
    /// Bundles sealed by it are imported here
    Sender,
    /// Bundles are made for it here
    Receiver,
}

/// Runs one of them.
pub fn run(context: &Context, command: &EnrollCommand) -> Result<ExitStatus, Failure> {
    match command {
        EnrollCommand::Show { out } => show(context, out.as_ref()),
        EnrollCommand::Add(arguments) => add(context, arguments),
        EnrollCommand::List => context.operate(Operation::EnrolList, list_text),
        EnrollCommand::Remove { device, dry_run } => {
            let operation = Operation::EnrolRemove { device: device.clone(), dry_run: *dry_run };
            context.operate(operation, |removed: &DevicesReport| removed_text(removed, *dry_run))
        }
    }
}

fn show(context: &Context, out: Option<&PathBuf>) -> Result<ExitStatus, Failure> {
    let identity: IdentityReport = context.report(Operation::EnrolShow)?;
    if let Some(out) = out {
        context.write_file(out, identity.identity.as_bytes())?;
    }
    context.output.result(&identity, || {
        let mut text = format!("{}\n  fingerprint  {}\n", identity.name, identity.fingerprint);
        if let Some(out) = out {
            text.push_str(&format!(
                "\nThe identity file is '{0}'. Carry it to the other side, and there:\n  \
                 postern enroll add {0} --role sender   # or receiver\n\
                 Then read the fingerprint above to the person there, who compares it.\n",
                out.display()
            ));
        }
        text
    })?;
    Ok(ExitStatus::Success)
}

fn add(context: &Context, arguments: &AddArguments) -> Result<ExitStatus, Failure> {
    let identity = context.read_text(&arguments.file, IDENTITY_BYTES_MAX)?;
    let card = enrolment::preview(identity.as_bytes())?;
    let role = match arguments.role {
        RoleArgument::Sender => DeviceRole::Sender,
        RoleArgument::Receiver => DeviceRole::Receiver,
    };
    let fingerprint = match &arguments.fingerprint {
        Some(fingerprint) => fingerprint.clone(),
        None => ask(context, &card, role)?,
    };
    let operation = Operation::EnrolAdd(EnrolAdd { identity, role, fingerprint });
    context.operate(operation, |device: &Enrolled| {
        format!("'{}' ({}) is enrolled as {}\n", device.card.name, device.card.fingerprint, role_word(device.role))
    })
}

/// Only the whole word counts as a yes: enrolment is where trust begins.
fn ask(context: &Context, card: &Card, role: DeviceRole) -> Result<DeviceId, Failure> {
    let question = format!(
        "This file is of a device that calls itself '{}', with the fingerprint\n\n  {}\n\n\
         Have the person at that device read theirs to you. If they are the same, type yes to enrol it as {}: ",
        card.name,
        card.fingerprint,
        role_word(role)
    );
    match context.output.ask(&question).as_deref() {
        Some("yes") => Ok(card.device_id.clone()),
        Some(_) => Err(Failure::new(FailureKind::Refused, "the fingerprint was not confirmed; nothing was enrolled")),
        None => Err(Failure::usage(format!(
            "the fingerprint {} of '{}' was not confirmed, and there is no terminal to ask on",
            card.fingerprint, card.name
        ))
        .next("compare it with the person at that device and repeat the command with --fingerprint")),
    }
}

const fn role_word(role: DeviceRole) -> &'static str {
    match role {
        DeviceRole::Sender => "sender",
        DeviceRole::Receiver => "receiver",
    }
}

fn list_text(report: &DevicesReport) -> String {
    if report.devices.is_empty() {
        return "no device is enrolled; `postern enroll add FILE` enrols one\n".to_owned();
    }
    rows(report)
}

fn removed_text(report: &DevicesReport, dry_run: bool) -> String {
    let head = if dry_run { "would be removed:" } else { "removed:" };
    format!("{head}\n{}", rows(report))
}

fn rows(report: &DevicesReport) -> String {
    let head = ["NAME", "ROLE", "FINGERPRINT"].map(str::to_owned).to_vec();
    let rows = report.devices.iter().map(|device| {
        vec![device.card.name.clone(), role_word(device.role).to_owned(), device.card.fingerprint.clone()]
    });
    columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
