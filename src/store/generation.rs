//! Which directory under `index/` is in use, and what becomes of one that is not usable.
//!
//! A new index is built beside the old one and takes its place by replacing one small file, so that a power cut leaves
//! either of them.

use super::index::{Index, IndexError};
use super::layout;
use crate::limits::KIB;
use crate::sys::dir::{self, Dir, DirError};

const PREFIX: &str = "generation-";

/// The path of the index in use; none where there is none.
pub fn current(dir: &dyn Dir) -> Option<String> {
    let name = dir::read_bounded(dir, layout::INDEX_CURRENT, KIB).ok()?;
    let name = String::from_utf8(name).ok()?;
    number(&name).map(path)
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

fn path(number: u64) -> String {
    format!("{}/{PREFIX}{number}", layout::INDEX)
}

fn names(dir: &dyn Dir) -> Result<Vec<u64>, DirError> {
    let entries = dir.list(layout::INDEX)?;
    Ok(entries.iter().filter_map(|entry| number(&entry.name)).collect())
}

/// Opens an empty index beside whatever is there, and gives its path.
pub fn begin(dir: &dyn Dir, cache_bytes: u64) -> Result<(Index, String), IndexError> {
    let next = names(dir)?.into_iter().max().unwrap_or(0) + 1;
    let path = path(next);
    dir.create_dir_all(&path)?;
    Ok((Index::open(dir, &path, cache_bytes)?, path))
}

/// Puts the finished index at `path` into use, and removes all others.
pub fn switch_to(dir: &dyn Dir, path: &str) -> Result<(), DirError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    dir.sync_dir(path)?;
    dir.sync_dir(layout::INDEX)?;
    dir::replace(dir, layout::INDEX_CURRENT, name.as_bytes())?;
    keep_only(dir, path)
}

/// Removes every index but the one at `path`: an interrupted check or rebuild leaves one behind.
pub fn keep_only(dir: &dyn Dir, path: &str) -> Result<(), DirError> {
    for other in names(dir)?.into_iter().map(self::path).filter(|other| other != path) {
        dir.remove_tree(&other)?;
    }
    Ok(())
}

/// Removes an index that was never put into use.
pub fn abandon(dir: &dyn Dir, path: &str) {
    if let Err(error) = dir.remove_tree(path) {
        tracing::warn!(%error, "an unused index could not be removed");
    }
}

/// Sets an unusable index aside, where whoever wants to know why can look at it. Only the last one is kept.
pub fn set_aside(dir: &dyn Dir, path: &str) -> Result<(), DirError> {
    let entries = dir.list("")?;
    let older: Vec<String> = entries
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.starts_with(layout::INDEX_BROKEN_PREFIX))
        .collect();
    let number = |name: &String| name[layout::INDEX_BROKEN_PREFIX.len()..].parse::<u64>().unwrap_or(0);
    let next = older.iter().map(number).max().unwrap_or(0) + 1;
    dir.rename(path, &format!("{}{next}", layout::INDEX_BROKEN_PREFIX))?;
    for name in older {
        dir.remove_tree(&name)?;
    }
    Ok(())
}
