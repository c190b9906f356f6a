//! The harness against itself: what later tests take for granted about the world outside, shown once.

use std::time::Duration;

use crate::clients::Clients;
use crate::containerd::{self, Containerd};
use crate::http;
use crate::outside::signing::{self, SigningKey};
use crate::outside::{Image, NEEDED, Outside, images};
use crate::process;
use crate::trace::Trace;

/// One registry, three kinds of image, both forms of signature, an attestation, and the forgeries that cosign refuses.
#[test]
fn outside_world_stands() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let outside = Outside::start(&clients);
    let (app, unsigned) = (outside.push_multi_platform("demo/app", "v1"), outside.push_single("demo/unsigned", "v1"));
    let tools = outside.push_semver("demo/tool");

    let key = SigningKey::generate(&clients, "signer");
    let stranger = SigningKey::generate(&clients, "stranger");
    signing::sign_bundle(&clients, &key, &app);
    signing::sign_legacy(&clients, &key, &app);
    signing::attest_provenance(&clients, &key, &app, "https://builder.example/main");

    signing::cosign_verify(&clients, &key, &app.pinned()).succeeded();
    signing::cosign_verify_legacy(&clients, &key, &app.pinned()).succeeded();
    let provenance = signing::cosign_verify_provenance(&clients, &key, &app.pinned()).succeeded().text();
    assert!(provenance.contains("application/vnd.in-toto+json"), "{provenance}");
    signing::cosign_verify(&clients, &stranger, &app.pinned()).failed_saying("could not verify envelope");
    signing::cosign_verify(&clients, &key, &unsigned.pinned()).failed_saying("no signatures found");

    signing::copy_legacy_signature(&clients, &app, &unsigned);
    signing::cosign_verify_legacy(&clients, &key, &unsigned.pinned()).failed_saying("missing digest in claim");
    let forged = signing::copy_bundle_signatures(&clients, &app, &tools[0]);
    assert_eq!(forged.len(), 2, "a signature and an attestation refer to the image");
    signing::cosign_verify(&clients, &key, &tools[0].pinned()).failed_saying("does not match any digest");

    let tags = http::get(outside.address(), "/v2/demo/tool/tags/list").expect_status(200).json();
    let listed = tags["tags"].as_array().expect("a list of tags").iter().filter_map(|tag| tag.as_str());
    assert!(images::SEMVER_TAGS.iter().all(|tag| listed.clone().any(|found| found == *tag)), "{tags}");
    let digests: std::collections::BTreeSet<_> = tools.iter().map(|image| image.digest.clone()).collect();
    assert_eq!(digests.len(), images::SEMVER_TAGS.len(), "every version has content of its own");
}

/// An index names its platforms, and so does each image's own configuration.
#[test]
fn platforms_are_named_in_index_and_configuration() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let outside = Outside::start(&clients);
    let app = outside.push_multi_platform("demo/app", "v1");
    for (_, platform) in images::PLATFORMS {
        let text = clients.succeed("crane", ["config", "--platform", platform, &app.pinned()]);
        let config: serde_json::Value = serde_json::from_str(&text).expect("a configuration is JSON");
        let parts = ["os", "architecture", "variant"].map(|key| config[key].as_str().unwrap_or_default());
        assert_eq!(parts.join("/").trim_end_matches('/'), platform);
    }
    assert_eq!(clients.succeed("crane", ["ls", &format!("{}/demo/app", outside.address())]), "v1");
}

/// The same names give the same digests: a second registry, a second run.
#[test]
fn images_are_reproducible() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let digest = || {
        let outside = Outside::start(&clients);
        (outside.push_multi_platform("demo/app", "v1").digest, outside.push_single("demo/tool", "v1.0.0").digest)
    };
    assert_eq!(digest(), digest());
}

