//! The registry and its mirror together, against an upstream made of maps.

mod access;
mod attacks;
mod content;
mod delete;
mod gate;
mod limits;
mod model;
mod push;
mod races;
mod restored;
mod specification;
mod world;

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use self::world::{Answer, DENY, Make, World, run};
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::oci::name::ImageReference;
use crate::oci::signature_tag::SignatureTagKind;
use crate::ops::access_log::AccessRecord;
use crate::progress::Silent;
use crate::store::{Change, PrincipalRef, Transaction};
use crate::sys::dir::Create;
use crate::upstream::{Credentials, MirrorError};
use crate::verify::Refusal;

/// Long enough for many pieces.
fn layer() -> Vec<u8> {
    (0..1_500_000_u32).map(|at| (at % 249) as u8).collect()
}

#[tokio::test]
async fn an_image_is_pulled_through_and_stays_when_the_upstream_is_gone() {
    let mut up = run().await;
    let (index, child, blob) = up.outside.put_image("a/b", "v1", &layer());
    let world = World::new(&up.url, Make::default());
    let head = world.ask("HEAD", "/v2/up.example/a/b/manifests/v1", &[]).await;
    assert_eq!((head.status, head.header("docker-content-digest")), (200, index.to_string().as_str()));
    assert!(head.header("content-length").parse::<u64>().unwrap() > 0 && head.bytes().is_empty());
    for round in 0..2 {
        let got = world.get("/v2/a/b/manifests/v1?ns=registry.example:5000").await;
        assert_eq!(
            (got.status, got.media_type(), got.header("oci-namespace")),
            (200, OCI_INDEX, "registry.example:5000")
        );
        assert_eq!(got.has_warning(), round == 1);
        assert_eq!(world.get(&format!("/v2/up.example/a/b/manifests/{child}")).await.media_type(), OCI_MANIFEST);
        assert_eq!(world.get(&format!("/v2/up.example/a/b/blobs/{blob}")).await.bytes(), layer());
        if round == 0 {
            up.stop().await;
            world.clock.advance(Duration::from_secs(3_600));
        }
    }
    assert_eq!(up.outside.count(&blob.to_string()), 1);
    let absent = world.get("/v2/up.example/a/b/manifests/v2").await;
    assert_eq!((absent.status, absent.header("retry-after")), (503, "30"));
}

#[tokio::test]
async fn a_large_manifest_is_answered_from_its_file_and_a_damaged_one_is_not() {
    let up = run().await;
    let config = up.outside.put_blob("a", b"{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}, "layers": [],
        "annotations": {"example.long": "x".repeat(2 * crate::limits::BODY_CHUNK_BYTES)},
    });
    let digest = up.outside.put_manifest("a", Some("v1"), OCI_MANIFEST, &manifest);
    let world = World::new(&up.url, Make::default());
    for reference in ["v1".to_owned(), digest.to_string()] {
        let got = world.get(&format!("/v2/up.example/a/manifests/{reference}")).await;
        assert_eq!((got.status, got.json(), got.media_type()), (200, manifest.clone(), OCI_MANIFEST));
        assert_eq!(got.header("content-length"), got.bytes().len().to_string());
    }
    let hex = digest.hex();
    let path = format!("blobs/sha256/{}/{hex}", &hex[..2]);
    world.store.dir().open_write(&path, Create::Existing).unwrap().write_at(b"y", 300_000).unwrap();
    let got = world.get(&format!("/v2/up.example/a/manifests/{digest}")).await;
    assert_eq!(got.status, 503, "hashed before the first byte is sent");
}

