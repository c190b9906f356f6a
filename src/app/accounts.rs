//! Operations on projects, users and robots.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::appliance::Appliance;
use super::execute::report;
use super::failure::{Failure, FailureKind};
use crate::access::change::{self, ChangeError, NewRobot};
use crate::access::member;
use crate::access::name::{AccountName, ProjectName, ProjectPattern};
use crate::access::report::AccessReport;
use crate::access::{AccessDocument, Enforcement, Grant, Project, ProjectKind, Robot, Role, User, Visibility, secret};
use crate::http::network::Network;
use crate::limits::{PASSWORD_BYTES_MAX, PASSWORD_LETTERS_MIN};
use crate::sys::one_time::OneTimeSecret;
use crate::sys::password::KeptPassword;
use crate::sys::random;

/// One thing to do with projects, users and robots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum AccessOrder {
    ProjectAdd {
        name: ProjectName,
        settings: ProjectSettings,
    },
    ProjectSet {
        name: ProjectName,
        settings: ProjectSettings,
    },
    ProjectList,
    ProjectRemove {
        name: ProjectName,
        dry_run: bool,
    },
    ProjectTemplate {
        teams: Vec<ProjectName>,
    },
    UserAdd {
        name: AccountName,
        password: Option<Secret>,
        grants: Vec<Grant>,
    },
    UserList,
    UserRemove {
        name: AccountName,
        dry_run: bool,
    },
    UserPassword {
        name: AccountName,
        password: Option<Secret>,
    },
    UserGrant {
        name: AccountName,
        grant: Grant,
    },
    UserRevoke {
        name: AccountName,
        role: Option<Role>,
        projects: ProjectPattern,
    },
    UserCertificate {
        name: AccountName,
        certificate: String,
        stands: bool,
    },
    UserSecondFactor {
        name: AccountName,
        remove: bool,
    },
    UserDisable {
        name: AccountName,
        disabled: bool,
    },
    UserUnlock {
        name: AccountName,
    },
    RobotAdd {
        project: ProjectName,
        name: AccountName,
        role: Role,
        expires_days: Option<u32>,
        description: String,
    },
    RobotList {
        project: Option<ProjectName>,
    },
    RobotRenew {
        login_name: String,
    },
    RobotDisable {
        login_name: String,
        disabled: bool,
    },
    RobotRemove {
        login_name: String,
        dry_run: bool,
    },
    Report,
    /// In the place of a document that cannot be read, and of no other.
    BeginAnew {
        dry_run: bool,
    },
}

impl AccessOrder {
    /// The order's name, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ProjectAdd { .. } => "project_add",
            Self::ProjectSet { .. } => "project_set",
            Self::ProjectList => "project_list",
            Self::ProjectRemove { .. } => "project_remove",
            Self::ProjectTemplate { .. } => "project_template",
            Self::UserAdd { .. } => "user_add",
            Self::UserList => "user_list",
            Self::UserRemove { .. } => "user_remove",
            Self::UserPassword { .. } => "user_password",
            Self::UserGrant { .. } => "user_grant",
            Self::UserRevoke { .. } => "user_revoke",
            Self::UserCertificate { .. } => "user_certificate",
            Self::UserSecondFactor { .. } => "user_second_factor",
            Self::UserDisable { .. } => "user_disable",
            Self::UserUnlock { .. } => "user_unlock",
            Self::RobotAdd { .. } => "robot_add",
            Self::RobotList { .. } => "robot_list",
            Self::RobotRenew { .. } => "robot_renew",
            Self::RobotDisable { .. } => "robot_disable",
            Self::RobotRemove { .. } => "robot_remove",
            Self::Report => "access_report",
            Self::BeginAnew { .. } => "access_begin_anew",
        }
    }
}

/// A password on its way. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(withheld)")
    }
}

/// What is said of a project; what is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectSettings {
    pub kind: Option<ProjectKind>,
    pub visibility: Option<Visibility>,
    pub enforcement: Option<Enforcement>,
    pub anonymous_networks: Option<Vec<Network>>,
    pub owner: Option<AccountName>,
    /// 0 takes the bound away.
    pub quota_bytes_max: Option<u64>,
    /// 0 takes the bound away.
    pub tags_count_max: Option<u64>,
    pub description: Option<String>,
}

impl ProjectSettings {
    fn set(self, project: &mut Project, owner: Option<String>) {
        project.kind = self.kind.unwrap_or(project.kind);
        project.visibility = self.visibility.unwrap_or(project.visibility);
        project.enforcement = self.enforcement.unwrap_or(project.enforcement);
        if let Some(networks) = self.anonymous_networks {
            project.anonymous_networks = networks;
        }
        project.owner = owner.or_else(|| project.owner.take());
        if let Some(bound) = self.quota_bytes_max {
            project.quota_bytes_max = Some(bound).filter(|bound| *bound > 0);
        }
        if let Some(bound) = self.tags_count_max {
            project.tags_count_max = Some(bound).filter(|bound| *bound > 0);
        }
        if let Some(description) = self.description {
            project.description = description;
        }
    }

