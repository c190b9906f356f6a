//! Signing in, and what those who have not, or not enough, get to see. Attacks have their WHY.

use serde_json::json;

use super::world::{Make, PULLS_PER_MINUTE, World, run};
use crate::access::change::{self, NewRobot};
use crate::access::{Project, ProjectKind, Role, User, Visibility, secret};
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_CONFIG, OCI_MANIFEST};
use crate::store::PrincipalRef;
use crate::sys::password::KeptPassword;

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{name}:{password}").as_bytes()))
}

const ROBOT: &str = "robot$team-a+ci";

/// Two private projects with a robot each, and an owner who may do everything.
fn declare(world: &World) {
    let declared = world.access.change(PrincipalRef::operator("0"), |document| {
        let mut last = None;
        for name in ["team-a", "team-b"] {
            let project = Project { kind: ProjectKind::Hosted, visibility: Visibility::Private, ..Project::default() };
            change::add_project(document, name.parse().unwrap(), project)?;
            let new = NewRobot {
                project: name.parse().unwrap(),
                name: "ci".parse().unwrap(),
                role: Role::Pusher,
                expires: None,
                disabled: false,
                description: String::new(),
                created: jiff::Timestamp::UNIX_EPOCH,
            };
            last = Some(change::add_robot(document, &format!("r-{name}"), new, secret::keep(name))?);
        }
        let password = Some(KeptPassword::derive(b"correct horse").unwrap());
        let grants = vec![crate::access::Grant { role: Role::Admin, projects: "*".parse().unwrap() }];
        let name = "anna".parse().unwrap();
        change::add_user(
            document,
            "u-anna",
            User {
                number: 0,
                name,
                password,
                grants,
                certificates: Vec::new(),
                second_factor: None,
                disabled: false,
                created: None,
            },
        )?;
        Ok(last.unwrap())
    });
    declared.unwrap();
}

async fn push_image(world: &World, repository: &str, authorization: &str, layer: &[u8]) -> (Digest, Digest) {
    let credentials = [("authorization", authorization)];
    for content in [b"{}".as_slice(), layer] {
        let target = format!("/v2/{repository}/blobs/uploads/?digest={}", Digest::of(content));
        assert_eq!(world.push("POST", &target, &credentials, content).await.status, 201, "{repository}");
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest::of(layer), "size": layer.len()}],
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let headers = [("authorization", authorization), ("content-type", OCI_MANIFEST)];
    let put = world.push("PUT", &format!("/v2/{repository}/manifests/v1"), &headers, &bytes).await;
    assert_eq!(put.status, 201);
    (Digest::of(&bytes), Digest::of(layer))
}

async fn world() -> World {
    let up = run().await;
    let world = World::new(&up.url, Make::default());
    declare(&world);
    world
}

