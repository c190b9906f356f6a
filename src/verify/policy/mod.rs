//! Trust policies: which repositories must be signed by whom, and what must be attested about them.
//!
//! The format is described in `docs/trust-policy.md`. Parsed as written, then resolved to what it means; a policy that
//! could be misunderstood is refused when it is loaded, never when an image arrives.

pub mod attestor;
mod binary_authorization;
pub mod cases;
pub mod containers;
pub(super) mod content_rule;
mod denial;
mod document;
mod error;
mod fields;
pub mod kyverno;
pub mod lint;
pub mod objects;
pub(super) mod rego_rule;
mod resolve;
mod rule;
mod scope;
mod signed_identity;
#[cfg(test)]
mod tests;
mod trust;
mod written;

use std::collections::BTreeMap;

pub use error::{PolicyError, Problem};

use self::attestor::{KeylessAttestor, NotationAttestor};
pub use self::denial::{Denial, Denied};
pub use self::objects::{ObjectKind, ObjectName, ObjectNameError, TrustObject, TrustObjects};
pub use self::rule::Rule;
pub(super) use self::rule::{Applicable, AttestationRule, SignatureRule};
pub(super) use self::signed_identity::{SignedIdentity, SignedName};
use self::trust::Trust;
use super::content::Wanted;
use super::key::PublicKey;
use super::refusal::Refusal;
use super::rule_names;
use super::sigstore::trusted_root::Span;
use crate::limits::POLICY_BYTES_MAX;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::name::RepositoryName;

/// What holds where the one in force cannot be read: the same, and its digest is another.
const UNREADABLE: &[u8] =
    b"# The trust policy in force cannot be read: nothing is trusted.\nversion = 1\ndefault = \"deny\"\n";

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

impl TrustPolicy {
    /// What holds where no policy was ever activated: nothing is trusted, nothing comes in.
    pub const EMBEDDED: &str = "# No trust policy is active: nothing is trusted.\nversion = 1\ndefault = \"deny\"\n";

