//! Who may do what, tried as owners, robots, strangers and attackers; and accounts whose rights end while they are used.

use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::change::{self, NewRobot};
use super::decide::{EVERY_PROJECT, decide, is_system_admin};
use super::document::{AccessDocument, Grant, User};
use super::{
    Access, AccessError, AccessSettings, Action, Caller, Denial, IdentifyError, Project, ProjectKind, Role, Subject,
    Visibility, scope, secret,
};
use crate::access::UndeclaredRules;
use crate::access::name::ProjectName;
use crate::access::token::TokenError;
use crate::device_id::DeviceId;
use crate::store::{Change, PrincipalRef, Store, StoreSettings, Transaction};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::{Create, Dir};
use crate::sys::dir_real::RealDir;
use crate::sys::password::KeptPassword;

const NOW: &str = "2026-11-30T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn operator() -> PrincipalRef {
    PrincipalRef::operator("0")
}

fn user(name: &str, password: &str, grants: &[(Role, &str)]) -> User {
    let grants = grants.iter().map(|(role, projects)| Grant { role: *role, projects: projects.parse().unwrap() });
    let password = Some(KeptPassword::derive(password.as_bytes()).unwrap());
    User {
        number: 0,
        name: name.parse().unwrap(),
        password,
        grants: grants.collect(),
        certificates: Vec::new(),
        second_factor: None,
        disabled: false,
        created: None,
    }
}

fn robot(project: &str, name: &str, role: Role, expires: Option<Timestamp>) -> NewRobot {
    let (project, name) = (project.parse().unwrap(), name.parse().unwrap());
    NewRobot { project, name, role, expires, disabled: false, description: String::new(), created: now() }
}

/// Two teams, a platform for all, a mirror for anyone nearby.
fn site() -> AccessDocument {
    let mut document = AccessDocument::empty();
    let project = |kind, visibility| Project { kind, visibility, ..Project::default() };
    let mut add = |name: &str, project| {
        change::add_project(&mut document, name.parse().unwrap(), project).unwrap();
    };
    add("team-a", project(ProjectKind::Hosted, Visibility::Private));
    add("team-b", Project { owner: Some("bert".to_owned()), ..project(ProjectKind::Hosted, Visibility::Private) });
    add("platform", project(ProjectKind::Hosted, Visibility::Internal));
    let near = vec!["10.0.0.0/8".parse().unwrap()];
    add("mirror", Project { anonymous_networks: near, ..project(ProjectKind::Mirror, Visibility::Public) });
    change::add_user(&mut document, "anna", user("anna", "a", &[(Role::Pusher, "team-a")])).unwrap();
    change::add_user(&mut document, "bert", user("bert", "b", &[])).unwrap();
    change::add_user(&mut document, "root", user("root", "r", &[(Role::Admin, EVERY_PROJECT)])).unwrap();
    let expires = Some("2026-12-01T00:00:00Z".parse().unwrap());
    let ci = robot("team-a", "ci", Role::Pusher, expires);
    change::add_robot(&mut document, "ci", ci, secret::keep("s")).unwrap();
    document
}

fn caller(id: &str) -> Caller {
    let subject = match id {
        "" => Subject::Anonymous,
        "ci" => Subject::Robot(id.to_owned()),
        id => Subject::User(id.to_owned()),
    };
    let name = (!id.is_empty()).then(|| id.to_owned());
    Caller { subject, name, ..Caller::anonymous(Some("10.1.1.1".parse().unwrap())) }
}

#[test]
fn who_may_do_what_on_a_site() {
    let document = site();
    let undeclared = UndeclaredRules {
        pull_networks: vec!["10.0.0.0/8".parse().unwrap()],
        push_networks: vec!["10.9.0.0/16".parse().unwrap()],
    };
    let check = |id: &str, repository: &str, allowed: &[Action]| {
        let repository = repository.parse().unwrap();
        for action in Action::ALL {
            let decided = decide(&document, &undeclared, &caller(id), &repository, action, now());
            assert_eq!(decided.is_ok(), allowed.contains(&action), "{id} {repository} {action:?}: {decided:?}");
        }
    };
    let (pull, push, delete, manage) = (Action::Pull, Action::Push, Action::Delete, Action::Manage);
    check("anna", "team-a/web", &[pull, push]);
    check("anna", "team-b/web", &[]);
    // Not declared, so it is open like the rest of what nobody has declared.
    check("anna", "team-ab/web", &[pull]);
    check("anna", "platform/base", &[pull]);
    check("bert", "team-b/web", &[pull, push, delete, manage]);
    check("bert", "team-a/web", &[]);
    check("root", "team-a/web", &[pull, push, delete, manage]);
    check("root", "mirror/nginx", &[pull, delete, manage]);
    check("ci", "team-a/web", &[pull, push]);
    check("ci", "team-b/web", &[]);
    check("ci", "platform/base", &[]);
    check("", "team-a/web", &[]);
    check("", "platform/base", &[]);
    check("", "mirror/nginx", &[pull]);
    check("", "undeclared/web", &[pull]);
    check("root", "undeclared/web", &[pull, push, delete, manage]);
    check("gone", "team-a/web", &[]);
    assert!(is_system_admin(&document, &caller("root")) && !is_system_admin(&document, &caller("bert")));
}

