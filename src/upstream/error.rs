//! Why the mirror could not get something.

use std::sync::Arc;

use crate::http::body::BodyError;
use crate::http::client::ClientError;
use crate::limits::GATHERED_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::manifest::ManifestError;
use crate::store::{BlobError, CommitError, StoreError};
use crate::sys::dir::DirError;
use crate::verify::Refusal;

use super::token::TokenError;

/// A failure of the mirror. Texts name upstreams as they are configured; hosts stand only in the sources, for the log.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error("upstream '{name}' cannot be configured")]
    Settings {
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no upstream is configured for '{0}': add one to the configuration, or check the name")]
    NoUpstream(String),
    #[error("upstream '{upstream}' has nothing of this name")]
    NotFound { upstream: String },
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("this is not here, and the mirror is declared offline: carry it in with a transfer bundle")]
    Offline,
    #[error("upstream '{upstream}' cannot be reached, and this is not here yet")]
    Unreachable {
        upstream: String,
        #[source]
        source: ClientError,
    },
    #[error("upstream '{upstream}' did not answer a moment ago")]
    Silent { upstream: String },
    #[error("upstream '{upstream}' denies access: it is not there, or other credentials are needed")]
    Denied { upstream: String },
    #[error("upstream '{upstream}' asks to come back later: too many requests")]
    RateLimited { upstream: String, retry_after_seconds: Option<u64> },
    #[error("upstream '{upstream}' answered with status {status}")]
    Status { upstream: String, status: u16 },
    #[error("the token service of upstream '{upstream}' gave no token")]
    Token {
        upstream: String,
        #[source]
        source: TokenError,
    },
    #[error("the token service of upstream '{upstream}' is not taken: {reason}")]
    TokenService { upstream: String, reason: &'static str },
    #[error("the password of upstream '{upstream}' cannot be read")]
    Password {
        upstream: String,
        #[source]
        source: DirError,
    },
    #[error("upstream '{upstream}' broke off")]
    Body {
        upstream: String,
        #[source]
        source: BodyError,
    },
    #[error("upstream '{upstream}' sent a manifest that cannot be taken")]
    Manifest {
        upstream: String,
        #[source]
        source: ManifestError,
    },
    #[error("upstream '{upstream}' sent content of '{actual}' where '{expected}' was asked for")]
    WrongContent { upstream: String, expected: Digest, actual: Digest },
    #[error("upstream '{upstream}' sent {actual} bytes for '{digest}', which is {expected} bytes long")]
    WrongSize { upstream: String, digest: Digest, expected: u64, actual: u64 },
    #[error("what belongs to this image is more than {limit} {what}")]
    TooMuch { what: &'static str, limit: u64 },
    #[error(
        "the manifests and evidence of this image are more than the {limit} bytes that memory_max_bytes leaves for one image; raise it in the configuration"
    )]
    Memory { limit: usize },
    #[error("the evidence cannot be judged")]
    Admission(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("the store took no change")]
    Commit(#[from] CommitError),
    #[error("content cannot be stored")]
    Blob(#[from] BlobError),
    #[error("the fetch ended without a result")]
    Interrupted,
}

impl MirrorError {
    /// The bound on what one image may hold in memory was reached: the program's own, or the configuration's.
    pub(super) fn too_much_gathered(limit: usize) -> Self {
        if limit < GATHERED_BYTES_MAX {
            Self::Memory { limit }
        } else {
            Self::TooMuch { what: "bytes of manifests and evidence", limit: limit as u64 }
        }
    }

    /// Whether the upstream is the reason, so that what is here may be served instead.
    pub fn is_upstream(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Unreachable { .. }
                | Self::Silent { .. }
                | Self::Denied { .. }
                | Self::RateLimited { .. }
                | Self::Status { .. }
                | Self::Token { .. }
                | Self::TokenService { .. }
                | Self::Body { .. }
                | Self::Manifest { .. }
                | Self::WrongContent { .. }
                | Self::WrongSize { .. }
                | Self::TooMuch { .. }
        )
    }
}

/// A failure that several callers of one fetch share.
pub type SharedError = Arc<MirrorError>;