/// A token, asked for as a client does.
async fn token(world: &World, authorization: &str, scope: &str) -> String {
    let target = format!("/v2/token?service=postern&scope={scope}");
    let headers = [("authorization", authorization)];
    let got = world.ask("GET", &target, if authorization.is_empty() { &[] } else { &headers }).await;
    assert_eq!(got.status, 200);
    format!("Bearer {}", got.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn a_client_is_told_how_to_sign_in_and_then_let_in() {
    let world = world().await;
    let got = world.ask("GET", "/v2/", &[("host", "registry.example:5000")]).await;
    let challenges: Vec<_> =
        got.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
    let bearer = "Bearer realm=\"https://registry.example:5000/v2/token\",service=\"postern\"";
    assert_eq!((got.status, challenges), (401, vec![bearer, "Basic realm=\"postern\""]));
    let robot = basic(ROBOT, "team-a");
    assert_eq!(world.ask("GET", "/v2/", &[("authorization", &robot)]).await.status, 200);
    push_image(&world, "team-a/web", &robot, b"layer").await;
    let manifest = "/v2/team-a/web/manifests/v1";
    assert_eq!(world.get(manifest).await.status, 401);
    assert_eq!(world.ask("GET", manifest, &[("authorization", &robot)]).await.status, 200);
    let bearer = token(&world, &robot, "repository:team-a/web:pull").await;
    assert_eq!(world.ask("GET", manifest, &[("authorization", &bearer)]).await.status, 200);
    assert_eq!(world.ask("GET", "/v2/", &[("authorization", &bearer)]).await.status, 200);
    let narrow = world.ask("POST", "/v2/team-a/web/blobs/uploads/", &[("authorization", &bearer)]).await;
    assert_eq!(narrow.status, 401);
    assert_eq!(narrow.header("www-authenticate"), "Basic realm=\"postern\"", "without a host there is no address");
    let told = world.ask("POST", "/v2/team-a/web/blobs/uploads/", &[("authorization", &bearer), ("host", "r")]).await;
    assert!(told.header("www-authenticate").contains("scope=\"repository:team-a/web:pull,push\""));
    assert!(told.header("www-authenticate").contains("insufficient_scope"));
}

/// WHY: knowing a name or a digest opens nothing. What is there, what is not, and what belongs to others all look the same.
#[tokio::test]
async fn an_attacker_in_another_project_learns_and_gets_nothing() {
    let world = world().await;
    let (own, other) = (basic(ROBOT, "team-a"), basic("robot$team-b+ci", "team-b"));
    let (manifest, layer) = push_image(&world, "team-a/web", &own, b"secret layer").await;
    let attacker = [("authorization", other.as_str())];
    for (there, absent) in [
        ("/v2/team-a/web/manifests/v1".to_owned(), "/v2/team-a/none/manifests/v1".to_owned()),
        (format!("/v2/team-a/web/manifests/{manifest}"), format!("/v2/team-a/web/manifests/{}", Digest::of(b"no"))),
        (format!("/v2/team-a/web/blobs/{layer}"), format!("/v2/team-a/web/blobs/{}", Digest::of(b"no"))),
        ("/v2/team-a/web/tags/list".to_owned(), "/v2/team-a/none/tags/list".to_owned()),
        (format!("/v2/team-a/web/referrers/{manifest}"), format!("/v2/team-a/none/referrers/{manifest}")),
    ] {
        let (there, absent) = (world.ask("GET", &there, &attacker).await, world.ask("GET", &absent, &attacker).await);
        assert_eq!((there.status, absent.status), (403, 403));
        assert_eq!(there.bytes(), absent.bytes());
    }
    // In the own project the digest of another's layer is an absent blob.
    let in_own = world.ask("GET", &format!("/v2/team-b/web/blobs/{layer}"), &attacker).await;
    assert_eq!(in_own.status, 404);
    // Mounting it from there falls back to an upload, as if it were not there; so does naming it in a manifest.
    for from in ["team-a/web", "team-a/none"] {
        let mount = format!("/v2/team-b/web/blobs/uploads/?mount={layer}&from={from}");
        assert_eq!(world.push("POST", &mount, &attacker, b"").await.status, 202, "{from}");
    }
    let config = format!("/v2/team-b/web/blobs/uploads/?digest={}", Digest::of(b"{}"));
    assert_eq!(world.push("POST", &config, &attacker, b"{}").await.status, 201);
    let stolen = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 12}],
    });
    let headers = [("authorization", other.as_str()), ("content-type", OCI_MANIFEST)];
    let bytes = serde_json::to_vec(&stolen).unwrap();
    let put = world.push("PUT", "/v2/team-b/web/manifests/v1", &headers, &bytes).await;
    assert_eq!((put.status, put.json()["errors"][0]["code"].as_str().unwrap()), (404, "MANIFEST_BLOB_UNKNOWN"));
    let uploads = "/v2/team-a/web/blobs/uploads/";
    assert_eq!(world.push("POST", uploads, &attacker, b"").await.status, 403);
    let catalog = world.ask("GET", "/v2/_catalog", &attacker).await;
    assert_eq!(catalog.json(), json!({ "repositories": [] }), "what was only begun is no repository yet");
    let catalog = world.ask("GET", "/v2/_catalog", &[("authorization", own.as_str())]).await;
    assert_eq!(catalog.json(), json!({ "repositories": ["team-a/web"] }));
}

