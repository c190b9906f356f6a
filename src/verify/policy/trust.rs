//! From what was written to whom it names: keys parsed, roots and stores loaded, identities given their roots.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::attestor::{AttestorKind, KeylessAttestor, NotationAttestor};
use super::document::{At, shortened};
use super::error::{PolicyError, Problem, nearest};
use super::resolve::check_name;
use super::written::{WrittenIdentity, WrittenKey, WrittenNotation, WrittenPolicy, WrittenRoot, WrittenStore};
use crate::verify::identity_rule::IdentityRule;
use crate::verify::key::PublicKey;
use crate::verify::notation::{Level, Notation, TrustStore, TrustStoreKind, TrustedIdentities};
use crate::verify::pattern::Pattern;
use crate::verify::sigstore::identity::claim_names;
use crate::verify::sigstore::trusted_root::Span;
use crate::verify::sigstore::{Instance, TrustedRoot, TrustedRootError};
use crate::verify::x509::Certificate;

/// Everybody whom rules may name.
#[derive(Debug, Default)]
pub struct Trust {
    pub keys: BTreeMap<String, PublicKey>,
    pub key_spans: BTreeMap<String, Span>,
    pub identities: BTreeMap<String, KeylessAttestor>,
    pub notation: BTreeMap<String, NotationAttestor>,
}

impl Trust {
    /// The names of one kind.
    pub fn names(&self, kind: AttestorKind) -> Vec<&str> {
        match kind {
            AttestorKind::Key => self.keys.keys().map(String::as_str).collect(),
            AttestorKind::Identity => self.identities.keys().map(String::as_str).collect(),
            AttestorKind::Notation => self.notation.keys().map(String::as_str).collect(),
        }
    }
}

/// Resolves every name, used or not: what cannot be trusted is found when the policy is loaded.
pub fn resolve(written: &WrittenPolicy) -> Result<Trust, PolicyError> {
    let mut trust = Trust::default();
    for (name, key) in &written.keys {
        add_key(&mut trust, name, key)?;
    }
    let mut roots: BTreeMap<&str, Arc<TrustedRoot>> = BTreeMap::new();
    for (name, root) in &written.roots {
        roots.insert(name, Arc::new(resolve_root(root)?));
    }
    for (name, identity) in &written.identities {
        check_name(&At { line: identity.line, value: name.clone() })?;
        trust.identities.insert(name.clone(), resolve_identity(identity, &roots)?);
    }
    let mut stores: BTreeMap<&str, TrustStore> = BTreeMap::new();
    for (name, store) in &written.stores {
        stores.insert(name, resolve_store(store)?);
    }
    for (name, notation) in &written.notation {
        check_name(&At { line: notation.line, value: name.clone() })?;
        trust.notation.insert(name.clone(), Arc::new(resolve_notation(notation, &stores)?));
    }
    Ok(trust)
}

/// A time as policies write it.
pub fn time(key: &'static str, text: Option<&At<String>>) -> Result<Option<Timestamp>, PolicyError> {
    let Some(text) = text else { return Ok(None) };
    text.value.parse().map(Some).or_else(|_| {
        let reason = "expected a time such as 2026-01-31T00:00:00Z".to_owned();
        text.refuse(Problem::Value { key, value: shortened(&text.value), reason })
    })
}

fn add_key(trust: &mut Trust, name: &str, written: &WrittenKey) -> Result<(), PolicyError> {
    check_name(&At { line: written.text.line, value: name.to_owned() })?;
    let refused = |error| Problem::Key { name: shortened(name), error };
    let (key, mut span) = if written.is_certificate {
        let problem = |reason: String| Problem::Value { key: "certificate", value: shortened(name), reason };
        let certificates = Certificate::parse_pem(&written.text.value)
            .or_else(|error| written.text.refuse(problem(error.to_string())))?;
        let [only] = certificates.as_slice() else {
            return written.text.refuse(problem("one certificate is expected, the signer's own".to_owned()));
        };
        let key = PublicKey::from_spki(&only.public_key_der()).or_else(|error| written.text.refuse(refused(error)))?;
        (key, Some(Span { start: only.not_before(), end: Some(only.not_after()) }))
    } else {
        (PublicKey::parse_pem(&written.text.value).or_else(|error| written.text.refuse(refused(error)))?, None)
    };
    if let Some((first, _)) = trust.keys.iter().find(|(_, earlier)| earlier.fingerprint() == key.fingerprint()) {
        return written.text.refuse(Problem::SameKey { first: first.clone(), second: name.to_owned() });
    }
    if written.from.is_some() || written.until.is_some() {
        let from = time("from", written.from.as_ref())?;
        let until = time("until", written.until.as_ref())?;
        let own = span.unwrap_or(Span { start: Timestamp::MIN, end: None });
        // A certificate's own validity can be made shorter and never longer.
        let start = from.map_or(own.start, |from| from.max(own.start));
        let end = [until, own.end].into_iter().flatten().min();
        span = Some(Span { start, end });
    }
    if let Some(span) = span {
        trust.key_spans.insert(name.to_owned(), span);
    }
    trust.keys.insert(name.to_owned(), key);
    Ok(())
}

