//! `postern trust`: objects of trust and which of their versions count.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::context::absolute;
use super::trusted_time::{self, TimeCommand};
use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::trust::{
    ActivationReport, AddObject, AddedReport, Impact, ImpactLine, ObjectChoice, ObjectReport, ObjectsReport,
    TrustOrder, UpdateOrder, UpdateReport, UpdateSource,
};
use crate::limits::{TRUST_OBJECT_BYTES_MAX, TUF_METADATA_BYTES_MAX};
use crate::oci::name::ImageReference;
use crate::verify::policy::ObjectName;
use crate::verify::tuf::Versions;

/// Renew what is trusted: roots, keys, certificates, revocation lists and policies, as versions that can be rolled back
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  postern trust add root/private trusted_root.json\n  postern trust stage root/private\n  \
                  postern trust activate\n\nA trust policy refers to them by name: docs/trust.md."
)]
pub enum TrustCommand {
    /// Add the next version of an object, or all that a TUF repository brings; none of it counts yet
    #[command(after_help = "Example:\n  postern trust add key/release release.pub\n  \
                      postern trust add --tuf /media/stick/tuf --name sigstore --root 15.root.json\n  \
                      postern trust add --tuf-image trust/update:2026-11 --name sigstore\n\n\
                      The same text again adds nothing. A repository is walked root by root from the root that was \
                      accepted last; what is older, expired, mixed or longer than may be is refused with exit code 3.")]
    Add(AddArguments),
    /// Show every version of every object, and which of them count
    #[command(after_help = "Example:\n  postern trust list --json")]
    List,
    /// Print one version: the newest, or the one after @
    #[command(after_help = "Example:\n  postern trust show key/release@1 > release.pub")]
    Show {
        /// KIND/NAME or KIND/NAME@VERSION
        object: ObjectChoice,
    },
    /// Say what the next activation is to be, and see which images it would stop or let start
    #[command(
        after_help = "Example:\n  postern trust stage root/private policy/site\n  postern trust stage --instead key/release@2 --dry-run"
    )]
    Stage(StageArguments),
    /// Let the named versions count, or all that are staged, at once
    #[command(
        after_help = "Example:\n  postern trust activate --dry-run\n  postern trust activate key/release --yes\n\n\
                      Where an image would stop verifying nothing is changed without --yes, and the exit code is 3."
    )]
    Activate(ActivateArguments),
    #[command(subcommand)]
    Time(TimeCommand),
    /// Let the version count again that did before
    #[command(after_help = "Example:\n  postern trust rollback key/release\n\n\
                      Where an image would stop verifying nothing is changed without --yes, and the exit code is 3.")]
    Rollback(RollbackArguments),
}

/// What is added.
#[derive(Debug, Args)]
pub struct AddArguments {
    /// KIND/NAME, with root, key, certificates, crl or policy for the kind
    #[arg(required_unless_present_any = ["tuf", "tuf_image"], conflicts_with_all = ["tuf", "tuf_image"], requires = "file")]
    pub object: Option<ObjectName>,
    /// The file: JSON for roots, PEM for keys, certificates and lists, TOML or YAML for policies
    pub file: Option<PathBuf>,
    /// Directory of a TUF repository, with timestamp.json in it
    #[arg(long, value_name = "DIR", requires = "name", conflicts_with = "tuf_image")]
    pub tuf: Option<PathBuf>,
    /// An artifact of the store whose layers are the files of such a repository, as it comes in a transfer bundle
    #[arg(long, value_name = "IMAGE", requires = "name")]
    pub tuf_image: Option<ImageReference>,
    /// What the repository is called here
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Root metadata to begin with, compared with its source by you; later roots follow from it
    #[arg(long, value_name = "FILE", requires = "name")]
    pub root: Option<PathBuf>,
    /// Take metadata that is past its time, and journal this reason
    #[arg(long, value_name = "REASON", requires = "name")]
    pub accept_expired: Option<String>,
}

/// What is staged.
#[derive(Debug, Args)]
pub struct StageArguments {
    /// KIND/NAME or KIND/NAME@VERSION
    pub objects: Vec<ObjectChoice>,
    /// Forget what was staged before
    #[arg(long)]
    pub instead: bool,
    /// Only say what it would do
    #[arg(long)]
    pub dry_run: bool,
}

/// What is to count.
#[derive(Debug, Args)]
pub struct ActivateArguments {
    /// KIND/NAME or KIND/NAME@VERSION; all that are staged where none is named
    pub objects: Vec<ObjectChoice>,
    /// Go on although images stop verifying
    #[arg(long)]
    pub yes: bool,
    /// Only say what it would do
    #[arg(long)]
    pub dry_run: bool,
}

