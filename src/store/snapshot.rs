//! The index written down at one event, so that making it anew takes as long as what came after, however old the store is,
//! and so that damage in the journal below it hides nothing that is served.
//!
//! ```text
//! snapshots/<epoch>-<sequence>.snapshot
//!
//! "PSTNSNAP"   version of rows, u32   length of the head, u32   head: position, frame and count of rows, as JSON
//! zstd of:     length of the key, u32   length of the value, u32   key   value   … for every row, in order
//! SHA-256 over everything before it, 32 bytes
//! ```
//!
//! Numbers are little-endian. It is a view like the index and never the record: one of another version, or one that does
//! not hash to its end, is passed over, and the journal is read from its beginning.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Store;
use super::error::StoreError;
use super::index::{Index, IndexError, ROWS_VERSION};
use super::journal::Place;
use super::layout;
use super::pages::Mutation;
use super::record::Position;
use super::rows::Rows as _;
use super::sequencer::Sequencer;
use crate::limits::{INDEX_REBUILD_BYTES, KIB, MIB, SNAPSHOTS_KEPT_COUNT};
use crate::oci::digest::{Algorithm, Hasher};
use crate::sys::dir::{Create, Dir, DirError, File, read_exact_at};
use crate::sys::kill_point::kill_point;

const MAGIC: &[u8; 8] = b"PSTNSNAP";
const SUFFIX: &str = ".snapshot";
const HASH_BYTES: u64 = 32;
const LEVEL: i32 = 3;
const FIXED_BYTES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    position: Position,
    place: Place,
    rows_count: u64,
}

/// A snapshot that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotReport {
    pub position: Position,
    pub rows_count: u64,
    pub bytes: u64,
}

fn failed(path: &str) -> impl Fn(io::Error) -> DirError {
    let path = path.to_owned();
    move |source| DirError { operation: "use", path: path.clone(), source }
}

/// Writes at the end of a file and hashes what it writes.
struct Appending {
    file: Arc<dyn File>,
    at: u64,
    hasher: Hasher,
}

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads up to an end.
struct Reading {
    file: Arc<dyn File>,
    at: u64,
    end: u64,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The snapshots that are there, the newest first.
fn names(dir: &dyn Dir) -> Result<Vec<String>, DirError> {
    let entries = match dir.list(layout::SNAPSHOTS) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(SUFFIX));
    names.reverse();
    Ok(names)
}

/// The newest snapshot's name, for whoever wants to know when the next one is due.
pub fn newest_sequence(dir: &dyn Dir) -> u64 {
    let newest = names(dir).ok().and_then(|names| names.into_iter().next());
    newest.and_then(|name| name.strip_suffix(SUFFIX)?.split_once('-')?.1.parse().ok()).unwrap_or(0)
}

/// Writes the index down as it is.
pub fn write(dir: &dyn Dir, index: &Index) -> Result<SnapshotReport, StoreError> {
    let meta = index.meta();
    let (Some(position), Some(place)) = (meta.position, meta.place) else { return Err(StoreError::JournalMissing) };
    dir.create_dir_all(layout::SNAPSHOTS)?;
    let name = format!("{:010}-{:020}{SUFFIX}", position.epoch, position.sequence);
    let (path, temporary) = (format!("{}/{name}", layout::SNAPSHOTS), format!("{}/{name}.new", layout::SNAPSHOTS));
    let file = dir.open_write(&temporary, Create::Missing)?;
    let failed = failed(&temporary);
    file.set_len(0).map_err(&failed)?;
    let head = Head { position: position.clone(), place, rows_count: meta.rows_count };
    let mut out = Appending { file: Arc::clone(&file), at: 0, hasher: Algorithm::Sha256.hasher() };
    write_rows(index, &head, &mut out)?.map_err(&failed)?;
    let hash = out.hasher.finish();
    file.write_at(hash.raw(), out.at).map_err(&failed)?;
    file.sync_data().map_err(&failed)?;
    kill_point("snapshot-written");
    dir.rename(&temporary, &path)?;
    dir.sync_dir(layout::SNAPSHOTS)?;
    dir.sync_dir("")?;
    for old in names(dir)?.into_iter().skip(SNAPSHOTS_KEPT_COUNT) {
        dir.remove(&format!("{}/{old}", layout::SNAPSHOTS))?;
    }
    Ok(SnapshotReport { position, rows_count: meta.rows_count, bytes: out.at + HASH_BYTES })
}

