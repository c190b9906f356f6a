//! Content rules at the door: a push and a mirror are asked what the image holds, whoever brings it.

use super::push::{TYPE, blob, manifest, world};
use super::world::{Make, World, run};
use crate::access::{Enforcement, Project, Visibility, change};
use crate::store::PrincipalRef;

const NO_SHELL: &str = "version = 1\n[[rule]]\nname = \"fit\"\nrepositories = [\"a/**\", \"up.example/**\"]\n\
                        [rule.content]\nno_shell = true\n";

fn layer(path: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_size(0);
    header.set_cksum();
    [header.as_bytes().as_slice(), &[0; 1024]].concat()
}

#[tokio::test]
async fn a_push_is_refused_for_what_lies_in_its_layers() {
    let world = world(NO_SHELL);
    let config = blob(&world, "a/b", b"{}").await;
    for (tag, path, status) in [("good", "srv/app", 201), ("bad", "bin/sh", 403)] {
        let bytes = layer(path);
        let layer = blob(&world, "a/b", &bytes).await;
        let image = manifest(&config, 2, &layer, bytes.len());
        let put = world.push("PUT", &format!("/v2/a/b/manifests/{tag}"), &[TYPE], &image).await;
        assert_eq!(put.status, status, "{tag}");
        assert_eq!(world.get(&format!("/v2/a/b/manifests/{tag}")).await.status, if status == 201 { 200 } else { 404 });
        if status == 403 {
            let error = put.json()["errors"][0].clone();
            let message = error["message"].as_str().unwrap();
            assert_eq!(error["code"], "DENIED");
            assert!(message.contains("rule 'fit'") && message.contains("bin/sh"), "{message}");
        }
    }
    // A layer that is named and kept elsewhere is one that nobody looked into.
    let bytes = layer("srv/other");
    let image = manifest(&config, 2, &crate::oci::digest::Digest::of(&bytes), bytes.len());
    let layer_type = "application/vnd.oci.image.layer.";
    let foreign = String::from_utf8(image).unwrap().replace(layer_type, &format!("{layer_type}nondistributable."));
    let put = world.push("PUT", "/v2/a/b/manifests/foreign", &[TYPE], foreign.as_bytes()).await;
    assert_eq!(put.status, 403);
    assert!(put.json()["errors"][0]["message"].as_str().unwrap().contains("is not here"));
}

/// The layers come before the judgement, and belong to nobody until it was made.
#[tokio::test]
async fn a_mirror_looks_into_layers_before_anything_is_served() {
    let up = run().await;
    let world = World::new(&up.url, Make { policy: NO_SHELL, ..Make::default() });
    let (_, child, bad) = up.outside.put_image("bad", "v1", &layer("usr/bin/bash"));
    let refused = world.get("/v2/up.example/bad/manifests/v1").await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("usr/bin/bash"));
    assert_eq!(world.get(&format!("/v2/up.example/bad/blobs/{bad}")).await.status, 404);
    assert_eq!(world.get(&format!("/v2/up.example/bad/manifests/{child}")).await.status, 403);
    let (_, _, good) = up.outside.put_image("good", "v1", &layer("srv/good"));
    assert_eq!(world.get("/v2/up.example/good/manifests/v1").await.status, 200);
    assert_eq!(world.get(&format!("/v2/up.example/good/blobs/{good}")).await.bytes(), layer("srv/good"));
    // What was looked into is not fetched another time.
    assert_eq!(up.outside.count(&good.to_string()), 1);
    // A layer that the upstream does not have is one that nobody looked into.
    let (_, _, gone) = up.outside.put_image("gone", "v1", &layer("srv/gone"));
    up.outside.answers.lock().unwrap().remove(&format!("/v2/gone/blobs/{gone}"));
    let refused = world.get("/v2/up.example/gone/manifests/v1").await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("is not here"));
}

/// What a mirror brings into a project that does not enforce is served with a warning; the deny list is above it.
#[tokio::test]
async fn a_mirror_into_a_project_that_audits() {
    let up = run().await;
    let world = World::new(&up.url, Make { policy: NO_SHELL, ..Make::default() });
    let (_, _, _) = up.outside.put_image("bad", "v1", &layer("usr/bin/bash"));
    let (denied, _, _) = up.outside.put_image("worse", "v1", &layer("bin/sh"));
    let declared = world.access.change(PrincipalRef::operator("0"), |document| {
        let project = Project { visibility: Visibility::Public, enforcement: Enforcement::Audit, ..Project::default() };
        change::add_project(document, "up.example".parse().unwrap(), project)
    });
    declared.unwrap();
    // A refusal is kept for a while, by the policy that it came from and not for a project that takes it otherwise.
    let enforce = |enforcement| {
        let name = "up.example".parse().unwrap();
        let changed = world.access.change(PrincipalRef::operator("0"), |document| {
            change::set_project(document, &name, |project| project.enforcement = enforcement)
        });
        changed.unwrap();
    };
    enforce(Enforcement::Enforce);
    assert_eq!(world.get("/v2/up.example/bad/manifests/v1").await.status, 403);
    enforce(Enforcement::Audit);
    for _ in 0..2 {
        let got = world.get("/v2/up.example/bad/manifests/v1").await;
        assert_eq!(got.status, 200);
        let warning = got.header("warning");
        assert!(warning.contains("rule 'fit'") && warning.contains("usr/bin/bash"), "{warning}");
    }
    world.put_in_force(&format!("{NO_SHELL}[[deny]]\ndigest = \"{denied}\"\nreason = \"bad\"\n"));
    let refused = world.get("/v2/up.example/worse/manifests/v1").await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("rule 'deny-list'"));
}
