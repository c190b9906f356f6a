//! Modes and exemptions in a table, attestors by their keys, and what is refused with its line.

use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_MANIFEST;
use crate::verify::policy::TrustPolicy;
use crate::verify::test_keys::{TestKey, signature_statement};
use crate::verify::{Evidence, EvidenceContent, EvidenceItem, Question, evaluate};

const IMAGE: &[u8] = br#"{"schemaVersion":2,"layers":[]}"#;

const POLICY: &str = "\
globalPolicyEvaluationMode: DISABLE
admissionWhitelistPatterns:
- namePattern: gcr.io/tools/*
- namePattern: k8s.example/**
- namePattern: gcr.io/one/app:*
- namePattern: gcr.io/pre/fix-*
defaultAdmissionRule:
  evaluationMode: REQUIRE_ATTESTATION
  enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG
  requireAttestationsBy:
  - projects/p/attestors/built
  - projects/p/attestors/tested
clusterAdmissionRules:
  us-east1-a.trial:
    evaluationMode: ALWAYS_ALLOW
    enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG
  us-east1-a.closed:
    evaluationMode: ALWAYS_DENY
    enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG
name: projects/p/policy
";

struct World {
    keys: Vec<(&'static str, TestKey)>,
}

impl World {
    fn new() -> Self {
        Self { keys: ["built", "built-next", "tested"].map(|name| (name, TestKey::p256())).into() }
    }

    /// The policy begins on line 3.
    fn text(&self, cluster: &str, policy: &str, more: &str) -> String {
        let keys =
            self.keys.iter().map(|(name, key)| format!("[keys.{name}]\npem = \"\"\"{}\"\"\"\n", key.public_pem()));
        format!(
            "version = 1\nbinary_authorization.policy = '''\n{policy}'''\nbinary_authorization.cluster = \"{cluster}\"\n\
             [binary_authorization.attestors]\n\
             \"projects/p/attestors/built\" = [\"built\", \"built-next\"]\n\
             \"projects/p/attestors/tested\" = \"tested\"\n{}{more}",
            keys.collect::<String>()
        )
    }

    fn refusal(&self, text: &str, local: &str, original: Option<&str>, signers: &[&str]) -> Option<String> {
        let policy = TrustPolicy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let mut evidence = Evidence::default();
        for (name, key) in self.keys.iter().filter(|(name, _)| signers.contains(name)) {
            let content = EvidenceContent::SigstoreBundle(key.bundle(&signature_statement(&Digest::of(IMAGE))));
            evidence.add(EvidenceItem { manifest: Digest::of(b"m"), digest: Digest::of(name.as_bytes()), content });
        }
        let target = Manifest::parse(IMAGE, OCI_MANIFEST).unwrap();
        let original = original.map(|name| name.parse().unwrap());
        let question = Question {
            local: &local.parse().unwrap(),
            original: original.as_ref(),
            tags: &[],
            target: &target,
            target_bytes: IMAGE,
            images: &[],
        };
        let verdict = evaluate(&policy, &question, &evidence, jiff::Timestamp::UNIX_EPOCH);
        verdict.refusal().map(|refusal| refusal.rule)
    }
}

#[test]
fn every_attestor_must_have_signed_with_one_of_its_keys() {
    let world = World::new();
    let text = world.text("us-east1-a.none", POLICY, "");
    let check = |signers: &[&str], admitted: bool| {
        let expected = (!admitted).then(|| "defaultAdmissionRule".to_owned());
        assert_eq!(world.refusal(&text, "apps/a", None, signers), expected, "{signers:?}");
    };
    check(&[], false);
    check(&["built"], false);
    check(&["tested"], false);
    check(&["built", "built-next"], false);
    check(&["built", "tested"], true);
    check(&["built-next", "tested"], true);
}

#[test]
fn an_exemption_is_of_the_names_that_it_says_and_hides_no_other_name() {
    let world = World::new();
    let text = world.text("", POLICY, "");
    let check = |local: &str, original: Option<&str>, exempt: bool| {
        assert_eq!(world.refusal(&text, local, original, &[]).is_none(), exempt, "{local} {original:?}");
    };
    check("gcr.io/tools/a", None, true);
    check("gcr.io/tools/a/b", None, false);
    check("gcr.io/tools", None, false);
    check("gcr.io/toolsx/a", None, false);
    check("x/gcr.io/tools/a", None, false);
    check("k8s.example/a/b/c", None, true);
    check("k8s.example", None, false);
    check("gcr.io/one/app", None, true);
    check("gcr.io/one/app2", None, false);
    check("gcr.io/pre/fix-a", None, true);
    check("gcr.io/pre/fix", None, false);
    check("gcr.io/pre/fix-a/b", None, false);
    check("gcr.io/tools/a", Some("apps/a"), false);
    check("apps/a", Some("gcr.io/tools/a"), false);
    check("gcr.io/tools/a", Some("k8s.example/a"), true);
}

#[test]
fn modes_and_clusters_and_rules_of_ones_own() {
    let world = World::new();
    let check = |cluster: &str, more: &str, signers: &[&str], expected: Option<&str>| {
        let text = world.text(cluster, POLICY, more);
        assert_eq!(world.refusal(&text, "apps/a", None, signers).as_deref(), expected, "{cluster} {more}");
    };
    check("us-east1-a.trial", "", &[], None);
    check("us-east1-a.closed", "", &["built", "tested"], Some("clusterAdmissionRules us-east1-a.closed"));
    check("us-east1-a.other", "", &[], Some("defaultAdmissionRule"));
    let own = "[[rule]]\nname = \"own\"\nrepositories = [\"apps/*\"]\n[rule.signature]\nkeys = [\"tested\"]\n";
    check("us-east1-a.trial", own, &[], Some("own"));
    check("us-east1-a.trial", own, &["tested"], None);
    let alone = |mode: &str| {
        format!("defaultAdmissionRule:\n  evaluationMode: {mode}\n  enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG\n")
    };
    assert_eq!(world.refusal(&alone("ALWAYS_ALLOW"), "a", None, &[]), None);
    assert_eq!(world.refusal(&alone("ALWAYS_DENY"), "a", None, &[]).as_deref(), Some("defaultAdmissionRule"));
}

#[track_caller]
fn refused(from: &str, to: &str, line: usize, reason: &str) {
    assert!(POLICY.contains(from), "{from}");
    let text = World::new().text("us-east1-a.trial", &POLICY.replacen(from, to, 1), "");
    let error = TrustPolicy::parse(text.as_bytes()).expect_err(to).to_string();
    // Two lines of TOML stand before it.
    let expected = format!("line {}: ", line + 2);
    assert!(error.contains(&expected) && error.contains(reason), "'{error}' does not say '{expected}' and '{reason}'");
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_line_and_reason() {
    refused("DISABLE", "ENABLE", 1, "is not known here: write DISABLE");
    refused("namePattern: gcr.io/tools/*", "pattern: gcr.io/tools/*", 3, "field 'pattern' in a pattern");
    refused("gcr.io/tools/*", "gcr.io/*/tools", 3, "write ':*' behind it");
    refused("gcr.io/tools/*", "gcr.io/*/tools*", 3, "nowhere else");
    refused("gcr.io/tools/*", "gcr.io/tools**", 3, "nowhere else");
    refused("gcr.io/tools/*", "gcr.io/tools/app", 3, "write ':*' behind it");
    refused("gcr.io/tools/*", "gcr.io/tools/app:1.0", 3, "a tag or a digest");
    refused("gcr.io/tools/*", "gcr.io/tools/app@sha256:*", 3, "a tag or a digest");
    refused("defaultAdmissionRule", "defaultAdmissionRules", 7, "did you mean 'defaultAdmissionRule'?");
    refused("REQUIRE_ATTESTATION", "REQUIRE_SIGNATURE", 8, "'REQUIRE_SIGNATURE' is not known");
    refused("REQUIRE_ATTESTATION", "ALWAYS_ALLOW", 10, "only where REQUIRE_ATTESTATION");
    refused("ENFORCED_BLOCK_AND_AUDIT_LOG", "DRYRUN_AUDIT_LOG_ONLY", 9, "a trial run would let everything in");
    refused("attestors/built\n", "attestors/build\n", 11, "did you mean 'projects/p/attestors/built'?");
    refused("attestors/built\n", "attestors/tested\n", 12, "stands for two of the attestors");
    refused("ALWAYS_ALLOW", "ALWAYS_ALOW", 15, "'ALWAYS_ALOW' is not known");
    refused("name:", "istioServiceIdentityAdmissionRules: {a: {}}\nname:", 20, "a registry knows no namespaces");
    refused("name:", "nam:", 20, "field 'nam' in the document");
    refused("    evaluationMode: ALWAYS_DENY\n", "", 18, "'evaluationMode' is missing");
}

