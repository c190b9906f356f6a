//! The gate at run time: what is here is judged anew when policy, trust, evidence or time has changed.

use std::time::Duration;

use serde_json::{Value, json};

use super::push::{NOWHERE, TYPE, blob, manifest};
use super::world::{ADMIT, Got, Make, World};
use crate::access::name::ProjectName;
use crate::access::{Enforcement, Grant, Project, Role, User, Visibility, change};
use crate::admission::ReviewEnd;
use crate::limits::STAGED_COUNT_MAX;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::media_type::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::store::PrincipalRef;
use crate::sys::password::KeptPassword;
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
    sign_as(world, repository, subject, key, &[TYPE]).await
}

async fn sign_as(
    world: &World,
    repository: &str,
    subject: &Digest,
    key: &TestKey,
    headers: &[(&'static str, &str)],
) -> Got {
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
    world.push("PUT", &target, headers, &bytes).await
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

/// What comes in as something that is said of an image takes no tag of images along.
#[tokio::test]
async fn what_speaks_of_an_image_moves_no_other_tag() {
    let (world, key) = (admitting(), TestKey::p256());
    let (digest, _) = image(&world, "a/b", "latest", "content").await;
    sign(&world, "a/b", &digest, &key).await;
    world.put_in_force(&signed(&key, ""));
    let (config, layer) = (blob(&world, "a/b", b"{}").await, blob(&world, "a/b", b"anything").await);
    let body = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_EMPTY, "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.cncf.flux.content.v1.tar+gzip", "digest": layer, "size": 8}],
    });
    let bytes = serde_json::to_vec(&body).unwrap();
    let (own, of) = (Digest::of(&bytes), digest.to_string().replace(':', "-"));
    for tags in [format!("tag={of}.sig&tag=latest"), format!("tag=latest&tag={of}.att"), format!("tag={of}&tag=latest")]
    {
        let put = world.push("PUT", &format!("/v2/a/b/manifests/{own}?{tags}"), &[TYPE], &bytes).await;
        assert_eq!(put.status, 403, "{tags}: {}", String::from_utf8_lossy(put.bytes()));
        let got = world.get("/v2/a/b/manifests/latest").await;
        assert_eq!((got.status, got.header("docker-content-digest")), (200, digest.to_string().as_str()), "{tags}");
        assert_eq!(world.get(&format!("/v2/a/b/manifests/{own}")).await.status, 404);
    }
    let under = world.push("PUT", &format!("/v2/a/b/manifests/{of}.sig"), &[TYPE], &bytes).await;
    assert_eq!(under.status, 201, "as evidence it may stand there, and satisfies nothing");
}

/// What anybody may pull under a short name is not made another image by a push under that name.
#[tokio::test]
async fn a_push_takes_no_name_that_stands_for_another_repository() {
    let world = admitting();
    let (other, _) = image(&world, "docker.io/team/web", "v1", "other").await;
    let (config, layer) = (blob(&world, "team/other", b"{}").await, blob(&world, "team/other", b"own").await);
    let bytes = manifest(&config, 2, &layer, 3);
    let put = world.push("PUT", "/v2/team/web/manifests/v1", &[TYPE], &bytes).await;
    assert!(put.status == 403 && String::from_utf8_lossy(put.bytes()).contains("docker.io/team/web"), "{}", put.status);
    let got = world.get("/v2/team/web/manifests/v1").await;
    assert_eq!(got.header("docker-content-digest"), other.to_string());
}

/// What the deny list names does not come back as something that is said of an image that is served.
#[tokio::test]
async fn what_is_denied_is_no_companion_either() {
    let (world, key) = (admitting(), TestKey::p256());
    let (digest, _) = image(&world, "a/b", "v1", "content").await;
    let signature = sign(&world, "a/b", &digest, &key).await;
    let signature = format!("/v2/a/b/manifests/{}", signature.header("docker-content-digest"));
    world.put_in_force(&signed(&key, ""));
    assert_eq!(world.get(&signature).await.status, 200);
    let name = signature.rsplit('/').next().unwrap();
    world.put_in_force(&format!("{ADMIT}{}", deny(&format!("digest = \"{name}\""))));
    refused_by(&world.get(&signature).await, "deny-list");
    assert_eq!(world.get("/v2/a/b/manifests/v1").await.status, 200);
}

