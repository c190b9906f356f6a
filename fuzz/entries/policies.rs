//! Policies in the ways in which other tools write them, tables of cases, and the layers that content rules look into.

use postern::admission::layer::look;
use postern::image_layout::layer;
use postern::oci::digest::Digest;
use postern::rego::Module;
use postern::verify::policy::cases;
use postern::verify::{TrustPolicy, located_json, strict_json, yaml};

use super::text;

pub const CONTAINERS: &str = include_str!("../seeds/containers-policy.json");

pub fn json_with_lines(bytes: &[u8]) {
    match located_json::parse(text(bytes)) {
        // Whatever is read here, the library reads too: there is no JSON of our own.
        Ok(_) => assert!(strict_json::parse(text(bytes).as_bytes()).is_ok()),
        Err(error) => assert!(error.line >= 1 && error.line <= 1 + bytes.iter().filter(|byte| **byte == b'\n').count()),
    }
}

pub const BINARY_AUTHORIZATION: &str = include_str!("../seeds/binary-authorization.toml");
pub const CASES: &str = include_str!("../../docs/policy-tests/cases.toml");

const CONTENT: &str = "version = 1\n[[rule]]\nname = \"r\"\nrepositories = [\"**\"]\n[rule.content]\nno_shell = true\nforbidden_paths = [\"usr/**\"]\n";

pub fn sample_layer() -> Vec<u8> {
    [layer::head(4), b"abcd".to_vec(), layer::tail(4)].concat()
}

pub fn layer_of_an_image(bytes: &[u8]) {
    let policy = TrustPolicy::parse(CONTENT.as_bytes()).expect("the sample policy is a policy");
    let local = "a".parse().expect("a repository name");
    let wanted = policy.content_wanted(&local, None).expect("its rule asks about content");
    // What is seen is what was asked about, and of these very bytes.
    if let Ok(found) = look(bytes, &Digest::of(bytes), &wanted) {
        assert!(found.paths.iter().all(|path| wanted.is_asked_about(path)));
    }
    assert!(look(bytes, &Digest::of(b"other bytes"), &wanted).is_err());
}

pub fn policy_cases(bytes: &[u8]) {
    match cases::parse(bytes) {
        Ok(table) => assert!(!table.cases.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub const REGO: &str = include_str!("../seeds/rule.rego");

/// Whatever is a module has an answer on an image, or a reason, and the same one again.
pub fn rego_module(bytes: &[u8]) {
    match Module::parse(text(bytes)) {
        Ok(module) => {
            let input =
                serde_json::json!({"time_ns": 1, "signatures": [{"keys": ["a"], "signer": "a"}], "attestations": []});
            assert_eq!(module.ask(&input), module.ask(&input));
        }
        Err(error) => assert!(error.line >= 1 && !error.reason.is_empty()),
    }
}

pub const KYVERNO: &str = include_str!("../seeds/kyverno.yaml");

pub fn policy(bytes: &[u8]) {
    if let Ok(policy) = TrustPolicy::parse(bytes) {
        assert_eq!(policy.digest(), &Digest::of(bytes));
    }
}

pub fn yaml_document(bytes: &[u8]) {
    if let Err(error) = yaml::parse(text(bytes)) {
        assert!(error.line >= 1 && error.line <= 1 + bytes.iter().filter(|byte| **byte == b'\n').count());
    }
}
