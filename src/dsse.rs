//! DSSE envelopes (Dead Simple Signing Envelope, protocol 1.0.2): parsing and the bytes that are signed.
//!
//! Pure: it neither signs nor verifies. One signature and no duplicate JSON key are demanded, so that two readers can
//! never see two different payloads.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};

/// A payload, what type it is of, and the one signature over both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub payload_type: String,
    pub payload: Vec<u8>,
    /// A hint at the key. Never trusted: the verifier chooses the key.
    pub key_id: Option<String>,
    pub signature: Vec<u8>,
}

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("envelope is {actual} bytes long, the most is {limit}")]
    TooLarge { actual: usize, limit: usize },
    #[error("envelope is not valid JSON of its kind")]
    Json(#[source] serde_json::Error),
    #[error("envelope carries {0} signatures, exactly one is taken")]
    SignatureCount(usize),
    #[error("envelope's {0} is not base64")]
    Base64(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    payload_type: String,
    payload: String,
    signatures: Vec<WrittenSignature>,
}

#[derive(Serialize, Deserialize)]
struct WrittenSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

impl Envelope {
    /// Parses `bytes`, of which there may be `limit_bytes` at the most.
    pub fn parse(bytes: &[u8], limit_bytes: usize) -> Result<Self, EnvelopeError> {
        if bytes.len() > limit_bytes {
            return Err(EnvelopeError::TooLarge { actual: bytes.len(), limit: limit_bytes });
        }
        let written: Written = serde_json::from_slice(bytes).map_err(EnvelopeError::Json)?;
        let [signature] = written.signatures.as_slice() else {
            return Err(EnvelopeError::SignatureCount(written.signatures.len()));
        };
        Ok(Self {
            payload: decode(&written.payload).ok_or(EnvelopeError::Base64("payload"))?,
            signature: decode(&signature.sig).ok_or(EnvelopeError::Base64("signature"))?,
            key_id: signature.keyid.clone().filter(|id| !id.is_empty()),
            payload_type: written.payload_type,
        })
    }

    /// The envelope as JSON, always the same bytes for the same envelope.
    pub fn to_json(&self) -> Vec<u8> {
        let written = Written {
            payload_type: self.payload_type.clone(),
            payload: BASE64.encode(&self.payload),
            signatures: vec![WrittenSignature { keyid: self.key_id.clone(), sig: BASE64.encode(&self.signature) }],
        };
        serde_json::to_vec(&written).expect("strings always serialise")
    }

    /// The bytes over which the signature is made.
    pub fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }
}

/// DSSE's pre-authentication encoding (PAE), which binds the payload to its type.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

/// The protocol allows the standard and the URL-safe alphabet, with padding or without.
fn decode(text: &str) -> Option<Vec<u8>> {
    [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD].iter().find_map(|encoding| encoding.decode(text.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::{Envelope, EnvelopeError, pre_authentication_encoding};

    #[test]
    fn the_protocols_own_example() {
        // From the protocol document: payload "hello world" of type http://example.com/HelloWorld.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn round_trips_and_refuses_more_than_one_signature() {
        let envelope =
            Envelope { payload_type: "t".into(), payload: b"p".to_vec(), key_id: None, signature: vec![1, 2] };
        assert_eq!(Envelope::parse(&envelope.to_json(), 1000).unwrap(), envelope);
        let check = |text: &str| Envelope::parse(text.as_bytes(), 1000).unwrap_err();
        assert!(matches!(
            check(r#"{"payloadType":"t","payload":"","signatures":[]}"#),
            EnvelopeError::SignatureCount(0)
        ));
        let twice = r#"{"payloadType":"t","payload":"","payload":"","signatures":[{"sig":""}]}"#;
        assert!(matches!(check(twice), EnvelopeError::Json(_)));
        assert!(matches!(Envelope::parse(&envelope.to_json(), 3).unwrap_err(), EnvelopeError::TooLarge { .. }));
    }
}
