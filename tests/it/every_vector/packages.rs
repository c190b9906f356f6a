//! Attestations of packages and builds, as their registries serve them. Postern serves images; what is asked here is that the
//! same verification holds for documents that others made in other ways.

use std::collections::BTreeMap;

use postern::dsse::Envelope;
use postern::oci::digest::{Algorithm, Digest};
use postern::verify::artifact::{Artifact, KeyValidity, Wanted, verify_bundle};
use postern::verify::condition::text_at;
use postern::verify::identity_rule::IdentityRule;
use postern::verify::key::PublicKey;
use postern::verify::pattern::Pattern;
use postern::verify::sigstore::{Instance, TrustedRoot};
use postern::verify::statement::Statement;
use serde_json::{Value, json};

use super::sigstore::now;
use super::{Case, Check, Expected, Judge, read};

const PUBLISH: &str = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1";
/// Of the registry, which signs what was published; stands in the TUF repository of the public-good instance.
const NPM_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1Olb3zMAFFxXKHiIkQO5cJ3Yhl5i
6UPp+IhuteBJbuHcA5UogKo0EWtlWwW6KSaKoTNEYL7JlCQiVnkhBktUgg==
-----END PUBLIC KEY-----";
/// Google Cloud Build's for provenance, as Google publishes it.
const CLOUD_BUILD_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECGIoAk3mHV8xq/P1x6doSzAJlTaW
YhrmI3rfN5zfk3/Dq6nPpm8D0CMVNyc4HZ5ChTDqTV8EyaR56nLqjvMYUA==
-----END PUBLIC KEY-----";

fn public_good(case: &Case) -> TrustedRoot {
    TrustedRoot::parse(&case.shared("trusted-roots/sigstore-prod/trusted_root.json"), Instance::Logged).expect("a root")
}

fn rule(subject: &str, issuer: &str) -> IdentityRule {
    IdentityRule { issuer: Pattern::new(issuer), subject: Pattern::new(subject), claims: BTreeMap::new() }
}

const ACTIONS: &str = "https://token.actions.githubusercontent.com";

/// Both attestations of a package: by whom it was published and how it was built. Each must be of the type that the registry
/// says it is.
pub fn npm(case: &Case, judge: Judge) -> Vec<Check> {
    vec![judge.ask("both attestations", case.expected(), || {
        let package = case.has("package.tgz").then(|| case.bytes("package.tgz"));
        let listed = case.json("attestations.json");
        let listed = listed["attestations"].as_array().expect("attestations");
        let (root, key) = (public_good(case), PublicKey::parse_pem(NPM_KEY).expect("a key"));
        let rule = rule("https://github.com/*", ACTIONS);
        let good = package.is_some() || case.expected() == Expected::Pass || case.name.contains("npm-malformed");
        assert!(good && listed.len() == 2, "{}", case.name);
        for attestation in listed {
            let stated = attestation["predicateType"].as_str().expect("a type");
            let bundle = attestation["bundle"].to_string();
            let keyed = attestation["bundle"]["verificationMaterial"]["publicKey"].is_object();
            let artifact = match &package {
                Some(package) => Artifact::Bytes(package),
                None => Artifact::Digest(subject_of_first(listed)),
            };
            let validity = KeyValidity { span: None, root: None, now: now() };
            let wanted = match keyed {
                true => Wanted::Key { key: &key, validity },
                false => Wanted::Identity { root: &root, rule: &rule },
            };
            let proved = verify_bundle(bundle.as_bytes(), artifact, wanted).map_err(|error| text(&error))?;
            let found = proved.statement.ok_or("no statement")?.predicate_type;
            let known = [PUBLISH, "https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1"];
            if found != stated || !known.contains(&stated) || keyed != (stated == PUBLISH) {
                return Err(format!("'{found}' is not what it is said to be"));
            }
        }
        Ok(())
    })]
}

