//! Pushing, as clients do it and as an attacker would.

use bytes::Bytes;
use serde_json::{Value, json};

use super::world::{ADMIT, DENY, Make, World};
use crate::http::body::BodyError;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};

pub(super) const NOWHERE: &str = "http://127.0.0.1:1";
pub(super) const TYPE: (&str, &str) = ("content-type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8");

pub(super) fn world(policy: &'static str) -> World {
    World::new(NOWHERE, Make { policy, ..Make::default() })
}

/// Opens a session and gives its address.
pub(super) async fn session(world: &World, repository: &str) -> String {
    let opened = world.push("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").await;
    assert_eq!((opened.status, opened.header("range")), (202, "0-0"));
    opened.header("location").to_owned()
}

pub(super) async fn blob(world: &World, repository: &str, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let put = world.push("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], bytes).await;
    assert_eq!((put.status, put.header("docker-content-digest")), (201, digest.to_string().as_str()));
    digest
}

pub(super) fn manifest(config: &Digest, config_bytes: usize, layer: &Digest, layer_bytes: usize) -> Vec<u8> {
    let value: Value = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config, "size": config_bytes},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_bytes}],
    });
    serde_json::to_vec(&value).unwrap()
}

#[tokio::test]
async fn pieces_in_order_and_the_image_comes_back() {
    let world = world(ADMIT);
    let layer: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
    let at = session(&world, "a/b").await;
    let first = world.push("PATCH", &at, &[("content-range", "0-299999")], &layer[..300_000]).await;
    assert_eq!((first.status, first.header("range")), (202, "0-299999"));
    let again = world.push("PATCH", &at, &[("content-range", "0-299999")], &layer[..300_000]).await;
    assert_eq!((again.status, again.header("range")), (416, "0-299999"));
    // A client that breaks off leaves what came: it asks how far that is and goes on.
    let cut = vec![Ok(Bytes::copy_from_slice(&layer[300_000..400_000])), Err(BodyError::Source("gone".into()))];
    assert_eq!(world.send("PATCH", &at, &[], cut, Some("127.0.0.1:1")).await.status, 400);
    let asked = world.push("GET", &at, &[], b"").await;
    assert_eq!((asked.status, asked.header("range")), (204, "0-399999"));
    let digest = Digest::of(&layer);
    let done = world.push("PUT", &format!("{at}?digest={digest}"), &[], &layer[400_000..]).await;
    assert_eq!(done.status, 201);
    assert_eq!(world.push("GET", &at, &[], b"").await.status, 404);
    // Before an admitted manifest points at it, those who may push read it in this repository, and nobody else.
    let uploaded = format!("/v2/a/b/blobs/{digest}");
    assert_eq!(world.get(&uploaded).await.status, 404);
    assert_eq!(world.push("GET", &uploaded, &[], b"").await.bytes(), layer);
    assert_eq!(world.push("HEAD", &uploaded, &[], b"").await.status, 200);
    assert_eq!(world.push("GET", &format!("/v2/a/blobs/{digest}"), &[], b"").await.status, 404);
    let config = blob(&world, "a/b", b"{}").await;
    let bytes = manifest(&config, 2, &digest, layer.len());
    let put = world.push("PUT", "/v2/a/b/manifests/v1", &[TYPE], &bytes).await;
    assert_eq!((put.status, put.header("docker-content-digest")), (201, Digest::of(&bytes).to_string().as_str()));
    assert_eq!(world.get("/v2/a/b/manifests/v1").await.bytes(), bytes);
    assert_eq!(world.get(&format!("/v2/a/b/blobs/{digest}")).await.bytes(), layer);
    // Mounted from where it may be read, and from nowhere else.
    let mount = |from: &str| format!("/v2/c/blobs/uploads/?mount={digest}&from={from}");
    assert_eq!(world.push("POST", &mount("elsewhere"), &[], b"").await.status, 202);
    assert_eq!(world.push("POST", &mount("a/b"), &[], b"").await.status, 201);
}