    fn owner_id(&self, document: &AccessDocument) -> Result<Option<String>, ChangeError> {
        self.owner.as_ref().map(|owner| change::user_id(document, owner)).transpose()
    }
}

/// A project with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedProject {
    pub name: ProjectName,
    pub owner_name: Option<AccountName>,
    #[serde(flatten)]
    pub project: Project,
}

/// Projects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectsReport {
    pub projects: Vec<NamedProject>,
}

/// A user, without what is kept of the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLine {
    pub id: String,
    pub name: AccountName,
    pub disabled: bool,
    pub has_password: bool,
    #[serde(default)]
    pub has_second_factor: bool,
    pub grants: Vec<Grant>,
    #[serde(default)]
    pub certificates: Vec<String>,
    pub created: Option<Timestamp>,
    /// The password, shown once, where the appliance chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Shown once, when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<NewSecondFactor>,
}

/// What goes into an authenticator.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSecondFactor {
    /// To be typed in (Base32).
    pub secret: String,
    /// To be read from a picture (`otpauth:`).
    pub address: String,
}

impl std::fmt::Debug for NewSecondFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewSecondFactor(withheld)")
    }
}

/// Users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsersReport {
    pub users: Vec<UserLine>,
}

/// A robot, without what is kept of its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobotLine {
    pub id: String,
    /// The name that it signs in with.
    pub login_name: String,
    pub project: ProjectName,
    pub role: Role,
    pub expires: Option<Timestamp>,
    pub disabled: bool,
    pub description: String,
    pub created: Option<Timestamp>,
    /// Shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Robots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobotsReport {
    pub robots: Vec<RobotLine>,
}

/// Projects that were declared private, because nobody knows any more what they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnewReport {
    pub projects: Vec<ProjectName>,
}

/// Carries out `order`.
pub(super) fn execute(appliance: &Appliance, order: AccessOrder) -> Result<Value, Failure> {
    if let AccessOrder::BeginAnew { dry_run } = order {
        let projects = appliance.access.begin_anew(Appliance::operator(), dry_run)?;
        return report(&AnewReport { projects });
    }
    appliance.access.check_readable().map_err(|error| {
        Failure::from(error).next(
            "restore 'trust/access/' in the data directory from a backup and start again; without one, begin anew with \
             `postern access begin-anew`",
        )
    })?;
    execute_on_projects(appliance, order)
}

fn execute_on_projects(appliance: &Appliance, order: AccessOrder) -> Result<Value, Failure> {
    let access = &appliance.access;
    let by = Appliance::operator();
    match order {
        AccessOrder::ProjectAdd { name, settings } => report(&project_add(appliance, name, settings)?),
        AccessOrder::ProjectSet { name, settings } => {
            access.change(by, |document| {
                let owner = settings.owner_id(document)?;
                change::set_project(document, &name, |project| settings.set(project, owner))
            })?;
            report(&projects(appliance, Some(&name)))
        }
        AccessOrder::ProjectList => report(&projects(appliance, None)),
        AccessOrder::ProjectRemove { name, dry_run } => {
            let removed = projects(appliance, Some(&name));
            check_empty(appliance, &name)?;
            let removing = |document: &mut AccessDocument| member::remove_with_members(document, &name);
            if dry_run {
                try_out(appliance, removing)?
            } else {
                access.change(by, removing)?
            }
            report(&removed)
        }
        AccessOrder::ProjectTemplate { teams } => {
            let now = appliance.access.now();
            let added = access.change(by, |document| change::add_template(document, &teams, now))?;
            let mut all = projects(appliance, None);
            all.projects.retain(|project| added.contains(&project.name));
            report(&all)
        }
        order => execute_on_users(appliance, order),
    }
}

