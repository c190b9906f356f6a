//! What lies in a layer, as far as rules ask: one pass over its bytes, which are never held.
//!
//! The answer hangs on the layer's digest and the question alone, so that it is remembered: images share layers, and an image
//! is judged again and again.

mod archive;
mod decompress;
mod directories;
mod remembered;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::sync::Arc;

pub use self::archive::begins_an_archive;
use self::archive::{Archive, Entry};
pub use self::decompress::Packing;
use self::decompress::unpacked;
use self::directories::Directories;
use crate::limits::{
    IMAGE_USERS_BYTES_MAX, LAYER_FOUND_COUNT_MAX, LAYER_TAKEN_AWAY_BYTES_MAX, LAYER_TAKEN_AWAY_COUNT_MAX,
    LAYER_UNPACKED_BYTES_MAX,
};
use crate::oci::digest::{Digest, Hasher};
use crate::verify::content::Wanted;

/// What was found in one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What its first bytes say that it is packed with.
    pub packing: Packing,
    /// Bytes of all files.
    pub unpacked_bytes: u64,
    /// Paths about which a rule asks.
    pub paths: Vec<String>,
    /// Paths of the layers below that are not to be seen any more.
    pub taken_away: Vec<String>,
    /// Directories of whose content in the layers below nothing is to be seen any more.
    pub emptied: Vec<String>,
    /// The list of users; `Some(None)` where it is no file, or a long one, or where its directory is none.
    pub users: Option<Option<Vec<u8>>>,
}

/// Why it is not known what lies in a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("its archive cannot be read without doubt: {0}")]
    Archive(&'static str),
    #[error("it cannot be unpacked, or not be read: {0}")]
    Read(io::Error),
    #[error("it has more {0} than are looked at")]
    TooMany(&'static str),
    #[error("its bytes do not hash to its digest")]
    Corrupt,
    /// The bytes could not be had; trying again may help.
    #[error("its bytes cannot be read")]
    Source(#[source] io::Error),
}

impl LayerError {
    /// The same, where it is about the bytes that the digest names and so holds whenever they are read.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Archive(reason) => Some(Self::Archive(reason)),
            Self::Read(error) => Some(Self::Read(io::Error::new(error.kind(), error.to_string()))),
            Self::TooMany(what) => Some(Self::TooMany(what)),
            Self::Corrupt | Self::Source(_) => None,
        }
    }
}

/// Where the marks stand by which a layer takes something away (image specification, "Whiteouts").
const TAKES_AWAY: &str = ".wh.";
const EMPTIES: &str = ".wh..wh..opq";
/// Other marks of the same origin, which take nothing away.
const MARKS: &str = ".wh..wh.";
const USERS: &str = "etc/passwd";
const USERS_FOLDER: &str = "etc";

/// What lies in the layer `digest`, whose bytes are `raw`.
pub fn look(raw: impl Read, digest: &Digest, wanted: &Wanted) -> Result<Found, LayerError> {
    let mut raw = Hashing { raw, hasher: digest.algorithm().hasher(), failed: None };
    let found = read(&mut raw, wanted);
    let whole = io::copy(&mut raw, &mut io::sink());
    if let Some(error) = raw.failed {
        return Err(LayerError::Source(error));
    }
    whole.map_err(LayerError::Read)?;
    // What is said of other bytes than those that were signed says nothing, not even that they are bad.
    if raw.hasher.finish() != *digest {
        return Err(LayerError::Corrupt);
    }
    found
}

/// The same, remembered.
pub fn looked(raw: impl Read, digest: &Digest, wanted: &Wanted) -> Result<Arc<Found>, LayerError> {
    if let Some(outcome) = remembered::recall(digest, &wanted.digest) {
        return outcome;
    }
    let outcome = look(raw, digest, wanted).map(Arc::new);
    remembered::remember(digest, &wanted.digest, &outcome);
    outcome
}

