//! Repository names, tags and references (OCI distribution specification, "Pulling manifests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::{Digest, DigestError};
use crate::limits::{REPOSITORY_NAME_BYTES_MAX, TAG_BYTES_MAX};

/// A repository's name: lower-case path components, such as `registry.example/library/nginx`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// What stands behind a repository's name in a pull: a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

/// A repository and a reference in it, as a person writes it: `NAME:TAG` or `NAME@DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    pub repository: RepositoryName,
    pub reference: Reference,
}

/// Why a text is not a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    #[error(
        "repository name '{0}' is not valid: lower-case letters, digits and single separators ('.', '_', '__', '-') in components joined by '/'"
    )]
    Repository(String),
    #[error("tag '{0}' is not valid: a letter, digit or '_', then at most 127 letters, digits, '_', '.' or '-'")]
    Tag(String),
    #[error("reference '{0}' names no tag and no digest: write NAME:TAG or NAME@sha256:…")]
    NoReference(String),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

fn shown(text: &str) -> String {
    text.chars().take(300).collect()
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the specification's path component.
fn is_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    bytes
        .split(alphanumeric)
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-'))
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first path component, and what follows it when there is more than one.
    pub fn split_first(&self) -> (&str, Option<&str>) {
        match self.0.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (&self.0, None),
        }
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > REPOSITORY_NAME_BYTES_MAX || !text.split('/').all(is_component) {
            return Err(NameError::Repository(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = text.len() <= TAG_BYTES_MAX
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Tag(shown(text))) }
    }
}

impl FromStr for Reference {
    type Err = NameError;

    /// A text with a colon is a digest, any other a tag: a tag can hold no colon.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl FromStr for ImageReference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some((repository, digest)) = text.split_once('@') {
            return Ok(Self { repository: repository.parse()?, reference: Reference::Digest(digest.parse()?) });
        }
        match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => {
                Ok(Self { repository: repository.parse()?, reference: Reference::Tag(tag.parse()?) })
            }
            _ => Err(NameError::NoReference(shown(text))),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.reference, Reference::Tag(_)) { ':' } else { '@' };
        write!(f, "{}{separator}{}", self.repository, self.reference)
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_type!(RepositoryName, Tag, Reference, ImageReference);

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ImageReference, Reference, RepositoryName, Tag};

    #[test]
    fn repository_names() {
        let check = |text: &str, good: bool| assert_eq!(text.parse::<RepositoryName>().is_ok(), good, "{text}");
        for good in ["a", "library/nginx", "registry.example/a_b/c__d/e-f/g---h", "0/1"] {
            check(good, true);
        }
        for bad in ["", "/", "a/", "/a", "A", "a//b", "a..b", "a___b", "-a", "a-", "a/../b", "a:b", "a b", "ä"] {
            check(bad, false);
        }
        check(&"a".repeat(255), true);
        check(&"a".repeat(256), false);
    }

    #[test]
    fn tags() {
        let check = |text: &str, good: bool| assert_eq!(text.parse::<Tag>().is_ok(), good, "{text}");
        for good in ["v1.0", "_x", "latest", "sha256-00.sig", "A-b_c.d"] {
            check(good, true);
        }
        for bad in ["", ".a", "-a", "a:b", "a/b", "a b", "a+b"] {
            check(bad, false);
        }
        check(&"a".repeat(128), true);
        check(&"a".repeat(129), false);
    }

    #[test]
    fn image_references() {
        let parsed: ImageReference = "registry.example/a/b:v1".parse().unwrap();
        assert_eq!(parsed.repository.as_str(), "registry.example/a/b");
        assert!(matches!(parsed.reference, Reference::Tag(_)));
        assert_eq!(parsed.to_string(), "registry.example/a/b:v1");
        assert!("registry.example/a/b".parse::<ImageReference>().is_err());
        assert!("a@sha256:00".parse::<ImageReference>().is_err());
    }
}
