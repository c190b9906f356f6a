//! Signatures and attestations as cosign 3 makes them with a key, and the forgeries that are made of true ones.
//!
//! Everything is offline: the signing configuration names no service and the trusted root is empty. Without the
//! latter cosign asks its public TUF repository even for a signature by key, and only warns when it gets no answer.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Image;
use crate::clients::Clients;
use crate::http;
use crate::process::{self, Ran};

const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// cosign's older form: a payload as layer, the signature in its annotation, found by tag.
const LEGACY: [&str; 3] = ["--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false"];

const PATIENCE: Duration = Duration::from_secs(120);

/// A key pair of cosign's, without a password.
#[derive(Debug, Clone)]
pub struct SigningKey {
    pub private: PathBuf,
    pub public: PathBuf,
    offline: OfflineConfiguration,
}

#[derive(Debug, Clone)]
struct OfflineConfiguration {
    signing_config: String,
    trusted_root: String,
}

impl SigningKey {
    /// A new pair, kept in the clients' home.
    #[track_caller]
    pub fn generate(clients: &Clients, name: &str) -> Self {
        let folder = clients.home().join("keys");
        std::fs::create_dir_all(&folder).expect("the home is ours");
        let prefix = folder.join(name).display().to_string();
        clients.succeed("cosign", ["generate-key-pair", "--output-key-prefix", &prefix]);
        Self {
            private: format!("{prefix}.key").into(),
            public: format!("{prefix}.pub").into(),
            offline: OfflineConfiguration::write(clients),
        }
    }

    /// For a trust policy.
    #[track_caller]
    pub fn public_pem(&self) -> String {
        std::fs::read_to_string(&self.public).expect("cosign wrote it")
    }

    fn private_path(&self) -> String {
        self.private.display().to_string()
    }
}

impl OfflineConfiguration {
    fn write(clients: &Clients) -> Self {
        let path = |name: &str| clients.home().join(name).display().to_string();
        let (signing_config, trusted_root) = (path("signing-config.json"), path("trusted-root.json"));
        for (command, file, services) in [
            ("signing-config", &signing_config, ["fulcio", "oidc", "rekor", "tsa"]),
            ("trusted-root", &trusted_root, ["fulcio", "ctfe", "rekor", "tsa"]),
        ] {
            let mut arguments = vec![command.to_owned(), "create".to_owned(), "--out".to_owned(), file.clone()];
            arguments.extend(services.map(|service| format!("--no-default-{service}")));
            clients.succeed("cosign", arguments);
        }
        Self { signing_config, trusted_root }
    }

    fn arguments(&self) -> [&str; 5] {
        ["--signing-config", &self.signing_config, "--trusted-root", &self.trusted_root, "-y"]
    }
}

/// cosign 3's own form: a Sigstore bundle in a manifest whose subject is the image.
#[track_caller]
pub fn sign_bundle(clients: &Clients, key: &SigningKey, image: &Image) {
    process::run(sign_bundle_command(clients, key, image), PATIENCE).succeeded();
}

/// The same, not yet run: to be traced, or run where there is no network.
pub fn sign_bundle_command(clients: &Clients, key: &SigningKey, image: &Image) -> Command {
    let mut command = clients.command("cosign");
    command.arg("sign").arg("--key").arg(&key.private).args(key.offline.arguments()).arg(image.pinned());
    command
}

/// The form of cosign before version 3: the tag `sha256-….sig`.
#[track_caller]
pub fn sign_legacy(clients: &Clients, key: &SigningKey, image: &Image) {
    let (private, pinned) = (key.private_path(), image.pinned());
    let fixed = ["sign", "--key", &private];
    clients.succeed("cosign", fixed.into_iter().chain(LEGACY).chain(["-y", &pinned]));
}

/// SLSA provenance v1 that names `builder_id`, as a Sigstore bundle.
#[track_caller]
pub fn attest_provenance(clients: &Clients, key: &SigningKey, image: &Image, builder_id: &str) {
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://build.example/container/v1",
            "externalParameters": {"source": format!("https://source.example/{}", image.repository)},
            "resolvedDependencies": [{"uri": "https://source.example/base", "digest": {"sha256": "00".repeat(32)}}],
        },
        "runDetails": {"builder": {"id": builder_id}, "metadata": {"invocationId": "https://build.example/run/1"}},
    });
    let file = clients.home().join("predicate.json");
    std::fs::write(&file, predicate.to_string()).expect("the home is ours");
    let (private, file, pinned) = (key.private_path(), file.display().to_string(), image.pinned());
    let fixed = ["attest", "--key", &private, "--type", "slsaprovenance1", "--predicate", &file];
    clients.succeed("cosign", fixed.into_iter().chain(key.offline.arguments()).chain([pinned.as_str()]));
}

/// `cosign verify --key`, offline. It looks for bundles and, where there are none, for the older form.
///
/// A warning to whoever relies on it: with a bundle, cosign 3.1 takes *any* attestation by that key for a signature.
/// An image with provenance and no signature passes here; it must not pass Postern's signature rule.
#[track_caller]
pub fn cosign_verify(clients: &Clients, key: &SigningKey, reference: &str) -> Ran {
    let public = key.public.display().to_string();
    clients.run("cosign", ["verify", "--insecure-ignore-tlog", "--key", &public, reference])
}

