//! Why a request is not answered with what it asked for.

use std::sync::Arc;

use super::route::RouteError;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::store::{BlobError, StoreError};
use crate::upstream::MirrorError;
use crate::verify::Refusal;

/// A request that fails. `super::respond` turns it into what a client sees.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("registry '{0}' is not mirrored here")]
    NamespaceUnknown(String),
    #[error("repository '{0}' is not here")]
    RepositoryUnknown(RepositoryName),
    #[error("this manifest is not here")]
    ManifestUnknown,
    #[error("this blob is not here")]
    BlobUnknown,
    #[error(
        "this blob belongs to an image that was carried here without it: carry its platform in with another bundle"
    )]
    BlobLeftBehind,
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("the range begins beyond the end, at {size_bytes} bytes")]
    Range { size_bytes: u64 },
    #[error(transparent)]
    Mirror(Arc<MirrorError>),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("stored content cannot be read")]
    Blob(#[from] BlobError),
    #[error("content '{0}' is recorded, but its file is gone: run `postern store check`")]
    Damaged(Digest),
    #[error("the answer was not finished")]
    Interrupted,
}

impl From<Arc<MirrorError>> for RegistryError {
    fn from(error: Arc<MirrorError>) -> Self {
        match error.as_ref() {
            MirrorError::Refused(refusal) => Self::Refused(refusal.clone()),
            _ => Self::Mirror(error),
        }
    }
}
