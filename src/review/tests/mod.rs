//! Reviews on a registry with one image that is admitted and one that is not.

mod world;

use bytes::Bytes;
use serde_json::{Value, json};

use self::world::{API_SERVER, STRANGER, World, pod};
use crate::limits::REVIEW_BODY_BYTES_MAX;
use crate::oci::digest::Digest;

const VALIDATE: &str = "/admission/validate?timeout=10s";

/// Both images are there; one of them was denied since.
async fn world() -> (World, Digest) {
    let world = World::new();
    let good = world.push("apps/good", "1").await;
    let bad = world.push("apps/bad", "1").await;
    world.push("docker.io/library/nginx", "1.27").await;
    world.activate(&format!(
        "version = 1\ndefault = \"admit\"\n[[deny]]\ndigest = \"{bad}\"\nreason = \"CVE-2026-1\"\n"
    ));
    (world, good)
}

fn message(answer: &Value) -> &str {
    answer["response"]["status"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_pod_comes_in_with_admitted_images_alone() {
    let (world, good) = world().await;
    let by_digest = format!("registry.example:5000/apps/good@{good}");
    let check = async |images: &[&str], parts: &[&str]| {
        let (status, answer) = world.ask(API_SERVER, "POST", VALIDATE, &pod(images)).await;
        assert_eq!((status, &answer["response"]["uid"]), (200, &json!("u-1")));
        assert_eq!(answer["response"]["allowed"], json!(parts.is_empty()), "{images:?}: {answer}");
        for part in parts {
            assert!(message(&answer).contains(part), "{part}: {answer}");
        }
        answer
    };
    let answer = check(&[&by_digest], &[]).await;
    assert_eq!(answer["response"].get("warnings"), None);
    let answer = check(&["registry.example:5000/apps/good:1", "nginx:1.27"], &[]).await;
    assert_eq!(answer["response"]["warnings"].as_array().unwrap().len(), 2, "{answer}");

    check(&["registry.example:5000/apps/bad:1"], &["apps/bad:1 (c0)", "rule 'deny-list'", "CVE-2026-1"]).await;
    check(&[&by_digest, "registry.example:5000/apps/bad:1"], &["apps/bad:1 (c1)"]).await;
    check(&["registry.example:5000/apps/good:2"], &["not in the registry"]).await;
    // The same name at another registry is another image.
    check(&["elsewhere.example/apps/good:1"], &["not in the registry"]).await;
    check(&["apps/good:1"], &["not in the registry"]).await;
    check(&["Not A Name"], &["not the name of an image"]).await;
    check(&[""], &["no image is named"]).await;
}

#[tokio::test]
async fn a_mutation_writes_the_digest_that_was_judged() {
    let (world, good) = world().await;
    let images = ["registry.example:5000/apps/good:1"];
    let (_, answer) = world.ask(API_SERVER, "POST", "/admission/mutate", &pod(&images)).await;
    let patch = data_encoding::BASE64.decode(answer["response"]["patch"].as_str().unwrap().as_bytes()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let pinned = format!("registry.example:5000/apps/good:1@{good}");
    assert_eq!(patch, json!([{"op": "replace", "path": "/spec/containers/0/image", "value": pinned}]));
    // What was written is judged by the other webhook, and changed no more.
    let (_, answer) = world.ask(API_SERVER, "POST", "/admission/mutate", &pod(&[&pinned])).await;
    assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
    let (_, answer) =
        world.ask(API_SERVER, "POST", "/admission/mutate", &pod(&["registry.example:5000/apps/bad:1"])).await;
    assert_eq!(answer["response"]["allowed"], false);
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_what_may_not_be_pulled() {
    let (world, _) = world().await;
    // What is there, what is denied and what is not there: the same answer.
    for name in ["good:1", "bad:1", "none:1"] {
        let image = format!("registry.example:5000/apps/{name}");
        let image = image.as_str();
        let (_, answer) = world.ask(STRANGER, "POST", VALIDATE, &pod(&[image])).await;
        assert_eq!(answer["response"]["allowed"], false);
        assert!(message(&answer).contains("review.networks"), "{answer}");
        let (status, _) = world.ask(STRANGER, "GET", &format!("/verify?image={image}"), &Value::Null).await;
        assert_eq!(status, 403);
    }
}

#[tokio::test]
async fn a_plain_question_and_gatekeeper_get_the_same_answers() {
    let (world, good) = world().await;
    let verify = async |image: &str| {
        world.ask(API_SERVER, "GET", &format!("/verify?image=registry.example:5000/{image}"), &Value::Null).await
    };
    let (status, answer) = verify("apps/good:1").await;
    assert_eq!((status, &answer["admitted"], &answer["digest"]), (200, &json!(true), &json!(good)));
    assert!(answer["verdict"]["rules"].is_array(), "{answer}");
    let (status, answer) = verify("apps/bad:1").await;
    assert_eq!((status, &answer["refusal"]["rule"]), (403, &json!("deny-list")), "{answer}");
    assert_eq!(verify("apps/none:1").await.0, 404);
    assert_eq!(verify("apps/..:1").await.0, 400);

    let keys = ["registry.example:5000/apps/good:1", "registry.example:5000/apps/bad:1"];
    let body = json!({"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": {"keys": keys}});
    let (status, answer) = world.ask(API_SERVER, "POST", "/gatekeeper/validate?timeout=3s", &body).await;
    let items = &answer["response"]["items"];
    assert_eq!((status, items[0]["value"].as_str()), (200, Some(format!("{}@{good}", keys[0]).as_str())));
    assert!(items[1]["error"].as_str().unwrap().contains("CVE-2026-1"), "{answer}");
}

/// What a pull would get with a warning comes in with one; what the deny list names comes in nowhere.
#[tokio::test]
async fn a_project_that_audits_is_warned_about() {
    let (world, good) = world().await;
    let images = ["registry.example:5000/apps/good:1"];
    world.audit_apps();
    world.activate("version = 1\ndefault = \"deny\"\n");
    let (_, answer) = world.ask(API_SERVER, "POST", "/admission/mutate", &pod(&images)).await;
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
    let warning = answer["response"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("apps/good:1: served under audit, although rule 'default'"), "{warning}");
    world.activate(&format!(
        "version = 1\ndefault = \"admit\"\n[[deny]]\ndigest = \"{good}\"\nreason = \"CVE-2026-1\"\n"
    ));
    let (_, answer) = world.ask(API_SERVER, "POST", VALIDATE, &pod(&images)).await;
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
}

#[tokio::test]
async fn what_cannot_be_read_is_no_permission() {
    let (world, _) = world().await;
    let (status, answer) = world.ask(API_SERVER, "POST", VALIDATE, &json!({"kind": "Pod"})).await;
    assert_eq!((status, answer.get("response")), (400, None));
    let mut unknown = pod(&["registry.example:5000/apps/good:1"]);
    unknown["request"]["kind"] = json!({"group": "argoproj.io", "version": "v1", "kind": "Rollout"});
    let (status, answer) = world.ask(API_SERVER, "POST", VALIDATE, &unknown).await;
    assert_eq!((status, &answer["response"]["allowed"]), (200, &json!(false)));
    let request = ::http::Request::builder().method("POST").uri(VALIDATE).body(()).unwrap();
    let body = Bytes::from(vec![b' '; REVIEW_BODY_BYTES_MAX + 1]);
    assert_eq!(world.send(API_SERVER, request.into_parts().0, body).await.0, 413);
    assert_eq!(world.ask(API_SERVER, "GET", VALIDATE, &Value::Null).await.0, 405);
    assert_eq!(world.ask(API_SERVER, "POST", "/admission/x", &Value::Null).await.0, 404);
}
