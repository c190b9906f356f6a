//! The document of projects, accounts and their rights, as it lies on the disk. Pure.
//!
//! ```text
//! {"version": 1, "last_number": 3,
//!  "projects": {"team-a": {"number": 1, "kind": "hosted", "visibility": "private", …}},
//!  "users":  {"<id>": {"name": "anna", "password": {…}, "grants": [{"role": "pusher", "projects": "team-*"}], …}},
//!  "robots": {"<id>": {"project": "team-a", "name": "ci", "secret": "sha256:…", "role": "pusher", …}}}
//! ```
//!
//! Ids are random and stand in the journal; names stand here alone, so that they can be forgotten. Numbers are for clients
//! that know things by a number (Harbor's): one row of them for all, none given twice.

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
use crate::sys::one_time::OneTimeSecret;
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
    /// Given when it is added; 0 until then.
    #[serde(default)]
    pub number: u64,
    pub name: AccountName,
    /// None: signs in with a certificate only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<KeptPassword>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Names in certificates that stand for this user (`upn:1234567890@mil`, `dns:node.example`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// What one-time passwords are counted from, for those who manage over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<OneTimeSecret>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

/// An account of a pipeline, in one project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Robot {
    /// Given when it is added; 0 until then.
    #[serde(default)]
    pub number: u64,
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
    /// The last number that was given to a project, a user or a robot.
    #[serde(default)]
    last_number: u64,
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
    #[error("the number {0} stands for two things, or was never given")]
    Number(u64),
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
        let mut document: Self = serde_json::from_slice(bytes)?;
        if document.version != VERSION {
            return Err(DocumentError::Version(document.version));
        }
        document.number();
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

    /// A number that nothing had before.
    pub(super) const fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    /// Numbers what was written down before there were numbers: the same ones each time, until the next change keeps them.
    fn number(&mut self) {
        let projects = self.projects.values_mut().map(|project| &mut project.number);
        let users = self.users.values_mut().map(|user| &mut user.number);
        let robots = self.robots.values_mut().map(|robot| &mut robot.number);
        for number in projects.chain(users).chain(robots).filter(|number| **number == 0) {
            self.last_number = self.last_number.saturating_add(1);
            *number = self.last_number;
        }
    }

    /// Every number that was given, and only once.
    fn check_numbers(&self) -> Result<(), DocumentError> {
        let projects = self.projects.values().map(|project| project.number);
        let users = self.users.values().map(|user| user.number);
        let robots = self.robots.values().map(|robot| robot.number);
        let mut numbers = HashSet::new();
        for number in projects.chain(users).chain(robots).filter(|number| *number > 0) {
            if number > self.last_number || !numbers.insert(number) {
                return Err(DocumentError::Number(number));
            }
        }
        Ok(())
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
        self.check_numbers()?;
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
            number: 0,
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
            User {
                number: 0,
                name,
                password: None,
                grants,
                certificates: Vec::new(),
                second_factor: None,
                disabled: true,
                created: None,
            },
        );
        document.number();
        assert_eq!(AccessDocument::parse(&document.to_json().unwrap()).unwrap(), document);
        assert_eq!(document.robots["r1"].login_name(), "robot$team-a+ci");
    }

    #[test]
    fn what_has_no_number_yet_gets_one_and_none_is_given_twice() {
        let old = br#"{"version":1,"projects":{"a":{},"b":{"number":7}},"last_number":7,
            "users":{"u1":{"name":"anna"}}}"#;
        let document = AccessDocument::parse(old).unwrap();
        let number = |name: &str| document.projects[name].number;
        assert_eq!((number("a"), number("b"), document.users["u1"].number), (8, 7, 9));
        assert_eq!(AccessDocument::parse(&document.to_json().unwrap()).unwrap(), document);
        for bad in [
            r#"{"version":1,"last_number":1,"projects":{"a":{"number":1}},"users":{"u1":{"name":"anna","number":1}}}"#,
            r#"{"version":1,"projects":{"a":{"number":1}}}"#,
        ] {
            assert!(matches!(AccessDocument::parse(bad.as_bytes()), Err(DocumentError::Number(1))), "{bad}");
        }
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
