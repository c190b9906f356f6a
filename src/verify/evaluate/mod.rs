//! From policy, evidence and time to a verdict.
//!
//! Every rule that matches the image's name here, or the name it claims to have had elsewhere, must pass. A claimed name
//! can add rules; it never takes one away and never stands in for a rule about the name here.

mod attestation;
mod content;
mod part;
mod rego;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;

use self::part::Part;
use super::content::ImageContent;
use super::evidence::Evidence;
use super::examine::{Finding, Target, Trusted, examine};
use super::key::PublicKey;
use super::policy::attestor::{AttestorKind, AttestorName, AttestorSet};
use super::policy::{Applicable, DefaultAction, TrustPolicy};
use super::rule_names;
use super::verdict::{Outcome, RuleVerdict, Verdict};
use crate::limits::{EVIDENCE_VERIFICATIONS_COUNT_MAX, VERDICT_CHECKS_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::name::{RepositoryName, Tag};

/// What is asked: may this manifest be served under this name?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name under which it is to be served here.
    pub local: &'a RepositoryName,
    /// The name that it is said to have had where it comes from.
    pub original: Option<&'a RepositoryName>,
    /// The tags that are to point at it, where they are known.
    pub tags: &'a [Tag],
    pub target: &'a Manifest,
    /// The very bytes of `target`.
    pub target_bytes: &'a [u8],
    /// What it holds: each of its images that want to come in, where a rule asks about content.
    pub images: &'a [ImageContent],
}

/// Judges one manifest. The same arguments give the same verdict, always.
pub fn evaluate(policy: &TrustPolicy, question: &Question<'_>, evidence: &Evidence, now: Timestamp) -> Verdict {
    let mut evidence_digests: Vec<Digest> = evidence.items().iter().map(|item| item.digest).collect();
    evidence_digests.sort_unstable();
    evidence_digests.dedup();
    let (rules, proved_time) = judge_rules(policy, question, evidence, now);
    let all_passed = rules.iter().all(|rule| rule.outcome == Outcome::Passed);
    assert!(!rules.is_empty(), "an image without a rule is judged by the default");
    Verdict {
        outcome: if all_passed { Outcome::Passed } else { Outcome::Failed },
        target: question.target.digest,
        repository: question.local.clone(),
        original: question.original.cloned(),
        rules,
        policy_digest: *policy.digest(),
        evidence_digests,
        time_used: now,
        proved_time,
    }
}

/// What each rule says, and the latest time that what was believed has proved.
fn judge_rules(
    policy: &TrustPolicy,
    question: &Question<'_>,
    evidence: &Evidence,
    now: Timestamp,
) -> (Vec<RuleVerdict>, Option<Timestamp>) {
    if question.target.digest.algorithm().hash(question.target_bytes) != question.target.digest {
        let reason = "the bytes are not those of the manifest that is to be judged";
        return (vec![without_checks(rule_names::INTEGRITY, Outcome::Failed, reason.to_owned(), None)], None);
    }
    if let Some(refusal) = policy.refusal_of_denied(question.target_bytes, now) {
        return (vec![without_checks(&refusal.rule, Outcome::Failed, refusal.reason, refusal.next_step)], None);
    }
    let original = question.original.filter(|original| *original != question.local);
    let names: Vec<&RepositoryName> = [question.local].into_iter().chain(original).collect();
    let matching = policy.applicable(&names);
    let mut verdicts = Vec::with_capacity(matching.len() + 1);
    if !matching.iter().any(|applicable| applicable.names.contains(&question.local)) {
        verdicts.push(judge_by_default(policy, question));
    }
    if matching.is_empty() {
        return (verdicts, None);
    }
    let Some(keys) = keys_to_try(policy, &matching, evidence) else {
        let reason = "there is more evidence about this image than is looked at, so that none of it counts";
        let next_step = "remove signatures and attestations that are not needed at the source".to_owned();
        verdicts.push(without_checks(rule_names::EVIDENCE_LIMIT, Outcome::Failed, reason.to_owned(), Some(next_step)));
        return (verdicts, None);
    };
    let target = Target {
        digest: question.target.digest,
        bytes: question.target_bytes,
        media_type: &question.target.media_type,
    };
    let trusted = Trusted::new(policy, keys, now);
    let findings: Vec<Finding> = evidence.items().iter().map(|item| examine(item, &trusted, target)).collect();
    verdicts.extend(matching.iter().map(|applicable| judge_rule(applicable, question, &findings, now)));
    // What anybody may attach says nothing of the time: only that counts whose maker a policy has a name for.
    let named =
        findings.iter().filter_map(|finding| finding.maker.as_ref().ok()).filter(|maker| !maker.names.is_empty());
    (verdicts, named.filter_map(|maker| maker.proved_time).max())
}

fn without_checks(rule: &str, outcome: Outcome, reason: String, next_step: Option<String>) -> RuleVerdict {
    RuleVerdict { rule: rule.to_owned(), outcome, reason, next_step, checks: Vec::new() }
}

