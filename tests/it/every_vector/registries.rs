//! Registries whole, judged by the gate under policies as operators write them.

use postern::admission::{Candidate, Judgement, judge};
use postern::oci::digest::Digest;
use postern::verify::TrustPolicy;
use serde_json::Value;

use super::sigstore::now;
use super::{Case, Check, Expected, Judge, read};
use crate::vectors::Registry;

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// A policy with these tables, and rules for the repositories `signature` and `attestation`.
fn policy(tables: &str, attestor: &str, predicate_type: &str) -> TrustPolicy {
    let text = format!(
        "version = 1\n{tables}\n\
         [[rule]]\nname = \"signed\"\nrepositories = [\"signature\"]\n[rule.signature]\n{attestor}\n\
         [[rule]]\nname = \"attested\"\nrepositories = [\"attestation\"]\n\
         [[rule.attestation]]\ntype = \"{predicate_type}\"\n{attestor}\n"
    );
    TrustPolicy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn key_table(case: &Case, file: &str) -> String {
    let pem = if case.has(file) {
        case.bytes(file)
    } else {
        case.shared(&format!("registry-forms/cosign-keyed-legacy/{file}"))
    };
    format!("[keys.signer]\npem = '''\n{}'''\n", String::from_utf8(pem).expect("PEM"))
}

fn keyless_table(root: &[u8], issuer: &str, subject: &str) -> String {
    let root = std::str::from_utf8(root).expect("JSON");
    format!(
        "[roots.private]\njson = '''{root}'''\n\
         [identities.signer]\nroot = \"private\"\nissuer = \"{issuer}\"\nsubject = \"{subject}\"\n"
    )
}

fn notation_table(case: &Case, ca: &str, tsa: Option<&str>, level: &str, identity: &str) -> String {
    let pem = |file: &str| case.text(file);
    let mut text = format!("[stores.ca]\nkind = \"ca\"\ncertificates = '''\n{}'''\n", pem(ca));
    let mut names = "\"ca\"".to_owned();
    if let Some(tsa) = tsa {
        text += &format!("[stores.tsa]\nkind = \"tsa\"\ncertificates = '''\n{}'''\n", pem(tsa));
        names += ", \"tsa\"";
    }
    text + &format!("[notation.signer]\nlevel = \"{level}\"\nstores = [{names}]\nidentities = [\"{identity}\"]\n")
}

fn verdict(policy: &TrustPolicy, registry: &Registry, root: Digest, repository: &str) -> Result<(), String> {
    verdict_at(policy, registry, root, repository, now())
}

fn verdict_at(
    policy: &TrustPolicy,
    registry: &Registry,
    root: Digest,
    repository: &str,
    now: jiff::Timestamp,
) -> Result<(), String> {
    let candidate = Candidate {
        repository: repository.parse().expect("a name"),
        original: None,
        root,
        tags: vec!["v1".parse().expect("a tag")],
    };
    match judge(policy, &candidate, registry, now).map_err(|error| error.to_string())? {
        Judgement::Admitted(_) => Ok(()),
        Judgement::Refused { refusal, .. } => Err(refusal.to_string()),
    }
}

/// One target under one policy, as a signature and as an attestation.
struct Question<'a> {
    registry: &'a Registry,
    policy: &'a TrustPolicy,
    tag: &'a str,
}

impl Question<'_> {
    fn ask(&self, judge: Judge, what: &str, repository: &str, expected: Expected) -> Check {
        let root = self.registry.resolve(self.tag);
        judge.ask(format!("{} {repository}, {what}", self.tag), expected, || {
            verdict(self.policy, self.registry, root, repository)
        })
    }
}

fn passes(yes: bool) -> Expected {
    if yes { Expected::Pass } else { Expected::Fail }
}

pub fn registry(case: &Case, judge: Judge) -> Vec<Check> {
    let (_, name) = case.name.split_once('/').expect("a name");
    let registry = Registry::open(&case.folder);
    match name {
        "notation" | "notation-timestamped" => notation(case, judge, &registry),
        keyless if keyless.starts_with("cosign-keyless") => keyless_forms(case, judge, &registry),
        keyed if keyed.starts_with("cosign-keyed") => keyed_forms(case, judge, &registry),
        _ => adversarial(case, judge, &registry),
    }
}

