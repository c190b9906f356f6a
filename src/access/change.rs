//! Changes of the document: each is a function on it that says what it did, for the journal. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::document::{AccessDocument, Grant, Robot, User};
use super::name::{AccountName, ProjectName, ProjectPattern};
use super::project::{Project, ProjectKind, Visibility};
use super::role::Role;
use crate::limits::CERTIFICATE_NAME_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::sys::one_time::OneTimeSecret;
use crate::sys::password::KeptPassword;

/// What a change did, and what comes of it.
#[derive(Debug)]
pub struct Changed<T> {
    pub act: String,
    /// The name of a project, the id of an account.
    pub object: String,
    pub values: Value,
    /// Whether it only takes something away, which must work on a full disk too.
    pub takes_away: bool,
    pub outcome: T,
}

impl<T> Changed<T> {
    pub(super) const fn taking_away(mut self, takes_away: bool) -> Self {
        self.takes_away = takes_away;
        self
    }

    pub(super) fn new(act: &str, object: impl Into<String>, values: Value, outcome: T) -> Self {
        Self { act: act.to_owned(), object: object.into(), values, takes_away: false, outcome }
    }

    /// The same with another outcome.
    pub fn with<U>(self, outcome: U) -> Changed<U> {
        let Self { act, object, values, takes_away, .. } = self;
        Changed { act, object, values, takes_away, outcome }
    }
}

/// Why a change does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("there is no project '{0}': `postern project list` shows those that there are")]
    NoProject(ProjectName),
    #[error("there is a project '{0}' already")]
    ProjectThere(ProjectName),
    #[error("there is no user '{0}': `postern user list` shows those that there are")]
    NoUser(AccountName),
    #[error("there is a user '{0}' already")]
    UserThere(AccountName),
    #[error("there is no robot '{0}': `postern robot list` shows those that there are")]
    NoRobot(String),
    #[error("there is a robot '{0}' already")]
    RobotThere(String),
    #[error("project '{project}' has {count} robots: remove them first")]
    HasRobots { project: ProjectName, count: usize },
    #[error("a robot is a reader, a pusher or a maintainer")]
    RobotRole,
    #[error("user '{name}' does not have that right")]
    NoGrant { name: AccountName },
    #[error("'{0}' is no name in a certificate: write upn:, edipi: (ten digits), email:, dns: or uri: before it")]
    CertificateName(String),
    #[error("this name in certificates does not stand for '{0}'")]
    NoCertificate(AccountName),
    #[error("user '{0}' has no second factor")]
    NoSecondFactor(AccountName),
    #[error("user '{0}' owns projects: give these another owner first")]
    Owner(AccountName),
    #[error("user '{name}' owns project '{project}' and stays its admin: give it another owner first")]
    OwnsProject { name: AccountName, project: ProjectName },
}

/// A change that was made, or why it was not.
pub type Outcome<T> = Result<Changed<T>, ChangeError>;

/// Adds a project.
pub fn add_project(document: &mut AccessDocument, name: ProjectName, mut project: Project) -> Outcome<()> {
    if document.projects.contains_key(&name) {
        return Err(ChangeError::ProjectThere(name));
    }
    project.number = document.next_number();
    let values = project_values(&project);
    let object = name.to_string();
    document.projects.insert(name, project);
    Ok(Changed::new("project_added", object, values, ()))
}

/// Replaces the settings of a project.
pub fn set_project(
    document: &mut AccessDocument,
    name: &ProjectName,
    set: impl FnOnce(&mut Project),
) -> Outcome<Project> {
    let project = document.projects.get_mut(name).ok_or_else(|| ChangeError::NoProject(name.clone()))?;
    set(project);
    Ok(Changed::new("project_set", name.as_str(), project_values(project), project.clone()))
}

/// Removes a project that has no robots. Its images stay where they are.
pub fn remove_project(document: &mut AccessDocument, name: &ProjectName) -> Outcome<()> {
    let count = document.robots.values().filter(|robot| robot.project == *name).count();
    if count > 0 {
        return Err(ChangeError::HasRobots { project: name.clone(), count });
    }
    document.projects.remove(name).ok_or_else(|| ChangeError::NoProject(name.clone()))?;
    Ok(Changed::new("project_removed", name.as_str(), Value::Null, ()))
}

