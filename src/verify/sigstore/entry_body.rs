//! What an entry of a transparency log says was logged, compared with the signature it came with.
//!
//! An entry of another signature would lend its time to this one (CVE-2022-36056), so every part must be the same: what
//! was signed, the signature's bytes, and the certificate.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;

use super::bundle::{EntryKind, LogEntry};
use crate::oci::digest::{Algorithm, Digest};
use crate::verify::artifact::Artifact;
use crate::verify::strict_json;
use crate::verify::x509::Certificate;

/// What the bundle holds, to which an entry must be the same.
#[derive(Clone, Copy)]
pub struct Logged<'a> {
    pub signed: Signed<'a>,
    pub signature: &'a [u8],
    pub certificate: &'a Certificate,
}

/// What was signed.
#[derive(Clone, Copy)]
pub enum Signed<'a> {
    /// An artifact.
    Artifact(Artifact<'a>),
    /// An envelope: its payload and type, and the bytes that were signed for it.
    Envelope { payload_type: &'a str, payload: &'a [u8], encoded: &'a [u8] },
}

/// Why an entry does not speak of this signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("the log entry's body is not JSON of its kind")]
    Form,
    #[error("the log entry is of a kind that does not go with this signature")]
    Kind,
    #[error("the log entry speaks of another {0}")]
    Another(&'static str),
}

/// Whether `entry` speaks of exactly this signature.
pub fn verify_entry(entry: &LogEntry, logged: &Logged<'_>) -> Result<(), EntryError> {
    let body = strict_json::parse(&entry.body).map_err(|_| EntryError::Form)?;
    let (kind, version) = entry.kind.written();
    if body["kind"] != kind || body["apiVersion"] != version {
        return Err(EntryError::Kind);
    }
    let spec = &body["spec"];
    match (entry.kind, logged.signed) {
        (EntryKind::HashedRekord1, Signed::Artifact(artifact)) => {
            hash_in_hex(&spec["data"]["hash"], &artifact)?;
            same_signature(&spec["signature"]["content"], logged)?;
            same_pem(&spec["signature"]["publicKey"]["content"], logged)
        }
        (EntryKind::HashedRekord2, signed) => {
            let spec = &spec["hashedRekordV002"];
            let hash = match signed {
                Signed::Artifact(artifact) => {
                    artifact.digest(Algorithm::Sha256).ok_or(EntryError::Another("artifact"))?
                }
                Signed::Envelope { encoded, .. } => Digest::of(encoded),
            };
            if spec["data"]["algorithm"] != "SHA2_256" {
                return Err(EntryError::Form);
            }
            if decoded(&spec["data"]["digest"])? != hash.raw() {
                return Err(EntryError::Another("artifact"));
            }
            same_signature(&spec["signature"]["content"], logged)?;
            let certificate = decoded(&spec["signature"]["verifier"]["x509Certificate"]["rawBytes"])?;
            same_certificate(&certificate, logged)
        }
        (EntryKind::Dsse1, Signed::Envelope { payload, .. }) => {
            hash_in_hex(&spec["payloadHash"], &Artifact::Bytes(payload))?;
            let only = only(&spec["signatures"])?;
            same_signature(&only["signature"], logged)?;
            same_pem(&only["verifier"], logged)
        }
        (EntryKind::Intoto2, Signed::Envelope { payload, payload_type, .. }) => {
            let content = &spec["content"];
            hash_in_hex(&content["payloadHash"], &Artifact::Bytes(payload))?;
            if content["envelope"]["payloadType"] != payload_type {
                return Err(EntryError::Another("type of payload"));
            }
            let only = only(&content["envelope"]["signatures"])?;
            // This kind encodes the signature twice.
            let once = decoded(&only["sig"])?;
            if BASE64.decode(&once).map_err(|_| EntryError::Form)? != logged.signature {
                return Err(EntryError::Another("signature"));
            }
            same_pem(&only["publicKey"], logged)
        }
        (EntryKind::HashedRekord1, Signed::Envelope { .. })
        | (EntryKind::Dsse1 | EntryKind::Intoto2, Signed::Artifact(_)) => Err(EntryError::Kind),
    }
}

fn only(list: &Value) -> Result<&Value, EntryError> {
    match list.as_array().map(Vec::as_slice) {
        Some([only]) => Ok(only),
        _ => Err(EntryError::Form),
    }
}

fn decoded(value: &Value) -> Result<Vec<u8>, EntryError> {
    let text = value.as_str().ok_or(EntryError::Form)?;
    BASE64.decode(text.as_bytes()).map_err(|_| EntryError::Form)
}

fn hash_in_hex(hash: &Value, artifact: &Artifact<'_>) -> Result<(), EntryError> {
    let algorithm = match hash["algorithm"].as_str() {
        Some("sha256") => Algorithm::Sha256,
        Some("sha512") => Algorithm::Sha512,
        _ => return Err(EntryError::Form),
    };
    let known = artifact.digest(algorithm).ok_or(EntryError::Another("artifact"))?;
    let value = hash["value"].as_str().ok_or(EntryError::Form)?;
    let value = HEXLOWER.decode(value.as_bytes()).map_err(|_| EntryError::Form)?;
    if value == known.raw() { Ok(()) } else { Err(EntryError::Another("artifact")) }
}

fn same_signature(value: &Value, logged: &Logged<'_>) -> Result<(), EntryError> {
    if decoded(value)? == logged.signature { Ok(()) } else { Err(EntryError::Another("signature")) }
}

fn same_pem(value: &Value, logged: &Logged<'_>) -> Result<(), EntryError> {
    let text = String::from_utf8(decoded(value)?).map_err(|_| EntryError::Form)?;
    let certificates = Certificate::parse_pem(&text).map_err(|_| EntryError::Another("certificate"))?;
    match certificates.as_slice() {
        [only] => same_certificate(only.der(), logged),
        _ => Err(EntryError::Form),
    }
}

fn same_certificate(der: &[u8], logged: &Logged<'_>) -> Result<(), EntryError> {
    if der == logged.certificate.der() { Ok(()) } else { Err(EntryError::Another("certificate")) }
}
