//! The gate at run time: what is here is judged anew when policy, trust, evidence or time has changed.

use std::time::Duration;

use serde_json::{Value, json};

use super::push::{NOWHERE, TYPE, blob, manifest};
use super::world::{ADMIT, Got, Make, World};
use crate::access::name::ProjectName;
use crate::access::{Enforcement, Project, Visibility, change};
use crate::admission::ReviewEnd;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::media_type::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::store::PrincipalRef;
use crate::verify::test_keys::{TestKey, signature_statement};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn admitting() -> World {
    World::new(NOWHERE, Make::default())
}

/// A policy that wants `a/**` signed with `key`, with something added.
fn signed(key: &TestKey, added: &str) -> String {
    format!(
        "version = 1\ndefault = \"admit\"\n{added}\n[keys.release]\npem = \"\"\"{}\"\"\"\n[[rule]]\nname = \"signed\"\nrepositories = [\"a/**\"]\n[rule.signature]\nkeys = [\"release\"]\n",
        key.public_pem()
    )
}

fn deny(entry: &str) -> String {
    format!("[[deny]]\n{entry}\nreason = \"stolen\"\n")
}

/// Pushes an image of one layer and gives its digest and its layer's.
async fn image(world: &World, repository: &str, reference: &str, content: &str) -> (Digest, Digest) {
    let config = blob(world, repository, b"{}").await;
    let layer = blob(world, repository, content.as_bytes()).await;
    let bytes = manifest(&config, 2, &layer, content.len());
    let digest = Digest::of(&bytes);
    let reference = if reference.is_empty() { digest.to_string() } else { reference.to_owned() };
    let put = world.push("PUT", &format!("/v2/{repository}/manifests/{reference}"), &[TYPE], &bytes).await;
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(put.bytes()));
    (digest, layer)
}

/// Pushes an index of `children` and gives its digest and bytes.
async fn index(world: &World, repository: &str, reference: &str, children: &[Digest]) -> (Digest, Vec<u8>) {
    let size = world.get(&format!("/v2/{repository}/manifests/{}", children[0])).await.bytes().len();
    let listed: Vec<Value> =
        children.iter().map(|child| json!({"mediaType": OCI_MANIFEST, "digest": child, "size": size})).collect();
    let body =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed, "annotations": {"of": reference}});
    let bytes = serde_json::to_vec(&body).unwrap();
    let target = format!("/v2/{repository}/manifests/{reference}");
    assert_eq!(world.push("PUT", &target, &[("content-type", OCI_INDEX)], &bytes).await.status, 201);
    (Digest::of(&bytes), bytes)
}

/// Pushes what `cosign sign` pushes.
async fn sign(world: &World, repository: &str, subject: &Digest, key: &TestKey) -> Got {
    let bundle = key.bundle(&signature_statement(subject));
    let config = blob(world, repository, b"{}").await;
    let layer = blob(world, repository, &bundle).await;
    let body = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": BUNDLE,
        "config": {"mediaType": OCI_EMPTY, "digest": config, "size": 2},
        "layers": [{"mediaType": BUNDLE, "digest": layer, "size": bundle.len()}],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 2},
    });
    let bytes = serde_json::to_vec(&body).unwrap();
    let target = format!("/v2/{repository}/manifests/{}", Digest::of(&bytes));
    world.push("PUT", &target, &[TYPE], &bytes).await
}

#[track_caller]
fn refused_by(got: &Got, rule: &str) {
    let text = String::from_utf8_lossy(got.bytes()).into_owned();
    assert_eq!(got.status, 403, "{text}");
    assert!(text.contains("\"DENIED\"") && text.contains(&format!("rule '{rule}'")), "{text}");
}

async fn statuses(world: &World, targets: &[String]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for target in targets {
        statuses.push(world.get(target).await.status);
    }
    statuses
}

