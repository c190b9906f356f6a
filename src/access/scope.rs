//! Scopes of tokens, as the registries' token protocol writes them (`repository:team-a/web:pull,push`). Pure.
//!
//! A scope asks for something; whether it is granted is decided for each request, so a token that was given a scope is only
//! narrower than its account, never wider.

use serde::{Deserialize, Serialize};

use super::role::Action;
use crate::limits::SCOPES_COUNT_MAX;
use crate::oci::name::RepositoryName;

/// What a token may be used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `repository`, or `registry` for what concerns no single one.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<Action>,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let actions: Vec<_> = self.actions.iter().map(|action| action.as_str()).collect();
        write!(f, "{}:{}:{}", self.kind, self.name, actions.join(","))
    }
}

/// Longest scope that is read.
const SCOPE_BYTES_MAX: usize = 512;

/// The scopes in one parameter. Those of unknown kinds and unknown actions ask for nothing that there is here, and are left
/// out: clients ask for more than one registry knows.
pub fn parse(text: &str) -> Vec<Scope> {
    text.split(' ').filter(|scope| !scope.is_empty()).filter_map(parse_one).take(SCOPES_COUNT_MAX).collect()
}

fn parse_one(text: &str) -> Option<Scope> {
    if text.len() > SCOPE_BYTES_MAX {
        return None;
    }
    let (kind, rest) = text.split_once(':')?;
    let (name, words) = rest.rsplit_once(':')?;
    // Old clients write `repository(plugin)`.
    let kind = kind.split('(').next().unwrap_or(kind);
    let is_known = match kind {
        "repository" => name.parse::<RepositoryName>().is_ok(),
        "registry" => name == "catalog",
        _ => false,
    };
    let actions = actions(words);
    (is_known && !actions.is_empty()).then(|| Scope { kind: kind.to_owned(), name: name.to_owned(), actions })
}

fn actions(words: &str) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    for word in words.split(',') {
        match word {
            "*" => actions.extend([Action::Pull, Action::Push, Action::Delete]),
            "pull" => actions.push(Action::Pull),
            "push" => actions.push(Action::Push),
            "delete" => actions.push(Action::Delete),
            _ => {}
        }
    }
    actions.sort_unstable();
    actions.dedup();
    actions
}

/// How a client asks for a token that allows `action` on `repository`. Pushing asks for pulling too: every push looks at
/// what is there first.
pub fn wanted(repository: &RepositoryName, action: Action) -> String {
    match action {
        Action::Push => format!("repository:{repository}:pull,push"),
        action => format!("repository:{repository}:{}", action.as_str()),
    }
}

/// Whether one of the scopes covers it.
pub fn covers(scopes: &[Scope], repository: &RepositoryName, action: Action) -> bool {
    scopes
        .iter()
        .any(|scope| scope.kind == "repository" && scope.name == repository.as_str() && scope.actions.contains(&action))
}

#[cfg(test)]
mod tests {
    use super::{covers, parse, wanted};
    use crate::access::role::Action;

    #[test]
    fn scopes_are_read_and_what_is_unknown_is_left_out() {
        let check = |text: &str, expected: &[(&str, &[Action])]| {
            let scopes = parse(text);
            let found: Vec<_> = scopes.iter().map(|scope| (scope.name.as_str(), scope.actions.as_slice())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("repository:team-a/web:pull,push", &[("team-a/web", &[Action::Pull, Action::Push])]);
        check("repository:a:push,pull,push", &[("a", &[Action::Pull, Action::Push])]);
        check(
            "repository:a:* repository:b:pull",
            &[("a", &[Action::Pull, Action::Push, Action::Delete]), ("b", &[Action::Pull])],
        );
        check("registry:catalog:*", &[("catalog", &[Action::Pull, Action::Push, Action::Delete])]);
        check("repository:a:manage repository:A:pull other:a:pull repository:a", &[]);
        check("", &[]);
        assert_eq!(parse(&"repository:a:pull ".repeat(100)).len(), 64);
    }

    #[test]
    fn a_scope_covers_its_repository_alone() {
        let (a, b) = ("a/x".parse().unwrap(), "a/y".parse().unwrap());
        let scopes = parse(&wanted(&a, Action::Push));
        assert!(covers(&scopes, &a, Action::Push) && covers(&scopes, &a, Action::Pull));
        assert!(!covers(&scopes, &a, Action::Delete) && !covers(&scopes, &b, Action::Pull));
    }
}