/// A manifest that is named by its SHA-512 is judged, served and tagged like any other, also below an index.
#[tokio::test]
async fn manifests_are_named_by_either_digest() {
    let world = world(ADMIT);
    let (config, layer) = (blob(&world, "a", b"{}").await, blob(&world, "a", b"layer").await);
    let image = manifest(&config, 2, &layer, 5);
    let image_digest = Algorithm::Sha512.hash(&image);
    let by_digest = format!("/v2/a/manifests/{image_digest}");
    let put = world.push("PUT", &format!("{by_digest}?tag=v1"), &[TYPE], &image).await;
    let promised = image_digest.to_string();
    assert_eq!((put.status, put.header("docker-content-digest")), (201, promised.as_str()));
    for address in [by_digest.as_str(), "/v2/a/manifests/v1"] {
        let got = world.get(address).await;
        assert_eq!((got.header("docker-content-digest"), got.bytes()), (promised.as_str(), image.as_slice()));
    }
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "subject": {"mediaType": OCI_MANIFEST, "digest": image_digest, "size": image.len()},
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": image_digest, "size": image.len()}],
    }));
    let index = index.unwrap();
    let digest = Algorithm::Sha512.hash(&index);
    let put = world.push("PUT", &format!("/v2/a/manifests/{digest}"), &[("content-type", OCI_INDEX)], &index).await;
    assert_eq!((put.status, put.header("oci-subject")), (201, promised.as_str()));
    let listed = world.get(&format!("/v2/a/referrers/{image_digest}")).await.json();
    assert_eq!(listed["manifests"][0]["digest"], digest.to_string());
    let wrong = world.push("PUT", &format!("/v2/a/manifests/{digest}"), &[TYPE], &image).await;
    assert_eq!((wrong.status, wrong.json()["errors"][0]["code"].as_str()), (400, Some("DIGEST_INVALID")));
}

/// What is fetched from elsewhere need not be here; it is served once it is. Any other layer must be.
#[tokio::test]
async fn a_layer_that_is_not_distributed_may_be_missing() {
    let world = world(ADMIT);
    let config = blob(&world, "a", b"{}").await;
    let layer = Digest::of(b"from elsewhere");
    let plain = String::from_utf8(manifest(&config, 2, &layer, 14)).unwrap();
    let layer_type = "application/vnd.oci.image.layer.";
    let foreign = plain.replace(layer_type, &format!("{layer_type}nondistributable."));
    assert_ne!(foreign, plain);
    assert_eq!(world.push("PUT", "/v2/a/manifests/v1", &[TYPE], plain.as_bytes()).await.status, 404);
    for _ in 0..2 {
        assert_eq!(world.push("PUT", "/v2/a/manifests/v1", &[TYPE], foreign.as_bytes()).await.status, 201);
    }
    assert_eq!(world.get("/v2/a/manifests/v1").await.bytes(), foreign.as_bytes());
    let address = format!("/v2/a/blobs/{layer}");
    assert_eq!(world.get(&address).await.status, 404);
    blob(&world, "a", b"from elsewhere").await;
    assert_eq!(world.get(&address).await.bytes(), b"from elsewhere");
}

#[tokio::test]
async fn sha512_and_a_wrong_digest() {
    let world = world(ADMIT);
    let digest = Algorithm::Sha512.hash(b"content");
    let at = session(&world, "a").await;
    assert_eq!(world.push("PUT", &format!("{at}?digest={digest}"), &[], b"content").await.status, 201);
    let at = session(&world, "a").await;
    let wrong = world.push("PUT", &format!("{at}?digest={digest}"), &[], b"other").await;
    assert_eq!((wrong.status, wrong.json()["errors"][0]["code"].as_str()), (400, Some("DIGEST_INVALID")));
}

