//! Signature rules: this image, signed by enough of those named. An attestation never counts.

use std::collections::BTreeMap;

use super::part::{Miss, Part, another, check, doubt_text, integrity, logged, shown, wanted};
use crate::oci::name::{RepositoryName, Tag};
use crate::verify::examine::{About, Doubt, Finding, Maker, Says};
use crate::verify::policy::{SignatureRule, SignedIdentity, SignedName};
use crate::verify::verdict::{Check, CheckResult, Outcome};

/// Judges one signature rule about an image of these names, which is to have these tags.
pub fn judge(rule: &SignatureRule, names: &[&RepositoryName], tags: &[Tag], findings: &[Finding]) -> Part {
    let Some(identity) = &rule.identity else { return judge_named(rule, None, findings) };
    let tags: Vec<Option<&Tag>> = if tags.is_empty() { vec![None] } else { tags.iter().map(Some).collect() };
    let wanted = names.iter().flat_map(|name| tags.iter().map(|tag| Wanted { identity, name, tag: *tag }));
    // Each name and each tag must have been meant: a signature of one says nothing about another.
    let mut judged = wanted.map(|wanted| judge_named(rule, Some(&wanted), findings)).collect::<Vec<_>>();
    let failed = judged.iter().position(|part| part.outcome == Outcome::Failed);
    judged.swap_remove(failed.unwrap_or_default())
}

/// The name that a signature must say.
struct Wanted<'a> {
    identity: &'a SignedIdentity,
    name: &'a RepositoryName,
    tag: Option<&'a Tag>,
}

impl Wanted<'_> {
    fn check(&self, signed: Option<&SignedName>) -> Result<(), String> {
        let wanted = self.identity.wanted(self.name, self.tag);
        match signed {
            Some(signed) if self.identity.accepts(signed, self.name, self.tag) => Ok(()),
            Some(signed) => {
                Err(format!("it is a signature of '{}', and wanted is one of {wanted}", shown(&signed.to_string())))
            }
            None => Err(format!(
                "it does not say of which repository (only cosign's older form does, not its bundles), and wanted is one of {wanted}"
            )),
        }
    }
}

fn judge_named(rule: &SignatureRule, named: Option<&Wanted<'_>>, findings: &[Finding]) -> Part {
    let wanted = wanted(&rule.attestors);
    let mut signers: BTreeMap<&str, &Maker> = BTreeMap::new();
    let mut checks: Vec<CheckResult> = Vec::new();
    for finding in findings.iter().filter(|finding| !matches!(finding.says, Some(Says::Attestation(_)))) {
        let made_by = integrity(finding);
        let whole = made_by.as_ref().map(|maker| format!("signature verified with {}", maker.shown));
        checks.push(check(finding, Check::Integrity, whole.map_err(Clone::clone)));
        if let Ok(maker) = made_by {
            checks.extend(logged(finding, maker));
            let result = if !rule.attestors.names_one_of(&maker.names) {
                Err(format!("signed by {}, wanted is {wanted}", shown(&maker.shown)))
            } else if let Some(Err(reason)) = named.map(|named| named.check(finding.signed_name.as_ref())) {
                Err(format!("signed by {}, but {reason}", shown(&maker.shown)))
            } else {
                signers.insert(&maker.principal, maker);
                Ok(format!("signed by {}", shown(&maker.shown)))
            };
            checks.push(check(finding, Check::Authenticity, result));
        }
    }
    let names = signers.values().map(|maker| signer(maker)).collect::<Vec<_>>().join(", ");
    let candidates: Vec<_> = signers.iter().map(|(principal, maker)| (*principal, maker.names.as_slice())).collect();
    if rule.attestors.is_satisfied_by(&candidates) {
        return Part::passed(format!("signed by {names}"), checks);
    }
    if !signers.is_empty() {
        let reason = format!("signed by {names} only, wanted is {wanted}");
        return Part::failed(Miss { tells: u8::MAX, reason, next_step: Some("let the missing keys sign it") }, checks);
    }
    let unsigned = Miss {
        tells: 0,
        reason: format!("not signed: no signature was found, wanted is {wanted}"),
        next_step: Some("sign it at the source, or check that its signatures travelled with it"),
    };
    let misses = findings.iter().map(|finding| miss(rule, &wanted, named, finding));
    let telling = misses.fold(unsigned, |best, miss| if miss.tells > best.tells { miss } else { best });
    Part::failed(telling, checks)
}

/// A signer by the policy's own name for it.
fn signer(maker: &Maker) -> String {
    match maker.names.first() {
        Some(name) => format!("'{}'", name.name),
        None => shown(&maker.shown),
    }
}

/// Why this piece of evidence is no signature that counts.
fn miss(rule: &SignatureRule, wanted: &str, named: Option<&Wanted<'_>>, finding: &Finding) -> Miss {
    let (tells, reason, next_step) = match (&finding.says, &finding.maker, &finding.about) {
        (Some(Says::Attestation(_)), Err(Doubt::Unsigned), _) => (
            1,
            format!("not signed: only an unsigned attestation lies in the index, wanted is {wanted}"),
            "sign the image itself",
        ),
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
        (_, Err(doubt @ (Doubt::Keyless(_) | Doubt::Notation(_) | Doubt::Unsigned)), _) => (
            4,
            format!("the signature cannot be used: {}; wanted is {wanted}", doubt_text(doubt)),
            "sign it as the rule says, or name its signer in the trust policy",
        ),
        (_, Err(doubt @ (Doubt::Denied(_) | Doubt::KeyNotValid(_))), _) => (
            8,
            format!("the signature does not count: {}; wanted is {wanted}", doubt_text(doubt)),
            "let somebody else who is trusted sign it",
        ),
        (_, Err(Doubt::NoKey), _) => (
            4,
            format!(
                "wrong key: the signature was made by none of the policy's keys, or was altered; wanted is {wanted}"
            ),
            "sign it with the key that the rule names",
        ),
        (_, Ok(maker), About::Another(digest)) => (
            if rule.attestors.names_one_of(&maker.names) { 7 } else { 5 },
            format!(
                "the signature by {} was copied from elsewhere: it is about {}",
                shown(&maker.shown),
                another(*digest)
            ),
            "sign this image itself",
        ),
        (_, Ok(maker), About::Target) if rule.attestors.names_one_of(&maker.names) => (
            9,
            format!(
                "the signature by {} does not count: {}",
                shown(&maker.shown),
                named.and_then(|named| named.check(finding.signed_name.as_ref()).err()).unwrap_or_default()
            ),
            "sign it under the name that it has here, or say in the policy's signedIdentity which name is meant",
        ),
        (_, Ok(maker), About::Target) => (
            6,
            format!("signed by {}, which this rule does not trust: wanted is {wanted}", shown(&maker.shown)),
            "sign it with the key that the rule names, or look whether it belongs in another repository",
        ),
    };
    Miss { tells, reason, next_step: Some(next_step) }
}