/// One registry, never started anew: a policy, a signature, denials of a key, of time, each in force with the next request.
#[tokio::test]
async fn what_stops_verifying_stops_being_served_and_comes_back() {
    let (world, key) = (admitting(), TestKey::p256());
    let (digest, layer) = image(&world, "a/b", "v1", "content").await;
    let places =
        ["/v2/a/b/manifests/v1".to_owned(), format!("/v2/a/b/manifests/{digest}"), format!("/v2/a/b/blobs/{layer}")];
    assert_eq!(statuses(&world, &places).await, [200, 200, 200]);
    world.put_in_force(&signed(&key, ""));
    for place in &places {
        refused_by(&world.get(place).await, "signed");
        assert_eq!(world.ask("HEAD", place, &[]).await.status, 403);
    }
    // Whoever pushes the next image finds the layers that are here.
    assert_eq!(world.push("HEAD", &places[2], &[], b"").await.status, 200);
    assert_eq!(sign(&world, "a/b", &digest, &key).await.status, 201);
    assert_eq!(statuses(&world, &places).await, [200, 200, 200]);
    let fingerprint = crate::verify::key::PublicKey::parse_pem(&key.public_pem()).unwrap().fingerprint().to_string();
    world.put_in_force(&signed(&key, &deny(&format!("key = \"{fingerprint}\""))));
    refused_by(&world.get(&places[0]).await, "signed");
    refused_by(&world.get(&places[2]).await, "signed");
    // The clock stands at 2026-11-24T00:00:00Z.
    let later = format!("key = \"{fingerprint}\"\nfrom = \"2026-11-24T01:00:00Z\"\nuntil = \"2026-11-24T02:00:00Z\"");
    world.put_in_force(&signed(&key, &deny(&later)));
    for (seconds, expected) in [(0, 200), (3_600, 403), (3_600, 403), (1, 200)] {
        world.clock.advance(Duration::from_secs(seconds));
        assert_eq!(statuses(&world, &places).await, [expected; 3], "{seconds}");
    }
    // The clock is set back: what was true then is true again.
    world.clock.set_wall("2026-11-24T01:30:00Z".parse().unwrap());
    assert_eq!(statuses(&world, &places).await, [403; 3]);
    world.put_in_force(&signed(&TestKey::p256(), ""));
    refused_by(&world.get(&places[1]).await, "signed");
    world.put_in_force(ADMIT);
    assert_eq!(statuses(&world, &places).await, [200; 3]);
}

/// Pitfall 11, whichever of its digests the list names.
#[tokio::test]
async fn pitfall_11_an_index_is_denied_with_its_parts_everywhere_unless_another_covers_them() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let world = admitting();
        let (first, layer) = image(&world, "a", "", "one").await;
        let (second, _) = image(&world, "a", "", "two").await;
        let (revoked, bytes) = index(&world, "a", "all", &[first, second]).await;
        index(&world, "a", "other", &[second]).await;
        image(&world, "b/c", "v1", "one").await;
        let at =
            |repository: &str, reference: &dyn std::fmt::Display| format!("/v2/{repository}/manifests/{reference}");
        let places = [
            at("a", &"all"),
            at("a", &revoked),
            at("a", &first),
            format!("/v2/a/blobs/{layer}"),
            at("b/c", &"v1"),
            format!("/v2/b/c/blobs/{layer}"),
            at("a", &second),
            at("a", &"other"),
        ];
        assert_eq!(statuses(&world, &places).await, [200; 8]);
        let entry = deny(&format!("digest = \"{}\"", algorithm.hash(&bytes)));
        world.put_in_force(&format!("{ADMIT}{entry}"));
        assert_eq!(statuses(&world, &places).await, [403, 403, 403, 403, 403, 403, 200, 200]);
        for place in &places[..6] {
            refused_by(&world.get(place).await, "deny-list");
        }
        // In force for what comes in, too; and another index that covers the part makes it whole again.
        let again = world.push("PUT", &places[0], &[("content-type", OCI_INDEX)], &bytes).await;
        refused_by(&again, "deny-list");
        world.put_in_force(ADMIT);
        index(&world, "b/c", "set", &[first]).await;
        world.put_in_force(&format!("{ADMIT}{entry}"));
        assert_eq!(statuses(&world, &places).await, [403, 403, 403, 403, 200, 200, 200, 200]);
        // A part is denied: the index stays.
        world.put_in_force(&format!("{ADMIT}{}", deny(&format!("digest = \"{second}\""))));
        assert_eq!(statuses(&world, &places).await, [200, 200, 200, 200, 200, 200, 403, 200]);
    }
}

/// A part is served as long as the index that was signed is.
#[tokio::test]
async fn a_part_stands_and_falls_with_its_index() {
    let (world, key) = (admitting(), TestKey::p256());
    let (child, layer) = image(&world, "a/b", "", "one").await;
    let (root, _) = index(&world, "a/b", "v1", &[child]).await;
    world.put_in_force(&signed(&key, ""));
    let signature = sign(&world, "a/b", &root, &key).await;
    assert_eq!(signature.status, 201);
    let places = [
        "/v2/a/b/manifests/v1".to_owned(),
        format!("/v2/a/b/manifests/{child}"),
        format!("/v2/a/b/blobs/{layer}"),
        format!("/v2/a/b/manifests/{}", signature.header("docker-content-digest")),
    ];
    assert_eq!(statuses(&world, &places).await, [200; 4]);
    world.put_in_force(&signed(&TestKey::p256(), ""));
    assert_eq!(statuses(&world, &places).await, [403; 4]);
}