#[test]
fn what_stands_around_it_must_fit() {
    let world = World::new();
    let text = world.text("", POLICY, "");
    let check = |from: &str, to: &str, reason: &str| {
        let error = TrustPolicy::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "'{error}' does not say '{reason}'");
    };
    check("binary_authorization.cluster = \"\"\n", "", "line 16: a registry does not know which cluster asks");
    check("= \"tested\"", "= \"testet\"", "did you mean 'tested'?");
    check("= \"tested\"", "= []", "empty");
    check("version = 1\n", "version = 1\ndefault = \"admit\"\n", "line 2: 'default' stands beside");
    check("binary_authorization.cluster", "binary_authorization.clutser", "did you mean 'cluster'?");
    let (document, _) = POLICY.split_once("clusterAdmissionRules").unwrap();
    let alone = TrustPolicy::parse(document.as_bytes()).unwrap_err().to_string();
    assert!(alone.contains("line 11: whose key an attestor has"), "{alone}");
}

#[test]
fn the_documented_example_is_a_policy() {
    let text = include_str!("../../../../docs/binary-authorization.md");
    let (_, after) = text.split_once("```toml\n").expect("a block of TOML");
    let (example, _) = after.split_once("```").expect("the end of the block");
    let policy = TrustPolicy::parse(example.as_bytes()).unwrap();
    assert_eq!((policy.rules().len(), policy.keys().len()), (2, 2));
}