/// WHY: an upload's id in a log is no key. Whoever may push elsewhere can neither see, fill nor end it.
#[tokio::test]
async fn anothers_upload_is_not_there() {
    let world = world().await;
    let (own, other) = (basic(ROBOT, "team-a"), basic("robot$team-b+ci", "team-b"));
    let begun = world.push("POST", "/v2/team-a/web/blobs/uploads/", &[("authorization", &own)], b"").await;
    let location = begun.header("location").to_owned();
    let moved = location.replace("team-a", "team-b");
    for (method, target, status) in [
        ("GET", location.as_str(), 403),
        ("PATCH", &location, 403),
        ("DELETE", &location, 403),
        ("GET", &moved, 404),
        ("DELETE", &moved, 404),
    ] {
        let got = world.push(method, target, &[("authorization", &other)], b"x").await;
        assert_eq!(got.status, status, "{method} {target}");
    }
    assert_eq!(world.push("GET", &location, &[("authorization", &own)], b"").await.status, 204);
}

/// WHY: dockerd sends a mirror the password of the registry that it mirrors. It must be let in as nobody, and the password
/// must not be looked at, forwarded or logged.
#[tokio::test]
async fn foreign_credentials_are_dropped() {
    let up = run().await;
    up.outside.put_image("a", "v1", b"layer");
    let world = World::new(&up.url, Make::default());
    let hub = basic("hub-user", "hub-password");
    for accounts in [false, true] {
        if accounts {
            declare(&world);
        }
        let headers = [("authorization", hub.as_str())];
        assert_eq!(world.ask("GET", "/v2/up.example/a/manifests/v1", &headers).await.status, 200);
        let foreign = [("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln")];
        assert_eq!(world.ask("GET", "/v2/up.example/a/manifests/v1", &foreign).await.status, 200);
    }
    assert!(!up.outside.saw_authorization());
    assert_eq!(world.ask("GET", "/v2/", &[("authorization", hub.as_str())]).await.status, 401);
    let log = world.end();
    assert!(log.contains("/v2/up.example/a/manifests/v1") && !log.contains("hub-") && !log.contains("aHVi"), "{log}");
}

#[tokio::test]
async fn tokens_are_given_to_whoever_asks_rightly() {
    let world = world().await;
    let robot = basic(ROBOT, "team-a");
    let form = |text: &'static str| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let world = &world;
        async move { world.push("POST", "/v2/token", &headers, text.as_bytes()).await }
    };
    let got = form("grant_type=password&service=postern&username=robot%24team-a%2Bci&password=team-a&scope=repository:team-a/web:pull,push,delete").await;
    assert_eq!((got.status, got.json()["scope"].as_str().unwrap()), (200, "repository:team-a/web:pull,push"));
    assert_eq!(got.header("cache-control"), "no-store");
    assert_eq!(form("grant_type=password&username=robot%24team-a%2Bci&password=wrong").await.status, 401);
    assert_eq!(form("grant_type=refresh_token&refresh_token=x").await.status, 400);
    assert_eq!(world.push("POST", "/v2/token", &[], &vec![b'a'; 20_000]).await.status, 400);
    assert_eq!(world.ask("DELETE", "/v2/token", &[]).await.status, 405);
    assert_eq!(world.ask("GET", "/v2/token", &[("authorization", &basic(ROBOT, "wrong"))]).await.status, 401);
    // Without credentials there is a token that says so; with it what is open is open, and the rest is not.
    let nobody = token(&world, "", "repository:team-a/web:pull").await;
    assert_eq!(world.ask("GET", "/v2/", &[("authorization", &nobody)]).await.status, 200);
    assert_eq!(world.ask("GET", "/v2/team-a/web/manifests/v1", &[("authorization", &nobody)]).await.status, 401);
    // A token cannot be made to last by asking with it for another.
    let bearer = token(&world, &robot, "repository:team-a/web:pull").await;
    let again = token(&world, &bearer, "repository:team-a/web:pull").await;
    assert_eq!(world.ask("GET", "/v2/team-a/web/manifests/v1", &[("authorization", &again)]).await.status, 401);
}

#[tokio::test]
async fn what_is_revoked_ends_with_the_next_request() {
    let world = world().await;
    let robot = basic(ROBOT, "team-a");
    push_image(&world, "team-a/web", &robot, b"layer").await;
    let bearer = token(&world, &robot, "repository:team-a/web:pull,push").await;
    let manifest = "/v2/team-a/web/manifests/v1";
    assert_eq!(world.ask("GET", manifest, &[("authorization", &bearer)]).await.status, 200);
    world.access.change(PrincipalRef::operator("0"), |document| change::remove_robot(document, ROBOT)).unwrap();
    for credentials in [&bearer, &robot] {
        assert_eq!(world.ask("GET", manifest, &[("authorization", credentials)]).await.status, 401);
    }
}

