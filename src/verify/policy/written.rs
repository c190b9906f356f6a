//! The policy as it is written: shape and spelling are checked here, what it means in `resolve`.

use super::document::{self, At, Table};
use super::error::{PolicyError, Problem};
use crate::limits::{POLICY_KEYS_COUNT_MAX, POLICY_RULES_COUNT_MAX};

/// The whole file.
#[derive(Debug)]
pub struct WrittenPolicy {
    pub default: Option<At<String>>,
    /// Names and PEM texts.
    pub keys: Vec<(String, At<String>)>,
    pub rules: Vec<WrittenRule>,
}

/// One `[[rule]]`.
#[derive(Debug)]
pub struct WrittenRule {
    pub name: At<String>,
    pub repositories: Vec<At<String>>,
    pub signature: Option<WrittenSignature>,
    pub attestations: Vec<WrittenAttestation>,
}

/// A rule's `[rule.signature]`.
#[derive(Debug)]
pub struct WrittenSignature {
    pub table: String,
    pub keys: Vec<At<String>>,
    pub count: Option<At<i64>>,
}

/// One of a rule's `[[rule.attestation]]`.
#[derive(Debug)]
pub struct WrittenAttestation {
    pub table: String,
    pub predicate_type: At<String>,
    pub keys: Vec<At<String>>,
    pub builders: Vec<At<String>>,
    pub build_types: Vec<At<String>>,
}

/// Parses the file.
pub fn parse(bytes: &[u8]) -> Result<WrittenPolicy, PolicyError> {
    let (text, parsed) = document::parse(bytes)?;
    let top = Table::top(text, &parsed);
    // The version comes first: another version may well have other keys.
    match top.integer("version")? {
        Some(At { value: 1, .. }) => {}
        Some(other) => return other.refuse(Problem::Version(other.value)),
        None => return top.refuse(Problem::Missing { key: "version", table: top.name.clone() }),
    }
    top.allow_only(&["version", "default", "keys", "rule"])?;
    let rules = top.tables("rule", "rule")?;
    if let Some(over) = rules.get(POLICY_RULES_COUNT_MAX) {
        return over.refuse(Problem::TooManyRules);
    }
    Ok(WrittenPolicy {
        default: top.text("default")?,
        keys: parse_keys(&top)?,
        rules: rules.iter().map(parse_rule).collect::<Result<_, _>>()?,
    })
}

fn parse_keys(top: &Table<'_>) -> Result<Vec<(String, At<String>)>, PolicyError> {
    let Some(keys) = top.table("keys", "keys")? else {
        return Ok(Vec::new());
    };
    let tables = keys.named_tables("key")?;
    if let Some((_, over)) = tables.get(POLICY_KEYS_COUNT_MAX) {
        return over.refuse(Problem::TooManyKeys);
    }
    let mut parsed = Vec::with_capacity(tables.len());
    for (name, table) in tables {
        table.allow_only(&["pem"])?;
        parsed.push((name, table.required_text("pem")?));
    }
    Ok(parsed)
}

fn parse_rule(table: &Table<'_>) -> Result<WrittenRule, PolicyError> {
    table.allow_only(&["name", "repositories", "signature", "attestation"])?;
    let name = table.required_text("name")?;
    let called = format!("rule '{}'", document::shortened(&name.value));
    let signature = match table.table("signature", &format!("{called}, signature"))? {
        Some(inner) => {
            inner.allow_only(&["keys", "count"])?;
            let keys = inner.required_texts("keys")?;
            Some(WrittenSignature { keys, count: inner.integer("count")?, table: inner.name })
        }
        None => None,
    };
    let attestations = table.tables("attestation", &format!("{called}, attestation"))?;
    if signature.is_none() && attestations.is_empty() {
        return table.refuse(Problem::NothingAsked(called));
    }
    Ok(WrittenRule {
        repositories: table.required_texts("repositories")?,
        signature,
        attestations: attestations.into_iter().map(parse_attestation).collect::<Result<_, _>>()?,
        name,
    })
}

fn parse_attestation(table: Table<'_>) -> Result<WrittenAttestation, PolicyError> {
    table.allow_only(&["type", "keys", "builders", "build_types"])?;
    Ok(WrittenAttestation {
        predicate_type: table.required_text("type")?,
        keys: table.required_texts("keys")?,
        builders: table.texts("builders")?,
        build_types: table.texts("build_types")?,
        table: table.name,
    })
}