/// What is to count again.
#[derive(Debug, Args)]
pub struct RollbackArguments {
    /// KIND/NAME
    pub object: ObjectName,
    /// Go on although images stop verifying
    #[arg(long)]
    pub yes: bool,
    /// Only say what it would do
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs one of them.
pub fn run(context: &Context, command: &TrustCommand) -> Result<ExitStatus, Failure> {
    match command {
        TrustCommand::Add(arguments) => match (&arguments.object, &arguments.file) {
            (Some(object), Some(file)) => add(context, object, file),
            _ => take_update(context, arguments),
        },
        TrustCommand::Time(command) => trusted_time::run(context, command),
        TrustCommand::List => context.operate(Operation::Trust(TrustOrder::List), listed),
        TrustCommand::Show { object } => {
            let order = TrustOrder::Show { object: object.clone() };
            context.operate(Operation::Trust(order), |shown: &ObjectReport| shown.text.clone())
        }
        TrustCommand::Stage(StageArguments { objects, instead, dry_run }) => {
            let order = TrustOrder::Stage { objects: objects.clone(), instead: *instead, dry_run: *dry_run };
            let said = if *dry_run { "would be staged" } else { "staged" };
            context.operate(Operation::Trust(order), |report: &ActivationReport| activation(report, said))
        }
        TrustCommand::Activate(ActivateArguments { objects, yes, dry_run }) => {
            decide(context, TrustOrder::Activate { objects: objects.clone(), agreed: *yes, dry_run: *dry_run })
        }
        TrustCommand::Rollback(RollbackArguments { object, yes, dry_run }) => {
            decide(context, TrustOrder::Rollback { object: object.clone(), agreed: *yes, dry_run: *dry_run })
        }
    }
}

fn add(context: &Context, object: &ObjectName, file: &Path) -> Result<ExitStatus, Failure> {
    let text = context.read_text(file, TRUST_OBJECT_BYTES_MAX)?;
    let source = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let order = TrustOrder::Add(AddObject { object: object.clone(), text, source });
    context.operate(Operation::Trust(order), |added: &AddedReport| {
        let record = &added.record;
        let before = if added.already_there { " is the same; nothing was added" } else { " was added" };
        format!(
            "{}@{}{before} ({})\nnext: postern trust stage {}\n",
            record.object, record.version, record.digest, record.object
        )
    })
}

fn take_update(context: &Context, arguments: &AddArguments) -> Result<ExitStatus, Failure> {
    let from = match (&arguments.tuf, &arguments.tuf_image) {
        (Some(directory), _) => UpdateSource::Directory(absolute(directory)?),
        (None, Some(image)) => UpdateSource::Image(image.clone()),
        (None, None) => {
            return Err(Failure::usage("nothing is named that could be added").next("give KIND/NAME and FILE"));
        }
    };
    let root = arguments.root.as_ref().map(|file| context.read_text(file, TUF_METADATA_BYTES_MAX)).transpose()?;
    let name = arguments.name.clone().unwrap_or_default();
    let order = UpdateOrder { name, from, root, accept_expired: arguments.accept_expired.clone() };
    context.operate(Operation::Trust(TrustOrder::Update(order)), |report: &UpdateReport| {
        let Versions { root, timestamp, snapshot, targets } = report.versions;
        let mut text = format!(
            "'{}' accepted: root {root} (before: {}), timestamp {timestamp}, snapshot {snapshot}, targets {targets}\n",
            report.name, report.before.root
        );
        for expired in &report.expired {
            text.push_str(&format!("past its time since {}: {}\n", expired.expires, expired.role));
        }
        for added in &report.objects {
            let before = if added.already_there { " is the same" } else { " was added" };
            text.push_str(&format!("{}@{}{before}\n", added.object, added.version));
        }
        text.extend(report.ignored.iter().map(|target| format!("not used: target '{target}'\n")));
        let new: Vec<_> = report.objects.iter().filter(|added| !added.already_there).collect();
        if !new.is_empty() {
            let names: Vec<_> = new.iter().map(|added| added.object.to_string()).collect();
            text.push_str(&format!("next: postern trust stage {}\n", names.join(" ")));
        }
        text
    })
}

fn decide(context: &Context, order: TrustOrder) -> Result<ExitStatus, Failure> {
    context.operate_judging(
        Operation::Trust(order),
        |report: &ActivationReport| {
            if report.needs_agreement {
                return activation(report, "not changed") + "next step: look at these images, then give --yes\n";
            }
            activation(report, if report.activated { "counts" } else { "would count" })
        },
        |report| if report.needs_agreement { ExitStatus::Refused } else { ExitStatus::Success },
    )
}

fn listed(report: &ObjectsReport) -> String {
    let mut text = String::new();
    for record in &report.objects {
        let state = match (record.active, record.staged) {
            (true, true) => " active, staged",
            (true, false) => " active",
            (false, true) => " staged",
            (false, false) => "",
        };
        let (object, version) = (&record.object, record.version);
        text.push_str(&format!(
            "{object}@{version}{state}\n  {} from '{}', {}\n",
            record.digest, record.source, record.added
        ));
    }
    if report.objects.is_empty() {
        text.push_str("there are no objects of trust: everything stands in the trust policy\n");
    }
    text.push_str(&format!("policy and objects together: {}\n", report.policy_digest));
    text
}

/// What an activation is about and what it does to images.
fn activation(report: &ActivationReport, said: &str) -> String {
    let mut text = String::new();
    for line in &report.objects {
        let before = line.previous.map_or_else(|| "none before".to_owned(), |version| format!("before: @{version}"));
        text.push_str(&format!("{said}: {}@{} ({before})\n", line.object, line.version));
    }
    text.push_str(&impact(&report.impact));
    text.push_str(&format!("policy and objects together: {}\n", report.policy_digest));
    text
}

/// Which images are judged otherwise.
pub(super) fn impact(impact: &Impact) -> String {
    let mut text = String::new();
    for (word, lines) in [("stops", &impact.stops), ("starts", &impact.starts)] {
        text.extend(lines.iter().map(|ImpactLine { repository, tag, digest, reason }| {
            let when = if word == "starts" { "so far: " } else { "" };
            format!("{word}: {repository}:{tag} ({digest})\n  {when}{reason}\n")
        }));
    }
    text.push_str(&format!(
        "tagged images: {}, of which {} stop verifying and {} start",
        impact.images_count, impact.stops_count, impact.starts_count
    ));
    if impact.unread_count > 0 {
        text.push_str(&format!(", {} could not be judged (`postern store check`)", impact.unread_count));
    }
    text.push('\n');
    text
}
