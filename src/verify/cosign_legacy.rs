//! cosign's older form: one layer for each signature, the layer's bytes are what was signed ("simple signing").
//!
//! The signature itself is an annotation, as are the certificate and the chain of a keyless one. Annotations can be
//! written by anybody who may push; only what the signed bytes say counts. The image's name in them is not compared,
//! since a mirror changes it.

use serde_json::Value;

use super::strict_json;
use crate::limits::EVIDENCE_BYTES_MAX;
use crate::oci::digest::Digest;

/// The annotation that holds the signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The annotation that holds a certificate, which makes the signature a keyless one.
pub const CERTIFICATE_ANNOTATION: &str = "dev.sigstore.cosign/certificate";

const PAYLOAD_TYPE: &str = "cosign container image signature";

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
