//! Why an image could not even be judged.

use std::fmt::Display;

use super::content::ContentError;
use crate::limits::{IMAGE_MANIFESTS_BYTES_MAX, IMAGE_MANIFESTS_COUNT_MAX, INDEX_DEPTH_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::manifest::ManifestError;
use crate::oci::name::Tag;
use crate::verify::{NotCovered, Refusal, rule_names};

/// Why an image could not be judged. Either way it does not come in.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    #[error("cannot read '{what}'")]
    Unread { what: String, source: ContentError },
    #[error("manifest '{0}' is not there")]
    Missing(Digest),
    #[error("manifest '{0}' does not hash to its digest, or is too large")]
    Corrupt(Digest),
    #[error("manifest '{digest}' cannot be used")]
    Manifest { digest: Box<Digest>, source: Box<ManifestError> },
    #[error("indexes are nested more than {INDEX_DEPTH_COUNT_MAX} deep")]
    TooDeep,
    #[error(
        "the image and what speaks of it are more than {IMAGE_MANIFESTS_COUNT_MAX} manifests or {IMAGE_MANIFESTS_BYTES_MAX} bytes of them"
    )]
    TooMuch,
    #[error("tag '{0}' is kept for what speaks of an image, so no image can stand under it")]
    ReservedTag(Tag),
    #[error("a manifest that was reached through an index is not covered by it")]
    NotCovered(#[from] NotCovered),
}

impl AdmissionError {
    pub(super) fn unread(what: &dyn Display, source: ContentError) -> Self {
        Self::Unread { what: what.to_string(), source }
    }

    /// As a refusal, where the image itself is at fault; `None` where trying again may help.
    pub fn refusal(&self) -> Option<Refusal> {
        let rule = match self {
            Self::Unread { .. } | Self::Missing(_) => return None,
            Self::TooMuch => rule_names::EVIDENCE_LIMIT,
            Self::Corrupt(_) | Self::Manifest { .. } | Self::TooDeep | Self::ReservedTag(_) | Self::NotCovered(_) => {
                rule_names::INTEGRITY
            }
        };
        Some(Refusal { rule: rule.to_owned(), reason: self.whole_text(), next_step: None })
    }

    /// What is wrong and why, for a sentence that stands alone.
    pub(super) fn whole_text(&self) -> String {
        let source = std::error::Error::source(self);
        source.map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }
}
