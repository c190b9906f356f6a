//! Copying files between two trees, so that a name appears only with all of its bytes behind it.

use crate::limits::MIB;
use crate::oci::digest::{Algorithm, Digest};
use crate::store::{Shard, blob_path, shards};
use crate::sys::dir::{Create, Dir, DirError};
use crate::sys::kill_point::kill_point;

/// Begins the name of a file on its way.
pub const PART: &str = ".part";

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("a file cannot be read where it is copied from")]
    From(#[source] DirError),
    #[error(
        "a file cannot be written where it is copied to: is the medium in place, writable, and not full? the same command goes on where this one stopped"
    )]
    To(#[source] DirError),
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    Now(u64),
    Before,
    /// One of its name was there with other bytes.
    Again(u64),
    /// Its bytes do not hash to what they should; nothing was copied.
    Damaged,
}

/// How it is looked whether a file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    ByLength,
    /// All of it is read from the medium.
    ByContent,
}

fn failing(path: &str) -> impl Fn(std::io::Error) -> DirError {
    move |source| DirError { operation: "copy", path: path.to_owned(), source }
}

/// The digest that the name of a document says, before its ending.
pub fn named(name: &str) -> Option<Digest> {
    // What is on its way, or was, has one ending more.
    let (hex, _) = name.split_once('.').filter(|(_, ending)| !ending.contains('.'))?;
    format!("sha256:{hex}").parse().ok()
}

/// Reads a file as the device has it, not as it is remembered.
pub fn hash(dir: &dyn Dir, path: &str, algorithm: Algorithm) -> Result<Digest, DirError> {
    let file = dir.open(path)?;
    file.drop_cache();
    let mut hasher = algorithm.hasher();
    let (mut piece, mut at) = (vec![0; MIB], 0);
    loop {
        match file.read_at(&mut piece, at).map_err(failing(path))? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&piece[..count]);
                at += count as u64;
            }
        }
    }
}

/// Copies one file and syncs its bytes, if it hashes to `expected` and is not there already. The name is durable when its
/// directory is synced.
pub fn file(from: &dyn Dir, to: &dyn Dir, path: &str, expected: &Digest, known: Known) -> Result<Copied, CopyError> {
    let source = from.open(path).map_err(CopyError::From)?;
    let len_bytes = source.len_bytes().map_err(failing(path)).map_err(CopyError::From)?;
    let there = to.stat(path).map_err(CopyError::To)?;
    if there.is_some_and(|stat| stat.len_bytes == len_bytes) {
        // What cannot be read is copied once more.
        let is_it = || hash(to, path, expected.algorithm()).is_ok_and(|actual| actual == *expected);
        if known == Known::ByLength || is_it() {
            return Ok(Copied::Before);
        }
    }
    let part = format!("{path}{PART}");
    let target = to.open_write(&part, Create::Missing).map_err(CopyError::To)?;
    let mut hasher = expected.algorithm().hasher();
    let (mut piece, mut at) = (vec![0; MIB], 0);
    loop {
        let count = source.read_at(&mut piece, at).map_err(failing(path)).map_err(CopyError::From)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        target.write_at(&piece[..count], at).map_err(failing(&part)).map_err(CopyError::To)?;
        at += count as u64;
    }
    if hasher.finish() != *expected {
        to.remove(&part).map_err(CopyError::To)?;
        return Ok(Copied::Damaged);
    }
    target.set_len(at).and_then(|()| target.sync_data()).map_err(failing(&part)).map_err(CopyError::To)?;
    kill_point("copy-before-name");
    to.rename(&part, path).map_err(CopyError::To)?;
    Ok(if there.is_some() { Copied::Again(at) } else { Copied::Now(at) })
}

/// What copying all content came to.
#[derive(Debug, Default)]
pub struct Content {
    pub files_count: u64,
    pub files_copied: u64,
    pub bytes: u64,
    pub bytes_copied: u64,
    /// Files that were there with other bytes, and were copied once more.
    pub files_mended: u64,
    pub damaged: Vec<Digest>,
}

pub fn listed(dir: &dyn Dir, shard: &Shard) -> Result<Vec<(Digest, u64)>, DirError> {
    let entries = match dir.list(&shard.path()) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries.iter().filter_map(|entry| Some((shard.digest(&entry.name)?, entry.stat.len_bytes))).collect())
}

/// Copies all content, each file hashed on its way, until `stop` says so; whether it came to the end.
pub fn content(
    from: &dyn Dir,
    to: &dyn Dir,
    known: Known,
    stop: &dyn Fn() -> bool,
    told: &mut dyn FnMut(&Content),
) -> Result<(Content, bool), CopyError> {
    let mut all = Content::default();
    for shard in shards() {
        let files = listed(from, &shard).map_err(CopyError::From)?;
        if files.is_empty() {
            continue;
        }
        to.create_dir_all(&shard.path()).map_err(CopyError::To)?;
        let mut named_any = false;
        for (digest, bytes) in files {
            if stop() {
                return Ok((all, false));
            }
            match file(from, to, &blob_path(&digest), &digest, known) {
                // Swept since it was listed: nobody needs it.
                Err(CopyError::From(error)) if error.is_not_found() => continue,
                Ok(Copied::Damaged) => {
                    all.damaged.push(digest);
                    continue;
                }
                Ok(copied @ (Copied::Now(bytes) | Copied::Again(bytes))) => {
                    all.files_copied += 1;
                    all.files_mended += u64::from(copied == Copied::Again(bytes));
                    all.bytes_copied += bytes;
                    named_any = true;
                }
                Ok(Copied::Before) => {}
                Err(error) => return Err(error),
            }
            all.files_count += 1;
            all.bytes += bytes;
            told(&all);
        }
        if named_any {
            to.sync_dir(&shard.path()).map_err(CopyError::To)?;
        }
    }
    for path in ["blobs/sha256", "blobs/sha512", "blobs", ""] {
        match to.sync_dir(path) {
            Err(error) if !error.is_not_found() => return Err(CopyError::To(error)),
            _ => {}
        }
    }
    Ok((all, true))
}

/// Removes content of a backup that is no more in the store; how many files that were.
pub fn prune(from: &dyn Dir, to: &dyn Dir) -> Result<u64, CopyError> {
    let mut pruned = 0;
    for shard in shards() {
        for (digest, _) in listed(to, &shard).map_err(CopyError::To)? {
            let path = blob_path(&digest);
            if from.stat(&path).map_err(CopyError::From)?.is_none() {
                to.remove(&path).map_err(CopyError::To)?;
                pruned += 1;
            }
        }
    }
    Ok(pruned)
}