/// What the package is, where only its attestations are here: the malformed ones all speak of one package.
fn subject_of_first(listed: &[Value]) -> Digest {
    const PACKAGE: &str = "29d19f26233f4441328412b34fd73ed104ecfef62f14097890cccf7455b521b65c5acff851849faa85c85395aa22d401436f01f3afb61b19c780e906c88c7f20";
    assert!(!listed.is_empty());
    format!("sha512:{PACKAGE}").parse().expect("a digest")
}

fn text(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", text(source)),
        None => error.to_string(),
    }
}

/// Attestations of the Python index have a wrapping of their own, with the parts of a bundle inside.
pub fn pypi(case: &Case, judge: Judge) -> Vec<Check> {
    let (_, package) = case.name.split_once('/').expect("a name");
    let bytes = case.bytes(package);
    // One was made against the staging instance.
    let root = if package.starts_with("rfc8785") { "sigstore-staging" } else { "sigstore-prod" };
    let root = case.shared(&format!("trusted-roots/{root}/trusted_root.json"));
    let root = TrustedRoot::parse(&root, Instance::Logged).expect("a root");
    let any = rule("*", "*");
    let mut checks = Vec::new();
    let mut ask = |what: String, bundle: Vec<u8>| {
        for (artifact, expected) in [(bytes.as_slice(), Expected::Pass), (b"another".as_slice(), Expected::Fail)] {
            checks.push(judge.ask(what.clone(), expected, || {
                let wanted = Wanted::Identity { root: &root, rule: &any };
                verify_bundle(&bundle, Artifact::Bytes(artifact), wanted).map(|_| ()).map_err(|error| text(&error))
            }));
        }
    };
    for ending in ["attestation", "publish.attestation", "slsa.attestation"] {
        let file = format!("{package}.{ending}");
        if case.has(&file) {
            ask(ending.to_owned(), bundle_of(&case.json(&file)));
        }
    }
    let sigstore = format!("{package}.sigstore");
    if case.has(&sigstore) {
        ask("sigstore".to_owned(), case.bytes(&sigstore));
    }
    let provenance = format!("{package}.provenance");
    if case.has(&provenance) {
        for bundle in case.json(&provenance)["attestation_bundles"].as_array().expect("bundles") {
            for attestation in bundle["attestations"].as_array().expect("attestations") {
                ask("provenance".to_owned(), bundle_of(attestation));
            }
        }
    }
    checks
}

fn bundle_of(attestation: &Value) -> Vec<u8> {
    let material = &attestation["verification_material"];
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": material["certificate"]},
            "tlogEntries": material["transparency_entries"],
        },
        "dsseEnvelope": {
            "payload": attestation["envelope"]["statement"],
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": attestation["envelope"]["signature"]}],
        },
    });
    bundle.to_string().into_bytes()
}

