//! Projects: what they are for, who sees them, and how much they hold. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::network::Network;

/// Where the content of a project comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectKind {
    /// People and pipelines push to it.
    #[default]
    Hosted,
    /// Its upstream fills it; nobody pushes.
    Mirror,
    /// Transfer bundles fill it; nobody pushes.
    Imported,
}

impl ProjectKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hosted => "hosted",
            Self::Mirror => "mirror",
            Self::Imported => "imported",
        }
    }
}

/// Who pulls from a project without a right of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Nobody.
    #[default]
    Private,
    /// Whoever has signed in.
    Internal,
    /// Anyone, from the networks that the project names, or from anywhere where it names none.
    Public,
}

impl Visibility {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }
}

/// What becomes of an image of a project that the trust policy refuses. What the deny list names is served in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// It does not come in, and what is here already is not served.
    #[default]
    Enforce,
    /// It comes in all the same, pushed, mirrored or in a bundle, and is served with a warning.
    Audit,
    /// The same, without a warning.
    Open,
}

impl Enforcement {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
            Self::Open => "open",
        }
    }

    /// Whether what is refused stays outside.
    pub const fn enforces(self) -> bool {
        matches!(self, Self::Enforce)
    }

    const fn is_default(&self) -> bool {
        matches!(self, Self::Enforce)
    }
}

/// A project: all repositories whose names begin with its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Given when it is added; 0 until then.
    #[serde(default)]
    pub number: u64,
    #[serde(default)]
    pub kind: ProjectKind,
    #[serde(default)]
    pub visibility: Visibility,
    /// What becomes of what the trust policy refuses.
    #[serde(default, skip_serializing_if = "Enforcement::is_default")]
    pub enforcement: Enforcement,
    /// From where it is pulled without signing in, where it is public; from anywhere where this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anonymous_networks: Vec<Network>,
    /// Id of the user who owns it, and is its admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Most bytes that its repositories may hold together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes_max: Option<u64>,
    /// Most tags that its repositories may have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags_count_max: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

impl Project {
    /// Whether anyone at `remote` may pull without signing in. Somebody without an address is nobody.
    pub fn is_open_to(&self, remote: Option<IpAddr>) -> bool {
        let is_near = |remote| {
            self.anonymous_networks.is_empty() || self.anonymous_networks.iter().any(|network| network.holds(remote))
        };
        self.visibility == Visibility::Public && remote.is_some_and(is_near)
    }
}

#[cfg(test)]
mod tests {
    use super::{Project, Visibility};

    #[test]
    fn only_a_public_project_is_open_and_only_to_its_networks() {
        let mut project = Project { visibility: Visibility::Public, ..Project::default() };
        let near = Some("10.1.2.3".parse().unwrap());
        assert!(project.is_open_to(near) && !project.is_open_to(None));
        project.anonymous_networks = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(project.is_open_to(near) && !project.is_open_to(Some("192.0.2.1".parse().unwrap())));
        project.visibility = Visibility::Internal;
        assert!(!project.is_open_to(near));
    }
}
