//! Everything of a backup but its content: journal, snapshots, documents, receipts. Small enough to be read again each time.

use zeroize::Zeroizing;

use super::LOCKED;
use super::copy::{Copied, CopyError, Known, file, hash};
use super::sums::Sums;
use crate::limits::ACCESS_DOCUMENT_BYTES_MAX;
use crate::oci::digest::{Algorithm, Digest};
use crate::sys::dir::{Dir, parent, read_bounded};
use crate::sys::keys::{KeyError, KeyRing};

/// Why metadata was not copied.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("a document of accounts cannot be locked away")]
    Key(#[from] KeyError),
}

/// Whether a file of this name ever changes where it is copied from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    Never,
    AtTimes,
}

/// Copying of metadata into a backup that may hold some already.
pub struct Metadata<'a> {
    pub from: &'a dyn Dir,
    pub to: &'a dyn Dir,
    /// What was copied before, where that is known.
    pub known: Sums,
    /// What the backup holds now.
    pub sums: Sums,
    pub bytes: u64,
    /// Files that the medium had changed; they were copied once more.
    pub mended: Vec<String>,
    /// Files that are not what they were, neither here nor there.
    pub damaged: Vec<String>,
}

impl<'a> Metadata<'a> {
    /// From one tree to another that holds what `known` says.
    pub fn new(from: &'a dyn Dir, to: &'a dyn Dir, known: Sums) -> Self {
        Self { from, to, known, sums: Sums::default(), bytes: 0, mended: Vec::new(), damaged: Vec::new() }
    }

    /// One file. The name is durable when its directory is synced.
    pub fn file(&mut self, path: &str, changes: Changes) -> Result<(), CopyError> {
        let known = self.known.get(path).filter(|_| changes == Changes::Never);
        let wanted = match known {
            Some(digest) => digest,
            None => hash(self.from, path, Algorithm::Sha256).map_err(CopyError::From)?,
        };
        self.copy(path, &wanted)
    }

    fn copy(&mut self, path: &str, wanted: &Digest) -> Result<(), CopyError> {
        // What the first copy hashed to, against what changes by itself on the medium.
        let was_there = self.known.get(path) == Some(*wanted);
        match file(self.from, self.to, path, wanted, Known::ByContent)? {
            Copied::Damaged => {
                self.damaged.push(path.to_owned());
                return Ok(());
            }
            Copied::Before => {}
            Copied::Now(bytes) => self.bytes += bytes,
            Copied::Again(bytes) => {
                self.bytes += bytes;
                if was_there {
                    self.mended.push(path.to_owned());
                }
            }
        }
        self.sums.add(path, *wanted);
        Ok(())
    }

    /// Every file of a directory, not those of directories in it; which of them there are.
    pub fn directory(
        &mut self,
        path: &str,
        changes: Changes,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, CopyError> {
        let entries = match self.from.list(path) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            entries => entries.map_err(CopyError::From)?,
        };
        self.to.create_dir_all(path).map_err(CopyError::To)?;
        let mut names = Vec::new();
        for entry in entries.into_iter().filter(|entry| !entry.stat.is_dir && wanted(&entry.name)) {
            self.file(&format!("{path}/{}", entry.name), changes)?;
            names.push(entry.name);
        }
        self.to.sync_dir(path).map_err(CopyError::To)?;
        Ok(names)
    }

    /// Documents that are named by their digest.
    pub fn documents(&mut self, path: &str) -> Result<(), CopyError> {
        let entries = match self.from.list(path) {
            Err(error) if error.is_not_found() => return Ok(()),
            entries => entries.map_err(CopyError::From)?,
        };
        self.to.create_dir_all(path).map_err(CopyError::To)?;
        for entry in entries.into_iter().filter(|entry| !entry.stat.is_dir) {
            if let Some(digest) = super::copy::named(&entry.name) {
                self.copy(&format!("{path}/{}", entry.name), &digest)?;
            }
        }
        self.to.sync_dir(path).map_err(CopyError::To)
    }

    /// The same where nobody may read them who has only the backup; the names that they have there.
    pub fn locked_documents(&mut self, path: &str, keys: &KeyRing) -> Result<Vec<String>, MetadataError> {
        let entries = match self.from.list(path) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            entries => entries.map_err(CopyError::From)?,
        };
        self.to.create_dir_all(path).map_err(CopyError::To)?;
        let mut names = Vec::new();
        for entry in entries.into_iter().filter(|entry| !entry.stat.is_dir) {
            let Some(digest) = super::copy::named(&entry.name) else { continue };
            let (plain, locked) = (format!("{path}/{}", entry.name), format!("{path}/{}{LOCKED}", entry.name));
            names.push(format!("{}{LOCKED}", entry.name));
            let known = self.known.get(&locked);
            if let Some(known) = known
                && hash(self.to, &locked, Algorithm::Sha256).is_ok_and(|actual| actual == known)
            {
                self.sums.add(&locked, known);
                continue;
            }
            let content = read_bounded(self.from, &plain, ACCESS_DOCUMENT_BYTES_MAX).map_err(CopyError::From)?;
            let content = Zeroizing::new(content);
            if Digest::of(&content) != digest {
                self.damaged.push(plain);
                continue;
            }
            let bytes = keys.lock_away(&entry.name, &content)?;
            self.replace(&locked, &bytes)?;
            self.bytes += bytes.len() as u64;
            if known.is_some() {
                self.mended.push(locked);
            }
        }
        Ok(names)
    }

    /// A file that is written anew each time.
    pub fn replace(&mut self, path: &str, bytes: &[u8]) -> Result<(), CopyError> {
        let parent = parent(path);
        if !parent.is_empty() {
            self.to.create_dir_all(parent).map_err(CopyError::To)?;
        }
        crate::sys::dir::replace(self.to, path, bytes).map_err(CopyError::To)?;
        self.sums.add(path, Digest::of(bytes));
        Ok(())
    }
}