/// Provenance of builds on a builder that others trust, and what it says of its source.
pub fn provenance(case: &Case, judge: Judge) -> Vec<Check> {
    let (_, name) = case.name.split_once('/').expect("a name");
    let file =
        ["provenance.intoto", "provenance.intoto.jsonl"].into_iter().find(|file| case.has(file)).expect("a file");
    let first = case.text(file).lines().next().expect("a line").to_owned();
    let bytes = if serde_json::from_str::<Value>(&first).is_ok() { first.into_bytes() } else { case.bytes(file) };
    if name == "multi-subject-first" {
        return several_subjects(case, judge, &bytes);
    }
    let root = public_good(case);
    let artifact = if case.has("artifact") { case.bytes("artifact") } else { Vec::new() };
    let builder = match name {
        "bcr-module" | "bcr-module-wrong-signer_fail" => {
            "https://github.com/bazel-contrib/publish-to-bcr/.github/workflows/publish.yaml@*"
        }
        "delegator-v2.1.0-push-v14.2" => {
            "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/delegator_generic_slsa3.yml@refs/tags/*"
        }
        _ => {
            "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/builder_container-based_slsa3.yml@refs/tags/*"
        }
    };
    let verify = |subject: &str| {
        let rule = rule(subject, ACTIONS);
        let wanted = Wanted::Identity { root: &root, rule: &rule };
        verify_bundle(&bytes, Artifact::Bytes(&artifact), wanted).map_err(|error| text(&error))
    };
    let mut checks = vec![judge.ask("by its builder", case.expected(), || verify(builder).map(|_| ()))];
    if let Some(source) = case.field("source").filter(|_| name.starts_with("container-based")) {
        let wanted = match (case.field("tag"), case.field("branch")) {
            (Some(tag), _) => format!("git+https://{source}@refs/tags/{tag}"),
            (None, branch) => format!("git+https://{source}@refs/heads/{}", branch.expect("a branch")),
        };
        let path = "buildDefinition.externalParameters.source.uri";
        for (value, expected) in [
            (wanted.clone(), Expected::Pass),
            (format!("git+https://{source}@refs/tags/v13"), Expected::Fail),
            (format!("{wanted}x"), Expected::Fail),
            (wanted.replace("example-package", "example-packageA"), Expected::Fail),
        ] {
            checks.push(judge.ask(format!("source {value}"), expected, || {
                let statement = verify(builder)?.statement.ok_or("no statement")?;
                match text_at(&statement.predicate, path).as_deref() {
                    Some(found) if Pattern::new(&value).matches(found) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }));
        }
    }
    checks
}

/// An envelope whose proof of logging is not with it: its statement is read, and nothing is believed of it.
fn several_subjects(case: &Case, judge: Judge, bytes: &[u8]) -> Vec<Check> {
    let artifact = case.bytes("artifact");
    let speaks = |artifact: &[u8]| {
        let envelope = Envelope::parse(bytes, bytes.len()).map_err(|error| text(&error))?;
        let statement = Statement::parse(&envelope.payload).map_err(|error| text(&error))?;
        if Artifact::Bytes(artifact).is_among(&statement.subjects) {
            Ok(())
        } else {
            Err("another artifact".to_owned())
        }
    };
    let root = public_good(case);
    let any = rule("*", "*");
    vec![
        judge.ask("speaks of the artifact", Expected::Pass, || speaks(&artifact)),
        judge.ask("speaks of another", Expected::Fail, || speaks(b"another")),
        judge.ask("without proof", Expected::Fail, || {
            let wanted = Wanted::Identity { root: &root, rule: &any };
            verify_bundle(bytes, Artifact::Bytes(&artifact), wanted).map(|_| ())
        }),
    ]
}

/// Google Cloud Build's provenance: the envelope by Google's key, and whether the readable text around it says the same. Key
/// identifiers are hints that Postern never follows; one that names no key of Google's is refused here, as its own verifier
/// does.
pub fn cloud_build(case: &Case, judge: Judge) -> Vec<Check> {
    let entries = std::fs::read_dir(&case.folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut documents =
        entries.filter(|path| path.to_string_lossy().ends_with(".json") && !path.ends_with("expect.json"));
    let document = read(&documents.next().expect("a document"));
    // One of them is no JSON at all.
    let read = || serde_json::from_slice::<Value>(&document).map_err(|error| text(&error));
    vec![
        judge.ask("provenance", case.expected(), || {
            cloud_build_provenance(&read()?, |envelope| envelope.payload.clone())
        }),
        judge.ask("as a DSSE envelope", Expected::Fail, || cloud_build_provenance(&read()?, Envelope::signed_bytes)),
    ]
}

/// What looks like a DSSE envelope is none: at that time Google signed the payload without its type.
fn cloud_build_provenance(document: &Value, signed: impl Fn(&Envelope) -> Vec<u8>) -> Result<(), String> {
    const KEY_ID: &str =
        "projects/verified-builder/locations/global/keyRings/attestor/cryptoKeys/builtByGCB/cryptoKeyVersions/1";
    let listed = &document["provenance_summary"]["provenance"];
    let [provenance] = listed.as_array().expect("a list").as_slice() else { return Err("not one".to_owned()) };
    let envelope = provenance["envelope"].to_string();
    let envelope = Envelope::parse(envelope.as_bytes(), envelope.len()).map_err(|error| text(&error))?;
    let key = PublicKey::parse_pem(CLOUD_BUILD_KEY).expect("a key");
    if envelope.key_id.as_deref() != Some(KEY_ID) || !key.verifies(&signed(&envelope), &envelope.signature) {
        return Err("not signed by Google's key".to_owned());
    }
    let statement = Statement::parse(&envelope.payload).map_err(|error| text(&error))?;
    let digest = document["image_summary"]["digest"].as_str().expect("a digest");
    let digest: Digest = digest.parse().map_err(|_| "no digest")?;
    let payload: Value = serde_json::from_slice(&envelope.payload).expect("JSON");
    let readable = &provenance["build"]["intotoStatement"];
    let same_text =
        ["_type", "predicateType", "slsaProvenance", "subject"].iter().all(|key| readable[key] == payload[key]);
    let uri = provenance["resourceUri"].as_str().unwrap_or_default();
    let of_image = document["image_summary"]["fully_qualified_digest"].as_str().unwrap_or_default();
    let same_image = uri.strip_prefix("https://") == Some(of_image);
    match statement.subjects.contains(&digest) && same_text && same_image && provenance["kind"] == "BUILD" {
        true => Ok(()),
        false => Err("its parts contradict each other".to_owned()),
    }
}

/// A verification summary by somebody's key. Its subject is no digest but a number of Google's, which is a matter of its own
/// rules: here the signature and what it says are asked.
pub fn summary(case: &Case, judge: Judge) -> Vec<Check> {
    let (bytes, key) = (case.bytes("v1/gke-gce-pre.bcid-vsa.jsonl"), case.text("v1/vsa_signing_public_key.pem"));
    let key = PublicKey::parse_pem(&key).expect("a key");
    let other = PublicKey::parse_pem(NPM_KEY).expect("a key");
    let read = |key: &PublicKey| {
        let envelope = Envelope::parse(&bytes, bytes.len()).map_err(|error| text(&error))?;
        if !key.verifies(&envelope.signed_bytes(), &envelope.signature) {
            return Err("another key".to_owned());
        }
        Statement::parse(&envelope.payload).map_err(|error| text(&error))
    };
    let says = |path: &'static str, wanted: &'static str| {
        let statement = read(&key)?;
        match text_at(&statement.predicate, path) {
            Some(found) if found == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    const RESOURCE: &str = "gce_image://gke-node-images:gke-12615-gke1418000-cos-101-17162-463-29-c-cgpv1-pre";
    const VERIFIER: &str = "https://bcid.corp.google.com/verifier/bcid_package_enforcer/v0.1";
    vec![
        judge.ask("by its key", Expected::Pass, || read(&key).map(|_| ())),
        judge.ask("by another key", Expected::Fail, || read(&other).map(|_| ())),
        judge.ask("verifier", Expected::Pass, || says("verifier.id", VERIFIER)),
        judge.ask("another verifier", Expected::Fail, || says("verifier.id", "https://bcid.corp.google.com/other")),
        judge.ask("resource", Expected::Pass, || says("resourceUri", RESOURCE)),
        judge.ask("another resource", Expected::Fail, || says("resourceUri", "gce_image://other")),
        judge.ask("result", Expected::Pass, || says("verificationResult", "PASSED")),
        judge.ask("no subject with a digest", Expected::Fail, || {
            let subjects = read(&key)?.subjects;
            let digest = Algorithm::Sha256.hash(b"8970095005306000053");
            if subjects.is_empty() || !subjects.contains(&digest) { Err("none".to_owned()) } else { Ok(()) }
        }),
    ]
}
