//! Documents that may prove something about an image, as they were found. Nothing in here has been verified.

use std::collections::BTreeMap;

use crate::limits::{EVIDENCE_DOCUMENTS_COUNT_MAX, EVIDENCE_TOTAL_BYTES_MAX};
use crate::oci::digest::Digest;

/// All that was found for one image.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    items: Vec<EvidenceItem>,
    bytes: usize,
    over_limit: bool,
}

/// One document.
#[derive(Clone, Debug)]
pub struct EvidenceItem {
    /// The manifest in which it was found.
    pub manifest: Digest,
    /// The document's own digest.
    pub digest: Digest,
    pub content: EvidenceContent,
}

/// The forms in which signatures and attestations are found on registries.
#[derive(Clone, Debug)]
pub enum EvidenceContent {
    /// A layer of cosign's older form: what was signed, and annotations with the signature.
    CosignSignature { payload: Vec<u8>, annotations: BTreeMap<String, String> },
    /// A DSSE envelope, a layer of cosign's older attestations, and its annotations.
    Envelope { bytes: Vec<u8>, annotations: BTreeMap<String, String> },
    /// A Sigstore bundle.
    SigstoreBundle(Vec<u8>),
    /// A Notation signature in JSON or CBOR.
    Notation { bytes: Vec<u8>, form: NotationForm },
    /// A Statement that somebody put into the index and nobody signed, as BuildKit does. It proves nothing: what it says is
    /// shown where a signed one is missing.
    Unsigned(Vec<u8>),
    /// There, but nothing can be concluded from it; the text says why.
    Unusable(String),
}

/// How a Notation signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotationForm {
    Jws,
    Cose,
}

impl EvidenceContent {
    fn bytes(&self) -> usize {
        match self {
            Self::CosignSignature { payload, .. } => payload.len(),
            Self::Envelope { bytes, .. } | Self::Notation { bytes, .. } => bytes.len(),
            Self::SigstoreBundle(bytes) | Self::Unsigned(bytes) => bytes.len(),
            Self::Unusable(reason) => reason.len(),
        }
    }
}

impl Evidence {
    /// Adds a document. Beyond the bounds nothing more is kept, and the whole is remembered as too much.
    pub fn add(&mut self, item: EvidenceItem) {
        let bytes = self.bytes.saturating_add(item.content.bytes());
        if self.items.len() == EVIDENCE_DOCUMENTS_COUNT_MAX || bytes > EVIDENCE_TOTAL_BYTES_MAX {
            self.over_limit = true;
            return;
        }
        self.bytes = bytes;
        self.items.push(item);
    }

    /// Whether a document of this size would not be too much.
    pub const fn has_room_for(&self, bytes: usize) -> bool {
        self.items.len() < EVIDENCE_DOCUMENTS_COUNT_MAX && self.bytes.saturating_add(bytes) <= EVIDENCE_TOTAL_BYTES_MAX
    }

    /// Remembers that there was more than may be looked at.
    pub const fn exceed(&mut self) {
        self.over_limit = true;
    }

    /// Whether there was more than may be looked at, so that no conclusion can be drawn.
    pub const fn is_over_limit(&self) -> bool {
        self.over_limit
    }

    /// What was kept, in the order in which it was found.
    pub fn items(&self) -> &[EvidenceItem] {
        &self.items
    }
}
