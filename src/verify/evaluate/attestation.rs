//! Attestation rules: somebody trusted said this kind of thing about this image, and what was said satisfies the rule.

use std::collections::BTreeSet;

use super::part::{Miss, Part, another, check, doubt_text, integrity, quoted, shown, wanted};
use crate::verify::examine::{About, Attestation, Doubt, Finding, Maker, Says};
use crate::verify::pattern::Pattern;
use crate::verify::policy::AttestationRule;
use crate::verify::slsa;
use crate::verify::verdict::Check;

/// Judges one attestation rule. One attestation must satisfy all of it: conditions are not put together from several. Where the
/// rule is about every attestation, one that does not hold fails it.
pub fn judge(rule: &AttestationRule, findings: &[Finding]) -> Part {
    let mut checks = Vec::new();
    let mut satisfied: Vec<(&Maker, String)> = Vec::new();
    let mut telling = nothing_of_this_type(rule, findings);
    let mut fails = false;
    for finding in findings {
        let attestation = match &finding.says {
            Some(Says::Attestation(attestation)) if attestation.predicate_type == rule.predicate_type => attestation,
            Some(_) => continue,
            None => {
                keep(&mut telling, unreadable(rule, finding));
                continue;
            }
        };
        let made_by = integrity(finding);
        let whole = made_by.as_ref().map(|maker| format!("attestation verified with {}", maker.shown));
        checks.push(check(finding, Check::Integrity, whole.map_err(Clone::clone)));
        let Ok(maker) = made_by else {
            keep(&mut telling, not_whole(rule, finding));
            continue;
        };
        if !rule.attestors.names_one_of(&maker.names) {
            let reason = format!(
                "the attestation of type '{}' was made by {}, which this rule does not trust: wanted is {}",
                rule.predicate_type,
                shown(&maker.shown),
                wanted(&rule.attestors)
            );
            checks.push(check(finding, Check::Authenticity, Err(reason.clone())));
            let next_step = Some("let somebody attest it whom the rule names");
            keep(&mut telling, Miss { tells: 5, reason, next_step });
            continue;
        }
        checks.push(check(finding, Check::Authenticity, Ok(format!("made by {}", shown(&maker.shown)))));
        let conditions = conditions(rule, attestation);
        checks.push(check(finding, Check::Condition, conditions.clone().map_err(|miss| miss.reason)));
        match conditions {
            Ok(reason) => satisfied.push((maker, reason)),
            Err(miss) => {
                fails = rule.every;
                keep(&mut telling, miss);
            }
        }
    }
    // Whoever has said otherwise since is not outvoted by what was said before.
    if fails {
        return Part::failed(telling, checks);
    }
    let signers: Vec<_> =
        satisfied.iter().map(|(maker, _)| (maker.principal.as_str(), maker.names.as_slice())).collect();
    if rule.attestors.is_satisfied_by(&signers) {
        let reasons: Vec<String> = satisfied
            .iter()
            .map(|(maker, reason)| format!("attested by {} as '{}'{reason}", shown(&maker.shown), rule.predicate_type))
            .collect();
        return Part::passed(reasons.join("; "), checks);
    }
    if !satisfied.is_empty() {
        let makers: Vec<String> = satisfied.iter().map(|(maker, _)| shown(&maker.shown)).collect();
        let reason = format!(
            "attested as '{}' by {} only, wanted is {}",
            rule.predicate_type,
            makers.join(", "),
            wanted(&rule.attestors)
        );
        keep(&mut telling, Miss { tells: u8::MAX, reason, next_step: Some("let the missing ones attest it") });
    }
    Part::failed(telling, checks)
}

fn keep(telling: &mut Miss, miss: Miss) {
    if miss.tells > telling.tells {
        *telling = miss;
    }
}

