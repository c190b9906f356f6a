//! Which scope decides, whose signature counts under which name, and what is refused with its line.

use std::sync::Arc;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{bundled_roots, parse};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_MANIFEST;
use crate::oci::name::Tag;
use crate::verify::cosign_legacy::SIGNATURE_ANNOTATION;
use crate::verify::policy::TrustPolicy;
use crate::verify::sigstore::{Instance, TrustedRoot};
use crate::verify::test_keys::{TestKey, signature_statement};
use crate::verify::{Evidence, EvidenceContent, EvidenceItem, Question, Verdict, evaluate};

const IMAGE: &[u8] = br#"{"schemaVersion":2,"layers":[]}"#;

struct World {
    key: TestKey,
    other: TestKey,
    policy: TrustPolicy,
}

fn data(pem: &str) -> String {
    BASE64.encode(pem.as_bytes())
}

impl World {
    fn new() -> Self {
        let (key, other) = (TestKey::p256(), TestKey::p384());
        let signed = |identity: Value| json!([{"type": "sigstoreSigned", "keyData": data(&key.public_pem()), "signedIdentity": identity}]);
        let by_repository = || signed(json!({"type": "matchRepository"}));
        let policy = json!({
            "default": [{"type": "reject"}],
            "transports": {
                "docker-daemon": {"": [{"type": "insecureAcceptAnything"}]},
                "docker": {
                    "registry.example": by_repository(),
                    "registry.example/open": [{"type": "insecureAcceptAnything"}],
                    "registry.example/open/not": [{"type": "reject"}],
                    "registry.example/either": [{
                        "type": "sigstoreSigned",
                        "keyDatas": [data(&key.public_pem()), data(&other.public_pem())],
                        "signedIdentity": {"type": "matchRepository"},
                    }],
                    "registry.example/both": [by_repository()[0], {
                        "type": "sigstoreSigned",
                        "keyData": data(&other.public_pem()),
                        "signedIdentity": {"type": "matchRepository"},
                    }],
                    "*.example": [{"type": "insecureAcceptAnything"}],
                    "*.evil.example": [{"type": "reject"}],
                    "tagged": [{"type": "sigstoreSigned", "keyData": data(&key.public_pem())}],
                    "copies": signed(json!({"type": "remapIdentity", "prefix": "copies", "signedPrefix": "v.example:50"})),
                },
            },
        });
        let policy = TrustPolicy::parse(policy.to_string().as_bytes()).unwrap();
        Self { key, other, policy }
    }

    fn judge(&self, local: &str, original: Option<&str>, tags: &[&str], contents: Vec<EvidenceContent>) -> Verdict {
        let mut evidence = Evidence::default();
        for content in contents {
            evidence.add(EvidenceItem { manifest: Digest::of(b"m"), digest: Digest::of(b"d"), content });
        }
        let target = Manifest::parse(IMAGE, OCI_MANIFEST).unwrap();
        let original = original.map(|name| name.parse().unwrap());
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let question = Question {
            local: &local.parse().unwrap(),
            original: original.as_ref(),
            tags: &tags,
            target: &target,
            target_bytes: IMAGE,
            images: &[],
        };
        evaluate(&self.policy, &question, &evidence, jiff::Timestamp::UNIX_EPOCH)
    }

    /// The rule that refuses; nothing where the image may come in.
    #[track_caller]
    fn check(&self, local: &str, original: Option<&str>, contents: Vec<EvidenceContent>, expected: Option<&str>) {
        let refusal = self.judge(local, original, &[], contents).refusal();
        let rule = refusal.as_ref().map(|refusal| refusal.rule.as_str());
        assert_eq!(rule, expected, "{local} from {original:?}: {refusal:?}");
    }
}

/// A signature that says `name`.
fn signed(key: &TestKey, name: &str) -> EvidenceContent {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": Digest::of(IMAGE).to_string()},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = serde_json::to_vec(&payload).unwrap();
    let signature = BASE64.encode(&key.sign(&payload));
    EvidenceContent::CosignSignature { payload, annotations: [(SIGNATURE_ANNOTATION.to_owned(), signature)].into() }
}