/// The header of an archive without a byte that is no letter of a text.
fn archive_in_letters() -> String {
    let before = format!("{:<100}0000755 0000000 0000000 00000000000 00000000000 ", "bin/sh");
    let behind = format!("{:<356}", "0");
    let sum: u32 = before.bytes().chain(behind.bytes()).map(u32::from).sum::<u32>() + 8 * 32;
    format!("{before}{sum:06o}  {behind}")
}

/// A runtime that looks at the bytes and not at their type would unpack what is called a signature and is an archive.
#[tokio::test]
async fn an_archive_that_is_called_a_document_speaks_of_nothing() {
    let (world, key) = (admitting(), TestKey::p256());
    let (digest, _) = image(&world, "a/b", "v1", "content").await;
    sign(&world, "a/b", &digest, &key).await;
    world.put_in_force(&signed(&key, ""));
    let config = blob(&world, "a/b", b"{}").await;
    let archive = archive_in_letters();
    for (content, status) in [
        (&b"{\"critical\":{}}"[..], 200),
        (&b"bin/sh\0\0\0ustar"[..], 403),
        (&[0x1f, 0x8b, 8], 403),
        (archive.as_bytes(), 403),
    ] {
        let layer = blob(&world, "a/b", content).await;
        let body = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [{"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": layer, "size": content.len()}],
            "subject": {"mediaType": OCI_MANIFEST, "digest": digest, "size": 2},
        });
        let bytes = serde_json::to_vec(&body).unwrap();
        let target = format!("/v2/a/b/manifests/{}", Digest::of(&bytes));
        let put = world.push("PUT", &target, &[TYPE], &bytes).await;
        assert!(matches!(put.status, 201 | 403), "{}", put.status);
        let got = world.get(&target).await;
        assert!(got.status == status || (status == 403 && got.status == 404), "{content:?}: {}", got.status);
    }
}

