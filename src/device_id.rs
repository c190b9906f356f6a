//! The name of a device: short enough to be read aloud, long enough that nobody finds a second key for it.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::oci::digest::sha256;

/// The first 160 bits of the SHA-256 of a device's public key (SubjectPublicKeyInfo, DER), in base 32.
///
/// 160 bits leave a second preimage out of reach, and make eight groups of four letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

/// Why a text is not a device id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("device id '{0}' is not 32 letters or digits of base 32 (a-z, 2-7), with or without '-' between groups")]
pub struct DeviceIdError(String);

const ID_BYTES: usize = 20;
const ID_LETTERS: usize = 32;

impl DeviceId {
    /// The id of the device that holds this public key.
    pub fn of_public_key(subject_public_key_info: &[u8]) -> Self {
        let hash = sha256(subject_public_key_info);
        Self(BASE32_NOPAD.encode(&hash[..ID_BYTES]).to_ascii_lowercase())
    }

    /// The id as 32 letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in groups of four, for comparing two screens or reading aloud.
    pub fn fingerprint(&self) -> String {
        let groups: Vec<&str> = (0..ID_LETTERS).step_by(4).map(|at| &self.0[at..at + 4]).collect();
        groups.join("-")
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let letters: String = text
            .chars()
            .filter(|letter| !matches!(letter, '-' | ' '))
            .take(ID_LETTERS + 1)
            .collect::<String>()
            .to_ascii_lowercase();
        let wrong = || DeviceIdError(text.chars().take(80).collect());
        if letters.len() != ID_LETTERS || !letters.is_ascii() {
            return Err(wrong());
        }
        let mut specification = Specification::new();
        specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        let encoding = specification.encoding().expect("32 distinct symbols make an encoding");
        encoding.decode(letters.as_bytes()).map_err(|_| wrong())?;
        Ok(Self(letters))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceId;

    #[test]
    fn a_fingerprint_reads_back() {
        let id = DeviceId::of_public_key(b"key");
        assert_eq!(id.fingerprint().parse::<DeviceId>().unwrap(), id);
        assert_eq!(id.fingerprint().to_uppercase().parse::<DeviceId>().unwrap(), id);
        for wrong in ["", "abcd", &"1".repeat(32), &"é".repeat(16), &"a".repeat(33)] {
            assert!(wrong.parse::<DeviceId>().is_err(), "{wrong}");
        }
    }
}
