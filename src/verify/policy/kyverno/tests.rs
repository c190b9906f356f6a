//! The policy that people have, word for word, on images that a fabricated instance signed; and what is refused.
//!
//! `fabricated.json` was made once by a program outside: an authority, a certificate log and a transparency log of their own,
//! whose keys were thrown away.

use std::sync::Arc;

use serde_json::Value;

use super::{bundled_roots, parse};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_MANIFEST;
use crate::verify::policy::TrustPolicy;
use crate::verify::sigstore::{Instance, TrustedRoot};
use crate::verify::{Evidence, EvidenceContent, EvidenceItem, Question, Verdict, evaluate};

const SEED: &str = include_str!("seed.yaml");
const FABRICATED: &str = include_str!("fabricated.json");

struct World {
    fabricated: Value,
    policy: TrustPolicy,
}

impl World {
    /// The seed's policy, with the fabricated instance in the place of the public one.
    fn new() -> Self {
        let fabricated: Value = serde_json::from_str(FABRICATED).unwrap();
        let root = fabricated["trusted_root"].to_string();
        let root = Arc::new(TrustedRoot::parse(root.as_bytes(), Instance::Logged).unwrap());
        let roots = move |address: &str| (address == "https://rekor.sigstore.dev").then(|| Arc::clone(&root));
        let policy = parse(SEED.as_bytes(), &roots).unwrap();
        Self { fabricated, policy }
    }

    fn judge(&self, case: &str, repository: &str) -> Verdict {
        let image = self.fabricated["image"].as_str().unwrap();
        let mut evidence = Evidence::default();
        for bundle in self.fabricated["cases"][case].as_array().unwrap() {
            let bytes = bundle.to_string().into_bytes();
            let (manifest, digest) = (Digest::of(b"referrer"), Digest::of(&bytes));
            evidence.add(EvidenceItem { manifest, digest, content: EvidenceContent::SigstoreBundle(bytes) });
        }
        let target = Manifest::parse(image.as_bytes(), OCI_MANIFEST).unwrap();
        let local = repository.parse().unwrap();
        let question = Question {
            local: &local,
            original: None,
            tags: &[],
            target: &target,
            target_bytes: image.as_bytes(),
            images: &[],
        };
        evaluate(&self.policy, &question, &evidence, "2026-11-27T00:00:00Z".parse().unwrap())
    }
}

#[test]
fn the_seeds_policy_admits_what_it_means_and_no_near_miss() {
    let world = World::new();
    assert_eq!(world.judge("good", "registry.internal/app").refusal(), None);
    assert_eq!(world.judge("good", "registry.internal/team/app").refusal(), None);
    for (case, reason) in [
        (
            "issuer",
            "of issuer 'https://token.actions.githubusercontent.com/hammer-time', which this rule does not trust",
        ),
        ("organisation", "'https://github.com/myorg-evil/app"),
        ("build_type", "'buildDefinition.buildType' holds 'https://github.com/slsa-framework-evil/generic@v1'"),
        ("no_build_type", "'buildDefinition.buildType' holds nothing"),
        ("signature_alone", "no attestation of type 'https://slsa.dev/provenance/v1' was found"),
        ("provenance_alone", "an attestation is no signature"),
        ("copied_signature", "copied from elsewhere"),
        ("copied_provenance", "copied from elsewhere"),
    ] {
        let refusal = world.judge(case, "registry.internal/app").refusal().unwrap_or_else(|| panic!("{case} passes"));
        assert_eq!(refusal.rule, "verify-slsa-provenance/check-signature-and-provenance", "{case}");
        assert!(refusal.reason.contains(reason), "{case}: '{refusal}' does not say '{reason}'");
    }
    let elsewhere = world.judge("good", "registry.internal.evil/app").refusal().unwrap();
    assert_eq!(elsewhere.rule, "default");
}

#[test]
fn a_policy_file_is_told_by_its_beginning() {
    let policy = TrustPolicy::parse(SEED.as_bytes()).unwrap();
    assert_eq!(policy.digest(), &Digest::of(SEED.as_bytes()));
    assert_eq!((policy.rules().len(), policy.identities().len()), (1, 1));
    // By the root that comes with the release nothing fabricated is believed.
    let world = World { policy, ..World::new() };
    assert!(world.judge("good", "registry.internal/app").refusal().unwrap().reason.contains("not believed"));
}