fn keyed_forms(case: &Case, judge: Judge, registry: &Registry) -> Vec<Check> {
    let mut checks = Vec::new();
    for (target, expected) in case.expect["targets"].as_object().expect("targets") {
        let tag = target.split(' ').next().expect("a word");
        let Some(signature) = expected["signature"].as_str() else { continue };
        let listed: Vec<&str> =
            expected["attestations"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (file, right) in [("key.pub", true), ("wrong-key.pub", false)] {
            let table = key_table(case, file);
            let signed = policy(&table, "keys = [\"signer\"]", PROVENANCE);
            let ask = Question { registry, policy: &signed, tag };
            checks.push(ask.ask(judge, file, "signature", passes(right && signature.starts_with("pass"))));
            for kind in [PROVENANCE, "https://slsa.dev/provenance/v0.2", "https://cyclonedx.org/bom"] {
                let attested = policy(&table, "keys = [\"signer\"]", kind);
                let ask = Question { registry, policy: &attested, tag };
                checks.push(ask.ask(
                    judge,
                    &format!("{file} {kind}"),
                    "attestation",
                    passes(right && listed.contains(&kind)),
                ));
            }
        }
    }
    checks
}

fn keyless_forms(case: &Case, judge: Judge, registry: &Registry) -> Vec<Check> {
    let (issuer, subject) = (case.field("issuer").expect("an issuer"), case.field("identity").expect("an identity"));
    let signature = case.field("expect") == Some("pass");
    let attestation = case.field("expect").is_some_and(|text| text.contains("attestation rule: pass"));
    let mut checks = Vec::new();
    let mut ask = |what: &str, root: &str, issuer: &str, subject: &str, right: bool| {
        let table = keyless_table(&case.bytes(root), issuer, subject);
        let policy = policy(&table, "identities = [\"signer\"]", PROVENANCE);
        let question = Question { registry, policy: &policy, tag: "1.0" };
        checks.push(question.ask(judge, what, "signature", passes(right && signature)));
        checks.push(question.ask(judge, what, "attestation", passes(right && attestation)));
    };
    ask("the identity", "trusted_root.json", issuer, subject, true);
    ask("any tag", "trusted_root.json", issuer, &subject.replace("v1", "v*"), true);
    ask("an authority out of office", "trusted_root.ca-expired.json", issuer, subject, false);
    ask("a longer issuer", "trusted_root.json", &format!("{issuer}/more"), subject, false);
    ask("a shorter issuer", "trusted_root.json", &issuer[..issuer.len() - 1], subject, false);
    ask("another tag", "trusted_root.json", issuer, &subject.replace("v1", "v2"), false);
    ask("a shorter subject", "trusted_root.json", issuer, &subject[..subject.len() - 1], false);
    // A clock without a battery, and one that runs ahead: neither refuses what logs have dated, nor takes anything else.
    let policy = policy(
        &keyless_table(&case.bytes("trusted_root.json"), issuer, subject),
        "identities = [\"signer\"]",
        PROVENANCE,
    );
    for clock in ["1970-01-01T00:00:00Z", "2099-12-31T00:00:00Z"] {
        let root = registry.resolve("1.0");
        for (repository, right) in [("signature", signature), ("attestation", attestation)] {
            checks.push(judge.ask(format!("{repository} at {clock}"), passes(right), || {
                verdict_at(&policy, registry, root, repository, clock.parse().expect("a time"))
            }));
        }
    }
    checks
}

fn notation(case: &Case, judge: Judge, registry: &Registry) -> Vec<Check> {
    const GOOD: &str = "x509.subject: C=US, ST=WA, O=Pallet Test";
    const BAD: &str = "x509.subject: C=US, ST=WA, O=Other Corp";
    let stamped = case.name.ends_with("timestamped");
    let tsa = stamped.then_some("tsa-root.crt");
    let mut checks = Vec::new();
    let mut ask = |tag: &str, what: &str, table: String, expected: bool| {
        let policy = policy(&table, "notation = [\"signer\"]", PROVENANCE);
        let question = Question { registry, policy: &policy, tag };
        checks.push(question.ask(judge, what, "signature", passes(expected)));
        checks.push(question.ask(judge, what, "attestation", Expected::Fail));
    };
    for level in ["strict", "permissive"] {
        let table = |ca: &str, identity: &str| notation_table(case, ca, tsa, level, identity);
        ask("1.0", level, table("ca-root.crt", "*"), true);
        ask("1.0", &format!("{level}, its identity"), table("ca-root.crt", GOOD), true);
        ask("1.0", &format!("{level}, another identity"), table("ca-root.crt", BAD), false);
        ask("1.0", &format!("{level}, another root"), table("wrong-ca-root.crt", "*"), false);
        if !stamped {
            // Expired: that counts in one level and is written down in the other.
            ask("amd64", level, table("ca-root.crt", "*"), level == "permissive");
            ask("arm64", level, table("ca-root.crt", "*"), false);
            let wanted = notation_table(case, "ca-root.crt", Some("ca-root.crt"), level, "*");
            ask("1.0", &format!("{level}, a time stamp is wanted"), wanted, level == "permissive");
        } else {
            let wrong = notation_table(case, "ca-root.crt", Some("wrong-ca-root.crt"), level, "*");
            ask("1.0", &format!("{level}, stamped by another"), wrong, level == "permissive");
        }
    }
    checks
}

fn adversarial(case: &Case, judge: Judge, registry: &Registry) -> Vec<Check> {
    let tag = case.field("target_tag").expect("a tag");
    let verdict = case.field("expect").expect("a verdict");
    if case.name.contains("notation") {
        let root = case.shared("registry-forms/notation/ca-root.crt");
        let root = String::from_utf8(root).expect("PEM");
        let table = format!(
            "[stores.ca]\nkind = \"ca\"\ncertificates = '''\n{root}'''\n\
             [notation.signer]\nlevel = \"permissive\"\nstores = [\"ca\"]\nidentities = [\"*\"]\n"
        );
        let policy = policy(&table, "notation = [\"signer\"]", PROVENANCE);
        let question = Question { registry, policy: &policy, tag };
        return vec![question.ask(judge, "permissive", "signature", case.expected())];
    }
    let policy = policy(&key_table(case, "key.pub"), "keys = [\"signer\"]", PROVENANCE);
    let question = Question { registry, policy: &policy, tag };
    let signature = verdict == "pass";
    let attestation = verdict.contains("attestation rule slsa/v1: pass");
    let mut checks = vec![question.ask(judge, "key", "signature", passes(signature))];
    if verdict.contains("attestation") || case.name.contains("unsigned") {
        checks.push(question.ask(judge, "key", "attestation", passes(attestation)));
    }
    checks
}

/// A signature in cosign's older form, keyless: a manifest with annotations, and the payload beside it.
pub fn legacy_pair(case: &Case, judge: Judge) -> Vec<Check> {
    use postern::verify::artifact::Artifact;
    use postern::verify::cosign_legacy::{SIGNATURE_ANNOTATION, keyless_material, signed_digest};
    use postern::verify::sigstore::{Instance, SignedContent, TrustedRoot, keyless};
    let payload = case.bytes("payload.json");
    let manifest = case.json("manifest.json");
    let annotations: std::collections::BTreeMap<String, String> =
        serde_json::from_value(manifest["layers"][0]["annotations"].clone()).expect("annotations");
    let verify = |root: &str, payload: &[u8]| {
        let root = read(&case.vectors.join("keyless-private").join(root));
        let root = TrustedRoot::parse(&root, Instance::Logged).map_err(|error| error.to_string())?;
        let signature = data_encoding::BASE64.decode(annotations[SIGNATURE_ANNOTATION].as_bytes()).expect("base64");
        let material = keyless_material(&annotations).flatten().ok_or("no material")?;
        let content = SignedContent::Message { signature, claimed: None };
        let signer =
            keyless::verify(&material, &content, Artifact::Bytes(payload), &root).map_err(|error| error.to_string())?;
        let digest = signed_digest(payload).map_err(|error| error.to_string())?;
        let same = Some(signer.identity.subject.as_str()) == case.field("identity")
            && Some(signer.identity.issuer.as_str()) == case.field("issuer")
            && Some(digest.hex().as_str()) == case.field("digest");
        if same { Ok(()) } else { Err(format!("{signer:?}")) }
    };
    let mut edited = payload.clone();
    edited.push(b' ');
    vec![
        judge.ask("by its root", case.expected(), || verify("trusted_root.json", &payload)),
        judge.ask("an authority out of office", Expected::Fail, || verify("trusted_root.ca-expired.json", &payload)),
        judge.ask("edited", Expected::Fail, || verify("trusted_root.json", &edited)),
    ]
}

/// An image on the disk, with provenance by a builder that others trust, in cosign's older form.
pub fn layout(case: &Case, judge: Judge) -> Vec<Check> {
    let folder = case.path("container_workflow_dispatch");
    let index: Value = serde_json::from_slice(&read(&folder.join("index.json"))).expect("JSON");
    let image: Digest = case.text("container_workflow_dispatch.digest").trim().parse().expect("a digest");
    let registry = Registry::of_layout(&folder, &index, &image);
    let root = String::from_utf8(case.shared("trusted-roots/sigstore-prod/trusted_root.json")).expect("text");
    let subject = case.field("identity_note").expect("an identity");
    let issuer = case.field("issuer").expect("an issuer");
    let source = case.field("source").expect("a source");
    let branch = case.field("branch").expect("a branch");
    let ask = |what: &str, subject: &str, uri: &str, expected: Expected| {
        let table = keyless_table(root.as_bytes(), issuer, subject);
        let conditions = format!(
            "identities = [\"signer\"]\n[rule.attestation.conditions]\nall = [{{ path = \"invocation.configSource.uri\", \
             operator = \"Equals\", value = \"{uri}\" }}]\n"
        );
        let text = format!(
            "version = 1\n{table}\n[[rule]]\nname = \"built\"\nrepositories = [\"attestation\"]\n\
             [[rule.attestation]]\ntype = \"https://slsa.dev/provenance/v0.2\"\n{conditions}"
        );
        let policy = TrustPolicy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        judge.ask(what, expected, || verdict(&policy, &registry, image, "attestation"))
    };
    let uri = format!("git+https://{source}@refs/heads/{branch}");
    vec![
        ask("its builder and source", subject, &uri, Expected::Pass),
        ask("another builder", &subject.replace("v2.1.0", "v2.1.1"), &uri, Expected::Fail),
        ask("another source", subject, &uri.replace("example-package", "example-packageA"), Expected::Fail),
        ask(
            "a source with its owner's name before it",
            subject,
            &uri.replace("slsa-framework", "Aslsa-framework"),
            Expected::Fail,
        ),
        ask("another branch", subject, &uri.replace("/main", "/master"), Expected::Fail),
    ]
}
