//! Attestors: who must have signed, and how many of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Roots;
use crate::limits::{CONDITION_DEPTH_COUNT_MAX, POLICY_KEYS_COUNT_MAX};
use crate::verify::identity_rule::IdentityRule;
use crate::verify::key::PublicKey;
use crate::verify::pattern::Pattern;
use crate::verify::policy::attestor::{AttestorKind, AttestorMember, AttestorName, AttestorSet, KeylessAttestor};
use crate::verify::policy::error::PolicyError;
use crate::verify::policy::fields::{Fields, refuse, scalar};
use crate::verify::policy::trust::Trust;
use crate::verify::sigstore::TrustedRoot;
use crate::verify::yaml::Node;

/// Attestors of one rule, and where the names for them are kept.
pub struct Attestors<'a> {
    pub rule: &'a str,
    pub trust: &'a mut Trust,
    pub roots: Roots<'a>,
}

impl Attestors<'_> {
    /// A list of attestors, every one of which must be satisfied.
    pub fn all_of(&mut self, listed: &[Node]) -> Result<AttestorSet, PolicyError> {
        let sets: Vec<AttestorSet> = listed.iter().map(|node| self.set(node, 0)).collect::<Result<_, _>>()?;
        let count = sets.len();
        match <[AttestorSet; 1]>::try_from(sets) {
            Ok([only]) => Ok(only),
            Err(sets) => Ok(AttestorSet { members: sets.into_iter().map(AttestorMember::Set).collect(), count }),
        }
    }

    /// One attestor: entries, and how many of them. Without a number all of them.
    fn set(&mut self, node: &Node, depth: usize) -> Result<AttestorSet, PolicyError> {
        if depth > CONDITION_DEPTH_COUNT_MAX {
            return refuse(node.line, "attestors are nested too deep");
        }
        let fields = Fields::of(node, "an attestor")?;
        fields.allow_only(&["count", "entries"])?;
        let mut members = Vec::new();
        for entry in fields.list("entries")? {
            self.entry(entry, depth, &mut members)?;
        }
        let count = match fields.optional_text("count")? {
            None => members.len(),
            Some(text) => match text.parse::<usize>().ok().filter(|count| (1..=members.len()).contains(count)) {
                Some(count) => count,
                None => return fields.refuse_at("count", &format!("expected 1 to {}", members.len())),
            },
        };
        Ok(AttestorSet { members, count })
    }

    fn entry(&mut self, node: &Node, depth: usize, members: &mut Vec<AttestorMember>) -> Result<(), PolicyError> {
        let fields = Fields::of(node, "an entry")?;
        fields.allow_only(&["keys", "keyless", "attestor"])?;
        match (fields.optional("keys"), fields.optional("keyless"), fields.optional("attestor")) {
            (Some(keys), None, None) => self.keys(keys, members),
            (None, Some(keyless), None) => self.keyless(keyless, members),
            (None, None, Some(inner)) => {
                members.push(AttestorMember::Set(self.set(inner, depth + 1)?));
                Ok(())
            }
            _ => refuse(node.line, "an entry holds exactly one of 'keys', 'keyless' and 'attestor'"),
        }
    }

    /// One key or several in one text, each of which counts.
    fn keys(&mut self, node: &Node, members: &mut Vec<AttestorMember>) -> Result<(), PolicyError> {
        let fields = Fields::of(node, "keys")?;
        fields.allow_only(&["publicKeys", "signatureAlgorithm", "rekor", "ctlog"])?;
        if let Some(algorithm) = fields.optional_text("signatureAlgorithm")?
            && algorithm != "sha256"
        {
            return fields
                .refuse_at("signatureAlgorithm", "the hash follows the key, and can be said to be sha256 only");
        }
        for key in ["rekor", "ctlog"] {
            if let Some(inner) = fields.optional(key) {
                // A signature by a key needs no log here. An address that is demanded would be passed over.
                let inner = Fields::of(inner, key)?;
                inner.allow_only(&["ignoreTlog", "ignoreSCT"])?;
            }
        }
        let text = fields.text("publicKeys")?;
        const END: &str = "-----END PUBLIC KEY-----";
        for pem in text.split_inclusive(END).filter(|pem| !pem.trim().is_empty()) {
            let key = match PublicKey::parse_pem(pem) {
                Ok(key) => key,
                Err(error) => return fields.refuse_at("publicKeys", &error.to_string()),
            };
            let known = self.trust.keys.iter().find(|(_, known)| known.fingerprint() == key.fingerprint());
            let name = match known {
                Some((name, _)) => name.clone(),
                None => {
                    if self.trust.keys.len() == POLICY_KEYS_COUNT_MAX {
                        return fields.refuse_at("publicKeys", "there are more keys than are read");
                    }
                    let name = format!("{} {}", self.rule, self.trust.keys.len() + 1);
                    self.trust.keys.insert(name.clone(), key);
                    name
                }
            };
            members.push(AttestorMember::One(AttestorName { kind: AttestorKind::Key, name }));
        }
        Ok(())
    }

    fn keyless(&mut self, node: &Node, members: &mut Vec<AttestorMember>) -> Result<(), PolicyError> {
        let fields = Fields::of(node, "keyless")?;
        for key in ["issuerRegExp", "subjectRegExp"] {
            if fields.optional(key).is_some() {
                return fields.refuse_at(key, "regular expressions are not read: write '*' in 'issuer' or 'subject'");
            }
        }
        fields.allow_only(&["issuer", "subject", "rekor"])?;
        for key in ["issuer", "subject"] {
            if fields.text(key)?.contains('?') {
                return fields.refuse_at(key, "of patterns * is read, and ? is not");
            }
        }
        let rule = IdentityRule {
            issuer: Pattern::new(fields.text("issuer")?),
            subject: Pattern::new(fields.text("subject")?),
            claims: BTreeMap::new(),
        };
        let root = self.root(&fields)?;
        let same = |known: &KeylessAttestor| known.rule == rule && known.root.digest() == root.digest();
        let known = self.trust.identities.iter().find(|(_, known)| same(known)).map(|(name, _)| name.clone());
        let name = match known {
            Some(name) => name,
            None if self.trust.identities.len() == POLICY_KEYS_COUNT_MAX => {
                return refuse(node.line, "there are more identities than are read");
            }
            None => {
                let name = format!("{} {}", self.rule, self.trust.identities.len() + 1);
                self.trust.identities.insert(name.clone(), KeylessAttestor { root, rule });
                name
            }
        };
        members.push(AttestorMember::One(AttestorName { kind: AttestorKind::Identity, name }));
        Ok(())
    }

    /// The root that a log's address stands for; the public-good instance's where none is named, as with Kyverno.
    fn root(&self, fields: &Fields<'_>) -> Result<Arc<TrustedRoot>, PolicyError> {
        let address = match fields.optional("rekor") {
            None => super::PUBLIC_GOOD,
            Some(node) => {
                let rekor = Fields::of(node, "rekor")?;
                rekor.allow_only(&["url"])?;
                scalar(rekor.required("url")?, "url")?
            }
        };
        match (self.roots)(address.trim_end_matches('/')) {
            Some(root) => Ok(root),
            None => fields.refuse_at("rekor", "no trusted root here stands for this log; nothing is ever dialled"),
        }
    }
}
