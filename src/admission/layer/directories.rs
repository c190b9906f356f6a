//! The directories that a layer brings, by hashes of their paths: as many as are told apart from those that it takes away.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use crate::limits::LAYER_DIRECTORIES_COUNT_MAX;

/// Directories. Two paths with one hash count as one, which hides less and never more.
#[derive(Default)]
pub struct Directories {
    hashes: HashSet<u64>,
    /// Secret, so that nobody can write two paths with one hash.
    hasher: RandomState,
    is_full: bool,
}

impl Directories {
    /// Adds a directory and all those in which it lies.
    pub fn add(&mut self, path: &str) {
        let mut rest = path;
        while !rest.is_empty() && !self.is_full {
            // Where a directory is known, so are those above it.
            if !self.hashes.insert(self.hasher.hash_one(rest)) {
                return;
            }
            self.is_full = self.hashes.len() > LAYER_DIRECTORIES_COUNT_MAX;
            rest = rest.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }

    /// Whether there are more than are told apart.
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether this one may be among them: any may be where there are too many.
    pub fn may_hold(&self, path: &str) -> bool {
        self.is_full || self.hashes.contains(&self.hasher.hash_one(path))
    }
}
