//! Sigstore bundles, parsed by Sigstore's own types. The only file that touches their crates, since these change with
//! each release.
//!
//! What is taken here are bundles made with a key. Sigstore's verifier refuses such a bundle without a log entry, which
//! inside an air gap is the normal form; so the signature is verified by [`mod@super::evaluate`] with the policy's key, and
//! log entries and timestamps that a keyed bundle may carry are neither demanded nor believed. A bundle with a
//! certificate is keyless and refused by name.

use sigstore_types::{Bundle, HashAlgorithm, SignatureContent, VerificationMaterialContent};

use super::strict_json;
use crate::dsse::Envelope;
use crate::limits::EVIDENCE_BYTES_MAX;
use crate::oci::digest::{Algorithm, Digest};

/// What a keyed bundle holds a signature over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedContent {
    /// An envelope, which carries what was signed.
    Envelope(Envelope),
    /// A bare signature over the image's manifest.
    Message {
        signature: Vec<u8>,
        /// What the bundle says was signed. Not signed itself.
        claimed: Option<Digest>,
    },
}

/// Why bytes are not a bundle that can be verified.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("bundle is {0} bytes long, the most is {EVIDENCE_BYTES_MAX} (evidence-limit)")]
    TooLarge(usize),
    #[error("bundle is not JSON, or a key stands twice in it")]
    Json(#[source] serde_json::Error),
    #[error("bundle is not of Sigstore's form")]
    Form(#[source] sigstore_types::Error),
    #[error("bundle is of a kind that is not known here")]
    Unknown,
    #[error("bundle carries a certificate: keyless signatures are not supported yet in this version")]
    Keyless,
}

/// Parses a bundle of version 0.1, 0.2 or 0.3.
pub fn parse(bytes: &[u8]) -> Result<SignedContent, BundleError> {
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return Err(BundleError::TooLarge(bytes.len()));
    }
    strict_json::parse(bytes).map_err(BundleError::Json)?;
    let text = std::str::from_utf8(bytes).map_err(|_| BundleError::Unknown)?;
    let bundle = Bundle::from_json(text).map_err(BundleError::Form)?;
    match bundle.verification_material.content {
        VerificationMaterialContent::PublicKey(_) => {}
        VerificationMaterialContent::Certificate(_) | VerificationMaterialContent::X509CertificateChain { .. } => {
            return Err(BundleError::Keyless);
        }
        _ => return Err(BundleError::Unknown),
    }
    match bundle.content {
        SignatureContent::DsseEnvelope(envelope) => Ok(SignedContent::Envelope(Envelope {
            payload: envelope.payload.as_bytes().to_vec(),
            payload_type: envelope.payload_type,
            key_id: None,
            signature: envelope.signature.sig.as_bytes().to_vec(),
        })),
        SignatureContent::MessageSignature(message) => {
            let claimed = message.message_digest.and_then(|claim| match claim.algorithm {
                HashAlgorithm::Sha2256 => Digest::from_raw(Algorithm::Sha256, claim.digest.as_bytes()),
                _ => None,
            });
            Ok(SignedContent::Message { signature: message.signature.as_bytes().to_vec(), claimed })
        }
        _ => Err(BundleError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::{BundleError, SignedContent, parse};
    use crate::oci::digest::Digest;
    use crate::verify::test_keys::{TestKey, signature_statement};

    #[test]
    fn keyed_bundles_of_both_kinds() {
        let key = TestKey::p256();
        let digest = Digest::of(b"x");
        let SignedContent::Envelope(envelope) = parse(&key.bundle(&signature_statement(&digest))).unwrap() else {
            panic!("an envelope")
        };
        assert_eq!(envelope.payload_type, "application/vnd.in-toto+json");
        let SignedContent::Message { claimed, .. } = parse(&key.message_bundle(b"x")).unwrap() else {
            panic!("a message")
        };
        assert_eq!(claimed, Some(digest));
    }

    #[test]
    fn refuses_each_other_form_by_name() {
        let good = TestKey::p256().bundle(&signature_statement(&Digest::of(b"x")));
        let check = |from: &str, to: &str| {
            let text = String::from_utf8(good.clone()).unwrap();
            assert!(text.contains(from), "{text}");
            parse(text.replace(from, to).as_bytes()).unwrap_err()
        };
        let certificate = r#""certificate":{"rawBytes":"AAAA"}"#;
        assert!(matches!(check(r#""publicKey":{"hint":"a hint"}"#, certificate), BundleError::Keyless));
        assert!(matches!(check("bundle.v0.3", "bundle.v0.9"), BundleError::Form(_)));
        assert!(matches!(check(r#""hint":"a hint""#, r#""hint":"a","hint":"b""#), BundleError::Json(_)));
        assert!(matches!(check(r#""signatures":["#, r#""signatures":[{"sig":"AA=="},"#), BundleError::Form(_)));
        assert!(matches!(parse(b"{"), Err(BundleError::Json(_))));
        assert!(matches!(parse(&vec![b' '; 5 * 1024 * 1024]), Err(BundleError::TooLarge(_))));
    }
}
