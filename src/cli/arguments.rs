//! The command line's definition: help, completions and manual pages are all made from it.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::exit_status::ExitStatus;
use super::{
    accounts, audit, backup, bundle, completions, configuration, enroll, image, key, man, mirror, policy, retention,
    serve, setup, sign, store, sweep, trust, verify, verify_bundle,
};
use crate::config::Sources;

/// Air-gapped OCI registry: mirror, verify, carry, serve, retire.
#[derive(Debug, Parser)]
#[command(
    name = "postern",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_long_help = after_help()
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

fn after_help() -> String {
    format!("Example:\n  postern setup --data ./low --name low-side\n\nExit codes:\n{}", ExitStatus::table())
}

/// What every command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Configuration file [default: $POSTERN_CONFIG, then postern.toml in the data directory, then /etc/postern/postern.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// Data directory [default: $POSTERN_DATA, then the configuration's data_dir]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub data: Option<PathBuf>,
    /// Print the result as JSON on standard output, and errors as JSON on standard error
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Say more; twice says even more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Everywhere")]
    pub verbose: u8,
}

impl Global {
    /// Where the configuration is looked for.
    pub fn sources(&self) -> Sources {
        Sources { config: self.config.clone(), data: self.data.clone(), ..Sources::default() }
    }
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    Setup(setup::SetupArguments),
    Serve(serve::ServeArguments),
    /// Show what the appliance holds and how it is
    #[command(after_help = "Example:\n  postern status --data ./low")]
    Status,
    #[command(subcommand)]
    Enroll(enroll::EnrollCommand),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    Verify(verify::VerifyArguments),
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    Sign(sign::SignArguments),
    Attest(sign::AttestArguments),
    #[command(subcommand)]
    Key(key::KeyCommand),
    VerifyBundle(verify_bundle::VerifyBundleArguments),
    #[command(subcommand)]
    Mirror(mirror::MirrorCommand),
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    #[command(subcommand)]
    Image(image::ImageCommand),
    #[command(subcommand)]
    Project(accounts::ProjectCommand),
    #[command(subcommand)]
    User(accounts::UserCommand),
    #[command(subcommand)]
    Robot(accounts::RobotCommand),
    #[command(subcommand)]
    Access(accounts::AccessCommand),
    #[command(subcommand)]
    Report(accounts::ReportCommand),
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    Sweep(sweep::SweepArguments),
    #[command(subcommand)]
    Store(store::StoreCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    Backup(backup::BackupArguments),
    Restore(backup::RestoreArguments),
    #[command(subcommand)]
    Drill(backup::DrillCommand),
    #[command(subcommand)]
    Config(configuration::ConfigCommand),
    /// Show the version, and with --verbose what it was built from
    #[command(after_help = "Example:\n  postern version --verbose --json")]
    Version,
    Completions(completions::CompletionsArguments),
    Man(man::ManArguments),
}
