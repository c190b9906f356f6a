//! Who needs which content: the mark of mark and sweep. Pure, over rows.
//!
//! There are no rows by digest alone (each would cost a page write for every layer of every publication), so these
//! questions walk all links once. They are asked by sweeps, which are rare.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::index::IndexError;
use super::rows::{BLOBS, LinkRow, MANIFESTS, Rows, digest_in, scan_prefix, split_repository};
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;

/// What is known about some content in all repositories together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Repositories that hold it as a blob.
    pub linked_by: Vec<RepositoryName>,
    /// Whether an admitted manifest points at it.
    pub pointed_at: bool,
    /// Whether it is an admitted manifest.
    pub is_manifest: bool,
}

impl Uses {
    /// Whether it must stay. What is pointed at but linked nowhere is absent as far as any repository knows.
    pub fn is_needed(&self) -> bool {
        self.is_manifest || (self.pointed_at && !self.linked_by.is_empty())
    }
}

/// A row of `B`, taken apart.
struct BlobKey<'a> {
    repository: &'a [u8],
    digest: Digest,
    is_link: bool,
}

fn blob_key(key: &[u8]) -> Result<BlobKey<'_>, IndexError> {
    const WHAT: &str = "blob";
    let at = key.iter().position(|byte| *byte == 0).ok_or(IndexError::Row(WHAT))?;
    let digest = digest_in(&key[at + 1..], WHAT)?;
    let kind = key.get(at + 2 + digest.raw().len()).ok_or(IndexError::Row(WHAT))?;
    Ok(BlobKey { repository: &key[..at], digest, is_link: *kind == 0 })
}

/// Looks at a row, which may be unreadable.
type Attempt<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), IndexError> + 'a;

/// Runs `visit` over a whole collection, and hands on its first error.
fn walk(rows: &dyn Rows, collection: u8, visit: &mut Attempt<'_>) -> Result<(), IndexError> {
    let mut outcome = Ok(());
    scan_prefix(rows, &[collection], &[collection], &mut |key, value| {
        outcome = visit(key, value);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome
}

/// The uses of each of `digests`; what is in no repository at all is left out.
pub fn uses(rows: &dyn Rows, digests: &BTreeSet<Digest>) -> Result<BTreeMap<Digest, Uses>, IndexError> {
    let mut found: BTreeMap<Digest, Uses> = BTreeMap::new();
    if digests.is_empty() {
        return Ok(found);
    }
    walk(rows, BLOBS, &mut |key, _| {
        let blob = blob_key(key)?;
        if digests.contains(&blob.digest) {
            let uses = found.entry(blob.digest).or_default();
            if blob.is_link {
                let (repository, _) = split_repository(key).ok_or(IndexError::Row("link"))?;
                uses.linked_by.push(repository);
            } else {
                uses.pointed_at = true;
            }
        }
        Ok(())
    })?;
    walk(rows, MANIFESTS, &mut |key, _| {
        let (_, rest) = split_repository(key).ok_or(IndexError::Row("manifest"))?;
        let digest = digest_in(rest, "manifest")?;
        if digests.contains(&digest) {
            found.entry(digest).or_default().is_manifest = true;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Links of content after `after` that nothing in the same repository needs, the first `limit` by digest.
fn idle_links(rows: &dyn Rows, after: Option<&Digest>, limit: usize) -> Result<BTreeMap<Digest, u64>, IndexError> {
    let mut idle: BTreeMap<Digest, u64> = BTreeMap::new();
    // The link of the last row, until a parent of the same blob shows up behind it.
    let mut open: Option<(Vec<u8>, Digest, u64)> = None;
    let mut settle = |open: &mut Option<(Vec<u8>, Digest, u64)>| -> Result<(), IndexError> {
        let Some((repository, digest, size_bytes)) = open.take() else { return Ok(()) };
        let manifest_key = [&[MANIFESTS], &repository[1..], &[0], &digest.to_key()].concat();
        if after.is_some_and(|after| digest <= *after) || rows.row(&manifest_key)?.is_some() {
            return Ok(());
        }
        idle.insert(digest, size_bytes);
        if idle.len() > limit {
            idle.pop_last();
        }
        Ok(())
    };
    walk(rows, BLOBS, &mut |key, value| {
        let blob = blob_key(key)?;
        if blob.is_link {
            settle(&mut open)?;
            open = Some((blob.repository.to_vec(), blob.digest, LinkRow::decode(value)?.size_bytes));
        } else if open.as_ref().is_some_and(|(repo, digest, _)| repo == blob.repository && *digest == blob.digest) {
            open = None;
        }
        Ok(())
    })?;
    settle(&mut open)?;
    Ok(idle)
}

/// Content after `after` that some repository links and no manifest of any repository needs, the first `limit`.
pub fn unreferenced(rows: &dyn Rows, after: Option<&Digest>, limit: usize) -> Result<Vec<(Digest, u64)>, IndexError> {
    let mut found = Vec::new();
    let mut after = after.copied();
    while found.len() < limit {
        let idle = idle_links(rows, after.as_ref(), limit)?;
        let more = idle.len() == limit;
        after = idle.last_key_value().map(|(digest, _)| *digest);
        let uses = uses(rows, &idle.keys().copied().collect())?;
        found.extend(idle.into_iter().filter(|(digest, _)| uses.get(digest).is_none_or(|uses| !uses.is_needed())));
        if !more {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Of `digests`, those that no repository holds, as a blob or as a manifest.
pub fn unowned(rows: &dyn Rows, mut digests: BTreeMap<Digest, u64>) -> Result<BTreeMap<Digest, u64>, IndexError> {
    let uses = uses(rows, &digests.keys().copied().collect())?;
    // Pointed at but not linked (a sparse manifest's) is not held: whoever wants it links it, and the file is looked for.
    digests.retain(|digest, _| uses.get(digest).is_none_or(|uses| uses.linked_by.is_empty() && !uses.is_manifest));
    Ok(digests)
}
