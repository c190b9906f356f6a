//! The document of projects, accounts and their rights, as it lies on the disk. Pure.
//!
//! ```text
//! {"version": 1,
//!  "projects": {"team-a": {"kind": "hosted", "visibility": "private", …}},
//!  "users":  {"<id>": {"name": "anna", "password": {…}, "grants": [{"role": "pusher", "projects": "team-*"}], …}},
//!  "robots": {"<id>": {"project": "team-a", "name": "ci", "secret": "sha256:…", "role": "pusher", …}}}
//! ```
//!
//! Ids are random and stand in the journal; names stand here alone, so that they can be forgotten.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::{AccountName, ProjectName, ProjectPattern};
use super::project::Project;
use super::role::Role;
use crate::limits::{
    ACCESS_DOCUMENT_BYTES_MAX, ACCOUNTS_COUNT_MAX, CERTIFICATE_NAMES_COUNT_MAX, DESCRIPTION_BYTES_MAX,
    GRANTS_COUNT_MAX, PROJECTS_COUNT_MAX,
};
use crate::oci::digest::Digest;
use crate::sys::password::KeptPassword;

const VERSION: u32 = 1;

/// A role in all projects whose names fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub role: Role,
    pub projects: ProjectPattern,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: AccountName,
    /// None: signs in with a certificate only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<KeptPassword>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Names in certificates that stand for this user (`upn:1234567890@mil`, `dns:node.example`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

/// An account of a pipeline, in one project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Robot {
    pub project: ProjectName,
    pub name: AccountName,
    /// Digest of its secret, which is random and long enough to need no slow derivation.
    pub secret: Digest,
    /// At most [`Role::Maintainer`].
    pub role: Role,
    /// From when on it is nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

impl Robot {
    /// The name that it signs in with.
    pub fn login_name(&self) -> String {
        format!("{ROBOT_PREFIX}{}+{}", self.project, self.name)
    }

    /// Whether it is somebody at `now`.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        !self.disabled && self.expires.is_none_or(|expires| now < expires)
    }
}

/// Begins the name that a robot signs in with, as in Harbor.
pub const ROBOT_PREFIX: &str = "robot$";

/// Projects, accounts and their rights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessDocument {
    version: u32,
    #[serde(default)]
    pub projects: BTreeMap<ProjectName, Project>,
    #[serde(default)]
    pub users: BTreeMap<String, User>,
    #[serde(default)]
    pub robots: BTreeMap<String, Robot>,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the document of projects and accounts is not valid")]
    Json(#[from] serde_json::Error),
    #[error("the document of projects and accounts has version {0}, which this binary does not know: use a newer one")]
    Version(u32),
    #[error("there can be at most {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error("the name '{0}' stands for two accounts")]
    NameTwice(String),
    #[error("the description of '{0}' is longer than {DESCRIPTION_BYTES_MAX} bytes")]
    Description(String),
    #[error("robot '{0}' has a role that no robot has: reader, pusher or maintainer")]
    RobotRole(String),
}

