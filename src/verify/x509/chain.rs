//! Chains of certificates, at a given time, up to anchors that somebody trusts.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;

use super::certificate::{Certificate, ID_CODE_SIGNING, ID_TIME_STAMPING};
use crate::limits::{REVOCATION_LIST_BYTES_MAX, REVOCATION_LISTS_COUNT_MAX};

/// For what the leaf must be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signing code, and it must say so.
    Code,
    /// Signing code, where it says for what it is at all.
    CodeIfSaid,
    /// Time stamps, and it must say so.
    Timestamps,
}

/// Why a certificate cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("no authority is trusted at {0}")]
    NoAnchor(Timestamp),
    #[error("trusted certificate cannot be used: {0}")]
    Anchor(String),
    #[error("certificate does not lead to a trusted authority at {time}: {reason}")]
    Untrusted { time: Timestamp, reason: String },
    #[error("certificate, or one above it, was revoked by its issuer")]
    Revoked,
    #[error("a certificate names a revocation list, and no list of its issuer that is valid at {0} is here")]
    NoRevocationList(Timestamp),
    #[error("revocation list cannot be used: {0}")]
    RevocationList(String),
}

/// A chain that leads to an anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// SubjectPublicKeyInfo of the certificate that signed the leaf.
    pub issuer_key: Vec<u8>,
    /// SubjectPublicKeyInfo of the anchor.
    pub anchor_key: Vec<u8>,
}

/// Revocation lists that were brought here, and how strictly they count.
#[derive(Clone, Debug, Default)]
pub struct RevocationLists {
    lists: Vec<Vec<u8>>,
    /// Where a certificate names a list, that list must be here and valid.
    pub strict: bool,
    /// When the lists must be valid; the time of the chain where nothing is said.
    at: Option<Timestamp>,
}

impl RevocationLists {
    /// Takes lists in DER.
    pub fn parse(lists: Vec<Vec<u8>>) -> Result<Self, ChainError> {
        if lists.len() > REVOCATION_LISTS_COUNT_MAX {
            return Err(ChainError::RevocationList(format!("there are more than {REVOCATION_LISTS_COUNT_MAX}")));
        }
        for list in &lists {
            if list.len() > REVOCATION_LIST_BYTES_MAX {
                return Err(ChainError::RevocationList(format!("it is larger than {REVOCATION_LIST_BYTES_MAX} bytes")));
            }
            BorrowedCertRevocationList::from_der(list)
                .map_err(|error| ChainError::RevocationList(error.to_string()))?;
        }
        Ok(Self { lists, strict: false, at: None })
    }

    /// Those of several stores together.
    pub fn merged(parts: &[&Self]) -> Self {
        Self { lists: parts.iter().flat_map(|part| part.lists.iter().cloned()).collect(), strict: false, at: None }
    }

    /// The same lists, of which those count that are valid at `time`, whatever the time of the chain.
    #[must_use]
    pub fn valid_at(mut self, time: Timestamp) -> Self {
        self.at = Some(time);
        self
    }
}