/// Descriptions are a person's words, and stay out of the journal.
fn project_values(project: &Project) -> Value {
    let mut values = serde_json::to_value(project).unwrap_or_default();
    if let Some(values) = values.as_object_mut() {
        values.remove("description");
    }
    values
}

/// Adds a user under `id`.
pub fn add_user(document: &mut AccessDocument, id: &str, mut user: User) -> Outcome<()> {
    if user_id(document, &user.name).is_ok() {
        return Err(ChangeError::UserThere(user.name));
    }
    user.number = document.next_number();
    let values = json!({ "grants": user.grants, "password": user.password.is_some() });
    document.users.insert(id.to_owned(), user);
    Ok(Changed::new("user_added", id, values, ()))
}

/// Removes a user.
pub fn remove_user(document: &mut AccessDocument, name: &AccountName) -> Outcome<()> {
    let id = user_id(document, name)?;
    if document.projects.values().any(|project| project.owner.as_ref() == Some(&id)) {
        return Err(ChangeError::Owner(name.clone()));
    }
    document.users.remove(&id);
    Ok(Changed::new("user_removed", id, Value::Null, ()).taking_away(true))
}

/// Gives a user another password.
pub fn set_password(document: &mut AccessDocument, name: &AccountName, password: KeptPassword) -> Outcome<()> {
    let (id, user) = user_mut(document, name)?;
    user.password = Some(password);
    Ok(Changed::new("user_password_set", id, Value::Null, ()).taking_away(true))
}

/// Gives a user a second factor, or takes it away. Either ends the user's sessions.
pub fn set_second_factor(
    document: &mut AccessDocument,
    name: &AccountName,
    secret: Option<OneTimeSecret>,
) -> Outcome<()> {
    let (id, user) = user_mut(document, name)?;
    if secret.is_none() && user.second_factor.is_none() {
        return Err(ChangeError::NoSecondFactor(name.clone()));
    }
    let act = if secret.is_some() { "second_factor_set" } else { "second_factor_removed" };
    user.second_factor = secret;
    Ok(Changed::new(act, id, Value::Null, ()))
}

/// Says that a name in certificates stands for a user, or does not any more.
pub fn set_certificate(
    document: &mut AccessDocument,
    name: &AccountName,
    certificate: &str,
    stands: bool,
) -> Outcome<()> {
    if !is_certificate_name(certificate) {
        return Err(ChangeError::CertificateName(certificate.chars().take(80).collect()));
    }
    // As they are read out of certificates: in names of hosts and in those of smart cards letters have no case.
    let is_caseless = certificate.starts_with("dns:") || certificate.starts_with("upn:");
    let certificate = if is_caseless { certificate.to_ascii_lowercase() } else { certificate.to_owned() };
    let (id, user) = user_mut(document, name)?;
    let before = user.certificates.len();
    user.certificates.retain(|known| *known != certificate);
    if stands {
        user.certificates.push(certificate);
    } else if user.certificates.len() == before {
        return Err(ChangeError::NoCertificate(name.clone()));
    }
    // The name itself may be a person's, and stays out of the journal.
    Ok(Changed::new(if stands { "certificate_added" } else { "certificate_removed" }, id, Value::Null, ())
        .taking_away(!stands))
}

fn is_certificate_name(text: &str) -> bool {
    let (kind, name) = text.split_once(':').unwrap_or_default();
    let is_kind = match kind {
        "dns" | "email" | "uri" | "upn" => true,
        // A number of ten digits.
        "edipi" => name.len() == 10 && name.bytes().all(|digit| digit.is_ascii_digit()),
        _ => false,
    };
    is_kind && !name.is_empty() && text.len() <= CERTIFICATE_NAME_BYTES_MAX && !text.contains(char::is_control)
}

/// Makes a user nobody, or somebody again.
pub fn disable_user(document: &mut AccessDocument, name: &AccountName, disabled: bool) -> Outcome<()> {
    let (id, user) = user_mut(document, name)?;
    user.disabled = disabled;
    Ok(Changed::new(if disabled { "user_disabled" } else { "user_enabled" }, id, Value::Null, ()).taking_away(disabled))
}

