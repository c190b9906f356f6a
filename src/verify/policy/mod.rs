//! Trust policies: which repositories must be signed by whom, and what must be attested about them.
//!
//! The format is described in `docs/trust-policy.md`. Parsed as written, then resolved to what it means; a policy that
//! could be misunderstood is refused when it is loaded, never when an image arrives.

pub mod attestor;
mod denial;
mod document;
mod error;
pub mod kyverno;
pub mod lint;
mod resolve;
#[cfg(test)]
mod tests;
mod trust;
mod written;

use std::collections::BTreeMap;

use globset::GlobSet;

pub use error::{PolicyError, Problem};

use self::attestor::{AttestorSet, KeylessAttestor, NotationAttestor};
pub use self::denial::{Denial, Denied};
use super::condition::Tree;
use super::key::PublicKey;
use super::pattern::Pattern;
use super::refusal::Refusal;
use super::rule_names;
use super::sigstore::trusted_root::Span;
use crate::limits::POLICY_BYTES_MAX;
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
    /// Keys that count only for a span of time.
    key_spans: BTreeMap<String, Span>,
    identities: BTreeMap<String, KeylessAttestor>,
    notation: BTreeMap<String, NotationAttestor>,
    denials: Vec<Denial>,
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

/// Signatures by enough of those named.
#[derive(Clone, Debug)]
pub(super) struct SignatureRule {
    pub attestors: AttestorSet,
}

/// An attestation of one type, by enough of those named, whose builder and build type match one pattern each where patterns
/// are given, and whose content satisfies the conditions.
#[derive(Clone, Debug)]
pub(super) struct AttestationRule {
    pub predicate_type: String,
    pub attestors: AttestorSet,
    pub builders: Vec<Pattern>,
    pub build_types: Vec<Pattern>,
    pub conditions: Option<Tree>,
}

impl TrustPolicy {
    /// Parses a policy file: our own TOML, or a policy that was written for Kyverno.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge(bytes.len()));
        }
        if kyverno::is_kubernetes_document(bytes) {
            return kyverno::parse(bytes, &kyverno::bundled_roots);
        }
        let written = written::parse(bytes)?;
        let trust = trust::resolve(&written)?;
        Ok(Self {
            digest: Digest::of(bytes),
            default: resolve::default(&written)?,
            rules: resolve::rules(&written, &trust)?,
            denials: denial::resolve(&written.denials)?,
            keys: trust.keys,
            key_spans: trust.key_spans,
            identities: trust.identities,
            notation: trust.notation,
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

    /// From when to when a key counts, where it does not always.
    pub fn key_span(&self, name: &str) -> Option<Span> {
        self.key_spans.get(name).copied()
    }

    /// The keyless identities, by name.
    pub const fn identities(&self) -> &BTreeMap<String, KeylessAttestor> {
        &self.identities
    }

    /// Notation's attestors, by name.
    pub const fn notation(&self) -> &BTreeMap<String, NotationAttestor> {
        &self.notation
    }

    /// Why something is denied at `now` whatever its signatures say; `None` where it is not.
    pub fn denied(&self, what: &Denied<'_>, now: jiff::Timestamp) -> Option<&Denial> {
        self.denials.iter().find(|denial| denial.is_about(what, now))
    }

    /// Why an image is refused at `now` because the deny list names it.
    pub fn refusal_of_denied(&self, image: &Digest, now: jiff::Timestamp) -> Option<Refusal> {
        self.denied(&Denied::Digest(image), now).map(|denial| Refusal {
            rule: rule_names::DENY_LIST.to_owned(),
            reason: format!("the deny list names this image: {}", denial.reason),
            next_step: Some("use another version of it".to_owned()),
        })
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
