//! Secrets of robots: 256 random bits, shown once, kept as their digest. Nobody chose them, so nothing slow is needed.

use crate::oci::digest::Digest;
use crate::sys::{mac, random};

const SECRET_BYTES: usize = 32;

/// A new secret, to be shown once.
pub fn generate() -> String {
    data_encoding::BASE64URL_NOPAD.encode(&random::bytes::<SECRET_BYTES>())
}

/// What is kept of it.
pub fn keep(secret: &str) -> Digest {
    Digest::of(secret.as_bytes())
}

/// Whether `secret` is the one that `kept` was made of.
pub fn verify(kept: &Digest, secret: &[u8]) -> bool {
    mac::equal(kept.raw(), Digest::of(secret).raw())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_opens_only_what_was_made_of_it() {
        let secret = super::generate();
        assert_eq!(secret.len(), 43);
        let kept = super::keep(&secret);
        assert!(super::verify(&kept, secret.as_bytes()) && !super::verify(&kept, super::generate().as_bytes()));
    }
}