#[tokio::test]
async fn many_clients_and_one_download() {
    let up = run().await;
    let (_, _, blob) = up.outside.put_image("a", "v1", &layer());
    let world = World::new(&up.url, Make::default());
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    let target = format!("/v2/up.example/a/blobs/{blob}");
    let whole = (0..8).map(|_| world.get(&target));
    let range = world.ask("GET", &target, &[("range", "bytes=1400000-")]);
    let (whole, range) = tokio::join!(futures_util::future::join_all(whole), range);
    assert!(whole.iter().all(|got| got.bytes() == layer()));
    assert_eq!((range.status, range.bytes()), (206, &layer()[1_400_000..]));
    assert_eq!(range.header("content-range"), "bytes 1400000-1499999/1500000");
    assert_eq!(up.outside.count(&blob.to_string()), 1);
    let beyond = world.ask("GET", &target, &[("range", "bytes=1500000-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */1500000"));
}

#[tokio::test]
async fn a_wrong_blob_breaks_the_stream_and_is_not_kept() {
    let up = run().await;
    let (_, _, blob) = up.outside.put_image("a", "v1", &layer());
    let mut wrong = layer();
    wrong[1_000_000] ^= 1;
    let path = format!("/v2/a/blobs/{blob}");
    up.outside.put(&path, Answer { status: 200, body: wrong.into(), ..Answer::default() });
    let world = World::new(&up.url, Make::default());
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    let got = world.get(&format!("/v2/up.example/a/blobs/{blob}")).await;
    assert!(got.body.is_err(), "{}", got.status);
    assert!(!world.store.blobs().has(&blob));
    up.outside.put_blob("a", &layer());
    assert_eq!(world.get(&format!("/v2/up.example/a/blobs/{blob}")).await.bytes(), layer());
}

#[tokio::test]
async fn a_download_that_breaks_off_is_continued() {
    let up = run().await;
    let (_, _, blob) = up.outside.put_image("a", "v1", &layer());
    let answer = Answer { status: 200, body: layer().into(), breaks_after: Some(700_001), ..Answer::default() };
    up.outside.put(&format!("/v2/a/blobs/{blob}"), answer);
    let world = World::new(&up.url, Make::default());
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    assert_eq!(world.get(&format!("/v2/up.example/a/blobs/{blob}")).await.bytes(), layer());
    assert_eq!(up.outside.count(&blob.to_string()), 2);
}

#[tokio::test]
async fn a_registry_that_is_not_configured_is_not_dialled() {
    let up = run().await;
    up.outside.put_image("a", "v1", b"layer");
    let world = World::new(&up.url, Make::default());
    for target in ["/v2/a/manifests/v1?ns=elsewhere.example", "/v2/elsewhere.example/a/manifests/v1"] {
        assert_eq!(world.get(target).await.status, 404, "{target}");
    }
    let offline = World::new(&up.url, Make { offline: true, ..Make::default() });
    let got = offline.get("/v2/up.example/a/manifests/v1").await;
    assert_eq!(got.status, 404);
    assert!(got.json()["errors"][0]["message"].as_str().unwrap().contains("offline"));
    assert_eq!(up.outside.asked_count(), 0);
}

#[tokio::test]
async fn what_policy_refuses_is_denied_with_its_rule_and_not_fetched_each_time() {
    let up = run().await;
    let (index, child, blob) = up.outside.put_image("a", "v1", b"layer");
    let world = World::new(&up.url, Make { policy: DENY, ..Make::default() });
    let asked = [
        "/v2/up.example/a/manifests/v1".to_owned(),
        "/v2/up.example/a/manifests/v1".to_owned(),
        format!("/v2/up.example/a/manifests/{index}"),
        format!("/v2/up.example/a/manifests/{child}"),
        format!("/v2/up.example/a/referrers/{index}"),
    ];
    for target in &asked {
        let got = world.get(target).await;
        assert_eq!(got.status, 403, "{target}");
        let error = got.json()["errors"][0].clone();
        assert_eq!(error["code"], "DENIED");
        assert!(error["message"].as_str().unwrap().contains("rule 'default'"), "{error}");
    }
    assert_eq!(world.ask("HEAD", &asked[0], &[]).await.status, 403);
    assert_eq!(world.get(&format!("/v2/up.example/a/blobs/{blob}")).await.status, 404);
    assert_eq!(up.outside.count("/manifests/v1"), 1);
    assert!(world.store.repositories(None, 10).unwrap().is_empty());
}

#[tokio::test]
async fn a_password_stays_with_the_host_it_is_for() {
    let (up, cdn) = (run().await, run().await);
    let (_, _, blob) = up.outside.put_image("a", "v1", &layer());
    let secret = tempfile::tempdir().unwrap();
    let password_file = secret.path().join("password");
    {
        use crate::sys::dir::{Create, Dir as _};
        let dir = crate::sys::dir_real::RealDir::open(secret.path()).unwrap();
        dir.open_write("password", Create::New).unwrap().write_at(b"pass\n", 0).unwrap();
    }
    let demands = Some(("Basic dXNlcjpwYXNz".to_owned(), "Basic realm=\"x\"".to_owned()));
    for answer in up.outside.answers.lock().unwrap().values_mut() {
        answer.demands.clone_from(&demands);
    }
    let headers = vec![("location", format!("{}/signed?x=1", cdn.url))];
    up.outside.put(&format!("/v2/a/blobs/{blob}"), Answer { status: 307, headers, demands, ..Answer::default() });
    cdn.outside.put("/signed", Answer { status: 200, body: layer().into(), ..Answer::default() });
    let credentials = Some(Credentials { user: "user".to_owned(), password_file });
    let world = World::new(&up.url, Make { credentials, ..Make::default() });
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    assert_eq!(world.get(&format!("/v2/up.example/a/blobs/{blob}")).await.bytes(), layer());
    assert!(up.outside.saw_authorization());
    assert_eq!(cdn.outside.asked_count(), 1);
    assert!(!cdn.outside.saw_authorization());
}

#[tokio::test]
async fn a_token_is_fetched_where_it_is_demanded() {
    let up = run().await;
    up.outside.put_image("a", "v1", b"layer");
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\",scope=\"repository:a:pull\"", up.url);
    for answer in up.outside.answers.lock().unwrap().values_mut() {
        answer.demands = Some(("Bearer t0k".to_owned(), challenge.clone()));
    }
    let body = Bytes::from_static(br#"{"token":"t0k","expires_in":300}"#);
    up.outside.put("/token", Answer { status: 200, body, ..Answer::default() });
    let world = World::new(&up.url, Make::default());
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    // A client's own credentials are for somebody else.
    let headers = [("authorization", "Bearer foreign")];
    assert_eq!(world.ask("GET", "/v2/up.example/a/manifests/v1", &headers).await.status, 200);
    assert_eq!(up.outside.count("/token"), 1);
}

#[tokio::test]
async fn a_moved_tag_is_followed_once_it_is_no_longer_fresh() {
    let up = run().await;
    let (first, ..) = up.outside.put_image("a", "v1", b"one");
    let world = World::new(&up.url, Make::default());
    let target = "/v2/up.example/a/manifests/v1";
    let digest = async || world.get(target).await.header("docker-content-digest").to_owned();
    assert_eq!(digest().await, first.to_string());
    let (second, ..) = up.outside.put_image("a", "v1", b"two");
    assert_eq!(digest().await, first.to_string());
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(digest().await, second.to_string());
    assert!(!world.get(target).await.has_warning());
    let same = world.ask("GET", target, &[("if-none-match", &format!("\"{second}\""))]).await;
    assert_eq!((same.status, same.bytes().len()), (304, 0));
    let listed = world.get("/v2/up.example/a/tags/list").await;
    assert_eq!(listed.json()["tags"], json!(["v1"]));
    assert_eq!(world.get("/v2/_catalog").await.json()["repositories"], json!(["up.example/a"]));
}

#[tokio::test]
async fn referrers_are_fetched_before_a_list_is_answered() {
    let up = run().await;
    let (index, ..) = up.outside.put_image("a", "v1", b"layer");
    let empty = up.outside.put_blob("a", b"{}");
    let document = up.outside.put_blob("a", b"a document");
    let referrer = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "text/spdx+json",
        "config": {"mediaType": OCI_EMPTY, "digest": empty, "size": 2},
        "layers": [{"mediaType": "text/spdx+json", "digest": document, "size": 10}],
        "subject": {"mediaType": OCI_INDEX, "digest": index, "size": 1},
        "annotations": {"k": "v"},
    });
    let digest = up.outside.put_manifest("a", None, OCI_MANIFEST, &referrer);
    let size = serde_json::to_vec(&referrer).unwrap().len();
    let list = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": digest, "size": size}]});
    let tag = SignatureTagKind::ReferrersFallback.tag_for(&index);
    up.outside.put_manifest("a", Some(tag.as_str()), OCI_INDEX, &list);
    let world = World::new(&up.url, Make::default());
    let got = world.get(&format!("/v2/up.example/a/referrers/{index}")).await;
    assert_eq!((got.status, got.media_type(), got.has_warning()), (200, OCI_INDEX, false));
    let listed = &got.json()["manifests"][0];
    assert_eq!((&listed["digest"], &listed["artifactType"]), (&json!(digest), &json!("text/spdx+json")));
    assert_eq!(listed["annotations"], json!({"k": "v"}));
    let target = format!("/v2/up.example/a/referrers/{index}?artifactType=x/y&artifactType=text/spdx%2Bjson");
    let filtered = world.get(&target).await;
    assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(world.get(&format!("/v2/up.example/a/manifests/{tag}")).await.status, 200);
    assert_eq!(world.get(&format!("/v2/up.example/a/blobs/{document}")).await.bytes(), b"a document");
}

