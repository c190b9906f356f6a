//! What every command has at hand: the global arguments, the environment, and the way to have an operation executed.

use super::arguments::Global;
use super::output::Output;
use crate::app::failure::{Failure, FailureKind};
use crate::config::{self, Config, Environment, LoadError, Sources};

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    pub global: Global,
    pub environment: Environment,
    pub output: Output,
}

impl Context {
    /// The context of this process.
    pub fn new(global: Global, environment: Environment) -> Self {
        Self { output: Output { json: global.json }, global, environment }
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
}
