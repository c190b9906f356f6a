//! What lies in a layer, as far as rules ask: one pass over its bytes, which are never held.
//!
//! The answer hangs on the layer's digest and the question alone, so that it is remembered: images share layers, and an image
//! is judged again and again.

mod archive;
mod decompress;
mod remembered;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::sync::Arc;

use self::archive::Archive;
use self::decompress::unpacked;
use crate::limits::{
    IMAGE_USERS_BYTES_MAX, LAYER_FOUND_COUNT_MAX, LAYER_TAKEN_AWAY_COUNT_MAX, LAYER_UNPACKED_BYTES_MAX,
};
use crate::oci::digest::{Digest, Hasher};
use crate::verify::content::Wanted;

/// What was found in one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes of all files.
    pub unpacked_bytes: u64,
    /// Paths about which a rule asks.
    pub paths: Vec<String>,
    /// Paths of the layers below that are not to be seen any more.
    pub taken_away: Vec<String>,
    /// Directories of whose content in the layers below nothing is to be seen any more.
    pub emptied: Vec<String>,
    /// The list of users; `Some(None)` where it is no file, or a long one.
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

/// Where the marks stand by which a layer takes something away (image specification, "Whiteouts").
const TAKES_AWAY: &str = ".wh.";
const EMPTIES: &str = ".wh..wh..opq";
/// Other marks of the same origin, which take nothing away.
const MARKS: &str = ".wh..wh.";
const USERS: &str = "etc/passwd";

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
    if let Some(found) = remembered::recall(digest, &wanted.digest) {
        return Ok(found);
    }
    let found = Arc::new(look(raw, digest, wanted)?);
    remembered::remember(digest, &wanted.digest, &found);
    Ok(found)
}

fn read(raw: &mut impl Read, wanted: &Wanted) -> Result<Found, LayerError> {
    let unpacked = unpacked(raw).map_err(LayerError::Read)?;
    let mut archive = Archive::new(unpacked.take(LAYER_UNPACKED_BYTES_MAX));
    let mut found = Found::default();
    while let Some(entry) = archive.next_entry()? {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let below = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if found.taken_away.len() + found.emptied.len() > LAYER_TAKEN_AWAY_COUNT_MAX {
            return Err(LayerError::TooMany("paths that it takes away"));
        }
        if name == EMPTIES {
            found.emptied.push(folder.to_owned());
        } else if name.starts_with(MARKS) {
            continue;
        } else if let Some(taken) = name.strip_prefix(TAKES_AWAY) {
            found.taken_away.push(below(taken));
        } else {
            if entry.is_file {
                found.unpacked_bytes = found.unpacked_bytes.saturating_add(entry.size_bytes);
            }
            if entry.path == USERS {
                found.users = Some(if entry.is_file { archive.content(IMAGE_USERS_BYTES_MAX)? } else { None });
            }
            if wanted.is_asked_about(&entry.path) {
                if found.paths.len() == LAYER_FOUND_COUNT_MAX {
                    return Err(LayerError::TooMany("paths about which a rule asks"));
                }
                found.paths.push(entry.path);
            }
        }
    }
    // Behind the bound anything may lie.
    if archive.source().limit() == 0 {
        return Err(LayerError::TooMany("bytes"));
    }
    Ok(found)
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
