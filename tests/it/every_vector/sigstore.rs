//! Bundles around artifacts, and cosign's older signatures of images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use postern::oci::digest::{Algorithm, Digest};
use postern::verify::artifact::{Artifact, KeyValidity, Wanted, verify_bundle};
use postern::verify::identity_rule::IdentityRule;
use postern::verify::key::PublicKey;
use postern::verify::pattern::Pattern;
use postern::verify::sigstore::trusted_root::Span;
use postern::verify::sigstore::{Instance, TrustedRoot};
use serde_json::Value;

use super::{Case, Check, Expected, Judge, read};

/// When all questions are asked: after every vector was made.
pub fn now() -> jiff::Timestamp {
    "2026-11-27T00:00:00Z".parse().expect("a time")
}

pub fn root_path(case: &Case) -> PathBuf {
    match case.field("trusted_root") {
        Some(named) if case.path(named).is_file() => case.path(named),
        Some(named) if case.name.starts_with("keyless-private") => case.vectors.join("keyless-private").join(named),
        Some(other) => panic!("{}: no root '{other}'", case.name),
        None if case.name.starts_with("keyless-private") => case.vectors.join("keyless-private/trusted_root.json"),
        None => case.vectors.join("trusted-roots/sigstore-prod/trusted_root.json"),
    }
}

pub fn trusted_root(case: &Case) -> Result<TrustedRoot, String> {
    let instance = if case.expect["no_tlog"] == true && case.expect["no_sct"] == true {
        Instance::GitHub
    } else {
        Instance::Logged
    };
    TrustedRoot::parse(&read(&root_path(case)), instance).map_err(|error| error.to_string())
}

pub fn bundle_bytes(case: &Case) -> Vec<u8> {
    let name = if case.has("bundle.jsonl") { "bundle.jsonl" } else { "bundle.sigstore.json" };
    case.bytes(name)
}

pub fn rule(case: &Case) -> IdentityRule {
    let subject = match (case.field("identity"), case.field("identity_regexp")) {
        (Some(exact), _) => exact.to_owned(),
        (None, Some(prefix)) => format!("{}*", prefix.trim_start_matches('^')),
        (None, None) => "*".to_owned(),
    };
    IdentityRule {
        issuer: Pattern::new(case.field("issuer").unwrap_or("*")),
        subject: Pattern::new(&subject),
        claims: BTreeMap::new(),
    }
}

/// What the case says to be signed: a file, a text, a digest, or what the bundle itself names first.
pub fn artifact(case: &Case) -> (Option<Vec<u8>>, Option<Digest>) {
    if case.has("artifact") {
        return (Some(case.bytes("artifact")), None);
    }
    if let Some(text) = case.field("artifact_text") {
        return (Some(text.as_bytes().to_vec()), None);
    }
    if let Some(digest) = case.field("digest") {
        return (None, Some(format!("sha256:{digest}").parse().expect("a digest")));
    }
    let bundle: Value = serde_json::from_slice(&bundle_bytes(case)).expect("JSON");
    let decode =
        |value: &Value| data_encoding::BASE64.decode(value.as_str().expect("base64").as_bytes()).expect("base64");
    if case.expect["subject_from_message_digest"].is_string() || case.expect["subject_from_message_digest"] == true {
        let raw = decode(&bundle["messageSignature"]["messageDigest"]["digest"]);
        return (None, Some(Digest::from_raw(Algorithm::Sha256, &raw).expect("a digest")));
    }
    assert_eq!(case.expect["subject_from_statement"], true, "{}", case.name);
    let statement: Value = serde_json::from_slice(&decode(&bundle["dsseEnvelope"]["payload"])).expect("JSON");
    let digest = statement["subject"][0]["digest"].as_object().expect("digests").iter().next().expect("a digest");
    (None, Some(format!("{}:{}", digest.0, digest.1.as_str().expect("text")).parse().expect("a digest")))
}

pub fn bundle(case: &Case, judge: Judge) -> Vec<Check> {
    let (bytes, digest) = artifact(case);
    let artifact = match (&bytes, digest) {
        (Some(bytes), _) => Artifact::Bytes(bytes),
        (None, Some(digest)) => Artifact::Digest(digest),
        (None, None) => panic!("{}: nothing is said to be signed", case.name),
    };
    let mut checks = vec![judge.ask("bundle", case.expected(), || verify(case, artifact).map(|_| ()))];
    if case.expected() == Expected::Pass && case.field("key").is_none() {
        checks.push(
            judge.ask("another artifact", Expected::Fail, || verify(case, Artifact::Bytes(b"another")).map(|_| ())),
        );
        checks.extend(other_identities(case, judge, artifact));
    }
    // The one relaxation is GitHub's: its bundles pass by no root that demands logs.
    if case.expect["no_sct"] == true {
        checks.push(judge.ask("by rules that demand logs", Expected::Fail, || {
            let root =
                TrustedRoot::parse(&read(&root_path(case)), Instance::Logged).map_err(|error| error.to_string())?;
            let wanted = Wanted::Identity { root: &root, rule: &rule(case) };
            verify_bundle(&bundle_bytes(case), artifact, wanted).map(|_| ()).map_err(|error| error.to_string())
        }));
    }
    if case.expect["claims"].is_object() {
        checks.extend(claims(case, judge, artifact));
    }
    checks
}