/// Knowing a digest opens nothing, and neither does knowing a session.
#[tokio::test]
async fn what_another_repository_holds_is_not_there() {
    let world = world(ADMIT);
    let (config, layer) = (blob(&world, "a", b"{}").await, blob(&world, "a", b"secret").await);
    let stolen = world.push("PUT", "/v2/thief/manifests/v1", &[TYPE], &manifest(&config, 2, &layer, 6)).await;
    assert_eq!((stolen.status, stolen.json()["errors"][0]["code"].as_str()), (404, Some("MANIFEST_BLOB_UNKNOWN")));
    // Whoever may push may read it in `a`, and so may mount it from there, but not from where it is not.
    let mount = |from: &str| format!("/v2/thief/blobs/uploads/?mount={layer}&from={from}");
    assert_eq!(world.push("POST", &mount("b"), &[], b"").await.status, 202);
    assert_eq!(world.push("POST", &mount("a"), &[], b"").await.status, 201);
    let at = session(&world, "a").await;
    let foreign = at.replace("/v2/a/", "/v2/thief/");
    assert_eq!(world.push("PATCH", &foreign, &[], b"x").await.status, 404);
}

#[tokio::test]
async fn who_may_push_and_what_policy_says() {
    let denying = world(DENY);
    let (config, layer) = (blob(&denying, "a", b"{}").await, blob(&denying, "a", b"l").await);
    let bytes = manifest(&config, 2, &layer, 1);
    let refused = denying.push("PUT", "/v2/a/manifests/v1", &[TYPE], &bytes).await;
    assert_eq!((refused.status, refused.json()["errors"][0]["code"].as_str()), (403, Some("DENIED")));
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("postern bundle import"));
    for target in ["/v2/a/manifests/v1".to_owned(), format!("/v2/a/manifests/{}", Digest::of(&bytes))] {
        assert_ne!(denying.get(&target).await.status, 200);
    }
    assert_eq!(denying.get(&format!("/v2/a/blobs/{layer}")).await.status, 404);
    for remote in [Some("203.0.113.7:9"), None] {
        let stranger = denying.send("POST", "/v2/a/blobs/uploads/", &[], Vec::new(), remote).await;
        assert_eq!(stranger.status, 403);
    }
    let mirrored = denying.push("POST", "/v2/up.example/a/blobs/uploads/", &[], b"").await;
    assert_eq!((mirrored.status, mirrored.json()["errors"][0]["code"].as_str()), (403, Some("DENIED")));
}

/// Without a source, a blob is found wherever it can be read: after an upload, below an image, but not where it only is said
/// to be.
#[tokio::test]
async fn a_mount_that_names_no_source() {
    let world = World::new(NOWHERE, Make { sparse: true, ..Make::default() });
    let (config, layer) = (blob(&world, "b/c", b"{}").await, blob(&world, "b/c", b"layer").await);
    let absent = Digest::of(b"absent");
    let sparse = manifest(&config, 2, &absent, 6);
    assert_eq!(world.push("PUT", "/v2/b/c/manifests/sparse", &[TYPE], &sparse).await.status, 201);
    let mount = |to: &str, digest: &Digest| format!("/v2/{to}/blobs/uploads/?mount={digest}");
    assert_eq!(world.push("POST", &mount("a", &absent), &[], b"").await.status, 202);
    let mounted = world.push("POST", &mount("a", &layer), &[], b"").await;
    assert_eq!((mounted.status, mounted.header("location")), (201, format!("/v2/a/blobs/{layer}").as_str()));
    assert_eq!(world.push("GET", &format!("/v2/a/blobs/{layer}"), &[], b"").await.bytes(), b"layer");
    // From where it was mounted to, when it is gone from where it was pushed.
    assert_eq!(world.delete(&format!("/v2/b/c/blobs/{layer}"), &[]).await.status, 202);
    assert_eq!(world.push("POST", &mount("z", &layer), &[], b"").await.status, 201);
    for repository in ["a", "z"] {
        assert_eq!(world.delete(&format!("/v2/{repository}/blobs/{layer}"), &[]).await.status, 202);
    }
    assert_eq!(
        world.push("POST", &mount("d", &layer), &[], b"").await.status,
        202,
        "its bytes are here, its links are gone"
    );
    assert_eq!(world.push("POST", &format!("{}&from=", mount("d", &config)), &[], b"").await.status, 202);
}

