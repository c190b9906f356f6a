//! One requirement of a scope: accept, reject, or a signature.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64;

use super::Roots;
use crate::limits::POLICY_KEYS_COUNT_MAX;
use crate::oci::name::RepositoryName;
use crate::verify::identity_rule::IdentityRule;
use crate::verify::key::PublicKey;
use crate::verify::pattern::Pattern;
use crate::verify::policy::attestor::{AttestorKind, AttestorMember, AttestorName, AttestorSet, KeylessAttestor};
use crate::verify::policy::document::shortened;
use crate::verify::policy::error::PolicyError;
use crate::verify::policy::fields::{Fields, refuse, scalar};
use crate::verify::policy::trust::Trust;
use crate::verify::policy::{DefaultAction, SignatureRule, SignedIdentity, SignedName};
use crate::verify::sigstore::TrustedRoot;
use crate::verify::x509::Certificate;
use crate::verify::yaml::Node;

/// Requirements of one scope, and where the names for whom they name are kept.
pub struct Requirements<'a> {
    pub rule: &'a str,
    pub trust: &'a mut Trust,
    pub roots: Roots<'a>,
}

/// What becomes of the image outright, or by whom it must be signed.
type Parsed = (Option<DefaultAction>, Option<SignatureRule>);

/// What names a file, and how its content is written instead.
pub const FILES: [(&str, &str); 5] = [
    ("keyPath", "keyData"),
    ("keyPaths", "keyDatas"),
    ("rekorPublicKeyPath", "rekorPublicKeyData"),
    ("rekorPublicKeyPaths", "rekorPublicKeyDatas"),
    ("caPath", "caData"),
];

fn refuse_files(fields: &Fields<'_>) -> Result<(), PolicyError> {
    for (key, instead) in FILES {
        if fields.optional(key).is_some() {
            let reason = format!(
                "a file is no part of the policy, whose digest says all that decides: write its content in base64 as \
                 '{instead}', or let `postern policy inline` do it"
            );
            return fields.refuse_at(key, &reason);
        }
    }
    Ok(())
}

impl Requirements<'_> {
    /// Parses one requirement.
    pub fn parse(&mut self, node: &Node) -> Result<Parsed, PolicyError> {
        let fields = Fields::of(node, "a requirement")?;
        match fields.text("type")? {
            "insecureAcceptAnything" => {
                fields.allow_only(&["type"])?;
                Ok((Some(DefaultAction::Admit), None))
            }
            "reject" => {
                fields.allow_only(&["type"])?;
                Ok((Some(DefaultAction::Deny), None))
            }
            "sigstoreSigned" => Ok((None, Some(self.signed_with_sigstore(&fields)?))),
            "signedBy" => {
                fields.refuse_at("type", "signatures by GPG are not verified here: sign with sigstore's tools")
            }
            other => fields.refuse_at("type", &format!("'{}' is not known here", shortened(other))),
        }
    }

    fn signed_with_sigstore(&mut self, fields: &Fields<'_>) -> Result<SignatureRule, PolicyError> {
        refuse_files(fields)?;
        if fields.optional("pki").is_some() {
            return fields
                .refuse_at("pki", "certificates of one's own authority are verified with Notation's: write TOML");
        }
        fields.allow_only(&[
            "type",
            "keyData",
            "keyDatas",
            "fulcio",
            "rekorPublicKeyData",
            "rekorPublicKeyDatas",
            "signedIdentity",
        ])?;
        let members = match (fields.optional("keyData"), fields.optional("keyDatas"), fields.optional("fulcio")) {
            (Some(_), None, None) => vec![self.key(fields.required("keyData")?, "keyData")?],
            (None, Some(_), None) => {
                let keys = fields.list("keyDatas")?.iter().map(|node| self.key(node, "keyDatas"));
                let mut members: Vec<AttestorMember> = Vec::new();
                for member in keys.collect::<Result<Vec<_>, _>>()? {
                    // A key that stands twice is one signer all the same.
                    if !members.contains(&member) {
                        members.push(member);
                    }
                }
                members
            }
            (None, None, Some(fulcio)) => vec![self.fulcio(fields, fulcio)?],
            _ => return refuse(fields.line, "'sigstoreSigned' has exactly one of 'keyData', 'keyDatas' and 'fulcio'"),
        };
        for key in ["rekorPublicKeyData", "rekorPublicKeyDatas"] {
            if fields.optional("fulcio").is_none() && fields.optional(key).is_some() {
                let reason =
                    "an entry in a log is not demanded of signatures by a key here, so that it would be passed over";
                return fields.refuse_at(key, reason);
            }
        }
        let identity = match fields.optional("signedIdentity") {
            Some(node) => signed_identity(node)?,
            None => SignedIdentity::DigestOrExact { remap: None },
        };
        Ok(SignatureRule { attestors: AttestorSet { members, count: 1 }, identity: Some(identity) })
    }

    fn key(&mut self, node: &Node, field: &str) -> Result<AttestorMember, PolicyError> {
        let pem = text_in_base64(node, field)?;
        let key = PublicKey::parse_pem(&pem).or_else(|error| refuse(node.line, &format!("'{field}': {error}")))?;
        let known = self.trust.keys.iter().find(|(_, known)| known.fingerprint() == key.fingerprint());
        let name = match known {
            Some((name, _)) => name.clone(),
            None if self.trust.keys.len() == POLICY_KEYS_COUNT_MAX => {
                return refuse(node.line, "there are more keys than are read");
            }
            None => {
                let name = format!("{} key {}", self.rule, self.trust.keys.len() + 1);
                self.trust.keys.insert(name.clone(), key);
                name
            }
        };
        Ok(AttestorMember::One(AttestorName { kind: AttestorKind::Key, name }))
    }

    /// A keyless identity. What such a file says of an instance is less than a root: it is looked for in those that are here,
    /// which bring the log of certificates that is demanded too, and no more of it is trusted than the file names.
    fn fulcio(&mut self, fields: &Fields<'_>, node: &Node) -> Result<AttestorMember, PolicyError> {
        let fulcio = Fields::of(node, "fulcio")?;
        refuse_files(&fulcio)?;
        fulcio.allow_only(&["caData", "oidcIssuer", "subjectEmail"])?;
        for key in ["oidcIssuer", "subjectEmail"] {
            if fulcio.text(key)?.contains('*') {
                return fulcio.refuse_at(key, "it is taken as it is written, and holds no '*'");
            }
        }
        let written = fulcio.required("caData")?;
        let authorities = Certificate::parse_pem(&text_in_base64(written, "caData")?)
            .or_else(|error| refuse(written.line, &format!("'caData': {error}")))?;
        let mut log_keys = Vec::new();
        let lists = [fields.optional("rekorPublicKeyData").map(std::slice::from_ref)]
            .into_iter()
            .flatten()
            .chain([fields.optional_list("rekorPublicKeyDatas")?]);
        for node in lists.flatten() {
            let pem = text_in_base64(node, "rekorPublicKeyData")?;
            let key = PublicKey::parse_pem(&pem);
            log_keys.push(key.or_else(|error| refuse(node.line, &format!("'rekorPublicKeyData': {error}")))?);
        }
        if log_keys.is_empty() {
            return fields.refuse_at("fulcio", "beside it stands 'rekorPublicKeyData', the key of the log");
        }
        let narrowed = (self.roots)().iter().find_map(|root| root.narrowed_to(&authorities, &log_keys));
        let Some(root) = narrowed else {
            let reason = "the authority or the log is of none of the instances that this release brings, and of another one \
                          the log of certificates must be known too: write TOML with its trusted_root.json";
            return fulcio.refuse_at("caData", reason);
        };
        let rule = IdentityRule {
            issuer: Pattern::new(fulcio.text("oidcIssuer")?),
            subject: Pattern::new(fulcio.text("subjectEmail")?),
            claims: BTreeMap::new(),
        };
        Ok(self.identity(root, rule))
    }

    fn identity(&mut self, root: TrustedRoot, rule: IdentityRule) -> AttestorMember {
        let same = |known: &KeylessAttestor| known.rule == rule && known.root.digest() == root.digest();
        let known = self.trust.identities.iter().find(|(_, known)| same(known)).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| {
            // As many as there are rules at the most.
            let name = format!("{} identity {}", self.rule, self.trust.identities.len() + 1);
            let known_root = self.trust.identities.values().find(|known| known.root.digest() == root.digest());
            let root = known_root.map_or_else(|| Arc::new(root), |known| Arc::clone(&known.root));
            self.trust.identities.insert(name.clone(), KeylessAttestor { root, rule });
            name
        });
        AttestorMember::One(AttestorName { kind: AttestorKind::Identity, name })
    }
}

