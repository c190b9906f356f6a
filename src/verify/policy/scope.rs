//! Of which repositories a rule speaks.
//!
//! There are two ways to choose rules, and a policy says which it means: patterns, of which every one that matches counts;
//! and scopes, of which the closest counts alone (containers-policy.json(5), Binary Authorization). An image with two names
//! is judged under both, so that giving it another name takes no rule away.

use globset::GlobSet;

use super::rule::Rule;
use crate::oci::name::RepositoryName;

/// Of which repositories a rule speaks.
#[derive(Clone, Debug)]
pub enum Scopes {
    /// Those that match, whatever other rules say.
    Patterns(GlobSet),
    /// Those for which no other rule of this kind says more.
    Closest(Scope),
}

/// A scope, from the widest to the closest.
#[derive(Clone, Debug)]
pub enum Scope {
    /// What nothing else speaks of.
    Everything,
    /// The same, said by the transport: closer than the default of the file.
    Transport,
    /// Every host below this domain, such as `example.com` for `*.example.com`.
    Subdomains(String),
    /// A host, a namespace or a repository, and everything below it.
    Below(String),
    /// What any of these patterns matches, before everything else.
    Exempt(GlobSet),
}

/// How close a scope is to a name: the kind, and then how much of the name it says.
pub type Closeness = (u8, usize);

impl Scope {
    fn closeness(&self, name: &RepositoryName) -> Option<Closeness> {
        let text = name.as_str();
        match self {
            Self::Everything => Some((0, 0)),
            Self::Transport => Some((1, 0)),
            Self::Subdomains(domain) => {
                let (host, _) = name.split_first();
                let below =
                    host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
                below.then_some((2, domain.len()))
            }
            Self::Below(prefix) => {
                let rest = text.strip_prefix(prefix.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')).then_some((3, prefix.len()))
            }
            Self::Exempt(patterns) => patterns.is_match(text).then_some((4, 0)),
        }
    }
}

impl Scopes {
    /// Whether the rule speaks of `name`, where `closest` is how close the closest scope of the policy is to it.
    pub fn speaks_of(&self, name: &RepositoryName, closest: Option<Closeness>) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.is_match(name.as_str()),
            Self::Closest(scope) => scope.closeness(name).is_some_and(|found| Some(found) == closest),
        }
    }

    /// Whether it is the scope of everything that nothing else speaks of.
    pub const fn are_everything(&self) -> bool {
        matches!(self, Self::Closest(Scope::Everything | Scope::Transport))
    }
}

/// How close the closest scope of `rules` is to `name`; `None` where none of them is that kind of rule, or none matches.
pub fn closest(rules: &[Rule], name: &RepositoryName) -> Option<Closeness> {
    let scopes = rules.iter().filter_map(|rule| match &rule.scopes {
        Scopes::Closest(scope) => scope.closeness(name),
        Scopes::Patterns(_) => None,
    });
    scopes.max()
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn the_closest_scope_is_the_one_that_says_most() {
        let check = |scope: Scope, name: &str, expected: Option<(u8, usize)>| {
            assert_eq!(scope.closeness(&name.parse().unwrap()), expected, "{scope:?} {name}");
        };
        let below = |text: &str| Scope::Below(text.to_owned());
        let domain = |text: &str| Scope::Subdomains(text.to_owned());
        check(below("a.example"), "a.example/x/y", Some((3, 9)));
        check(below("a.example/x"), "a.example/x/y", Some((3, 11)));
        check(below("a.example/x/y"), "a.example/x/y", Some((3, 13)));
        check(below("a.example/x"), "a.example/xy", None);
        check(below("a.example"), "a.example.evil/x", None);
        check(below("a.example"), "b/a.example/x", None);
        check(domain("example"), "a.example/x", Some((2, 7)));
        check(domain("example"), "b.a.example/x", Some((2, 7)));
        check(domain("a.example"), "b.a.example/x", Some((2, 9)));
        check(domain("example"), "example/x", None);
        check(domain("example"), "evilexample/x", None);
        check(domain("example"), "x/a.example", None);
        check(Scope::Transport, "x", Some((1, 0)));
        check(Scope::Everything, "x", Some((0, 0)));
    }
}