/// Where a name falls back to the root of another registry for whoever may not pull it, nobody else falls back with them.
#[tokio::test]
async fn a_name_is_a_repositorys_own_for_whoever_may_pull_it() {
    let world = admitting();
    let (own, _) = image(&world, "apps/web", "v1", "own").await;
    let (other, _) = image(&world, "docker.io/apps/web", "v1", "other").await;
    let by = PrincipalRef::operator("0");
    let declared = |document: &mut _| change::add_project(document, "apps".parse().unwrap(), Project::default());
    world.access.change(by, declared).unwrap();
    let insider = pusher(&world, "ines");
    let target = "/v2/apps/web/manifests/v1";
    for _ in 0..2 {
        let got = world.get(target).await;
        assert_eq!((got.status, got.header("docker-content-digest")), (200, other.to_string().as_str()));
        let got = world.ask("GET", target, &[("authorization", insider.as_str())]).await;
        assert_eq!((got.status, got.header("docker-content-digest")), (200, own.to_string().as_str()));
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

/// Pitfall 8: a verdict is made once, whoever asks, until something changes; a change elsewhere changes nothing.
#[tokio::test]
async fn pitfall_8_a_verdict_is_kept_and_made_once() {
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

/// Pitfall 8: behind, everything is judged once for each generation, and what has changed stands in the journal, once.
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
    // A policy that cannot be read might have denied anything.
    world.put_policy(crate::verify::TrustPolicy::unreadable());
    refused_by(&world.get("/v2/a/b/manifests/v1").await, "policy-unreadable");
    let bytes = world.store.blobs().read(&digest, 10_000).unwrap().unwrap();
    let anna = pusher(&world, "anna");
    let put = world.push("PUT", "/v2/a/b/manifests/v2", &[TYPE, ("authorization", &anna)], &bytes).await;
    refused_by(&put, "policy-unreadable");
}

/// Adds a user who may push everything, and gives what they sign in with.
fn pusher(world: &World, name: &str) -> String {
    let user = User {
        number: 0,
        name: name.parse().unwrap(),
        password: Some(KeptPassword::derive(b"password").unwrap()),
        grants: vec![Grant { role: Role::Pusher, projects: "*".parse().unwrap() }],
        certificates: Vec::new(),
        second_factor: None,
        disabled: false,
        created: None,
    };
    world.access.change(PrincipalRef::operator("0"), |document| change::add_user(document, name, user)).unwrap();
    format!("Basic {}", data_encoding::BASE64.encode(format!("{name}:password").as_bytes()))
}

/// A tag has what is admitted, for everybody, and what waits, for whoever pushed it; the signature turns one into the other.
#[tokio::test]
async fn what_is_pushed_unsigned_waits_for_its_signature() {
    let (world, key) = (admitting(), TestKey::p256());
    let (anna, bert) = (pusher(&world, "anna"), pusher(&world, "bert"));
    let (old, _) = image(&world, "a/b", "v1", "old").await;
    world.put_in_force(&signed(&key, ""));
    assert_eq!(sign(&world, "a/b", &old, &key).await.status, 201);
    let (config, layer) = (blob(&world, "a/b", b"{}").await, blob(&world, "a/b", b"new").await);
    let bytes = manifest(&config, 2, &layer, 3);
    let new = Digest::of(&bytes);
    let tag = "/v2/a/b/manifests/v1";
    let by_digest = format!("/v2/a/b/manifests/{new}");
    // Without a name there is nobody who could see it.
    refused_by(&world.push("PUT", tag, &[TYPE], &bytes).await, "signed");
    let put = world.push("PUT", tag, &[TYPE, ("authorization", &anna)], &bytes).await;
    assert_eq!((put.status, put.header("docker-content-digest")), (201, new.to_string().as_str()));
    assert!(put.header("warning").contains("not served yet") && put.header("warning").contains("rule 'signed'"));
    for place in [tag, by_digest.as_str()] {
        for method in ["GET", "HEAD"] {
            let own = world.push(method, place, &[("authorization", &anna)], b"").await;
            assert_eq!((own.status, own.header("docker-content-digest")), (200, new.to_string().as_str()));
            assert!(own.has_warning() && (method == "HEAD" || own.bytes() == bytes));
        }
    }
    for other in [vec![], vec![("authorization", bert.as_str())]] {
        assert_eq!(world.push("GET", tag, &other, b"").await.header("docker-content-digest"), old.to_string());
        assert_eq!(world.push("GET", &by_digest, &other, b"").await.status, 404);
    }
    let tags = world.push("GET", "/v2/a/b/tags/list", &[("authorization", &anna)], b"").await;
    assert_eq!(tags.json()["tags"], json!(["v1"]));
    assert_eq!(world.get(&format!("/v2/a/b/blobs/{layer}")).await.status, 404);
    // A signature by another key does not count; it waits too, and is no hindrance.
    let wrong = sign_as(&world, "a/b", &new, &TestKey::p256(), &[TYPE, ("authorization", &anna)]).await;
    assert!(wrong.status == 201 && wrong.has_warning());
    let right = sign_as(&world, "a/b", &new, &key, &[TYPE, ("authorization", &anna)]).await;
    assert!(right.status == 201 && !right.has_warning());
    for place in [tag.to_owned(), by_digest, format!("/v2/a/b/blobs/{layer}")] {
        let got = world.get(&place).await;
        assert_eq!((got.status, got.has_warning()), (200, false), "{place}");
    }
    assert_eq!(world.get(tag).await.bytes(), bytes);
    assert!(world.store.all_staged(&"a/b".parse().unwrap()).unwrap().is_empty());
    assert!(world.store.check(crate::store::CheckDepth::Full, &crate::progress::Silent).unwrap().is_sound());
}

/// Whoever pushes the same bytes takes neither the sight of them nor their tag from whoever pushed them before.
#[tokio::test]
async fn what_two_have_pushed_waits_for_both() {
    let (world, key) = (admitting(), TestKey::p256());
    let (anna, bert) = (pusher(&world, "anna"), pusher(&world, "bert"));
    world.put_in_force(&signed(&key, ""));
    let (config, layer) = (blob(&world, "a/b", b"{}").await, blob(&world, "a/b", b"new").await);
    let bytes = manifest(&config, 2, &layer, 3);
    let digest = Digest::of(&bytes);
    let by_digest = format!("/v2/a/b/manifests/{digest}");
    for (who, place) in [(&anna, "/v2/a/b/manifests/v1"), (&bert, &by_digest), (&bert, &by_digest)] {
        assert_eq!(world.push("PUT", place, &[TYPE, ("authorization", who)], &bytes).await.status, 201);
    }
    for who in [&anna, &bert] {
        assert_eq!(world.push("GET", &by_digest, &[("authorization", who)], b"").await.status, 200);
    }
    assert_eq!(world.push("GET", "/v2/a/b/manifests/v1", &[("authorization", &anna)], b"").await.status, 200);
    assert!(!sign_as(&world, "a/b", &digest, &key, &[TYPE, ("authorization", &bert)]).await.has_warning());
    assert_eq!(world.get("/v2/a/b/manifests/v1").await.header("docker-content-digest"), digest.to_string());
    assert!(world.store.all_staged(&"a/b".parse().unwrap()).unwrap().is_empty());
}

/// Whoever has taken all places gives one to whoever has none, and gets it back from nobody.
#[tokio::test]
async fn nobody_keeps_others_from_waiting() {
    let world = admitting();
    let (anna, bert) = (pusher(&world, "anna"), pusher(&world, "bert"));
    world.put_in_force(&signed(&TestKey::p256(), ""));
    let (config, layer) = (blob(&world, "a/b", b"{}").await, blob(&world, "a/b", b"new").await);
    let pushed = async |who: &str, number: usize| {
        let mut body: Value = serde_json::from_slice(&manifest(&config, 2, &layer, 3)).unwrap();
        body["annotations"] = json!({"number": number.to_string()});
        let bytes = serde_json::to_vec(&body).unwrap();
        let place = format!("/v2/a/b/manifests/{}", Digest::of(&bytes));
        (world.push("PUT", &place, &[TYPE, ("authorization", who)], &bytes).await.status, place)
    };
    let sees = async |who: &str, place: &str| world.push("HEAD", place, &[("authorization", who)], b"").await.status;
    let mut places = Vec::new();
    for number in 0..STAGED_COUNT_MAX {
        let (status, place) = pushed(&bert, number).await;
        assert_eq!(status, 201);
        places.push(place);
    }
    assert_eq!(pushed(&bert, STAGED_COUNT_MAX).await.0, 403, "all places are taken");
    let (status, own) = pushed(&anna, STAGED_COUNT_MAX + 1).await;
    assert_eq!((status, sees(&anna, &own).await), (201, 200));
    assert_eq!((sees(&bert, &places[0]).await, sees(&bert, &places[1]).await), (404, 200), "the oldest gave way");
    assert_eq!(pushed(&bert, STAGED_COUNT_MAX).await.0, 403, "and takes no place of whoever has fewer");
    assert_eq!(world.store.all_staged(&"a/b".parse().unwrap()).unwrap().len(), STAGED_COUNT_MAX);
}

/// A build whose signature comes late is let in, and turns back no tag that a later build has moved on.
#[tokio::test]
async fn what_waited_longer_turns_no_tag_back() {
    let (world, key) = (admitting(), TestKey::p256());
    let anna = pusher(&world, "anna");
    world.put_in_force(&signed(&key, ""));
    let headers = [TYPE, ("authorization", anna.as_str())];
    let tag = "/v2/a/b/manifests/latest";
    let mut builds = Vec::new();
    for content in ["first", "second"] {
        let (config, layer) = (blob(&world, "a/b", b"{}").await, blob(&world, "a/b", content.as_bytes()).await);
        let bytes = manifest(&config, 2, &layer, content.len());
        assert_eq!(world.push("PUT", tag, &headers, &bytes).await.status, 201);
        builds.push(Digest::of(&bytes));
    }
    let [first, second] = builds.try_into().unwrap();
    for build in [second, first] {
        assert!(!sign_as(&world, "a/b", &build, &key, &headers).await.has_warning());
        for who in [vec![], vec![("authorization", anna.as_str())]] {
            let got = world.push("GET", tag, &who, b"").await;
            assert_eq!((got.status, got.header("docker-content-digest")), (200, second.to_string().as_str()));
        }
    }
    assert_eq!(world.get(&format!("/v2/a/b/manifests/{first}")).await.status, 200);
    assert!(world.store.all_staged(&"a/b".parse().unwrap()).unwrap().is_empty());
}

/// A signature may come before its image. Then both come in together, and conditions of the push hold.
#[tokio::test]
async fn a_signature_waits_for_its_image() {
    let (world, key) = (admitting(), TestKey::p256());
    let anna = pusher(&world, "anna");
    world.put_in_force(&signed(&key, ""));
    let (config, layer) = (blob(&world, "a/b", b"{}").await, blob(&world, "a/b", b"new").await);
    let bytes = manifest(&config, 2, &layer, 3);
    let digest = Digest::of(&bytes);
    let first = sign_as(&world, "a/b", &digest, &key, &[TYPE, ("authorization", &anna)]).await;
    assert!(first.status == 201 && first.has_warning());
    let headers = [TYPE, ("authorization", anna.as_str()), ("if-none-match", "*")];
    let put = world.push("PUT", "/v2/a/b/manifests/v1", &headers, &bytes).await;
    assert_eq!((put.status, put.has_warning()), (201, false));
    assert_eq!(world.get("/v2/a/b/manifests/v1").await.bytes(), bytes);
    let listed = world.get(&format!("/v2/a/b/referrers/{digest}")).await.json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(world.push("PUT", "/v2/a/b/manifests/v1", &headers, &bytes).await.status, 412);
}

/// An index waits with its parts, for as many signatures as its rule asks for, and for a bounded time.
#[tokio::test]
async fn an_index_waits_with_its_parts_for_all_signatures_and_not_for_ever() {
    let (world, keys) = (admitting(), [TestKey::p256(), TestKey::p256()]);
    let anna = pusher(&world, "anna");
    let by_anna = [TYPE, ("authorization", anna.as_str())];
    let both = format!(
        "version = 1\n[keys.one]\npem = \"\"\"{}\"\"\"\n[keys.two]\npem = \"\"\"{}\"\"\"\n[[rule]]\nname = \"both\"\nrepositories = [\"a\"]\n[rule.signature]\nkeys = [\"one\", \"two\"]\ncount = \"all\"\n",
        keys[0].public_pem(),
        keys[1].public_pem()
    );
    world.put_in_force(&both);
    let (config, layer) = (blob(&world, "a", b"{}").await, blob(&world, "a", b"layer").await);
    let child = manifest(&config, 2, &layer, 5);
    let child_digest = Digest::of(&child);
    let listed = json!([{"mediaType": OCI_MANIFEST, "digest": child_digest, "size": child.len()}]);
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
    let index = serde_json::to_vec(&index).unwrap();
    let root = Digest::of(&index);
    let of_index = [("content-type", OCI_INDEX), ("authorization", anna.as_str())];
    let places =
        ["/v2/a/manifests/v1".to_owned(), format!("/v2/a/manifests/{child_digest}"), format!("/v2/a/blobs/{layer}")];
    for round in 0..2 {
        assert_eq!(world.push("PUT", &places[1], &by_anna, &child).await.status, 201);
        assert_eq!(world.push("PUT", &places[0], &of_index, &index).await.status, 201);
        let first = sign_as(&world, "a", &root, &keys[0], &by_anna).await;
        assert!(first.status == 201 && first.has_warning());
        assert_eq!(statuses(&world, &places).await, [404; 3]);
        if round == 0 {
            world.clock.advance(Duration::from_secs(24 * 3_600));
            assert_eq!(world.push("GET", &places[0], &by_anna, b"").await.status, 404);
            // Its parts wait no more either.
            assert_eq!(world.push("PUT", &places[0], &of_index, &index).await.status, 404);
        }
    }
    let second = sign_as(&world, "a", &root, &keys[1], &by_anna).await;
    assert!(second.status == 201 && !second.has_warning());
    assert_eq!(statuses(&world, &places).await, [200; 3]);
    // What is here and stops verifying can be pushed again, to be signed anew.
    let new = TestKey::p256();
    world.put_in_force(&signed(&new, "").replace("a/**", "a"));
    assert_eq!(world.push("GET", &places[0], &by_anna, b"").await.status, 403);
    assert_eq!(world.push("PUT", &places[0], &of_index, &index).await.status, 201);
    assert_eq!(world.push("GET", &places[0], &by_anna, b"").await.status, 200);
    assert_eq!(statuses(&world, &places).await, [403; 3]);
    assert!(!sign_as(&world, "a", &root, &new, &by_anna).await.has_warning());
    assert_eq!(statuses(&world, &places).await, [200; 3]);
}