/// Killed, the upstream refuses connections; revived, it has what it had.
#[test]
fn the_upstream_can_go_and_come_back() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let mut outside = Outside::start(&clients);
    let image = outside.push_single("demo/tool", "v1");
    outside.kill();
    std::net::TcpStream::connect(outside.address()).expect_err("nobody listens there");
    outside.revive();
    assert_eq!(outside.image("demo/tool", "v1"), image);
    let asked = "HEAD /v2/demo/tool/manifests/v1 200 go-containerregistry";
    assert_eq!(outside.requests().iter().filter(|line| **line == asked).count(), 2, "{:#?}", outside.requests());
}

/// Every client that the crossing uses can pull from here, and asks in its own way.
#[test]
fn each_client_pulls() {
    let wanted = [NEEDED.as_slice(), &containerd::NEEDED, &["skopeo", "podman", "oras", "notation"]].concat();
    let Some(clients) = Clients::find(&wanted) else { return };
    let outside = Outside::start(&clients);
    let app = outside.push_multi_platform("demo/app", "v1");
    let target = |name: &str| clients.home().join(name).display().to_string();

    clients.succeed("crane", ["pull", "--platform", "linux/arm/v7", &app.pinned(), &target("app.tar")]);
    let (source, layout) = (format!("docker://{}", app.tagged()), format!("oci:{}:v1", target("layout")));
    clients.succeed("skopeo", ["copy", "--all", "--src-tls-verify=false", &source, &layout]);
    clients.succeed("podman", ["pull", "--tls-verify=false", "--platform", "linux/arm64", &app.tagged()]);
    clients.succeed("oras", ["manifest", "fetch", "--plain-http", &app.tagged()]);
    clients.succeed("notation", ["list", "--insecure-registry", &app.tagged()]);

    let node = Containerd::start(&clients);
    node.mirror("upstream.example", &format!("http://{}", outside.address()), None);
    node.pull("upstream.example/demo/app:v1", "linux/arm/v7").succeeded();
    assert!(node.content().contains(&app.digest));
    let asked = outside.requests();
    assert!(asked.iter().any(|line| line.contains("/v2/demo/app/manifests/v1?ns=upstream.example 200 containerd/")));
    for agent in ["go-containerregistry", "skopeo/", "containers/", "oras/", "notation/", "containerd/"] {
        assert!(asked.iter().any(|line| line.contains(agent)), "nobody said {agent}: {asked:#?}");
    }
}

/// Signing by key calls nobody but the registry: without the empty trusted root it would ask a public repository.
#[test]
fn signing_asks_nobody_outside() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let Some(trace) = Trace::to(&clients.home().join("record")) else { return };
    let outside = Outside::start(&clients);
    let image = outside.push_single("demo/tool", "v1");
    let key = SigningKey::generate(&clients, "signer");
    assert!(key.public_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
    let sign = signing::sign_bundle_command(&clients, &key, &image);
    let ran = process::run(trace.wrap(&sign), Duration::from_secs(120)).succeeded();
    trace.assert_silent(ran.pid);
}

/// A signature names a digest, not a place: copied with its image it verifies elsewhere. So the repository that a key
/// may sign for has to be our rule; no signature will ever say it.
#[test]
fn a_signature_is_good_under_any_name() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let outside = Outside::start(&clients);
    let image = outside.push_single("demo/tool", "v1");
    let key = SigningKey::generate(&clients, "signer");
    signing::sign_bundle(&clients, &key, &image);
    let elsewhere = image.at(outside.address(), "other/name");
    clients.succeed("crane", ["copy", &image.tagged(), &elsewhere.tagged()]);
    let fallback = |image: &Image| format!("{}/{}:{}", image.address, image.repository, image.fallback_tag());
    clients.succeed("crane", ["copy", &fallback(&image), &fallback(&elsewhere)]);
    signing::cosign_verify(&clients, &key, &elsewhere.pinned()).succeeded();
}

/// Where cosign 3.1 is more lenient than we are: provenance alone passes for a signature.
#[test]
fn cosign_takes_an_attestation_for_a_signature() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let outside = Outside::start(&clients);
    let image = outside.push_single("demo/tool", "v1");
    let key = SigningKey::generate(&clients, "signer");
    signing::attest_provenance(&clients, &key, &image, "https://builder.example/main");
    signing::cosign_verify(&clients, &key, &image.pinned()).succeeded();
}
