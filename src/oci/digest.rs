//! Content digests (`algorithm:encoded`), as the OCI image specification defines them.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hashing::Running;

/// A registered digest algorithm. SHA-256 is canonical here; SHA-512 is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The name that stands before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the raw digest in bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `content` by this algorithm.
    pub fn hash(self, content: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(content);
        hasher.finish()
    }

    /// The digests of `content` by every algorithm: all names that the same bytes can have.
    pub fn all_of(content: &[u8]) -> [Digest; 2] {
        [Self::Sha256.hash(content), Self::Sha512.hash(content)]
    }

    /// A hasher for this algorithm.
    pub fn hasher(self) -> Hasher {
        Hasher { algorithm: self, running: Running::new(self) }
    }
}

/// The raw SHA-256 of `content`, for what is named by one but is no content digest.
pub fn sha256(content: &[u8]) -> [u8; 32] {
    let digest = Digest::of(content);
    digest.raw().try_into().expect("SHA-256 is 32 bytes long")
}

/// The digest of some content: an algorithm and the raw bytes.
///
/// Made only by hashing ([`Digest::of`], [`Hasher::finish`]) or by parsing text or bytes of exactly the right form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    raw: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    #[error("digest '{0}' has no algorithm before a colon")]
    NoAlgorithm(String),
    #[error("digest algorithm '{0}' is not supported (sha256 and sha512 are)")]
    Algorithm(String),
    #[error("digest '{0}' is not lower-case hexadecimal of the algorithm's length")]
    Encoding(String),
}

impl Digest {
    /// The SHA-256 digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Algorithm::Sha256.hash(content)
    }

    /// Which algorithm made this digest.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw digest, 32 or 64 bytes.
    pub fn raw(&self) -> &[u8] {
        &self.raw[..self.algorithm.digest_bytes()]
    }

    /// The part after the colon.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(self.raw())
    }

    /// Compact form for keys of the index: one byte for the algorithm, then the raw digest.
    pub fn to_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + self.algorithm.digest_bytes());
        key.push(match self.algorithm {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        });
        key.extend_from_slice(self.raw());
        key
    }

    /// Reads [`Digest::to_key`] back from the beginning of `key`; `None` where it is too short or of no known kind.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let algorithm = match key.first()? {
            1 => Algorithm::Sha256,
            2 => Algorithm::Sha512,
            _ => return None,
        };
        Self::from_raw(algorithm, key.get(1..=algorithm.digest_bytes())?)
    }

    /// A digest from its raw bytes; `None` where the length is wrong.
    pub fn from_raw(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != algorithm.digest_bytes() {
            return None;
        }
        let mut raw = [0; 64];
        raw[..bytes.len()].copy_from_slice(bytes);
        Some(Self { algorithm, raw })
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let shown = || text.chars().take(160).collect::<String>();
        let (name, encoded) = text.split_once(':').ok_or_else(|| DigestError::NoAlgorithm(shown()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(name.chars().take(64).collect())),
        };
        if encoded.len() != 2 * algorithm.digest_bytes() {
            return Err(DigestError::Encoding(shown()));
        }
        let raw = HEXLOWER.decode(encoded.as_bytes()).map_err(|_| DigestError::Encoding(shown()))?;
        Self::from_raw(algorithm, &raw).ok_or_else(|| DigestError::Encoding(shown()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes a stream piece by piece.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    running: Running,
}

impl Hasher {
    /// By which algorithm it hashes.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.running.update(piece);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        let raw = self.running.finish();
        Digest::from_raw(self.algorithm, raw.as_ref()).expect("a hasher yields its own algorithm's length")
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Digest, DigestError};

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn round_trips() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest, Digest::of(b""));
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(Digest::from_key(&digest.to_key()), Some(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{EMPTY}\""));
    }

    /// FIPS 180-4's example "abc", in two pieces: whichever library the edition has, the digest is the same.
    #[test]
    fn hashes_what_the_standard_says() {
        let check = |algorithm: Algorithm, expected: &str| {
            let mut hasher = algorithm.hasher();
            hasher.update(b"a");
            let mut other = hasher.clone();
            other.update(b"x");
            hasher.update(b"bc");
            assert_eq!(hasher.finish().hex(), expected);
        };
        check(Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                      2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        check(Algorithm::Sha512, sha512);
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let check = |text: &str| text.parse::<Digest>().unwrap_err();
        assert!(matches!(check("e3b0"), DigestError::NoAlgorithm(_)));
        assert!(matches!(check("md5:00"), DigestError::Algorithm(_)));
        assert!(matches!(check("sha256:../../etc"), DigestError::Encoding(_)));
        assert!(matches!(check(&EMPTY.to_uppercase().replace("SHA", "sha")), DigestError::Encoding(_)));
        assert!(matches!(check(&EMPTY[..EMPTY.len() - 1]), DigestError::Encoding(_)));
    }
}
