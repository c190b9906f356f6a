//! Points of the specification that registries often miss, one test for each.

use std::time::Duration;

use serde_json::{Value, json};

use super::push::{NOWHERE, TYPE, blob, manifest, session, world};
use super::world::{ADMIT, Got, Make, World};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::media_type::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::oci::signature_tag::SignatureTagKind;
use crate::registry::uploads::UploadSettings;

/// Pushes a manifest under a reference.
async fn put(world: &World, target: &str, media_type: &str, value: &Value) -> (Got, Digest) {
    let bytes = serde_json::to_vec(value).unwrap();
    (world.push("PUT", target, &[("content-type", media_type)], &bytes).await, Digest::of(&bytes))
}

fn code(got: &Got) -> (u16, String) {
    (got.status, got.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
}

/// Follows `Link` from page to page and gives what each holds under `key`.
async fn pages(world: &World, first: &str, key: &str) -> Vec<Vec<Value>> {
    let mut next = Some(first.to_owned());
    let mut found = Vec::new();
    while let Some(target) = next {
        let got = world.get(&target).await;
        assert_eq!(got.status, 200, "{target}");
        found.push(got.json()[key].as_array().unwrap().clone());
        let link = got.header("link").to_owned();
        next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).map(str::to_owned);
        assert!(next.is_some() || link.is_empty(), "{link}");
        assert!(found.len() < 100, "the pages have an end");
    }
    found
}

#[tokio::test]
async fn a_reader_is_held_to_what_it_means() {
    let world = world(ADMIT);
    let (config, layer) = (blob(&world, "a", b"{}").await, blob(&world, "a", b"layer").await);
    let image = manifest(&config, 2, &layer, 5);
    world.push("PUT", "/v2/a/manifests/v1", &[TYPE], &image).await;
    for (target, digest) in
        [("/v2/a/manifests/v1".to_owned(), Digest::of(&image)), (format!("/v2/a/blobs/{layer}"), layer)]
    {
        let (own, other) = (format!("\"{digest}\""), format!("\"{}\"", Digest::of(b"other")));
        for method in ["GET", "HEAD"] {
            assert_eq!(world.ask(method, &target, &[]).await.header("etag"), own);
            for (name, value, expected) in [
                ("if-match", &own, 200),
                ("if-match", &other, 412),
                ("if-none-match", &own, 304),
                ("if-none-match", &other, 200),
            ] {
                assert_eq!(
                    world.ask(method, &target, &[(name, value)]).await.status,
                    expected,
                    "{method} {name} {value}"
                );
            }
        }
        assert_eq!(
            code(&world.ask("GET", &target, &[("if-match", &other)]).await),
            (412, "PRECONDITION_FAILED".into())
        );
    }
}

/// A tag moves, and goes, only from where its writer saw it.
#[tokio::test]
async fn a_writer_changes_only_what_it_saw() {
    let world = world(ADMIT);
    let index = |number: u32| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"n": number.to_string()}});
    let bytes = |number| serde_json::to_vec(&index(number)).unwrap();
    let etag = |number| format!("\"{}\"", Digest::of(&bytes(number)));
    let write = async |number, name: &'static str, value: &str| {
        let headers = [("content-type", OCI_INDEX), (name, value)];
        world.push("PUT", "/v2/a/manifests/latest", &headers, &bytes(number)).await.status
    };
    assert_eq!(write(1, "if-match", "*").await, 412, "nothing is there yet");
    assert_eq!(write(1, "if-none-match", "*").await, 201);
    assert_eq!(write(2, "if-none-match", "*").await, 412, "somebody was faster");
    assert_eq!(world.get(&format!("/v2/a/manifests/{}", Digest::of(&bytes(2)))).await.status, 404);
    assert_eq!(write(2, "if-match", &etag(3)).await, 412);
    assert_eq!(write(2, "if-match", &etag(1)).await, 201);
    let delete = async |value: &str| world.delete("/v2/a/manifests/latest", &[("if-match", value)]).await.status;
    assert_eq!(delete(&etag(1)).await, 412);
    assert_eq!(delete(&etag(2)).await, 202);
}

