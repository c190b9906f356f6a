//! `postern policy`: what is trusted, and to come from whom.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Context, ExitStatus, policy_cases, trust, verdict};
use crate::app::failure::{Failure, FailureKind};
use crate::app::operation::Operation;
use crate::app::report::{JudgementReport, PolicyReport};
use crate::limits::POLICY_BYTES_MAX;
use crate::oci::name::ImageReference;
use crate::sys::clock::{Clock as _, RealClock};
use crate::verify::TrustPolicy;
use crate::verify::policy::containers::{self, InlineError};
use crate::verify::policy::lint;

/// Check, activate and show the trust policy
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern policy check trust.toml\n  postern policy activate trust.toml")]
pub enum PolicyCommand {
    /// Say what is wrong with a policy file
    #[command(after_help = "Example:\n  postern policy check trust.toml")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// Say what in a policy is allowed and probably not meant
    #[command(
        after_help = "Example:\n  postern policy lint trust.toml\n\nExit code 3 says that there is something to look at."
    )]
    Lint {
        /// The file
        file: PathBuf,
    },
    /// Print a containers' policy.json with the content of the key files that it names
    #[command(after_help = "Example:
  postern policy inline /etc/containers/policy.json > policy.json
  postern policy activate policy.json

A policy is known by its digest, so that everything that decides stands in it.")]
    Inline {
        /// The file
        file: PathBuf,
    },
    /// Put a policy into force
    #[command(after_help = "Example:
  postern policy activate trust.toml --dry-run
  postern policy activate trust.toml --data ./high

It is in force at once; then every tagged image is judged by it and by the one before, and those
are named that stop or start verifying. To be asked before anything changes, keep the policy as an
object: `postern trust add policy/NAME FILE`.")]
    Activate {
        /// The file
        file: PathBuf,
        /// Say which images would stop or start verifying, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Judge a stored image by the policy in force and say what each rule finds, or try a policy on a table of cases
    #[command(after_help = "Example:
  postern policy test registry.example/apps/web:2.1.0
  postern policy test --table cases.toml

Exit code 3 says that the image is refused, or that a case did not come out as the table says.
docs/policy-tests.md has the format of the table.")]
    Test {
        /// The image, as NAME:TAG or NAME@DIGEST
        image: Option<ImageReference>,
        /// Cases, each with an image, its names and what the policy should say
        #[arg(long, value_name = "FILE", conflicts_with = "image")]
        table: Option<PathBuf>,
    },
    /// Print the policy in force
    #[command(after_help = "Example:\n  postern policy show > trust.toml")]
    Show,
}

/// Runs one of them.
pub fn run(context: &Context, command: &PolicyCommand) -> Result<ExitStatus, Failure> {
    match command {
        PolicyCommand::Check { file } => {
            let policy = check(context, file)?.1;
            context.output.result(&policy, || format!("'{}' is in order: {}\n", file.display(), about(&policy)))?;
            Ok(ExitStatus::Success)
        }
        PolicyCommand::Lint { file } => {
            let text = context.read_text(file, POLICY_BYTES_MAX)?;
            let findings = lint::lint(&parse(context, file, &text)?, RealClock.wall());
            context.output.result(&findings, || match findings.as_slice() {
                [] => format!("'{}': nothing to look at\n", file.display()),
                all => all.iter().map(|finding| format!("{finding}\n")).collect(),
            })?;
            Ok(if findings.is_empty() { ExitStatus::Success } else { ExitStatus::Refused })
        }
        PolicyCommand::Inline { file } => {
            let text = context.read_text(file, POLICY_BYTES_MAX)?;
            let read = |path: &str| context.read_file(Path::new(path), POLICY_BYTES_MAX);
            let whole = containers::inline(&text, &read).map_err(|error| match error {
                InlineError::Read(failure) => failure,
                InlineError::Json(error) => {
                    Failure::new(FailureKind::Usage, format!("'{}' is no policy.json", file.display())).because(&error)
                }
            })?;
            context.output.result(&whole, || format!("{whole:#}\n"))?;
            Ok(ExitStatus::Success)
        }
        PolicyCommand::Activate { file, dry_run } => {
            let (text, _) = check(context, file)?;
            context.operate(Operation::PolicyActivate { text, dry_run: *dry_run }, |policy: &PolicyReport| {
                let state = if *dry_run { "would be in force" } else { "is in force" };
                let impact = policy.impact.as_ref().map(trust::impact).unwrap_or_default();
                format!("the policy in '{}' {state}: {}\n{impact}", file.display(), about(policy))
            })
        }
        PolicyCommand::Test { image: Some(image), .. } => {
            let reference = image.clone();
            let operation = Operation::PolicyTest { reference, policy: None, local: None, original: None };
            context.operate_judging(operation, verdict::text, |judgement: &JudgementReport| {
                if judgement.admitted { ExitStatus::Success } else { ExitStatus::Refused }
            })
        }
        PolicyCommand::Test { image: None, table } => policy_cases::run(context, table.as_deref()),
        PolicyCommand::Show => context.operate(Operation::PolicyShow, |policy: &PolicyReport| match policy.digest {
            Some(_) => policy.text.clone(),
            None => "# no policy is active: nothing is trusted, nothing comes in\n".to_owned(),
        }),
    }
}

fn check(context: &Context, file: &Path) -> Result<(String, PolicyReport), Failure> {
    let text = context.read_text(file, POLICY_BYTES_MAX)?;
    let policy = parse(context, file, &text)?;
    let rules = policy.rules().iter().map(|rule| rule.name().to_owned()).collect();
    let report = PolicyReport { digest: Some(*policy.digest()), rules, text: text.clone(), impact: None };
    Ok((text, report))
}

fn parse(context: &Context, file: &Path, text: &str) -> Result<TrustPolicy, Failure> {
    context.parse_policy(text)?.map_err(|error| {
        Failure::new(FailureKind::Usage, format!("policy '{}' cannot be used", file.display())).because(&error)
    })
}

fn about(policy: &PolicyReport) -> String {
    let digest = policy.digest.map(|digest| digest.to_string()).unwrap_or_default();
    match policy.rules.len() {
        0 => format!("no rules, only the default ({digest})"),
        _ => format!("rules {} ({digest})", policy.rules.join(", ")),
    }
}