#[tokio::test]
async fn guesses_are_answered_later_and_later() {
    let world = world().await;
    let wrong = basic("anna", "wrong");
    let target = "/v2/team-a/web/manifests/v1";
    for _ in 0..4 {
        assert_eq!(world.ask("GET", target, &[("authorization", &wrong)]).await.status, 401);
    }
    let right = basic("anna", "correct horse");
    let waiting = world.ask("GET", target, &[("authorization", &right)]).await;
    assert_eq!((waiting.status, waiting.header("retry-after")), (429, "1"));
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(world.ask("GET", target, &[("authorization", &right)]).await.status, 404);
}

#[tokio::test]
async fn who_pushed_stands_in_the_journal_by_id() {
    let world = world().await;
    push_image(&world, "team-a/web", &basic(ROBOT, "team-a"), b"layer").await;
    let dir = world.store.dir();
    let name = dir.list("journal").unwrap()[0].name.clone();
    let bytes = crate::sys::dir::read_bounded(dir.as_ref(), &format!("journal/{name}"), 100_000_000).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let published = text.lines().find(|line| line.contains("\"manifest_published\"")).unwrap();
    assert!(published.contains(r#""principal":{"id":"r-team-a","kind":"robot"}"#), "{published}");
    assert!(!text.contains("anna"), "names stay out of the journal");
}

#[tokio::test]
async fn a_full_project_takes_nothing_more_until_something_goes() {
    let world = world().await;
    let robot = basic(ROBOT, "team-a");
    let set = |bytes: Option<u64>, tags: Option<u64>| {
        let name = "team-a".parse().unwrap();
        let set = world.access.change(PrincipalRef::operator("0"), |document| {
            change::set_project(document, &name, |project| {
                (project.quota_bytes_max, project.tags_count_max) = (bytes, tags);
            })
        });
        set.unwrap();
    };
    set(Some(600), Some(1));
    push_image(&world, "team-a/web", &robot, b"layer").await;
    let credentials = [("authorization", robot.as_str())];
    let large = vec![7; 1_000];
    let whole = format!("/v2/team-a/web/blobs/uploads/?digest={}", Digest::of(&large));
    let declared = [("authorization", robot.as_str()), ("content-length", "1000")];
    for headers in [&declared[..], &credentials[..]] {
        let refused = world.push("POST", &whole, headers, &large).await;
        let told = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert_eq!(refused.status, 403);
        assert!(told.contains("quota"), "{told}");
    }
    // What it holds already costs nothing again, in another repository neither.
    push_image(&world, "team-a/web", &robot, b"layer").await;
    // A second tag is one too many, moving the first is not.
    let manifest = world.ask("GET", "/v2/team-a/web/manifests/v1", &credentials).await;
    let headers = [("authorization", robot.as_str()), ("content-type", OCI_MANIFEST)];
    let put = |tag: &'static str| {
        let (world, bytes) = (&world, manifest.bytes().to_vec());
        async move { world.push("PUT", &format!("/v2/team-a/web/manifests/{tag}"), &headers, &bytes).await.status }
    };
    assert_eq!((put("v1").await, put("v2").await), (201, 403));
    set(Some(2_000), None);
    assert_eq!(put("v2").await, 201);
    assert_eq!(world.push("POST", &whole, &credentials, &large).await.status, 201);
}

#[tokio::test]
async fn a_project_that_is_pulled_too_often_waits() {
    let world = world().await;
    let robot = basic(ROBOT, "team-a");
    push_image(&world, "team-a/web", &robot, b"layer").await;
    let credentials = [("authorization", robot.as_str())];
    let target = "/v2/team-a/web/manifests/v1";
    let mut taken = 0;
    while world.ask("GET", target, &credentials).await.status == 200 {
        taken += 1;
    }
    let refused = world.ask("GET", target, &credentials).await;
    assert_eq!((taken, refused.status, refused.header("retry-after")), (PULLS_PER_MINUTE, 429, "3"));
    assert_eq!(refused.json()["errors"][0]["code"], "TOOMANYREQUESTS");
    assert_eq!(world.ask("HEAD", target, &credentials).await.status, 200, "only what is sent is counted");
    world.clock.advance(std::time::Duration::from_secs(3));
    assert_eq!(world.ask("GET", target, &credentials).await.status, 200);
}