#[test]
fn the_closest_scope_decides_alone() {
    let world = World::new();
    let check = |local: &str, expected: Option<&str>| world.check(local, None, Vec::new(), expected);
    check("elsewhere/app", Some("default"));
    check("registry.example/app", Some("docker:registry.example"));
    check("registry.example/open", None);
    check("registry.example/open/a/b", None);
    check("registry.example/opened", Some("docker:registry.example"));
    check("registry.example/open/not/a", Some("docker:registry.example/open/not"));
    check("other.example/a", None);
    check("other.example.org/a", Some("default"));
    check("example/a", Some("default"));
    check("very.evil.example/a", Some("docker:*.evil.example"));
    check("registry.example/both", Some("docker:registry.example/both 1"));
}

#[test]
fn giving_an_image_another_name_takes_no_rule_away() {
    let world = World::new();
    let (open, secured) = ("registry.example/open/a", "registry.example/app");
    world.check(open, Some(open), Vec::new(), None);
    // The name that it had asks for a signature, and of that name.
    world.check(open, Some(secured), Vec::new(), Some("docker:registry.example"));
    world.check(open, Some(secured), vec![signed(&world.key, secured)], None);
    // A claimed name opens nothing.
    world.check(secured, Some(open), Vec::new(), Some("docker:registry.example"));
    world.check("unnamed/a", Some(open), Vec::new(), Some("default"));
    world.check(open, Some("unnamed/a"), Vec::new(), Some("default"));
    // One scope for both names: a signature of one is none of the other.
    let other = "registry.example/other";
    world.check(secured, Some(other), vec![signed(&world.key, secured)], Some("docker:registry.example"));
    world.check(secured, Some(other), vec![signed(&world.key, secured), signed(&world.key, other)], None);
}

#[test]
fn keys_are_alternatives_and_requirements_add_up() {
    let world = World::new();
    let own = |key| signed(key, "registry.example/either");
    world.check("registry.example/either", None, vec![own(&world.other)], None);
    world.check("registry.example/either", None, vec![own(&world.key)], None);
    world.check("registry.example/either", None, vec![own(&TestKey::p256())], Some("docker:registry.example/either"));
    let own = |key| signed(key, "registry.example/both");
    world.check("registry.example/both", None, vec![own(&world.key)], Some("docker:registry.example/both 2"));
    world.check("registry.example/both", None, vec![own(&world.key), own(&world.other)], None);
}

#[test]
fn a_signature_of_another_name_does_not_count() {
    let world = World::new();
    let reason = |contents| world.judge("registry.example/app", None, &[], contents).refusal().unwrap().reason;
    let copied = reason(vec![signed(&world.key, "registry.example/app-old")]);
    assert!(copied.contains("it is a signature of 'registry.example/app-old'"), "{copied}");
    let bundle = world.key.bundle(&signature_statement(&Digest::of(IMAGE)));
    let nameless = reason(vec![EvidenceContent::SigstoreBundle(bundle)]);
    assert!(nameless.contains("does not say of which repository"), "{nameless}");
    world.check("registry.example/app", None, vec![signed(&world.key, "registry.example/app:any")], None);
    // Without signedIdentity every tag must have been signed.
    let check = |tags: &[&str], names: &[&str], expected: bool| {
        let contents = names.iter().map(|name| signed(&world.key, name)).collect();
        let refusal = world.judge("tagged", None, tags, contents).refusal();
        assert_eq!(refusal.is_none(), expected, "{tags:?} {names:?} {refusal:?}");
    };
    let (one, two) = ("tagged/x:1", "tagged/x:2");
    check(&[], &[one], false);
    // A name without a host is Docker's own, for those who sign as for those who verify.
    check(&[], &["tagged"], false);
    let check = |tags: &[&str], names: &[&str], expected: bool| {
        let contents = names.iter().map(|name| signed(&world.key, &name.replace("tagged", "v.example:50"))).collect();
        let refusal = world.judge("copies/x", None, tags, contents).refusal();
        assert_eq!(refusal.is_none(), expected, "{tags:?} {names:?} {refusal:?}");
    };
    check(&["1"], &[one], true);
    check(&["2"], &[one], false);
    check(&["1", "2"], &[one], false);
    check(&["1", "2"], &[one, two], true);
    check(&[], &[two], true);
    check(&[], &["tagged/y:1"], false);
}

const TEXT: &str = r#"{
"default": [{"type": "reject"}],
"transports": {
"docker": {
"a.example/b": [
{"type": "sigstoreSigned",
"keyData": "KEY",
"signedIdentity": {"type": "matchRepository"}}
]
}
}
}"#;

