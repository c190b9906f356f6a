//! Copying files between two trees, so that a name appears only with all of its bytes behind it.

use crate::limits::MIB;
use crate::oci::digest::Digest;
use crate::store::{Shard, blob_path, shards};
use crate::sys::dir::{Create, Dir, DirError, parent};
use crate::sys::kill_point::kill_point;

/// Begins the name of a file on its way.
const PART: &str = ".part";

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

/// What became of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    Now(u64),
    Before,
    /// Its bytes do not hash to its name; nothing was copied.
    Damaged,
}

fn named(path: &str) -> impl Fn(std::io::Error) -> DirError {
    move |source| DirError { operation: "copy", path: path.to_owned(), source }
}

/// Copies one file and syncs its bytes, unless one of its length is there; with `expected`, only if it hashes to that. The
/// name is durable when its directory is synced.
pub fn file(from: &dyn Dir, to: &dyn Dir, path: &str, expected: Option<&Digest>) -> Result<Copied, CopyError> {
    let source = from.open(path).map_err(CopyError::From)?;
    let len_bytes = source.len_bytes().map_err(named(path)).map_err(CopyError::From)?;
    let there = to.stat(path).map_err(CopyError::To)?;
    if there.is_some_and(|stat| stat.len_bytes == len_bytes) {
        return Ok(Copied::Before);
    }
    let part = format!("{path}{PART}");
    let target = to.open_write(&part, Create::Missing).map_err(CopyError::To)?;
    let mut hasher = expected.map(|digest| digest.algorithm().hasher());
    let (mut piece, mut at) = (vec![0; MIB], 0);
    loop {
        let count = source.read_at(&mut piece, at).map_err(named(path)).map_err(CopyError::From)?;
        if count == 0 {
            break;
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece[..count]);
        }
        target.write_at(&piece[..count], at).map_err(named(&part)).map_err(CopyError::To)?;
        at += count as u64;
    }
    if hasher.map(|hasher| hasher.finish()).as_ref() != expected {
        to.remove(&part).map_err(CopyError::To)?;
        return Ok(Copied::Damaged);
    }
    target.set_len(at).and_then(|()| target.sync_data()).map_err(named(&part)).map_err(CopyError::To)?;
    kill_point("copy-before-name");
    to.rename(&part, path).map_err(CopyError::To)?;
    Ok(Copied::Now(at))
}

/// Copies every file of a directory, not those of directories in it; which of them there are.
pub fn directory(
    from: &dyn Dir,
    to: &dyn Dir,
    path: &str,
    wanted: impl Fn(&str) -> bool,
    bytes: &mut u64,
) -> Result<Vec<String>, CopyError> {
    let entries = match from.list(path) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        entries => entries.map_err(CopyError::From)?,
    };
    to.create_dir_all(path).map_err(CopyError::To)?;
    let mut names = Vec::new();
    for entry in entries.into_iter().filter(|entry| !entry.stat.is_dir && wanted(&entry.name)) {
        if let Copied::Now(copied) = file(from, to, &format!("{path}/{}", entry.name), None)? {
            *bytes += copied;
        }
        names.push(entry.name);
    }
    to.sync_dir(path).map_err(CopyError::To)?;
    Ok(names)
}

/// The same for documents that are named by their digest; how many of them do not hash to their names, and were not copied.
pub fn documents(from: &dyn Dir, to: &dyn Dir, path: &str, bytes: &mut u64) -> Result<u64, CopyError> {
    let entries = match from.list(path) {
        Err(error) if error.is_not_found() => return Ok(0),
        entries => entries.map_err(CopyError::From)?,
    };
    to.create_dir_all(path).map_err(CopyError::To)?;
    let mut damaged_count = 0;
    for entry in entries.into_iter().filter(|entry| !entry.stat.is_dir) {
        let named = entry.name.split_once('.').and_then(|(hex, _)| format!("sha256:{hex}").parse::<Digest>().ok());
        let Some(digest) = named.filter(|_| !entry.name.ends_with(PART)) else { continue };
        match file(from, to, &format!("{path}/{}", entry.name), Some(&digest))? {
            Copied::Now(copied) => *bytes += copied,
            Copied::Before => {}
            Copied::Damaged => damaged_count += 1,
        }
    }
    to.sync_dir(path).map_err(CopyError::To)?;
    Ok(damaged_count)
}

/// What copying all content came to.
#[derive(Debug, Default)]
pub struct Content {
    pub files_count: u64,
    pub files_copied: u64,
    pub bytes: u64,
    pub bytes_copied: u64,
    pub damaged: Vec<Digest>,
}

fn listed(dir: &dyn Dir, shard: &Shard) -> Result<Vec<(Digest, u64)>, DirError> {
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
            match file(from, to, &blob_path(&digest), Some(&digest)) {
                // Swept since it was listed: nobody needs it.
                Err(CopyError::From(error)) if error.is_not_found() => continue,
                Ok(Copied::Damaged) => {
                    all.damaged.push(digest);
                    continue;
                }
                Ok(Copied::Now(copied)) => {
                    all.files_copied += 1;
                    all.bytes_copied += copied;
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

/// The directory of a path exists.
pub fn make_parent(to: &dyn Dir, path: &str) -> Result<(), CopyError> {
    let parent = parent(path);
    if parent.is_empty() { Ok(()) } else { to.create_dir_all(parent).map_err(CopyError::To) }
}
