//! An image's name in a registry elsewhere, as a person types it: `REGISTRY/REPOSITORY:TAG`.

use std::fmt;
use std::str::FromStr;

use super::name::{NameError, RepositoryName, Tag};
use crate::limits::HOST_BYTES_MAX;

/// A tag in a repository of a registry that is named by its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteName {
    /// Host and, where there is one, port.
    registry: String,
    repository: RepositoryName,
    tag: Tag,
}

/// Why a text is not the name of an image elsewhere.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RemoteNameError {
    #[error("'{0}' is not REGISTRY/REPOSITORY:TAG, such as registry.example:5000/tools/postern:1.0")]
    Form(String),
    #[error("'{0}' is not a host, or a host and a port")]
    Registry(String),
    #[error(transparent)]
    Name(#[from] NameError),
}

impl RemoteName {
    /// Host and, where there is one, port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's name there.
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The tag.
    pub const fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Whether the host is this machine by its very name, so that nothing said to it leaves the machine.
    pub fn is_loopback(&self) -> bool {
        let (host, _) = split_port(&self.registry);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<core::net::IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Host and port; an IPv6 address stands in brackets.
fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = split_port(text);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok()),
        None => {
            let letters = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            host.split('.').all(|label| !label.is_empty() && letters(label))
        }
    };
    text.len() <= HOST_BYTES_MAX && is_host && port.is_none_or(is_port)
}

impl FromStr for RemoteName {
    type Err = RemoteNameError;

    fn from_str(text: &str) -> Result<Self, RemoteNameError> {
        let shown = |text: &str| text.chars().take(300).collect::<String>();
        let form = || RemoteNameError::Form(shown(text));
        let (registry, rest) = text.split_once('/').ok_or_else(form)?;
        let (repository, tag) = rest.rsplit_once(':').ok_or_else(form)?;
        if rest.contains('@') {
            return Err(form());
        }
        if !is_registry(registry) {
            return Err(RemoteNameError::Registry(shown(registry)));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.parse()?, tag: tag.parse()? })
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::{RemoteName, RemoteNameError};

    #[test]
    fn names_read_as_they_are_written() {
        let check = |text: &str, loopback: bool| {
            let name: RemoteName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.is_loopback(), loopback, "{text}");
        };
        check("registry.example/postern:1.0", false);
        check("registry.example:5000/tools/postern:1.0", false);
        check("localhost:5000/a:b", true);
        check("127.1.2.3:5000/a:b", true);
        check("[::1]:5000/a:b", true);
        check("[2001:db8::1]/a:b", false);
        check("127.0.0.1.example/a:b", false);
    }

    #[test]
    fn refuses_what_could_mean_something_else() {
        let check = |text: &str| text.parse::<RemoteName>().unwrap_err();
        for text in ["a:b", "host/a", "host/a@sha256:00", ""] {
            assert!(matches!(check(text), RemoteNameError::Form(_)), "{text}");
        }
        for text in
            ["/a:b", "user@host/a:b", "host:/a:b", "host:99999/a:b", "ho st/a:b", "[::1/a:b", "a..b/c:d", "::1/a:b"]
        {
            assert!(matches!(check(text), RemoteNameError::Registry(_)), "{text}");
        }
        for text in ["host/A:b", "host/a:-", "host/:b"] {
            assert!(matches!(check(text), RemoteNameError::Name(_)), "{text}");
        }
    }
}
