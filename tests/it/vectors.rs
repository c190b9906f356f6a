//! Registries that cosign and notation really wrote, whole and tampered with, judged by the gate. The vectors are no part
//! of this project: they are looked for beside it or where `POSTERN_VECTORS` says. Each case's `expect.json` is the judge.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use postern::admission::{Candidate, Content, ContentError, Judgement, judge};
use postern::oci::digest::Digest;
use postern::oci::name::Tag;
use postern::verify::sigstore::Material;
use postern::verify::{Refusal, TrustPolicy, sigstore};
use serde_json::Value;

const ATTESTATIONS: [&str; 4] = [
    "https://slsa.dev/provenance/v1",
    "https://slsa.dev/provenance/v0.2",
    "https://cyclonedx.org/bom",
    "https://cosign.sigstore.dev/attestation/vuln/v1",
];

fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("POSTERN_VECTORS").map(PathBuf::from);
    let path = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    if path.join("registry-forms").is_dir() {
        return Some(path);
    }
    // Past libtest's capture, so that somebody sees it.
    let line = "\nSKIPPED (tests/it/vectors.rs): no vectors beside the project; set POSTERN_VECTORS to their folder\n";
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

/// One registry on the disk: `registry.json` maps tags and media types, files carry digests for names. Or an OCI layout,
/// where everything is a blob.
pub struct Registry {
    folder: PathBuf,
    tags: BTreeMap<String, String>,
    manifests: BTreeMap<String, String>,
    is_layout: bool,
}

impl Registry {
    pub fn open(case: &Path) -> Self {
        let folder = case.join("registry");
        let written = json_file(&folder.join("registry.json"));
        let map = |key: &str| serde_json::from_value(written[key].clone()).expect("a map of texts");
        Self { tags: map("tags"), manifests: map("manifests"), folder, is_layout: false }
    }

    /// An OCI layout around `image`, in which cosign keeps what speaks of it by kind.
    pub fn of_layout(folder: &Path, index: &Value, image: &Digest) -> Self {
        let mut registry =
            Self { folder: folder.to_owned(), tags: BTreeMap::new(), manifests: BTreeMap::new(), is_layout: true };
        for listed in index["manifests"].as_array().expect("manifests") {
            let digest = listed["digest"].as_str().expect("a digest").to_owned();
            let kind = match listed["annotations"]["kind"].as_str() {
                Some("dev.cosignproject.cosign/atts") => Some("att"),
                Some("dev.cosignproject.cosign/sigs") => Some("sig"),
                _ => None,
            };
            if let Some(kind) = kind {
                registry.tags.insert(format!("sha256-{}.{kind}", image.hex()), digest.clone());
            }
            registry.manifests.insert(digest, listed["mediaType"].as_str().expect("a type").to_owned());
        }
        registry
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(path)).ok()
    }

    pub fn resolve(&self, tag: &str) -> Digest {
        self.tags[tag].parse().expect("a digest")
    }
}

impl Content for Registry {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        let media_type = self.manifests.get(&digest.to_string()).cloned();
        let bytes = if self.is_layout {
            self.read(&format!("blobs/sha256/{}", digest.hex()))
        } else {
            self.read(&format!("manifests/sha256_{}.json", digest.hex()))
        };
        Ok(media_type.zip(bytes))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        Ok(self.tags.get(tag.as_str()).map(|digest| digest.parse()).transpose()?)
    }

    fn referrers(&self, _subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        // docker-registry 2.8.3 has no referrers API: the fallback tag is all there is.
        Ok(Vec::new())
    }

    fn blob(&self, digest: &Digest, _limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        let folder = if self.is_layout { "blobs/sha256/" } else { "blobs/sha256_" };
        Ok(self.read(&format!("{folder}{}", digest.hex())))
    }
}

