//! Modules of Rego, asked about images whose evidence is good, missing or wrong.

use serde_json::json;

use super::super::{Question, evaluate};
use super::{IMAGE, OTHER, World, bundle, signed};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_MANIFEST;
use crate::verify::content::{ImageConfig, ImageContent};
use crate::verify::policy::TrustPolicy;
use crate::verify::test_keys::{TestKey, statement};
use crate::verify::{Evidence, EvidenceContent, EvidenceItem, Outcome, Verdict};

const NOW: &str = "2026-11-30T00:00:00Z";

fn policy(world: &World, module: &str) -> TrustPolicy {
    let key = |name: &str, key: &TestKey| format!("[keys.{name}]\npem = \"\"\"{}\"\"\"\n", key.public_pem());
    let text = format!(
        "version = 1\n{}{}\n[[rule]]\nname = \"asked\"\nrepositories = [\"apps/*\"]\n[rule.rego]\nmodule = '''\n{module}\n'''\n",
        key("release", &world.release),
        key("build", &world.build)
    );
    TrustPolicy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn image(config: Result<ImageConfig, String>) -> ImageContent {
    ImageContent { manifest: Digest::of(IMAGE), config, files: Err("not looked into".to_owned()) }
}

fn good_image() -> ImageContent {
    let config =
        json!({"os": "linux", "architecture": "amd64", "config": {"User": "1000", "Labels": {"team": "core"}}});
    image(ImageConfig::parse(config.to_string().as_bytes()))
}

fn judge(policy: &TrustPolicy, images: &[ImageContent], contents: Vec<EvidenceContent>) -> Verdict {
    let mut evidence = Evidence::default();
    for (number, content) in contents.into_iter().enumerate() {
        let digest = Digest::of(&number.to_be_bytes());
        evidence.add(EvidenceItem { manifest: Digest::of(b"evidence"), digest, content });
    }
    let target = Manifest::parse(IMAGE, OCI_MANIFEST).unwrap();
    let (local, original, tags) =
        ("apps/a".parse().unwrap(), "far.example/a".parse().unwrap(), ["1.0".parse().unwrap()]);
    let question = Question {
        local: &local,
        original: Some(&original),
        tags: &tags,
        target: &target,
        target_bytes: IMAGE,
        images,
    };
    evaluate(policy, &question, &evidence, NOW.parse().unwrap())
}

/// Why it is refused; nothing where it comes in.
fn refusal(world: &World, condition: &str, contents: Vec<EvidenceContent>) -> Option<String> {
    let module = format!("package postern\ndefault allow := false\nallow if {{\n{condition}\n}}");
    let verdict = judge(&policy(world, &module), &[good_image()], contents);
    assert_eq!(verdict.outcome() == Outcome::Passed, verdict.refusal().is_none());
    verdict.refusal().map(|refusal| refusal.reason)
}

fn vulnerabilities(key: &TestKey, image: &[u8], critical: u64) -> EvidenceContent {
    let predicate = json!({"critical": critical, "scanned": "2026-11-29T00:00:00Z"});
    bundle(key, &statement(&Digest::of(image), "https://scan.example/v1", &predicate))
}

#[test]
fn a_module_sees_the_image() {
    let world = World::new();
    for condition in [
        "input.version == 1",
        "input.time == \"2026-11-30T00:00:00Z\"",
        "input.time_ns == time.parse_rfc3339_ns(input.time)",
        "input.image.repository == \"apps/a\"",
        "input.image.original == \"far.example/a\"",
        "input.image.names == [\"apps/a\"]",
        "input.image.tags == [\"1.0\"]",
        "startswith(input.image.digest, \"sha256:\")",
        "input.image.media_type == \"application/vnd.oci.image.manifest.v1+json\"",
        "count(input.image.manifest.layers) == 0",
        "every platform in input.image.platforms { platform.user == \"1000\" }",
        "input.image.platforms[0].platform == \"linux/amd64\"",
        "input.image.platforms[0].labels.team == \"core\"",
        "not input.image.platforms[0].base_created",
    ] {
        assert_eq!(refusal(&world, condition, Vec::new()), None, "{condition}");
    }
}

#[test]
fn a_module_sees_only_what_was_verified_and_is_about_this_image() {
    let world = World::new();
    let by_release = "some s in input.signatures\n\"release\" in s.keys";
    let cases = [
        (by_release, vec![signed(&world.release, IMAGE)], true),
        (by_release, vec![signed(&world.build, IMAGE)], false),
        (by_release, vec![signed(&world.release, OTHER)], false),
        ("count(input.signatures) == 0", vec![signed(&world.stranger, IMAGE), signed(&world.release, OTHER)], true),
        ("count({s.signer | some s in input.signatures}) >= 2", vec![signed(&world.release, IMAGE); 3], false),
        (
            "count({s.signer | some s in input.signatures}) >= 2",
            vec![signed(&world.release, IMAGE), signed(&world.build, IMAGE)],
            true,
        ),
        // An attestation is no signature.
        (
            "count(input.signatures) == 0\ncount(input.attestations) == 1",
            vec![vulnerabilities(&world.build, IMAGE, 0)],
            true,
        ),
        ("count(input.attestations) == 0", vec![vulnerabilities(&world.stranger, IMAGE, 0)], true),
        ("count(input.attestations) == 0", vec![vulnerabilities(&world.build, OTHER, 0)], true),
    ];
    for (condition, contents, expected) in cases {
        let refusal = refusal(&world, condition, contents);
        assert_eq!(refusal.is_none(), expected, "{condition}: {refusal:?}");
    }
}

const SCANNED: &str = r#"some a in input.attestations
a.predicate_type == "https://scan.example/v1"
"build" in a.keys
a.predicate.critical == 0
input.time_ns - time.parse_rfc3339_ns(a.predicate.scanned) < 172800000000000"#;

#[test]
fn a_module_looks_into_attestations() {
    let world = World::new();
    let judge = |contents| refusal(&world, SCANNED, contents);
    assert_eq!(judge(vec![vulnerabilities(&world.build, IMAGE, 0)]), None);
    let denied = Some("its module of Rego does not allow it".to_owned());
    assert_eq!(judge(vec![vulnerabilities(&world.build, IMAGE, 1)]), denied);
    assert_eq!(judge(vec![vulnerabilities(&world.release, IMAGE, 0)]), denied);
    assert_eq!(judge(Vec::new()), denied);
}

#[test]
fn what_a_module_denies_is_told() {
    let world = World::new();
    let module = "package postern\nallow := true\ndeny contains sprintf(\"user is %s\", [p.user]) if {\nsome p in input.image.platforms\np.user != \"0\"\n}";
    let verdict = judge(&policy(&world, module), &[good_image()], Vec::new());
    let refusal = verdict.refusal().unwrap();
    assert_eq!(
        (refusal.rule.as_str(), refusal.reason.as_str()),
        ("asked", "its module of Rego denies it: user is 1000")
    );
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let world = World::new();
    let policy = policy(&world, "package postern\nallow := true");
    assert_eq!(judge(&policy, &[good_image()], Vec::new()).outcome(), Outcome::Passed);
    let refused = |images: &[ImageContent]| judge(&policy, images, Vec::new()).refusal().unwrap().reason;
    assert!(refused(&[]).contains("nothing of the image is here"));
    // Another key than the one that is looked at could say who the user is.
    let folded = ImageConfig::parse(br#"{"config": {"user": "0"}}"#);
    assert!(refused(&[good_image(), image(folded)]).contains("take for another one"));
}

#[test]
fn the_rest_of_a_rule_counts_too() {
    let world = World::new();
    let key = world.release.public_pem();
    let text = format!(
        "version = 1\n[keys.release]\npem = \"\"\"{key}\"\"\"\n[[rule]]\nname = \"both\"\nrepositories = [\"apps/*\"]\n\
         [rule.signature]\nkeys = [\"release\"]\n[rule.rego]\nmodule = \"package postern\\nallow if count(input.signatures) == 1\"\n"
    );
    let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    let outcome = |contents| judge(&policy, &[good_image()], contents).refusal().map(|refusal| refusal.reason);
    assert_eq!(outcome(vec![signed(&world.release, IMAGE)]), None);
    assert!(outcome(Vec::new()).unwrap().starts_with("not signed"));
    assert!(outcome(vec![signed(&world.release, IMAGE); 2]).unwrap().contains("does not allow it"));
}

/// A module that goes wrong on one image is no answer about it.
#[test]
fn an_error_is_a_denial() {
    let world = World::new();
    let condition = "not time.parse_rfc3339_ns(input.attestations[0].predicate.scanned) < 1";
    let predicate = json!({"scanned": "yesterday"});
    let bad = bundle(&world.build, &statement(&Digest::of(IMAGE), "https://scan.example/v1", &predicate));
    let reason = refusal(&world, condition, vec![bad]).unwrap();
    assert!(
        reason.starts_with("its module of Rego has no answer: line 4 of the module: 'yesterday' is no time"),
        "{reason}"
    );
}

#[test]
fn a_module_is_refused_with_the_line_of_the_file() {
    let text = "version = 1\n[[rule]]\nname = \"asked\"\nrepositories = [\"a\"]\n[rule.rego]\nmodule = '''\npackage postern\nallow if http.send({})\n'''\n";
    let error = TrustPolicy::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("line 8") && error.contains("rule 'asked', rego: function 'http.send'"), "{error}");
    for (rego, reason) in
        [("", "module"), ("module = ''", "package"), ("module = 'package postern\\nallow := true'\nx = 1", "'x'")]
    {
        let text = format!("version = 1\n[[rule]]\nname = \"asked\"\nrepositories = [\"a\"]\n[rule.rego]\n{rego}\n");
        let error = TrustPolicy::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{rego}: {error}");
    }
}

/// Every module in the document can be activated.
#[test]
fn the_documented_modules_are_policies() {
    let text = include_str!("../../../../docs/rego.md");
    let examples: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let policy = TrustPolicy::parse(example.as_bytes()).unwrap_or_else(|error| panic!("{example}: {error}"));
        assert!(policy.rules().iter().any(|rule| rule.rego.is_some()) && policy.looks_at_age());
    }
    // What may be called is listed there.
    for name in crate::rego::functions() {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