fn write_rows(index: &Index, head: &Head, out: &mut Appending) -> Result<io::Result<()>, IndexError> {
    let head = serde_json::to_vec(head).map_err(|_| IndexError::Row("snapshot"))?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut begin = || -> io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&ROWS_VERSION.to_le_bytes())?;
        out.write_all(&length(&head))?;
        out.write_all(&head)
    };
    if let Err(error) = begin() {
        return Ok(Err(error));
    }
    let buffered = io::BufWriter::with_capacity(64 * KIB, out);
    let mut packed = match zstd::stream::write::Encoder::new(buffered, LEVEL) {
        Ok(packed) => packed,
        Err(error) => return Ok(Err(error)),
    };
    let mut outcome = Ok(());
    index.scan(&[], &mut |key, value| {
        let parts: [&[u8]; 4] = [&length(key), &length(value), key, value];
        outcome = parts.iter().try_for_each(|part| packed.write_all(part));
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(outcome.and_then(|()| packed.finish()?.flush()))
}

/// Fills an empty index from the newest snapshot that is whole, and says where in the journal it stands.
pub fn load(dir: &dyn Dir, index: &Index) -> Result<Option<(Position, Place)>, StoreError> {
    for name in names(dir)? {
        let path = format!("{}/{name}", layout::SNAPSHOTS);
        match open(dir, &path) {
            Ok(Some((head, rows))) => {
                fill(index, &head, rows, &path)?;
                return Ok(Some((head.position, head.place)));
            }
            Ok(None) => tracing::info!(path, "a snapshot of another version is passed over"),
            Err(error) => tracing::warn!(path, %error, "a snapshot is not whole and is passed over"),
        }
    }
    Ok(None)
}

/// The head of a snapshot and its rows, after all of it was hashed; none where its rows are of another version.
fn open(dir: &dyn Dir, path: &str) -> io::Result<Option<(Head, Reading)>> {
    let file = dir.open(path).map_err(|error| error.source)?;
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let end = file.len_bytes()?.checked_sub(HASH_BYTES).ok_or_else(damaged)?;
    let mut hasher = Algorithm::Sha256.hasher();
    let mut hashed = Reading { file: Arc::clone(&file), at: 0, end };
    let mut piece = vec![0; 64 * KIB];
    loop {
        match hashed.read(&mut piece)? {
            0 => break,
            count => hasher.update(&piece[..count]),
        }
    }
    let mut expected = [0; 32];
    read_exact_at(file.as_ref(), &mut expected, end)?;
    let mut fixed = [0; FIXED_BYTES];
    read_exact_at(file.as_ref(), &mut fixed, 0)?;
    let number = |at: usize| fixed.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    if hasher.finish().raw() != expected || !fixed.starts_with(MAGIC) {
        return Err(damaged());
    }
    if number(8) != Some(ROWS_VERSION) {
        return Ok(None);
    }
    let head_bytes = number(12).and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes <= 16 * KIB);
    let mut head = vec![0; head_bytes.ok_or_else(damaged)?];
    read_exact_at(file.as_ref(), &mut head, FIXED_BYTES as u64)?;
    let at = (FIXED_BYTES + head.len()) as u64;
    let head = serde_json::from_slice(&head).map_err(|_| damaged())?;
    Ok(Some((head, Reading { file, at, end })))
}

fn fill(index: &Index, head: &Head, rows: Reading, path: &str) -> Result<(), StoreError> {
    let failed = failed(path);
    let mut rows = zstd::stream::read::Decoder::new(rows).map_err(&failed)?;
    let (mut together, mut together_bytes): (Vec<Mutation>, usize) = (Vec::new(), 0);
    for _ in 0..head.rows_count {
        let row = read_row(&mut rows).map_err(&failed)?;
        together_bytes += row.0.len() + row.1.len();
        together.push((row.0, Some(row.1)));
        if together_bytes >= INDEX_REBUILD_BYTES {
            index.apply(std::mem::take(&mut together).into_iter(), &head.position, &head.place)?;
            index.flush()?;
            together_bytes = 0;
        }
    }
    index.apply(together.into_iter(), &head.position, &head.place)?;
    Ok(index.flush()?)
}

fn read_row(rows: &mut impl Read) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut length = || -> io::Result<usize> {
        let mut four = [0; 4];
        rows.read_exact(&mut four)?;
        usize::try_from(u32::from_le_bytes(four))
            .ok()
            .filter(|bytes| *bytes <= MIB)
            .ok_or(io::ErrorKind::InvalidData.into())
    };
    let (mut key, mut value) = (vec![0; length()?], vec![0; length()?]);
    rows.read_exact(&mut key)?;
    rows.read_exact(&mut value)?;
    Ok((key, value))
}

impl Store {
    /// Writes the index down, so that later starts read less of the journal. Commits wait meanwhile.
    pub fn snapshot(&self) -> Result<SnapshotReport, StoreError> {
        self.alone(Sequencer::snapshot)?
    }
}
