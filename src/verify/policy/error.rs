//! What may be wrong with a trust policy. Each complaint names the line.

use crate::limits::{
    POLICY_BYTES_MAX, POLICY_KEYS_COUNT_MAX, POLICY_LIST_COUNT_MAX, POLICY_NAME_BYTES_MAX, POLICY_RULES_COUNT_MAX,
};
use crate::verify::key::KeyError;

/// Why bytes are not a trust policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("trust policy is {0} bytes long, the most is {POLICY_BYTES_MAX}")]
    TooLarge(usize),
    #[error("trust policy is not UTF-8 text")]
    NotText,
    #[error("trust policy, line {line}: not TOML: {message}")]
    Syntax { line: usize, message: String },
    #[error("trust policy, line {line}: {problem}")]
    At { line: usize, problem: Problem },
}

impl PolicyError {
    /// Whether it would be in order if an object of trust were active.
    pub const fn lacks_object(&self) -> bool {
        matches!(self, Self::At { problem: Problem::NoSuchObject { .. }, .. })
    }
}

/// What is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("unknown key '{key}' in {table}{}", did_you_mean(nearest.as_ref()))]
    UnknownKey { key: String, table: String, nearest: Option<String> },
    #[error("'{key}' is missing in {table}")]
    Missing { key: &'static str, table: String },
    #[error("'{key}' in {table} is {found}, expected {wanted}")]
    WrongType { key: String, table: String, wanted: &'static str, found: &'static str },
    #[error("version '{0}' is not known here: this release reads version 1")]
    Version(i64),
    #[error("default '{0}' is not known: write \"deny\" or \"admit\"")]
    Default(String),
    #[error("key '{name}': {error}")]
    Key { name: String, error: KeyError },
    #[error("key '{second}' is the same key as '{first}', so that counting keys would count it twice: keep one name")]
    SameKey { first: String, second: String },
    #[error("{table} names key '{name}', which is not under [keys]{}", did_you_mean(nearest.as_ref()))]
    NoSuchKey { name: String, table: String, nearest: Option<String> },
    #[error("there is no '{name}' under [{table}]{}", did_you_mean(nearest.as_ref()))]
    NoSuch { name: String, table: &'static str, nearest: Option<String> },
    #[error("no {kind} '{name}' is active among the objects of trust{}: `postern trust add {kind}/{name} FILE` and `postern trust activate` make it so", did_you_mean(nearest.as_ref()))]
    NoSuchObject { kind: &'static str, name: String, nearest: Option<String> },
    #[error("no certificate carries a claim '{name}'{}", did_you_mean(nearest.as_ref()))]
    NoSuchClaim { name: String, nearest: Option<String> },
    #[error("'{key}' cannot be used ({value}): {reason}")]
    Value { key: &'static str, value: String, reason: String },
    #[error("{0} says twice where what it is made of comes from, or not at all: give one of its sources")]
    OneOf(String),
    #[error("a [[deny]] names exactly one of digest, certificate, key and identity")]
    DenialSubject,
    #[error("{0} names nobody: give 'keys', 'identities' or 'notation'")]
    NobodyNamed(String),
    #[error("{0}")]
    Foreign(String),
    #[error("{table}: {reason}")]
    Condition { table: String, reason: String },
    #[error("'{value}' stands twice in '{key}' of {table}")]
    Twice { value: String, key: &'static str, table: String },
    #[error("'{key}' in {table} is empty: name at least one")]
    Empty { key: &'static str, table: String },
    #[error("count is {count} in {table}, expected 1 to {members}, the number of those it names")]
    Count { count: String, members: usize, table: String },
    #[error("pattern '{pattern}' is not valid: {message}")]
    Pattern { pattern: String, message: String },
    #[error("there is already a rule '{0}': names tell a person which rule refused")]
    RuleTwice(String),
    #[error("rule name '{0}' is reserved for refusals without a rule: choose another")]
    Reserved(String),
    #[error("name '{0}' is empty, longer than {POLICY_NAME_BYTES_MAX} bytes, or holds control characters")]
    Name(String),
    #[error("{0} asks for nothing: add [rule.signature], [[rule.attestation]], [rule.content] or [rule.rego]")]
    NothingAsked(String),
    #[error("'{key}' in {table} works with SLSA provenance v0.2 and v1 only, and 'type' is '{predicate_type}'")]
    NotProvenance { key: &'static str, table: String, predicate_type: String },
    #[error("type '{0}' is how cosign writes a signature: ask for it with [rule.signature]")]
    SignatureAsAttestation(String),
    #[error("more than {POLICY_RULES_COUNT_MAX} rules")]
    TooManyRules,
    #[error("more than {POLICY_KEYS_COUNT_MAX} keys")]
    TooManyKeys,
    #[error("more than {POLICY_LIST_COUNT_MAX} values in '{key}' of {table}")]
    TooManyValues { key: &'static str, table: String },
}

fn did_you_mean(nearest: Option<&String>) -> String {
    nearest.map(|name| format!(", did you mean '{name}'?")).unwrap_or_default()
}

/// The one of `known` that is most like `name`, if any is like it at all.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const LIKE_ENOUGH: f64 = 0.7;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate.to_owned())
}
