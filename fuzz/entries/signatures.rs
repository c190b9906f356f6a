//! What signatures come with: bundles, logs, time stamps, certificates and what they are trusted by.

use postern::oci::digest::Digest;
use postern::verify::artifact::Artifact;
use postern::verify::notation::name::NameRule;
use postern::verify::notation::{cose, jws};
use postern::verify::sigstore::checkpoint::Checkpoint;
use postern::verify::sigstore::identity::CertificateIdentity;
use postern::verify::sigstore::{self, Instance, Material, TrustedRoot};
use postern::verify::timestamp::{self, Token};
use postern::verify::tuf::RootMetadata;
use postern::verify::x509::{Certificate, RevocationLists};

use super::text;

/// No mutation is signed by anybody: whatever is read, nothing of it is believed by a root that others made.
pub fn sigstore_bundle(bytes: &[u8]) {
    let Ok(bundle) = sigstore::parse(bytes) else { return };
    let (Material::Keyless(material), Ok(root)) = (&bundle.material, TrustedRoot::github()) else { return };
    assert!(sigstore::keyless::verify(material, &bundle.content, Artifact::Bytes(b"artifact"), &root).is_err());
}

pub fn trusted_root(bytes: &[u8]) {
    if let Ok(root) = TrustedRoot::parse(bytes, Instance::Logged) {
        assert_eq!(root.digest(), &Digest::of(bytes));
    }
}

pub fn checkpoint(bytes: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::parse(text(bytes)) {
        assert!(!checkpoint.signatures.is_empty() && bytes.starts_with(checkpoint.signed));
    }
}

pub fn time_stamp(bytes: &[u8]) {
    if let Ok(token) = Token::parse(bytes) {
        let _ = token.signer(&[]);
    }
    assert!(timestamp::verify(bytes, b"message", &[]).is_err());
}

pub fn code_certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::parse(bytes) {
        let _ = (certificate.is_code_signing_leaf(), CertificateIdentity::of(&certificate));
        assert_eq!(certificate.der(), bytes);
    }
    let _ = (Certificate::parse_pem(text(bytes)), RevocationLists::parse(vec![bytes.to_vec()]));
}

pub fn notation_jws(bytes: &[u8]) {
    if let Ok(envelope) = jws::parse(bytes) {
        assert!(!envelope.chain.is_empty());
    }
}

pub fn notation_cose(bytes: &[u8]) {
    if let Ok(envelope) = cose::parse(bytes) {
        assert!(!envelope.chain.is_empty());
    }
}

pub fn distinguished_name(bytes: &[u8]) {
    let _ = NameRule::parse(text(bytes));
}

pub fn tuf(bytes: &[u8]) {
    // Nobody holds the key that the sample names.
    assert!(RootMetadata::pinned(bytes).is_err());
}