#[track_caller]
fn refused(from: &str, to: &str, line: usize, reason: &str) {
    let text = TEXT.replace("KEY", &data(&TestKey::p256().public_pem()));
    assert!(parse(text.as_bytes(), &bundled_roots).is_ok());
    assert!(text.contains(from), "{from}");
    let error = parse(text.replacen(from, to, 1).as_bytes(), &bundled_roots).expect_err(to).to_string();
    let expected = format!("line {line}: ");
    assert!(error.contains(&expected) && error.contains(reason), "'{error}' does not say '{expected}' and '{reason}'");
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_line_and_reason() {
    refused("\"default\": [{\"type\": \"reject\"}],", "", 1, "'default' is missing");
    refused("[{\"type\": \"reject\"}]", "[]", 2, "no list, or an empty one");
    refused("\"reject\"", "\"rejekt\"", 2, "'rejekt' is not known here");
    refused("{\"type\": \"reject\"}", "{\"typ\": \"reject\"}", 2, "'type' is missing");
    refused("\"reject\"", "\"reject\", \"x\": 1", 2, "field 'x' in a requirement");
    refused("\"transports\"", "\"transport\"", 3, "did you mean 'transports'?");
    refused("\"docker\"", "\"dokker\"", 4, "transport 'dokker' is not known");
    refused("a.example/b", "a.example/b:1.0", 5, "names a tag");
    refused("a.example/b", "a.example/b@sha256:00", 5, "names a digest");
    refused("a.example/b", "a.example:5000/b", 5, "names a port");
    refused("a.example/b", "*.a.example/b", 5, "stands a domain");
    refused("a.example/b", "*a.example", 5, "not valid");
    refused("a.example/b", "a.example/b/", 5, "not valid");
    refused("\"sigstoreSigned\"", "\"signedBy\", \"keyType\": \"GPGKeys\"", 6, "signatures by GPG are not verified");
    refused("\"keyData\":", "\"keyPath\":", 7, "`postern policy inline`");
    refused("\"keyData\": \"", "\"keyData\": \"!", 7, "no text in base64");
    refused("\"keyData\": \"", "\"keyData\": \"AAAA", 7, "not a PEM public key");
    refused("\"keyData\": \"", "\"keyDatas\": \"", 7, "no list");
    refused("\"keyData\": \"", "\"rekorPublicKeyData\": \"", 6, "exactly one of");
    refused("\"keyData\"", "\"rekorPublicKeyData\": \"\", \"keyData\"", 7, "an entry in a log is not demanded");
    refused("\"keyData\"", "\"pki\": {}, \"keyData\"", 7, "write TOML");
    refused("matchRepository", "matchRepo", 8, "'matchRepo' is not known here");
    let identity = |kind: &str, fields: &str, reason: &str| {
        refused("\"type\": \"matchRepository\"", &format!("\"type\": \"{kind}\"{fields}"), 8, reason);
    };
    identity("matchExact", ", \"prefix\": \"a\"", "field 'prefix'");
    identity("exactReference", "", "'dockerReference' is missing");
    identity("exactReference", ", \"dockerReference\": \"a.example/b\"", "a tag or a digest stands behind");
    identity("exactRepository", ", \"dockerRepository\": \"a.example/b:1\"", "no tag and no digest");
    identity(
        "remapIdentity",
        ", \"prefix\": \"a.example/\", \"signedPrefix\": \"b\"",
        "'prefix': expected the beginning",
    );
    identity(
        "remapIdentity",
        ", \"prefix\": \"a.example:5\", \"signedPrefix\": \"b\"",
        "'prefix': expected the beginning",
    );
    identity("remapIdentity", ", \"prefix\": \"a.example\"", "'signedPrefix' is missing");
    refused("]\n}\n}\n}", "]\n}\n}", 11, "not JSON");
}

/// The instance of Kyverno's tests: an authority, a log of certificates and a log of signatures.
fn fabricated() -> Value {
    serde_json::from_str(include_str!("../kyverno/fabricated.json")).unwrap()
}

fn pem(kind: &str, der: &str) -> String {
    format!("-----BEGIN {kind}-----\n{der}\n-----END {kind}-----\n")
}

/// A policy with the authority and the log of a trusted root, as podman's documentation shows it.
fn keyless(root: &Value, subject: &str) -> String {
    let chain = root["certificateAuthorities"].as_array().unwrap().last().unwrap()["certChain"]["certificates"].clone();
    let chain = chain.as_array().unwrap().iter().map(|one| pem("CERTIFICATE", one["rawBytes"].as_str().unwrap()));
    let log = pem("PUBLIC KEY", root["tlogs"][0]["publicKey"]["rawBytes"].as_str().unwrap());
    json!({"default": [{
        "type": "sigstoreSigned",
        "fulcio": {
            "caData": data(&chain.collect::<String>()),
            "oidcIssuer": "https://token.actions.githubusercontent.com",
            "subjectEmail": subject,
        },
        "rekorPublicKeyData": data(&log),
    }]})
    .to_string()
}

#[test]
fn an_authority_and_a_log_of_a_root_that_is_here_are_found_and_no_others() {
    let public: Value = serde_json::from_str(include_str!("../../sigstore/roots/public-good.json")).unwrap();
    let text = keyless(&public, "release@team.example");
    let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    assert_eq!(policy.identities().len(), 1);
    let fabricated = fabricated();
    let root = &fabricated["trusted_root"];
    let elsewhere = TrustPolicy::parse(keyless(root, "a").as_bytes()).unwrap_err().to_string();
    assert!(elsewhere.contains("of none of the instances"), "{elsewhere}");
    let check = |from: &str, to: &str, reason: &str| {
        let error = TrustPolicy::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    check("release@", "*@", "holds no '*'");
    check("rekorPublicKeyData", "rekorPublicKeyDatas", "no list");
    check("\"caData\"", "\"caPath\"", "'caPath': a file");
    check("subjectEmail", "subject", "field 'subject' in fulcio");
    let log = json!({"rekorPublicKeyData": data(&TestKey::p256().public_pem())}).to_string();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["default"][0]["rekorPublicKeyData"] =
        serde_json::from_str::<Value>(&log).unwrap()["rekorPublicKeyData"].clone();
    assert!(
        TrustPolicy::parse(other.to_string().as_bytes()).unwrap_err().to_string().contains("of none of the instances")
    );
    other["default"][0].as_object_mut().unwrap().remove("rekorPublicKeyData");
    assert!(TrustPolicy::parse(other.to_string().as_bytes()).unwrap_err().to_string().contains("the key of the log"));
}

/// A keyless signature is believed by what such a policy names, and then still lacks the name that is asked for.
#[test]
fn a_keyless_signature_is_verified_by_the_narrowed_root() {
    let fabricated = fabricated();
    let whole = fabricated["trusted_root"].to_string();
    let root = Arc::new(TrustedRoot::parse(whole.as_bytes(), Instance::Logged).unwrap());
    let roots = move || vec![Arc::clone(&root)];
    let subject = "https://github.com/myorg/app/.github/workflows/release.yml@refs/tags/v1";
    let image = fabricated["image"].as_str().unwrap();
    let judge = |case: &str| {
        let policy = parse(keyless(&fabricated["trusted_root"], subject).as_bytes(), &roots).unwrap();
        let mut evidence = Evidence::default();
        for bundle in fabricated["cases"][case].as_array().unwrap() {
            let bytes = bundle.to_string().into_bytes();
            let content = EvidenceContent::SigstoreBundle(bytes);
            evidence.add(EvidenceItem { manifest: Digest::of(b"m"), digest: Digest::of(b"d"), content });
        }
        let target = Manifest::parse(image.as_bytes(), OCI_MANIFEST).unwrap();
        let local = "registry.example/app".parse().unwrap();
        let question = Question {
            local: &local,
            original: None,
            tags: &[],
            target: &target,
            target_bytes: image.as_bytes(),
            images: &[],
        };
        evaluate(&policy, &question, &evidence, "2026-11-27T00:00:00Z".parse().unwrap()).refusal().unwrap().reason
    };
    let reason = judge("signature_alone");
    assert!(reason.contains("does not say of which repository"), "{reason}");
    let reason = judge("issuer");
    assert!(reason.contains("which this rule does not trust"), "{reason}");
}

#[test]
fn the_documented_example_is_a_policy() {
    let text = include_str!("../../../../docs/containers-policy.md");
    let (_, after) = text.split_once("```json\n").expect("a block of JSON");
    let (example, _) = after.split_once("```").expect("the end of the block");
    let policy = TrustPolicy::parse(example.as_bytes()).unwrap();
    assert_eq!((policy.rules().len(), policy.keys().len()), (4, 1));
}
