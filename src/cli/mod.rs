//! The command line: the only printer, and the only place that knows of terminals.
//!
//! Each command turns its arguments into an operation, has it executed (here, or by the server that runs on the same
//! data directory), and shows the outcome. It decides nothing itself.

mod accounts;
mod arguments;
mod audit;
mod backup;
mod bundle;
mod bundle_text;
mod completions;
mod configuration;
mod context;
mod enroll;
mod exit_status;
mod image;
mod image_layout;
mod key;
mod man;
mod mirror;
mod output;
mod policy;
mod policy_cases;
mod progress;
mod retention;
mod serve;
mod setup;
mod sign;
mod size;
mod status;
mod store;
mod sweep;
mod trust;
mod trusted_time;
mod verdict;
mod verify;
mod verify_bundle;
mod version;

use clap::Parser as _;

use crate::app::failure::{Failure, FailureKind};
use crate::config::Environment;

use arguments::{Arguments, Command};
use context::Context;
pub use exit_status::ExitStatus;
use output::Output;

/// Runs the command that the process was started with.
pub fn run() -> ExitStatus {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && Environment::has_argument("--json") => {
            Output { json: true }.failure(&misuse(&error));
            return ExitStatus::Usage;
        }
        Err(error) => {
            // Clap prints help on standard output and mistakes on standard error; a closed pipe matters in neither case.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Success };
        }
    };
    let environment = Environment::read();
    arm_kill_point(&environment);
    let context = Context::new(arguments.global, environment);
    match dispatch(&context, arguments.command) {
        Ok(status) => status,
        Err(failure) => {
            context.output.failure(&failure);
            failure.kind.into()
        }
    }
}

/// What clap says of wrong arguments, without its colours and its usage.
fn misuse(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let said = text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim);
    let said: Vec<&str> = said.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    Failure::usage(said.join(" ").trim_start_matches("error: ")).next("the same command with --help says what it takes")
}

#[cfg(feature = "killpoints")]
fn arm_kill_point(environment: &Environment) {
    if let Some((point, mark)) = environment.kill_point.clone() {
        crate::sys::kill_point::arm(point, mark);
    }
}

#[cfg(not(feature = "killpoints"))]
const fn arm_kill_point(_environment: &Environment) {}

fn dispatch(context: &Context, command: Command) -> Result<ExitStatus, Failure> {
    match command {
        Command::Setup(arguments) => setup::run(context, &arguments),
        Command::Serve(arguments) => serve::run(context, &arguments),
        Command::Status => status::run(context),
        Command::Enroll(command) => enroll::run(context, &command),
        Command::Policy(command) => policy::run(context, &command),
        Command::Verify(arguments) => verify::run(context, &arguments),
        Command::Sign(arguments) => sign::run(context, &arguments),
        Command::Attest(arguments) => sign::run_attest(context, &arguments),
        Command::Trust(command) => trust::run(context, &command),
        Command::Key(command) => key::run(context, &command),
        Command::VerifyBundle(arguments) => verify_bundle::run(context, &arguments),
        Command::Mirror(command) => mirror::run(context, &command),
        Command::Bundle(command) => bundle::run(context, &command),
        Command::Image(command) => image::run(context, &command),
        Command::Project(command) => accounts::run_project(context, &command),
        Command::User(command) => accounts::run_user(context, &command),
        Command::Robot(command) => accounts::run_robot(context, &command),
        Command::Access(command) => accounts::run_access(context, &command),
        Command::Report(command) => accounts::run_report(context, &command),
        Command::Retention(command) => retention::run(context, &command),
        Command::Sweep(arguments) => sweep::run(context, &arguments),
        Command::Store(command) => store::run(context, &command),
        Command::Audit(command) => audit::run(context, &command),
        Command::Backup(arguments) => backup::run(context, &arguments),
        Command::Restore(arguments) => backup::run_restore(context, &arguments),
        Command::Drill(command) => backup::run_drill(context, &command),
        Command::Config(command) => configuration::run(context, &command),
        Command::Version => version::run(context),
        Command::Completions(arguments) => completions::run(context, &arguments),
        Command::Man(arguments) => man::run(context, &arguments),
    }
}

impl From<FailureKind> for ExitStatus {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Failed => Self::Failed,
            FailureKind::Usage => Self::Usage,
            FailureKind::Refused => Self::Refused,
            FailureKind::Damaged => Self::Damaged,
            FailureKind::NotNow => Self::NotNow,
        }
    }
}

#[cfg(test)]
mod tests;