#[test]
fn a_denial_says_the_same_whatever_is_there_and_what_to_do() {
    let document = site();
    let undeclared = UndeclaredRules::default();
    let decided = |caller: &Caller, repository: &str, action| {
        decide(&document, &undeclared, caller, &repository.parse().unwrap(), action, now()).unwrap_err()
    };
    assert!(matches!(decided(&caller(""), "team-a/web", Action::Pull), Denial::SignIn { .. }));
    let text = decided(&caller("anna"), "team-b/web", Action::Push).to_string();
    assert_eq!(text, "'anna' may not push in project 'team-b': ask its owner for the role of pusher");
    let text = decided(&caller("root"), "mirror/nginx", Action::Push).to_string();
    assert!(text.contains("from its upstream"), "{text}");
    let mut narrowed = caller("anna");
    narrowed.scopes = Some(scope::parse("repository:team-a/web:pull"));
    assert!(matches!(decided(&narrowed, "team-a/web", Action::Push), Denial::Scope { .. }));
    assert!(matches!(decided(&narrowed, "team-a/other", Action::Pull), Denial::Scope { .. }));
    // WHY: a token never widens what its account may do.
    narrowed.scopes = Some(scope::parse("repository:team-b/web:pull,push,delete"));
    assert!(matches!(decided(&narrowed, "team-b/web", Action::Pull), Denial::NoRight { .. }));
    let wrong = Caller { failed: Some(IdentifyError::Wrong), ..caller("") };
    assert!(matches!(decided(&wrong, "team-a/web", Action::Pull), Denial::Failed { .. }));
}

/// WHY: whoever pushes from a builders' network without an account may; with a wrong password they meant to be somebody.
#[test]
fn wrong_credentials_change_nothing_even_where_anyone_may() {
    let everywhere: Vec<_> = vec!["10.0.0.0/8".parse().unwrap()];
    let undeclared = UndeclaredRules { pull_networks: everywhere.clone(), push_networks: everywhere };
    let repository = "undeclared/web".parse().unwrap();
    let document = site();
    let wrong = Caller { failed: Some(IdentifyError::Wrong), ..caller("") };
    let decided = |caller: &Caller, action| decide(&document, &undeclared, caller, &repository, action, now()).is_ok();
    assert!(decided(&caller(""), Action::Push) && decided(&caller(""), Action::Pull));
    assert!(!decided(&wrong, Action::Push) && decided(&wrong, Action::Pull));
}

struct World {
    _path: tempfile::TempDir,
    clock: Arc<SimulatedClock>,
    store: Store,
    access: Arc<Access>,
}

fn settings() -> AccessSettings {
    AccessSettings { token_seconds: 300, ..AccessSettings::default() }
}

impl World {
    fn new() -> Self {
        let path = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::new(now()));
        let own_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(path.path()).unwrap());
        Store::create(&dir, &own_clock, &DeviceId::of_public_key(b"device")).unwrap();
        let settings_of_store = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
        let store = Store::open(dir, own_clock, &settings_of_store).unwrap();
        let access = Access::open(store.clone(), settings()).unwrap();
        Self { _path: path, clock, store, access }
    }

    fn fill(&self) {
        let filled = self.access.change(operator(), |document| {
            *document = site();
            change::disable_user(document, &"bert".parse().unwrap(), false)
        });
        filled.unwrap();
    }

    async fn sign_in(&self, name: &str, password: &str) -> Result<Caller, IdentifyError> {
        let remote = Some("10.1.1.1".parse().unwrap());
        self.access.password(name.to_owned(), Zeroizing::new(password.as_bytes().to_vec()), remote).await
    }

    async fn with_token(&self, token: &str) -> Caller {
        self.access.identify(Some(format!("Bearer {token}").as_bytes()), None, None).await
    }

    fn documents(&self) -> Vec<String> {
        self.store.dir().list("trust/access").unwrap().into_iter().map(|entry| entry.name).collect()
    }
}

