//! An authority for time stamps whose certificate was revoked: what it stamped does not count any more.

use postern::oci::digest::Digest;
use postern::verify::notation::{
    Level, Notation, NotationSigner, Target, TrustStore, TrustStoreKind, TrustedIdentities, jws,
};
use serde_json::json;

use super::MANIFEST;
use super::instance::Instance;

const SIGNER_SERIAL: u64 = 5;
const NOW: &str = "2026-11-28T00:00:00Z";

/// What Notation's rules say of an envelope, by an instance's roots and what was brought here of lists for its time stamps.
fn verify(instance: &Instance, level: Level, lists: Vec<Vec<u8>>) -> Result<NotationSigner, String> {
    let digest = Digest::of(b"an image");
    let payload = json!({"targetArtifact": {"mediaType": MANIFEST, "digest": digest, "size": 8}}).to_string();
    let envelope = jws::parse(&instance.sign_for_notation(payload.as_bytes())).expect("an envelope");
    let store = |kind, root: &[u8], lists| TrustStore::parse(kind, root, lists).expect("a store");
    let stores = vec![
        store(TrustStoreKind::Ca, instance.root(), Vec::new()),
        store(TrustStoreKind::Tsa, instance.time_root(), lists),
    ];
    let notation = Notation { level, stores, identities: TrustedIdentities::Any };
    let target = Target { media_type: MANIFEST, digest, size: 8 };
    notation.verify(&envelope, &target, NOW.parse().expect("a time")).map_err(|error| error.to_string())
}

#[test]
fn what_a_revoked_authority_stamped_has_no_time() {
    let (instance, stranger) = (Instance::new(), Instance::new());
    // The certificate of who signed ended weeks ago: all hangs on the stamp.
    for lists in [vec![], vec![instance.time_revocation_list(&[])], vec![instance.time_revocation_list(&[6])]] {
        let signer = verify(&instance, Level::Strict, lists).expect("it is stamped");
        assert!(signer.stamped.is_some() && signer.logged.is_empty(), "{signer:?}");
    }
    let revoked = || vec![instance.time_revocation_list(&[6, SIGNER_SERIAL])];
    let refused = verify(&instance, Level::Strict, revoked()).expect_err("it was revoked");
    assert!(refused.contains("was revoked by its issuer"), "{refused}");
    // Permissively it is let through, and written down.
    let signer = verify(&instance, Level::Permissive, revoked()).expect("it is only logged");
    assert_eq!(signer.stamped, None);
    assert_eq!(signer.logged[0].check, "authentic timestamp");
    // Strangers' words in the issuer's name are no answer, not even that all is well.
    let forged = verify(&instance, Level::Strict, vec![stranger.time_revocation_list(&[])]);
    assert!(forged.is_err(), "{forged:?}");
}
