//! From what was written to what it means: keys parsed, names resolved, patterns compiled.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::document::{At, shortened};
use super::error::{PolicyError, Problem, nearest};
use super::written::{WrittenAttestation, WrittenPolicy, WrittenRule, WrittenSignature};
use super::{AttestationRule, DefaultAction, Rule, SignatureRule};
use crate::limits::POLICY_NAME_BYTES_MAX;
use crate::verify::key::PublicKey;
use crate::verify::pattern::Pattern;
use crate::verify::{rule_names, slsa, statement};

type Keys = BTreeMap<String, PublicKey>;

/// The default where the file names none is to deny.
pub fn default(written: &WrittenPolicy) -> Result<DefaultAction, PolicyError> {
    match &written.default {
        None => Ok(DefaultAction::Deny),
        Some(text) if text.value == "deny" => Ok(DefaultAction::Deny),
        Some(text) if text.value == "admit" => Ok(DefaultAction::Admit),
        Some(text) => text.refuse(Problem::Default(shortened(&text.value))),
    }
}

/// Parses every key, used or not: a key that cannot be trusted is found when the policy is loaded.
pub fn keys(written: &WrittenPolicy) -> Result<Keys, PolicyError> {
    let mut keys = Keys::new();
    for (name, pem) in &written.keys {
        check_name(&At { line: pem.line, value: name.clone() })?;
        let key = PublicKey::parse_pem(&pem.value)
            .or_else(|error| pem.refuse(Problem::Key { name: shortened(name), error }))?;
        if let Some((first, _)) = keys.iter().find(|(_, earlier)| earlier.fingerprint() == key.fingerprint()) {
            return pem.refuse(Problem::SameKey { first: first.clone(), second: name.clone() });
        }
        keys.insert(name.clone(), key);
    }
    Ok(keys)
}

/// Resolves the rules, in the order of the file.
pub fn rules(written: &WrittenPolicy, keys: &Keys) -> Result<Vec<Rule>, PolicyError> {
    let mut rules: Vec<Rule> = Vec::with_capacity(written.rules.len());
    for rule in &written.rules {
        check_name(&rule.name)?;
        if rule_names::ALL.contains(&rule.name.value.as_str()) {
            return rule.name.refuse(Problem::Reserved(rule.name.value.clone()));
        }
        if rules.iter().any(|earlier| earlier.name == rule.name.value) {
            return rule.name.refuse(Problem::RuleTwice(rule.name.value.clone()));
        }
        rules.push(resolve_rule(rule, keys)?);
    }
    Ok(rules)
}

fn check_name(name: &At<String>) -> Result<(), PolicyError> {
    let text = &name.value;
    if text.is_empty() || text.len() > POLICY_NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return name.refuse(Problem::Name(shortened(text)));
    }
    Ok(())
}

fn resolve_rule(written: &WrittenRule, keys: &Keys) -> Result<Rule, PolicyError> {
    Ok(Rule {
        name: written.name.value.clone(),
        scopes: scopes(&written.repositories)?,
        signature: written.signature.as_ref().map(|signature| resolve_signature(signature, keys)).transpose()?,
        attestations: written
            .attestations
            .iter()
            .map(|attestation| resolve_attestation(attestation, keys))
            .collect::<Result<_, _>>()?,
    })
}

/// Whole names; `*` stays within one component and `**` crosses.
fn scopes(patterns: &[At<String>]) -> Result<GlobSet, PolicyError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let refuse = |error: &globset::Error| Problem::Pattern {
            pattern: shortened(&pattern.value),
            message: error.kind().to_string(),
        };
        let glob = GlobBuilder::new(&pattern.value).literal_separator(true).build();
        set.add(glob.or_else(|error| pattern.refuse(refuse(&error)))?);
    }
    let line = patterns.first().map_or(1, |first| first.line);
    set.build().map_err(|error| PolicyError::At {
        line,
        problem: Problem::Pattern { pattern: "repositories".to_owned(), message: error.kind().to_string() },
    })
}

fn resolve_signature(written: &WrittenSignature, keys: &Keys) -> Result<SignatureRule, PolicyError> {
    let names = key_names(&written.keys, keys, &written.table)?;
    let count = match &written.count {
        None => 1,
        Some(count) => match usize::try_from(count.value).ok().filter(|count| (1..=names.len()).contains(count)) {
            Some(good) => good,
            None => {
                let table = written.table.clone();
                return count.refuse(Problem::Count { count: count.value, keys: names.len(), table });
            }
        },
    };
    Ok(SignatureRule { keys: names, count })
}

fn resolve_attestation(written: &WrittenAttestation, keys: &Keys) -> Result<AttestationRule, PolicyError> {
    let predicate_type = written.predicate_type.value.clone();
    if predicate_type == statement::COSIGN_SIGNATURE {
        return written.predicate_type.refuse(Problem::SignatureAsAttestation(predicate_type));
    }
    if slsa::paths(&predicate_type).is_none() {
        for (key, values) in [("builders", &written.builders), ("build_types", &written.build_types)] {
            if let Some(first) = values.first() {
                let table = written.table.clone();
                return first.refuse(Problem::NotProvenance { key, table, predicate_type: shortened(&predicate_type) });
            }
        }
    }
    let patterns = |values: &[At<String>]| values.iter().map(|value| Pattern::new(&value.value)).collect();
    Ok(AttestationRule {
        predicate_type,
        keys: key_names(&written.keys, keys, &written.table)?,
        builders: patterns(&written.builders),
        build_types: patterns(&written.build_types),
    })
}

fn key_names(written: &[At<String>], keys: &Keys, table: &str) -> Result<Vec<String>, PolicyError> {
    let mut names = Vec::with_capacity(written.len());
    for name in written {
        if !keys.contains_key(&name.value) {
            let nearest = nearest(&name.value, keys.keys().map(String::as_str));
            let problem = Problem::NoSuchKey { name: shortened(&name.value), table: table.to_owned(), nearest };
            return name.refuse(problem);
        }
        names.push(name.value.clone());
    }
    Ok(names)
}