impl AccessDocument {
    /// A document with nothing in it.
    pub fn empty() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads a document of at most [`ACCESS_DOCUMENT_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > ACCESS_DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooMany {
                what: "bytes of projects and accounts",
                limit: ACCESS_DOCUMENT_BYTES_MAX,
            });
        }
        let document: Self = serde_json::from_slice(bytes)?;
        if document.version != VERSION {
            return Err(DocumentError::Version(document.version));
        }
        document.check()?;
        Ok(document)
    }

    /// The bytes to be kept. What could not be read again is not written.
    pub fn to_json(&self) -> Result<Vec<u8>, DocumentError> {
        self.check()?;
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() > ACCESS_DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooMany {
                what: "bytes of projects and accounts",
                limit: ACCESS_DOCUMENT_BYTES_MAX,
            });
        }
        Ok(bytes)
    }

    /// Whether anything was declared: accounts, or projects that ask for them.
    pub fn is_in_use(&self) -> bool {
        !self.users.is_empty() || !self.robots.is_empty() || !self.projects.is_empty()
    }

    fn check(&self) -> Result<(), DocumentError> {
        let bounded = |what, count: usize, limit| {
            if count > limit { Err(DocumentError::TooMany { what, limit }) } else { Ok(()) }
        };
        bounded("projects", self.projects.len(), PROJECTS_COUNT_MAX)?;
        bounded("users", self.users.len(), ACCOUNTS_COUNT_MAX)?;
        bounded("robots", self.robots.len(), ACCOUNTS_COUNT_MAX)?;
        let (mut names, mut certificates) = (HashSet::new(), HashSet::new());
        for user in self.users.values() {
            bounded("rights of one user", user.grants.len(), GRANTS_COUNT_MAX)?;
            bounded("certificates of one user", user.certificates.len(), CERTIFICATE_NAMES_COUNT_MAX)?;
            for name in &user.certificates {
                if !certificates.insert(name.as_str()) {
                    return Err(DocumentError::NameTwice(name.clone()));
                }
            }
            if !names.insert(user.name.to_string()) {
                return Err(DocumentError::NameTwice(user.name.to_string()));
            }
        }
        for robot in self.robots.values() {
            let name = robot.login_name();
            if robot.role > Role::Maintainer {
                return Err(DocumentError::RobotRole(name));
            }
            described(&name, &robot.description)?;
            if !names.insert(name.clone()) {
                return Err(DocumentError::NameTwice(name));
            }
        }
        self.projects.iter().try_for_each(|(name, project)| described(name.as_str(), &project.description))
    }
}

fn described(name: &str, description: &str) -> Result<(), DocumentError> {
    if description.len() > DESCRIPTION_BYTES_MAX { Err(DocumentError::Description(name.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{AccessDocument, DocumentError, Robot, User};
    use crate::access::role::Role;
    use crate::oci::digest::Digest;

    fn robot(name: &str, role: Role) -> Robot {
        Robot {
            project: "team-a".parse().unwrap(),
            name: name.parse().unwrap(),
            secret: Digest::of(b"secret"),
            role,
            expires: None,
            disabled: false,
            description: String::new(),
            created: None,
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut document = AccessDocument::empty();
        document.projects.insert("team-a".parse().unwrap(), Default::default());
        document.robots.insert("r1".to_owned(), robot("ci", Role::Pusher));
        let grants = vec![super::Grant { role: Role::Admin, projects: "team-*".parse().unwrap() }];
        let name = "anna".parse().unwrap();
        document.users.insert(
            "u1".to_owned(),
            User { name, password: None, grants, certificates: Vec::new(), disabled: true, created: None },
        );
        assert_eq!(AccessDocument::parse(&document.to_json().unwrap()).unwrap(), document);
        assert_eq!(document.robots["r1"].login_name(), "robot$team-a+ci");
    }

    #[test]
    fn what_means_two_things_is_refused() {
        let mut document = AccessDocument::empty();
        document.robots.insert("r1".to_owned(), robot("ci", Role::Pusher));
        document.robots.insert("r2".to_owned(), robot("ci", Role::Reader));
        assert!(matches!(document.to_json(), Err(DocumentError::NameTwice(_))));
        document.robots.insert("r2".to_owned(), robot("other", Role::Admin));
        assert!(matches!(document.to_json(), Err(DocumentError::RobotRole(_))));
        for text in ["{}", r#"{"version":2}"#, r#"{"version":1,"owner":"x"}"#, "[]"] {
            assert!(AccessDocument::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(AccessDocument::parse(br#"{"version":1}"#).is_ok());
    }

    #[test]
    fn an_expired_robot_is_nobody() {
        let at = |text: &str| text.parse().unwrap();
        let mut robot = robot("ci", Role::Pusher);
        robot.expires = Some(at("2026-01-01T00:00:00Z"));
        assert!(robot.is_alive(at("2025-12-31T23:59:59Z")) && !robot.is_alive(at("2026-01-01T00:00:00Z")));
        robot.disabled = true;
        assert!(!robot.is_alive(at("2020-01-01T00:00:00Z")));
    }
}
