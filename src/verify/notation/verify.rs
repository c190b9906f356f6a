//! From an envelope and what is trusted to a signer, with Notation's five checks in its own words.

use jiff::Timestamp;
use x509_cert::ext::pkix::KeyUsages;

use super::envelope::{Algorithm, Envelope, EnvelopeError, Scheme};
use super::trust::{Level, TrustStore, TrustStoreKind, TrustedIdentities};
use crate::oci::digest::Digest;
use crate::verify::scheme::KeyKind;
use crate::verify::timestamp::{self, StampedSpan};
use crate::verify::x509::certificate::{ID_CODE_SIGNING, ID_TIME_STAMPING};
use crate::verify::x509::{Certificate, ChainError, Purpose, RevocationLists, verify_chain};

/// What is asked about: all three must be what was signed.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub media_type: &'a str,
    pub digest: Digest,
    pub size: u64,
}

/// Whom to trust, and how strictly.
#[derive(Clone, Debug)]
pub struct Notation {
    pub level: Level,
    pub stores: Vec<TrustStore>,
    pub identities: TrustedIdentities,
}

/// A check that did not hold and did not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotationCheck {
    pub check: &'static str,
    pub reason: String,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotationSigner {
    /// The leaf's name.
    pub subject: String,
    /// SHA-256 of the leaf.
    pub certificate: Digest,
    /// SHA-256 of the leaf's key.
    pub key: Digest,
    /// What did not hold, where the level only writes it down.
    pub logged: Vec<NotationCheck>,
    /// When it was signed, by somebody else's word.
    pub stamped: Option<StampedSpan>,
}

/// Why a Notation signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    #[error("integrity: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("integrity: signed with {found:?}, where a key of {key} must sign with another algorithm")]
    Algorithm { found: Algorithm, key: KeyKind },
    #[error("integrity: the leaf's key is of a kind that Notation does not take")]
    Key,
    #[error("integrity: the signature is not the leaf's, or what was signed was altered")]
    Signature,
    #[error("authenticity: the certificates are not one chain from the leaf to its root")]
    ChainOrder,
    #[error("authenticity: the leaf's certificate is not one for signing alone")]
    Leaf,
    #[error("authenticity: no certificate of the chain is in a trust store for this kind of signature")]
    NotInStore,
    #[error("authenticity: {0}")]
    Chain(ChainError),
    #[error("authenticity: signed by '{0}', which is none of the trusted identities")]
    Identity(String),
    #[error("integrity: it speaks of another artifact, '{0}'")]
    AnotherArtifact(Digest),
    #[error("authentic timestamp: {0}")]
    Timestamp(String),
    #[error("expiry: the signature expired at {0}")]
    Expired(Timestamp),
    #[error("revocation: {0}")]
    Revocation(ChainError),
}