#[tokio::test]
async fn several_ranges_are_parts_in_the_order_asked() {
    let world = world(ADMIT);
    let content: Vec<u8> = (0..300_000_u32).map(|at| (at % 241) as u8).collect();
    let digest = blob(&world, "a", &content).await;
    let target = format!("/v2/a/blobs/{digest}");
    let ask = async |range: &str| world.push("GET", &target, &[("range", range)], b"").await;
    let got = ask("bytes=299990-,0-4,-5,100000-250000").await;
    let kind = got.header("content-type").to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!((got.status, got.header("content-length")), (206, got.bytes().len().to_string().as_str()));
    let mut expected = Vec::new();
    for (first, last) in [(299_990, 299_999), (0, 4), (299_995, 299_999), (100_000, 250_000)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/300000\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content[first..=last]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(got.bytes() == expected, "{} bytes instead of {}", got.bytes().len(), expected.len());
    let suffix = ask("bytes=-7").await;
    assert_eq!((suffix.status, suffix.header("content-range")), (206, "bytes 299993-299999/300000"));
    assert_eq!(suffix.bytes(), &content[299_993..]);
    let whole = ask("bytes=0-,0-").await;
    assert_eq!((whole.status, whole.bytes().len()), (200, content.len()), "more than there is");
    let beyond = ask("bytes=300000-,300005-").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */300000"));
    let head = world.push("HEAD", &target, &[("range", "bytes=0-4")], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, "300000"), "a range is of a GET alone");
}

#[tokio::test]
async fn pages_of_tags_and_repositories() {
    let world = world(ADMIT);
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
    for repository in ["a", "a/b", "a-b", "b"] {
        assert_eq!(put(&world, &format!("/v2/{repository}/manifests/v1"), OCI_INDEX, &index).await.0.status, 201);
    }
    let digest = Digest::of(&serde_json::to_vec(&index).unwrap());
    let tags: Vec<_> = ["v10", "V1", "_x", "v9", "a.b"].map(|tag| format!("tag={tag}")).to_vec();
    let target = format!("/v2/a/manifests/{digest}?{}", tags.join("&"));
    let moved = put(&world, &target, OCI_INDEX, &index).await.0;
    let named: Vec<_> = moved.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
    assert_eq!((moved.status, named), (201, vec!["v10", "V1", "_x", "v9", "a.b"]));
    let too_many: Vec<_> = (0..17).map(|number| format!("tag=t{number}")).collect();
    let target = format!("/v2/a/manifests/{digest}?{}", too_many.join("&"));
    assert_eq!(put(&world, &target, OCI_INDEX, &index).await.0.status, 414);

    // In the order of their bytes.
    let expected = json!([["V1", "_x"], ["a.b", "v1"], ["v10", "v9"]]);
    assert_eq!(json!(pages(&world, "/v2/a/tags/list?n=2", "tags").await), expected);
    let expected = json!([["a", "a-b", "a/b"], ["b"]]);
    assert_eq!(json!(pages(&world, "/v2/_catalog?n=3", "repositories").await), expected);
    for (target, expected) in [
        ("/v2/a/tags/list?n=0", json!([[]])),
        ("/v2/a/tags/list?last=zzz", json!([[]])),
        ("/v2/a/tags/list?last=nothing&n=1", json!([["v1"], ["v10"], ["v9"]])),
        ("/v2/b/tags/list", json!([["v1"]])),
    ] {
        assert_eq!(json!(pages(&world, target, "tags").await), expected, "{target}");
    }
    assert_eq!(world.get("/v2/_catalog?last=b").await.json(), json!({"repositories": []}));
    assert_eq!(world.get("/v2/_catalog?n=x").await.status, 400);
}

