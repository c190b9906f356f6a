//! Keyless signatures, verified from what travelled with them: nothing is asked of any server.
//!
//! In this order, and every step must hold: the entries speak of exactly this signature; promises, proofs and time stamps
//! are authentic; at every time that they prove, the certificate leads to an authority of the trusted root; a certificate
//! log has seen it; its key made the signature. Who signed is returned, and whether that is somebody trusted is for the
//! policy to say.
//!
//! No clock is read: the times are those that logs and time stamp authorities signed.

use jiff::Timestamp;

use super::bundle::{KeylessMaterial, LogEntry, SignedContent, Version};
use super::entry_body::{EntryError, Logged, Signed, verify_entry};
use super::identity::{CertificateIdentity, IdentityError};
use super::log::{LogError, log_of, verify_promise, verify_proof, verify_span};
use super::sct::{SctError, verify_sct};
use super::trusted_root::{Authority, Instance, Log, TrustedRoot};
use crate::oci::digest::Digest;
use crate::verify::artifact::Artifact;
use crate::verify::key::{KeyError, PublicKey};
use crate::verify::timestamp::{self, TimestampError};
use crate::verify::x509::{Certificate, CertificateError, ChainError, Purpose, verify_chain};

/// Who signed, as the certificate says, and when, as logs and authorities say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeylessSigner {
    pub identity: CertificateIdentity,
    /// Every time that was proved; at least one.
    pub times: Vec<Timestamp>,
    /// SHA-256 of the certificate.
    pub certificate: Digest,
    /// SHA-256 of its key.
    pub key: Digest,
}