fn execute_on_users(appliance: &Appliance, order: AccessOrder) -> Result<Value, Failure> {
    let access = &appliance.access;
    let by = Appliance::operator();
    match order {
        AccessOrder::UserAdd { name, password, grants } => report(&user_add(appliance, name, password, grants)?),
        AccessOrder::UserList => report(&users(appliance, None)),
        AccessOrder::UserRemove { name, dry_run } => {
            let removed = users(appliance, Some(&name));
            let removing = |document: &mut AccessDocument| change::remove_user(document, &name);
            if dry_run {
                try_out(appliance, removing)?
            } else {
                access.change(by, removing)?
            }
            report(&removed)
        }
        AccessOrder::UserPassword { name, password } => {
            let (kept, shown) = kept_password(password)?;
            access.change(by, |document| change::set_password(document, &name, kept))?;
            report(&with_password(users(appliance, Some(&name)), shown))
        }
        AccessOrder::UserGrant { name, grant } => {
            access.change(by, |document| change::grant(document, &name, grant))?;
            report(&users(appliance, Some(&name)))
        }
        AccessOrder::UserRevoke { name, role, projects } => {
            access.change(by, |document| change::revoke(document, &name, role, &projects))?;
            report(&users(appliance, Some(&name)))
        }
        AccessOrder::UserCertificate { name, certificate, stands } => {
            access.change(by, |document| change::set_certificate(document, &name, &certificate, stands))?;
            report(&users(appliance, Some(&name)))
        }
        AccessOrder::UserSecondFactor { name, remove } => {
            let secret = (!remove).then(OneTimeSecret::generate);
            access.change(by, |document| change::set_second_factor(document, &name, secret.clone()))?;
            let mut made = users(appliance, Some(&name));
            for line in &mut made.users {
                line.second_factor = secret.as_ref().map(|secret| NewSecondFactor {
                    secret: secret.text().to_owned(),
                    address: secret.address("Postern", name.as_str()),
                });
            }
            report(&made)
        }
        AccessOrder::UserDisable { name, disabled } => {
            access.change(by, |document| change::disable_user(document, &name, disabled))?;
            report(&users(appliance, Some(&name)))
        }
        AccessOrder::UserUnlock { name } => {
            access.look(|document| change::user_id(document, &name))?;
            access.unlock(name.as_str());
            report(&users(appliance, Some(&name)))
        }
        order => execute_on_robots(appliance, order),
    }
}

fn execute_on_robots(appliance: &Appliance, order: AccessOrder) -> Result<Value, Failure> {
    let access = &appliance.access;
    let by = Appliance::operator();
    match order {
        AccessOrder::RobotAdd { project, name, role, expires_days, description } => {
            let created = appliance.access.now();
            let expires = expires_days.map(|days| after_days(created, days)).transpose()?;
            let new = NewRobot { project, name, role, expires, disabled: false, description, created };
            report(&robot_add(appliance, new)?)
        }
        AccessOrder::RobotList { project } => {
            report(&robots(appliance, |robot| project.as_ref().is_none_or(|project| robot.project == *project)))
        }
        AccessOrder::RobotRenew { login_name } => {
            let secret = secret::generate();
            access.change(by, |document| change::renew_robot(document, &login_name, secret::keep(&secret)))?;
            report(&with_secret(named_robot(appliance, &login_name), secret))
        }
        AccessOrder::RobotDisable { login_name, disabled } => {
            access.change(by, |document| change::disable_robot(document, &login_name, disabled))?;
            report(&named_robot(appliance, &login_name))
        }
        AccessOrder::RobotRemove { login_name, dry_run } => {
            let removed = named_robot(appliance, &login_name);
            let removing = |document: &mut AccessDocument| change::remove_robot(document, &login_name);
            if dry_run {
                try_out(appliance, removing)?
            } else {
                access.change(by, removing)?
            }
            report(&removed)
        }
        _ => report(&access_report(appliance)),
    }
}

/// What belongs to no project is open to networks of the configuration: images must not get there by a project that goes.
fn check_empty(appliance: &Appliance, name: &ProjectName) -> Result<(), Failure> {
    match appliance.store.repositories_count(name.as_str())? {
        0 => Ok(()),
        count => {
            Err(Failure::new(FailureKind::Refused, format!("project '{name}' has {count} repositories with images"))
                .next(
                    "delete or retire these first; without a project they would be open to access.anonymous_networks",
                ))
        }
    }
}

/// Whether a change would be made, on a copy.
fn try_out<T>(
    appliance: &Appliance,
    change: impl FnOnce(&mut AccessDocument) -> Result<T, ChangeError>,
) -> Result<(), Failure> {
    let mut copy = appliance.access.look(AccessDocument::clone);
    change(&mut copy)?;
    Ok(())
}

fn project_add(appliance: &Appliance, name: ProjectName, settings: ProjectSettings) -> Result<ProjectsReport, Failure> {
    let created = Some(appliance.access.now());
    appliance.access.change(Appliance::operator(), |document| {
        let owner = settings.owner_id(document)?;
        let mut project = Project { created, ..Project::default() };
        settings.set(&mut project, owner);
        change::add_project(document, name.clone(), project)
    })?;
    Ok(projects(appliance, Some(&name)))
}

