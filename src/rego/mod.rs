//! Rego: one module that is asked about one image. The engine is regorus; nothing else in the program knows it.
//!
//! A module says `allow`, and if it likes `deny`, in the package `postern`. It is given the verified evidence as `input` and
//! has nothing else: no data, no clock, no randomness, no network. What could make an evaluation endless is refused when the
//! module is read (`shape`), and the work of an evaluation is counted (`budget`), so that the same question has the same
//! answer on every machine.
//!
//! Source of the language: the Open Policy Agent's documents "Policy Language" (version 1 of the language) and "Policy
//! Reference".

mod budget;
mod functions;
mod shape;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use regorus::utils::limits::PolicyLengthConfig;
use regorus::{Engine, Value};

use crate::limits::{
    MIB, REGO_BYTES_MAX, REGO_LINE_BYTES_MAX, REGO_REASONS_COUNT_MAX, REGO_SECONDS_MAX, REGO_STEPS_COUNT_MAX,
};

pub use functions::names as functions;

/// The package of every module.
pub const PACKAGE: &str = "postern";
/// The rule that must be true.
const ALLOW: &str = "allow";
/// The rule that must hold nothing, where it is there.
const DENY: &str = "deny";
/// What a module is called in the engine's complaints.
const FILE: &str = "rego";
/// The engine calls itself for each rule within another, each expression within one and each loop around others. `shape`
/// bounds all of them; the deepest module of the tests needs less than a quarter of this in an unoptimised build.
const STACK_BYTES: usize = 16 * MIB;

/// A module that can be asked.
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    denies: bool,
}

/// Why a text is no module that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ModuleError {
    /// The line of the module, the first being 1.
    pub line: usize,
    pub reason: String,
}

/// What a module says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `allow` is true, and `deny` holds nothing.
    Allowed,
    /// What `deny` holds; nothing where `allow` is not true.
    Denied(Vec<String>),
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("denies", &self.denies).finish_non_exhaustive()
    }
}

impl Module {
    /// Reads a module and asks it about an image of which nothing is known, so that what can never be evaluated is refused
    /// now and not when an image arrives.
    pub fn parse(text: &str) -> Result<Self, ModuleError> {
        if text.len() > REGO_BYTES_MAX {
            let reason = format!("it has {} bytes, and at the most {REGO_BYTES_MAX} are read", text.len());
            return Err(ModuleError { line: 1, reason });
        }
        shape::check_nesting(text)?;
        apart(|| Self::read(text)).unwrap_or_else(|reason| Err(ModuleError { line: 1, reason }))
    }

    fn read(text: &str) -> Result<Self, ModuleError> {
        let mut engine = Engine::new();
        let mut lengths = PolicyLengthConfig::default();
        lengths.max_col =
            u32::try_from(REGO_LINE_BYTES_MAX).ok().and_then(std::num::NonZero::new).unwrap_or(lengths.max_col);
        engine.set_policy_length_config(lengths);
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(budget::config());
        functions::add_to(&mut engine).map_err(|error| located(&error))?;
        engine.add_policy(FILE.to_owned(), text.to_owned()).map_err(|error| located(&error))?;
        let tree = engine.get_ast_as_json().map_err(|error| located(&error))?;
        let shape = shape::check(&tree)?;
        let module = Self { engine, denies: shape.denies };
        module.evaluate(Value::new_object()).map_err(|error| located(&error))?;
        Ok(module)
    }

    /// Asks it. An error is no answer: whoever asked must take it for a denial.
    pub fn ask(&self, input: &serde_json::Value) -> Result<Answer, String> {
        let text = input.to_string();
        apart(|| {
            let input = Value::from_json_str(&text).map_err(|error| located(&error).reason)?;
            self.evaluate(input).map_err(|error| {
                let ModuleError { line, reason } = located(&error);
                format!("line {line} of the module: {reason}")
            })
        })?
    }

    /// The whole module on one input. What was evaluated before leaves nothing behind: the engine is a copy.
    fn evaluate(&self, input: Value) -> Result<Answer, EngineError> {
        let mut engine = self.engine.clone();
        engine.set_input(input);
        budget::start();
        let denied = match self.denies {
            true => reasons(&engine.eval_rule(format!("data.{PACKAGE}.{DENY}"))?),
            false => None,
        };
        let allowed = engine.eval_rule(format!("data.{PACKAGE}.{ALLOW}"))?;
        Ok(match denied {
            Some(reasons) => Answer::Denied(reasons),
            None if allowed == Value::from(true) => Answer::Allowed,
            None => Answer::Denied(Vec::new()),
        })
    }
}

type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// What `deny` holds; `None` where it holds nothing.
fn reasons(denied: &Value) -> Option<Vec<String>> {
    let reason = |value: &Value| match value.as_string() {
        Ok(text) => text.to_string(),
        Err(_) => value.to_json_str().unwrap_or_else(|_| "something that cannot be written".to_owned()),
    };
    match denied {
        Value::Undefined | Value::Bool(false) => None,
        Value::Set(members) if members.is_empty() => None,
        Value::Array(members) if members.is_empty() => None,
        Value::Object(members) if members.is_empty() => None,
        Value::Set(members) => Some(members.iter().take(REGO_REASONS_COUNT_MAX).map(reason).collect()),
        other => Some(vec![reason(other)]),
    }
}

/// One evaluation at a time: stack and input of one are as much as a small board has to spare.
static TURN: Mutex<()> = Mutex::new(());

/// On a stack of its own, and where a panic is no more than a reason.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let guarded = || catch_unwind(AssertUnwindSafe(work)).map_err(|_| "the engine of Rego failed".to_owned());
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("rego".to_owned()).stack_size(STACK_BYTES);
        let thread =
            builder.spawn_scoped(scope, guarded).map_err(|error| format!("Rego has no room to run: {error}"))?;
        thread.join().unwrap_or_else(|_| Err("the engine of Rego failed".to_owned()))
    })
}

/// What the engine complains of, without its picture of the line.
fn located(error: &impl std::fmt::Display) -> ModuleError {
    let text = error.to_string();
    // It counts steps, and calls them nanoseconds.
    if text.contains("execution exceeded time limit") {
        let reason = format!("it takes more than {REGO_STEPS_COUNT_MAX} steps, or {REGO_SECONDS_MAX} seconds");
        return ModuleError { line: 1, reason };
    }
    let line = text
        .split_once(&format!("--> {FILE}:"))
        .and_then(|(_, rest)| rest.split(':').next())
        .and_then(|line| line.parse().ok())
        .unwrap_or(1);
    let reason = text.rsplit_once("\nerror: ").map_or(text.as_str(), |(_, reason)| reason);
    ModuleError { line, reason: reason.split('\n').next().unwrap_or_default().trim().to_owned() }
}
