//! A cluster's questions, over TLS to the real binary: what the webhooks in `docs/` would send, and what comes back.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::crossing::appliance::Serving;
use crate::push::wire::{Image, send};
use crate::push::{ADMIT, OPEN, appliance};

/// Loopback asks about everything.
const REVIEW: &str = "[review]\nnetworks = [\"127.0.0.0/8\"]\nregistry_names = [\"registry.example:5000\"]\n";

fn review(serving: &Serving<'_>, path: &str, image: &str) -> Value {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "operation": "CREATE",
            "object": {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}},
        },
    });
    let body = serde_json::to_vec(&review).expect("plain JSON");
    let answer =
        crate::http::request_from(&serving.endpoint, "POST", path, &[("Content-Type", "application/json")], &body);
    answer.expect("it answers").expect_status(200).json()["response"].clone()
}

#[test]
fn a_cluster_is_told_what_a_pull_would_get() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), &format!("{OPEN}{REVIEW}"), ADMIT);
    let serving = appliance.serve();
    let (good, bad) = (Image::new(1, 1_000), Image::new(2, 1_000));
    good.push(&serving.endpoint, "apps/good", "1").expect("it is pushed");
    bad.push(&serving.endpoint, "apps/bad", "1").expect("it is pushed");
    let name = "registry.example:5000/apps/good:1";
    assert_eq!(review(&serving, "/admission/validate?timeout=10s", name)["allowed"], true);
    let pinned = review(&serving, "/admission/mutate?timeout=10s", name);
    assert_eq!((&pinned["allowed"], &pinned["patchType"]), (&json!(true), &json!("JSONPatch")));

    let policy = format!("{ADMIT}[[deny]]\ndigest = \"{}\"\nreason = \"CVE-2026-1\"\n", bad.digest());
    crate::crossing::activate(&appliance, &policy, folder.path());
    // What the running server was told a moment ago is what it answers now.
    let refused = review(&serving, "/admission/validate", "registry.example:5000/apps/bad:1");
    assert_eq!(refused["allowed"], false);
    let message = refused["status"]["message"].as_str().expect("a message");
    assert!(message.contains("web") && message.contains("CVE-2026-1"), "{message}");

    let verify = |image: &str| {
        let target = format!("/verify?image=registry.example:5000/{image}");
        send(&serving.endpoint, "GET", &target, b"").expect("it answers")
    };
    assert_eq!(verify("apps/good:1").expect_status(200).json()["digest"], good.digest());
    assert_eq!(verify("apps/bad:1").expect_status(403).json()["refusal"]["rule"], "deny-list");
    verify("apps/none:1").expect_status(404);
    let asked = appliance.accesses_once_written(&["/admission/validate"], 2);
    assert_eq!(asked.len(), 2, "{asked:?}");
}

/// The manifests are read by a reader of YAML, and name all paths and kinds that there are.
#[test]
fn the_manifests_in_the_documents_fit() {
    let text = include_str!("../../docs/kubernetes/webhooks.yaml");
    for document in text.split("\n---\n") {
        postern::verify::yaml::parse(document).expect("it is YAML");
        for resource in
            ["pods/ephemeralcontainers", "podtemplates", "replicationcontrollers", "deployments", "replicasets"]
        {
            assert!(document.contains(resource), "{resource}");
        }
        for words in ["statefulsets", "daemonsets", "jobs", "cronjobs", "failurePolicy: Fail", "sideEffects: None"] {
            assert!(document.contains(words), "{words}");
        }
    }
    let paths = ["/admission/mutate", "/admission/validate"];
    assert!(paths.iter().all(|path| text.contains(path)));
    for document in include_str!("../../docs/kubernetes/gatekeeper.yaml").split("\n---\n") {
        postern::verify::yaml::parse(document).expect("it is YAML");
    }
}
