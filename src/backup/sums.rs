//! What the files of a backup hashed to when they were copied, so that it is noticed when the medium changes one.
//!
//! ```text
//! SHA256SUMS     a line for each file that is not named by its content, as `sha256sum --check` reads it; `backup.json`
//!                holds its digest
//! ```

use std::collections::BTreeMap;

use super::BackupState;
use crate::limits::BACKUP_SUMS_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::sys::dir::{Dir, DirError, read_bounded, replace};

pub const SUMS_FILE: &str = "SHA256SUMS";

/// Digests by the paths of their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<String, Digest>);

impl Sums {
    /// The list of a finished backup. None where it has none, or another one: an attempt that was stopped has written it, or
    /// the medium has changed it.
    pub fn read(dir: &dyn Dir, state: Option<&BackupState>) -> Result<Option<Self>, DirError> {
        let Some(wanted) = state.and_then(|state| state.sums) else { return Ok(None) };
        let bytes = match read_bounded(dir, SUMS_FILE, BACKUP_SUMS_BYTES_MAX) {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        if Digest::of(&bytes) != wanted {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes);
        let line = |line: &str| {
            let (hex, path) = line.split_once("  ")?;
            Some((path.to_owned(), format!("sha256:{hex}").parse().ok()?))
        };
        Ok(Some(Self(text.lines().filter_map(line).collect())))
    }

    /// Puts the list into the backup; its digest.
    pub fn write(&self, dir: &dyn Dir) -> Result<Digest, DirError> {
        let lines: Vec<String> = self.0.iter().map(|(path, digest)| format!("{}  {path}\n", digest.hex())).collect();
        let text = lines.concat();
        replace(dir, SUMS_FILE, text.as_bytes())?;
        Ok(Digest::of(text.as_bytes()))
    }

    pub fn get(&self, path: &str) -> Option<Digest> {
        self.0.get(path).copied()
    }

    pub fn add(&mut self, path: &str, digest: Digest) {
        self.0.insert(path.to_owned(), digest);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Digest)> {
        self.0.iter().map(|(path, digest)| (path.as_str(), digest))
    }
}