/// Grants a role in projects. Once is enough.
pub fn grant(document: &mut AccessDocument, name: &AccountName, grant: Grant) -> Outcome<()> {
    let (id, user) = user_mut(document, name)?;
    let values = json!(grant);
    if !user.grants.contains(&grant) {
        user.grants.push(grant);
    }
    Ok(Changed::new("right_granted", id, values, ()))
}

/// Takes a right away: the role in exactly this pattern, or every role in it where none is named.
pub fn revoke(
    document: &mut AccessDocument,
    name: &AccountName,
    role: Option<Role>,
    projects: &ProjectPattern,
) -> Outcome<()> {
    let (id, user) = user_mut(document, name)?;
    let before = user.grants.len();
    user.grants.retain(|grant| grant.projects != *projects || role.is_some_and(|role| role != grant.role));
    if user.grants.len() == before {
        return Err(ChangeError::NoGrant { name: name.clone() });
    }
    Ok(Changed::new("right_revoked", id, json!({ "role": role, "projects": projects }), ()).taking_away(true))
}

/// What a robot is made of.
#[derive(Clone, Debug)]
pub struct NewRobot {
    pub project: ProjectName,
    pub name: AccountName,
    pub role: Role,
    pub expires: Option<Timestamp>,
    pub disabled: bool,
    pub description: String,
    pub created: Timestamp,
}

/// Adds a robot under `id`, with what is kept of its secret.
pub fn add_robot(document: &mut AccessDocument, id: &str, new: NewRobot, kept: Digest) -> Outcome<Robot> {
    if !document.projects.contains_key(&new.project) {
        return Err(ChangeError::NoProject(new.project));
    }
    if new.role > Role::Maintainer {
        return Err(ChangeError::RobotRole);
    }
    let mut robot = Robot {
        number: 0,
        project: new.project,
        name: new.name,
        secret: kept,
        role: new.role,
        expires: new.expires,
        disabled: new.disabled,
        description: new.description,
        created: Some(new.created),
    };
    if robot_id(document, &robot.login_name()).is_ok() {
        return Err(ChangeError::RobotThere(robot.login_name()));
    }
    robot.number = document.next_number();
    let values = json!({ "project": robot.project, "role": robot.role, "expires": robot.expires });
    document.robots.insert(id.to_owned(), robot.clone());
    Ok(Changed::new("robot_added", id, values, robot))
}

/// Gives a robot another secret; the old one opens nothing from then on.
pub fn renew_robot(document: &mut AccessDocument, login_name: &str, kept: Digest) -> Outcome<Robot> {
    let id = robot_id(document, login_name)?;
    let robot = document.robots.get_mut(&id).ok_or_else(|| ChangeError::NoRobot(login_name.to_owned()))?;
    robot.secret = kept;
    Ok(Changed::new("robot_renewed", id, Value::Null, robot.clone()).taking_away(true))
}

/// Makes a robot nobody, or somebody again.
pub fn disable_robot(document: &mut AccessDocument, login_name: &str, disabled: bool) -> Outcome<()> {
    let id = robot_id(document, login_name)?;
    let robot = document.robots.get_mut(&id).ok_or_else(|| ChangeError::NoRobot(login_name.to_owned()))?;
    robot.disabled = disabled;
    Ok(Changed::new(if disabled { "robot_disabled" } else { "robot_enabled" }, id, Value::Null, ())
        .taking_away(disabled))
}

/// Replaces what a robot may do, and for how long.
pub fn set_robot(document: &mut AccessDocument, login_name: &str, set: impl FnOnce(&mut Robot)) -> Outcome<Robot> {
    let id = robot_id(document, login_name)?;
    let robot = document.robots.get_mut(&id).ok_or_else(|| ChangeError::NoRobot(login_name.to_owned()))?;
    set(robot);
    let values = json!({ "role": robot.role, "expires": robot.expires, "disabled": robot.disabled });
    Ok(Changed::new("robot_set", id, values, robot.clone()))
}

/// Removes a robot.
pub fn remove_robot(document: &mut AccessDocument, login_name: &str) -> Outcome<()> {
    let id = robot_id(document, login_name)?;
    document.robots.remove(&id);
    Ok(Changed::new("robot_removed", id, Value::Null, ()).taking_away(true))
}

