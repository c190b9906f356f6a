//! The one table from the modules' errors to the kinds of failure, and so to exit codes.

use std::error::Error;

use super::failure::{Failure, FailureKind};
use crate::access::AccessError;
use crate::access::change::ChangeError;
use crate::enrolment::EnrolmentError;
use crate::http::listener::ListenError;
use crate::http::tls::TlsError;
use crate::image_layout::LayoutError;
use crate::retention::{RetentionError, SweepError};
use crate::store::{BlobError, CommitError, Conflict, LeaseHeld, StoreError};
use crate::sys::dir::DirError;
use crate::sys::keys::{IdentityError, KeyError};
use crate::upstream::MirrorError;
use crate::upstream::push::OutgoingError;
use crate::verify::policy::ObjectNameError;
use crate::verify::{PolicyError, Refusal};

/// An error that belongs to a kind of failure.
pub trait Kind: Error {
    /// Which one.
    fn kind(&self) -> FailureKind;
}

impl<E: Kind> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl Kind for ChangeError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

impl Kind for AccessError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Dir(error) => error.kind(),
            Self::Document(_) => FailureKind::Usage,
            Self::Altered | Self::Unreadable => FailureKind::Damaged,
            Self::Readable => FailureKind::Usage,
            Self::Change(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Commit(error) => error.kind(),
        }
    }
}

impl Kind for DirError {
    fn kind(&self) -> FailureKind {
        if self.is_full() { FailureKind::NotNow } else { FailureKind::Failed }
    }
}

impl Kind for BlobError {
    fn kind(&self) -> FailureKind {
        FailureKind::Failed
    }
}

impl Kind for StoreError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Missing | Self::Exists | Self::TooNew { .. } => FailureKind::Usage,
            Self::Locked => FailureKind::NotNow,
            Self::VersionFile(_)
            | Self::Index(_)
            | Self::JournalMissing
            | Self::JournalShort { .. }
            | Self::Event(_) => FailureKind::Damaged,
            Self::Blob(error) => error.kind(),
            Self::Dir(error) => error.kind(),
            Self::Stopped => FailureKind::Failed,
        }
    }
}

impl Kind for CommitError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::ReadOnly { .. } | Self::Full { .. } => FailureKind::NotNow,
            Self::Conflict(conflict) => conflict.kind(),
            Self::Store(error) => error.kind(),
            Self::Indeterminate | Self::TooLarge { .. } => FailureKind::Failed,
        }
    }
}

impl Kind for Conflict {
    fn kind(&self) -> FailureKind {
        match self {
            Self::TagMoved { .. } | Self::AccessChanged => FailureKind::NotNow,
            Self::SequenceTooLow { .. } => FailureKind::Refused,
            Self::ManifestUnknown { .. } | Self::TagUnknown { .. } | Self::DeviceUnknown(_) => FailureKind::Usage,
            _ => FailureKind::Failed,
        }
    }
}

impl Kind for MirrorError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Settings { .. } | Self::NoUpstream(_) => FailureKind::Usage,
            Self::Refused(_) => FailureKind::Refused,
            Self::Offline | Self::Unreachable { .. } | Self::Silent { .. } | Self::RateLimited { .. } => {
                FailureKind::NotNow
            }
            Self::Store(error) => error.kind(),
            Self::Commit(error) => error.kind(),
            Self::Blob(error) => error.kind(),
            _ => FailureKind::Failed,
        }
    }
}

impl Kind for LayoutError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NoPlatform
            | Self::Platform(_)
            | Self::PlatformTwice(_)
            | Self::Binary { .. }
            | Self::OtherMachine { .. }
            | Self::BinarySize { .. }
            | Self::NotEmpty
            | Self::NoLayout
            | Self::NoImage
            | Self::NoSuchImage(_)
            | Self::SeveralImages { .. } => FailureKind::Usage,
            Self::Marker(_)
            | Self::Index(_)
            | Self::Manifest { .. }
            | Self::Absent { .. }
            | Self::Size { .. }
            | Self::Content { .. }
            | Self::TooMuch { .. } => FailureKind::Damaged,
            Self::BinaryRead { .. } | Self::Read { .. } | Self::Json(_) => FailureKind::Failed,
            Self::Dir(error) => error.kind(),
        }
    }
}

impl Kind for OutgoingError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Settings { .. } => FailureKind::Usage,
            Self::Offline | Self::Unreachable { .. } | Self::NotNow { .. } => FailureKind::NotNow,
            Self::Refused { .. } => FailureKind::Refused,
            Self::Access { .. }
            | Self::Denied { .. }
            | Self::Status { .. }
            | Self::Place { .. }
            | Self::Body { .. }
            | Self::Listing { .. } => FailureKind::Failed,
            Self::Layout(error) => error.kind(),
        }
    }
}

impl Kind for LeaseHeld {
    fn kind(&self) -> FailureKind {
        FailureKind::NotNow
    }
}

impl Kind for IdentityError {
    fn kind(&self) -> FailureKind {
        FailureKind::Damaged
    }
}

impl Kind for KeyError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Exists | Self::Missing => FailureKind::Usage,
            Self::Dir(error) => error.kind(),
            Self::Identity(_) | Self::Damaged(_) => FailureKind::Damaged,
            Self::Module => FailureKind::Failed,
        }
    }
}

impl Kind for EnrolmentError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Identity(_) | Self::Damaged { .. } => FailureKind::Damaged,
            Self::Fingerprint { .. } => FailureKind::Refused,
            Self::Itself | Self::Unknown(_) => FailureKind::Usage,
            Self::Store(error) => error.kind(),
            Self::Commit(error) => error.kind(),
        }
    }
}

impl Kind for RetentionError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Busy(_) | Self::Changed(_) => FailureKind::NotNow,
            Self::Rule(_) => FailureKind::Usage,
            Self::Store(error) => error.kind(),
            Self::Commit(error) => error.kind(),
        }
    }
}

impl Kind for SweepError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Commit(error) => error.kind(),
        }
    }
}

impl Kind for PolicyError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

impl Kind for ObjectNameError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

impl Kind for Refusal {
    fn kind(&self) -> FailureKind {
        FailureKind::Refused
    }
}

impl Kind for TlsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }
}

impl Kind for ListenError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NoTls(_) | Self::NoSocket(_) => FailureKind::Usage,
            Self::Bind { .. } => FailureKind::NotNow,
            Self::StaleSocket(_) | Self::NoPath(_) => FailureKind::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, FailureKind};
    use crate::store::{CommitError, StoreError};

    #[test]
    fn a_chain_says_each_level_once() {
        let failure = Failure::from(CommitError::Store(StoreError::Locked));
        assert_eq!(failure.kind, FailureKind::NotNow);
        assert_eq!(failure.chain.len(), 1, "{failure:?}");
    }
}