fn user_add(
    appliance: &Appliance,
    name: AccountName,
    password: Option<Secret>,
    grants: Vec<Grant>,
) -> Result<UsersReport, Failure> {
    let (kept, shown) = kept_password(password)?;
    let created = Some(appliance.access.now());
    let user = User {
        number: 0,
        name: name.clone(),
        password: Some(kept),
        grants,
        certificates: Vec::new(),
        second_factor: None,
        disabled: false,
        created,
    };
    let id = format!("u-{}", random::identifier());
    appliance.access.change(Appliance::operator(), |document| change::add_user(document, &id, user))?;
    Ok(with_password(users(appliance, Some(&name)), shown))
}

pub(super) fn robot_add(appliance: &Appliance, new: NewRobot) -> Result<RobotsReport, Failure> {
    let secret = secret::generate();
    let id = format!("r-{}", random::identifier());
    let kept = secret::keep(&secret);
    let by = Appliance::operator();
    let robot = appliance.access.change(by, |document| change::add_robot(document, &id, new, kept))?;
    Ok(with_secret(named_robot(appliance, &robot.login_name()), secret))
}

fn after_days(now: Timestamp, days: u32) -> Result<Timestamp, Failure> {
    let span = SignedDuration::from_hours(24 * i64::from(days));
    now.checked_add(span).map_err(|error| Failure::usage("so many days cannot be counted").because(&error))
}

/// What is kept of a password, and the password where nobody gave one.
fn kept_password(given: Option<Secret>) -> Result<(KeptPassword, Option<String>), Failure> {
    let (password, shown) = match given {
        Some(Secret(password)) => (password, None),
        None => {
            let chosen = secret::generate();
            (chosen.clone(), Some(chosen))
        }
    };
    if password.chars().count() < PASSWORD_LETTERS_MIN || password.len() > PASSWORD_BYTES_MAX {
        return Err(Failure::usage(format!("a password has {PASSWORD_LETTERS_MIN} letters or more"))
            .next("choose a longer one, or give none and have one made"));
    }
    let kept = KeptPassword::derive(password.as_bytes())
        .map_err(|error| Failure::failed("the password cannot be kept").because(&error))?;
    Ok((kept, shown))
}

fn with_password(mut report: UsersReport, password: Option<String>) -> UsersReport {
    if let Some(user) = report.users.first_mut() {
        user.password = password;
    }
    report
}

fn with_secret(mut report: RobotsReport, secret: String) -> RobotsReport {
    if let Some(robot) = report.robots.first_mut() {
        robot.secret = Some(secret);
    }
    report
}

fn projects(appliance: &Appliance, only: Option<&ProjectName>) -> ProjectsReport {
    let projects = appliance.access.look(|document| {
        let named = |(name, project): (&ProjectName, &Project)| NamedProject {
            name: name.clone(),
            owner_name: project.owner.as_ref().and_then(|id| document.users.get(id)).map(|user| user.name.clone()),
            project: project.clone(),
        };
        document.projects.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).map(named).collect()
    });
    ProjectsReport { projects }
}

fn users(appliance: &Appliance, only: Option<&AccountName>) -> UsersReport {
    let line = |(id, user): (&String, &User)| UserLine {
        id: id.clone(),
        name: user.name.clone(),
        disabled: user.disabled,
        has_password: user.password.is_some(),
        has_second_factor: user.second_factor.is_some(),
        grants: user.grants.clone(),
        certificates: user.certificates.clone(),
        created: user.created,
        password: None,
        second_factor: None,
    };
    let mut users: Vec<UserLine> = appliance.access.look(|document| {
        document.users.iter().filter(|(_, user)| only.is_none_or(|only| user.name == *only)).map(line).collect()
    });
    users.sort_by(|one, other| one.name.cmp(&other.name));
    UsersReport { users }
}

fn named_robot(appliance: &Appliance, login_name: &str) -> RobotsReport {
    robots(appliance, |robot| robot.login_name() == login_name)
}

fn robots(appliance: &Appliance, wanted: impl Fn(&Robot) -> bool) -> RobotsReport {
    let line = |(id, robot): (&String, &Robot)| RobotLine {
        id: id.clone(),
        login_name: robot.login_name(),
        project: robot.project.clone(),
        role: robot.role,
        expires: robot.expires,
        disabled: robot.disabled,
        description: robot.description.clone(),
        created: robot.created,
        secret: None,
    };
    let mut robots: Vec<RobotLine> =
        appliance.access.look(|document| document.robots.iter().filter(|(_, robot)| wanted(robot)).map(line).collect());
    robots.sort_by(|one, other| one.login_name.cmp(&other.login_name));
    RobotsReport { robots }
}

fn access_report(appliance: &Appliance) -> AccessReport {
    let now = appliance.access.now();
    let undeclared = &appliance.config.access.undeclared;
    appliance.access.look(|document| crate::access::report::report(document, undeclared, now))
}
