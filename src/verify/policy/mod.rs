//! Trust policies: which repositories must be signed by whom, and what must be attested about them.
//!
//! The format is described in `docs/trust-policy.md`. Parsed as written, then resolved to what it means; a policy that
//! could be misunderstood is refused when it is loaded, never when an image arrives.

mod document;
mod error;
mod resolve;
#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeMap;

use globset::GlobSet;

pub use error::{PolicyError, Problem};

use super::key::PublicKey;
use super::pattern::Pattern;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;

/// What holds where no policy was ever activated: nothing is trusted, nothing comes in.
const EMBEDDED: &[u8] = b"# No trust policy is active: nothing is trusted.\nversion = 1\ndefault = \"deny\"\n";

/// A policy, ready to be applied.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    digest: Digest,
    default: DefaultAction,
    keys: BTreeMap<String, PublicKey>,
    rules: Vec<Rule>,
}

/// What becomes of an image for whose local name there is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    Deny,
    Admit,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) name: String,
    pub(super) scopes: GlobSet,
    pub(super) signature: Option<SignatureRule>,
    pub(super) attestations: Vec<AttestationRule>,
}

/// Signatures by at least `count` distinct keys of `keys`.
#[derive(Clone, Debug)]
pub(super) struct SignatureRule {
    pub keys: Vec<String>,
    pub count: usize,
}

/// An attestation of one type, by any of `keys`, whose builder and build type match one pattern each where patterns are
/// given.
#[derive(Clone, Debug)]
pub(super) struct AttestationRule {
    pub predicate_type: String,
    pub keys: Vec<String>,
    pub builders: Vec<Pattern>,
    pub build_types: Vec<Pattern>,
}

impl TrustPolicy {
    /// Parses a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let written = written::parse(bytes)?;
        let keys = resolve::keys(&written)?;
        Ok(Self {
            digest: Digest::of(bytes),
            default: resolve::default(&written)?,
            rules: resolve::rules(&written, &keys)?,
            keys,
        })
    }

    /// The policy of a device that was given none: deny everything.
    pub fn embedded() -> Self {
        Self::parse(EMBEDDED).expect("the embedded policy is checked by a test")
    }

    /// SHA-256 of the file.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What happens where no rule matches.
    pub const fn default(&self) -> DefaultAction {
        self.default
    }

    /// The keys, by name.
    pub const fn keys(&self) -> &BTreeMap<String, PublicKey> {
        &self.keys
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    /// The name that a refusal shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the rule speaks of this repository.
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        self.scopes.is_match(repository.as_str())
    }
}
