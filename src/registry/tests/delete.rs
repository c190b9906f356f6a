//! Deleting, and what happens to the bytes.

use std::time::Duration;

use serde_json::json;

use super::push::{TYPE, blob, manifest, world};
use super::world::{ADMIT, World};
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use crate::retention::{SweepOptions, sweep};
use crate::store::PrincipalRef;

/// An image with a layer of its own in `repository`, under `tag`.
async fn image(world: &World, repository: &str, tag: &str, layer: &[u8]) -> (Digest, Digest) {
    let (config, layer_digest) = (blob(world, repository, b"{}").await, blob(world, repository, layer).await);
    let bytes = manifest(&config, 2, &layer_digest, layer.len());
    let put = world.push("PUT", &format!("/v2/{repository}/manifests/{tag}"), &[TYPE], &bytes).await;
    assert_eq!(put.status, 201);
    (Digest::of(&bytes), layer_digest)
}

async fn delete(world: &World, target: &str) -> u16 {
    let got = world.delete(target, &[]).await;
    if got.status == 405 {
        assert!(got.header("allow").contains("GET"), "RFC 9110 asks for it");
    }
    got.status
}

fn swept(world: &World) -> u64 {
    let options = SweepOptions { grace_seconds: 1_000, dry_run: false };
    sweep(&world.store, options, &PrincipalRef::operator("0")).unwrap().unlinked
}

#[tokio::test]
async fn a_tag_goes_alone_and_a_manifest_with_its_tags() {
    let world = world(ADMIT);
    let (digest, layer) = image(&world, "a", "v1", b"layer").await;
    image(&world, "a", "v2", b"layer").await;
    assert_eq!(delete(&world, "/v2/a/manifests/v1").await, 202);
    assert_eq!(delete(&world, "/v2/a/manifests/v1").await, 404);
    assert_eq!(world.get("/v2/a/manifests/v1").await.status, 404);
    assert_eq!(world.get("/v2/a/manifests/v2").await.status, 200);
    // While an image needs it, a layer stays.
    let blob_target = format!("/v2/a/blobs/{layer}");
    let kept = world.delete(&blob_target, &[]).await;
    assert_eq!((kept.status, kept.json()["errors"][0]["code"].as_str()), (405, Some("UNSUPPORTED")));
    assert!(kept.json()["errors"][0]["message"].as_str().unwrap().contains(&digest.to_string()));
    assert_eq!(world.get(&blob_target).await.status, 200);

    let target = format!("/v2/a/manifests/{digest}");
    assert_eq!(delete(&world, &target).await, 202);
    assert_eq!(delete(&world, &target).await, 404);
    for gone in [target.as_str(), "/v2/a/manifests/v2", &blob_target] {
        assert_eq!(world.get(gone).await.status, 404, "{gone}");
        assert_eq!(world.ask("HEAD", gone, &[]).await.status, 404, "{gone}");
    }
    assert_eq!(delete(&world, &blob_target).await, 202);
    assert_eq!(delete(&world, &blob_target).await, 404);
    assert_eq!(world.push("GET", &blob_target, &[], b"").await.status, 404, "nor for those who may push");
}

#[tokio::test]
async fn bytes_go_after_their_grace_and_come_back_when_they_are_pushed_again() {
    let world = world(ADMIT);
    let (digest, layer) = image(&world, "a", "v1", b"layer").await;
    image(&world, "b", "v1", b"layer").await;
    let (alone, own) = image(&world, "a", "v2", b"own").await;
    // Stored once more, and no event of it: that must not keep it from ever being swept (found by the model).
    blob(&world, "a", b"own").await;
    for (name, digest) in [("a", digest), ("a", alone)] {
        assert_eq!(delete(&world, &format!("/v2/{name}/manifests/{digest}")).await, 202);
    }
    for digest in [layer, own] {
        assert_eq!(delete(&world, &format!("/v2/a/blobs/{digest}")).await, 202);
    }
    assert_eq!(swept(&world), 0, "the grace begins");
    world.clock.advance(Duration::from_secs(900));
    assert_eq!(swept(&world), 0);
    world.clock.advance(Duration::from_secs(101));
    assert_eq!(swept(&world), 2, "the manifest and the layer that nothing else needs");
    assert!(!world.store.blobs().has(&own) && !world.store.blobs().has(&alone));
    assert!(world.store.blobs().has(&digest) && world.store.blobs().has(&layer), "the other repository needs them");
    assert_eq!(world.get(&format!("/v2/b/blobs/{layer}")).await.bytes(), b"layer");
    image(&world, "a", "v2", b"own").await;
    assert_eq!(world.get(&format!("/v2/a/blobs/{own}")).await.bytes(), b"own");
}

