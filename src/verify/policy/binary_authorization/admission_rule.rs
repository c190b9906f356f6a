//! One admission rule: everything, nothing, or what enough attestors stand for.

use std::collections::{BTreeMap, BTreeSet};

use crate::verify::policy::attestor::{AttestorKind, AttestorMember, AttestorName, AttestorSet};
use crate::verify::policy::document::shortened;
use crate::verify::policy::error::{PolicyError, nearest};
use crate::verify::policy::fields::{Fields, refuse, scalar};
use crate::verify::policy::{DefaultAction, SignatureRule};
use crate::verify::yaml::Node;

/// What becomes of an image outright, or by whom it must be signed.
pub struct AdmissionRule {
    pub outright: Option<DefaultAction>,
    pub signature: Option<SignatureRule>,
}

/// The keys of each attestor.
pub type Attestors<'a> = BTreeMap<&'a str, &'a [String]>;

impl AdmissionRule {
    /// Parses one; without `attestors` it may name none.
    pub fn parse(node: &Node, attestors: Option<&Attestors<'_>>) -> Result<Self, PolicyError> {
        let fields = Fields::of(node, "an admission rule")?;
        fields.allow_only(&["evaluationMode", "enforcementMode", "requireAttestationsBy"])?;
        match fields.text("enforcementMode")? {
            "ENFORCED_BLOCK_AND_AUDIT_LOG" => {}
            "DRYRUN_AUDIT_LOG_ONLY" => {
                return fields.refuse_at(
                    "enforcementMode",
                    "a trial run would let everything in: write ENFORCED_BLOCK_AND_AUDIT_LOG",
                );
            }
            other => return fields.refuse_at("enforcementMode", &format!("'{}' is not known here", shortened(other))),
        }
        let required = fields.optional("requireAttestationsBy");
        match fields.text("evaluationMode")? {
            "ALWAYS_ALLOW" | "ALWAYS_DENY" if required.is_some() => {
                fields.refuse_at("requireAttestationsBy", "attestors are asked only where REQUIRE_ATTESTATION stands")
            }
            "ALWAYS_ALLOW" => Ok(Self { outright: Some(DefaultAction::Admit), signature: None }),
            "ALWAYS_DENY" => Ok(Self { outright: Some(DefaultAction::Deny), signature: None }),
            "REQUIRE_ATTESTATION" => {
                let attestors = all_of(fields.list("requireAttestationsBy")?, attestors)?;
                Ok(Self { outright: None, signature: Some(SignatureRule { attestors, identity: None }) })
            }
            other => fields.refuse_at("evaluationMode", &format!("'{}' is not known here", shortened(other))),
        }
    }
}

/// Every attestor must have signed, each with one of its keys.
fn all_of(listed: &[Node], attestors: Option<&Attestors<'_>>) -> Result<AttestorSet, PolicyError> {
    let (mut members, mut taken) = (Vec::new(), BTreeSet::new());
    for node in listed {
        let name = scalar(node, "an attestor")?;
        let Some(attestors) = attestors else {
            let reason = "whose key an attestor has is not said here: put this document into a policy in TOML, under \
                          [binary_authorization], with a table of attestors and keys (docs/binary-authorization.md)";
            return refuse(node.line, reason);
        };
        let Some(keys) = attestors.get(name) else {
            let hint = nearest(name, attestors.keys().copied());
            let hint = hint.map(|name| format!(", did you mean '{name}'?")).unwrap_or_default();
            let name = shortened(name);
            return refuse(node.line, &format!("'{name}' has no key under [binary_authorization.attestors]{hint}"));
        };
        if let Some(twice) = keys.iter().find(|key| !taken.insert(key.as_str())) {
            let reason = format!("key '{twice}' stands for two of the attestors, and a signer counts once");
            return refuse(node.line, &reason);
        }
        let one = |key: &String| AttestorMember::One(AttestorName { kind: AttestorKind::Key, name: key.clone() });
        members.push(match keys {
            [only] => one(only),
            several => AttestorMember::Set(AttestorSet { members: several.iter().map(one).collect(), count: 1 }),
        });
    }
    let count = members.len();
    Ok(AttestorSet { members, count })
}
