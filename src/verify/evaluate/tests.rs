//! One image, one policy, and every way in which evidence can be good, missing or wrong.

mod rego;

use serde_json::Value;

use super::{Question, evaluate};
use crate::limits::EVIDENCE_DOCUMENTS_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_MANIFEST;
use crate::verify::cosign_legacy::{CERTIFICATE_ANNOTATION, SIGNATURE_ANNOTATION};
use crate::verify::policy::TrustPolicy;
use crate::verify::test_keys::{TestKey, provenance, signature_statement, simple_signing, statement};
use crate::verify::{Evidence, EvidenceContent, EvidenceItem, Outcome, Verdict};

const IMAGE: &[u8] = br#"{"schemaVersion":2,"layers":[]}"#;
const OTHER: &[u8] = br#"{"schemaVersion":2,"layers":[ ]}"#;

const RULES: &str = r#"
[[rule]]
name = "signed"
repositories = ["signed/**", "elsewhere.example/signed/*"]
[rule.signature]
keys = ["release"]

[[rule]]
name = "two of two"
repositories = ["two/**"]
[rule.signature]
keys = ["release", "build"]
count = 2

[[rule]]
name = "built"
repositories = ["built/**"]
[[rule.attestation]]
type = "https://slsa.dev/provenance/v1"
keys = ["build"]
builders = ["https://ci.example/*"]
build_types = ["https://ci.example/make"]
"#;

struct World {
    release: TestKey,
    build: TestKey,
    stranger: TestKey,
    policy: TrustPolicy,
}

impl World {
    fn new() -> Self {
        let (release, build) = (TestKey::p256(), TestKey::p384());
        let key = |name: &str, key: &TestKey| format!("[keys.{name}]\npem = \"\"\"{}\"\"\"\n", key.public_pem());
        let text = format!("version = 1\n{}{}{RULES}", key("release", &release), key("build", &build));
        let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
        Self { release, build, stranger: TestKey::p256(), policy }
    }

