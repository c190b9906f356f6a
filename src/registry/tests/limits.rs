//! What a client can make grow has an end, and one client does not take it all.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;

use super::push::{NOWHERE, TYPE, blob, session, world};
use super::world::{ADMIT, Make, World};
use crate::limits::REFERRERS_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::oci::signature_tag::SignatureTagKind;
use crate::registry::uploads::UploadSettings;

fn small(uploads: UploadSettings) -> World {
    World::new(NOWHERE, Make { uploads, ..Make::default() })
}

#[tokio::test]
async fn one_client_does_not_take_every_session() {
    let world = small(UploadSettings { sessions_per_client_count_max: 2, ..UploadSettings::default() });
    let first = session(&world, "a").await;
    session(&world, "b").await;
    let uploads = "/v2/a/blobs/uploads/";
    assert_eq!(world.push("POST", uploads, &[], b"").await.status, 429);
    let other = world.send("POST", uploads, &[], Vec::new(), Some("127.0.0.2:1")).await;
    assert_eq!(other.status, 202);
    assert_eq!(world.push("DELETE", &first, &[], b"").await.status, 204);
    assert_eq!(world.push("POST", uploads, &[], b"").await.status, 202);
}

/// A place among the bodies is given up by whoever sends nothing, and by whoever sends a byte now and then.
#[tokio::test]
async fn slow_clients_hold_no_place() {
    let world = small(UploadSettings { bodies_count_max: 1, body_idle_seconds_max: 1, ..UploadSettings::default() });
    let at = session(&world, "a").await;
    let silent = futures_util::stream::pending().boxed();
    assert_eq!(world.stream("PATCH", &at, &[], silent, Some("127.0.0.1:1")).await.status, 408);
    let trickle = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some((Ok(Bytes::from_static(b"x")), ()))
    });
    assert_eq!(world.stream("PATCH", &at, &[], trickle.boxed(), Some("127.0.0.1:1")).await.status, 408);
    let asked = world.push("GET", &at, &[], b"").await;
    assert!(asked.status == 204 && asked.header("range") != "0-0", "what came is kept: {}", asked.header("range"));
    blob(&world, "a", b"the place is free").await;
}

#[tokio::test]
async fn referrers_of_one_subject() {
    let world = world(ADMIT);
    let empty = blob(&world, "a", b"{}").await;
    let part = json!({"mediaType": OCI_EMPTY, "digest": empty, "size": 2});
    let subject = Digest::of(b"a subject");
    let push = async |number: usize| {
        let note = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part, "layers": [],
            "annotations": {"n": number.to_string()}, "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}});
        let bytes = serde_json::to_vec(&note).unwrap();
        let digest = Digest::of(&bytes);
        (world.push("PUT", &format!("/v2/a/manifests/{digest}"), &[TYPE], &bytes).await, digest)
    };
    for number in 0..REFERRERS_COUNT_MAX {
        assert_eq!(push(number).await.0.status, 201);
    }
    let (refused, _) = push(REFERRERS_COUNT_MAX).await;
    assert_eq!((refused.status, refused.json()["errors"][0]["code"].as_str()), (403, Some("DENIED")));
    let (again, digest) = push(0).await;
    assert_eq!(again.status, 201, "it is there already");
    assert_eq!(world.delete(&format!("/v2/a/manifests/{digest}"), &[]).await.status, 202);
    assert_eq!(push(REFERRERS_COUNT_MAX).await.0.status, 201);

    let listed: Vec<_> =
        (0..=REFERRERS_COUNT_MAX).map(|_| json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 1})).collect();
    let list = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})).unwrap();
    let target = format!("/v2/a/manifests/{}", SignatureTagKind::ReferrersFallback.tag_for(&subject));
    let refused = world.push("PUT", &target, &[("content-type", OCI_INDEX)], &list).await;
    assert_eq!((refused.status, refused.json()["errors"][0]["code"].as_str()), (403, Some("DENIED")));
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("delete some"));
}
