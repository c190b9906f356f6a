//! Which volume of which set: the first entry of a volume, and the name of its file.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FORMAT_VERSION;
use super::canonical::{self, CanonicalError};
use crate::limits::{VOLUME_HEAD_BYTES_MAX, VOLUMES_COUNT_MAX};
use crate::oci::digest::sha256;

/// The name of a set: the SHA-256 of the statement that its seal signs. No two sets share one, and nobody can choose it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId([u8; 32]);

/// A text that is no set id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a set: 64 hexadecimal digits, or at least the first 8 of them")]
pub struct SetIdError(String);

/// Hexadecimal digits of a set id that stand in the name of a file.
pub const SET_IN_NAME_LETTERS: usize = 12;

impl SetId {
    /// The id of the set whose seal signs `statement`.
    pub fn of_statement(statement: &[u8]) -> Self {
        Self(sha256(statement))
    }

    /// The 12 digits by which files and people call it.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(SET_IN_NAME_LETTERS);
        text
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SetId {
    type Err = SetIdError;

    fn from_str(text: &str) -> Result<Self, SetIdError> {
        let raw = HEXLOWER.decode(text.as_bytes()).ok().and_then(|raw| raw.try_into().ok());
        raw.map(Self).ok_or_else(|| SetIdError(text.chars().take(80).collect()))
    }
}

impl Serialize for SetId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SetId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The content of `volume.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeHead {
    format: u32,
    /// The set that the volume is of.
    pub set: SetId,
    /// Which volume it is, from 1.
    pub volume: u16,
    /// How many volumes the set has.
    pub volumes: u16,
}

/// Why bytes are not the head of a volume.
#[derive(Debug, thiserror::Error)]
pub enum VolumeHeadError {
    #[error("volume's head is not readable")]
    Canonical(#[from] CanonicalError),
    #[error("volume is of format {0}, this version reads format {FORMAT_VERSION}")]
    Format(u32),
    #[error("volume calls itself number {volume} of {volumes}")]
    Number { volume: u16, volumes: u16 },
}

impl VolumeHead {
    /// The head of a volume that is to be written.
    pub fn new(set: SetId, volume: u16, volumes: u16) -> Self {
        Self { format: FORMAT_VERSION, set, volume, volumes }
    }

    /// Parses `volume.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, VolumeHeadError> {
        let head: Self = canonical::parse(bytes, VOLUME_HEAD_BYTES_MAX)?;
        if head.format != FORMAT_VERSION {
            return Err(VolumeHeadError::Format(head.format));
        }
        if head.volume == 0 || head.volume > head.volumes || usize::from(head.volumes) > VOLUMES_COUNT_MAX {
            return Err(VolumeHeadError::Number { volume: head.volume, volumes: head.volumes });
        }
        Ok(head)
    }

    /// Its one text.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_bytes(self)
    }

    /// The name that the volume's file must have.
    pub fn file_name(&self) -> FileName {
        FileName { set: self.set.short(), volume: self.volume, volumes: self.volumes }
    }
}

/// The name of a volume's file, `postern-<12 hex>-<nnn>of<nnn>.tar`. It says where to look first and proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    pub set: String,
    pub volume: u16,
    pub volumes: u16,
}

impl FileName {
    /// Reads a name as it stands on a medium, in either case; `None` for a file that is none of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (set, numbers) = name.strip_prefix("postern-")?.strip_suffix(".tar")?.split_once('-')?;
        let (volume, volumes) = numbers.split_once("of")?;
        let hexadecimal =
            set.len() == SET_IN_NAME_LETTERS && set.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = |text: &str| -> Option<u16> {
            if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
        };
        let (volume, volumes) = (number(volume)?, number(volumes)?);
        (hexadecimal && volume >= 1 && volume <= volumes).then(|| Self { set: set.to_owned(), volume, volumes })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postern-{}-{:03}of{:03}.tar", self.set, self.volume, self.volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::{FileName, SetId, VolumeHead, VolumeHeadError};

    #[test]
    fn file_names() {
        let head = VolumeHead::new(SetId::of_statement(b"x"), 2, 10);
        let name = head.file_name().to_string();
        assert_eq!(name, "postern-2d711642b726-002of010.tar");
        assert_eq!(FileName::parse(&name), Some(head.file_name()));
        assert_eq!(FileName::parse(&name.to_uppercase()), Some(head.file_name()));
        for other in [
            "postern-2d711642b726-011of010.tar",
            "postern-2d711642b726-000of010.tar",
            "postern-2d711642b726-2of3.tar",
            "postern-2d711642b726-002of010.tar.partial",
            "postern-2d711642b72g-002of010.tar",
            "postern-../../etc/pa-002of010.tar",
            "notes.txt",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn heads() {
        let head = VolumeHead::new(SetId::of_statement(b"x"), 1, 1);
        assert_eq!(VolumeHead::parse(&head.to_bytes()).unwrap(), head);
        let text = String::from_utf8(head.to_bytes()).unwrap();
        let check = |text: String| VolumeHead::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(check(text.replace("\"format\":1", "\"format\":2")), VolumeHeadError::Format(2)));
        assert!(matches!(check(text.replace("\"volume\":1", "\"volume\":2")), VolumeHeadError::Number { .. }));
        assert!(matches!(check(text.replace(",\"volume\"", ", \"volume\"")), VolumeHeadError::Canonical(_)));
        assert!(matches!(check(text.replace("1}", "1000}")), VolumeHeadError::Number { .. }));
    }
}
