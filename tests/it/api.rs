//! The part of Harbor's API that is answered, over TLS, as a script with a password would ask: a project, a robot, what the
//! robot may, and that it may nothing once it is gone.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::Clients;
use crate::crossing::activate;
use crate::crossing::appliance::{Appliance, Serving};
use crate::http::{Response, request_from};
use crate::push::{ADMIT, append};

const PASSWORD: &str = "correct horse battery";

fn ask(serving: &Serving<'_>, method: &str, target: &str, body: &Value) -> Response {
    let encoded = data_encoding::BASE64.encode(format!("anna:{PASSWORD}").as_bytes());
    let authorization = format!("Basic {encoded}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let target = format!("/api/v2.0{target}");
    request_from(&serving.endpoint, method, &target, &headers, &body)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

fn own(serving: &Serving<'_>, method: &str, target: &str, authorization: &str, body: &Value) -> Response {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend((!authorization.is_empty()).then_some(("Authorization", authorization)));
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let target = format!("/api/postern/v1{target}");
    request_from(&serving.endpoint, method, &target, &headers, &body)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

#[test]
fn a_project_and_its_robot_are_made_used_and_removed_over_http() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = Appliance::set_up(folder.path(), "box", None);
    activate(&appliance, ADMIT, folder.path());
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).expect("the folder is ours");
    let file = file.display().to_string();
    appliance.run(["user", "add", "anna", "--password-file", &file, "--grant", "admin:*"]).succeeded();
    // A second factor that is made, shown once, and taken away again.
    let made = appliance.json(["user", "second-factor", "anna"]);
    let address = made["users"][0]["second_factor"]["address"].as_str().expect("it is shown");
    assert!(address.starts_with("otpauth://totp/Postern:anna?secret="), "{address}");
    let listed = appliance.json(["user", "list"]);
    assert_eq!(
        (&listed["users"][0]["has_second_factor"], &listed["users"][0]["second_factor"]),
        (&json!(true), &Value::Null)
    );
    let serving = appliance.serve();
    let needed = ask(&serving, "GET", "/projects", &Value::Null).expect_status(401).text();
    assert!(needed.contains("begins a session"), "{needed}");
    appliance.run(["user", "second-factor", "anna", "--remove"]).succeeded();
    let clients = clients.trusting(serving.endpoint.authority.as_ref().expect("setup made a certificate"));
    let address = serving.address().to_owned();

    // Nobody says anything without a password, but that they are there.
    assert_eq!(serving.get("/api/v2.0/ping").text(), "Pong");
    let asked = serving.get("/api/v2.0/projects").expect_status(401);
    assert_eq!(asked.header("www-authenticate"), Some("Basic realm=\"postern\""));

    let project = json!({"project_name": "team-a", "metadata": {"public": "false"}, "storage_limit": 10});
    let made = ask(&serving, "POST", "/projects", &project).expect_status(201);
    let location = made.header("location").expect("what was made is somewhere").replace("/api/v2.0", "");
    let read = ask(&serving, "GET", &location, &Value::Null).expect_status(200).json();
    assert_eq!((&read["name"], &read["owner_name"]), (&json!("team-a"), &json!("anna")));

    let actions = ["pull", "push"].map(|action| json!({"resource": "repository", "action": action}));
    let permissions = json!([{"kind": "project", "namespace": "team-a", "access": actions}]);
    let robot = json!({"name": "ci", "duration": 30, "level": "project", "permissions": permissions});
    let made = ask(&serving, "POST", "/robots", &robot).expect_status(201).json();
    let text = |key: &str| made[key].as_str().expect("a robot has a name and a secret").to_owned();
    let (name, secret) = (text("name"), text("secret"));
    let robot = format!("/robots/{}", made["id"]);

    clients.run("crane", ["auth", "login", &address, "-u", &name, "-p", &secret]).succeeded();
    let push = |tag: &str| clients.run("crane", append(folder.path(), &format!("{address}/team-a/web:{tag}")));
    push("v1").failed_saying("DENIED");
    let quota = format!("/quotas/{}", read["project_id"]);
    ask(&serving, "PUT", &quota, &json!({"hard": {"storage": 1_000_000_000}})).expect_status(200);
    push("v1").succeeded();
    let used = ask(&serving, "GET", &quota, &Value::Null).expect_status(200).json();
    assert!(used["used"]["storage"].as_u64() > Some(100), "{used}");
    assert_eq!(ask(&serving, "GET", &location, &Value::Null).json()["repo_count"], 1);
    ask(&serving, "DELETE", &location, &Value::Null).expect_status(412);

    // Our own part: a session, and what there is behind a tag.
    let sign_in = json!({"username": "anna", "password": PASSWORD});
    let begun = own(&serving, "POST", "/session", "", &sign_in).expect_status(201).json();
    let bearer = format!("Bearer {}", begun["session"].as_str().expect("a session has a secret"));
    let tags = own(&serving, "GET", "/tags?repository=team-a/web", &bearer, &Value::Null).expect_status(200).json();
    assert_eq!((&tags["tags"][0]["tag"], &tags["last"]), (&json!("v1"), &Value::Null), "{tags}");
    assert_eq!(tags["tags"][0]["documents"], json!([]), "{tags}");
    own(&serving, "GET", "/tags?repository=team-b/web", &bearer, &Value::Null).expect_status(404);
    let wrong =
        own(&serving, "GET", "/tags?repository=team-a/web&tag=-", &bearer, &Value::Null).expect_status(400).text();
    assert!(wrong.contains("'tag' cannot be '-'"), "{wrong}");
    own(&serving, "GET", "/tags?repository=team-a/web&tag=v9", &bearer, &Value::Null).expect_status(404);
    own(&serving, "DELETE", "/session", &bearer, &Value::Null).expect_status(200);
    own(&serving, "GET", "/tags?repository=team-a/web", &bearer, &Value::Null).expect_status(401);

    ask(&serving, "DELETE", &robot, &Value::Null).expect_status(200);
    push("v2").failed_saying("UNAUTHORIZED");

    // The machine's own commands see the same, and the log says who did it.
    let projects = appliance.json(["project", "list"]);
    assert_eq!(projects["projects"][0]["quota_bytes_max"], 1_000_000_000_u64);
    let deleting = ["\"event\":\"admin\"", "\"principal\":\"user:anna\"", "\"method\":\"DELETE\""];
    let acts = appliance.accesses_once_written(&deleting, 3);
    assert_eq!(acts.len(), 3, "the project, the session and the robot: {acts:?}");
    let begun = ["\"operation\":\"session_begin\"", "\"principal\":\"user:anna\"", "\"status\":201"];
    assert_eq!(appliance.accesses(&begun).len(), 1);
    assert!(appliance.accesses(&[&secret]).is_empty() && !serving.server.log().contains(&secret));
}
