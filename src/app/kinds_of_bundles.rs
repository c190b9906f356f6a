//! The part of the table from errors to kinds that is about transfer bundles, with what a person at the medium can do.

use super::failure::{Failure, FailureKind};
use super::kinds::Kind;
use crate::bundle::closure::ClosureError;
use crate::bundle::export::ExportError;
use crate::bundle::import::ImportError;
use crate::bundle::inspect::InspectError;
use crate::bundle::plan::PlanError;
use crate::bundle::reader::VolumeError;
use crate::bundle::receipt::ReceiptError;

impl Kind for ClosureError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Unknown(_) | Self::NoPlatform { .. } => FailureKind::Usage,
            Self::Manifest { .. } => FailureKind::Damaged,
            Self::Blob(error) => error.kind(),
            Self::Store(error) => error.kind(),
            _ => FailureKind::Failed,
        }
    }
}

impl Kind for PlanError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Nothing | Self::Receiver(_) | Self::Series(_) | Self::VolumeBytes(_) => FailureKind::Usage,
            Self::Closure(error) => error.kind(),
            Self::Enrolment(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Medium(_) => FailureKind::NotNow,
        }
    }
}

impl Kind for VolumeError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Damaged { .. } => FailureKind::Damaged,
            Self::Unreadable { .. } | Self::Open { .. } | Self::TableTooLarge { .. } => FailureKind::NotNow,
        }
    }
}

impl Kind for ExportError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Missing { .. } | Self::NoRoom { .. } | Self::Write { .. } | Self::Medium(_) => FailureKind::NotNow,
            Self::FileTooLarge { .. } => FailureKind::Usage,
            Self::Source(_) | Self::ReadBack(_) | Self::StateDamaged { .. } => FailureKind::Damaged,
            Self::Key(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Blob(error) => error.kind(),
            Self::State(error) => error.kind(),
            Self::Commit(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Layout(_) | Self::Table(_) | Self::Chunk(_) => FailureKind::Failed,
        }
    }
}

impl Kind for InspectError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Scan(_) => FailureKind::NotNow,
            Self::Enrolment(error) => error.kind(),
        }
    }
}

impl Kind for ReceiptError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::UnknownReceiver(_) => FailureKind::Refused,
            Self::Enrolment(error) => error.kind(),
            Self::Key(error) => error.kind(),
            Self::Dir(error) => error.kind(),
            _ => FailureKind::Damaged,
        }
    }
}

impl Kind for ImportError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::SeveralSets { .. } | Self::ImageNotInSet { .. } => FailureKind::Usage,
            Self::Nothing { .. }
            | Self::SetNotHere { .. }
            | Self::Scan(_)
            | Self::VolumesMissing { .. }
            | Self::VolumesNeeded { .. }
            | Self::NoRoom { .. }
            | Self::Swept { .. } => FailureKind::NotNow,
            Self::UnknownSender { .. } | Self::NotForUs { .. } | Self::Older { .. } => FailureKind::Refused,
            Self::Foreign { .. } | Self::Blob { .. } | Self::Incomplete { .. } => FailureKind::Damaged,
            Self::Volume(error) => error.kind(),
            Self::Enrolment(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Staging(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Blobs(error) => error.kind(),
            Self::Commit(error) => error.kind(),
            Self::Receipt(error) => error.kind(),
            Self::Admission(_) => FailureKind::Failed,
        }
    }
}

/// A failed import with the next step, which the errors leave to whoever knows the commands.
pub fn import_failure(error: ImportError) -> Failure {
    let next_step = match &error {
        ImportError::UnknownSender { .. } => {
            "get the sender's identity file, compare fingerprints, then `postern enroll add FILE --role sender`"
        }
        ImportError::NotForUs { .. } => "carry the set to its receiver, or have one exported for this device",
        ImportError::Older { .. } => "have the sender export a new set",
        ImportError::VolumesNeeded { .. } => {
            "or import from one medium after the other: that judges it when all is there"
        }
        ImportError::VolumesMissing { .. } | ImportError::SetNotHere { .. } => {
            "bring the missing volumes and run the same command again; what was read is kept"
        }
        ImportError::ImageNotInSet { .. } => {
            "write the name under which it would come in, as `postern bundle inspect` does"
        }
        ImportError::Nothing { .. } => "name the directory in which the volumes are",
        ImportError::SeveralSets { .. } => "choose a set with --set",
        ImportError::NoRoom { .. } => "`postern retention apply` and `postern sweep` make room",
        ImportError::Foreign { .. } => "take the foreign volume away and bring the right one",
        ImportError::Volume(VolumeError::TableTooLarge { .. }) => {
            "raise memory_max_bytes in the configuration, or have fewer images exported in one set"
        }
        ImportError::Volume(_) | ImportError::Blob { .. } | ImportError::Incomplete { .. } => {
            "copy the volume again, or have the sender run the same `postern bundle export` again"
        }
        _ => "run the same command again; what was read is kept",
    };
    Failure::of(error.kind(), &error).next(next_step)
}
