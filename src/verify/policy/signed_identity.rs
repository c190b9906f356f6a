//! The name that a signature says the image has, where a policy looks at it (containers-policy.json(5), `signedIdentity`).
//!
//! A signature of `registry.example/app` says nothing about `registry.example/other`, even where somebody put the very same
//! image there: whoever signed it may have meant a version that is not to run under the other name.

use std::fmt;

use crate::oci::name::{RepositoryName, Tag};

/// A name as tools write it into a signature or a policy, with what they leave out put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedName {
    /// Registry and repository.
    pub repository: String,
    /// What stands behind it, with its sign: `:1.0`, `@sha256:…`, or nothing.
    pub version: String,
}

/// What that name must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedIdentity {
    /// The image's name with its tag: what has none is never meant.
    Exact,
    /// The image's name with its tag; its repository alone where the image comes without a tag. Before that, names below the
    /// first are taken for names below the second.
    DigestOrExact { remap: Option<(String, String)> },
    /// The image's repository, under whatever tag.
    Repository,
    /// This name.
    ExactReference(SignedName),
    /// This repository, under whatever tag.
    ExactRepository(String),
}

impl SignedName {
    /// A name as it is written. Docker's own registry may be left out, and is known by two names.
    pub fn parse(text: &str) -> Self {
        let (name, version) = match text.split_once('@') {
            Some((name, _)) => (name, &text[name.len()..]),
            None => match text.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => (name, &text[name.len()..]),
                _ => (text, ""),
            },
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => ("docker.io", name),
        };
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        let library = if host == "docker.io" && !path.contains('/') { "library/" } else { "" };
        Self { repository: format!("{host}/{library}{path}"), version: version.to_owned() }
    }
}

impl fmt::Display for SignedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, self.version)
    }
}

impl SignedIdentity {
    /// Whether a signature that says `signed` is one of the image that is called `name` and is to have `tag`.
    pub fn accepts(&self, signed: &SignedName, name: &RepositoryName, tag: Option<&Tag>) -> bool {
        let tagged = |tag: &Tag| format!(":{tag}");
        match self {
            Self::Exact => tag.is_some_and(|tag| signed.repository == name.as_str() && signed.version == tagged(tag)),
            Self::DigestOrExact { remap } => {
                let is_version = tag.is_none_or(|tag| signed.version == tagged(tag));
                signed.repository == remapped(name.as_str(), remap.as_ref()) && is_version
            }
            Self::Repository => signed.repository == name.as_str(),
            Self::ExactReference(wanted) => signed == wanted,
            Self::ExactRepository(wanted) => signed.repository == *wanted,
        }
    }

    /// What is wanted for such an image, for a person.
    pub fn wanted(&self, name: &RepositoryName, tag: Option<&Tag>) -> String {
        let version = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        match self {
            Self::Exact if tag.is_none() => format!("'{name}' with a tag, and the image comes without one"),
            Self::Exact => format!("'{name}{version}'"),
            Self::DigestOrExact { remap } => format!("'{}{version}'", remapped(name.as_str(), remap.as_ref())),
            Self::Repository => format!("'{name}'"),
            Self::ExactReference(wanted) => format!("'{wanted}'"),
            Self::ExactRepository(wanted) => format!("'{wanted}'"),
        }
    }
}

fn remapped(name: &str, remap: Option<&(String, String)>) -> String {
    let Some((prefix, signed)) = remap else { return name.to_owned() };
    match name.strip_prefix(prefix.as_str()) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{signed}{rest}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{SignedIdentity, SignedName};

    #[test]
    fn what_tools_leave_out_is_put_in() {
        let check = |text: &str, repository: &str, version: &str| {
            let name = SignedName::parse(text);
            assert_eq!((name.repository.as_str(), name.version.as_str()), (repository, version), "{text}");
        };
        check("busybox", "docker.io/library/busybox", "");
        check("busybox:1.0", "docker.io/library/busybox", ":1.0");
        check("team/app", "docker.io/team/app", "");
        check("index.docker.io/library/busybox", "docker.io/library/busybox", "");
        check("docker.io/busybox:1", "docker.io/library/busybox", ":1");
        check("registry.example:5000/app", "registry.example:5000/app", "");
        check("registry.example:5000/app:1", "registry.example:5000/app", ":1");
        check("localhost/app@sha256:00", "localhost/app", "@sha256:00");
        check("", "docker.io/library/", "");
    }

    /// Every kind of identity, on a name with a tag and without one.
    #[test]
    fn who_is_meant_by_a_signature() {
        let signed = |text: &str| SignedName::parse(text);
        let check = |identity: &SignedIdentity, text: &str, tag: Option<&str>, expected: bool| {
            let tag = tag.map(|tag| tag.parse().unwrap());
            let name = "mirror.example/team/app".parse().unwrap();
            assert_eq!(identity.accepts(&signed(text), &name, tag.as_ref()), expected, "{identity:?} {text} {tag:?}");
        };
        let own = "mirror.example/team/app";
        for (text, exact, or_exact, repository) in [
            ("mirror.example/team/app:1", true, true, true),
            ("mirror.example/team/app:2", false, false, true),
            ("mirror.example/team/app", false, false, true),
            ("mirror.example/team/app-evil:1", false, false, false),
            ("mirror.example/team:1", false, false, false),
            ("", false, false, false),
        ] {
            check(&SignedIdentity::Exact, text, Some("1"), exact);
            check(&SignedIdentity::Exact, text, None, false);
            let digest_or_exact = SignedIdentity::DigestOrExact { remap: None };
            check(&digest_or_exact, text, Some("1"), or_exact);
            check(&digest_or_exact, text, None, repository);
            check(&SignedIdentity::Repository, text, Some("1"), repository);
        }
        let remap = |from: &str| SignedIdentity::DigestOrExact {
            remap: Some((from.to_owned(), "vendor.example/pub".to_owned())),
        };
        check(&remap("mirror.example"), "vendor.example/pub/team/app:1", Some("1"), true);
        check(&remap("mirror.example"), "vendor.example/pub/team/app:2", Some("1"), false);
        check(&remap("mirror.example"), "mirror.example/team/app:1", Some("1"), false);
        check(&remap("mirror.example/team/app"), "vendor.example/pub:1", Some("1"), true);
        check(&remap("mirror.example/te"), "vendor.example/pubam/app:1", Some("1"), false);
        check(&remap("elsewhere"), &format!("{own}:1"), Some("1"), true);
        let reference = SignedIdentity::ExactReference(signed("vendor.example/app:1"));
        check(&reference, "vendor.example/app:1", None, true);
        check(&reference, "vendor.example/app:2", None, false);
        check(&reference, &format!("{own}:1"), Some("1"), false);
        let repository = SignedIdentity::ExactRepository("vendor.example/app".to_owned());
        check(&repository, "vendor.example/app:9", Some("1"), true);
        check(&repository, "vendor.example/app2:9", Some("1"), false);
    }
}
