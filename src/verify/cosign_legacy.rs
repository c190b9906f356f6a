//! cosign's older form: one layer for each signature, the layer's bytes are what was signed ("simple signing").
//!
//! The signature itself is an annotation, as are the certificate and the chain of a keyless one. Annotations can be
//! written by anybody who may push; only what the signed bytes say counts. The image's name in them is not compared,
//! since a mirror changes it, unless the policy asks for it.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use serde_json::Value;

use super::policy::SignedName;
use super::sigstore::bundle::{EntryKind, KeylessMaterial, LogEntry, Version};
use super::strict_json;
use super::x509::Certificate;
use crate::limits::EVIDENCE_BYTES_MAX;
use crate::oci::digest::Digest;

/// The annotation that holds the signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The annotation that holds a certificate, which makes the signature a keyless one.
pub const CERTIFICATE_ANNOTATION: &str = "dev.sigstore.cosign/certificate";

/// The annotation that holds the certificates above it.
const CHAIN_ANNOTATION: &str = "dev.sigstore.cosign/chain";
/// The annotation that holds the log's promise and its entry.
const BUNDLE_ANNOTATION: &str = "dev.sigstore.cosign/bundle";
/// The annotation that holds a time stamp.
const TIMESTAMP_ANNOTATION: &str = "dev.sigstore.cosign/rfc3161timestamp";

const PAYLOAD_TYPE: &str = "cosign container image signature";

/// What proves a keyless signature of the older form, out of the annotations beside it: the same parts as a bundle of the
/// first form has. `None` where there is no certificate, `Some(None)` where the parts cannot be read.
pub fn keyless_material(annotations: &BTreeMap<String, String>) -> Option<Option<KeylessMaterial>> {
    let certificate = annotations.get(CERTIFICATE_ANNOTATION).filter(|text| !text.is_empty())?;
    Some(read_material(certificate, annotations))
}

fn read_material(certificate: &str, annotations: &BTreeMap<String, String>) -> Option<KeylessMaterial> {
    let within = |text: &&String| text.len() <= EVIDENCE_BYTES_MAX;
    let mut certificates = Certificate::parse_pem(certificate).ok()?;
    if let Some(chain) = annotations.get(CHAIN_ANNOTATION).filter(within).filter(|text| !text.is_empty()) {
        certificates.extend(Certificate::parse_pem(chain).ok()?);
    }
    let entries = match annotations.get(BUNDLE_ANNOTATION).filter(within) {
        Some(text) => vec![read_entry(text)?],
        None => Vec::new(),
    };
    let timestamps = match annotations.get(TIMESTAMP_ANNOTATION).filter(within) {
        Some(text) => {
            let value = strict_json::parse(text.as_bytes()).ok()?;
            vec![BASE64.decode(value["SignedRFC3161Timestamp"].as_str()?.as_bytes()).ok()?]
        }
        None => Vec::new(),
    };
    Some(KeylessMaterial {
        version: Version::Promise,
        certificates: certificates.iter().map(|certificate| certificate.der().to_vec()).collect(),
        entries,
        timestamps,
    })
}

/// `{"SignedEntryTimestamp", "Payload": {"body", "integratedTime", "logIndex", "logID"}}`
fn read_entry(text: &str) -> Option<LogEntry> {
    let value = strict_json::parse(text.as_bytes()).ok()?;
    let payload = &value["Payload"];
    let decode = |value: &Value| BASE64.decode(value.as_str()?.as_bytes()).ok();
    let body = decode(&payload["body"])?;
    let written = strict_json::parse(&body).ok()?;
    Some(LogEntry {
        kind: EntryKind::named(written["kind"].as_str()?, written["apiVersion"].as_str()?)?,
        log_id: HEXLOWER.decode(payload["logID"].as_str()?.as_bytes()).ok()?,
        log_index: payload["logIndex"].as_u64()?,
        integrated_time: Some(Timestamp::from_second(payload["integratedTime"].as_i64()?).ok()?),
        promise: Some(decode(&value["SignedEntryTimestamp"])?),
        proof: None,
        body,
    })
}

/// Why bytes are not a simple signing payload.
#[derive(Debug, thiserror::Error)]
pub enum SimpleSigningError {
    #[error("signing payload is {0} bytes long, the most is {EVIDENCE_BYTES_MAX} (evidence-limit)")]
    TooLarge(usize),
    #[error("signing payload is not JSON, or a key stands twice in it")]
    Json(#[source] serde_json::Error),
    #[error("signing payload's '{0}' is missing or of the wrong type")]
    Field(&'static str),
    #[error("signing payload is of type '{0}', expected '{PAYLOAD_TYPE}'")]
    Type(String),
}

/// The digest of the image that a payload speaks of.
pub fn signed_digest(payload: &[u8]) -> Result<Digest, SimpleSigningError> {
    if payload.len() > EVIDENCE_BYTES_MAX {
        return Err(SimpleSigningError::TooLarge(payload.len()));
    }
    let value = strict_json::parse(payload).map_err(SimpleSigningError::Json)?;
    let text =
        |pointer: &str, name| value.pointer(pointer).and_then(Value::as_str).ok_or(SimpleSigningError::Field(name));
    let kind = text("/critical/type", "critical.type")?;
    if kind != PAYLOAD_TYPE {
        return Err(SimpleSigningError::Type(kind.chars().take(120).collect()));
    }
    const DIGEST: &str = "critical.image.docker-manifest-digest";
    let digest = text("/critical/image/docker-manifest-digest", DIGEST)?;
    digest.parse().map_err(|_| SimpleSigningError::Field(DIGEST))
}

/// The name that a payload gives the image.
pub(super) fn signed_name(payload: &[u8]) -> Option<SignedName> {
    let value = strict_json::parse(payload).ok().filter(|_| payload.len() <= EVIDENCE_BYTES_MAX)?;
    let text = value.pointer("/critical/identity/docker-reference").and_then(Value::as_str)?;
    Some(SignedName::parse(text))
}

#[cfg(test)]
mod tests {
    use super::{SimpleSigningError, signed_digest};
    use crate::oci::digest::Digest;
    use crate::verify::test_keys::simple_signing;

    #[test]
    fn says_which_image_is_meant() {
        let digest = Digest::of(b"x");
        assert_eq!(signed_digest(&simple_signing(&digest)).unwrap(), digest);
    }

    #[test]
    fn refuses_other_documents() {
        let text = String::from_utf8(simple_signing(&Digest::of(b"x"))).unwrap();
        let check = |from: &str, to: &str| signed_digest(text.replace(from, to).as_bytes()).unwrap_err();
        assert!(matches!(check("container image signature", "something"), SimpleSigningError::Type(_)));
        assert!(matches!(check("sha256:", "md5:"), SimpleSigningError::Field(_)));
        assert!(matches!(check("docker-manifest-digest", "digest"), SimpleSigningError::Field(_)));
        assert!(matches!(check("\"optional\"", "\"critical\""), SimpleSigningError::Json(_)));
        assert!(matches!(signed_digest(b"[]").unwrap_err(), SimpleSigningError::Field("critical.type")));
    }
}
