//! Who made a document, as far as can be proved.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use super::artifact::{Artifact, KeyValidity};
use super::key::PublicKey;
use super::notation::{self, NotationError};
use super::policy::attestor::{AttestorKind, AttestorName, KeylessAttestor, NotationAttestor};
use super::policy::{Denied, TrustPolicy};
use super::sigstore::bundle::{KeylessMaterial, SignedContent};
use super::sigstore::keyless;
use super::sigstore::trusted_root::{Span, TrustedRoot};
use crate::oci::digest::Digest;

/// Whoever made a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// One text for one signer, whatever names the policy has for it: by this signers are counted.
    pub principal: String,
    /// The policy's names for it. None where it is somebody whom the policy has no name for.
    pub names: Vec<AttestorName>,
    /// As a person reads it, such as `key 'release'`.
    pub shown: String,
    /// What did not hold and does not count, in Notation's permissive level.
    pub logged: Vec<String>,
    /// The latest time that a log or a time stamp authority has signed for it; none where nothing says when.
    pub proved_time: Option<Timestamp>,
}

/// Why it is not known who made a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It cannot be read.
    Unreadable(String),
    /// It carries a certificate, and nobody can be proved to have signed with it.
    Keyless(String),
    /// It is a Notation signature that does not count.
    Notation(String),
    /// None of the keys that were tried made it.
    NoKey,
    /// A key of the policy made it, and does not count.
    KeyNotValid(String),
    /// Nobody signed it.
    Unsigned,
    /// Whoever made it is on the deny list.
    Denied(String),
}

/// Whom a document may have been made by.
pub struct Trusted<'a> {
    policy: &'a TrustPolicy,
    /// In the order in which they are tried.
    pub keys: Vec<(&'a str, &'a PublicKey)>,
    identities: Vec<(&'a str, &'a KeylessAttestor)>,
    notation: Vec<(&'a str, &'a NotationAttestor)>,
    now: Timestamp,
}

/// Whoever holds a key is one signer, whichever tool signed with it.
fn of_key(fingerprint: &Digest) -> String {
    format!("key {fingerprint}")
}

impl<'a> Trusted<'a> {
    /// Everybody whom the policy names, its keys in the order given.
    pub fn new(policy: &'a TrustPolicy, keys: Vec<(&'a str, &'a PublicKey)>, now: Timestamp) -> Self {
        let identities = policy.identities().iter().map(|(name, one)| (name.as_str(), one)).collect();
        let notation = policy.notation().iter().map(|(name, one)| (name.as_str(), one)).collect();
        Self { policy, keys, identities, notation, now }
    }

    /// How often one document is verified at the most, beside the keys.
    pub fn trials(policy: &TrustPolicy) -> usize {
        // Roots are shared by identities, and each is tried once.
        let roots: BTreeSet<_> = policy.identities().values().map(|identity| *identity.root.digest()).collect();
        roots.len() + policy.notation().len()
    }

