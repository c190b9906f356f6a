//! Why a request is not answered with what it asked for.

use std::sync::Arc;

use super::route::RouteError;
use crate::access::Denial;
use crate::access::rate::TooOften;
use crate::admission::AdmissionError;
use crate::http::body::BodyError;
use crate::limits::{MANIFEST_BYTES_MAX, REFERRERS_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::manifest::ManifestError;
use crate::oci::name::RepositoryName;
use crate::store::{BlobError, CommitError, StoreError};
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
        "this blob belongs to an image that came here without it: carry its platform in with another bundle, or push it"
    )]
    BlobLeftBehind,
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("what is here cannot be judged")]
    Unjudged(#[source] Box<AdmissionError>),
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error(transparent)]
    TooOften(#[from] TooOften),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Delete(#[from] DeleteError),
    #[error("what is here is not what the request expects (If-Match, If-None-Match): look again")]
    Precondition,
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

/// A push that fails.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("'{0}' is filled from its upstream, so nothing is pushed there: choose another name")]
    Mirrored(RepositoryName),
    #[error(
        "what stands under a signature's tag must speak of an image that is in this repository: push that image first"
    )]
    SpeaksOfNothing,
    #[error(
        "a signature's tag and another one cannot stand for the same manifest: push what is said of an image under its own tag"
    )]
    MixedTags,
    #[error(
        "whoever pulls '{pushed}' gets '{pulled}', which came from elsewhere, and a push would make it another image: push under \
         another name"
    )]
    StandsFor { pushed: RepositoryName, pulled: RepositoryName },
    #[error("this upload is not under way here: begin again")]
    SessionUnknown,
    #[error("another request writes to this upload: wait for its end")]
    SessionBusy,
    #[error("this piece does not begin where the upload stands, at {offset_bytes} bytes")]
    OutOfOrder { offset_bytes: u64 },
    #[error("Content-Range is not '<first>-<last>', or not as long as the body")]
    ContentRange,
    #[error("the body broke off")]
    Body(#[source] BodyError),
    #[error("no byte of the body came for too long")]
    Stalled,
    #[error("the blob is larger than {limit_bytes} bytes, the most that is taken here")]
    TooLarge { limit_bytes: u64 },
    #[error("too many uploads are under way: try again soon")]
    TooMany,
    #[error("{REFERRERS_COUNT_MAX} manifests speak of '{0}' already, the most that may: delete some first")]
    TooManyReferrers(Digest),
    #[error("the content hashes to '{actual}', not to '{expected}'")]
    Digest { expected: Digest, actual: Digest },
    #[error("the manifest does not hash to '{0}'")]
    ManifestDigest(Digest),
    #[error("{0}")]
    Manifest(String),
    #[error("the manifest is larger than {MANIFEST_BYTES_MAX} bytes, the most that is taken here")]
    ManifestTooLarge,
    #[error("the manifest needs '{0}', which was not pushed to this repository: push it first")]
    EdgeUnknown(Digest),
    #[error("the manifest says that '{digest}' has {said_bytes} bytes, but it has {bytes}: correct its size")]
    EdgeSize { digest: Digest, said_bytes: u64, bytes: u64 },
    #[error("the disk is full: nothing is taken until there is room")]
    Full,
    #[error(
        "project '{project}' holds {used_bytes} of the {bytes_max} bytes that it may, and this would be more: delete something, or ask its owner for a larger quota"
    )]
    Quota { project: String, used_bytes: u64, bytes_max: u64 },
    #[error("project '{project}' has the {tags_count_max} tags that it may: delete one, or ask its owner for more")]
    TagsQuota { project: String, tags_count_max: u64 },
    #[error("'{0}' was given up while it was taken in: push it again")]
    Swept(Digest),
    #[error("cannot judge what was pushed")]
    Admission(#[source] Box<AdmissionError>),
    #[error("cannot keep what was pushed")]
    Commit(#[source] Box<CommitError>),
}

/// A deletion that fails.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(
        "'{0}' is filled from its upstream, from where it would come back: retire it at the appliance with `postern image retire`"
    )]
    Mirrored(RepositoryName),
    #[error("'{digest}' is needed by '{parent}', which is here: delete that first")]
    Needed { digest: Digest, parent: Digest },
    #[error("this repository is in use by {0}: try again soon")]
    Busy(&'static str),
    #[error("cannot record the deletion")]
    Commit(#[source] Box<CommitError>),
}

impl From<ManifestError> for PushError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(crate::error_chain::chain(&error))
    }
}

impl From<Arc<MirrorError>> for RegistryError {
    fn from(error: Arc<MirrorError>) -> Self {
        match error.as_ref() {
            MirrorError::Refused(refusal) => Self::Refused(refusal.clone()),
            _ => Self::Mirror(error),
        }
    }
}