#[tokio::test]
async fn only_the_right_password_is_taken_and_only_while_the_account_is_somebody() {
    let world = World::new();
    world.fill();
    for _ in 0..2 {
        assert_eq!(world.sign_in("anna", "a").await.unwrap().subject, Subject::User("anna".to_owned()));
    }
    let robot = world.sign_in("robot$team-a+ci", "s").await.unwrap();
    assert_eq!((robot.subject, robot.name.unwrap().as_str()), (Subject::Robot("ci".to_owned()), "robot$team-a+ci"));
    for (name, password) in [("anna", "b"), ("nobody", "a"), ("ci", "s"), ("robot$team-a+ci", "t")] {
        assert_eq!(world.sign_in(name, password).await, Err(IdentifyError::Wrong), "{name}");
    }
    let disabled =
        world.access.change(operator(), |document| change::disable_user(document, &"anna".parse().unwrap(), true));
    disabled.unwrap();
    assert_eq!(world.sign_in("anna", "a").await, Err(IdentifyError::Wrong), "remembered from before");
    world.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(world.sign_in("robot$team-a+ci", "s").await, Err(IdentifyError::Wrong), "expired");
}

#[tokio::test]
async fn guessing_is_slowed_and_the_console_unlocks() {
    let world = World::new();
    world.fill();
    for _ in 0..4 {
        assert_eq!(world.sign_in("anna", "x").await, Err(IdentifyError::Wrong));
    }
    assert_eq!(world.sign_in("anna", "a").await, Err(IdentifyError::Wait { seconds: 1 }), "not even the right one");
    assert!(world.access.unlock("anna"));
    assert!(world.sign_in("anna", "a").await.is_ok());
}

#[tokio::test]
async fn a_token_ends_with_its_account_its_secret_its_time_and_the_process() {
    let world = World::new();
    world.fill();
    let robot = world.sign_in("robot$team-a+ci", "s").await.unwrap();
    let repository = "team-a/web".parse().unwrap();
    let login = || world.access.log_in(&robot, "postern", scope::parse("repository:team-a/web:pull,push")).token;
    let token = login();
    let caller = world.with_token(&token).await;
    assert_eq!(caller.subject, robot.subject);
    assert!(world.access.decide(&caller, &repository, Action::Push).is_ok());
    let renewed =
        world.access.change(operator(), |document| change::renew_robot(document, "robot$team-a+ci", secret::keep("t")));
    renewed.unwrap();
    let void = |failed: Option<IdentifyError>| failed == Some(IdentifyError::Token(TokenError::Foreign));
    assert!(void(world.with_token(&token).await.failed), "another secret");
    let token = login();
    assert_eq!(world.with_token(&token).await.failed, None);
    world.access.change(operator(), |document| change::remove_robot(document, "robot$team-a+ci")).unwrap();
    assert!(void(world.with_token(&token).await.failed), "removed");
    let nobody = world.access.log_in(&Caller::anonymous(None), "postern", Vec::new()).token;
    let caller = world.with_token(&nobody).await;
    assert_eq!((caller.failed, caller.subject), (None, Subject::Anonymous));
    let again = Access::open(world.store.clone(), settings()).unwrap();
    assert!(void(again.identify(Some(format!("Bearer {nobody}").as_bytes()), None, None).await.failed), "restarted");
    world.clock.advance(std::time::Duration::from_secs(400));
    let late = world.with_token(&nobody).await.failed;
    assert_eq!(late, Some(IdentifyError::Token(TokenError::Expired)));
}

#[tokio::test]
async fn what_was_changed_is_there_after_a_restart_and_what_was_removed_lies_nowhere() {
    let world = World::new();
    assert!(!world.access.is_in_use());
    world.fill();
    assert_eq!(world.documents().len(), 1);
    let name = "anna".parse().unwrap();
    world.access.change(operator(), |document| change::remove_user(document, &name)).unwrap();
    assert_eq!(world.documents().len(), 1);
    let again = Access::open(world.store.clone(), settings()).unwrap();
    assert_eq!(again.look(|document| (document.users.len(), document.robots.len())), (2, 1));
    let journal = world.store.dir().list("journal").unwrap();
    let journal = format!("journal/{}", journal[0].name);
    let bytes = crate::sys::dir::read_bounded(world.store.dir().as_ref(), &journal, 100_000_000).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("user_removed") && !text.contains("argon2") && !text.contains("pbkdf2"));
}