fn resolve_root(written: &WrittenRoot) -> Result<TrustedRoot, PolicyError> {
    let instance = match written.instance.as_ref().map(|at| at.value.as_str()) {
        None => Instance::Logged,
        Some("github") => Instance::GitHub,
        Some(other) => {
            let reason = "only \"github\" is an instance with rules of its own".to_owned();
            return written.source.refuse(Problem::Value { key: "instance", value: shortened(other), reason });
        }
    };
    let loaded = match (written.is_builtin, written.source.value.as_str()) {
        (true, "public-good") => TrustedRoot::public_good(),
        (true, "github") => TrustedRoot::github(),
        (true, other) => {
            let reason = "\"public-good\" and \"github\" come with this release".to_owned();
            return written.source.refuse(Problem::Value { key: "builtin", value: shortened(other), reason });
        }
        (false, json) => TrustedRoot::parse(json.as_bytes(), instance),
    };
    loaded.or_else(|error: TrustedRootError| {
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let reason = format!("{error}{cause}");
        written.source.refuse(Problem::Value { key: "json", value: "trusted root".to_owned(), reason })
    })
}

fn resolve_identity(
    written: &WrittenIdentity,
    roots: &BTreeMap<&str, Arc<TrustedRoot>>,
) -> Result<KeylessAttestor, PolicyError> {
    let Some(root) = roots.get(written.root.value.as_str()) else {
        let nearest = nearest(&written.root.value, roots.keys().copied());
        return written.root.refuse(Problem::NoSuch { name: shortened(&written.root.value), table: "roots", nearest });
    };
    let mut claims = BTreeMap::new();
    for (name, value) in &written.claims {
        let Some(known) = claim_names().find(|known| *known == name) else {
            let nearest = nearest(name, claim_names());
            return value.refuse(Problem::NoSuchClaim { name: shortened(name), nearest });
        };
        claims.insert(known, Pattern::new(&value.value));
    }
    let (issuer, subject) = (Pattern::new(&written.issuer.value), Pattern::new(&written.subject.value));
    Ok(KeylessAttestor { root: Arc::clone(root), rule: IdentityRule { issuer, subject, claims } })
}

fn resolve_store(written: &WrittenStore) -> Result<TrustStore, PolicyError> {
    let kind = match written.kind.value.as_str() {
        "ca" => TrustStoreKind::Ca,
        "signing-authority" => TrustStoreKind::SigningAuthority,
        "tsa" => TrustStoreKind::Tsa,
        other => {
            let reason = "expected \"ca\", \"signing-authority\" or \"tsa\"".to_owned();
            return written.kind.refuse(Problem::Value { key: "kind", value: shortened(other), reason });
        }
    };
    let refused = |reason: String| Problem::Value { key: "certificates", value: "trust store".to_owned(), reason };
    let mut lists = Vec::new();
    if let Some(text) = &written.revocation_lists {
        lists.extend(revocation_lists(&text.value).or_else(|reason| text.refuse(refused(reason)))?);
    }
    TrustStore::parse(kind, written.certificates.value.as_bytes(), lists)
        .or_else(|error| written.certificates.refuse(refused(error.to_string())))
}

/// The lists of revoked certificates in a text of PEM.
pub(super) fn revocation_lists(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let blocks = pem::parse_many(text).map_err(|error| error.to_string())?;
    if blocks.is_empty() || blocks.iter().any(|block| block.tag() != "X509 CRL") {
        return Err("lists of revoked certificates are PEM blocks of X509 CRL and nothing else".to_owned());
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

fn resolve_notation(written: &WrittenNotation, stores: &BTreeMap<&str, TrustStore>) -> Result<Notation, PolicyError> {
    let level = match written.level.as_ref().map(|at| (at, at.value.as_str())) {
        None | Some((_, "strict")) => Level::Strict,
        Some((_, "permissive")) => Level::Permissive,
        Some((at, other)) => {
            let reason =
                "expected \"strict\" or \"permissive\": what Notation calls audit and skip admits nothing".to_owned();
            return at.refuse(Problem::Value { key: "level", value: shortened(other), reason });
        }
    };
    let mut chosen = Vec::with_capacity(written.stores.len());
    for name in &written.stores {
        let Some(store) = stores.get(name.value.as_str()) else {
            let nearest = nearest(&name.value, stores.keys().copied());
            return name.refuse(Problem::NoSuch { name: shortened(&name.value), table: "stores", nearest });
        };
        chosen.push(store.clone());
    }
    let at = At { line: written.line, value: () };
    let identities = TrustedIdentities::parse(written.identities.iter().map(|at| at.value.as_str()));
    let identities = identities.or_else(|error| {
        at.refuse(Problem::Value { key: "identities", value: "notation".to_owned(), reason: error.to_string() })
    })?;
    Ok(Notation { level, stores: chosen, identities })
}