#[test]
fn pitfall_10_the_seeds_pairing_of_names_is_understood_and_nothing_else_is_guessed() {
    // cosign's word for v0.2, asked about what only v1 has, means v1; without such a question it means v0.2.
    let without = SEED.replace("buildDefinition.buildType", "buildType");
    let policy = TrustPolicy::parse(without.as_bytes()).unwrap();
    assert_eq!(policy.rules()[0].attestations[0].predicate_type, "https://slsa.dev/provenance/v0.2");
    let policy = TrustPolicy::parse(SEED.as_bytes()).unwrap();
    assert_eq!(policy.rules()[0].attestations[0].predicate_type, "https://slsa.dev/provenance/v1");
}

#[track_caller]
fn refused(from: &str, to: &str, line: usize, reason: &str) {
    assert!(SEED.contains(from), "{from}");
    let error = parse(SEED.replacen(from, to, 1).as_bytes(), &bundled_roots).expect_err(to).to_string();
    let expected = format!("line {line}: ");
    assert!(error.contains(&expected) && error.contains(reason), "'{error}' does not say '{expected}' and '{reason}'");
}

#[test]
fn what_is_not_understood_is_refused_with_its_line_and_reason() {
    refused("kyverno.io/v1", "kyverno.io/v9", 1, "'apiVersion': 'kyverno.io/v9' is not read here");
    refused("kind: ClusterPolicy", "kind: Policy", 2, "expected ClusterPolicy");
    refused("validationFailureAction: Enforce", "validationFailureAction: Audit", 6, "only Enforce is taken");
    refused("  rules:", "  rulez:", 7, "did you mean 'rules'?");
    refused("[\"Pod\"]", "[\"Service\"]", 10, "not about Pods");
    refused("kinds: [\"Pod\"]", "kinds: [\"Pod\"], namespaces: [\"x\"]", 10, "field 'namespaces' in resources");
    refused("registry.internal/*", "registry.internal/app:v1", 12, "a tag stands in the image reference");
    refused("- keyless:", "- keyles:", 15, "did you mean 'keyless'?");
    refused("issuer: \"https", "issuerRegExp: \"https", 16, "regular expressions are not read");
    refused(
        "subject: \"https://github.com/myorg/*\"",
        "subject: \"https://github.com/myorg/?\"",
        17,
        "'subject': of patterns",
    );
    refused("https://rekor.sigstore.dev", "https://rekor.example", 18, "nothing is ever dialled");
    refused("type: slsaprovenance", "type: slsaprovenanse", 20, "is no type of attestation that is known");
    refused("buildDefinition.buildType }}", "buildDefinition.buildType | length(@) }}", 23, "expected one path");
    refused("operator: Equals", "operator: Equal", 24, "did you mean 'Equals'?");
    refused("operator: Equals", "operator: RegexMatch", 24, "operator': 'RegexMatch' is not known");
    refused("value: \"https", "values: \"https", 25, "did you mean 'value'?");
    refused("- all:", "- all: []\n                  any:", 22, "no list, or an empty one");
}

#[test]
fn keys_counts_and_nested_attestors_are_read() {
    let key = crate::verify::test_keys::TestKey::p256().public_pem();
    let indented: String = key.lines().map(|line| format!("                          {line}\n")).collect();
    let text = SEED.replacen(
        "            - entries:\n",
        &format!(
            "            - count: 1\n              entries:\n                - keys:\n                    publicKeys: |-\n{indented}                    rekor: {{ ignoreTlog: true }}\n                - attestor:\n                    entries:\n                      - keyless: {{ issuer: a, subject: \"b*\" }}\n            - entries:\n"
        ),
        1,
    );
    let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    assert_eq!((policy.keys().len(), policy.identities().len()), (1, 2));
    let set = &policy.rules()[0].signature.as_ref().unwrap().attestors;
    assert_eq!((set.count, set.members.len(), set.names().len()), (2, 2, 3));
}
