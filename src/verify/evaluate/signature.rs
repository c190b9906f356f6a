//! Signature rules: this image, signed by enough of these keys. An attestation never counts.

use std::collections::BTreeSet;

use super::part::{Miss, Part, another, check, doubt_text, integrity, shown, wanted};
use crate::verify::examine::{About, Doubt, Finding, Says};
use crate::verify::policy::SignatureRule;
use crate::verify::verdict::{Check, CheckResult};

/// Judges one signature rule.
pub fn judge(rule: &SignatureRule, findings: &[Finding]) -> Part {
    let mut signers: BTreeSet<&str> = BTreeSet::new();
    let mut checks: Vec<CheckResult> = Vec::new();
    for finding in findings.iter().filter(|finding| !matches!(finding.says, Some(Says::Attestation(_)))) {
        let made_by = integrity(finding);
        let whole = made_by.as_ref().map(|key| format!("signature verified with key '{key}'")).map_err(Clone::clone);
        checks.push(check(finding, Check::Integrity, whole));
        if let Ok(key) = made_by {
            let trusted = rule.keys.iter().any(|name| name == key);
            let wanted = wanted(&rule.keys, rule.count);
            let result = if trusted {
                signers.insert(key);
                Ok(format!("signed by key '{key}'"))
            } else {
                Err(format!("signed by key '{key}', wanted is {wanted}"))
            };
            checks.push(check(finding, Check::Authenticity, result));
        }
    }
    let names = signers.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    if signers.len() >= rule.count {
        return Part::passed(format!("signed by {names}"), checks);
    }
    if !signers.is_empty() {
        let reason = format!("signed by {names} only, wanted is {}", wanted(&rule.keys, rule.count));
        return Part::failed(Miss { tells: u8::MAX, reason, next_step: Some("let the missing keys sign it") }, checks);
    }
    let unsigned = Miss {
        tells: 0,
        reason: format!("not signed: no signature was found, wanted is {}", wanted(&rule.keys, rule.count)),
        next_step: Some("sign it at the source, or check that its signatures travelled with it"),
    };
    let misses = findings.iter().map(|finding| miss(rule, finding));
    let telling = misses.fold(unsigned, |best, miss| if miss.tells > best.tells { miss } else { best });
    Part::failed(telling, checks)
}

/// Why this piece of evidence is no signature that counts.
fn miss(rule: &SignatureRule, finding: &Finding) -> Miss {
    let wanted = wanted(&rule.keys, rule.count);
    let (tells, reason, next_step) = match (&finding.says, &finding.maker, &finding.about) {
        (Some(Says::Attestation(attestation)), _, _) => (
            3,
            format!(
                "an attestation of type '{}' was found where a signature is asked, and an attestation is no signature; wanted is {wanted}",
                shown(&attestation.predicate_type)
            ),
            "sign the image itself",
        ),
        (_, Err(doubt @ Doubt::Unreadable(_)), _) => {
            (1, format!("what was found as a signature cannot be used: {}", doubt_text(doubt)), "sign it again")
        }
        (_, Err(Doubt::Keyless), _) => (
            2,
            format!("the signature cannot be used: {}; wanted is {wanted}", doubt_text(&Doubt::Keyless)),
            "sign it with a key",
        ),
        (_, Err(Doubt::NoKey), _) => (
            4,
            format!(
                "wrong key: the signature was made by none of the policy's keys, or was altered; wanted is {wanted}"
            ),
            "sign it with the key that the rule names",
        ),
        (_, Ok(key), About::Another(digest)) => (
            if rule.keys.contains(key) { 7 } else { 5 },
            format!("the signature by key '{key}' was copied from elsewhere: it is about {}", another(*digest)),
            "sign this image itself",
        ),
        (_, Ok(key), About::Target) => (
            6,
            format!("signed by key '{key}', which this rule does not trust: wanted is {wanted}"),
            "sign it with the key that the rule names, or look whether it belongs in another repository",
        ),
    };
    Miss { tells, reason, next_step: Some(next_step) }
}