/// What an index lists stays until the index is gone; what speaks of a manifest outlives it and finds it again.
#[tokio::test]
async fn parts_and_referrers_of_what_is_deleted() {
    let world = world(ADMIT);
    let (child, _) = image(&world, "a", "child", b"layer").await;
    let size = world.get("/v2/a/manifests/child").await.bytes().len();
    let part = json!({"mediaType": OCI_MANIFEST, "digest": child, "size": size});
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [part]})).unwrap();
    assert_eq!(world.push("PUT", "/v2/a/manifests/all", &[("content-type", OCI_INDEX)], &index).await.status, 201);
    let speaks = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": part, "artifactType": "example/note",
    }));
    let speaks = speaks.unwrap();
    let note = Digest::of(&speaks);
    let put = world.push("PUT", &format!("/v2/a/manifests/{note}"), &[("content-type", OCI_INDEX)], &speaks).await;
    assert_eq!(put.status, 201);

    let target = format!("/v2/a/manifests/{child}");
    assert_eq!(delete(&world, &target).await, 405);
    assert_eq!(world.get("/v2/a/manifests/child").await.status, 200, "its tag is still there too");
    assert_eq!(delete(&world, &format!("/v2/a/manifests/{}", Digest::of(&index))).await, 202);
    assert_eq!(delete(&world, &target).await, 202);
    let referrers = world.get(&format!("/v2/a/referrers/{child}")).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], note.to_string());
    image(&world, "a", "child", b"layer").await;
    assert_eq!(world.get(&format!("/v2/a/referrers/{child}")).await.json(), referrers);
    assert_eq!(delete(&world, &format!("/v2/a/manifests/{note}")).await, 202);
    let referrers = world.get(&format!("/v2/a/referrers/{child}")).await;
    assert_eq!((referrers.status, referrers.json()["manifests"].as_array().map(Vec::len)), (200, Some(0)));
}

#[tokio::test]
async fn who_may_not_delete_and_what_is_not_deleted() {
    let world = world(ADMIT);
    let (digest, layer) = image(&world, "a", "v1", b"layer").await;
    for target in ["/v2/a/manifests/v1".to_owned(), format!("/v2/a/manifests/{digest}"), format!("/v2/a/blobs/{layer}")]
    {
        // Without an account nobody deletes, from wherever they push; where there are accounts they are asked to sign in.
        let status = if world.access.is_in_use() { 401 } else { 403 };
        assert_eq!(world.push("DELETE", &target, &[], b"").await.status, status);
        let mirrored = target.replace("/v2/a/", "/v2/up.example/a/");
        let refused = world.delete(&mirrored, &[]).await;
        assert_eq!(refused.status, 405);
        assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("upstream"));
        let elsewhere = target.replace("/v2/a/", "/v2/b/");
        assert_eq!(delete(&world, &elsewhere).await, 404);
        let lease = world.store.lease(&["a".parse().unwrap()], "an import").unwrap();
        let busy = world.delete(&target, &[]).await;
        assert_eq!((busy.status, busy.header("retry-after")), (503, "5"));
        drop(lease);
    }
    assert_eq!(world.get("/v2/a/manifests/v1").await.status, 200);
}

/// A manifest with more tags than one transaction takes goes with all of them.
#[tokio::test]
async fn very_many_tags_of_one_manifest() {
    let world = world(ADMIT);
    let (digest, _) = image(&world, "a", "v1", b"layer").await;
    let repository: crate::oci::name::RepositoryName = "a".parse().unwrap();
    let changes = (0..1_234).map(|number| crate::store::Change::MoveTag {
        repository: repository.clone(),
        tag: format!("t{number}").parse().unwrap(),
        target: digest,
        expected: None,
    });
    world.store.commit(crate::store::Transaction::new(PrincipalRef::system("test"), changes.collect())).unwrap();
    assert_eq!(delete(&world, &format!("/v2/a/manifests/{digest}")).await, 202);
    assert!(world.store.tags(&repository, None, 1).unwrap().is_empty());
}