/// Parts may be missing only where the configuration says so. Then they are missing, whoever else holds them.
#[tokio::test]
async fn an_image_of_which_parts_were_not_pushed() {
    let closed = world(ADMIT);
    let open = World::new(NOWHERE, Make { sparse: true, ..Make::default() });
    let secret = Digest::of(b"secret");
    let child = Digest::of(b"a manifest");
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": child, "size": 10}]});
    let index = serde_json::to_vec(&index).unwrap();
    for (world, expected) in [(&closed, 404), (&open, 201)] {
        let config = blob(world, "a", b"{}").await;
        blob(world, "other", b"secret").await;
        let image = manifest(&config, 2, &secret, 6);
        assert_eq!(world.push("PUT", "/v2/a/manifests/v1", &[TYPE], &image).await.status, expected);
        let put = world.push("PUT", "/v2/a/manifests/all", &[("content-type", OCI_INDEX)], &index).await;
        assert_eq!(put.status, expected);
        for (reference, bytes) in [("v1", &image), ("all", &index)] {
            let got = world.get(&format!("/v2/a/manifests/{reference}")).await;
            assert_eq!(
                (got.status, got.status != 200 || got.bytes() == bytes),
                (if expected == 201 { 200 } else { 404 }, true)
            );
        }
        for part in [format!("/v2/a/blobs/{secret}"), format!("/v2/a/manifests/{child}")] {
            assert_eq!(world.get(&part).await.status, 404, "{part}");
            assert_eq!(world.push("GET", &part, &[], b"").await.status, 404, "{part}");
        }
        // What is here has the size that it has.
        let wrong = world.push("PUT", "/v2/a/manifests/v2", &[TYPE], &manifest(&config, 3, &config, 2)).await;
        assert_eq!((wrong.status, wrong.json()["errors"][0]["code"].as_str()), (400, Some("MANIFEST_INVALID")));
    }
    let layer = open.push("POST", &format!("/v2/a/blobs/uploads/?digest={secret}"), &[], b"secret").await;
    assert_eq!(layer.status, 201);
    assert_eq!(open.get(&format!("/v2/a/blobs/{secret}")).await.bytes(), b"secret");
    assert!(open.store.check(crate::store::CheckDepth::Full, &crate::progress::Silent).unwrap().is_sound());
}

/// Pitfall 11: what the deny list names is not pulled any more, from the moment the policy is activated.
#[tokio::test]
async fn pitfall_11_what_is_denied_is_not_pulled_any_more() {
    let mut world = world(ADMIT);
    let (config, layer) = (blob(&world, "a/b", b"{}").await, blob(&world, "a/b", b"layer").await);
    let image = manifest(&config, 2, &layer, 5);
    assert_eq!(world.push("PUT", "/v2/a/b/manifests/v1", &[TYPE], &image).await.status, 201);
    let digest = Digest::of(&image);
    let places = ["/v2/a/b/manifests/v1".to_owned(), format!("/v2/a/b/manifests/{digest}")];
    let entry = |until: &str| {
        format!("version = 1\ndefault = \"admit\"\n[[deny]]\ndigest = \"{digest}\"\nreason = \"stolen key\"\n{until}")
    };
    for (policy, status) in
        [(entry(""), 403), (entry("until = \"2026-11-01T00:00:00Z\"\n"), 200), (ADMIT.to_owned(), 200)]
    {
        world.activate(&policy);
        for place in &places {
            let got = world.get(place).await;
            assert_eq!(got.status, status, "{place}: {policy}");
            assert_eq!(world.ask("HEAD", place, &[]).await.status, status);
            if status == 403 {
                assert!(String::from_utf8_lossy(got.bytes()).contains("rule 'deny-list'"));
            }
        }
    }
}
