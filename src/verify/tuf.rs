//! TUF metadata: who may say what the trusted roots are, and how that changes.
//!
//! Roots follow one another: each is signed by enough keys of the one before it and by enough of its own, and its version is
//! the next number. What is skipped, reordered, turned back or edited is refused. Deciding does no I/O; expiry is judged by
//! the time that is given.

mod update;

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub use self::update::{Accepted, Expired, FileError, Files, Update, UpdateError, Versions, update};
use super::key::PublicKey;
use super::strict_json;
use crate::limits::{POLICY_KEYS_COUNT_MAX, TUF_METADATA_BYTES_MAX};
use crate::oci::digest::{Algorithm, Digest};

/// What a piece of metadata is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Root,
    Timestamp,
    Snapshot,
    Targets,
}

impl Role {
    const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// As metadata writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

/// Why metadata is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TufError {
    #[error("metadata is {0} bytes long, the most is {TUF_METADATA_BYTES_MAX}")]
    TooLarge(usize),
    #[error("metadata is not JSON, or a key stands twice in it")]
    Json(#[source] serde_json::Error),
    #[error("metadata's '{0}' is missing or of the wrong kind")]
    Field(&'static str),
    #[error("metadata is for '{found}', expected '{expected}'")]
    Role { found: String, expected: &'static str },
    #[error("key '{0}' stands twice among the signatures")]
    SignatureTwice(String),
    #[error("{valid} keys of the role '{role}' have signed, wanted are {threshold}")]
    Threshold { role: &'static str, valid: usize, threshold: usize },
    #[error("version {found} does not follow version {before}")]
    Version { before: u64, found: u64 },
    #[error("version {found} is older than version {known}, which was already seen")]
    Rollback { known: u64, found: u64 },
    #[error("metadata expired at {0}")]
    Expired(Timestamp),
    #[error("'{0}' is not what the metadata above it names")]
    Mismatch(String),
    #[error("target '{0}' is not listed")]
    NoTarget(String),
}

/// A root that was verified.
#[derive(Clone, Debug)]
pub struct RootMetadata {
    version: u64,
    expires: Timestamp,
    keys: BTreeMap<String, PublicKey>,
    roles: BTreeMap<Role, RoleKeys>,
}

#[derive(Clone, Debug)]
struct RoleKeys {
    ids: BTreeSet<String>,
    threshold: usize,
}

/// Metadata below a root, verified.
#[derive(Clone, Debug)]
pub struct Metadata {
    pub version: u64,
    pub expires: Timestamp,
    content: Map<String, Value>,
}

struct Signed {
    content: Map<String, Value>,
    canonical: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
}

impl RootMetadata {
    /// A root that is trusted because somebody put it here. It must be signed by itself, or it was damaged on the way.
    pub fn pinned(bytes: &[u8]) -> Result<Self, TufError> {
        let signed = parse(bytes, Role::Root)?;
        let root = Self::of(&signed)?;
        root.verify(&signed, Role::Root)?;
        Ok(root)
    }

    /// The root after this one.
    pub fn next(&self, bytes: &[u8]) -> Result<Self, TufError> {
        let signed = parse(bytes, Role::Root)?;
        let next = Self::of(&signed)?;
        self.verify(&signed, Role::Root)?;
        next.verify(&signed, Role::Root)?;
        if self.version.checked_add(1) != Some(next.version) {
            return Err(TufError::Version { before: self.version, found: next.version });
        }
        Ok(next)
    }

    /// Its version.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Refuses a root that is past its time. Those on the way to the newest may be; the newest may not.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), TufError> {
        check_expiry(self.expires, now)
    }

    /// Whether another root lets the same keys speak for a role. Where it does not, what the old keys said of versions does
    /// not bind the new ones: that is how somebody who held the old ones is got rid of.
    pub fn has_same_keys(&self, other: &Self, role: Role) -> bool {
        let keys = |root: &Self| {
            let wanted = root.roles.get(&role)?;
            let keys: BTreeSet<_> =
                wanted.ids.iter().filter_map(|id| root.keys.get(id)).map(|key| *key.fingerprint()).collect();
            Some((keys, wanted.threshold))
        };
        keys(self) == keys(other)
    }

    /// When it expires.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Metadata of another role. `known` is the newest version of it that was ever accepted here.
    pub fn verify_metadata(
        &self,
        bytes: &[u8],
        role: Role,
        known: Option<u64>,
        now: Timestamp,
    ) -> Result<Metadata, TufError> {
        let signed = parse(bytes, role)?;
        self.verify(&signed, role)?;
        let (version, expires) = version_and_expiry(&signed.content)?;
        if let Some(known) = known.filter(|known| version < *known) {
            return Err(TufError::Rollback { known, found: version });
        }
        check_expiry(expires, now)?;
        Ok(Metadata { version, expires, content: signed.content })
    }

    fn of(signed: &Signed) -> Result<Self, TufError> {
        let (version, expires) = version_and_expiry(&signed.content)?;
        let object = |key: &'static str| signed.content.get(key).and_then(Value::as_object).ok_or(TufError::Field(key));
        let written = object("keys")?;
        if written.len() > POLICY_KEYS_COUNT_MAX {
            return Err(TufError::Field("keys"));
        }
        // A key of a kind that is not known here signs nothing; the thresholds say whether that matters.
        let keys = written.iter().filter_map(|(id, key)| Some((id.clone(), parse_key(key)?))).collect();
        let roles = object("roles")?;
        let roles = Role::ALL
            .into_iter()
            .map(|role| Ok((role, role_keys(roles.get(role.name()).ok_or(TufError::Field("roles"))?)?)))
            .collect::<Result<_, TufError>>()?;
        Ok(Self { version, expires, keys, roles })
    }

    /// Whether enough different keys of `role` have signed. The same key under two identifiers is one key.
    fn verify(&self, signed: &Signed, role: Role) -> Result<(), TufError> {
        let wanted = self.roles.get(&role).ok_or(TufError::Field("roles"))?;
        let mut valid = BTreeSet::new();
        for (id, signature) in &signed.signatures {
            let key = self.keys.get(id).filter(|_| wanted.ids.contains(id));
            if let Some(key) = key.filter(|key| key.verifies(&signed.canonical, signature)) {
                valid.insert(*key.fingerprint());
            }
        }
        if valid.len() < wanted.threshold {
            let (valid, threshold) = (valid.len(), wanted.threshold);
            return Err(TufError::Threshold { role: role.name(), valid, threshold });
        }
        Ok(())
    }
}

impl Metadata {
    /// Whether `bytes` is the metadata file that this one lists under `name`.
    pub fn check_listed(&self, name: &str, bytes: &[u8]) -> Result<(), TufError> {
        let listed = self.content.get("meta").and_then(|meta| meta.get(name)).ok_or(TufError::Field("meta"))?;
        let version = listed.get("version").and_then(Value::as_u64).ok_or(TufError::Field("version"))?;
        let value = strict_json::parse(bytes).map_err(TufError::Json)?;
        let mismatch = || TufError::Mismatch(name.to_owned());
        if value["signed"]["version"].as_u64() != Some(version) {
            return Err(mismatch());
        }
        check_length_and_hashes(listed, bytes).ok_or_else(mismatch)
    }

    /// The version of the metadata file that this one lists under `name`.
    pub fn listed_version(&self, name: &str) -> Option<u64> {
        self.content.get("meta")?.get(name)?.get("version")?.as_u64()
    }

    /// The length of a target, and its SHA-256 in hexadecimal, by which repositories may name its file.
    pub fn target(&self, name: &str) -> Option<(u64, Option<&str>)> {
        let listed = self.content.get("targets")?.get(name)?;
        Some((listed.get("length")?.as_u64()?, listed["hashes"]["sha256"].as_str()))
    }

    /// When it was signed, where whoever signed it has said so (`x-issued`, which is ours: TUF itself knows only when
    /// metadata expires).
    pub fn issued(&self) -> Option<Timestamp> {
        self.content.get("x-issued")?.as_str()?.parse().ok()
    }

    /// Whether `bytes` is the target of this name.
    pub fn check_target(&self, name: &str, bytes: &[u8]) -> Result<(), TufError> {
        let listed = self.content.get("targets").and_then(|targets| targets.get(name));
        let listed = listed.ok_or_else(|| TufError::NoTarget(name.to_owned()))?;
        if !listed["hashes"].is_object() {
            return Err(TufError::Field("hashes"));
        }
        check_length_and_hashes(listed, bytes).ok_or_else(|| TufError::Mismatch(name.to_owned()))
    }

    /// The names of all targets.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        let listed = self.content.get("targets").and_then(Value::as_object);
        listed.into_iter().flat_map(|targets| targets.keys().map(String::as_str))
    }
}

/// Every length and hash that is written must be right. At least one known hash must be among those written.
fn check_length_and_hashes(listed: &Value, bytes: &[u8]) -> Option<()> {
    if listed.get("length").is_some_and(|length| length.as_u64() != Some(bytes.len() as u64)) {
        return None;
    }
    let Some(hashes) = listed.get("hashes") else { return Some(()) };
    let mut known = 0;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let Some(written) = hashes.get(algorithm.name()) else { continue };
        let expected: Digest = format!("{}:{}", algorithm.name(), written.as_str()?).parse().ok()?;
        if algorithm.hash(bytes) != expected {
            return None;
        }
        known += 1;
    }
    (known > 0).then_some(())
}

/// A foreign name as it may stand in a message.
fn shortened(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(120).collect()
}

fn check_expiry(expires: Timestamp, now: Timestamp) -> Result<(), TufError> {
    if now > expires { Err(TufError::Expired(expires)) } else { Ok(()) }
}

fn version_and_expiry(content: &Map<String, Value>) -> Result<(u64, Timestamp), TufError> {
    let version = content.get("version").and_then(Value::as_u64).ok_or(TufError::Field("version"))?;
    let expires = content.get("expires").and_then(Value::as_str).ok_or(TufError::Field("expires"))?;
    Ok((version, expires.parse().map_err(|_| TufError::Field("expires"))?))
}

fn parse(bytes: &[u8], role: Role) -> Result<Signed, TufError> {
    if bytes.len() > TUF_METADATA_BYTES_MAX {
        return Err(TufError::TooLarge(bytes.len()));
    }
    let mut value = strict_json::parse(bytes).map_err(TufError::Json)?;
    let mut signatures = Vec::new();
    let mut seen = BTreeSet::new();
    for signature in value["signatures"].as_array().ok_or(TufError::Field("signatures"))? {
        let text = |key: &'static str| signature.get(key).and_then(Value::as_str).ok_or(TufError::Field(key));
        let (id, encoded) = (text("keyid")?, text("sig")?);
        if !seen.insert(id.to_owned()) {
            return Err(TufError::SignatureTwice(id.chars().take(64).collect()));
        }
        let signature = HEXLOWER_PERMISSIVE.decode(encoded.as_bytes()).map_err(|_| TufError::Field("sig"))?;
        signatures.push((id.to_owned(), signature));
    }
    let Value::Object(content) = value["signed"].take() else { return Err(TufError::Field("signed")) };
    let found = content.get("_type").and_then(Value::as_str).unwrap_or_default();
    if found != role.name() {
        return Err(TufError::Role { found: found.chars().take(40).collect(), expected: role.name() });
    }
    let mut canonical = Vec::with_capacity(bytes.len());
    write_canonical(&Value::Object(content.clone()), &mut canonical).ok_or(TufError::Field("signed"))?;
    Ok(Signed { content, canonical, signatures })
}

fn role_keys(written: &Value) -> Result<RoleKeys, TufError> {
    let ids = written["keyids"].as_array().ok_or(TufError::Field("keyids"))?;
    let ids = ids.iter().map(|id| id.as_str().map(ToOwned::to_owned)).collect::<Option<_>>();
    let threshold = written["threshold"].as_u64().and_then(|number| usize::try_from(number).ok());
    let threshold = threshold.filter(|number| *number > 0).ok_or(TufError::Field("threshold"))?;
    Ok(RoleKeys { ids: ids.ok_or(TufError::Field("keyids"))?, threshold })
}

/// ECDSA keys on P-256 as PEM or as the point in hex, and Ed25519 keys in hex.
fn parse_key(written: &Value) -> Option<PublicKey> {
    let (kind, scheme) = (written["keytype"].as_str()?, written["scheme"].as_str()?);
    let public = written["keyval"]["public"].as_str()?;
    match (kind, scheme) {
        ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") if public.starts_with("-----") => {
            PublicKey::parse_pem(public).ok()
        }
        ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
            PublicKey::from_p256_point(&HEXLOWER.decode(public.as_bytes()).ok()?).ok()
        }
        ("ed25519", "ed25519") => PublicKey::from_ed25519(&HEXLOWER.decode(public.as_bytes()).ok()?).ok(),
        _ => None,
    }
}

/// Canonical JSON as TUF means it: keys in order, no spaces, whole numbers only, two characters escaped.
fn write_canonical(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Number(number) => {
            if !number.is_i64() && !number.is_u64() {
                return None;
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                write_canonical(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(entries) => {
            let ordered: BTreeMap<&String, &Value> = entries.iter().collect();
            out.push(b'{');
            for (number, (key, item)) in ordered.into_iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write_canonical(item, out)?;
            }
            out.push(b'}');
        }
    }
    Some(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::write_canonical;

    #[test]
    fn canonical_json_is_in_order_and_escapes_two_characters() {
        let value = serde_json::json!({"b": [1, true, null], "a": "x\n\"\\", "A": {}});
        let mut written = Vec::new();
        write_canonical(&value, &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "{\"A\":{},\"a\":\"x\n\\\"\\\\\",\"b\":[1,true,null]}");
        assert!(write_canonical(&serde_json::json!(1.5), &mut Vec::new()).is_none());
    }
}