/// A verdict is made once, whoever asks, until something changes; a change elsewhere changes nothing.
#[tokio::test]
async fn a_verdict_is_kept_and_made_once() {
    let world = admitting();
    let (digest, layer) = image(&world, "a/b", "v1", "content").await;
    let place = "/v2/a/b/manifests/v1";
    let judged = || world.rechecks().counts().judged_total;
    let all = futures_util::future::join_all((0..16).map(|_| world.get(place))).await;
    assert!(all.iter().all(|got| got.status == 200));
    assert_eq!(judged(), 1);
    assert_eq!(world.get(&format!("/v2/a/b/blobs/{layer}")).await.status, 200);
    image(&world, "other", "v1", "content").await;
    assert_eq!(world.get(&format!("/v2/a/b/manifests/{digest}")).await.status, 200);
    assert_eq!((judged(), world.rechecks().counts().generation), (1, 1));
    image(&world, "a/b", "v2", "more").await;
    assert_eq!(world.get(place).await.status, 200);
    assert_eq!(judged(), 2);
    world.put_in_force(&format!("{ADMIT}# the same in other words\n"));
    assert_eq!(world.get(place).await.status, 200);
    assert_eq!((judged(), world.rechecks().counts().generation), (3, 2));
}

/// Behind, everything is judged once for each generation, and what has changed stands in the journal, once.
#[tokio::test]
async fn a_review_writes_down_what_has_changed() {
    let (world, key) = (admitting(), TestKey::p256());
    let (digest, _) = image(&world, "a/b", "v1", "content").await;
    image(&world, "c", "v1", "content").await;
    let name = "a/b".parse().unwrap();
    let review = |policy: String| {
        world.put_in_force(&policy);
        assert!(world.rechecks().is_review_due().unwrap());
        let reviewed = world.rechecks().review(&|_| {}, &|| false).unwrap();
        assert!(!world.rechecks().is_review_due().unwrap());
        reviewed
    };
    assert_eq!(review(ADMIT.to_owned()), ReviewEnd::Done { manifests: 2, refused: 0 });
    assert_eq!(world.store.unserved_by(&name, &digest).unwrap(), None);
    let policy = signed(&key, "");
    let before = world.store.head().sequence;
    assert_eq!(review(policy.clone()), ReviewEnd::Done { manifests: 2, refused: 1 });
    assert_eq!(world.store.unserved_by(&name, &digest).unwrap().as_deref(), Some("signed"));
    assert_eq!(world.store.reviewed_policy().unwrap(), Some(Digest::of(policy.as_bytes())));
    assert_eq!(world.store.head().sequence, before + 2, "the change and the end of the review");
    // Seen again by a pull, it is no news.
    assert_eq!(world.get("/v2/a/b/manifests/v1").await.status, 403);
    world.rechecks().write_noted();
    assert_eq!(world.store.head().sequence, before + 2);
    assert_eq!(sign(&world, "a/b", &digest, &key).await.status, 201);
    assert_eq!(world.get("/v2/a/b/manifests/v1").await.status, 200);
    world.rechecks().write_noted();
    assert_eq!(world.store.unserved_by(&name, &digest).unwrap(), None);
    assert!(world.store.check(crate::store::CheckDepth::Full, &crate::progress::Silent).unwrap().is_sound());
    world.put_in_force(ADMIT);
    assert_eq!(world.rechecks().review(&|_| {}, &|| true).unwrap(), ReviewEnd::Stopped);
}

/// A project that does not enforce lets in and serves what a rule refuses, and says so; the deny list is above it.
#[tokio::test]
async fn a_project_audits_or_is_open() {
    let (world, key) = (admitting(), TestKey::p256());
    let declare = |enforcement| {
        let by = PrincipalRef::operator("0");
        let name: ProjectName = "a".parse().unwrap();
        let declared = world.access.change(by, |document| {
            if !document.projects.contains_key(name.as_str()) {
                let project = Project { visibility: Visibility::Public, ..Project::default() };
                change::add_project(document, name.clone(), project)?;
            }
            change::set_project(document, &name, |project| project.enforcement = enforcement)
        });
        declared.unwrap();
    };
    let (digest, _) = image(&world, "a/b", "v1", "content").await;
    world.put_in_force(&signed(&key, ""));
    for (enforcement, status, warned) in
        [(Enforcement::Enforce, 403, false), (Enforcement::Audit, 200, true), (Enforcement::Open, 200, false)]
    {
        declare(enforcement);
        for _ in 0..2 {
            let got = world.get("/v2/a/b/manifests/v1").await;
            assert_eq!((got.status, got.has_warning()), (status, warned), "{enforcement:?}");
            let said = "299 - \"served under audit, although rule 'signed': not signed";
            assert!(
                !warned || (got.header("warning").starts_with(said) && got.header("warning").contains("0 documents"))
            );
        }
    }
    world.put_in_force(&signed(&key, &deny(&format!("digest = \"{digest}\""))));
    refused_by(&world.get("/v2/a/b/manifests/v1").await, "deny-list");
}