/// Found by `subject` and by the fallback tag, each once; page by page, with a filter that the next page keeps.
#[tokio::test]
async fn referrers_page_by_page() {
    let world = world(ADMIT);
    let empty = blob(&world, "a", b"{}").await;
    let subject = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
    let subject_digest = Digest::of(&serde_json::to_vec(&subject).unwrap());
    let subject_part = json!({"mediaType": OCI_INDEX, "digest": subject_digest, "size": 1});
    let empty_part = |media_type: &str| json!({"mediaType": media_type, "digest": empty, "size": 2});
    let note = |number: u32, with_subject: bool| {
        let kind = format!("example/{}+json", number % 2);
        let mut note = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": empty_part(&kind),
            "layers": [empty_part(OCI_EMPTY)], "annotations": {"number": number.to_string()}});
        if with_subject {
            note["subject"] = subject_part.clone();
        }
        note
    };
    // Before the subject itself is there.
    let mut digests = Vec::new();
    for number in 0..9 {
        let bytes = serde_json::to_vec(&note(number, number < 7)).unwrap();
        let digest = Digest::of(&bytes);
        let pushed = world.push("PUT", &format!("/v2/a/manifests/{digest}"), &[TYPE], &bytes).await;
        assert_eq!((pushed.status, pushed.header("oci-subject").is_empty()), (201, number >= 7));
        digests.push((digest, bytes.len()));
    }
    put(&world, "/v2/a/manifests/v1", OCI_INDEX, &subject).await;
    let listed: Vec<_> = digests[6..]
        .iter()
        .map(|(digest, size)| json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size}))
        .collect();
    let fallback = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
    let tag = SignatureTagKind::ReferrersFallback.tag_for(&subject_digest);
    assert_eq!(put(&world, &format!("/v2/a/manifests/{tag}"), OCI_INDEX, &fallback).await.0.status, 201);

    let mut expected: Vec<Digest> = digests.iter().map(|(digest, _)| *digest).collect();
    expected.sort();
    let target = format!("/v2/a/referrers/{subject_digest}");
    let found = pages(&world, &format!("{target}?n=2"), "manifests").await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 2, 1]);
    let found: Vec<Value> = found.concat();
    assert_eq!(json!(found.iter().map(|entry| &entry["digest"]).collect::<Vec<_>>()), json!(expected));
    assert!(found.iter().all(|entry| entry["annotations"]["number"].is_string()), "{found:?}");
    let odd = pages(&world, &format!("{target}?n=3&artifactType=example/1%2Bjson&artifactType=x/y"), "manifests").await;
    assert_eq!(odd.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    assert!(odd.concat().iter().all(|entry| entry["artifactType"] == "example/1+json"), "{odd:?}");
    let unknown = world.get(&format!("/v2/a/referrers/{}", Digest::of(b"?"))).await;
    assert_eq!((unknown.status, unknown.json()["manifests"].clone()), (200, json!([])));
    assert_eq!(world.get(&format!("{target}?last=nonsense")).await.status, 400);
}

/// Docker's own forms stay what they are; what has no reliable digest is refused by name.
#[tokio::test]
async fn manifests_of_every_kind() {
    let world = world(ADMIT);
    let (config, layer) = (blob(&world, "a", b"{}").await, blob(&world, "a", b"layer").await);
    let part = |media_type: &str, digest: &Digest, size: usize| json!({"mediaType": media_type, "digest": digest, "size": size});
    let docker = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": part("application/vnd.docker.container.image.v1+json", &config, 2),
        "layers": [part("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer, 5)]});
    let (_, docker_digest) = put(&world, "/v2/a/manifests/docker", DOCKER_MANIFEST, &docker).await;
    let size = serde_json::to_vec(&docker).unwrap().len();
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST_LIST, "manifests": [part(DOCKER_MANIFEST, &docker_digest, size)]});
    let (_, list_digest) = put(&world, "/v2/a/manifests/list", DOCKER_MANIFEST_LIST, &list).await;
    let size = serde_json::to_vec(&list).unwrap().len();
    let nested = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [part(DOCKER_MANIFEST_LIST, &list_digest, size)]});
    put(&world, "/v2/a/manifests/nested", OCI_INDEX, &nested).await;
    let cache_config = "application/vnd.buildkit.cacheconfig.v0";
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let cache_index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [part(gzip, &layer, 5), part(cache_config, &config, 2)]});
    put(&world, "/v2/a/manifests/cache-index", OCI_INDEX, &cache_index).await;
    let cache_image = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part(cache_config, &config, 2), "layers": [part(gzip, &layer, 5)]});
    put(&world, "/v2/a/manifests/cache-image", OCI_MANIFEST, &cache_image).await;
    for (tag, media_type, value) in [
        ("docker", DOCKER_MANIFEST, &docker),
        ("list", DOCKER_MANIFEST_LIST, &list),
        ("nested", OCI_INDEX, &nested),
        ("cache-index", OCI_INDEX, &cache_index),
        ("cache-image", OCI_MANIFEST, &cache_image),
    ] {
        let got = world.get(&format!("/v2/a/manifests/{tag}")).await;
        assert_eq!((got.status, got.media_type()), (200, media_type), "{tag}");
        assert_eq!(got.bytes(), serde_json::to_vec(value).unwrap(), "{tag}");
    }
    assert_eq!(world.get(&format!("/v2/a/blobs/{layer}")).await.bytes(), b"layer");
    // The cache's layers are blobs of the index, and stay with it.
    for tag in ["nested", "list", "docker", "cache-image"] {
        let digest = world.get(&format!("/v2/a/manifests/{tag}")).await.header("docker-content-digest").to_owned();
        assert_eq!(world.delete(&format!("/v2/a/manifests/{digest}"), &[]).await.status, 202, "{tag}");
    }
    assert_eq!(world.delete(&format!("/v2/a/blobs/{layer}"), &[]).await.status, 405);

    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for (media_type, value) in [(signed, json!({"schemaVersion": 1})), (DOCKER_MANIFEST, json!({"schemaVersion": 1}))] {
        let (got, _) = put(&world, "/v2/a/manifests/old", media_type, &value).await;
        assert_eq!(code(&got), (400, "MANIFEST_INVALID".into()));
        assert!(got.json()["errors"][0]["message"].as_str().unwrap().contains("schema 1"));
    }
    let (mismatch, _) = put(&world, "/v2/a/manifests/v", OCI_INDEX, &cache_image).await;
    assert_eq!(code(&mismatch), (400, "MANIFEST_INVALID".into()));
}

