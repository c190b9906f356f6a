//! The API against a real store, as those who may everything, something and nothing.

mod document;
mod sessions;
mod world;

use std::time::Duration;

use serde_json::{Value, json};

use self::world::{OWNER, READER, ROOT, STRANGER, World};
use crate::access::change;
use crate::store::PrincipalRef;

fn robot(name: &str, project: &str, actions: &[&str]) -> String {
    let access: Vec<_> =
        actions.iter().map(|action| json!({"resource": "repository", "action": action, "effect": "allow"})).collect();
    let permissions = json!([{"kind": "project", "namespace": project, "access": access}]);
    json!({"name": name, "duration": 30, "description": "builds", "disable": false, "level": "project", "permissions": permissions})
        .to_string()
}

#[tokio::test]
async fn anyone_learns_that_it_is_there_and_nothing_more() {
    let world = World::new().await;
    let ping = world.get("", "/ping").await;
    assert_eq!((ping.status, ping.text().as_str(), ping.header("x-request-id")), (200, "Pong", "test"));
    assert_eq!(world.get("", "/health").await.json()["status"], "healthy");
    assert_eq!(world.get("", "/systeminfo").await.json()["project_creation_restriction"], "adminonly");
    for target in ["/projects", "/projects/team-a", "/robots", "/quotas", "/users/current", "/configurations"] {
        let got = world.get("", target).await;
        assert_eq!((got.status, got.header("www-authenticate")), (401, "Basic realm=\"postern\""), "{target}");
        assert_eq!(got.error().0, "UNAUTHORIZED");
    }
    let nothing = world.get("", "/nothing").await;
    assert_eq!((nothing.status, nothing.error().0.as_str()), (404, "NOT_FOUND"));
    let wrong = world.send("", "DELETE", "/ping", "").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET"));
    let nobody = World::empty().get(ROOT, "/projects").await;
    assert!(nobody.status == 401 && nobody.error().1.contains("postern user add"), "{}", nobody.text());
}

