//! `[rule.rego]`: a module of Rego that must allow the image.

use super::document::Table;
use super::error::{PolicyError, Problem};
use crate::rego::Module;

/// The module, ready to be asked. `docs/rego.md` says what it is shown.
#[derive(Clone, Debug)]
pub struct RegoRule {
    pub(in crate::verify) module: Module,
}

/// Parses `[rule.rego]`. What is wrong with the module is told with the line of the whole file.
pub fn parse(table: &Table<'_>) -> Result<RegoRule, PolicyError> {
    table.allow_only(&["module"])?;
    let written = table.required_block("module")?;
    match Module::parse(&written.value) {
        Ok(module) => Ok(RegoRule { module }),
        Err(error) => Err(PolicyError::At {
            line: written.line + error.line - 1,
            problem: Problem::Foreign(format!("{}: {}", table.name, error.reason)),
        }),
    }
}