#[tokio::test]
async fn sizes_end_where_they_are_said_to() {
    let uploads = UploadSettings { blob_bytes_max: 10, ..UploadSettings::default() };
    let world = World::new(NOWHERE, Make { uploads, ..Make::default() });
    let index = |padding: usize| {
        format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"p":"{}"}}}}"#, "x".repeat(padding))
    };
    let overhead = index(0).len();
    for (bytes, expected) in [(MANIFEST_BYTES_MAX, 201), (MANIFEST_BYTES_MAX + 1, 413)] {
        let body = index(bytes - overhead);
        let put = world.push("PUT", "/v2/a/manifests/v1", &[("content-type", OCI_INDEX)], body.as_bytes()).await;
        assert_eq!(put.status, expected);
    }
    assert_eq!(world.get("/v2/a/manifests/v1").await.bytes().len(), MANIFEST_BYTES_MAX);
    let at = session(&world, "a").await;
    assert_eq!(world.push("PATCH", &at, &[], b"0123456789").await.status, 202);
    assert_eq!(code(&world.push("PATCH", &at, &[], b"x").await), (413, "SIZE_INVALID".into()));
    let digest = Digest::of(b"01234567890");
    let whole = world.push("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], b"01234567890").await;
    assert_eq!(code(&whole), (413, "SIZE_INVALID".into()));
}

#[tokio::test]
async fn a_session_is_asked_for_cancelled_and_forgotten() {
    let uploads = UploadSettings { session_idle_seconds_max: 100, sessions_count_max: 2, ..UploadSettings::default() };
    let world = World::new(NOWHERE, Make { uploads, ..Make::default() });
    let first = session(&world, "a").await;
    assert_eq!(world.push("PATCH", &first, &[], b"abc").await.status, 202);
    let asked = world.push("GET", &first, &[], b"").await;
    assert_eq!((asked.status, asked.header("range"), asked.header("location")), (204, "0-2", first.as_str()));
    let late = world.push("PATCH", &first, &[("content-range", "5-7")], b"fgh").await;
    assert_eq!((code(&late), late.header("range")), ((416, "BLOB_UPLOAD_INVALID".into()), "0-2"));
    let second = session(&world, "a").await;
    let busy = world.push("POST", "/v2/a/blobs/uploads/", &[], b"").await;
    assert_eq!((code(&busy), busy.header("retry-after")), ((429, "TOOMANYREQUESTS".into()), "5"));
    assert_eq!(world.push("DELETE", &second, &[], b"").await.status, 204);
    for method in ["GET", "DELETE", "PATCH"] {
        assert_eq!(code(&world.push(method, &second, &[], b"").await), (404, "BLOB_UPLOAD_UNKNOWN".into()), "{method}");
    }
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.push("PATCH", &first, &[], b"de").await.status, 202, "its client is heard of again");
    world.clock.advance(Duration::from_secs(99));
    assert_eq!(world.push("GET", &first, &[], b"").await.header("range"), "0-4");
    world.clock.advance(Duration::from_secs(101));
    assert_eq!(world.push("GET", &first, &[], b"").await.status, 404);
    let left = world.store.dir().list("uploads").unwrap();
    assert!(left.is_empty(), "what an expired session wrote goes with it: {left:?}");
}
