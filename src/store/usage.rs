//! How much the repositories below one first part of their names hold.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::Store;
use super::error::StoreError;
use super::index::IndexError;
use super::rows::{
    BLOBS, LinkRow, MANIFESTS, ManifestRow, Rows, TAGS, digest_in, from_json, scan_prefix, split_repository,
};
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;

/// What a group of repositories holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of manifests and linked blobs; what several of them hold counts once.
    pub bytes: u64,
    pub tags_count: u64,
}

impl Store {
    /// What all repositories hold whose names are `first` or begin with `first/`.
    pub fn usage(&self, first: &str) -> Result<Usage, StoreError> {
        self.shared.state.look(|rows| usage(rows, first))
    }

    /// How many of these repositories hold a manifest.
    pub fn repositories_count(&self, first: &str) -> Result<u64, StoreError> {
        self.shared.state.look(|rows| {
            let (mut count, mut last) = (0, None);
            scan_below(rows, MANIFESTS, first, &mut |repository, _, _| {
                if last.as_ref() != Some(repository) {
                    last = Some(repository.clone());
                    count += 1;
                }
                Ok(())
            })?;
            Ok(count)
        })
    }
}

fn usage(rows: &dyn Rows, first: &str) -> Result<Usage, IndexError> {
    let mut usage = Usage::default();
    let mut seen: HashSet<Digest> = HashSet::new();
    scan_below(rows, MANIFESTS, first, &mut |_, digest, value| {
        let size_bytes = from_json::<ManifestRow>(value, "manifest")?.size_bytes;
        count(&mut usage, &mut seen, digest_in(digest, "manifest")?, size_bytes);
        Ok(())
    })?;
    scan_below(rows, BLOBS, first, &mut |_, rest, value| {
        let digest = digest_in(rest, "link")?;
        // Beside the link lie the rows of its parents.
        if rest.get(digest.to_key().len()..) != Some(&[0]) {
            return Ok(());
        }
        count(&mut usage, &mut seen, digest, LinkRow::decode(value)?.size_bytes);
        Ok(())
    })?;
    let mut tags_count = 0;
    scan_below(rows, TAGS, first, &mut |_, _, _| {
        tags_count += 1;
        Ok(())
    })?;
    usage.tags_count = tags_count;
    Ok(usage)
}

fn count(usage: &mut Usage, seen: &mut HashSet<Digest>, digest: Digest, size_bytes: u64) {
    if seen.insert(digest) {
        usage.bytes = usage.bytes.saturating_add(size_bytes);
    }
}

/// Looks at a repository, the rest of a key behind it, and the value.
type VisitBelow<'a> = dyn FnMut(&RepositoryName, &[u8], &[u8]) -> Result<(), IndexError> + 'a;

/// Shows the repository, the rest of the key behind it, and the value, of every row of the collection below `first`.
fn scan_below(rows: &dyn Rows, collection: u8, first: &str, visit: &mut VisitBelow<'_>) -> Result<(), IndexError> {
    let mut prefix = vec![collection];
    prefix.extend_from_slice(first.as_bytes());
    let mut result = Ok(());
    scan_prefix(rows, &prefix, &prefix, &mut |key, value| {
        // `team-a-b` begins with `team-a` too, and is another project.
        if !matches!(key.get(prefix.len()), Some(0 | b'/')) {
            return ControlFlow::Continue(());
        }
        let Some((repository, rest)) = split_repository(key) else { return ControlFlow::Continue(()) };
        result = visit(&repository, rest, value);
        if result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    result
}
