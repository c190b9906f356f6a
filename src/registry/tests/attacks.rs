//! Attacks by those who may push to a registry outside, or stand behind a redirect of it. Each has its WHY.

use serde_json::json;

use super::layer;
use super::world::{Answer, DENY, Make, Outside, World, run};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::oci::name::{RepositoryName, Tag};
use crate::oci::signature_tag::SignatureTagKind;
use crate::store::{Change, PrincipalRef, Transaction};
use crate::upstream::Credentials;
use crate::verify::Admitted;

/// WHY: what a redirect leads to may belong to anybody. Its challenge must not be answered with the upstream's password.
#[tokio::test]
async fn a_challenge_from_behind_a_redirect_gets_no_password() {
    let (up, cdn) = (run().await, run().await);
    let (_, _, blob) = up.outside.put_image("a", "v1", b"layer");
    let secret = tempfile::tempdir().unwrap();
    let password_file = secret.path().join("password");
    {
        use crate::sys::dir::{Create, Dir as _};
        let dir = crate::sys::dir_real::RealDir::open(secret.path()).unwrap();
        dir.open_write("password", Create::New).unwrap().write_at(b"pass\n", 0).unwrap();
    }
    let headers = vec![("location", format!("{}/bucket", cdn.url))];
    up.outside.put(&format!("/v2/a/blobs/{blob}"), Answer { status: 307, headers, ..Answer::default() });
    let challenge = format!("Bearer realm=\"{}/token\"", cdn.url);
    cdn.outside.put("/bucket", Answer { demands: Some(("never".to_owned(), challenge)), ..Answer::default() });
    let credentials = Some(Credentials { user: "user".to_owned(), password_file });
    let world = World::new(&up.url, Make { credentials, ..Make::default() });
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    let got = world.get(&format!("/v2/up.example/a/blobs/{blob}")).await;
    assert_ne!(got.status, 200);
    assert!(cdn.outside.asked_count() > 0 && cdn.outside.count("/token") == 0);
    assert!(!cdn.outside.saw_authorization());
}

/// A referrer of `index` that names `layer` with a size of its own, and whose digest sorts before `before`.
fn put_lying_referrer(outside: &Outside, index: &Digest, layer: &Digest, before: &Digest) {
    let empty = outside.put_blob("a", b"{}");
    let lie = |nonce: u32| {
        json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "text/plain",
            "config": {"mediaType": OCI_EMPTY, "digest": empty, "size": 2},
            "layers": [{"mediaType": "text/plain", "digest": layer, "size": 5_000_000}],
            "subject": {"mediaType": OCI_INDEX, "digest": index, "size": 1},
            "annotations": {"nonce": nonce.to_string()},
        })
    };
    let lie = (0..).map(lie).find(|lie| Digest::of(&serde_json::to_vec(lie).unwrap()) < *before).unwrap();
    let digest = outside.put_manifest("a", None, OCI_MANIFEST, &lie);
    let list = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": digest, "size": serde_json::to_vec(&lie).unwrap().len()}]});
    let tag = SignatureTagKind::ReferrersFallback.tag_for(index);
    outside.put_manifest("a", Some(tag.as_str()), OCI_INDEX, &list);
}

/// WHY: anybody may attach something to a signed image and say there what he likes about the image's own layers.
#[tokio::test]
async fn a_referrer_says_nothing_about_the_size_of_a_layer() {
    let up = run().await;
    let (index, child, blob) = up.outside.put_image("a", "v1", &layer());
    let world = World::new(&up.url, Make::default());
    assert_eq!(world.get("/v2/up.example/a/manifests/v1").await.status, 200);
    let target = format!("/v2/up.example/a/blobs/{blob}");
    assert_eq!(world.get(&target).await.bytes(), layer());
    put_lying_referrer(&up.outside, &index, &blob, &child);
    world.clock.advance(std::time::Duration::from_secs(3_600));
    let listed = world.get(&format!("/v2/up.example/a/referrers/{index}")).await;
    assert_eq!(listed.json()["manifests"].as_array().unwrap().len(), 1, "the lie was taken in");
    let got = world.get(&target).await;
    assert_eq!((got.status, got.bytes()), (200, layer().as_slice()));
}

/// WHY: what is here may be here under an older policy, or only as something said about an image. A tag that moves to it
/// outside does not make it an image that today's policy admits; neither does it serve the one that the tag was before.
#[tokio::test]
async fn a_tag_moves_to_nothing_that_was_not_judged_today() {
    let up = run().await;
    let (second, ..) = up.outside.put_image("a", "v1", b"another");
    let moved = up.outside.answers.lock().unwrap()["/v2/a/manifests/v1"].clone();
    let (first, ..) = up.outside.put_image("a", "v1", b"layer");
    let world = World::new(&up.url, Make { policy: DENY, ..Make::default() });
    let repository: RepositoryName = "up.example/a".parse().unwrap();
    let tag: Tag = "v1".parse().unwrap();
    let mut changes = Vec::new();
    for digest in [first, second] {
        let bytes = up.outside.answers.lock().unwrap()[&format!("/v2/a/manifests/{digest}")].body.clone();
        world.store.blobs().put(&bytes).unwrap();
        let manifest = Admitted::for_test(&repository, Manifest::parse(&bytes, OCI_INDEX).unwrap());
        changes.push(Change::Publish { repository: repository.clone(), manifest, sparse: true, origin: None });
    }
    changes.push(Change::MoveTag { repository: repository.clone(), tag: tag.clone(), target: first, expected: None });
    world.store.commit(Transaction::new(PrincipalRef::system("test"), changes)).unwrap();
    up.outside.put("/v2/a/manifests/v1", moved);
    let got = world.get("/v2/up.example/a/manifests/v1").await;
    assert_eq!(got.status, 403);
    assert_eq!(world.store.resolve(&repository, &tag).unwrap(), Some(first));
}

/// WHY: base layers are shared. The first pull through a second repository must be whole, without a second download.
#[tokio::test]
async fn a_layer_that_another_repository_holds_is_served_whole_at_once() {
    let up = run().await;
    let (_, _, blob) = up.outside.put_image("a", "v1", &layer());
    up.outside.put_image("b", "v1", &layer());
    let world = World::new(&up.url, Make::default());
    for repository in ["a", "b"] {
        assert_eq!(world.get(&format!("/v2/up.example/{repository}/manifests/v1")).await.status, 200);
        let got = world.get(&format!("/v2/up.example/{repository}/blobs/{blob}")).await;
        assert_eq!((got.status, got.bytes()), (200, layer().as_slice()), "{repository}");
    }
    assert_eq!(up.outside.count(&format!("b/blobs/{blob}")), 0);
}
