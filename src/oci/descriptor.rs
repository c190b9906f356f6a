//! Content descriptors (OCI image specification, "Descriptor").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::limits::MEDIA_TYPE_BYTES_MAX;

/// Where some content is to be found: its type, digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The platform for which a child of an index was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

impl std::fmt::Display for Platform {
    /// `os/architecture[/variant]`, as every client's `--platform` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// Why a text is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("platform '{0}' is not os/architecture or os/architecture/variant, such as linux/arm/v7")]
pub struct PlatformError(String);

impl std::str::FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let parts: Vec<&str> = text.split('/').collect();
        let all_words = text.len() <= MEDIA_TYPE_BYTES_MAX && parts.iter().all(is_word);
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] if all_words => (*os, *architecture, None),
            [os, architecture, variant] if all_words => (*os, *architecture, Some((*variant).to_owned())),
            _ => return Err(PlatformError(text.chars().take(80).collect())),
        };
        Ok(Self { architecture: architecture.to_owned(), os: os.to_owned(), variant, os_version: None })
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn platforms_read_as_they_are_written() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for wrong in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "linux/arm 64", "a/../b"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }
}