fn text_in_base64(node: &Node, field: &str) -> Result<String, PolicyError> {
    let encoded = scalar(node, field)?;
    let decoded = BASE64.decode(encoded.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded {
        Some(text) => Ok(text),
        None => refuse(node.line, &format!("'{field}' is no text in base64")),
    }
}

fn signed_identity(node: &Node) -> Result<SignedIdentity, PolicyError> {
    let fields = Fields::of(node, "signedIdentity")?;
    let kind = fields.text("type")?;
    let own: &[&str] = match kind {
        "exactReference" => &["type", "dockerReference"],
        "exactRepository" => &["type", "dockerRepository"],
        "remapIdentity" => &["type", "prefix", "signedPrefix"],
        _ => &["type"],
    };
    fields.allow_only(own)?;
    Ok(match kind {
        "matchExact" => SignedIdentity::Exact,
        "matchRepoDigestOrExact" => SignedIdentity::DigestOrExact { remap: None },
        "matchRepository" => SignedIdentity::Repository,
        "exactReference" => {
            let name = SignedName::parse(fields.text("dockerReference")?);
            if name.version.is_empty() {
                return fields.refuse_at("dockerReference", "a tag or a digest stands behind the name");
            }
            SignedIdentity::ExactReference(name)
        }
        "exactRepository" => {
            let name = SignedName::parse(fields.text("dockerRepository")?);
            if !name.version.is_empty() {
                return fields.refuse_at("dockerRepository", "no tag and no digest stands behind a repository");
            }
            SignedIdentity::ExactRepository(name.repository)
        }
        "remapIdentity" => {
            let prefix = |key: &str| match fields.text(key)? {
                // What is signed may name a port; what is kept here never does.
                text if key == "signedPrefix" && !text.is_empty() && !text.ends_with('/') => Ok(text.to_owned()),
                text if text.parse::<RepositoryName>().is_ok() => Ok(text.to_owned()),
                _ => fields
                    .refuse_at(key, "expected the beginning of a name up to a slash, without that slash or a port"),
            };
            SignedIdentity::DigestOrExact { remap: Some((prefix("prefix")?, prefix("signedPrefix")?)) }
        }
        other => return fields.refuse_at("type", &format!("'{}' is not known here", shortened(other))),
    })
}
