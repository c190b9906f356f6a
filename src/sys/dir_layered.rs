//! A directory tree whose files below one folder may still lie in another tree: what is absent here is read there. Writing
//! goes here alone, and the other tree is never changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::dir::{Create, Dir, DirError, Entry, File, Stat};

/// Two trees seen as one.
#[derive(Debug)]
pub struct LayeredDir {
    own: Arc<dyn Dir>,
    below: Arc<dyn Dir>,
    /// Only what begins with this is looked for below.
    folder: &'static str,
}

impl LayeredDir {
    /// `own`, and behind it `below` for what lies in `folder` (`blobs/`).
    pub fn new(own: Arc<dyn Dir>, below: Arc<dyn Dir>, folder: &'static str) -> Self {
        Self { own, below, folder }
    }

    fn reaches_below(&self, path: &str) -> bool {
        path.starts_with(self.folder)
    }
}

impl Dir for LayeredDir {
    fn open(&self, path: &str) -> Result<Arc<dyn File>, DirError> {
        match self.own.open(path) {
            Err(error) if error.is_not_found() && self.reaches_below(path) => self.below.open(path),
            opened => opened,
        }
    }

    fn open_write(&self, path: &str, create: Create) -> Result<Arc<dyn File>, DirError> {
        self.own.open_write(path, create)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        self.own.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<(), DirError> {
        self.own.remove(path)
    }

    fn remove_tree(&self, path: &str) -> Result<(), DirError> {
        self.own.remove_tree(path)
    }

    fn create_dir_all(&self, path: &str) -> Result<(), DirError> {
        self.own.create_dir_all(path)
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, DirError> {
        let own = self.own.list(path);
        if !self.reaches_below(path) {
            return own;
        }
        let of = |entries: Result<Vec<Entry>, DirError>| match entries {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            entries => entries,
        };
        let (own, below) = (of(own)?, of(self.below.list(path))?);
        let both: BTreeMap<String, Stat> = below.into_iter().chain(own).map(|entry| (entry.name, entry.stat)).collect();
        Ok(both.into_iter().map(|(name, stat)| Entry { name, stat }).collect())
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, DirError> {
        match self.own.stat(path)? {
            None if self.reaches_below(path) => self.below.stat(path),
            found => Ok(found),
        }
    }

    fn sync_dir(&self, path: &str) -> Result<(), DirError> {
        self.own.sync_dir(path)
    }

    fn free_bytes(&self) -> Result<u64, DirError> {
        self.own.free_bytes()
    }

    fn real_path(&self, path: &str) -> Option<PathBuf> {
        self.own.real_path(path)
    }
}
