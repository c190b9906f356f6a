//! Subjects × permissions, for an auditor. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decide::UndeclaredRules;
use super::document::AccessDocument;
use super::project::{ProjectKind, Visibility};
use super::role::{Action, Role};

/// Who may do what, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessReport {
    pub projects: Vec<ProjectLine>,
    pub subjects: Vec<SubjectLine>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectLine {
    pub project: String,
    pub kind: ProjectKind,
    pub visibility: Visibility,
    pub owner: Option<String>,
}

/// What one subject may do in one project or pattern of projects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectLine {
    /// The name signed in with; `anonymous` and `signed-in` stand for anyone and for anyone with an account.
    pub subject: String,
    pub projects: String,
    /// By what: `role pusher`, `owner`, `visibility`, `network 10.0.0.0/8`.
    pub by: String,
    pub actions: Vec<Action>,
    /// Whether it holds now: an account that is disabled or expired keeps its lines.
    pub active: bool,
}

fn actions(role: Role) -> Vec<Action> {
    Action::ALL.into_iter().filter(|action| role.allows(*action)).collect()
}

/// The report.
pub fn report(document: &AccessDocument, undeclared: &UndeclaredRules, now: Timestamp) -> AccessReport {
    let owner = |id: &String| document.users.get(id).map(|user| user.name.to_string());
    let projects = document.projects.iter().map(|(name, project)| ProjectLine {
        project: name.to_string(),
        kind: project.kind,
        visibility: project.visibility,
        owner: project.owner.as_ref().and_then(owner),
    });
    let mut subjects = open_lines(document, undeclared);
    for (id, user) in &document.users {
        let line = |projects: String, by: String, role| SubjectLine {
            subject: user.name.to_string(),
            projects,
            by,
            actions: actions(role),
            active: !user.disabled,
        };
        subjects.extend(
            user.grants
                .iter()
                .map(|grant| line(grant.projects.to_string(), format!("role {}", grant.role), grant.role)),
        );
        let owned = document.projects.iter().filter(|(_, project)| project.owner.as_ref() == Some(id));
        subjects.extend(owned.map(|(name, _)| line(name.to_string(), "owner".to_owned(), Role::Admin)));
    }
    subjects.extend(document.robots.values().map(|robot| SubjectLine {
        subject: robot.login_name(),
        projects: robot.project.to_string(),
        by: format!("role {}", robot.role),
        actions: actions(robot.role),
        active: robot.is_alive(now),
    }));
    subjects.sort();
    AccessReport { projects: projects.collect(), subjects }
}

/// What is open to anyone, or to anyone with an account.
fn open_lines(document: &AccessDocument, undeclared: &UndeclaredRules) -> Vec<SubjectLine> {
    let line = |subject: &str, projects: String, by: String, action| SubjectLine {
        subject: subject.to_owned(),
        projects,
        by,
        actions: vec![action],
        active: true,
    };
    let mut lines = Vec::new();
    for (networks, action) in [(&undeclared.pull_networks, Action::Pull), (&undeclared.push_networks, Action::Push)] {
        lines.extend(
            networks
                .iter()
                .map(|network| line("anonymous", "(not declared)".to_owned(), format!("network {network}"), action)),
        );
    }
    for (name, project) in &document.projects {
        match project.visibility {
            Visibility::Private => {}
            Visibility::Internal => {
                lines.push(line("signed-in", name.to_string(), "visibility".to_owned(), Action::Pull));
            }
            Visibility::Public if project.anonymous_networks.is_empty() => {
                lines.push(line("anonymous", name.to_string(), "visibility".to_owned(), Action::Pull));
            }
            Visibility::Public => lines.extend(
                project
                    .anonymous_networks
                    .iter()
                    .map(|network| line("anonymous", name.to_string(), format!("network {network}"), Action::Pull)),
            ),
        }
    }
    lines
}