fn judge_by_default(policy: &TrustPolicy, question: &Question<'_>) -> RuleVerdict {
    if policy.is_unreadable() {
        return without_checks(
            rule_names::POLICY_UNREADABLE,
            Outcome::Failed,
            "the trust policy in force was changed on the disk or cannot be read, and nothing is trusted".to_owned(),
            Some("tell whoever operates the registry: `postern status` says why".to_owned()),
        );
    }
    let no_rule = format!("no rule of the trust policy matches repository '{}'", question.local);
    match policy.default() {
        DefaultAction::Deny => without_checks(
            rule_names::DEFAULT,
            Outcome::Failed,
            format!("{no_rule}, and its default is to deny"),
            Some("add a rule for this repository to the trust policy and activate it".to_owned()),
        ),
        DefaultAction::Admit => without_checks(
            rule_names::DEFAULT,
            Outcome::Passed,
            format!("{no_rule}, and its default is to admit"),
            None,
        ),
    }
}

/// A rule that names an image is enough: nothing that speaks of it is asked.
fn judge_outright(rule: &str, names: &[&RepositoryName], action: DefaultAction) -> RuleVerdict {
    let names = part::quoted(names);
    match action {
        DefaultAction::Admit => {
            without_checks(rule, Outcome::Passed, format!("the trust policy lets in whatever is called {names}"), None)
        }
        DefaultAction::Deny => {
            let reason = format!("the trust policy rejects whatever is called {names}");
            let next_step = "name the repository in the trust policy, with who must have signed it".to_owned();
            without_checks(rule, Outcome::Failed, reason, Some(next_step))
        }
    }
}

/// The keys of the rules in question come first, then the others of the policy, which serve to tell a person whose
/// signature it is. `None` where there is too much evidence to try even the first.
fn keys_to_try<'a>(
    policy: &'a TrustPolicy,
    rules: &[Applicable<'_>],
    evidence: &Evidence,
) -> Option<Vec<(&'a str, &'a PublicKey)>> {
    // What a module of Rego asks for nobody knows: to it, every key counts.
    let every_key = rules.iter().any(|applicable| applicable.rule.rego.is_some());
    let every_key = policy.keys().keys().map(String::as_str).filter(|_| every_key);
    let names: Vec<&AttestorName> = rules
        .iter()
        .map(|applicable| applicable.rule)
        .flat_map(|rule| {
            let signature = rule.signature.iter().map(|part| &part.attestors);
            signature.chain(rule.attestations.iter().map(|part| &part.attestors))
        })
        .flat_map(AttestorSet::names)
        .collect();
    let named = names.into_iter().filter(|name| name.kind == AttestorKind::Key).map(|name| name.name.as_str());
    let asked: BTreeSet<&str> = named.chain(every_key).collect();
    let others = Trusted::trials(policy);
    let affordable = |keys: usize| {
        keys.saturating_add(others).saturating_mul(evidence.items().len()) <= EVIDENCE_VERIFICATIONS_COUNT_MAX
    };
    if evidence.is_over_limit() || !affordable(asked.len()) {
        return None;
    }
    let (mut first, others): (Vec<_>, Vec<_>) =
        policy.keys().iter().map(|(name, key)| (name.as_str(), key)).partition(|(name, _)| asked.contains(name));
    if affordable(policy.keys().len()) {
        first.extend(others);
    }
    Some(first)
}

fn judge_rule(
    applicable: &Applicable<'_>,
    question: &Question<'_>,
    findings: &[Finding],
    now: Timestamp,
) -> RuleVerdict {
    let Applicable { rule, names } = applicable;
    if let Some(action) = rule.outright {
        return judge_outright(rule.name(), names, action);
    }
    let signature = rule.signature.iter().map(|wanted| signature::judge(wanted, names, question.tags, findings));
    let attestations = rule.attestations.iter().map(|wanted| attestation::judge(wanted, findings));
    let content = rule.content.iter().map(|wanted| content::judge(wanted, question.images, now));
    let mut parts: Vec<Part> = signature.chain(attestations).chain(content).collect();
    // It is the last to be asked, and only where nothing else has refused the image already.
    if let Some(module) = rule.rego.as_ref().filter(|_| parts.iter().all(|part| part.outcome == Outcome::Passed)) {
        parts.push(rego::judge(module, names, question, findings, now));
    }
    let failed = parts.iter().find(|part| part.outcome == Outcome::Failed);
    let (outcome, reason, next_step) = match failed {
        Some(part) => (Outcome::Failed, part.reason.clone(), part.next_step.clone()),
        None => {
            let reasons: Vec<&str> = parts.iter().map(|part| part.reason.as_str()).collect();
            (Outcome::Passed, reasons.join("; "), None)
        }
    };
    let checks = parts.into_iter().flat_map(Part::into_checks).take(VERDICT_CHECKS_COUNT_MAX).collect();
    RuleVerdict { rule: rule.name().to_owned(), outcome, reason, next_step, checks }
}
