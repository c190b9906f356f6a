//! What a caller may do. Pure: the document, the rules for what no project is declared for, the caller, the time in; yes or
//! the reason out.
//!
//! A denial never depends on whether the repository exists, so it tells nothing of what is there.

use std::net::IpAddr;

use jiff::Timestamp;

use super::document::{AccessDocument, Robot, User};
use super::identify::IdentifyError;
use super::name::ProjectName;
use super::project::{Project, ProjectKind, Visibility};
use super::role::{Action, Role};
use super::scope::{self, Scope};
use crate::http::network::Network;
use crate::http::share::client;
use crate::oci::name::RepositoryName;
use crate::store::{PrincipalKind, PrincipalRef};

/// Who asks, as an id of the document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Anonymous,
    User(String),
    Robot(String),
}

/// Who asks, from where, and what they narrowed themselves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub subject: Subject,
    /// The name signed in with, for logs.
    pub name: Option<String>,
    /// None over a socket file.
    pub remote: Option<IpAddr>,
    /// What the token is for, where one was used.
    pub scopes: Option<Vec<Scope>>,
    /// Why the credentials that came along make nobody of them.
    pub failed: Option<IdentifyError>,
}

impl Caller {
    /// Somebody who has not signed in.
    pub const fn anonymous(remote: Option<IpAddr>) -> Self {
        Self { subject: Subject::Anonymous, name: None, remote, scopes: None, failed: None }
    }

    /// Who they are to the journal: an id, never a name.
    pub fn principal(&self) -> PrincipalRef {
        match &self.subject {
            Subject::Anonymous => PrincipalRef::system("push"),
            Subject::User(id) => PrincipalRef { id: id.clone(), kind: PrincipalKind::Person },
            Subject::Robot(id) => PrincipalRef { id: id.clone(), kind: PrincipalKind::Robot },
        }
    }

    /// By what their sessions are counted: the account, or the address of whoever has none.
    pub fn counted_as(&self) -> Option<String> {
        match &self.subject {
            Subject::Anonymous => self.remote.map(|remote| client(remote).to_string()),
            Subject::User(id) | Subject::Robot(id) => Some(id.clone()),
        }
    }

    /// Who they are to the access log: kind and the name that they signed in with.
    pub fn label(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        match &self.subject {
            Subject::Anonymous => None,
            Subject::User(_) => Some(format!("user:{name}")),
            Subject::Robot(_) => Some(format!("robot:{name}")),
        }
    }

    /// Whether they have signed in.
    pub fn is_somebody(&self) -> bool {
        self.subject != Subject::Anonymous
    }
}

/// What holds where no project is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndeclaredRules {
    /// From where it is pulled without signing in.
    pub pull_networks: Vec<Network>,
    /// From where it is pushed without signing in.
    pub push_networks: Vec<Network>,
}

/// Why something is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("sign in to {} '{repository}'", .action.as_str())]
    SignIn { repository: String, action: Action },
    #[error("{error}")]
    Failed { error: IdentifyError, repository: String, action: Action },
    #[error("{}", nobody(*.action))]
    NobodyHere { action: Action },
    #[error("this token is not for {} on '{repository}': ask for another", .action.as_str())]
    Scope { repository: String, action: Action },
    #[error(
        "'{name}' may not {} in project '{project}': ask its owner for the role of {}",
        .action.as_str(),
        needed(*.action)
    )]
    NoRight { name: String, project: String, action: Action },
    #[error("project '{project}' is filled {}, so nothing is pushed there: choose another project", filled(*.kind))]
    NotHosted { project: String, kind: ProjectKind },
    #[error(
        "the document of projects and accounts cannot be read, so nothing is allowed: the operator sees why in the log"
    )]
    Closed,
}

const fn nobody(action: Action) -> &'static str {
    match action {
        Action::Pull => {
            "nothing is pulled from this registry from your address: name your network in access.anonymous_networks of its configuration, or add an account with `postern user add`"
        }
        Action::Push => {
            "nothing is pushed to this registry from your address: name your network in push.networks of its configuration, or add an account with `postern user add`"
        }
        Action::Delete | Action::Manage => {
            "nothing is deleted here without an account: add one with `postern user add`"
        }
    }
}

