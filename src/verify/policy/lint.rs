//! What a policy may say and probably does not mean. Nothing here decides about an image.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::attestor::{AttestorKind, AttestorName};
use super::{DefaultAction, TrustPolicy};
use crate::verify::notation::{Level, TrustStoreKind, TrustedIdentities};
use crate::verify::sigstore::compose;
use crate::verify::slsa;

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The table and name that it is about.
    pub about: String,
    pub finding: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.finding)
    }
}

/// Everything to look at, in the order in which a policy is read.
pub fn lint(policy: &TrustPolicy, now: Timestamp) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    if policy.default() == DefaultAction::Admit {
        findings.add("default".to_owned(), "whatever no rule names comes in unverified");
    }
    for rule in policy.rules().iter().filter(|rule| rule.admits_everything()) {
        findings.add(format!("rule '{}'", rule.name()), "whatever no other scope names comes in unverified");
    }
    names(policy, &mut findings);
    for (name, span) in &policy.key_spans {
        if span.end.is_some_and(|end| end <= span.start) {
            findings.add(format!("keys.{name}"), "it ends before it begins, and never counts");
        } else if span.end.is_some_and(|end| end < now) {
            findings.add(format!("keys.{name}"), "it does not count any more, but for what was stamped before");
        }
    }
    for (name, identity) in policy.identities() {
        let about = || format!("identities.{name}");
        let (issuer, subject) = (identity.rule.issuer.to_string(), identity.rule.subject.to_string());
        if issuer.contains('*') {
            findings.add(about(), "the issuer is a pattern: whoever runs an issuer of that form names whom he likes");
        }
        if subject.trim_matches('*').is_empty() {
            findings.add(about(), "anybody for whom the issuer vouches may sign");
        } else if subject.starts_with('*') {
            findings.add(about(), "the subject is open at its beginning: another host may stand there");
        }
    }
    for (name, notation) in policy.notation() {
        let about = || format!("notation.{name}");
        if notation.identities == TrustedIdentities::Any {
            findings.add(about(), "anybody to whom these authorities gave a certificate may sign");
        }
        if notation.level == Level::Permissive {
            findings.add(about(), "expired and revoked certificates count");
        }
        if notation.stores.iter().all(|store| store.kind == TrustStoreKind::Tsa) {
            findings.add(about(), "no store vouches for a signer: nothing satisfies it");
        }
    }
    for denial in policy.denials.iter().filter(|denial| denial.is_over(now)) {
        findings.add("deny".to_owned(), &format!("an entry ('{}') is over", denial.reason));
    }
    for rule in policy.rules() {
        if rule.content.is_some() && rule.rego.is_none() && rule.signature.is_none() && rule.attestations.is_empty() {
            findings.add(format!("rule '{}'", rule.name()), "it asks what an image holds, and nobody stands for it");
        }
        if rule.rego.is_some() && rule.signature.is_none() && rule.attestations.is_empty() {
            let finding = "only its module of Rego says whether anybody must stand for an image";
            findings.add(format!("rule '{}'", rule.name()), finding);
        }
        for attestation in &rule.attestations {
            let says_nothing = attestation.conditions.is_none()
                && attestation.builders.is_empty()
                && attestation.build_types.is_empty();
            if !attestation.predicate_type.contains("://") {
                let written = attestation.predicate_type.as_str();
                let meant = compose::predicate_type(written).map(|uri| format!(": write '{uri}'")).unwrap_or_default();
                let finding = format!("no attestation has the type '{written}', since types are URIs{meant}");
                findings.add(format!("rule '{}'", rule.name()), &finding);
            }
            if says_nothing && slsa::paths(&attestation.predicate_type).is_some() {
                findings
                    .add(format!("rule '{}'", rule.name()), "provenance of any builder and any source satisfies it");
            }
        }
    }
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, about: String, finding: &str) {
        self.0.push(Finding { about, finding: finding.to_owned() });
    }
}

