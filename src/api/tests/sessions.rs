//! Sessions: what begins them, what ends them, and what is asked of whom.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Got, OWNER, ROOT, World};
use crate::access::{AccessSettings, change};
use crate::store::PrincipalRef;
use crate::sys::one_time::OneTimeSecret;

fn body(credentials: &str, more: &Value) -> String {
    let (name, password) = credentials.split_once(':').unwrap();
    let mut body = json!({"username": name, "password": password});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body.to_string()
}

async fn begin(world: &World, credentials: &str, more: Value) -> Got {
    world.ask_own("", "POST", "/session", &body(credentials, &more)).await
}

#[track_caller]
fn secret(begun: &Got) -> String {
    assert_eq!(begun.status, 201, "{}", begun.text());
    begun.json()["session"].as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(got: &Got, status: u16, part: &str) {
    assert!(got.status == status && got.error().1.contains(part), "{} {}", got.status, got.text());
}

fn with_second_factor(world: &World, name: &str) -> OneTimeSecret {
    let made = OneTimeSecret::generate();
    let name = name.parse().unwrap();
    let given = Some(made.clone());
    world
        .access
        .change(PrincipalRef::operator("0"), |document| change::set_second_factor(document, &name, given))
        .unwrap();
    made
}

impl World {
    fn code(&self, secret: &OneTimeSecret) -> String {
        secret.code(self.access.now().as_second())
    }

    async fn with_session(&self, secret: &str) -> Got {
        self.ask_as(&format!("Bearer {secret}"), "GET", "/api/v2.0/projects/team-a", "").await
    }
}

#[tokio::test]
async fn a_session_is_begun_used_and_ended() {
    let world = World::new().await;
    assert_eq!(world.ask_own("", "GET", "/notice", "").await.json(), json!({"notice": null}));
    let begun = begin(&world, OWNER, json!({})).await;
    let session = secret(&begun);
    assert_eq!((&begun.json()["seconds"], &begun.json()["idle_seconds"]), (&json!(28_800), &json!(900)));
    assert_eq!(world.with_session(&session).await.status, 200);
    let bearer = format!("Bearer {session}");
    let shown = world.ask_own(&bearer, "GET", "/session", "").await.json();
    assert_eq!(shown, json!({"username": "olga", "seconds": 28_800, "idle_seconds": 900}));
    assert_eq!(world.ask_own(&bearer, "DELETE", "/session", "").await.status, 200);
    refused(&world.with_session(&session).await, 401, "the session is over");
    // Without one there is nothing to show or to end.
    let basic = format!("Basic {}", data_encoding::BASE64.encode(OWNER.as_bytes()));
    refused(&world.ask_own(&basic, "DELETE", "/session", "").await, 404, "no session");
    refused(&begin(&world, "olga:wrong password", json!({})).await, 401, "wrong");
    refused(&world.ask_own("", "POST", "/session", "{}").await, 401, "wrong");
    refused(&world.ask_own("", "POST", "/session", r#"{"username":"olga"}"#).await, 400, "password");
    refused(&world.ask_own("", "POST", "/session", r#"{"user":"olga"}"#).await, 400, "unknown field");
    assert!(!world.end().contains(&session), "secrets are not recorded");
}

#[tokio::test]
async fn a_session_ends_by_silence_and_with_what_it_was_begun_with() {
    let world = World::new().await;
    let session = secret(&begin(&world, OWNER, json!({})).await);
    for _ in 0..31 {
        world.clock.advance(Duration::from_secs(899));
        assert_eq!(world.with_session(&session).await.status, 200);
    }
    world.clock.advance(Duration::from_secs(900));
    refused(&world.with_session(&session).await, 401, "over");

    let session = secret(&begin(&world, OWNER, json!({})).await);
    let disable = |disabled| {
        let name = "olga".parse().unwrap();
        world
            .access
            .change(PrincipalRef::operator("0"), |document| change::disable_user(document, &name, disabled))
            .unwrap();
    };
    disable(true);
    refused(&world.with_session(&session).await, 401, "over");
    disable(false);
    refused(&world.with_session(&session).await, 401, "over");

    let session = secret(&begin(&world, OWNER, json!({})).await);
    with_second_factor(&world, "olga");
    refused(&world.with_session(&session).await, 401, "over");
}

#[tokio::test]
async fn whoever_has_a_second_factor_needs_it() {
    let world = World::new().await;
    let factor = with_second_factor(&world, "olga");
    refused(&world.get(OWNER, "/projects").await, 401, "begins a session");
    assert_eq!(world.get(ROOT, "/projects").await.status, 200, "who has none goes on as before");
    refused(&begin(&world, OWNER, json!({})).await, 401, "one-time password of the second factor is needed");
    let code = world.code(&factor);
    let session = secret(&begin(&world, OWNER, json!({"code": code})).await);
    assert_eq!(world.with_session(&session).await.status, 200);
    // WHY: whoever looks over a shoulder has half a minute.
    refused(&begin(&world, OWNER, json!({"code": code})).await, 401, "was used before");
    world.clock.advance(Duration::from_secs(30));
    secret(&begin(&world, OWNER, json!({"code": world.code(&factor)})).await);
    world.clock.advance(Duration::from_secs(300));
    refused(&begin(&world, OWNER, json!({"code": code})).await, 401, "too old");
    assert_eq!(world.get_with_certificate("upn:olga@example", "/projects").await.status, 200, "a card has two factors");
}

/// WHY: whoever has the password must not get through a million codes, although the password is right each time.
#[tokio::test]
async fn guessing_codes_is_as_slow_as_guessing_passwords() {
    let world = World::new().await;
    let factor = with_second_factor(&world, "olga");
    let mut waited = 0;
    for _ in 0..10 {
        let wrong = if world.code(&factor) == "000000" { "000001" } else { "000000" };
        let got = begin(&world, OWNER, json!({"code": wrong})).await;
        waited += u32::from(got.status == 429);
    }
    assert_eq!(waited, 6, "three are free, and then one waits");
    world.clock.advance(Duration::from_secs(10));
    let code = world.code(&factor);
    secret(&begin(&world, OWNER, json!({"code": code})).await);
}

#[tokio::test]
async fn a_notice_is_read_first() {
    let notice = "Authorised use only.\nAll use is recorded.".to_owned();
    let world = World::with(AccessSettings { notice: Some(notice.clone()), ..AccessSettings::default() }).await;
    assert_eq!(world.ask_own("", "GET", "/notice", "").await.json(), json!({"notice": notice}));
    refused(&world.get(ROOT, "/projects").await, 401, "begins a session");
    refused(&begin(&world, ROOT, json!({})).await, 403, "read the notice first");
    refused(&begin(&world, ROOT, json!({"notice_acknowledged": false})).await, 403, "read the notice first");
    let session = secret(&begin(&world, ROOT, json!({"notice_acknowledged": true})).await);
    assert_eq!(world.ask_own(&format!("Bearer {session}"), "GET", "/session", "").await.json()["username"], "root");
}

#[tokio::test]
async fn where_everyone_needs_a_second_factor_a_password_alone_manages_nothing() {
    let world = World::with(AccessSettings { second_factor_required: true, ..AccessSettings::default() }).await;
    refused(&world.get(ROOT, "/projects").await, 401, "begins a session");
    refused(&begin(&world, ROOT, json!({})).await, 403, "postern user second-factor");
    let factor = with_second_factor(&world, "root");
    secret(&begin(&world, ROOT, json!({"code": world.code(&factor)})).await);
    assert_eq!(world.get_with_certificate("upn:root@example", "/projects").await.status, 200);
}
