//! The `policy.json` that podman, skopeo, CRI-O and buildah share (containers-policy.json(5)), read as a trust policy.
//!
//! There the closest scope decides alone, and what it lists must all hold. Images here come from registries, so that of the
//! transports `docker` has a meaning; the others say how images get elsewhere. What cannot be honoured is refused with its
//! line: GPG signatures, files of keys, scopes with a tag. `docs/containers-policy.md` has the whole mapping.

mod inline;
mod requirement;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::inline::{InlineError, inline};
use self::requirement::Requirements;
use super::document::shortened;
use super::error::PolicyError;
use super::fields::{Fields, refuse};
use super::rule::Rule;
use super::scope::{Scope, Scopes};
use super::trust::Trust;
use super::{DefaultAction, TrustPolicy};
use crate::limits::POLICY_RULES_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::verify::located_json;
use crate::verify::rule_names;
use crate::verify::sigstore::TrustedRoot;
use crate::verify::yaml::Node;

/// The roots within which an authority and a log are looked for.
pub type Roots<'a> = &'a dyn Fn() -> Vec<Arc<TrustedRoot>>;

/// The one transport that brings images here.
const DOCKER: &str = "docker";
/// Those that bring images elsewhere: what is said about them is not asked here.
const OTHER_TRANSPORTS: [&str; 10] = [
    "atomic",
    "containers-storage",
    "dir",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
];

/// The roots that this release brings.
pub fn bundled_roots() -> Vec<Arc<TrustedRoot>> {
    TrustedRoot::public_good().ok().map(Arc::new).into_iter().collect()
}

/// Whether a policy file is JSON: TOML never begins with a brace.
pub fn is_json_document(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// Parses a `policy.json`.
pub fn parse(bytes: &[u8], roots: Roots<'_>) -> Result<TrustPolicy, PolicyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::NotText)?;
    let document = located_json::parse(text).or_else(|error| refuse(error.line, &error.reason))?;
    let top = Fields::of(&document, "the document")?;
    top.allow_only(&["default", "transports"])?;
    let mut reading = Reading { trust: Trust::default(), rules: Vec::new(), roots };
    reading.scope(rule_names::DEFAULT, &Scope::Everything, top.required("default")?)?;
    if let Some(transports) = top.optional("transports") {
        let transports = Fields::of(transports, "transports")?;
        for entry in transports.entries() {
            match entry.key.as_str() {
                DOCKER => reading.docker(&entry.node)?,
                other if OTHER_TRANSPORTS.contains(&other) => {}
                other => return refuse(entry.line, &format!("transport '{}' is not known here", shortened(other))),
            }
        }
    }
    let Reading { trust, rules, .. } = reading;
    // There is a rule for every name, so that the default of the model is never asked.
    Ok(TrustPolicy::of(Digest::of(bytes), DefaultAction::Deny, trust, rules))
}

struct Reading<'a> {
    trust: Trust,
    rules: Vec<Rule>,
    roots: Roots<'a>,
}

impl Reading<'_> {
    fn docker(&mut self, node: &Node) -> Result<(), PolicyError> {
        for entry in Fields::of(node, "docker")?.entries() {
            let scope = scope(&entry.key).or_else(|reason| refuse(entry.line, &reason))?;
            let name = match entry.key.as_str() {
                "" => DOCKER.to_owned(),
                written => format!("{DOCKER}:{}", shortened(written)),
            };
            self.scope(&name, &scope, &entry.node)?;
        }
        Ok(())
    }

    /// What one scope asks, each requirement as a rule of its own: all of them must pass.
    fn scope(&mut self, name: &str, scope: &Scope, node: &Node) -> Result<(), PolicyError> {
        let list = Fields::list_of(node, name)?;
        for (number, node) in (1..).zip(list) {
            if self.rules.len() == POLICY_RULES_COUNT_MAX {
                return refuse(node.line, "there are more rules than are read");
            }
            let name = if list.len() == 1 { name.to_owned() } else { format!("{name} {number}") };
            let mut requirements = Requirements { rule: &name, trust: &mut self.trust, roots: self.roots };
            let (outright, signature) = requirements.parse(node)?;
            let scopes = Scopes::Closest(scope.clone());
            self.rules.push(Rule {
                name,
                scopes,
                outright,
                signature,
                attestations: Vec::new(),
                content: None,
                rego: None,
            });
        }
        Ok(())
    }
}

/// A scope of the transport `docker`: nothing, `*.DOMAIN`, or the beginning of a repository's name up to a slash.
fn scope(written: &str) -> Result<Scope, String> {
    if written.is_empty() {
        return Ok(Scope::Transport);
    }
    let shown = shortened(written);
    if let Some(domain) = written.strip_prefix("*.") {
        let is_domain = domain.parse::<RepositoryName>().is_ok() && !domain.contains('/');
        return match is_domain {
            true => Ok(Scope::Subdomains(domain.to_owned())),
            false => Err(format!("scope '{shown}': behind '*.' stands a domain, and nothing behind it")),
        };
    }
    if written.contains('@') {
        return Err(format!("scope '{shown}' names a digest: a rule here is about a whole repository"));
    }
    let (host, rest) = written.split_once('/').unwrap_or((written, ""));
    if rest.contains(':') {
        return Err(format!("scope '{shown}' names a tag: a rule here is about all tags of a repository"));
    }
    if host.contains(':') {
        return Err(format!("scope '{shown}' names a port: write the name under which the repository is kept here"));
    }
    match written.parse::<RepositoryName>() {
        Ok(name) => Ok(Scope::Below(name.as_str().to_owned())),
        Err(error) => Err(format!("scope '{shown}': {error}")),
    }
}
