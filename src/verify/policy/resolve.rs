//! From what was written to what it means: keys parsed, names resolved, patterns compiled.

use globset::{GlobBuilder, GlobSetBuilder};

use super::attestor::{AttestorKind, AttestorMember, AttestorName, AttestorSet};
use super::document::{At, shortened};
use super::error::{PolicyError, Problem, nearest};
use super::scope::Scopes;
use super::trust::Trust;
use super::written::{WrittenAttestation, WrittenCount, WrittenPolicy, WrittenRule, WrittenSet};
use super::{AttestationRule, DefaultAction, Rule, SignatureRule};
use crate::limits::{CONDITION_DEPTH_COUNT_MAX, POLICY_NAME_BYTES_MAX};
use crate::verify::pattern::Pattern;
use crate::verify::{rule_names, slsa, statement};

/// The default where the file names none is to deny.
pub fn default(written: &WrittenPolicy) -> Result<DefaultAction, PolicyError> {
    match &written.default {
        None => Ok(DefaultAction::Deny),
        Some(text) if text.value == "deny" => Ok(DefaultAction::Deny),
        Some(text) if text.value == "admit" => Ok(DefaultAction::Admit),
        Some(text) => text.refuse(Problem::Default(shortened(&text.value))),
    }
}

/// Resolves the rules, in the order of the file.
pub fn rules(written: &WrittenPolicy, trust: &Trust) -> Result<Vec<Rule>, PolicyError> {
    let mut rules: Vec<Rule> = Vec::with_capacity(written.rules.len());
    for rule in &written.rules {
        check_name(&rule.name)?;
        if rule_names::ALL.contains(&rule.name.value.as_str()) {
            return rule.name.refuse(Problem::Reserved(rule.name.value.clone()));
        }
        if rules.iter().any(|earlier| earlier.name == rule.name.value) {
            return rule.name.refuse(Problem::RuleTwice(rule.name.value.clone()));
        }
        rules.push(resolve_rule(rule, trust)?);
    }
    Ok(rules)
}

/// Adds rules that another tool's policy brings along.
pub fn add_rules(rules: &mut Vec<Rule>, more: Vec<Rule>) -> Result<(), PolicyError> {
    if let Some(twice) = more.iter().find(|rule| rules.iter().any(|earlier| earlier.name == rule.name)) {
        return At { line: 1, value: () }.refuse(Problem::RuleTwice(twice.name.clone()));
    }
    rules.extend(more);
    Ok(())
}

/// Whether a name can stand in a refusal.
pub fn check_name(name: &At<String>) -> Result<(), PolicyError> {
    let text = &name.value;
    if text.is_empty() || text.len() > POLICY_NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return name.refuse(Problem::Name(shortened(text)));
    }
    Ok(())
}

fn resolve_rule(written: &WrittenRule, trust: &Trust) -> Result<Rule, PolicyError> {
    let signature = match &written.signature {
        Some(set) => Some(SignatureRule { attestors: resolve_set(set, trust, 0)?, identity: None }),
        None => None,
    };
    Ok(Rule {
        name: written.name.value.clone(),
        scopes: scopes(&written.repositories)?,
        outright: None,
        signature,
        attestations: written
            .attestations
            .iter()
            .map(|attestation| resolve_attestation(attestation, trust))
            .collect::<Result<_, _>>()?,
        content: written.content.clone(),
        rego: written.rego.clone(),
    })
}

/// Whole names; `*` stays within one component and `**` crosses.
fn scopes(patterns: &[At<String>]) -> Result<Scopes, PolicyError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let refuse = |error: &globset::Error| Problem::Pattern {
            pattern: shortened(&pattern.value),
            message: error.kind().to_string(),
        };
        if let Some(message) = never_matches(&pattern.value) {
            return pattern.refuse(Problem::Pattern { pattern: shortened(&pattern.value), message });
        }
        let glob = GlobBuilder::new(&pattern.value).literal_separator(true).build();
        set.add(glob.or_else(|error| pattern.refuse(refuse(&error)))?);
    }
    let line = patterns.first().map_or(1, |first| first.line);
    let patterns = set.build().map_err(|error| PolicyError::At {
        line,
        problem: Problem::Pattern { pattern: "repositories".to_owned(), message: error.kind().to_string() },
    })?;
    Ok(Scopes::Patterns(patterns))
}

