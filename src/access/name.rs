//! Names of projects and accounts, and patterns of project names. Pure.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::limits::{ACCOUNT_NAME_BYTES_MAX, PROJECT_PATTERN_BYTES_MAX};
use crate::oci::name::RepositoryName;

/// Why a text names no project or account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessNameError {
    #[error(
        "'{0}' is no name of a project: it is the first part of its repositories' names (lower-case letters, digits, and '.', '_' or '-' between them)"
    )]
    Project(String),
    #[error(
        "'{0}' is no name of an account: lower-case letters, digits, and '.', '_' or '-' between them, at most {ACCOUNT_NAME_BYTES_MAX}"
    )]
    Account(String),
    #[error("'{0}' is no pattern of project names: such as 'team-*'")]
    Pattern(String),
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The name of a project: the first part of the names of its repositories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

impl ProjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the project that a repository belongs to, whether there is one or not.
    pub fn text_of(repository: &RepositoryName) -> &str {
        let name = repository.as_str();
        name.split_once('/').map_or(name, |(project, _)| project)
    }
}

impl std::borrow::Borrow<str> for ProjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectName {
    type Err = AccessNameError;

    fn from_str(text: &str) -> Result<Self, AccessNameError> {
        let is_component = text.parse::<RepositoryName>().is_ok() && !text.contains('/');
        if is_component && text.len() <= ACCOUNT_NAME_BYTES_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(AccessNameError::Project(shown(text)))
    }
}

/// The name that an account signs in with, but for the `robot$` of robots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = AccessNameError;

    fn from_str(text: &str) -> Result<Self, AccessNameError> {
        let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let is_inside = |byte: &u8| is_end(Some(byte)) || matches!(byte, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let is_name = is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_inside);
        if is_name && bytes.len() <= ACCOUNT_NAME_BYTES_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(AccessNameError::Account(shown(text)))
    }
}

/// Projects by their names: `*` and `?` stand for letters, `[ab]` for one of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectPattern {
    text: String,
    matcher: GlobMatcher,
}

impl ProjectPattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it means this project.
    pub fn matches(&self, project: &str) -> bool {
        self.matcher.is_match(project)
    }

    /// The pattern that means one project alone. A project's name holds nothing that a pattern reads otherwise.
    pub fn exactly(project: &ProjectName) -> Result<Self, AccessNameError> {
        project.as_str().parse()
    }
}

impl PartialEq for ProjectPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ProjectPattern {}

impl FromStr for ProjectPattern {
    type Err = AccessNameError;

    fn from_str(text: &str) -> Result<Self, AccessNameError> {
        let error = || AccessNameError::Pattern(shown(text));
        if text.is_empty() || text.len() > PROJECT_PATTERN_BYTES_MAX || text.contains('/') {
            return Err(error());
        }
        let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|_| error())?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }
}

impl TryFrom<String> for ProjectPattern {
    type Error = AccessNameError;
    fn try_from(text: String) -> Result<Self, AccessNameError> {
        text.parse()
    }
}

impl From<ProjectPattern> for String {
    fn from(pattern: ProjectPattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for ProjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = AccessNameError;
    fn try_from(text: String) -> Result<Self, AccessNameError> {
        text.parse()
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AccountName {
    type Error = AccessNameError;
    fn try_from(text: String) -> Result<Self, AccessNameError> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{AccountName, ProjectName, ProjectPattern};

    #[test]
    fn what_names_a_project_or_an_account() {
        let check = |text: &str, is_project: bool, is_account: bool| {
            assert_eq!(text.parse::<ProjectName>().is_ok(), is_project, "{text}");
            assert_eq!(text.parse::<AccountName>().is_ok(), is_account, "{text}");
        };
        check("team-a", true, true);
        check("docker.io", true, true);
        check("registry.example_5000", true, true);
        check("a", true, true);
        for neither in ["", "A", "-a", "a-", "a/b", "a b", "a$b", "ä", &"a".repeat(65)] {
            check(neither, false, false);
        }
        // An account's name may repeat a separator, a repository's part may not.
        check("a..b", false, true);
    }

    #[test]
    fn a_pattern_stays_within_a_name() {
        let check = |pattern: &str, project: &str, expected: bool| {
            assert_eq!(pattern.parse::<ProjectPattern>().unwrap().matches(project), expected, "{pattern} {project}");
        };
        check("team-*", "team-a", true);
        check("team-*", "steam-a", false);
        check("*", "docker.io", true);
        check("docker.io", "dockerxio", false);
        for bad in ["", "a/b", "[", &"a".repeat(256)] {
            assert!(bad.parse::<ProjectPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_project_of_a_repository_is_its_first_part() {
        for (repository, project) in [("a/b/c", "a"), ("a", "a"), ("docker.io/library/nginx", "docker.io")] {
            assert_eq!(ProjectName::text_of(&repository.parse().unwrap()), project);
        }
    }
}
