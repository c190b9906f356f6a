//! What a policy can refer to instead of holding it: trusted roots, keys, certificates and revocation lists that have names
//! and versions of their own, so that they can be renewed without writing the policy anew.
//!
//! Which version of each counts is decided elsewhere; here is what counts now.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::TrustPolicy;
use crate::limits::TRUST_OBJECT_NAME_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::verify::key::PublicKey;
use crate::verify::notation::{TrustStore, TrustStoreKind};
use crate::verify::sigstore::{Instance, TrustedRoot, TrustedRootError};
use crate::verify::x509::{Certificate, RevocationLists};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A `trusted_root.json`.
    Root,
    /// A public key, or the certificate of a signer.
    Key,
    /// The certificates of a trust store.
    Certificates,
    /// Lists of what their authorities have revoked.
    Crl,
    /// A trust policy.
    Policy,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Root, Self::Key, Self::Certificates, Self::Crl, Self::Policy];

    /// As it is written in names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Key => "key",
            Self::Certificates => "certificates",
            Self::Crl => "crl",
            Self::Policy => "policy",
        }
    }
}

/// Which object: `KIND/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    kind: ObjectKind,
    name: String,
}

/// Why a text names no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' names no object of trust: write KIND/NAME with root, key, certificates, crl or policy, such as key/release; a name \
     has up to {TRUST_OBJECT_NAME_BYTES_MAX} small letters, digits, '.', '_' and '-', and begins with a letter or digit"
)]
pub struct ObjectNameError(String);

impl ObjectName {
    /// The object of this kind and name.
    pub fn new(kind: ObjectKind, name: &str) -> Result<Self, ObjectNameError> {
        let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = name.bytes().next().is_some_and(is_first)
            && name.len() <= TRUST_OBJECT_NAME_BYTES_MAX
            && name.bytes().all(|byte| is_first(byte) || matches!(byte, b'.' | b'_' | b'-'));
        if good {
            return Ok(Self { kind, name: name.to_owned() });
        }
        Err(ObjectNameError(super::document::shortened(&format!("{}/{name}", kind.name()))))
    }

    /// What it is.
    pub const fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// Its name among those of its kind.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.name)
    }
}

impl FromStr for ObjectName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> Result<Self, ObjectNameError> {
        let wrong = || ObjectNameError(super::document::shortened(text));
        let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
        let kind = ObjectKind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(wrong)?;
        Self::new(kind, name)
    }
}

impl TryFrom<String> for ObjectName {
    type Error = ObjectNameError;

    fn try_from(text: String) -> Result<Self, ObjectNameError> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.to_string()
    }
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustObject {
    pub object: ObjectName,
    pub version: u64,
    pub text: String,
}

/// The objects that count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustObjects(Vec<TrustObject>);

impl TrustObjects {
    /// Lets an object count, instead of another version of it.
    pub fn set(&mut self, object: TrustObject) {
        self.0.retain(|known| known.object != object.object);
        self.0.push(object);
        self.0.sort_by(|a, b| a.object.cmp(&b.object));
    }

    /// The text of an object.
    pub fn text(&self, kind: ObjectKind, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|known| known.object.kind == kind && known.object.name == name);
        found.map(|known| known.text.as_str())
    }

    /// The names of one kind.
    pub fn names(&self, kind: ObjectKind) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |known| known.object.kind == kind).map(|known| known.object.name.as_str())
    }

    /// By what a policy is known together with these: its own digest where there are none, and another one whenever any of
    /// them becomes another, so that nothing that was judged before is taken for judged now.
    pub fn digest_with(&self, policy: &Digest) -> Digest {
        // A policy that is an object stands in force by itself: which one it is its digest says.
        let mut counting = self.0.iter().filter(|known| known.object.kind != ObjectKind::Policy).peekable();
        if counting.peek().is_none() {
            return *policy;
        }
        let mut text = format!("postern trust 1\n{policy}\n");
        for known in counting {
            text.push_str(&format!("{} {}\n", known.object, Digest::of(known.text.as_bytes())));
        }
        Digest::of(text.as_bytes())
    }
}

