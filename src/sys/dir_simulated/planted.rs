//! Mistakes that somebody could make, planted into the simulated directory and never into the product: a simulator that
//! does not notice them is blind.

use super::Operation;

/// One mistake, at every place whose path holds `path_part`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A file is not synced.
    NoSync { path_part: &'static str },
    /// Names are not synced.
    NoSyncDir { path_part: &'static str },
    /// A file is synced, but only after the step that should have come behind it.
    LateSync { path_part: &'static str },
    /// A file is copied to its new name and removed under the old one, where it should be renamed.
    Copied { path_part: &'static str },
}

impl Planted {
    pub(super) fn hits(&self, operation: Operation, path: &str) -> bool {
        match self {
            Self::NoSync { path_part } | Self::LateSync { path_part } => {
                operation == Operation::Sync && path.contains(path_part)
            }
            Self::NoSyncDir { path_part } => operation == Operation::SyncDir && path.contains(path_part),
            Self::Copied { path_part } => operation == Operation::Rename && path.contains(path_part),
        }
    }

    pub(super) const fn is_late(&self) -> bool {
        matches!(self, Self::LateSync { .. })
    }
}
