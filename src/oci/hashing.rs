//! The hash functions, by the one library that each edition has for them: the validated module in the FIPS edition, which
//! then holds no other implementation, and RustCrypto's in the standard one.

use super::digest::Algorithm;

/// A hash under way.
#[cfg(feature = "fips")]
#[derive(Clone)]
pub(super) struct Running(aws_lc_rs::digest::Context);

#[cfg(feature = "fips")]
impl Running {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self(aws_lc_rs::digest::Context::new(match algorithm {
            Algorithm::Sha256 => &aws_lc_rs::digest::SHA256,
            Algorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        }))
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(super) fn finish(self) -> impl AsRef<[u8]> {
        self.0.finish()
    }
}

/// A hash under way.
#[cfg(not(feature = "fips"))]
#[derive(Clone)]
pub(super) enum Running {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

#[cfg(not(feature = "fips"))]
impl Running {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::default()),
            Algorithm::Sha512 => Self::Sha512(Box::default()),
        }
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Sha256(hasher) => sha2::Digest::update(hasher, piece),
            Self::Sha512(hasher) => sha2::Digest::update(hasher.as_mut(), piece),
        }
    }

    pub(super) fn finish(self) -> impl AsRef<[u8]> {
        match self {
            Self::Sha256(hasher) => sha2::Digest::finalize(hasher).to_vec(),
            Self::Sha512(hasher) => sha2::Digest::finalize(*hasher).to_vec(),
        }
    }
}
