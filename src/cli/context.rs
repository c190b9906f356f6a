//! What every command has at hand: the global arguments, the environment, and the way to have an operation executed.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::arguments::Global;
use super::output::Output;
use super::{ExitStatus, progress};
use crate::app::failure::{Failure, FailureKind};
use crate::app::operation::Operation;
use crate::app::perform;
use crate::app::report::PolicyReport;
use crate::app::trust::TrustOrder;
use crate::config::{self, Config, Environment, LoadError, Sources};
use crate::ops::log::{self, LogForm, LogOptions};
use crate::sys::dir;
use crate::sys::dir_real::RealDir;
use crate::verify::policy::TrustObjects;
use crate::verify::{PolicyError, TrustPolicy};

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    pub global: Global,
    pub environment: Environment,
    pub output: Output,
    /// Whether the log lines of this command have a place; a command may have several operations.
    logs: std::cell::Cell<bool>,
}

impl Context {
    /// The context of this process.
    pub fn new(global: Global, environment: Environment) -> Self {
        Self { output: Output { json: global.json }, global, environment, logs: std::cell::Cell::new(false) }
    }

    /// The configuration that holds.
    pub fn config(&self) -> Result<Config, Failure> {
        self.load(&self.global.sources())
    }

    /// The configuration that holds when more was said on the command line.
    pub fn load(&self, sources: &Sources) -> Result<Config, Failure> {
        config::load(sources, &self.environment).map_err(|error| {
            let failure = Failure::of(FailureKind::Usage, &error);
            match error {
                LoadError::Unusable(_) => failure.next("`postern config show --defaults` shows every key"),
                LoadError::Read { .. } | LoadError::CurrentDirectory(_) => failure,
            }
        })
    }

    /// Has `operation` carried out and prints its report, for people as `human` words it.
    pub fn operate<R: DeserializeOwned>(
        &self,
        operation: Operation,
        human: impl FnOnce(&R) -> String,
    ) -> Result<ExitStatus, Failure> {
        self.operate_judging(operation, human, |_| ExitStatus::Success)
    }

    /// The same where the report decides about the exit code.
    pub fn operate_judging<R: DeserializeOwned>(
        &self,
        operation: Operation,
        human: impl FnOnce(&R) -> String,
        status: impl FnOnce(&R) -> ExitStatus,
    ) -> Result<ExitStatus, Failure> {
        let value = self.perform(operation)?;
        let report: R = read(&value)?;
        self.output.result(&value, || human(&report))?;
        Ok(status(&report))
    }

    /// Has `operation` carried out and gives its report.
    pub fn report<R: DeserializeOwned>(&self, operation: Operation) -> Result<R, Failure> {
        read(&self.perform(operation)?)
    }

    fn perform(&self, operation: Operation) -> Result<Value, Failure> {
        if !self.logs.replace(true) {
            self.log_to_people("warn")?;
        }
        let config = self.config()?;
        let progress = progress::on_standard_error(self.output);
        perform(config, operation, progress.as_ref())
    }

    /// Log lines of a command are for whoever sits before it, and few.
    pub fn log_to_people(&self, level: &str) -> Result<(), Failure> {
        let level = match self.global.verbose {
            0 => level,
            1 => "info",
            _ => "debug",
        };
        let filter = self.environment.log.clone().unwrap_or_else(|| level.to_owned());
        let options = LogOptions { form: LogForm::Human, filter, colour: !self.environment.no_color };
        log::start(&options).map_err(|error| Failure::of(FailureKind::Usage, &error))
    }

    /// The text of the policy in force; where none is, of the one that denies everything.
    pub fn policy_in_force(&self) -> Result<String, Failure> {
        let shown: PolicyReport = self.report(Operation::PolicyShow)?;
        Ok(if shown.digest.is_some() { shown.text } else { TrustPolicy::EMBEDDED.to_owned() })
    }

    /// Parses a trust policy. Where it refers to objects of trust the appliance is asked for those that count.
    pub fn parse_policy(&self, text: &str) -> Result<Result<TrustPolicy, PolicyError>, Failure> {
        match TrustPolicy::parse(text.as_bytes()) {
            Err(error) if error.lacks_object() => {
                let objects: TrustObjects = self.report(Operation::Trust(TrustOrder::Active))?;
                Ok(TrustPolicy::parse_with(text.as_bytes(), &objects))
            }
            parsed => Ok(parsed),
        }
    }

    /// Reads a file that was named on the command line, of at most `limit_bytes`.
    pub fn read_file(&self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>, Failure> {
        let failed = |error: dir::DirError| {
            Failure::usage(format!("cannot read '{}'", path.display()))
                .because(&error)
                .next("name a file that is there")
        };
        let io = |source| failed(dir::DirError { operation: "find", path: path.display().to_string(), source });
        // A pipe has no length, and what has none is read as nothing.
        if path.exists() && !path.is_file() && !path.is_dir() {
            return Err(Failure::usage(format!("'{}' is no regular file", path.display()))
                .next("write it to a file first, and name that"));
        }
        let real = path.canonicalize().map_err(io)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        };
        RealDir::open(parent).and_then(|dir| dir::read_bounded(&dir, name, limit_bytes)).map_err(failed)
    }

    /// The same for text.
    pub fn read_text(&self, path: &Path, limit_bytes: usize) -> Result<String, Failure> {
        let bytes = self.read_file(path, limit_bytes)?;
        String::from_utf8(bytes).map_err(|error| {
            Failure::usage(format!("'{}' is not text", path.display())).because(&error).next("name another file")
        })
    }

    /// Writes a file that was named on the command line, replacing one that is there.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |error: dir::DirError| {
            Failure::failed(format!("cannot write '{}'", path.display()))
                .because(&error)
                .next("name a file in a directory that can be written to")
        };
        let absolute = absolute(path)?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name().and_then(|name| name.to_str()))
        else {
            return Err(Failure::usage(format!("'{}' is not the name of a file", path.display())));
        };
        RealDir::open(parent).and_then(|dir| dir::replace(&dir, name, bytes)).map_err(failed)
    }
}

/// A path that means the same to a server that runs elsewhere.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("cannot use the path '{}'", path.display())).because(&error))
}

fn read<R: DeserializeOwned>(value: &Value) -> Result<R, Failure> {
    R::deserialize(value).map_err(|error| {
        Failure::failed("the report cannot be read")
            .because(&error)
            .next("use the same version of postern as the server")
    })
}