pub fn verify(case: &Case, artifact: Artifact<'_>) -> Result<Option<postern::verify::sigstore::KeylessSigner>, String> {
    let root = trusted_root(case)?;
    let key = case.field("key").map(|file| PublicKey::parse_pem(&case.text(file)).expect("a key"));
    let rule = rule(case);
    let time = |value: &Value| value.as_str().expect("text").parse().expect("a time");
    let span =
        case.expect["key_valid_for"].as_array().map(|span| Span { start: time(&span[0]), end: Some(time(&span[1])) });
    let validity = KeyValidity { span, root: Some(&root), now: now() };
    let wanted = match &key {
        Some(key) => Wanted::Key { key, validity },
        None => Wanted::Identity { root: &root, rule: &rule },
    };
    let proved = verify_bundle(&bundle_bytes(case), artifact, wanted).map_err(|error| whole(&error))?;
    Ok(proved.signer)
}

fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", whole(source)),
        None => error.to_string(),
    }
}

/// Identities and issuers that are nearly the right ones.
fn other_identities(case: &Case, judge: Judge, artifact: Artifact<'_>) -> Vec<Check> {
    let Ok(Some(signer)) = verify(case, artifact) else { return Vec::new() };
    let (issuer, subject) = (signer.identity.issuer, signer.identity.subject);
    let near = [
        (format!("{issuer}/more"), subject.clone()),
        (issuer.strip_suffix(|_: char| true).unwrap_or("x").to_owned(), subject.clone()),
        (issuer.clone(), format!("{subject}x")),
        (issuer.clone(), subject[1..].to_owned()),
    ];
    let root = trusted_root(case).expect("a root");
    near.into_iter()
        .map(|(issuer, subject)| {
            let rule = IdentityRule {
                issuer: Pattern::new(&issuer),
                subject: Pattern::new(&subject),
                claims: BTreeMap::new(),
            };
            judge.ask(format!("identity {rule}"), Expected::Fail, || {
                verify_bundle(&bundle_bytes(case), artifact, Wanted::Identity { root: &root, rule: &rule }).map(|_| ())
            })
        })
        .collect()
}

/// Every claim that the case lists is in the certificate, and no other value of it passes.
fn claims(case: &Case, judge: Judge, artifact: Artifact<'_>) -> Vec<Check> {
    let ours = BTreeMap::from([
        ("githubWorkflowRef", "github_workflow_ref"),
        ("githubWorkflowRepository", "github_workflow_repository"),
        ("githubWorkflowSHA", "github_workflow_sha"),
        ("githubWorkflowTrigger", "github_workflow_trigger"),
        ("githubWorkflowName", "github_workflow_name"),
        ("sourceRepositoryOwnerURI", "source_repository_owner_uri"),
        ("sourceRepositoryIdentifier", "source_repository_identifier"),
        ("runnerEnvironment", "runner_environment"),
        ("sourceRepositoryVisibility", "source_repository_visibility"),
    ]);
    let mut checks = Vec::new();
    let root = trusted_root(case).expect("a root");
    for (name, value) in case.expect["claims"].as_object().expect("claims") {
        let name = *ours.get(name.as_str()).unwrap_or_else(|| panic!("claim {name}"));
        let value = value.as_str().expect("text");
        for (pattern, expected) in [(value.to_owned(), Expected::Pass), (format!("{value}x"), Expected::Fail)] {
            let mut rule = rule(case);
            rule.claims.insert(name, Pattern::new(&pattern));
            checks.push(judge.ask(format!("{name} {pattern}"), expected, || {
                verify_bundle(&bundle_bytes(case), artifact, Wanted::Identity { root: &root, rule: &rule }).map(|_| ())
            }));
        }
    }
    checks
}

/// A signature in cosign's older form: a manifest with annotations, and the payload beside it.
pub fn legacy(case: &Case, judge: Judge) -> Vec<Check> {
    super::registries::legacy_pair(case, judge)
}