/// Whether `leaf` leads over `intermediates` to one of `anchors` at `time`.
pub fn verify_chain(
    leaf: &Certificate,
    intermediates: &[Certificate],
    anchors: &[Certificate],
    time: Timestamp,
    purpose: Purpose,
    revocation: Option<&RevocationLists>,
) -> Result<Verified, ChainError> {
    if anchors.is_empty() {
        return Err(ChainError::NoAnchor(time));
    }
    let untrusted = |reason: String| ChainError::Untrusted { time, reason };
    let anchor_ders: Vec<CertificateDer<'_>> =
        anchors.iter().map(|anchor| CertificateDer::from(anchor.der())).collect();
    let trusted: Vec<TrustAnchor<'_>> = anchor_ders
        .iter()
        .map(|der| anchor_from_trusted_cert(der).map_err(|error| ChainError::Anchor(error.to_string())))
        .collect::<Result<_, _>>()?;
    let between: Vec<CertificateDer<'_>> =
        intermediates.iter().map(|between| CertificateDer::from(between.der())).collect();
    let leaf_der = CertificateDer::from(leaf.der());
    let end = EndEntityCert::try_from(&leaf_der).map_err(|error| untrusted(error.to_string()))?;
    let seconds = u64::try_from(time.as_second()).map_err(|_| untrusted("it is a time before 1970".to_owned()))?;
    // Demanded of the leaf; authorities above it may leave out for what they are, and may not say something else.
    let (id, demanded) = match purpose {
        Purpose::Code => (&ID_CODE_SIGNING, true),
        Purpose::CodeIfSaid => (&ID_CODE_SIGNING, false),
        Purpose::Timestamps => (&ID_TIME_STAMPING, true),
    };
    if demanded && !leaf.extended_key_usage().is_some_and(|(_, usages)| usages.contains(id)) {
        return Err(untrusted("it does not say to be for this purpose".to_owned()));
    }
    let usage = KeyUsage::required_if_present(match purpose {
        Purpose::Code | Purpose::CodeIfSaid => ID_CODE_SIGNING.as_bytes(),
        Purpose::Timestamps => ID_TIME_STAMPING.as_bytes(),
    });
    let lists = parsed_lists(revocation)?;
    let borrowed: Vec<&CertRevocationList<'_>> = lists.iter().collect();
    // A list that is past its time still says truly what it says was revoked; that it says nothing newer is asked below.
    let options = RevocationOptionsBuilder::new(&borrowed).ok().map(|builder| {
        let builder = builder.with_depth(RevocationCheckDepth::Chain).with_status_policy(UnknownStatusPolicy::Allow);
        builder.with_expiration_policy(ExpirationPolicy::Ignore).build()
    });
    let path = end
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &trusted,
            &between,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            usage,
            options,
            None,
        )
        .map_err(|error| match error {
            Error::CertRevoked => ChainError::Revoked,
            other => untrusted(other.to_string()),
        })?;
    let anchor = trusted.iter().zip(anchors).find(|(anchor, _)| *anchor == path.anchor()).map(|(_, found)| found);
    let anchor = anchor.ok_or_else(|| untrusted("its anchor is not one of those that were given".to_owned()))?;
    let between: Vec<Certificate> = path
        .intermediate_certificates()
        .map(|between| Certificate::parse(&between.der()))
        .collect::<Result<_, _>>()
        .map_err(|error| untrusted(error.to_string()))?;
    // What names a list must have been looked up in one. The anchor itself is trusted by hand.
    if let Some(revocation) = revocation.filter(|revocation| revocation.strict) {
        let at = revocation.at.unwrap_or(time);
        let covered = |certificate: &Certificate| revocation.lists.iter().any(|list| covers(list, certificate, at));
        let unlisted = |certificate: &Certificate| names_a_list(certificate) && !covered(certificate);
        if std::iter::once(leaf).chain(&between).any(unlisted) {
            return Err(ChainError::NoRevocationList(at));
        }
    }
    Ok(Verified { issuer_key: between.first().unwrap_or(anchor).public_key_der(), anchor_key: anchor.public_key_der() })
}

fn parsed_lists(revocation: Option<&RevocationLists>) -> Result<Vec<CertRevocationList<'_>>, ChainError> {
    let parse = |list: &'_ Vec<u8>| {
        BorrowedCertRevocationList::from_der(list)
            .and_then(|list| list.to_owned())
            .map(CertRevocationList::Owned)
            .map_err(|error| ChainError::RevocationList(error.to_string()))
    };
    revocation.iter().flat_map(|lists| &lists.lists).map(parse).collect()
}

const ID_CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");

fn names_a_list(certificate: &Certificate) -> bool {
    certificate.extension(ID_CRL_DISTRIBUTION_POINTS).is_some()
}

/// Whether the list is one of the certificate's issuer and in force at `at`. The chain has verified its signature.
fn covers(list: &[u8], certificate: &Certificate, at: Timestamp) -> bool {
    let Ok(list) = CertificateList::from_der(list) else { return false };
    let time = |time: x509_cert::time::Time| {
        i64::try_from(time.to_unix_duration().as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
    };
    let content = &list.tbs_cert_list;
    let begun = time(content.this_update).is_some_and(|begin| begin <= at);
    let over = content.next_update.is_none_or(|end| time(end).is_none_or(|end| end < at));
    content.issuer == certificate.parsed().tbs_certificate.issuer && begun && !over
}
