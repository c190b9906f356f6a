//! What is signed of an image and how it is written down, in the forms that cosign 3 reads: an in-toto Statement, a Sigstore
//! bundle of version 0.3 around its envelope, and the manifest that attaches the bundle to the image. It signs nothing.

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::dsse::Envelope;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::media_type;
use crate::verify::slsa;
use crate::verify::statement::{COSIGN_SIGNATURE, STATEMENT_V1};

/// The form of the bundles that are written here.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The empty JSON object, which stands where an artifact has no configuration.
pub const EMPTY: &[u8] = b"{}";

/// cosign's short names for types of predicates.
pub const PREDICATE_NAMES: [(&str, &str); 8] = [
    ("slsaprovenance", slsa::PROVENANCE_V0_2),
    ("slsaprovenance02", slsa::PROVENANCE_V0_2),
    ("slsaprovenance1", slsa::PROVENANCE_V1),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
];
/// Ours for what `postern verify --vsa` prints.
const SUMMARY: (&str, &str) = ("vsa", "https://slsa.dev/verification_summary/v1");

/// The type of a predicate that a person has named: a short name or a URI of its own. `None` for anything else, and for
/// the one that is a signature: what is attested is never to be taken for it.
pub fn predicate_type(named: &str) -> Option<&str> {
    let known = PREDICATE_NAMES.iter().chain([&SUMMARY]).find(|(name, _)| *name == named).map(|(_, uri)| *uri);
    let is_uri = named.contains("://") && !named.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    known.or_else(|| (is_uri && named != COSIGN_SIGNATURE).then_some(named))
}

/// The Statement that signs the image `subject`.
pub fn signature(subject: &Digest) -> Value {
    attestation(subject, COSIGN_SIGNATURE, &json!({}))
}

/// The Statement that says `predicate` of the image `subject`.
pub fn attestation(subject: &Digest, predicate_type: &str, predicate: &Value) -> Value {
    json!({
        "_type": STATEMENT_V1,
        "subject": [{"digest": {subject.algorithm().name(): subject.hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// The bundle around an envelope that the key of `fingerprint` has signed.
pub fn bundle(envelope: &Envelope, fingerprint: &Digest) -> Vec<u8> {
    let written = json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": BASE64.encode(fingerprint.raw())}},
        "dsseEnvelope": {
            "payload": BASE64.encode(&envelope.payload),
            "payloadType": envelope.payload_type,
            "signatures": [{"sig": BASE64.encode(&envelope.signature)}],
        },
    });
    serde_json::to_vec(&written).expect("texts always serialise")
}

/// The manifest that attaches `bundle` to `subject`.
pub fn referrer(subject: &Descriptor, bundle: &[u8], predicate_type: &str) -> Vec<u8> {
    let blob = |media_type: &str, content: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(content), "size": content.len()});
    let written = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": BUNDLE_TYPE,
        "config": blob(media_type::OCI_EMPTY, EMPTY),
        "layers": [blob(BUNDLE_TYPE, bundle)],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": predicate_type,
        },
    });
    serde_json::to_vec(&written).expect("texts and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use super::{attestation, bundle, predicate_type, signature};
    use crate::dsse::Envelope;
    use crate::oci::digest::Digest;
    use crate::verify::sigstore::{Material, SignedContent, parse};
    use crate::verify::statement::{COSIGN_SIGNATURE, PAYLOAD_TYPE, Statement};

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        let image = Digest::of(b"image");
        let statement = Statement::parse(&serde_json::to_vec(&signature(&image)).unwrap()).unwrap();
        assert_eq!(
            (statement.subjects.as_slice(), statement.predicate_type.as_str()),
            (&[image][..], COSIGN_SIGNATURE)
        );
        let payload = serde_json::to_vec(&attestation(&image, "https://a.example/b", &serde_json::json!({"c": 1})));
        let envelope = Envelope {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: payload.unwrap(),
            key_id: None,
            signature: vec![7; 70],
        };
        let read = parse(&bundle(&envelope, &Digest::of(b"key"))).unwrap();
        assert_eq!(read.material, Material::Key { timestamps: Vec::new() });
        assert_eq!(read.content, SignedContent::Envelope(envelope));
    }

    #[test]
    fn an_attestation_is_never_called_a_signature() {
        assert_eq!(predicate_type("slsaprovenance1"), Some("https://slsa.dev/provenance/v1"));
        assert_eq!(predicate_type("https://a.example/b"), Some("https://a.example/b"));
        assert_eq!(predicate_type(COSIGN_SIGNATURE), None);
        assert_eq!(predicate_type("slsaprovenanse"), None);
    }
}
