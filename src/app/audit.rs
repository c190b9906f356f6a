//! Operations on the journal as evidence.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::appliance::Appliance;
use super::failure::{Failure, FailureKind};
use super::kinds::Kind;
use crate::audit::{self, Checkpoint, CheckpointError, ExportError, ExportReport, VerifyError, VerifyReport};
use crate::device_id::DeviceId;
use crate::sys::dir_real::RealDir;

/// A copy of the journal, and where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditExported {
    pub out: PathBuf,
    #[serde(flatten)]
    pub export: ExportReport,
}

impl Kind for VerifyError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::IdentityMissing => FailureKind::Usage,
            Self::Identity(_) => FailureKind::Damaged,
            Self::OtherDevice { .. } => FailureKind::Refused,
            Self::Store(error) => error.kind(),
            Self::Dir(error) => error.kind(),
        }
    }
}

impl Kind for CheckpointError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Dir(error) => error.kind(),
            _ => FailureKind::Failed,
        }
    }
}

impl Kind for ExportError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Checkpoint(error) => error.kind(),
            Self::Dir(error) => error.kind(),
            Self::Differs(_) => FailureKind::Damaged,
        }
    }
}

/// Checks this appliance's own journal, after its end was signed.
pub fn verify(appliance: &Appliance) -> Result<VerifyReport, Failure> {
    audit::sign(&appliance.store, &appliance.keys)?;
    Ok(audit::verify(appliance.store.dir().as_ref(), Some(appliance.keys.device_id()))?)
}

/// Checks a copy of a journal, without any appliance.
pub fn verify_copy(copy: &Path, expected: Option<&DeviceId>) -> Result<VerifyReport, Failure> {
    let dir = RealDir::open(copy).map_err(|error| {
        Failure::of(FailureKind::Usage, &error).next("name the directory that `postern audit export` has written")
    })?;
    Ok(audit::verify(&dir, expected)?)
}

/// Copies the journal to a medium.
pub fn export(appliance: &Appliance, out: &Path) -> Result<AuditExported, Failure> {
    let dir = RealDir::create(out)
        .map_err(|error| Failure::of(error.kind(), &error).next("mount the medium and name a directory on it"))?;
    let export = audit::export(&appliance.store, &appliance.keys, &dir)?;
    Ok(AuditExported { out: out.to_owned(), export })
}

/// Signs where the journal stands.
pub fn checkpoint(appliance: &Appliance) -> Result<Checkpoint, Failure> {
    Ok(audit::sign(&appliance.store, &appliance.keys)?)
}