impl Notation {
    /// Whether `envelope` is a signature of `target` that counts at `now`.
    pub fn verify(
        &self,
        envelope: &Envelope,
        target: &Target<'_>,
        now: Timestamp,
    ) -> Result<NotationSigner, NotationError> {
        let leaf = envelope.chain.first().ok_or(NotationError::ChainOrder)?;
        verify_integrity(envelope, leaf)?;
        let signed = &envelope.target;
        let same =
            signed.digest == target.digest && signed.size == target.size && signed.media_type == target.media_type;
        if !same {
            return Err(NotationError::AnotherArtifact(signed.digest));
        }
        self.verify_authenticity(envelope, leaf)?;
        let mut logged = Vec::new();
        let mut count = |check: &'static str, result: Result<(), NotationError>| match (self.level, result) {
            (_, Ok(())) => Ok(()),
            (Level::Strict, Err(error)) => Err(error),
            (Level::Permissive, Err(error)) => {
                logged.push(NotationCheck { check, reason: error.to_string() });
                Ok(())
            }
        };
        let time = self.verify_time(envelope, now);
        let stamped = time.as_ref().ok().copied().flatten();
        count("authentic timestamp", time.map(|_| ()))?;
        count(
            "expiry",
            match envelope.expiry {
                Some(expiry) if now > expiry => Err(NotationError::Expired(expiry)),
                _ => Ok(()),
            },
        )?;
        count("revocation", self.verify_revocation(envelope, leaf, now))?;
        Ok(NotationSigner {
            subject: leaf.parsed().tbs_certificate.subject.to_string(),
            certificate: leaf.fingerprint(),
            key: Digest::of(&leaf.public_key_der()),
            logged,
            stamped,
        })
    }

    fn stores(&self, kind: TrustStoreKind) -> impl Iterator<Item = &TrustStore> {
        self.stores.iter().filter(move |store| store.kind == kind)
    }

    fn store_kind(envelope: &Envelope) -> TrustStoreKind {
        match envelope.scheme {
            Scheme::X509 => TrustStoreKind::Ca,
            Scheme::SigningAuthority => TrustStoreKind::SigningAuthority,
        }
    }

    /// Trusted certificates that stand in the envelope's own chain.
    fn anchors(&self, envelope: &Envelope) -> Vec<Certificate> {
        let trusted = self.stores(Self::store_kind(envelope)).flat_map(|store| &store.certificates);
        trusted.filter(|trusted| envelope.chain.iter().any(|found| found.der() == trusted.der())).cloned().collect()
    }

    fn verify_authenticity(&self, envelope: &Envelope, leaf: &Certificate) -> Result<(), NotationError> {
        let linked = envelope
            .chain
            .windows(2)
            .all(|pair| pair[0].parsed().tbs_certificate.issuer == pair[1].parsed().tbs_certificate.subject);
        if !linked || !envelope.chain.last().is_some_and(Certificate::is_self_issued) {
            return Err(NotationError::ChainOrder);
        }
        if !is_signing_leaf(leaf) {
            return Err(NotationError::Leaf);
        }
        let anchors = self.anchors(envelope);
        if anchors.is_empty() {
            return Err(NotationError::NotInStore);
        }
        // Whether the chain holds is asked at a time at which all of it was valid; whether that was the time of signing is
        // the next check's question.
        let time = envelope.chain.iter().map(Certificate::not_before).max().unwrap_or(leaf.not_before());
        verify_chain(leaf, &envelope.chain[1..], &anchors, time, Purpose::CodeIfSaid, None)
            .map_err(NotationError::Chain)?;
        if !self.identities.includes(leaf) {
            return Err(NotationError::Identity(leaf.parsed().tbs_certificate.subject.to_string()));
        }
        Ok(())
    }

    /// When it was signed: by the authority's word, by a time stamp, or else now.
    fn verify_time(&self, envelope: &Envelope, now: Timestamp) -> Result<Option<StampedSpan>, NotationError> {
        let refused = |reason: String| NotationError::Timestamp(reason);
        if envelope.scheme == Scheme::SigningAuthority {
            check_validity(envelope, envelope.signing_time, envelope.signing_time)?;
            return Ok(Some(StampedSpan { earliest: envelope.signing_time, latest: envelope.signing_time }));
        }
        // What a list names does not count; that there is one is not demanded of an authority for time stamps.
        let lists: Vec<&RevocationLists> = self.stores(TrustStoreKind::Tsa).map(|store| &store.revocation).collect();
        let revocation = RevocationLists::merged(&lists);
        let roots: Vec<Certificate> =
            self.stores(TrustStoreKind::Tsa).flat_map(|store| store.certificates.iter().cloned()).collect();
        if roots.is_empty() {
            check_validity(envelope, now, now)?;
            return Ok(None);
        }
        let token = envelope.timestamp.as_ref().ok_or_else(|| refused("there is no time stamp".to_owned()))?;
        let stamped = timestamp::verify_by_roots(token, &envelope.signature, &roots, Some(&revocation.valid_at(now)))
            .map_err(|error| refused(error.to_string()))?;
        check_validity(envelope, stamped.earliest, stamped.latest)?;
        Ok(Some(stamped))
    }

    fn verify_revocation(&self, envelope: &Envelope, leaf: &Certificate, now: Timestamp) -> Result<(), NotationError> {
        let anchors = self.anchors(envelope);
        let lists: Vec<&RevocationLists> =
            self.stores(Self::store_kind(envelope)).map(|store| &store.revocation).collect();
        let mut all = RevocationLists::merged(&lists);
        all.strict = true;
        // At the leaf's own time for the certificates; the lists' own ends are compared with now.
        let time = envelope.chain.iter().map(Certificate::not_before).max().unwrap_or(now);
        let checked =
            verify_chain(leaf, &envelope.chain[1..], &anchors, time, Purpose::CodeIfSaid, Some(&all.valid_at(now)));
        checked.map(|_| ()).map_err(NotationError::Revocation)
    }
}

fn verify_integrity(envelope: &Envelope, leaf: &Certificate) -> Result<(), NotationError> {
    let key = KeyKind::of(leaf).ok_or(NotationError::Key)?;
    let wanted = Algorithm::of(key).ok_or(NotationError::Key)?;
    if envelope.algorithm != wanted {
        return Err(NotationError::Algorithm { found: envelope.algorithm, key });
    }
    match wanted.scheme().verifies(leaf, &envelope.signed, &envelope.signature) {
        true => Ok(()),
        false => Err(NotationError::Signature),
    }
}

fn is_signing_leaf(leaf: &Certificate) -> bool {
    let for_code = match leaf.extended_key_usage() {
        None => true,
        Some((_, usages)) => usages.contains(&ID_CODE_SIGNING) && !usages.contains(&ID_TIME_STAMPING),
    };
    leaf.has_only_key_usage(KeyUsages::DigitalSignature) && !leaf.is_authority() && for_code
}

fn check_validity(envelope: &Envelope, earliest: Timestamp, latest: Timestamp) -> Result<(), NotationError> {
    let outside = |certificate: &&Certificate| !certificate.is_valid_at(earliest) || !certificate.is_valid_at(latest);
    match envelope.chain.iter().find(outside) {
        None => Ok(()),
        Some(certificate) => Err(NotationError::Timestamp(format!(
            "certificate '{}' is valid from {} to {}, and it was signed at {earliest}",
            certificate.parsed().tbs_certificate.subject,
            certificate.not_before(),
            certificate.not_after(),
        ))),
    }
}