#[tokio::test]
async fn a_fetch_brings_everything_and_the_next_one_nothing() {
    let up = run().await;
    let (index, ..) = up.outside.put_image("a", "v1", &layer());
    let world = World::new(&up.url, Make::default());
    let image: ImageReference = "up.example/a:v1".parse().unwrap();
    let report = world.mirror.fetch_all(&image, None, &Silent).await.unwrap();
    assert_eq!((report.digest, report.manifests, report.blobs, report.blobs_fetched), (index, 2, 2, 2));
    assert_eq!(report.bytes_fetched, layer().len() as u64 + 2);
    let head = world.store.head();
    let again = world.mirror.fetch_all(&image, None, &Silent).await.unwrap();
    assert_eq!((again.blobs_fetched, again.warning), (0, None));
    assert_eq!(world.store.head(), head);
}

/// Layers that are fetched from elsewhere come where the upstream has them; any other one must.
#[tokio::test]
async fn a_fetch_does_without_the_layers_that_the_upstream_need_not_have() {
    let up = run().await;
    let config = up.outside.put_blob("a", b"{}");
    let had = up.outside.put_blob("a", b"from elsewhere, and here");
    let image = |tag: &str, layer_type: &str| {
        let layer = |digest: &Digest, size: usize| json!({"mediaType": layer_type, "digest": digest, "size": size});
        let image = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config, "size": 2},
            "layers": [layer(&Digest::of(b"from elsewhere"), 14), layer(&had, 24)],
        });
        up.outside.put_manifest("a", Some(tag), OCI_MANIFEST, &image);
        format!("up.example/a:{tag}").parse::<ImageReference>().unwrap()
    };
    let world = World::new(&up.url, Make::default());
    for foreign in [
        image("oci", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        image("docker", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    ] {
        let report = world.mirror.fetch_all(&foreign, None, &Silent).await.unwrap();
        assert_eq!((report.blobs, report.blobs_elsewhere), (3, 1));
    }
    let plain = image("plain", "application/vnd.oci.image.layer.v1.tar+gzip");
    let error = world.mirror.fetch_all(&plain, None, &Silent).await.unwrap_err();
    assert!(matches!(*error, MirrorError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn beyond_the_gap_only_what_was_carried_is_served_and_a_refusal_keeps_its_reason() {
    let up = run().await;
    let (index, child, blob) = up.outside.put_image("a", "v1", b"layer");
    let mut world = World::new(&up.url, Make::default());
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    world.cut_off();
    world.clock.advance(Duration::from_secs(3_600));
    let asked = up.outside.asked_count();
    for target in ["/v2/up.example/a/manifests/v1", "/v2/a/manifests/v1?ns=up.example", "/v2/a/manifests/v1"] {
        let got = world.get(target).await;
        assert_eq!((got.status, got.has_warning(), got.bytes().is_empty()), (200, false, false), "{target}");
    }
    assert_eq!(world.get(&format!("/v2/up.example/a/manifests/{child}")).await.status, 200);
    let listed = world.get(&format!("/v2/up.example/a/referrers/{index}")).await;
    assert_eq!((listed.status, listed.json()["manifests"].clone()), (200, json!([])));
    let left_behind = world.get(&format!("/v2/up.example/a/blobs/{blob}")).await;
    assert_eq!(left_behind.json()["errors"][0]["code"], "BLOB_UNKNOWN");
    let refusal = Refusal { rule: "signed".to_owned(), reason: "no signature".to_owned(), next_step: None };
    let change = Change::RecordRefusal {
        repository: "other.example_5000/b".parse().unwrap(),
        reference: "v1".parse().unwrap(),
        digest: None,
        refusal,
    };
    world.store.commit(Transaction::new(PrincipalRef::system("test"), vec![change])).unwrap();
    let secret = [("authorization", "Basic c2VjcmV0")];
    let refused = world.ask("GET", "/v2/b/manifests/v1?ns=other.example:5000", &secret).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["code"]), (403, &json!("DENIED")));
    assert_eq!(world.ask("HEAD", "/v2/other.example_5000/b/manifests/v1", &[]).await.status, 403);
    assert_eq!(world.get("/v2/b/manifests/v2?ns=other.example:5000").await.status, 404);
    assert_eq!(up.outside.asked_count(), asked);
    let log = world.end();
    let denied: Vec<AccessRecord> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let denied = denied.iter().find(|record| record.status == 403).unwrap();
    assert_eq!((denied.ns.as_deref(), denied.rule.as_deref()), (Some("other.example:5000"), Some("signed")));
    assert!(!log.contains("c2VjcmV0"));
}

#[tokio::test]
async fn pushes_and_nonsense() {
    let up = run().await;
    let world = World::new(&up.url, Make::default());
    let push = world.ask("PUT", "/v2/a/manifests/v1", &[]).await;
    assert_eq!((push.status, push.json()["errors"][0]["code"].as_str()), (403, Some("DENIED")));
    let delete = world.ask("DELETE", "/v2/a/manifests/v1", &[]).await;
    assert_eq!((delete.status, delete.json()["errors"][0]["code"].as_str()), (403, Some("DENIED")));
    assert_eq!(world.get("/v2/").await.header("docker-distribution-api-version"), "registry/2.0");
    assert_eq!(world.get("/healthz").await.json()["status"], "ok");
    assert_eq!(world.get("/nonsense").await.status, 404);
    assert_eq!(world.get("/v2/A/tags/list").await.status, 400);
    assert_eq!(world.get("/v2/a/tags/list").await.status, 404);
}