    fn roots(&self) -> Vec<&'a TrustedRoot> {
        let mut roots: Vec<&TrustedRoot> = Vec::new();
        for (_, identity) in &self.identities {
            if !roots.iter().any(|root| root.digest() == identity.root.digest()) {
                roots.push(&identity.root);
            }
        }
        roots
    }

    fn denied(&self, what: &Denied<'_>) -> Result<(), Doubt> {
        match self.policy.denied(what, self.now) {
            Some(denial) => Err(Doubt::Denied(denial.reason.clone())),
            None => Ok(()),
        }
    }

    /// Whoever made `signature` with a key of the policy.
    pub fn by_key(
        &self,
        verifies: impl Fn(&PublicKey) -> bool,
        timestamps: &[Vec<u8>],
        signature: &[u8],
    ) -> Result<Maker, Doubt> {
        let (name, key) = self.keys.iter().find(|(_, key)| verifies(key)).ok_or(Doubt::NoKey)?;
        self.denied(&Denied::Key(key.fingerprint()))?;
        let span = self.policy.key_span(name);
        self.check_span(span, timestamps, signature)
            .map_err(|reason| Doubt::KeyNotValid(format!("key '{name}': {reason}")))?;
        Ok(Maker {
            principal: of_key(key.fingerprint()),
            names: vec![AttestorName { kind: AttestorKind::Key, name: (*name).to_owned() }],
            shown: format!("key '{name}'"),
            logged: Vec::new(),
            proved_time: None,
        })
    }

    /// A key with an end counts for what a trusted authority stamped before it, and else until then.
    fn check_span(&self, span: Option<Span>, timestamps: &[Vec<u8>], signature: &[u8]) -> Result<(), String> {
        if span.is_none() {
            return Ok(());
        }
        let roots = self.roots();
        let by = |root: Option<&TrustedRoot>| {
            KeyValidity { span, root, now: self.now }.check(timestamps, signature).map_err(|error| error.to_string())
        };
        let stamped = roots.into_iter().filter(|root| !root.timestamp_authorities().is_empty());
        let mut outcome = by(None);
        for root in stamped {
            // A stamp that this root's authorities did not make says nothing about the others.
            if timestamps.is_empty() || outcome.is_ok() {
                break;
            }
            outcome = by(Some(root)).or(outcome);
        }
        outcome
    }

    /// Whoever made `content` with a certificate.
    pub fn by_certificate(
        &self,
        material: &KeylessMaterial,
        content: &SignedContent,
        artifact: Artifact<'_>,
    ) -> Result<Maker, Doubt> {
        let mut reason = "no identity of the policy names a trusted root to verify it by".to_owned();
        for root in self.roots() {
            let signer = match keyless::verify(material, content, artifact, root) {
                Ok(signer) => signer,
                Err(error) => {
                    reason = error.to_string();
                    continue;
                }
            };
            let identity = &signer.identity;
            let (issuer, subject) = (identity.issuer.as_str(), identity.subject.as_str());
            self.denied(&Denied::Certificate(&signer.certificate))?;
            self.denied(&Denied::Key(&signer.key))?;
            self.denied(&Denied::Identity { issuer, subject })?;
            let named = self
                .identities
                .iter()
                .filter(|(_, attestor)| attestor.root.digest() == root.digest() && attestor.rule.matches(identity));
            return Ok(Maker {
                principal: format!("identity {issuer} {subject}"),
                names: named
                    .map(|(name, _)| AttestorName { kind: AttestorKind::Identity, name: (*name).to_owned() })
                    .collect(),
                shown: format!("'{subject}' of issuer '{issuer}'"),
                logged: Vec::new(),
                proved_time: signer.times.iter().max().copied(),
            });
        }
        Err(Doubt::Keyless(reason))
    }

    /// Whoever made a Notation signature of `target`.
    pub fn by_notation(&self, envelope: &notation::Envelope, target: &notation::Target<'_>) -> Result<Maker, Doubt> {
        let mut reason: Option<NotationError> = None;
        let mut maker: Option<Maker> = None;
        for (name, attestor) in &self.notation {
            match attestor.verify(envelope, target, self.now) {
                Ok(signer) => {
                    self.denied(&Denied::Certificate(&signer.certificate))?;
                    self.denied(&Denied::Key(&signer.key))?;
                    let named = AttestorName { kind: AttestorKind::Notation, name: (*name).to_owned() };
                    let made = maker.get_or_insert_with(|| Maker {
                        principal: of_key(&signer.key),
                        names: Vec::new(),
                        shown: format!("'{}' (Notation)", signer.subject),
                        logged: Vec::new(),
                        // It says itself how exact it is: what is certain is the earlier end.
                        proved_time: signer.stamped.map(|stamped| stamped.earliest),
                    });
                    made.logged.extend(signer.logged.into_iter().map(|check| check.reason));
                    made.names.push(named);
                }
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        let none = || "no rule names a trust store for Notation signatures".to_owned();
        maker.ok_or_else(|| Doubt::Notation(reason.map_or_else(none, |error| error.to_string())))
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => f.write_str(reason),
            Self::Keyless(reason) => {
                write!(f, "it is keyless (it carries a certificate), and is not believed: {reason}")
            }
            Self::Notation(reason) => write!(f, "it is a Notation signature that does not count: {reason}"),
            Self::NoKey => f.write_str("none of the policy's keys made it, or it was altered"),
            Self::KeyNotValid(reason) => f.write_str(reason),
            Self::Unsigned => f.write_str("it lies in the index and nobody signed it"),
            Self::Denied(reason) => write!(f, "its maker is on the deny list: {reason}"),
        }
    }
}
