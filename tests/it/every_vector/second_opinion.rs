//! Sigstore's own verifier for Rust is put the same questions. Two programs that were written apart and agree on every bundle
//! are better than one; where they may differ, it stands here why.

use sigstore_trust_root::TrustedRoot;
use sigstore_verify::types::Bundle;
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy};

use super::sigstore::{artifact, bundle_bytes, root_path, trusted_root};
use super::{Case, cases, read, vectors};
use postern::verify::artifact::Artifact;

/// What only one of the two takes, and why.
const DIFFERENCES: [(&str, &str); 1] =
    [("bundles-misc/go-public-key-validity_fail", "it knows no span of validity of a key")];

fn theirs(case: &Case) -> Result<(), String> {
    let root = String::from_utf8(read(&root_path(case))).expect("text");
    let root = TrustedRoot::from_json(&root).map_err(|error| error.to_string())?;
    let bundle = String::from_utf8(bundle_bytes(case)).expect("text");
    let bundle = Bundle::from_json(&bundle).map_err(|error| error.to_string())?;
    let (bytes, digest) = artifact(case);
    let verify = |artifact: sigstore_verify::types::Artifact<'_>| {
        let relaxed = case.expect["no_sct"] == true;
        let no_logs = case.expect["no_tlog"] == true;
        let result = match case.field("key") {
            Some(file) => {
                let key = sigstore_verify::types::DerPublicKey::from_pem(&case.text(file)).expect("a key");
                let policy = PublicKeyVerificationPolicy::new(key);
                let policy = if no_logs { policy.skip_tlog_unsafe() } else { policy };
                sigstore_verify::verify(artifact, &bundle, &policy, &root)
            }
            None => {
                let mut policy = VerificationPolicy::any_identity();
                if let Some(identity) = case.field("identity") {
                    policy = policy.require_identity(identity);
                }
                if let Some(issuer) = case.field("issuer") {
                    policy = policy.require_issuer(issuer);
                }
                if no_logs {
                    policy = policy.skip_tlog_unsafe();
                }
                if relaxed {
                    policy = policy.skip_sct();
                }
                sigstore_verify::verify(artifact, &bundle, &policy, &root)
            }
        };
        result.map(|_| ()).map_err(|error| error.to_string())
    };
    match (&bytes, digest) {
        (Some(bytes), _) => verify(bytes.as_slice().into()),
        (None, Some(digest)) => {
            let algorithm = match digest.algorithm() {
                postern::oci::digest::Algorithm::Sha256 => sigstore_verify::types::HashAlgorithm::Sha2256,
                postern::oci::digest::Algorithm::Sha512 => sigstore_verify::types::HashAlgorithm::Sha2512,
            };
            let digest =
                sigstore_verify::types::ArtifactDigest::new(algorithm, digest.raw().to_vec()).expect("a digest");
            verify(sigstore_verify::types::Artifact::Digest(digest))
        }
        (None, None) => panic!("{}: nothing is said to be signed", case.name),
    }
}

#[test]
fn sigstores_own_verifier_agrees_on_every_bundle() {
    let Some((vectors, unpacked)) = vectors() else { return };
    let mut asked = 0;
    let mut differences = Vec::new();
    for case in cases(&vectors, unpacked.path()) {
        let group = case.name.split('/').next().unwrap_or_default();
        if !group.starts_with("bundles-") && !case.name.starts_with("keyless-private/bundles") {
            continue;
        }
        asked += 1;
        let (bytes, digest) = artifact(&case);
        let artifact = match (&bytes, digest) {
            (Some(bytes), _) => Artifact::Bytes(bytes),
            (None, Some(digest)) => Artifact::Digest(digest),
            (None, None) => panic!("{}: nothing is said to be signed", case.name),
        };
        let ours = match trusted_root(&case) {
            Ok(_) => super::sigstore::verify(&case, artifact).map(|_| ()),
            Err(error) => Err(error),
        };
        let theirs = theirs(&case);
        let excused = DIFFERENCES.iter().any(|(name, _)| *name == case.name);
        if (ours.is_ok() != theirs.is_ok()) != excused {
            differences.push(format!("{}: ours {ours:?}, theirs {theirs:?}\n", case.name));
        }
    }
    assert!(asked >= 88, "only {asked} bundles were found");
    assert!(differences.is_empty(), "{}", differences.concat());
}