/// Why no repository could have a name of this form: a rule that speaks of nothing would leave images to the default.
fn never_matches(pattern: &str) -> Option<String> {
    let written = if pattern.contains("://") || pattern.contains(':') || pattern.contains('@') {
        "name the repository alone, without scheme, port, tag or digest"
    } else if pattern.is_empty() || pattern.starts_with('/') || pattern.ends_with('/') || pattern.contains("//") {
        "a name begins and ends with no slash and has none twice; write '/**' for all below it"
    } else if pattern.contains(|letter: char| letter.is_ascii_uppercase() || letter.is_whitespace()) {
        "names of repositories are lower case and without blanks"
    } else {
        return None;
    };
    Some(format!("no repository has such a name: {written}"))
}

/// A set and the sets within it. Nobody may stand in it twice: one signature would count twice.
fn resolve_set(written: &WrittenSet, trust: &Trust, depth: usize) -> Result<AttestorSet, PolicyError> {
    let at = At { line: written.line, value: () };
    if depth > CONDITION_DEPTH_COUNT_MAX {
        return at.refuse(Problem::NobodyNamed(written.table.clone()));
    }
    let mut members = Vec::new();
    for (kind, names) in [
        (AttestorKind::Key, &written.keys),
        (AttestorKind::Identity, &written.identities),
        (AttestorKind::Notation, &written.notation),
    ] {
        for name in names {
            let known = trust.names(kind);
            if !known.contains(&name.value.as_str()) {
                let nearest = nearest(&name.value, known);
                let (name_, table) = (shortened(&name.value), written.table.clone());
                return name.refuse(match kind {
                    AttestorKind::Key => Problem::NoSuchKey { name: name_, table, nearest },
                    AttestorKind::Identity => Problem::NoSuch { name: name_, table: "identities", nearest },
                    AttestorKind::Notation => Problem::NoSuch { name: name_, table: "notation", nearest },
                });
            }
            members.push(AttestorMember::One(AttestorName { kind, name: name.value.clone() }));
        }
    }
    for set in &written.sets {
        members.push(AttestorMember::Set(resolve_set(set, trust, depth + 1)?));
    }
    let count = count(written, members.len())?;
    let set = AttestorSet { members, count };
    let mut names = set.names();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let (value, table) = (shortened(&pair[0].name), written.table.clone());
        return at.refuse(Problem::Twice { value, key: "set", table });
    }
    Ok(set)
}

fn count(written: &WrittenSet, members: usize) -> Result<usize, PolicyError> {
    let refused = |count: &At<WrittenCount>| {
        let table = written.table.clone();
        count.refuse(Problem::Count { count: count.value.to_string(), members, table })
    };
    match &written.count {
        None => Ok(1),
        Some(At { value: WrittenCount::All, .. }) => Ok(members),
        Some(At { value: WrittenCount::Any, .. }) => Ok(1),
        Some(at @ At { value: WrittenCount::Number(number), .. }) => {
            match usize::try_from(*number).ok().filter(|count| (1..=members).contains(count)) {
                Some(good) => Ok(good),
                None => refused(at),
            }
        }
    }
}

fn resolve_attestation(written: &WrittenAttestation, trust: &Trust) -> Result<AttestationRule, PolicyError> {
    let predicate_type = written.predicate_type.value.clone();
    if predicate_type == statement::COSIGN_SIGNATURE {
        return written.predicate_type.refuse(Problem::SignatureAsAttestation(predicate_type));
    }
    if slsa::paths(&predicate_type).is_none() {
        for (key, values) in [("builders", &written.builders), ("build_types", &written.build_types)] {
            if let Some(first) = values.first() {
                let table = written.set.table.clone();
                return first.refuse(Problem::NotProvenance { key, table, predicate_type: shortened(&predicate_type) });
            }
        }
    }
    let patterns = |values: &[At<String>]| values.iter().map(|value| Pattern::new(&value.value)).collect();
    Ok(AttestationRule {
        predicate_type,
        attestors: resolve_set(&written.set, trust, 0)?,
        builders: patterns(&written.builders),
        build_types: patterns(&written.build_types),
        conditions: written.conditions.clone(),
        every: false,
    })
}