/// Why a keyless signature is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeylessError {
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    #[error("a root certificate came with the signature: roots are never taken from what is to be verified")]
    RootCame,
    #[error("the certificate is not one for signing code")]
    NotForCode,
    #[error("the certificate's key cannot be used: {0}")]
    Key(#[from] KeyError),
    #[error("the signature is in no transparency log, and this trusted root demands one")]
    NotLogged,
    #[error("a log entry carries neither the promise nor the proof that this form demands")]
    Unproved,
    #[error("the log entry is not believed: {0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Entry(#[from] EntryError),
    #[error("a time stamp is not believed: {0}")]
    Timestamp(#[from] TimestampError),
    #[error("nothing proves when it was signed: neither a log's promise nor a time stamp")]
    NoTime,
    #[error("the certificate was valid from {not_before} to {not_after}, and it was signed at {time}")]
    OutsideValidity { not_before: Timestamp, not_after: Timestamp, time: Timestamp },
    #[error("{0}")]
    Chain(#[from] ChainError),
    #[error("{0}")]
    Sct(#[from] SctError),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("the signature was not made with the certificate's key, or what was signed was altered")]
    Signature,
}

/// Verifies `content`, which came with `material`, by `root`. `artifact` is what a bare signature is over; an envelope
/// carries what it is over, and its subject is for the caller to compare.
pub fn verify(
    material: &KeylessMaterial,
    content: &SignedContent,
    artifact: Artifact<'_>,
    root: &TrustedRoot,
) -> Result<KeylessSigner, KeylessError> {
    let certificates: Vec<Certificate> =
        material.certificates.iter().map(|der| Certificate::parse(der)).collect::<Result<_, _>>()?;
    let (leaf, between) = certificates.split_first().ok_or(CertificateError::None)?;
    // Clients of the first form's time put their root in. It is never looked at; later forms forbid it.
    let old = material.version == Version::Promise && material.entries.iter().all(|entry| entry.proof.is_none());
    let (roots, between): (Vec<Certificate>, Vec<Certificate>) =
        between.iter().cloned().partition(Certificate::is_self_issued);
    if !roots.is_empty() && !old {
        return Err(KeylessError::RootCame);
    }
    if !leaf.is_code_signing_leaf() {
        return Err(KeylessError::NotForCode);
    }
    let encoded = match content {
        SignedContent::Envelope(envelope) => envelope.signed_bytes(),
        SignedContent::Message { .. } => Vec::new(),
    };
    let (signature, signed) = match content {
        SignedContent::Envelope(envelope) => {
            let (payload_type, payload) = (envelope.payload_type.as_str(), envelope.payload.as_slice());
            (envelope.signature.as_slice(), Signed::Envelope { payload_type, payload, encoded: &encoded })
        }
        SignedContent::Message { signature, .. } => (signature.as_slice(), Signed::Artifact(artifact)),
    };
    let times = verify_times(material, &Logged { signed, signature, certificate: leaf }, root)?;
    let mut issuer_key = Vec::new();
    for time in &times {
        issuer_key = verify_authority(leaf, &between, &root.authorities, *time)?;
    }
    if root.instance() == Instance::Logged {
        verify_sct(leaf, &issuer_key, root)?;
    }
    let key = PublicKey::from_spki(&leaf.public_key_der())?;
    let good = match signed {
        Signed::Envelope { encoded, .. } => key.verifies(encoded, signature),
        Signed::Artifact(artifact) => artifact.is_signed_by(&key, signature),
    };
    if !good {
        return Err(KeylessError::Signature);
    }
    let identity = CertificateIdentity::of(leaf)?;
    if identity.issuer.is_empty() && root.instance() == Instance::Logged {
        return Err(IdentityError::Issuer.into());
    }
    Ok(KeylessSigner { identity, times, certificate: leaf.fingerprint(), key: *key.fingerprint() })
}

/// Verifies entries and time stamps; the times that they prove.
fn verify_times(
    material: &KeylessMaterial,
    logged: &Logged<'_>,
    root: &TrustedRoot,
) -> Result<Vec<Timestamp>, KeylessError> {
    if material.entries.is_empty() && root.instance() == Instance::Logged {
        return Err(KeylessError::NotLogged);
    }
    let mut times: Vec<Timestamp> = Vec::new();
    let mut logs: Vec<&Log> = Vec::with_capacity(material.entries.len());
    for entry in &material.entries {
        let log = log_of(root, entry)?;
        verify_entry(entry, logged)?;
        times.extend(verify_log_entry(log, entry, material.version)?);
        logs.push(log);
    }
    for token in &material.timestamps {
        times.push(timestamp::verify(token, logged.signature, &root.timestamp_authorities)?);
    }
    if times.is_empty() {
        return Err(KeylessError::NoTime);
    }
    for log in logs {
        verify_span(log, &times)?;
    }
    Ok(times)
}

/// Verifies what the log says of the entry; its time, where the log signed one.
fn verify_log_entry(log: &Log, entry: &LogEntry, version: Version) -> Result<Option<Timestamp>, KeylessError> {
    let mut time = None;
    if let Some(promise) = &entry.promise {
        verify_promise(log, entry, promise)?;
        time = entry.integrated_time;
    }
    // One without a checkpoint proves nothing, and what proves nothing is not passed over.
    if let Some(proof) = &entry.proof {
        verify_proof(log, entry, proof)?;
    }
    match (version, &entry.proof, &entry.promise) {
        (Version::Promise, _, Some(_)) | (Version::Proof | Version::ProofAndOneCertificate, Some(_), _) => Ok(time),
        _ => Err(KeylessError::Unproved),
    }
}

/// The key of the certificate that issued `leaf`, where an authority that was trusted at `time` vouches for it.
fn verify_authority(
    leaf: &Certificate,
    between: &[Certificate],
    authorities: &[Authority],
    time: Timestamp,
) -> Result<Vec<u8>, KeylessError> {
    if !leaf.is_valid_at(time) {
        let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
        return Err(KeylessError::OutsideValidity { not_before, not_after, time });
    }
    let mut last = ChainError::NoAnchor(time);
    for authority in authorities.iter().filter(|authority| authority.span.contains(time)) {
        let Some((root, below)) = authority.chain.split_last() else { continue };
        if !root.is_valid_at(time) {
            continue;
        }
        let intermediates: Vec<Certificate> = below.iter().chain(between).cloned().collect();
        match verify_chain(leaf, &intermediates, std::slice::from_ref(root), time, Purpose::Code, None) {
            Ok(verified) => return Ok(verified.issuer_key),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}