/// Whether `text` is an object of its kind. A policy is looked at with `objects`, to which it may refer.
pub fn check(kind: ObjectKind, text: &str, objects: &TrustObjects) -> Result<(), String> {
    match kind {
        ObjectKind::Root => check_root(text),
        ObjectKind::Key if is_certificate(text) => match Certificate::parse_pem(text) {
            Ok(certificates) if certificates.len() == 1 => {
                PublicKey::from_spki(&certificates[0].public_key_der()).map(|_| ()).map_err(|error| error.to_string())
            }
            Ok(_) => Err("one certificate is expected, the signer's own".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        ObjectKind::Key => PublicKey::parse_pem(text).map(|_| ()).map_err(|error| error.to_string()),
        // Whether they are to vouch for signers or for times, the policy says: the weaker of the two is asked here.
        ObjectKind::Certificates => match TrustStore::parse(TrustStoreKind::Ca, text.as_bytes(), Vec::new()) {
            Ok(store) if store.certificates.is_empty() => Err("there is no certificate in it".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        ObjectKind::Crl => {
            let lists = super::trust::revocation_lists(text)?;
            RevocationLists::parse(lists).map(|_| ()).map_err(|error| error.to_string())
        }
        ObjectKind::Policy => {
            TrustPolicy::parse_with(text.as_bytes(), objects).map(|_| ()).map_err(|error| error.to_string())
        }
    }
}

/// Whether a key is given as the certificate of its owner.
pub fn is_certificate(text: &str) -> bool {
    text.contains("-----BEGIN CERTIFICATE-----")
}

/// GitHub's own is the one that is good without logs.
fn check_root(text: &str) -> Result<(), String> {
    let said = |error: &TrustedRootError| {
        let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    let parsed = TrustedRoot::parse(text.as_bytes(), Instance::Logged);
    parsed.map(|_| ()).map_err(|error| said(&error))
}

#[cfg(test)]
mod tests {
    use super::{ObjectKind, ObjectName, TrustObject, TrustObjects, check};
    use crate::oci::digest::Digest;
    use crate::sys::certificate_authority::Authority;
    use crate::verify::TrustPolicy;
    use crate::verify::test_keys::TestKey;

    fn objects(entries: &[(&str, u64, &str)]) -> TrustObjects {
        let mut objects = TrustObjects::default();
        for (object, version, text) in entries {
            objects.set(TrustObject { object: object.parse().unwrap(), version: *version, text: (*text).to_owned() });
        }
        objects
    }

    #[test]
    fn names_read_as_they_are_written_and_others_are_refused() {
        for text in ["root/private", "key/release-2.1_x", "certificates/acme", "crl/0", "policy/site"] {
            assert_eq!(text.parse::<ObjectName>().unwrap().to_string(), text);
        }
        for wrong in ["", "key", "key/", "key/-a", "key/A", "key/a/b", "key/a b", "keys/a", "key/../a", "key/\n"] {
            assert!(wrong.parse::<ObjectName>().is_err(), "{wrong:?}");
        }
        assert!(format!("key/{}", "a".repeat(65)).parse::<ObjectName>().is_err());
    }

    #[test]
    fn the_digest_follows_every_object_that_counts() {
        let policy = Digest::of(b"policy");
        assert_eq!(objects(&[]).digest_with(&policy), policy);
        assert_eq!(objects(&[("policy/site", 1, "p")]).digest_with(&policy), policy);
        let one = objects(&[("key/a", 1, "x")]).digest_with(&policy);
        let others = [
            objects(&[("key/a", 2, "y")]),
            objects(&[("key/b", 1, "x")]),
            objects(&[("root/a", 1, "x")]),
            objects(&[("key/a", 1, "x"), ("crl/a", 1, "x")]),
        ];
        for other in others {
            assert_ne!(other.digest_with(&policy), one);
            assert_ne!(other.digest_with(&policy), policy);
        }
        assert_ne!(objects(&[("key/a", 1, "x")]).digest_with(&Digest::of(b"other")), one);
        // What was active before is judged as before.
        assert_eq!(objects(&[("key/a", 3, "x")]).digest_with(&policy), one);
    }

    #[test]
    fn a_policy_takes_what_counts_and_says_what_is_lacking() {
        let (first, second) = (TestKey::p256().public_pem(), TestKey::p256().public_pem());
        let text = "version = 1\n[keys.release]\nobject = \"release\"\n[[rule]]\nname = \"a\"\nrepositories = [\"**\"]\n\
                    signature.keys = [\"release\"]\n";
        let parse = |objects: &TrustObjects| TrustPolicy::parse_with(text.as_bytes(), objects);
        let lacking = parse(&objects(&[("key/releases", 1, &first)])).unwrap_err();
        assert!(lacking.lacks_object());
        assert!(lacking.to_string().contains("did you mean 'releases'?"), "{lacking}");
        let before = parse(&objects(&[("key/release", 1, &first)])).unwrap();
        let after = parse(&objects(&[("key/release", 2, &second)])).unwrap();
        assert_ne!(before.keys()["release"].fingerprint(), after.keys()["release"].fingerprint());
        assert_ne!(before.digest(), after.digest());
        let twice = text.replace("object =", "pem = \"x\"\nobject =");
        assert!(TrustPolicy::parse_with(twice.as_bytes(), &TrustObjects::default()).is_err());
    }

    #[test]
    fn a_trust_store_takes_its_certificates_and_lists_from_objects() {
        let authority = Authority::new("acme");
        let leaf = authority.issue(1, "leaf", &[]).certificate;
        let refused = check(ObjectKind::Certificates, &leaf, &TrustObjects::default()).unwrap_err();
        assert!(refused.contains("put the root in, not the leaf"), "{refused}");
        let revoked = authority.revoked(&[2]);
        let text = "version = 1\n[stores.acme]\nkind = \"ca\"\nobject = \"acme\"\nrevocation_object = \"acme\"\n\
                    [notation.acme]\nstores = [\"acme\"]\nidentities = [\"*\"]\n[[rule]]\nname = \"a\"\n\
                    repositories = [\"**\"]\nsignature.notation = [\"acme\"]\n";
        let parse = |objects: &TrustObjects| TrustPolicy::parse_with(text.as_bytes(), objects);
        let certificates = ("certificates/acme", 1, authority.certificate.as_str());
        assert!(parse(&objects(&[certificates])).unwrap_err().lacks_object());
        let without = parse(&objects(&[certificates, ("crl/acme", 1, &authority.revoked(&[]))])).unwrap();
        let with = parse(&objects(&[certificates, ("crl/acme", 2, &revoked)])).unwrap();
        assert_ne!(without.digest(), with.digest());
        let both = text.replace("object = \"acme\"\nrev", "object = \"acme\"\ncertificates = \"x\"\nrev");
        let all = objects(&[certificates, ("crl/acme", 2, &revoked)]);
        assert!(TrustPolicy::parse_with(both.as_bytes(), &all).unwrap_err().to_string().contains("says twice"));
        for (kind, text) in [(ObjectKind::Certificates, &authority.certificate), (ObjectKind::Crl, &revoked)] {
            assert_eq!(check(kind, text, &TrustObjects::default()), Ok(()), "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_object_of_its_kind_is_refused() {
        let nothing = TrustObjects::default();
        let key = TestKey::p256().public_pem();
        assert_eq!(check(ObjectKind::Key, &key, &nothing), Ok(()));
        assert_eq!(check(ObjectKind::Root, include_str!("../sigstore/roots/public-good.json"), &nothing), Ok(()));
        assert_eq!(check(ObjectKind::Policy, "version = 1\n", &nothing), Ok(()));
        for (kind, text) in [
            (ObjectKind::Root, key.as_str()),
            (ObjectKind::Root, "{}"),
            (ObjectKind::Key, "version = 1\n"),
            (ObjectKind::Certificates, &key),
            (ObjectKind::Certificates, ""),
            (ObjectKind::Crl, &key),
            (ObjectKind::Crl, ""),
            (ObjectKind::Policy, &key),
        ] {
            assert!(check(kind, text, &nothing).is_err(), "{kind:?}: {text}");
        }
    }
}