fn nothing_of_this_type(rule: &AttestationRule, findings: &[Finding]) -> Miss {
    let others: BTreeSet<String> = findings
        .iter()
        .filter_map(|finding| match &finding.says {
            Some(Says::Attestation(attestation)) => Some(shown(&attestation.predicate_type)),
            _ => None,
        })
        .collect();
    let found =
        if others.is_empty() { String::new() } else { format!(", there are attestations of type {}", quoted(others)) };
    Miss {
        tells: 0,
        reason: format!(
            "no attestation of type '{}' was found{found}, wanted is one by {}",
            rule.predicate_type,
            wanted(&rule.attestors)
        ),
        next_step: Some("attest it at the source, or check that its attestations travelled with it"),
    }
}

fn unreadable(rule: &AttestationRule, finding: &Finding) -> Miss {
    let reason = finding.maker.as_ref().err().map(doubt_text).unwrap_or_default();
    Miss {
        tells: 1,
        reason: format!(
            "no attestation of type '{}' was found, and a document that was found cannot be used: {reason}",
            rule.predicate_type
        ),
        next_step: Some("attest it with a key"),
    }
}

fn not_whole(rule: &AttestationRule, finding: &Finding) -> Miss {
    let kind = &rule.predicate_type;
    match (&finding.maker, &finding.about) {
        (Ok(maker), About::Another(digest)) => Miss {
            tells: 6,
            reason: format!(
                "the attestation of type '{kind}' by {} was copied from elsewhere: it is about {}",
                shown(&maker.shown),
                another(*digest)
            ),
            next_step: Some("attest this image itself"),
        },
        (maker, _) => Miss {
            tells: 4,
            reason: format!(
                "{}the attestation of type '{kind}' cannot be used: {}; wanted is one by {}",
                if *maker == Err(Doubt::NoKey) { "wrong key: " } else { "" },
                maker.as_ref().err().map(doubt_text).unwrap_or_default(),
                wanted(&rule.attestors)
            ),
            next_step: Some("attest it with the key that the rule names"),
        },
    }
}

/// What the rule asks of the attestation's content; a text that says what was matched.
fn conditions(rule: &AttestationRule, attestation: &Attestation) -> Result<String, Miss> {
    let paths = slsa::paths(&rule.predicate_type);
    let builder = matched(
        Condition { what: "builder", path: paths.map(|paths| paths.builder), tells: 8 },
        &rule.builders,
        attestation.builder.as_deref(),
    )?;
    let build_type = matched(
        Condition { what: "build type", path: paths.map(|paths| paths.build_type), tells: 7 },
        &rule.build_types,
        attestation.build_type.as_deref(),
    )?;
    if let Some(tree) = &rule.conditions
        && let Err(reason) = tree.check(&attestation.predicate)
    {
        let reason =
            format!("a condition on the attestation of type '{}' does not hold: {reason}", rule.predicate_type);
        return Err(Miss { tells: 9, reason, next_step: Some("look what the attestation says, or change the rule") });
    }
    let held = if rule.conditions.is_some() { ", its conditions hold" } else { "" };
    Ok(format!("{builder}{build_type}{held}"))
}

struct Condition {
    what: &'static str,
    path: Option<&'static str>,
    tells: u8,
}

fn matched(condition: Condition, patterns: &[Pattern], found: Option<&str>) -> Result<String, Miss> {
    let Condition { what, path, tells } = condition;
    if patterns.is_empty() {
        return Ok(String::new());
    }
    let wanted = quoted(patterns);
    let reason = match found {
        Some(value) if patterns.iter().any(|pattern| pattern.matches(value)) => {
            return Ok(format!(", {what} '{}'", shown(value)));
        }
        Some(value) => format!("wrong {what}: the provenance says '{}', wanted is {wanted}", shown(value)),
        None => {
            let path = path.unwrap_or_default().trim_start_matches('/').replace('/', ".");
            format!("wrong {what}: the provenance has none at '{path}', wanted is {wanted}")
        }
    };
    Err(Miss { tells, reason, next_step: Some("build it where the rule says, or change the rule") })
}
