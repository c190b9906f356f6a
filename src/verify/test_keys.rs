//! Keys and documents for the tests of this floor. Compiled for tests only.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
};
use data_encoding::BASE64;
use serde_json::json;

use crate::dsse::{Envelope, pre_authentication_encoding};
use crate::oci::digest::Digest;

pub struct TestKey {
    pair: EcdsaKeyPair,
    prefix: &'static [u8],
}

impl TestKey {
    pub fn p256() -> Self {
        Self::generate(&ECDSA_P256_SHA256_ASN1_SIGNING, super::key::P256_PREFIX)
    }

    pub fn p384() -> Self {
        Self::generate(&ECDSA_P384_SHA384_ASN1_SIGNING, super::key::P384_PREFIX)
    }

    fn generate(algorithm: &'static EcdsaSigningAlgorithm, prefix: &'static [u8]) -> Self {
        Self { pair: EcdsaKeyPair::generate(algorithm).unwrap(), prefix }
    }

    pub fn public_pem(&self) -> String {
        // The prefix already ends in the 0x04 with which the point begins.
        pem(&[self.prefix, &self.pair.public_key().as_ref()[1..]].concat())
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// A DSSE envelope around an in-toto Statement.
    pub fn envelope(&self, statement: &serde_json::Value) -> Vec<u8> {
        let payload = serde_json::to_vec(statement).unwrap();
        let payload_type = "application/vnd.in-toto+json".to_owned();
        let signature = self.sign(&pre_authentication_encoding(&payload_type, &payload));
        Envelope { payload_type, payload, key_id: None, signature }.to_json()
    }

    /// A keyed Sigstore bundle around such an envelope.
    pub fn bundle(&self, statement: &serde_json::Value) -> Vec<u8> {
        let envelope: serde_json::Value = serde_json::from_slice(&self.envelope(statement)).unwrap();
        bundle("dsseEnvelope", &envelope)
    }

    /// A keyed Sigstore bundle with a bare signature over `message`.
    pub fn message_bundle(&self, message: &[u8]) -> Vec<u8> {
        let digest = BASE64.encode(Digest::of(message).raw());
        let content = json!({
            "messageDigest": {"algorithm": "SHA2_256", "digest": digest},
            "signature": BASE64.encode(&self.sign(message)),
        });
        bundle("messageSignature", &content)
    }
}

fn bundle(kind: &str, content: &serde_json::Value) -> Vec<u8> {
    let written = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "a hint"}},
        kind: content,
    });
    serde_json::to_vec(&written).unwrap()
}

/// `cosign sign`'s Statement about `subject`.
pub fn signature_statement(subject: &Digest) -> serde_json::Value {
    statement(subject, "https://sigstore.dev/cosign/sign/v1", &json!({}))
}

/// A Statement about `subject`.
pub fn statement(subject: &Digest, predicate_type: &str, predicate: &serde_json::Value) -> serde_json::Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": subject.hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// SLSA provenance v1 about `subject`.
pub fn provenance(subject: &Digest, builder: &str, build_type: &str) -> serde_json::Value {
    let predicate = json!({"buildDefinition": {"buildType": build_type}, "runDetails": {"builder": {"id": builder}}});
    statement(subject, "https://slsa.dev/provenance/v1", &predicate)
}

/// cosign's simple signing payload about `subject`.
pub fn simple_signing(subject: &Digest) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example/app"},
            "image": {"docker-manifest-digest": subject.to_string()},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    serde_json::to_vec(&payload).unwrap()
}

pub fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der))
}