/// Those whom no rule names. A module of Rego may name anybody.
fn names(policy: &TrustPolicy, findings: &mut Findings) {
    if policy.rules().iter().any(|rule| rule.rego.is_some()) {
        return;
    }
    let signatures = policy.rules().iter().filter_map(|rule| rule.signature.as_ref()).map(|part| &part.attestors);
    let attestations = policy.rules().iter().flat_map(|rule| &rule.attestations).map(|part| &part.attestors);
    let named: BTreeSet<&AttestorName> = signatures.chain(attestations).flat_map(|set| set.names()).collect();
    let tables = [
        (AttestorKind::Key, "keys", policy.keys().keys().collect::<Vec<_>>()),
        (AttestorKind::Identity, "identities", policy.identities().keys().collect()),
        (AttestorKind::Notation, "notation", policy.notation().keys().collect()),
    ];
    for (kind, table, names) in tables {
        for name in names {
            if !named.contains(&AttestorName { kind, name: name.clone() }) {
                findings.add(format!("{table}.{name}"), "no rule names it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lint;
    use crate::verify::policy::TrustPolicy;
    use crate::verify::test_keys::TestKey;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let policy = TrustPolicy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let found = lint(&policy, "2026-11-27T00:00:00Z".parse().unwrap());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "'{found}' does not say '{expected}'");
        }
    }

    #[test]
    fn what_is_probably_not_meant_is_told_and_a_good_policy_is_quiet() {
        let key = format!("[keys.a]\npem = '''{}'''\n", TestKey::p256().public_pem());
        let rule = "[[rule]]\nname = \"r\"\nrepositories = [\"x\"]\n[rule.signature]\n";
        check(&format!("version = 1\n{key}{rule}keys = [\"a\"]\n"), &[]);
        check(&format!("version = 1\ndefault = \"admit\"\n{key}"), &["default: whatever", "keys.a: no rule names it"]);
        let module = "[[rule]]\nname = \"r\"\nrepositories = [\"x\"]\n[rule.rego]\nmodule = \"package postern\\nallow := true\"\n";
        check(&format!("version = 1\n{key}{module}"), &["rule 'r': only its module of Rego says"]);
        let over = "until = \"2026-01-01T00:00:00Z\"\n";
        check(&format!("version = 1\n{key}{over}{rule}keys = [\"a\"]\n"), &["keys.a: it does not count any more"]);
        let never = "from = \"2026-02-01T00:00:00Z\"\nuntil = \"2026-01-01T00:00:00Z\"\n";
        check(&format!("version = 1\n{key}{never}{rule}keys = [\"a\"]\n"), &["keys.a: it ends before it begins"]);
        let word = "[[rule.attestation]]\ntype = \"vuln\"\nkeys = [\"a\"]\n";
        check(
            &format!("version = 1\n{key}{rule}keys = [\"a\"]\n{word}"),
            &[
                "no attestation has the type 'vuln', since types are URIs: write 'https://cosign.sigstore.dev/attestation/vuln/v1'",
            ],
        );
        let root = "[roots.p]\nbuiltin = \"public-good\"\n";
        let identity = |issuer: &str, subject: &str| {
            format!(
                "version = 1\n{root}[identities.i]\nroot = \"p\"\nissuer = \"{issuer}\"\nsubject = \"{subject}\"\n{rule}identities = [\"i\"]\n"
            )
        };
        check(&identity("https://i", "https://s/*"), &[]);
        check(&identity("https://*", "*"), &["the issuer is a pattern", "anybody for whom"]);
        check(&identity("https://i", "*/app"), &["open at its beginning"]);
        let attestation = "[[rule.attestation]]\ntype = \"https://slsa.dev/provenance/v1\"\nkeys = [\"a\"]\n";
        check(&format!("version = 1\n{key}{rule}keys = [\"a\"]\n{attestation}"), &["any builder and any source"]);
        let content = "[[rule]]\nname = \"c\"\nrepositories = [\"x\"]\n[rule.content]\nno_shell = true\n";
        check(&format!("version = 1\n{content}"), &["nobody stands for it"]);
        let denial = "[[deny]]\nreason = \"old\"\nkey = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\nuntil = \"2026-01-01T00:00:00Z\"\n";
        check(&format!("version = 1\n{key}{denial}{rule}keys = [\"a\"]\n"), &["an entry ('old') is over"]);
    }
}