fn needed(action: Action) -> Role {
    Role::ALL.into_iter().find(|role| role.allows(action)).unwrap_or(Role::Admin)
}

const fn filled(kind: ProjectKind) -> &'static str {
    match kind {
        ProjectKind::Hosted => "by pushes",
        ProjectKind::Mirror => "from its upstream",
        ProjectKind::Imported => "by transfer bundles",
    }
}

/// Whether `caller` may do `action` in `repository` at `now`.
pub fn decide(
    document: &AccessDocument,
    undeclared: &UndeclaredRules,
    caller: &Caller,
    repository: &RepositoryName,
    action: Action,
    now: Timestamp,
) -> Result<(), Denial> {
    let name = ProjectName::text_of(repository);
    let project = document.projects.get(name);
    if let (Action::Push, Some(project)) = (action, project)
        && project.kind != ProjectKind::Hosted
    {
        return Err(Denial::NotHosted { project: name.to_owned(), kind: project.kind });
    }
    if is_open(project, undeclared, caller, action) {
        return Ok(());
    }
    if has_role(document, caller, name, project, action, now) {
        let is_covered = caller.scopes.as_ref().is_none_or(|scopes| scope::covers(scopes, repository, action));
        let repository = repository.to_string();
        return if is_covered { Ok(()) } else { Err(Denial::Scope { repository, action }) };
    }
    if !document.is_in_use() {
        return Err(Denial::NobodyHere { action });
    }
    let repository = repository.to_string();
    Err(match (&caller.failed, &caller.name) {
        (Some(error), _) => Denial::Failed { error: error.clone(), repository, action },
        (None, Some(own)) if caller.is_somebody() => {
            Denial::NoRight { name: own.clone(), project: name.to_owned(), action }
        }
        _ => Denial::SignIn { repository, action },
    })
}

/// What is allowed without signing in. Whoever sends credentials that are wrong may pull what is open to anyone (a client
/// may have sent those of another registry), but changes nothing.
fn is_open(project: Option<&Project>, undeclared: &UndeclaredRules, caller: &Caller, action: Action) -> bool {
    let within =
        |networks: &[Network]| caller.remote.is_some_and(|remote| networks.iter().any(|network| network.holds(remote)));
    match (project, action) {
        (Some(project), Action::Pull) => project.is_open_to(caller.remote),
        (None, Action::Pull) => within(&undeclared.pull_networks),
        (None, Action::Push) => caller.failed.is_none() && within(&undeclared.push_networks),
        _ => false,
    }
}

fn has_role(
    document: &AccessDocument,
    caller: &Caller,
    name: &str,
    project: Option<&Project>,
    action: Action,
    now: Timestamp,
) -> bool {
    let is_internal = project.is_some_and(|project| project.visibility == Visibility::Internal);
    match &caller.subject {
        Subject::Anonymous => false,
        Subject::User(id) => document.users.get(id).is_some_and(|user| {
            let is_owner = project.is_some_and(|project| project.owner.as_ref() == Some(id));
            !user.disabled && (is_owner || (is_internal && action == Action::Pull) || granted(user, name, action))
        }),
        Subject::Robot(id) => document.robots.get(id).is_some_and(|robot| robot_may(robot, name, action, now)),
    }
}

fn granted(user: &User, project: &str, action: Action) -> bool {
    user.grants.iter().any(|grant| grant.role.allows(action) && grant.projects.matches(project))
}

fn robot_may(robot: &Robot, project: &str, action: Action, now: Timestamp) -> bool {
    robot.is_alive(now) && robot.project.as_str() == project && robot.role.allows(action)
}

/// Whether a user manages the whole appliance: an admin of every project there is and will be.
pub fn is_system_admin(document: &AccessDocument, caller: &Caller) -> bool {
    let Subject::User(id) = &caller.subject else { return false };
    let is_all = |user: &User| {
        user.grants.iter().any(|grant| grant.role == Role::Admin && grant.projects.as_str() == EVERY_PROJECT)
    };
    document.users.get(id).is_some_and(|user| !user.disabled && is_all(user))
}

/// The pattern that means every project.
pub const EVERY_PROJECT: &str = "*";