fn read(raw: &mut impl Read, wanted: &Wanted) -> Result<Found, LayerError> {
    let (packing, unpacked) = unpacked(raw).map_err(LayerError::Read)?;
    let mut archive = Archive::new(unpacked.take(LAYER_UNPACKED_BYTES_MAX));
    let mut looking = Looking { found: Found { packing, ..Found::default() }, ..Looking::default() };
    while let Some(entry) = archive.next_entry()? {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        looking.directories.add(if entry.is_directory { &entry.path } else { folder });
        if name == EMPTIES {
            looking.empty(folder)?;
        } else if name.starts_with(MARKS) {
            continue;
        } else if let Some(taken) = name.strip_prefix(TAKES_AWAY) {
            looking.take_away(if folder.is_empty() { taken.to_owned() } else { format!("{folder}/{taken}") })?;
        } else {
            looking.see(entry, &mut archive, wanted)?;
        }
    }
    // Behind the bound anything may lie.
    if archive.source().limit() == 0 {
        return Err(LayerError::TooMany("bytes"));
    }
    Ok(looking.found())
}

/// What was found so far.
#[derive(Default)]
struct Looking {
    found: Found,
    /// The directories that the layer brings, itself or for what lies in them.
    directories: Directories,
    hidden_bytes: usize,
    has_no_users_folder: bool,
}

impl Looking {
    /// A mark at the root empties nothing: overlayfs does not look at the root's.
    fn empty(&mut self, folder: &str) -> Result<(), LayerError> {
        if !folder.is_empty() {
            self.hide(folder.len())?;
            self.found.emptied.push(folder.to_owned());
        }
        Ok(())
    }

    fn take_away(&mut self, path: String) -> Result<(), LayerError> {
        self.hide(path.len())?;
        self.found.taken_away.push(path);
        Ok(())
    }

    fn hide(&mut self, path_bytes: usize) -> Result<(), LayerError> {
        self.hidden_bytes = self.hidden_bytes.saturating_add(path_bytes);
        if self.hidden_bytes > LAYER_TAKEN_AWAY_BYTES_MAX {
            return Err(LayerError::TooMany("bytes of paths that it takes away"));
        }
        if self.found.taken_away.len() + self.found.emptied.len() >= LAYER_TAKEN_AWAY_COUNT_MAX {
            return Err(LayerError::TooMany("paths that it takes away"));
        }
        Ok(())
    }

    fn see(&mut self, entry: Entry, archive: &mut Archive<impl Read>, wanted: &Wanted) -> Result<(), LayerError> {
        if entry.is_file {
            self.found.unpacked_bytes = self.found.unpacked_bytes.saturating_add(entry.size_bytes);
        }
        if entry.path == USERS {
            self.found.users = Some(if entry.is_file { archive.content(IMAGE_USERS_BYTES_MAX)? } else { None });
        }
        // What lies below a link lies elsewhere, and other names may lead there.
        self.has_no_users_folder |= entry.path == USERS_FOLDER && !entry.is_directory;
        if wanted.is_asked_about(&entry.path) {
            if self.found.paths.len() == LAYER_FOUND_COUNT_MAX {
                return Err(LayerError::TooMany("paths about which a rule asks"));
            }
            self.found.paths.push(entry.path);
        }
        Ok(())
    }

    /// Runtimes differ in whether a directory that a layer takes away and also brings hides the one below: it does not here.
    fn found(self) -> Found {
        let Self { mut found, directories, has_no_users_folder, .. } = self;
        if has_no_users_folder {
            found.users = Some(None);
        }
        found.taken_away.retain(|path| !directories.may_hold(path));
        if directories.is_full() {
            found.emptied.clear();
        }
        found
    }
}

/// Bytes that are hashed on their way, and what went wrong below whoever reads them.
struct Hashing<R> {
    raw: R,
    hasher: Hasher,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.raw.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.failed.get_or_insert(error);
                Err(told)
            }
        }
    }
}
