//! An image as a Pod names it, read as container runtimes read it (the grammar of distribution's `reference` package).

use std::fmt;
use std::str::FromStr;

use crate::oci::name::{Reference, RepositoryName};

/// The registry of a name that has none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Another name of the same.
const OLD_DEFAULT_REGISTRY: &str = "index.docker.io";
/// What runtimes put before a name of one component there.
const OFFICIAL: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// Longest text that is looked at.
const TEXT_BYTES_MAX: usize = 1_024;

/// Registry, repository and reference, none of them left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodImage {
    /// Host and port, in lower case.
    pub registry: String,
    pub path: RepositoryName,
    pub reference: Reference,
}

/// Why a Pod's image is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodImageError {
    #[error("no image is named")]
    Empty,
    #[error("this is not the name of an image: {0}")]
    Name(String),
}

impl FromStr for PodImage {
    type Err = PodImageError;

    fn from_str(text: &str) -> Result<Self, PodImageError> {
        if text.is_empty() {
            return Err(PodImageError::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(PodImageError::Name("it is too long".to_owned()));
        }
        let wrong = |why: &dyn fmt::Display| PodImageError::Name(why.to_string());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(|error| wrong(&error))?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(name);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag.parse().map_err(|error| wrong(&error))?)),
            None => (rest, None),
        };
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{OFFICIAL}/{path}")
        } else {
            path.to_owned()
        };
        let reference = match (digest, tag) {
            // With both, runtimes pull by the digest and never look at the tag.
            (Some(digest), _) => Reference::Digest(digest),
            (None, Some(tag)) => Reference::Tag(tag),
            (None, None) => Reference::Tag(DEFAULT_TAG.parse().map_err(|error| wrong(&error))?),
        };
        Ok(Self { registry, path: path.parse().map_err(|error| wrong(&error))?, reference })
    }
}

/// The registry that a name begins with, and what follows.
fn split_registry(name: &str) -> (String, &str) {
    let default = || DEFAULT_REGISTRY.to_owned();
    match name.split_once('/') {
        Some((first, rest)) if is_host(first) => {
            let host = first.to_ascii_lowercase();
            (if host == OLD_DEFAULT_REGISTRY { default() } else { host }, rest)
        }
        _ => (default(), name),
    }
}

/// A first component is a host where it could not be a part of a path, or could be but means this machine.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::{PodImage, PodImageError};
    use crate::oci::digest::Digest;

    #[test]
    fn names_are_read_as_runtimes_read_them() {
        let digest = Digest::of(b"image");
        let check = |text: &str, registry: &str, path: &str, reference: &str| {
            let image: PodImage = text.parse().unwrap();
            let read = (image.registry.as_str(), image.path.as_str(), image.reference.to_string());
            assert_eq!(read, (registry, path, reference.to_owned()), "{text}");
        };
        check("nginx", "docker.io", "library/nginx", "latest");
        check("nginx:1.27", "docker.io", "library/nginx", "1.27");
        check("team/web", "docker.io", "team/web", "latest");
        check("index.docker.io/nginx", "docker.io", "library/nginx", "latest");
        check("registry.example/web:2", "registry.example", "web", "2");
        check("Registry.Example:5000/apps/web", "registry.example:5000", "apps/web", "latest");
        check("localhost/web", "localhost", "web", "latest");
        check("HOST/web", "host", "web", "latest");
        let pinned = format!("registry.example:5000/web:2@{digest}");
        check(&pinned, "registry.example:5000", "web", &digest.to_string());
    }

    #[test]
    fn what_is_no_name_is_not_guessed_at() {
        let long = "a".repeat(2_000);
        let wrong = [
            "nginx:",
            "nginx@",
            "nginx@sha256:00",
            "a b",
            "registry.example/",
            "registry.example/Web",
            ":1",
            "/a",
            &long,
        ];
        for text in wrong {
            assert!(matches!(text.parse::<PodImage>(), Err(PodImageError::Name(_))), "{text}");
        }
        assert_eq!("".parse::<PodImage>(), Err(PodImageError::Empty));
    }
}