/// WHY: whoever changes the file on the disk becomes nobody's admin; and an appliance that has lost the file must not open
/// its private projects.
#[tokio::test]
async fn a_document_that_was_changed_or_is_gone_lets_nobody_in() {
    let world = World::new();
    world.fill();
    let path = format!("trust/access/{}", world.documents()[0]);
    let file = world.store.dir().open_write(&path, Create::Existing).unwrap();
    file.write_at(b" ", 0).unwrap();
    let root = Caller { ..caller("root") };
    let repository = "team-a/web".parse().unwrap();
    for _ in 0..2 {
        let again = Access::open(world.store.clone(), settings()).unwrap();
        assert_eq!(again.decide(&root, &repository, Action::Pull), Err(Denial::Closed));
        assert_eq!(again.decide(&caller(""), &repository, Action::Pull), Err(Denial::Closed));
        assert!(again.change(operator(), |document| change::remove_robot(document, "x")).is_err());
        let _ = world.store.dir().remove(&path);
    }
}

#[tokio::test]
async fn a_certificate_is_one_user_and_a_password_wins() {
    let world = World::new();
    world.fill();
    let stand = |user: &str, name: &str| {
        let user = user.parse().unwrap();
        world.access.change(operator(), |document| change::set_certificate(document, &user, name, true))
    };
    stand("anna", "upn:1234567890@MIL").unwrap();
    stand("bert", "dns:node.example").unwrap();
    assert!(stand("bert", "upn:1234567890@mil").is_err(), "stands for anna already");
    for nonsense in ["", "upn:", "1234567890@mil", "cn:anna", "dns:a\nb"] {
        assert!(stand("anna", nonsense).is_err(), "{nonsense}");
    }
    let show = async |names: &[&str], header: Option<&[u8]>| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        world.access.identify(header, Some(&names), None).await
    };
    let shown = show(&["email:a@b", "upn:1234567890@mil"], None).await;
    assert_eq!((shown.subject, shown.name.as_deref()), (Subject::User("anna".to_owned()), Some("anna")));
    assert_eq!(show(&["dns:other.example"], None).await.subject, Subject::Anonymous);
    assert_eq!(show(&["upn:1234567890@mil", "dns:node.example"], None).await.subject, Subject::Anonymous);
    let wrong = show(&["upn:1234567890@mil"], Some(b"Basic YW5uYTp3cm9uZw==")).await;
    assert_eq!((wrong.subject, wrong.failed), (Subject::Anonymous, Some(IdentifyError::Wrong)));
    let anna = "anna".parse().unwrap();
    world.access.change(operator(), |document| change::disable_user(document, &anna, true)).unwrap();
    assert_eq!(show(&["upn:1234567890@mil"], None).await.subject, Subject::Anonymous);
}

/// WHY: a box without a battery wakes in 1970. What had ended by the time of something signed stays ended.
#[tokio::test]
async fn a_robot_that_has_expired_does_not_live_again_when_the_clock_goes_back() {
    let world = World::new();
    world.fill();
    let (at, source) = ("2026-12-02T00:00:00Z".parse().unwrap(), "a bundle".to_owned());
    assert!(world.sign_in("robot$team-a+ci", "s").await.is_ok());
    let raised = Transaction::new(operator(), vec![Change::RaiseTimeFloor { at, source }]);
    world.store.commit(raised).unwrap();
    world.clock.set_wall(Timestamp::UNIX_EPOCH);
    let caller = caller("ci");
    assert!(world.access.decide(&caller, &"team-a/web".parse().unwrap(), Action::Pull).is_err());
    assert_eq!(world.sign_in("robot$team-a+ci", "s").await, Err(IdentifyError::Wrong));
}

#[tokio::test]
async fn the_console_begins_anew_where_the_document_is_lost_and_only_there() {
    let world = World::new();
    world.fill();
    assert!(matches!(world.access.begin_anew(operator(), false), Err(AccessError::Readable)));
    let path = format!("trust/access/{}", world.documents()[0]);
    world.store.dir().remove(&path).unwrap();
    let again = Access::open(world.store.clone(), settings()).unwrap();
    assert!(matches!(again.check_readable(), Err(AccessError::Unreadable)));
    let nothing: Vec<ProjectName> = Vec::new();
    assert_eq!(again.begin_anew(operator(), true).unwrap(), nothing);
    assert!(again.check_readable().is_err(), "a dry run changes nothing");
    assert_eq!(again.begin_anew(operator(), false).unwrap(), nothing);
    again.check_readable().unwrap();
    assert!(!again.is_in_use());
    Access::open(world.store.clone(), settings()).unwrap().check_readable().unwrap();
}