fn json_file(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// `signature` asks for a signature, `attestation/<n>` for an attestation of the n-th kind; all by the one key.
fn policy(pem: &str) -> TrustPolicy {
    let mut text = format!("version = 1\n[keys.signer]\npem = '''\n{pem}'''\n");
    text += "[[rule]]\nname = \"signed\"\nrepositories = [\"signature\"]\n[rule.signature]\nkeys = [\"signer\"]\n";
    for (number, kind) in ATTESTATIONS.iter().enumerate() {
        text += &format!("[[rule]]\nname = \"{number}\"\nrepositories = [\"attestation/{number}\"]\n");
        text += &format!("[[rule.attestation]]\ntype = \"{kind}\"\nkeys = [\"signer\"]\n");
    }
    TrustPolicy::parse(text.as_bytes()).expect("the policy of the test")
}

fn key_of(case: &Path, file: &str) -> TrustPolicy {
    policy(&std::fs::read_to_string(case.join(file)).expect("a public key"))
}

/// What is refused, if it is.
fn verdict(policy: &TrustPolicy, registry: &Registry, tag: &str, repository: &str) -> Option<Refusal> {
    let candidate = Candidate {
        repository: repository.parse().expect("a name"),
        original: None,
        root: registry.resolve(tag),
        tags: vec!["v1".parse().expect("a tag")],
    };
    match judge(policy, &candidate, registry, jiff::Timestamp::UNIX_EPOCH).expect("a judgement") {
        Judgement::Admitted(_) => None,
        Judgement::Refused { refusal, .. } => Some(refusal),
    }
}

#[track_caller]
fn check(case: &Path, policy: &TrustPolicy, tag: &str, repository: &str, pass: bool) -> Option<Refusal> {
    let refusal = verdict(policy, &Registry::open(case), tag, repository);
    assert_eq!(refusal.is_none(), pass, "{} {tag} {repository}: {refusal:?}", case.display());
    refusal
}

#[test]
fn what_cosign_signed_with_a_key_is_judged_as_expected() {
    let Some(vectors) = vectors() else { return };
    for name in ["cosign-keyed-bundle-v03", "cosign-keyed-legacy", "cosign-keyed-bundle-tsa"] {
        let case = vectors.join("registry-forms").join(name);
        let expect = json_file(&case.join("expect.json"));
        let (right, wrong) = (key_of(&case, "key.pub"), key_of(&case, "wrong-key.pub"));
        for (target, expected) in expect["targets"].as_object().expect("targets") {
            let tag = target.split(' ').next().expect("a first word");
            let Some(signature) = expected["signature"].as_str() else { continue };
            check(&case, &right, tag, "signature", signature.starts_with("pass"));
            check(&case, &wrong, tag, "signature", false);
            let Some(listed) = expected["attestations"].as_array() else { continue };
            for (number, kind) in ATTESTATIONS.iter().enumerate() {
                let repository = format!("attestation/{number}");
                check(&case, &right, tag, &repository, listed.iter().any(|listed| listed == kind));
                check(&case, &wrong, tag, &repository, false);
            }
        }
    }
}

#[test]
fn what_was_tampered_with_is_judged_as_expected() {
    let Some(vectors) = vectors() else { return };
    let reasons = BTreeMap::from([
        ("buildx-unsigned", "not signed"),
        ("bundle-attestation-only", "an attestation is no signature"),
        ("bundle-referrer-tag-lie", "copied"),
        ("bundle-signature-flipped", "wrong key"),
        ("bundle-subject-swap", "copied"),
        ("legacy-empty", "not signed"),
        ("legacy-payload-edited", "wrong key"),
        ("legacy-tag-swap", "copied"),
        ("notation-jws-alg-none", "Notation"),
        ("notation-jws-tampered", "Notation"),
        ("notation-subject-swap", "Notation"),
    ]);
    let folder = vectors.join("registry-forms/adversarial");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder lists") {
        let case = entry.expect("an entry").path();
        let expect = json_file(&case.join("expect.json"));
        let (name, tag) = (expect["case"].as_str().expect("case"), expect["target_tag"].as_str().expect("tag"));
        let policy = if case.join("key.pub").is_file() {
            key_of(&case, "key.pub")
        } else {
            key_of(&vectors.join("registry-forms/cosign-keyed-legacy"), "key.pub")
        };
        assert_eq!(Registry::open(&case).resolve(tag).to_string(), expect["target_digest"].as_str().expect("digest"));
        let (signature, provenance) = match expect["expect"].as_str().expect("a verdict") {
            "pass" => (true, None),
            "fail" => (false, Some(false)),
            "signature rule: fail; attestation rule slsa/v1: pass" => (false, Some(true)),
            other => panic!("{name}: verdict '{other}' is not understood"),
        };
        let refusal = check(&case, &policy, tag, "signature", signature);
        if let Some(refusal) = refusal {
            let wanted = reasons.get(name).unwrap_or_else(|| panic!("{name} has no reason"));
            assert!(refusal.reason.contains(wanted), "{name}: '{refusal}' does not say '{wanted}'");
        }
        if let Some(pass) = provenance {
            check(&case, &policy, tag, "attestation/0", pass);
        }
        seen += 1;
    }
    assert_eq!(seen, reasons.len() + 1, "a case appeared or went away");
}

#[test]
fn what_a_policy_of_keys_alone_cannot_verify_is_refused_by_name() {
    let Some(vectors) = vectors() else { return };
    let forms = vectors.join("registry-forms");
    let policy = key_of(&forms.join("cosign-keyed-legacy"), "key.pub");
    for (name, reason) in [
        ("bundle", "keyless"),
        ("legacy", "keyless"),
        ("other-subject_fail", "keyless"),
        ("attestation-only", "an attestation is no signature"),
    ] {
        let case = forms.join(format!("cosign-keyless-private-{name}"));
        let refusal = check(&case, &policy, "1.0", "signature", false).expect("a refusal");
        assert!(refusal.reason.contains(reason), "{name}: {refusal}");
        check(&case, &policy, "1.0", "attestation/0", false);
    }
    for name in ["notation", "notation-timestamped"] {
        let refusal = check(&forms.join(name), &policy, "1.0", "signature", false).expect("a refusal");
        assert!(refusal.reason.contains("Notation"), "{name}: {refusal}");
    }
}

#[test]
fn no_keyless_bundle_passes_for_a_keyed_one() {
    let Some(vectors) = vectors() else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(vectors.join("bundles-conformance")).expect("the folder lists") {
        let case = entry.expect("an entry").path();
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        let Ok(bytes) = std::fs::read(case.join("bundle.sigstore.json")) else { continue };
        seen += 1;
        let keyed = sigstore::parse(&bytes).is_ok_and(|bundle| matches!(bundle.material, Material::Key { .. }));
        assert_eq!(keyed, name.starts_with("managed-key"), "{name}");
    }
    assert!(seen > 30, "only {seen} bundles were found");
}