    /// Parses a policy file that refers to nothing outside it.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        Self::parse_with(bytes, &TrustObjects::default())
    }

    /// Parses a policy file: our own TOML, which may refer to `objects`, or a policy that was written for Kyverno.
    pub fn parse_with(bytes: &[u8], objects: &TrustObjects) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge(bytes.len()));
        }
        if kyverno::is_kubernetes_document(bytes) {
            let policy = kyverno::parse(bytes, &kyverno::bundled_roots)?;
            return Ok(Self { digest: objects.digest_with(&policy.digest), ..policy });
        }
        if containers::is_json_document(bytes) {
            let policy = containers::parse(bytes, &containers::bundled_roots)?;
            return Ok(Self { digest: objects.digest_with(&policy.digest), ..policy });
        }
        if binary_authorization::is_document(bytes) {
            let policy = binary_authorization::parse(bytes)?;
            return Ok(Self { digest: objects.digest_with(&policy.digest), ..policy });
        }
        let written = written::parse(bytes, objects)?;
        let trust = trust::resolve(&written)?;
        let mut rules = resolve::rules(&written, &trust)?;
        if let Some(section) = &written.binary_authorization {
            resolve::add_rules(&mut rules, binary_authorization::rules(section, &trust)?)?;
        }
        let denials = denial::resolve(&written.denials)?;
        let digest = objects.digest_with(&Digest::of(bytes));
        Ok(Self { denials, ..Self::of(digest, resolve::default(&written)?, trust, rules) })
    }

    fn of(digest: Digest, default: DefaultAction, trust: Trust, rules: Vec<Rule>) -> Self {
        let Trust { keys, key_spans, identities, notation } = trust;
        Self { digest, default, keys, key_spans, identities, notation, denials: Vec::new(), rules }
    }

    /// The policy of a device that was given none: deny everything.
    pub fn embedded() -> Self {
        Self::parse(Self::EMBEDDED.as_bytes()).expect("the embedded policy is checked by a test")
    }

    /// The policy of a device whose own cannot be read: deny everything, and say so.
    pub fn unreadable() -> Self {
        Self::parse(UNREADABLE).expect("the policy for that is checked by a test")
    }

    /// Whether this stands for one that could not be read.
    pub fn is_unreadable(&self) -> bool {
        self.digest == Digest::of(UNREADABLE)
    }

    /// SHA-256 of the file; where objects of trust count, one of the file and of all of them.
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

    /// Why an image is refused at `now` because the deny list names it: under whichever digest, it is the same image.
    pub fn refusal_of_denied(&self, image_bytes: &[u8], now: jiff::Timestamp) -> Option<Refusal> {
        if self.denials.is_empty() {
            return None;
        }
        let names = Algorithm::all_of(image_bytes);
        names.iter().find_map(|name| self.denied(&Denied::Digest(name), now)).map(|denial| Refusal {
            rule: rule_names::DENY_LIST.to_owned(),
            reason: format!("the deny list names this image: {}", denial.reason),
            next_step: Some("use another version of it".to_owned()),
        })
    }

    /// The manifests that the deny list names at `now`, and why.
    pub fn denied_digests(&self, now: jiff::Timestamp) -> impl Iterator<Item = (&Digest, &Denial)> {
        self.denials.iter().filter_map(move |denial| denial.digest(now).map(|digest| (digest, denial)))
    }

    /// The first moment after `now` at which this policy may mean something else: a denial or a key begins or ends. What
    /// certificates say of time is not in it: see [`Self::looks_at_certificates`].
    pub fn next_change(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        // Both ends belong to a span: it is over a moment behind its end.
        let moments = |time: jiff::Timestamp| [Some(time), time.checked_add(jiff::SignedDuration::from_nanos(1)).ok()];
        let keys = self.key_spans.values().flat_map(|span| [Some(span.start), span.end].into_iter().flatten());
        let times = self.denials.iter().flat_map(Denial::times).chain(keys);
        times.flat_map(moments).flatten().filter(|time| *time > now).min()
    }

    /// Whether a verdict may depend on the validity of certificates or of revocation lists, which have ends of their own.
    pub fn looks_at_certificates(&self) -> bool {
        !self.notation.is_empty() || !self.identities.is_empty()
    }

    /// Whether a verdict may depend on how old an image is, or on the time in a way that only a module of Rego knows.
    pub fn looks_at_age(&self) -> bool {
        let by_content = |rule: &Rule| rule.content.as_ref().is_some_and(|content| content.base_age_days_max.is_some());
        self.rules.iter().any(|rule| by_content(rule) || rule.rego.is_some())
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What the rules that speak of an image of these names want to know of its content; `None` where they ask nothing of it.
    pub fn content_wanted(&self, local: &RepositoryName, original: Option<&RepositoryName>) -> Option<Wanted> {
        let names: Vec<&RepositoryName> = [local].into_iter().chain(original).collect();
        content_rule::wanted(self.applicable(&names).iter().map(|applicable| applicable.rule))
    }

    /// The rules that speak of any of these names, in the order of the file, each with the names of which it speaks.
    pub(super) fn applicable<'a>(&'a self, names: &[&'a RepositoryName]) -> Vec<Applicable<'a>> {
        let chosen: Vec<(&RepositoryName, Option<scope::Closeness>)> =
            names.iter().map(|name| (*name, scope::closest(&self.rules, name))).collect();
        let speaks_of = |rule: &Rule| -> Vec<&'a RepositoryName> {
            let names = chosen.iter().filter(|(name, closest)| rule.scopes.speaks_of(name, *closest));
            names.map(|(name, _)| *name).collect()
        };
        let rules = self.rules.iter().map(|rule| Applicable { rule, names: speaks_of(rule) });
        rules.filter(|applicable| !applicable.names.is_empty()).collect()
    }
}
