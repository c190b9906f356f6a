//! Roles and what they allow. Pure.

use serde::{Deserialize, Serialize};

/// Something that is done to a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Pull,
    Push,
    Delete,
    /// Its settings, members and robots.
    Manage,
}

impl Action {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Manage];

    /// The word for it, as token scopes write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Manage => "manage",
        }
    }
}

/// What an account is in a project. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Pulls.
    Reader,
    /// Pushes.
    Pusher,
    /// Deletes.
    Maintainer,
    /// Manages settings, members and robots.
    Admin,
}

impl Role {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Pusher, Self::Maintainer, Self::Admin];

    /// Whether the role may do it.
    pub const fn allows(self, action: Action) -> bool {
        self as u8 >= action as u8
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Pusher => "pusher",
            Self::Maintainer => "maintainer",
            Self::Admin => "admin",
        }
    }
}

/// There is no such role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no role: there are reader, pusher, maintainer and admin")]
pub struct NoRole(String);

impl std::str::FromStr for Role {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Self, NoRole> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| NoRole(text.chars().take(40).collect()))
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Role};

    #[test]
    fn each_role_may_what_those_before_it_may_and_one_thing_more() {
        for (count, role) in (1..).zip(Role::ALL) {
            let allowed: Vec<_> = Action::ALL.into_iter().filter(|action| role.allows(*action)).collect();
            assert_eq!(allowed, Action::ALL[..count], "{role}");
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