#[tokio::test]
async fn a_project_is_made_changed_looked_at_and_removed() {
    let world = World::new().await;
    let again = world.send(ROOT, "POST", "/projects", r#"{"project_name":"team-a"}"#).await;
    assert_eq!((again.status, again.error().0.as_str()), (409, "CONFLICT"));
    let named = [("content-type", "application/json; charset=utf-8"), ("x-resource-name-in-location", "true")];
    let body = br#"{"project_name":"42","metadata":{"public":"true"},"storage_limit":1000}"#;
    let made = world.ask(ROOT, "POST", "/projects", &named, body).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v2.0/projects/42"));

    let read = world.get(OWNER, "/projects/team-a").await.json();
    let expected = json!({
        "project_id": 5, "name": "team-a", "owner_id": 1, "owner_name": "root", "creation_time": "2026-11-30T00:00:00Z",
        "deleted": false, "togglable": true, "current_user_role_id": 1, "current_user_role_ids": [1], "repo_count": 0,
        "metadata": {"public": "false", "auto_scan": "false", "prevent_vul": "false", "enable_content_trust": "false"},
    });
    assert_eq!(read, expected);
    assert_eq!(world.get(OWNER, "/projects/5").await.json(), expected);
    // What looks like a number is one, unless the client says otherwise.
    assert_eq!(world.get(ROOT, "/projects/42").await.status, 404);
    let by_name = world.ask(ROOT, "GET", "/projects/42", &[("x-is-resource-name", "true")], b"").await;
    assert_eq!((by_name.status, by_name.json()["metadata"]["public"].clone()), (200, json!("true")));

    let set = r#"{"project_name":"team-a","metadata":{"public":"true","auto_scan":"false"}}"#;
    assert_eq!(world.send(OWNER, "PUT", "/projects/5", set).await.status, 200);
    assert_eq!(world.get(STRANGER, "/projects/5").await.json()["metadata"]["public"], "true");
    let renamed = world.send(OWNER, "PUT", "/projects/5", r#"{"project_name":"team-b"}"#).await;
    assert!(renamed.status == 400 && renamed.error().1.contains("project_name"), "{}", renamed.text());
    let bounded = world.send(OWNER, "PUT", "/projects/5", r#"{"storage_limit":5}"#).await;
    assert_eq!(bounded.status, 403, "whoever is bounded does not set the bound");
    let scanned =
        world.send(ROOT, "POST", "/projects", r#"{"project_name":"b","metadata":{"auto_scan":"true"}}"#).await;
    assert!(scanned.status == 400 && scanned.error().1.contains("metadata.auto_scan"), "{}", scanned.text());

    let summary = world.get(OWNER, "/projects/team-a/summary").await.json();
    assert_eq!((&summary["project_admin_count"], &summary["guest_count"]), (&json!(2), &json!(1)), "{summary}");
    assert_eq!(summary["quota"], json!({"hard": {"storage": -1}, "used": {"storage": 0}}));

    assert_eq!(world.send(ROOT, "POST", "/robots", &robot("ci", "team-a", &["pull"])).await.status, 201);
    let removed = world.send(OWNER, "DELETE", "/projects/team-a", "").await;
    assert!(removed.status == 412 && removed.error().1.contains("robots"), "{}", removed.text());
    assert_eq!(world.send(OWNER, "DELETE", "/robots/7", "").await.status, 200);
    assert_eq!(world.send(OWNER, "DELETE", "/projects/team-a", "").await.status, 200);
    assert_eq!(world.get(ROOT, "/projects/team-a").await.status, 404);
    // Who was a member is none of the next project of that name; and its number is another one.
    let made = world.send(ROOT, "POST", "/projects", r#"{"project_name":"team-a"}"#).await;
    assert_eq!(made.header("location"), "/api/v2.0/projects/8");
    assert_eq!(world.get(OWNER, "/projects/team-a").await.status, 404);
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let world = World::new().await;
    for number in 0..12 {
        let public = number % 2 == 0;
        let body = json!({"project_name": format!("app-{number:02}"), "public": public}).to_string();
        assert_eq!(world.send(ROOT, "POST", "/projects", &body).await.status, 201);
    }
    let names = |got: &Value| -> Vec<String> {
        got.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = world.get(ROOT, "/projects").await;
    assert_eq!((names(&first.json()).len(), first.header("x-total-count")), (10, "13"));
    assert_eq!(first.header("link"), "</api/v2.0/projects?page=2&page_size=10>; rel=\"next\"");
    let last = world.get(ROOT, "/projects?page=2&name=app&sort=-name").await;
    assert_eq!(
        (names(&last.json()), last.header("x-total-count")),
        (vec!["app-01".to_owned(), "app-00".to_owned()], "12")
    );
    let public = world.get(STRANGER, "/projects?page_size=100").await;
    assert_eq!((names(&public.json()).len(), public.header("x-total-count")), (6, "6"), "only what is public");
    assert_eq!(names(&world.get(READER, "/projects?public=false").await.json()), ["team-a"]);
    assert_eq!(names(&world.get(ROOT, "/projects?owner=olga").await.json()), [""; 0]);
    let unknown = world.get(ROOT, "/projects?labels=1").await;
    assert!(unknown.status == 400 && unknown.error().1.contains("'labels'"), "{}", unknown.text());
}

/// WHY: whoever may not see a project must not learn its name by trying, whatever they ask for.
#[tokio::test]
async fn a_private_project_is_not_there_for_strangers() {
    let world = World::new().await;
    world.send(ROOT, "POST", "/robots", &robot("ci", "team-a", &["pull"])).await;
    let project = r#"{"project_name":"team-a"}"#;
    let member = r#"{"role_id":1,"member_user":{"username":"sven"}}"#;
    let quota = r#"{"hard":{"storage":-1}}"#;
    let into = |name: &str| robot("x", name, &["pull"]);
    for (method, there, absent, body) in [
        ("GET", "/projects/team-a", "/projects/team-x", ""),
        ("GET", "/projects/5", "/projects/99", ""),
        ("PUT", "/projects/team-a", "/projects/team-x", project),
        ("DELETE", "/projects/team-a", "/projects/team-x", ""),
        ("GET", "/projects/team-a/summary", "/projects/team-x/summary", ""),
        ("GET", "/projects/team-a/members", "/projects/team-x/members", ""),
        ("POST", "/projects/team-a/members", "/projects/team-x/members", member),
        ("GET", "/projects/5/members/2", "/projects/99/members/2", ""),
        ("HEAD", "/projects?project_name=team-a", "/projects?project_name=team-x", ""),
        ("GET", "/robots/6", "/robots/99", ""),
        ("PATCH", "/robots/6", "/robots/99", "{}"),
        ("DELETE", "/robots/6", "/robots/99", ""),
        ("PUT", "/robots/6", "/robots/99", &into("team-a")),
        ("GET", "/quotas/5", "/quotas/99", ""),
        ("PUT", "/quotas/5", "/quotas/99", quota),
    ] {
        let there = world.send(STRANGER, method, there, body).await;
        let absent = world.send(STRANGER, method, absent, body).await;
        assert_eq!((there.status, absent.status), (404, 404), "{method} {body}");
        assert_eq!(there.body, absent.body);
    }
    let there = world.send(STRANGER, "POST", "/robots", &into("team-a")).await;
    let absent = world.send(STRANGER, "POST", "/robots", &into("team-x")).await;
    assert_eq!((there.status, &there.body), (404, &absent.body));
    assert_eq!(world.get(STRANGER, "/projects").await.json(), json!([]));
    assert_eq!(world.get(STRANGER, "/robots").await.json(), json!([]));
    assert_eq!(world.get(STRANGER, "/quotas").await.json(), json!([]));
    // Who pulls sees the project, and manages nothing.
    assert_eq!(world.send(READER, "HEAD", "/projects?project_name=team-a", "").await.status, 200);
    for (method, target, body) in [
        ("PUT", "/projects/team-a", project),
        ("DELETE", "/projects/team-a", ""),
        ("GET", "/projects/team-a/members", ""),
        ("POST", "/projects/team-a/members", member),
        ("POST", "/robots", &into("team-a")),
        ("POST", "/projects", r#"{"project_name":"team-x"}"#),
        ("PUT", "/quotas/5", quota),
    ] {
        assert_eq!(world.send(READER, method, target, body).await.status, 403, "{method} {target}");
    }
}

#[tokio::test]
async fn members_come_change_and_go() {
    let world = World::new().await;
    let members = "/projects/team-a/members";
    let add = r#"{"role_id":2,"member_user":{"username":"sven"},"member_group":{}}"#;
    let added = world.send(OWNER, "POST", members, add).await;
    assert_eq!((added.status, added.header("location")), (201, "/api/v2.0/projects/5/members/4"), "{}", added.text());
    assert_eq!(world.send(OWNER, "POST", members, add).await.status, 409);
    let expected = json!({
        "id": 4, "project_id": 5, "entity_name": "sven", "entity_id": 4, "entity_type": "u", "role_id": 2,
        "role_name": "developer",
    });
    assert_eq!(world.get(OWNER, "/projects/5/members/4").await.json(), expected);
    let listed = world.get(OWNER, &format!("{members}?entityname=r")).await;
    assert_eq!(
        (listed.json().as_array().unwrap().len(), listed.header("x-total-count")),
        (2, "2"),
        "{}",
        listed.text()
    );

    assert_eq!(world.send(OWNER, "PUT", "/projects/5/members/4", r#"{"role_id":4}"#).await.status, 200);
    assert_eq!(world.get(STRANGER, "/projects/team-a").await.json()["current_user_role_id"], 4);
    assert_eq!(world.send(OWNER, "DELETE", "/projects/5/members/4", "").await.status, 200);
    assert_eq!(world.get(STRANGER, "/projects/team-a").await.status, 404);
    assert_eq!(world.send(OWNER, "DELETE", "/projects/5/members/4", "").await.status, 404);
    let owner = world.send(OWNER, "DELETE", "/projects/5/members/1", "").await;
    assert!(owner.status == 409 && owner.error().1.contains("owns"), "{}", owner.text());
    let nobody = world.send(OWNER, "POST", members, r#"{"role_id":2,"member_user":{"username":"nemo"}}"#).await;
    assert!(nobody.status == 404 && nobody.error().1.contains("nemo"), "{}", nobody.text());
    assert_eq!(world.send(OWNER, "POST", members, r#"{"role_id":2}"#).await.status, 400);
}

#[tokio::test]
async fn a_robot_lives_as_long_as_it_was_given() {
    let world = World::new().await;
    let made = world.send(OWNER, "POST", "/robots", &robot("ci", "team-a", &["pull", "push"])).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v2.0/robots/6"), "{}", made.text());
    assert_eq!(made.header("cache-control"), "no-store");
    let first = made.json();
    assert_eq!((&first["name"], &first["expires_at"]), (&json!("robot$team-a+ci"), &json!(1_798_588_800)));
    let secret = first["secret"].as_str().unwrap().to_owned();
    let credentials = format!("robot$team-a+ci:{secret}");
    let current = world.get(&credentials, "/users/current").await;
    assert_eq!((current.status, &current.json()["username"]), (200, &json!("robot$team-a+ci")));
    for target in ["/projects", "/projects/team-a", "/robots/6", "/quotas"] {
        assert_eq!(world.get(&credentials, target).await.status, 403, "robots manage nothing: {target}");
    }
    assert_eq!(world.send(OWNER, "POST", "/robots", &robot("ci", "team-a", &["pull"])).await.status, 409);
    let read = world.get(OWNER, "/robots/6").await.json();
    assert!(
        read.get("secret").is_none()
            && read["duration"] == 30
            && read["permissions"][0]["access"][1]["action"] == "push"
    );
    let listed = world.get(OWNER, "/robots?q=Level%3Dproject%2CProjectID%3D5").await;
    assert_eq!((listed.json()[0].clone(), listed.header("x-total-count")), (read.clone(), "1"));

    // What was read may be sent back, with something changed.
    let mut changed = read.clone();
    changed["duration"] = json!(-1);
    changed["permissions"][0]["access"] = json!([{"resource": "repository", "action": "pull"}]);
    assert_eq!(world.send(OWNER, "PUT", "/robots/6", &changed.to_string()).await.status, 200);
    let read = world.get(OWNER, "/robots/6").await.json();
    assert_eq!((&read["duration"], &read["expires_at"]), (&json!(-1), &json!(-1)));
    assert_eq!(read["permissions"][0]["access"].as_array().unwrap().len(), 1);
    changed["name"] = json!("robot$team-a+other");
    assert_eq!(world.send(OWNER, "PUT", "/robots/6", &changed.to_string()).await.status, 400);

    let renewed = world.ask(OWNER, "PATCH", "/robots/6", &[], b"").await;
    let other = renewed.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(world.get(&credentials, "/users/current").await.status, 401);
    let renewed = format!("robot$team-a+ci:{other}");
    assert_eq!(world.get(&renewed, "/users/current").await.status, 200);
    changed["name"] = json!("ci");
    changed["disable"] = json!(true);
    assert_eq!(world.send(OWNER, "PUT", "/robots/6", &changed.to_string()).await.status, 200);
    assert_eq!(world.get(&renewed, "/users/current").await.status, 401);
    assert_eq!(world.send(OWNER, "DELETE", "/robots/6", "").await.status, 200);
    assert_eq!(world.get(OWNER, "/robots/6").await.status, 404);
    let log = world.end();
    assert!(!log.contains(&secret) && !log.contains(&other), "{log}");
}

#[tokio::test]
async fn quotas_are_set_by_those_who_are_not_bounded() {
    let world = World::new().await;
    let set = |who: &'static str, body: &'static str| world.send(who, "PUT", "/quotas/5", body);
    assert_eq!(set(OWNER, r#"{"hard":{"storage":100}}"#).await.status, 403);
    assert_eq!(set(ROOT, r#"{"hard":{"storage":100}}"#).await.status, 200);
    let expected = json!({
        "id": 5, "ref": {"id": 5, "name": "team-a", "owner_name": "root"}, "creation_time": "2026-11-30T00:00:00Z",
        "hard": {"storage": 100}, "used": {"storage": 0},
    });
    assert_eq!(world.get(OWNER, "/quotas/5").await.json(), expected);
    let listed = world.get(ROOT, "/quotas/?reference=project&reference_id=5&page=1&page_size=100").await;
    assert_eq!((listed.json(), listed.header("x-total-count")), (json!([expected]), "1"));
    assert_eq!(set(ROOT, r#"{"hard":{"storage":-1}}"#).await.status, 200);
    assert_eq!(world.get(ROOT, "/quotas/5").await.json()["hard"]["storage"], -1);
    assert_eq!(set(ROOT, r#"{"hard":{"storage":0}}"#).await.status, 400);
    // Terraform looks here before it reads a robot, whoever it signs in as.
    let configurations = world.get(READER, "/configurations").await.json();
    assert_eq!(configurations["quota_per_project_enable"]["value"], true);
}

#[tokio::test]
async fn bodies_have_a_form_and_an_end() {
    let world = World::new().await;
    let check = async |headers: &[(&'static str, &str)], body: &[u8], status: u16| {
        let got = world.ask(ROOT, "POST", "/projects", headers, body).await;
        assert_eq!(got.status, status, "{}", got.text());
        assert!(!got.error().1.is_empty());
    };
    let json = [("content-type", "application/json")];
    check(&[], br#"{"project_name":"b"}"#, 415).await;
    check(&[("content-type", "text/plain")], br#"{"project_name":"b"}"#, 415).await;
    check(&json, &vec![b' '; 100_000], 413).await;
    check(&json, b"", 400).await;
    check(&json, b"{", 400).await;
    check(&json, &[b'['; 50_000], 400).await;
    check(&json, br#"{"metadata":{}}"#, 400).await;
}

#[tokio::test]
async fn guesses_are_answered_later_here_too() {
    let world = World::new().await;
    for _ in 0..4 {
        assert_eq!(world.get("olga:wrong", "/projects").await.status, 401);
    }
    let waiting = world.get("olga:wrong", "/projects").await;
    assert_eq!((waiting.status, waiting.header("retry-after")), (429, "1"));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.get(OWNER, "/projects").await.status, 200);
}

#[tokio::test]
async fn each_act_is_recorded_by_id_and_by_name() {
    let world = World::new().await;
    assert_eq!(world.send(OWNER, "POST", "/robots", &robot("ci", "team-a", &["pull"])).await.status, 201);
    assert_eq!(world.send(STRANGER, "DELETE", "/robots/6", "").await.status, 404);
    assert_eq!(world.send(READER, "DELETE", "/projects/team-a", "").await.status, 403);
    let changes = world.changes();
    let added = changes.iter().find(|line| line.contains("\"robot_added\"")).unwrap();
    assert!(added.contains(r#""principal":{"id":"u-olga","kind":"person"}"#), "{added}");
    assert!(!added.contains("builds"), "descriptions stay out of the journal: {added}");
    let log = world.end();
    let line = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        line(&[
            "\"event\":\"admin\"",
            "user:olga",
            "\"operation\":\"robots_add\"",
            "\"method\":\"POST\"",
            "/api/v2.0/robots",
            "\"status\":201"
        ]),
        "{log}"
    );
    assert!(line(&["\"event\":\"denial\"", "user:rita", "\"method\":\"DELETE\"", "\"status\":403"]), "{log}");
    assert!(!log.contains("password"), "{log}");
}

/// WHY: a token was asked for to pull or to push. It must not manage, whoever asked for it.
#[tokio::test]
async fn a_token_manages_nothing() {
    let world = World::new().await;
    let caller = world.access.identify(Some(basic(ROOT).as_bytes()), None, None).await;
    let token = world.access.log_in(&caller, "postern", Vec::new()).token;
    let bearer = format!("Bearer {token}");
    let got = world.ask("", "GET", "/projects", &[("authorization", &bearer)], b"").await;
    assert_eq!(got.status, 401);
}

#[tokio::test]
async fn a_certificate_is_as_good_as_a_password() {
    let world = World::new().await;
    let current = world.get_with_certificate("upn:olga@example", "/users/current").await;
    assert_eq!((current.status, &current.json()["username"]), (200, &json!("olga")));
    assert_eq!(world.get_with_certificate("upn:olga@example", "/projects/team-a/members").await.status, 200);
    assert_eq!(world.get_with_certificate("upn:nemo@example", "/projects/team-a").await.status, 401);
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(credentials.as_bytes()))
}

#[tokio::test]
async fn what_is_taken_away_is_gone_with_the_next_request() {
    let world = World::new().await;
    assert_eq!(world.get(OWNER, "/projects/team-a").await.status, 200);
    let name = "olga".parse().unwrap();
    let by = PrincipalRef::operator("0");
    world.access.change(by, |document| change::disable_user(document, &name, true)).unwrap();
    assert_eq!(world.get(OWNER, "/projects/team-a").await.status, 401);
}
