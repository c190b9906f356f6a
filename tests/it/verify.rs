//! `postern verify` on an image layout that others made, with provenance by a builder that others trust. The layout is one
//! of the vectors, which are looked for beside the project.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

const IMAGE: &str = "sha256:234e2c830c2fb31ac5671789d22adfe44d30c3ee831d01beae5e237841a13122";

fn layout() -> Option<PathBuf> {
    let named = std::env::var_os("POSTERN_VECTORS").map(PathBuf::from);
    let vectors = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    let layout = vectors.join("image-layouts/slsa-container-v2.1.0/container_workflow_dispatch");
    if layout.is_dir() {
        return Some(layout);
    }
    // Past libtest's capture, so that somebody sees it. The vectors are no part of the project, so their absence fails no CI.
    let line = "\nSKIPPED (tests/it/verify.rs): no vectors beside the project; set POSTERN_VECTORS to their folder\n";
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

fn policy(subject: &str, source: &str) -> String {
    format!(
        r#"version = 1
[roots.public]
builtin = "public-good"
[identities.builder]
root = "public"
issuer = "https://token.actions.githubusercontent.com"
subject = "{subject}"
[identities.builder.claims]
source_repository_uri = "{source}"
[[rule]]
name = "built"
repositories = ["mirror.example/**"]
[[rule.attestation]]
type = "https://slsa.dev/provenance/v0.2"
identities = ["builder"]
builders = ["https://github.com/slsa-framework/slsa-github-generator/*"]
"#
    )
}

struct Ran {
    code: Option<i32>,
    text: String,
}

fn verify(layout: &Path, policy: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trust.toml");
    std::fs::write(&file, policy).expect("a file");
    let mut command = crate::binary::command();
    command.args(["verify", "mirror.example/app:1", "--layout"]).arg(layout).arg("--policy").arg(&file).args(more);
    let output = command.output().expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ran { code: output.status.code(), text }
}

const BUILDER: &str = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/*";
const SOURCE: &str = "https://github.com/slsa-framework/example-package";

#[test]
fn a_layout_is_verified_before_it_comes_in() {
    let Some(layout) = layout() else { return };
    let good = verify(&layout, &policy(BUILDER, SOURCE), &[]);
    assert_eq!((good.code, good.text.as_str()), (Some(0), "admitted\n"));
    let explained = verify(&layout, &policy(BUILDER, SOURCE), &["--explain"]);
    for words in ["rule 'built' passed", "authenticity passed", "condition passed", "policy sha256:"] {
        assert!(explained.text.contains(words), "{words}: {}", explained.text);
    }
    let json = verify(&layout, &policy(BUILDER, SOURCE), &["--json"]);
    let json: Value = serde_json::from_str(&json.text).expect("JSON");
    assert_eq!((&json["admitted"], &json["digest"]), (&Value::Bool(true), &Value::from(IMAGE)));
    let summary = verify(&layout, &policy(BUILDER, SOURCE), &["--vsa"]);
    let summary: Value = serde_json::from_str(&summary.text).expect("JSON");
    assert_eq!(summary["predicateType"], "https://slsa.dev/verification_summary/v1");
    assert_eq!(summary["predicate"]["verificationResult"], "PASSED");
    assert_eq!(format!("sha256:{}", summary["subject"][0]["digest"]["sha256"].as_str().expect("hex")), IMAGE);
}

#[test]
fn nearly_right_is_refused_with_its_reason() {
    let Some(layout) = layout() else { return };
    for (subject, source, reason) in [
        (BUILDER.replace("refs/tags", "refs/heads"), SOURCE.to_owned(), "which this rule does not trust"),
        (BUILDER.to_owned(), format!("{SOURCE}A"), "which this rule does not trust"),
    ] {
        let refused = verify(&layout, &policy(&subject, &source), &[]);
        assert_eq!(refused.code, Some(3), "{}", refused.text);
        assert!(refused.text.contains(reason), "{}", refused.text);
    }
    let summary = verify(&layout, &policy(BUILDER, "https://other.example"), &["--vsa"]);
    assert_eq!(summary.code, Some(3));
    assert!(summary.text.contains("\"FAILED\""), "{}", summary.text);
    let missing = verify(Path::new("/nowhere"), &policy(BUILDER, SOURCE), &[]);
    assert!(missing.code.is_some_and(|code| code != 0 && code != 3), "{}", missing.text);
}

/// As the conformance suite of Sigstore asks, with the same arguments.
#[test]
fn every_bundle_of_the_conformance_suite_gets_its_exit_code() {
    let Some(layout) = layout() else { return };
    let vectors = layout.join("../../..");
    let mut asked = 0;
    for entry in std::fs::read_dir(vectors.join("bundles-conformance")).expect("a folder lists") {
        let case = entry.expect("an entry").path();
        let expect: Value =
            serde_json::from_slice(&std::fs::read(case.join("expect.json")).expect("a file")).expect("JSON");
        let mut command = crate::binary::command();
        command.arg("verify-bundle").arg("--bundle").arg(case.join("bundle.sigstore.json"));
        match expect["key"].as_str() {
            Some(key) => command.arg("--key").arg(case.join(key)),
            None => {
                let text = |key: &str| expect[key].as_str().expect("text").to_owned();
                command.args([
                    "--certificate-identity",
                    &text("identity"),
                    "--certificate-oidc-issuer",
                    &text("issuer"),
                ]);
                command.arg("--trusted-root").arg(case.join(text("trusted_root")))
            }
        };
        let output = command.arg(case.join("artifact")).output().expect("the binary starts");
        let code = output.status.code();
        let good = expect["expect"] == "pass";
        // A root that cannot be read is a mistake of whoever asks; every other failure is a refusal.
        assert!(if good { code == Some(0) } else { matches!(code, Some(2 | 3)) }, "{}: {output:?}", case.display());
        asked += 1;
    }
    assert!(asked >= 44, "only {asked} bundles were found");
}
