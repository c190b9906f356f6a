//! Content whose bytes the disk has lost comes back: from the upstream, and by a push.

use super::world::{Make, World, run};
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::store::{Losses, ScrubOptions};
use crate::sys::dir::Create;

fn rot(world: &World, digest: &Digest) {
    let hex = digest.hex();
    let path = format!("blobs/sha256/{}/{hex}", &hex[..2]);
    world.store.dir().open_write(&path, Create::Existing).unwrap().write_at(b"?", 1).unwrap();
}

fn scrub(world: &World) -> Losses {
    world.store.scrub(ScrubOptions { bytes_per_second: 0 }, &|| false, &Silent).unwrap().losses
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_upstream_when_it_is_asked_for_or_repaired() {
    let up = run().await;
    let (_, child, blob) = up.outside.put_image("a", "v1", b"layer of some length");
    let world = World::new(&up.url, Make::default());
    let target = format!("/v2/up.example/a/blobs/{blob}");
    let image = "up.example/a:v1".parse().unwrap();
    world.mirror.fetch_all(&image, None, &Silent).await.unwrap();
    assert!(scrub(&world).is_empty());

    rot(&world, &blob);
    assert_eq!(scrub(&world).lacking[0].digest, blob);
    assert_eq!(world.get(&target).await.bytes(), b"layer of some length", "a client who asks heals it");
    assert!(scrub(&world).is_empty());

    rot(&world, &blob);
    scrub(&world);
    assert_eq!(world.mirror.fetch_all(&image, None, &Silent).await.unwrap().blobs_fetched, 1);
    assert!(scrub(&world).is_empty());

    rot(&world, &blob);
    rot(&world, &child);
    let losses = scrub(&world);
    assert_eq!((losses.lacking.len(), losses.images.len()), (2, 1));
    for lacking in losses.lacking {
        let holder = &lacking.held_by[0];
        if holder.is_manifest {
            world.mirror.restore_manifest(&holder.repository, lacking.digest, lacking.size_bytes).await.unwrap();
        } else {
            world.mirror.restore_blob(&holder.repository, lacking.digest, lacking.size_bytes).await.unwrap();
        }
    }
    assert!(scrub(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn by_whoever_pushes_it_once_more() {
    let world = World::new("http://127.0.0.1:9", Make::default());
    let (layer, config) = (Digest::of(b"pushed layer"), Digest::of(b"{}"));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":12}}]}}"#
    );
    let push = async || {
        for (digest, content) in [(config, &b"{}"[..]), (layer, b"pushed layer")] {
            if world.ask("HEAD", &format!("/v2/own/app/blobs/{digest}"), &[]).await.status == 200 {
                continue;
            }
            let target = format!("/v2/own/app/blobs/uploads/?digest={digest}");
            assert_eq!(world.push("POST", &target, &[], content).await.status, 201);
        }
        let headers = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
        assert_eq!(world.push("PUT", "/v2/own/app/manifests/v1", &headers, manifest.as_bytes()).await.status, 201);
    };
    push().await;
    rot(&world, &layer);
    rot(&world, &Digest::of(manifest.as_bytes()));
    assert_eq!(scrub(&world).lacking.len(), 2);
    push().await;
    assert!(scrub(&world).is_empty());
    assert_eq!(world.get("/v2/own/app/manifests/v1").await.bytes(), manifest.as_bytes());
}
