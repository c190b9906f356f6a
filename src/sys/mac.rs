//! Message authentication (HMAC-SHA-256, FIPS 198-1), by the module that also makes the keys.

use aws_lc_rs::{constant_time, digest, hmac};

use super::random;

/// A key that lives as long as the process: what it authenticates is void after a restart.
pub struct MacKey(hmac::Key);

/// Bytes of a tag.
pub const TAG_BYTES: usize = digest::SHA256_OUTPUT_LEN;

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(withheld)")
    }
}

impl MacKey {
    /// A new key that nobody else has.
    pub fn generate() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<TAG_BYTES>()))
    }

    /// The tag of `message`.
    pub fn tag(&self, message: &[u8]) -> [u8; TAG_BYTES] {
        let tag = hmac::sign(&self.0, message);
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Whether `tag` is that of `message`. Takes the same time wherever they differ.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

/// Whether two texts are equal, in a time that depends on their lengths alone.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{MacKey, equal};

    #[test]
    fn a_tag_is_of_one_message_and_one_key() {
        let (key, other) = (MacKey::generate(), MacKey::generate());
        let tag = key.tag(b"message");
        assert!(key.verify(b"message", &tag));
        assert!(!key.verify(b"massage", &tag) && !other.verify(b"message", &tag) && !key.verify(b"message", &tag[1..]));
        assert_eq!(format!("{key:?}"), "MacKey(withheld)");
        assert!(equal(b"a", b"a") && !equal(b"a", b"b") && !equal(b"a", b"aa"));
    }
}