    fn judge(&self, local: &str, original: Option<&str>, contents: Vec<EvidenceContent>) -> Verdict {
        let mut evidence = Evidence::default();
        for (number, content) in contents.into_iter().enumerate() {
            let digest = Digest::of(&number.to_be_bytes());
            evidence.add(EvidenceItem { manifest: Digest::of(b"evidence"), digest, content });
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
        evaluate(&self.policy, &question, &evidence, jiff::Timestamp::UNIX_EPOCH)
    }

    #[track_caller]
    fn admits(&self, local: &str, contents: Vec<EvidenceContent>) {
        let verdict = self.judge(local, None, contents);
        assert_eq!(verdict.outcome(), Outcome::Passed, "{:?}", verdict.refusal());
    }

    #[track_caller]
    fn refuses(&self, local: &str, contents: Vec<EvidenceContent>, rule: &str, reason: &str) {
        let refusal = self.judge(local, None, contents).refusal().expect("a refusal");
        assert_eq!(refusal.rule, rule, "{refusal}");
        assert!(refusal.reason.contains(reason), "'{refusal}' does not say '{reason}'");
    }
}

fn bundle(key: &TestKey, statement: &Value) -> EvidenceContent {
    EvidenceContent::SigstoreBundle(key.bundle(statement))
}

fn legacy(key: &TestKey, image: &[u8]) -> EvidenceContent {
    let payload = simple_signing(&Digest::of(image));
    let signature = data_encoding::BASE64.encode(&key.sign(&payload));
    EvidenceContent::CosignSignature { payload, annotations: [(SIGNATURE_ANNOTATION.to_owned(), signature)].into() }
}

fn signed(key: &TestKey, image: &[u8]) -> EvidenceContent {
    bundle(key, &signature_statement(&Digest::of(image)))
}

#[test]
fn every_form_of_a_good_signature_is_taken() {
    let world = World::new();
    world.admits("signed/a", vec![signed(&world.release, IMAGE)]);
    world.admits("signed/a", vec![legacy(&world.release, IMAGE)]);
    world.admits("signed/a", vec![EvidenceContent::SigstoreBundle(world.release.message_bundle(IMAGE))]);
    let envelope = world.release.envelope(&signature_statement(&Digest::of(IMAGE)));
    world.admits("signed/a", vec![EvidenceContent::Envelope { bytes: envelope, annotations: Default::default() }]);
    world.admits("two/a", vec![signed(&world.release, IMAGE), legacy(&world.build, IMAGE)]);
}

#[test]
fn each_way_of_not_being_signed_has_its_own_words() {
    let world = World::new();
    let check = |contents, reason: &str| world.refuses("signed/a", contents, "signed", reason);
    check(vec![], "not signed: no signature was found, wanted is key 'release'");
    check(vec![signed(&world.stranger, IMAGE)], "wrong key: the signature was made by none of the policy's keys");
    check(vec![legacy(&world.stranger, IMAGE)], "wrong key");
    check(
        vec![signed(&world.build, IMAGE)],
        "signed by key 'build', which this rule does not trust: wanted is key 'release'",
    );
    let copied =
        format!("by key 'release' was copied from elsewhere: it is about another image, '{}'", Digest::of(OTHER));
    check(vec![signed(&world.release, OTHER)], &copied);
    check(vec![legacy(&world.release, OTHER)], &copied);
    check(vec![EvidenceContent::SigstoreBundle(world.release.message_bundle(OTHER))], "wrong key");
    let attested = provenance(&Digest::of(IMAGE), "https://ci.example/1", "https://ci.example/make");
    check(vec![bundle(&world.release, &attested)], "an attestation is no signature");
    check(vec![EvidenceContent::Unusable("it is gone".to_owned())], "cannot be used: it is gone");
    check(vec![EvidenceContent::SigstoreBundle(b"{}".to_vec())], "cannot be used: bundle is not of Sigstore's form");
    let mut keyless = legacy(&world.stranger, IMAGE);
    let EvidenceContent::CosignSignature { annotations, .. } = &mut keyless else { panic!("a legacy signature") };
    annotations.insert(CERTIFICATE_ANNOTATION.to_owned(), "-----BEGIN CERTIFICATE-----".to_owned());
    check(vec![keyless], "keyless");
}

/// Pitfall 5.
#[test]
fn a_broken_signature_hides_no_good_one() {
    let world = World::new();
    let bad = || signed(&world.stranger, IMAGE);
    let garbage = || EvidenceContent::Envelope { bytes: vec![0xff; 100], annotations: Default::default() };
    world.admits("signed/a", vec![bad(), garbage(), signed(&world.release, IMAGE)]);
    world.admits("signed/a", vec![signed(&world.release, IMAGE), garbage(), bad()]);
    let verdict = world.judge("signed/a", None, vec![bad(), signed(&world.release, IMAGE)]);
    let text = serde_json::to_string(&verdict).unwrap();
    assert!(text.contains(r#""action":"logged""#) && text.contains(r#""outcome":"passed""#), "{text}");
}

#[test]
fn a_key_counts_once() {
    let world = World::new();
    let twice = vec![signed(&world.release, IMAGE), legacy(&world.release, IMAGE)];
    world.refuses("two/a", twice, "two of two", "signed by 'release' only, wanted is 2 of the keys 'release', 'build'");
}

#[test]
fn provenance_must_satisfy_the_whole_rule_at_once() {
    let world = World::new();
    let image = Digest::of(IMAGE);
    let made = |builder: &str, build_type: &str| bundle(&world.build, &provenance(&image, builder, build_type));
    let check = |contents, reason: &str| world.refuses("built/a", contents, "built", reason);
    let good = || made("https://ci.example/1", "https://ci.example/make");
    world.admits("built/a", vec![good()]);
    world.admits("built/a", vec![made("https://evil.example", "x"), good()]);
    check(vec![], "no attestation of type 'https://slsa.dev/provenance/v1' was found, wanted is one by key 'build'");
    check(
        vec![made("https://evil.example/ci.example/", "https://ci.example/make")],
        "wrong builder: the provenance says 'https://evil.example/ci.example/', wanted is 'https://ci.example/*'",
    );
    check(vec![made("https://ci.example/1", "https://ci.example/other")], "wrong build type");
    // Half a condition from each of two is no condition satisfied.
    check(vec![made("https://ci.example/1", "x"), made("y", "https://ci.example/make")], "wrong builder");
    let empty = statement(&image, "https://slsa.dev/provenance/v1", &serde_json::json!({}));
    check(vec![bundle(&world.build, &empty)], "has none at 'runDetails.builder.id'");
    let older = statement(&image, "https://slsa.dev/provenance/v0.2", &serde_json::json!({}));
    check(vec![bundle(&world.build, &older)], "there are attestations of type 'https://slsa.dev/provenance/v0.2'");
    let by = |key: &TestKey, image: &[u8]| {
        bundle(key, &provenance(&Digest::of(image), "https://ci.example/1", "https://ci.example/make"))
    };
    check(vec![by(&world.release, IMAGE)], "made by key 'release', which this rule does not trust");
    check(vec![by(&world.stranger, IMAGE)], "wrong key");
    check(vec![by(&world.build, OTHER)], "copied from elsewhere");
    check(vec![signed(&world.build, IMAGE)], "no attestation of type");
}

#[test]
fn a_claimed_name_adds_rules_and_nothing_else() {
    let world = World::new();
    let check = |local: &str, original: &str, contents, expected: Option<&str>| {
        let refusal = world.judge(local, Some(original), contents).refusal();
        assert_eq!(refusal.map(|refusal| refusal.rule).as_deref(), expected, "{local} from {original}");
    };
    let good = || vec![signed(&world.release, IMAGE)];
    check("free", "elsewhere.example/signed/a", good(), Some("default"));
    check("signed/a", "anything", good(), None);
    check("signed/a", "built/a", good(), Some("built"));
    check("signed/a", "elsewhere.example/signed/a", good(), None);
    check("free", "free", good(), Some("default"));
}

#[test]
fn too_much_evidence_denies_even_beside_a_good_signature() {
    let world = World::new();
    let mut contents = vec![signed(&world.release, IMAGE)];
    contents.resize_with(EVIDENCE_DOCUMENTS_COUNT_MAX + 1, || EvidenceContent::Envelope {
        bytes: Vec::new(),
        annotations: Default::default(),
    });
    world.refuses("signed/a", contents, "evidence-limit", "more evidence");
}

#[test]
fn only_a_passed_verdict_admits_and_only_what_it_judged() {
    let world = World::new();
    let passed = std::sync::Arc::new(world.judge("signed/a", None, vec![signed(&world.release, IMAGE)]));
    let image = || Manifest::parse(IMAGE, OCI_MANIFEST).unwrap();
    assert_eq!(passed.admit(image()).unwrap().get().digest, Digest::of(IMAGE));
    assert_eq!(passed.admit(Manifest::parse(OTHER, OCI_MANIFEST).unwrap()).unwrap_err().rule, "integrity");
    let failed = std::sync::Arc::new(world.judge("signed/a", None, vec![]));
    assert_eq!(failed.admit(image()).unwrap_err().rule, "signed");
}

/// A policy whose keys count for a span of time, and which denies some things.
fn restricted(world: &World, more: &str) -> World {
    let span = "from = \"2026-01-01T00:00:00Z\"\nuntil = \"2026-12-31T00:00:00Z\"\n";
    let key = |name: &str, key: &TestKey| format!("[keys.{name}]\npem = \"\"\"{}\"\"\"\n", key.public_pem());
    let (release, build) = (key("release", &world.release), key("build", &world.build));
    let text = format!("version = 1\n{release}{span}{build}{RULES}{more}");
    let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    World { policy, ..World::new() }
}

impl World {
    fn judge_at(&self, local: &str, contents: Vec<EvidenceContent>, now: &str) -> Verdict {
        let mut evidence = Evidence::default();
        for content in contents {
            evidence.add(EvidenceItem { manifest: Digest::of(b"evidence"), digest: Digest::of(b"document"), content });
        }
        let target = Manifest::parse(IMAGE, OCI_MANIFEST).unwrap();
        let question = Question {
            local: &local.parse().unwrap(),
            original: None,
            tags: &[],
            target: &target,
            target_bytes: IMAGE,
            images: &[],
        };
        evaluate(&self.policy, &question, &evidence, now.parse().unwrap())
    }
}

#[test]
fn a_key_with_an_end_counts_until_then() {
    let world = World::new();
    let restricted = restricted(&world, "");
    let check = |now: &str, expected: Option<&str>| {
        let verdict = restricted.judge_at("signed/a", vec![signed(&world.release, IMAGE)], now);
        let reason = verdict.refusal().map(|refusal| refusal.reason);
        assert_eq!(reason.is_none(), expected.is_none(), "{now}: {reason:?}");
        assert!(expected.is_none_or(|text| reason.as_ref().is_some_and(|reason| reason.contains(text))), "{reason:?}");
    };
    check("2026-06-01T00:00:00Z", None);
    check("2027-01-01T00:00:00Z", Some("does not count: key 'release': the key was not valid at 2027-01-01"));
    check("1970-01-01T00:00:00Z", Some("does not count"));
    check("2099-01-01T00:00:00Z", Some("does not count"));
}

/// Pitfall 11: what is denied is denied whatever its signatures say, and from when to when the list says.
#[test]
fn pitfall_11_the_deny_list_names_images_and_keys() {
    let world = World::new();
    let image = Digest::of(IMAGE);
    let deny = |what: &str| {
        format!(
            "[[deny]]\n{what}\nreason = \"stolen\"\nfrom = \"2026-03-01T00:00:00Z\"\nuntil = \"2026-09-01T00:00:00Z\"\n"
        )
    };
    let key = crate::verify::key::PublicKey::parse_pem(&world.release.public_pem()).unwrap();
    for (what, rule) in
        [(format!("digest = \"{image}\""), "deny-list"), (format!("key = \"{}\"", key.fingerprint()), "signed")]
    {
        let restricted = restricted(&world, &deny(&what));
        for (now, denied) in
            [("2026-02-01T00:00:00Z", false), ("2026-06-01T00:00:00Z", true), ("2026-10-01T00:00:00Z", false)]
        {
            let verdict = restricted.judge_at("signed/a", vec![signed(&world.release, IMAGE)], now);
            let refusal = verdict.refusal();
            assert_eq!(refusal.as_ref().map(|refusal| refusal.rule.as_str()), denied.then_some(rule), "{what} {now}");
            assert!(refusal.is_none_or(|refusal| refusal.reason.contains("stolen")));
        }
    }
    // Even where everything else is admitted.
    let text = format!("version = 1\ndefault = \"admit\"\n[[deny]]\ndigest = \"{image}\"\nreason = \"stolen\"\n");
    let open = World { policy: TrustPolicy::parse(text.as_bytes()).unwrap(), ..World::new() };
    assert_eq!(open.judge("free", None, Vec::new()).refusal().unwrap().rule, "deny-list");
}

#[test]
fn conditions_are_asked_of_what_was_signed() {
    let world = World::new();
    let more = r#"
[[rule]]
name = "scanned"
repositories = ["scanned/**"]
[[rule.attestation]]
type = "https://example.test/scan"
keys = ["build"]
[rule.attestation.conditions]
all = [
  { path = "critical", operator = "LessThanOrEquals", value = 0 },
  { path = "licences", operator = "AllNotIn", value = ["AGPL-*"] },
]
"#;
    let restricted = restricted(&world, more);
    let scan = |predicate: Value| {
        bundle(&world.build, &statement(&Digest::of(IMAGE), "https://example.test/scan", &predicate))
    };
    let check = |predicate: Value, expected: Option<&str>| {
        let verdict = restricted.judge_at("scanned/a", vec![scan(predicate)], "2026-06-01T00:00:00Z");
        let reason = verdict.refusal().map(|refusal| refusal.reason);
        assert_eq!(reason.is_none(), expected.is_none(), "{reason:?}");
        assert!(expected.is_none_or(|text| reason.as_ref().is_some_and(|reason| reason.contains(text))), "{reason:?}");
    };
    check(serde_json::json!({"critical": 0, "licences": ["MIT"]}), None);
    check(serde_json::json!({"critical": 1, "licences": ["MIT"]}), Some("'critical' holds 1"));
    check(serde_json::json!({"critical": 0, "licences": ["AGPL-3.0"]}), Some("'licences' holds 'AGPL-3.0'"));
    check(serde_json::json!({"critical": 0}), Some("'licences' holds nothing"));
}

/// Pitfall 3, and what BuildKit puts into an index: neither is a signature, and nobody's word proves a builder.
#[test]
fn an_unsigned_attestation_proves_nothing() {
    let world = World::new();
    let made = provenance(&Digest::of(IMAGE), "https://ci.example/1", "https://ci.example/make");
    let unsigned = || vec![EvidenceContent::Unsigned(serde_json::to_vec(&made).unwrap())];
    world.refuses("built/a", unsigned(), "built", "it lies in the index and nobody signed it");
    world.refuses("signed/a", unsigned(), "signed", "only an unsigned attestation lies in the index");
}

/// Pitfall 6: one signature, the exact type of payload, and no key twice.
#[test]
fn pitfall_6_an_envelope_that_two_could_read_differently_is_none() {
    let world = World::new();
    let good = String::from_utf8(world.release.envelope(&signature_statement(&Digest::of(IMAGE)))).unwrap();
    let envelope =
        |text: String| vec![EvidenceContent::Envelope { bytes: text.into_bytes(), annotations: Default::default() }];
    world.admits("signed/a", envelope(good.clone()));
    let check = |from: &str, to: &str, reason: &str| {
        assert!(good.contains(from), "{good}");
        world.refuses("signed/a", envelope(good.replacen(from, to, 1)), "signed", reason);
    };
    check("\"signatures\":[", "\"signatures\":[{\"sig\":\"AAAA\"},", "2 signatures");
    check("in-toto+json", "in-toto+jsonx", "of type 'application/vnd.in-toto+jsonx'");
    check("{\"payloadType\"", "{\"payload\":\"e30=\",\"payloadType\"", "not valid JSON");
}

/// In Kyverno's policies every attestation of the type by those named must hold: what a scanner said on Monday does not outvote
/// what it says on Friday. In ours one is enough.
#[test]
fn in_kyvernos_policies_no_attestation_outvotes_another() {
    const SCAN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
    let mut world = World::new();
    let indented: String =
        world.build.public_pem().lines().map(|line| format!("                          {line}\n")).collect();
    let kyverno = format!(
        "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: scan
spec:
  validationFailureAction: Enforce
  rules:
    - name: scanned
      match:
        any:
          - resources:
              kinds:
                - Pod
      verifyImages:
        - imageReferences:
            - \"registry.example/app*\"
          attestations:
            - type: {SCAN}
              attestors:
                - entries:
                    - keys:
                        publicKeys: |-
{indented}                        rekor: {{ ignoreTlog: true }}
              conditions:
                - all:
                    - key: \"{{{{ critical }}}}\"
                      operator: Equals
                      value: 0
"
    );
    let ours = format!(
        "version = 1\n[keys.build]\npem = '''{}'''\n[[rule]]\nname = 'scanned'\nrepositories = ['registry.example/app']\n\
         [[rule.attestation]]\ntype = '{SCAN}'\nkeys = ['build']\n\
         [rule.attestation.conditions]\npath = 'critical'\noperator = 'Equals'\nvalue = 0\n",
        world.build.public_pem()
    );
    let scan = |key: &TestKey, critical: u32| {
        let predicate = serde_json::json!({"critical": critical});
        bundle(key, &statement(&Digest::of(IMAGE), SCAN, &predicate))
    };
    let local = "registry.example/app";
    world.policy = TrustPolicy::parse(kyverno.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let rule = world.policy.rules()[0].name().to_owned();
    world.admits(local, vec![scan(&world.build, 0)]);
    world.admits(local, vec![scan(&world.build, 0), scan(&world.stranger, 3)]);
    for both in [[0, 3], [3, 0]] {
        let both = both.map(|critical| scan(&world.build, critical)).into();
        world.refuses(local, both, &rule, "a condition on the attestation");
    }
    world.policy = TrustPolicy::parse(ours.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    world.admits(local, vec![scan(&world.build, 3), scan(&world.build, 0)]);
    world.refuses(local, vec![scan(&world.build, 3)], "scanned", "a condition on the attestation");
}