/// The id of a user.
pub fn user_id(document: &AccessDocument, name: &AccountName) -> Result<String, ChangeError> {
    let found = document.users.iter().find(|(_, user)| user.name == *name);
    found.map(|(id, _)| id.clone()).ok_or_else(|| ChangeError::NoUser(name.clone()))
}

/// The id of a robot, by the name that it signs in with.
pub fn robot_id(document: &AccessDocument, login_name: &str) -> Result<String, ChangeError> {
    let found = document.robots.iter().find(|(_, robot)| robot.login_name() == login_name);
    found.map(|(id, _)| id.clone()).ok_or_else(|| ChangeError::NoRobot(login_name.chars().take(200).collect()))
}

pub(super) fn user_mut<'d>(
    document: &'d mut AccessDocument,
    name: &AccountName,
) -> Result<(String, &'d mut User), ChangeError> {
    let id = user_id(document, name)?;
    match document.users.get_mut(&id) {
        Some(user) => Ok((id, user)),
        None => Err(ChangeError::NoUser(name.clone())),
    }
}

/// The projects that a site begins with: one for the platform's own images, one for mirrored ones, and one for each team.
/// Those that are there already stay as they are.
pub fn add_template(document: &mut AccessDocument, teams: &[ProjectName], now: Timestamp) -> Outcome<Vec<ProjectName>> {
    let project = |kind, visibility| Project { kind, visibility, created: Some(now), ..Project::default() };
    let named = |name: &str| name.parse::<ProjectName>().ok();
    let mut wanted = Vec::new();
    wanted.extend(named("platform").map(|name| (name, project(ProjectKind::Hosted, Visibility::Internal))));
    wanted.extend(named("public-mirror").map(|name| (name, project(ProjectKind::Mirror, Visibility::Public))));
    wanted.extend(teams.iter().map(|name| (name.clone(), project(ProjectKind::Hosted, Visibility::Private))));
    let mut added = Vec::new();
    for (name, mut project) in wanted {
        if !document.projects.contains_key(&name) {
            project.number = document.next_number();
            document.projects.insert(name.clone(), project);
            added.push(name);
        }
    }
    let object = added.iter().map(ProjectName::as_str).collect::<Vec<_>>().join(" ");
    let object = object.chars().take(200).collect::<String>();
    Ok(Changed::new("projects_added", object, json!({ "count": added.len() }), added))
}

/// Declares private projects, but for those that are there.
pub(super) fn add_private(document: &mut AccessDocument, names: impl Iterator<Item = ProjectName>, now: Timestamp) {
    for name in names {
        if !document.projects.contains_key(&name) {
            let number = document.next_number();
            document.projects.insert(name, Project { number, created: Some(now), ..Project::default() });
        }
    }
}

/// What to say of a document that takes the place of one that could not be read.
pub(super) fn anew<T>(document: &AccessDocument, outcome: T) -> Changed<T> {
    Changed::new("access_begun_anew", "", json!({ "projects": document.projects.len() }), outcome)
}

#[cfg(test)]
mod tests {
    use super::{
        ChangeError, NewRobot, add_project, add_robot, add_template, add_user, disable_robot, disable_user, grant,
        remove_project, remove_robot, remove_user, renew_robot, revoke,
    };
    use crate::access::document::{AccessDocument, Grant, User};
    use crate::access::project::Project;
    use crate::access::role::Role;
    use crate::oci::digest::Digest;

    fn user(name: &str) -> User {
        let name = name.parse().unwrap();
        User {
            number: 0,
            name,
            password: None,
            grants: Vec::new(),
            certificates: Vec::new(),
            second_factor: None,
            disabled: false,
            created: None,
        }
    }