/// The same for the older form alone.
#[track_caller]
pub fn cosign_verify_legacy(clients: &Clients, key: &SigningKey, reference: &str) -> Ran {
    let public = key.public.display().to_string();
    let fixed = ["verify", "--insecure-ignore-tlog", "--new-bundle-format=false", "--key", &public];
    clients.run("cosign", fixed.into_iter().chain([reference]))
}

/// `cosign verify-attestation` for SLSA provenance v1; its output holds the statement.
#[track_caller]
pub fn cosign_verify_provenance(clients: &Clients, key: &SigningKey, reference: &str) -> Ran {
    let public = key.public.display().to_string();
    let fixed = ["verify-attestation", "--insecure-ignore-tlog", "--type", "slsaprovenance1", "--key", &public];
    clients.run("cosign", fixed.into_iter().chain([reference]))
}

/// Forgery: the older signature of one image under the tag where another's would stand.
#[track_caller]
pub fn copy_legacy_signature(clients: &Clients, from: &Image, to: &Image) {
    let place = |image: &Image| format!("{}/{}:{}", image.address, image.repository, image.signature_tag());
    clients.succeed("crane", ["copy", &place(from), &place(to)]);
}

/// Forgery: every bundle that refers to one image, its manifest's subject rewritten to another. Gives their digests.
///
/// The registry is spoken to by plain HTTP: no client would push a manifest under a digest of our making.
#[track_caller]
pub fn copy_bundle_signatures(clients: &Clients, from: &Image, to: &Image) -> Vec<String> {
    let subject = descriptor(to);
    let fallback = manifest(from, &from.fallback_tag()).json();
    let listed = fallback["manifests"].as_array().expect("a fallback tag is an index").clone();
    let mut forged = Vec::new();
    for referrer in listed {
        let digest = referrer["digest"].as_str().expect("a descriptor has a digest").to_owned();
        let mut content = manifest(from, &digest).json();
        copy_blobs(clients, from, to, &content);
        content["subject"] = subject.clone();
        let bytes = content.to_string().into_bytes();
        let mut entry = referrer.clone();
        entry["digest"] = sha256(&bytes).into();
        entry["size"] = bytes.len().into();
        put_manifest(to, &sha256(&bytes), MANIFEST_MEDIA_TYPE, &bytes);
        forged.push(entry);
    }
    let digests = forged.iter().filter_map(|entry| entry["digest"].as_str().map(str::to_owned)).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": forged});
    put_manifest(to, &to.fallback_tag(), INDEX_MEDIA_TYPE, index.to_string().as_bytes());
    digests
}

/// Layers and config of a manifest, from one repository into another.
fn copy_blobs(clients: &Clients, from: &Image, to: &Image, content: &Value) {
    let layers = content["layers"].as_array().expect("an image manifest has layers");
    for blob in layers.iter().chain([&content["config"]]) {
        let digest = blob["digest"].as_str().expect("a descriptor has a digest");
        let name = format!("{}/{}@{digest}", from.address, from.repository);
        let bytes = clients.run("crane", ["blob", &name]).succeeded().stdout;
        put_blob(to, digest, &bytes);
    }
}

fn put_blob(to: &Image, digest: &str, bytes: &[u8]) {
    let uploads = format!("/v2/{}/blobs/uploads/", to.repository);
    let session = send(to, "POST", &uploads, &[], b"").expect_status(202);
    let location = session.header("location").expect("an upload session has a location").to_owned();
    // Either a path or a whole address.
    let path = location.split_once("://").map_or(location.as_str(), |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
    let separator = if path.contains('?') { '&' } else { '?' };
    let target = format!("{path}{separator}digest={digest}");
    send(to, "PUT", &target, &[("Content-Type", "application/octet-stream")], bytes).expect_status(201);
}

fn put_manifest(to: &Image, reference: &str, media_type: &str, bytes: &[u8]) {
    let target = format!("/v2/{}/manifests/{reference}", to.repository);
    send(to, "PUT", &target, &[("Content-Type", media_type)], bytes).expect_status(201);
}

fn manifest(image: &Image, reference: &str) -> http::Response {
    let target = format!("/v2/{}/manifests/{reference}", image.repository);
    let accepted = format!("{MANIFEST_MEDIA_TYPE}, {INDEX_MEDIA_TYPE}");
    send(image, "GET", &target, &[("Accept", &accepted)], b"").expect_status(200)
}

fn descriptor(image: &Image) -> Value {
    let found = manifest(image, &image.digest);
    json!({
        "mediaType": found.header("content-type").expect("a manifest has a type"),
        "size": found.body.len(),
        "digest": image.digest,
    })
}

fn send(image: &Image, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> http::Response {
    http::request(&image.address, method, target, headers, body)
        .unwrap_or_else(|error| panic!("{method} {target} at {}: {error}", image.address))
}

/// A digest as registries write it.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