    fn new_robot(project: &str, role: Role) -> NewRobot {
        NewRobot {
            project: project.parse().unwrap(),
            name: "ci".parse().unwrap(),
            role,
            expires: None,
            disabled: false,
            description: "Anna's".to_owned(),
            created: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut document = AccessDocument::empty();
        let document = &mut document;
        let a = || "team-a".parse().unwrap();
        add_project(document, a(), Project::default()).unwrap();
        assert_eq!(add_project(document, a(), Project::default()).unwrap_err(), ChangeError::ProjectThere(a()));
        add_user(document, "1", user("anna")).unwrap();
        let again = add_user(document, "2", user("anna")).unwrap_err();
        assert_eq!(again, ChangeError::UserThere("anna".parse().unwrap()));
        let nowhere = add_robot(document, "3", new_robot("team-b", Role::Pusher), Digest::of(b"s")).unwrap_err();
        assert!(matches!(nowhere, ChangeError::NoProject(_)));
        let admin = add_robot(document, "3", new_robot("team-a", Role::Admin), Digest::of(b"s")).unwrap_err();
        assert_eq!(admin, ChangeError::RobotRole);
        let added = add_robot(document, "3", new_robot("team-a", Role::Pusher), Digest::of(b"s")).unwrap();
        assert_eq!((added.act.as_str(), added.object.as_str()), ("robot_added", "3"));
        assert!(!added.values.to_string().contains("Anna"), "the journal cannot forget: {}", added.values);
        let twice = add_robot(document, "4", new_robot("team-a", Role::Pusher), Digest::of(b"s")).unwrap_err();
        assert!(matches!(twice, ChangeError::RobotThere(_)));
        assert!(matches!(remove_project(document, &a()), Err(ChangeError::HasRobots { count: 1, .. })));
        document.to_json().unwrap();
    }

    #[test]
    fn a_right_is_granted_once_and_taken_away_by_its_pattern() {
        let mut document = AccessDocument::empty();
        let name = "anna".parse().unwrap();
        add_user(&mut document, "1", user("anna")).unwrap();
        let right = |role| Grant { role, projects: "team-*".parse().unwrap() };
        for role in [Role::Reader, Role::Pusher, Role::Reader] {
            grant(&mut document, &name, right(role)).unwrap();
        }
        assert_eq!(document.users["1"].grants.len(), 2);
        let other = "team".parse().unwrap();
        let wrong = revoke(&mut document, &name, None, &other).unwrap_err();
        assert!(matches!(wrong, ChangeError::NoGrant { .. }));
        revoke(&mut document, &name, Some(Role::Reader), &"team-*".parse().unwrap()).unwrap();
        assert_eq!(document.users["1"].grants, [right(Role::Pusher)]);
        revoke(&mut document, &name, None, &"team-*".parse().unwrap()).unwrap();
        assert!(document.users["1"].grants.is_empty());
    }

    /// WHY: on a full disk a robot whose secret was stolen must still be removable; nothing new is taken then.
    #[test]
    fn what_takes_away_says_so_and_nothing_else_does() {
        let mut document = AccessDocument::empty();
        let (document, anna) = (&mut document, "anna".parse().unwrap());
        assert!(!add_project(document, "team-a".parse().unwrap(), Project::default()).unwrap().takes_away);
        assert!(!add_user(document, "1", user("anna")).unwrap().takes_away);
        let right = Grant { role: Role::Reader, projects: "team-a".parse().unwrap() };
        assert!(!grant(document, &anna, right.clone()).unwrap().takes_away);
        assert!(revoke(document, &anna, None, &right.projects).unwrap().takes_away);
        let added = add_robot(document, "3", new_robot("team-a", Role::Pusher), Digest::of(b"s")).unwrap();
        assert!(!added.takes_away);
        let name = added.outcome.login_name();
        for (disabled, takes_away) in [(true, true), (false, false)] {
            assert_eq!(disable_robot(document, &name, disabled).unwrap().takes_away, takes_away);
            assert_eq!(disable_user(document, &anna, disabled).unwrap().takes_away, takes_away);
        }
        assert!(renew_robot(document, &name, Digest::of(b"t")).unwrap().takes_away);
        assert!(remove_robot(document, &name).unwrap().takes_away);
        assert!(remove_user(document, &anna).unwrap().takes_away);
    }

    #[test]
    fn the_template_makes_what_is_missing() {
        let mut document = AccessDocument::empty();
        let teams = ["team-a".parse().unwrap(), "team-b".parse().unwrap()];
        let added = add_template(&mut document, &teams, jiff::Timestamp::UNIX_EPOCH).unwrap().outcome;
        assert_eq!(added.len(), 4);
        let again = add_template(&mut document, &teams, jiff::Timestamp::UNIX_EPOCH).unwrap().outcome;
        assert!(again.is_empty());
        let mut numbers: Vec<u64> = document.projects.values().map(|project| project.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
}
