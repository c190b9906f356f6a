//! The data directory, drawn, and the names in it.
//!
//! ```text
//! VERSION                            who may read and who may write it
//! LOCK                               flock: one process
//! blobs/<algorithm>/00..ff/<hex>     a file here always hashes to its name
//! uploads/blob-<id>                  content on its way in; removed at start
//! uploads/<session>                  staged imports; theirs to resume
//! journal/<epoch>-<sequence>.log     segments, named by their first event
//! journal/<epoch>-<sequence>.log.zst ended ones, compressed where the form of the store allows it
//! index/CURRENT                      which generation is in use
//! index/<generation>/                sled; may be deleted at any time
//! index.dirty                        there while the index is in use
//! index.broken-<n>                   the last index that was set aside, for whoever wants to know why
//! running                            seconds of running time so far
//! reserve                            preallocated; given up so that deleting works on a full disk
//! snapshots/<epoch>-<sequence>.snapshot   the index at one event
//! restored                           there until somebody confirms what came out of a backup
//! scrub                              how far the content was read again
//! quarantine/<algorithm>-<hex>       content that the disk has changed
//! access/ trust/ identity/           of others
//! ```

use crate::oci::digest::{Algorithm, Digest};

pub const VERSION: &str = "VERSION";
pub const LOCK: &str = "LOCK";
pub const BLOBS: &str = "blobs";
pub const UPLOADS: &str = "uploads";
/// Begins the name of a file in `uploads/` that dies with its process.
pub const UPLOAD_PREFIX: &str = "blob-";
pub const JOURNAL: &str = "journal";
pub const INDEX: &str = "index";
pub const INDEX_CURRENT: &str = "index/CURRENT";
pub const INDEX_DIRTY: &str = "index.dirty";
pub const INDEX_BROKEN_PREFIX: &str = "index.broken-";
pub const RUNNING: &str = "running";
pub const RESERVE: &str = "reserve";
pub const SNAPSHOTS: &str = "snapshots";
/// There while a restore waits to be confirmed.
pub const RESTORED: &str = "restored";
pub const SCRUB: &str = "scrub";
pub const QUARANTINE: &str = "quarantine";
pub const POLICIES: &str = "trust/policies";
/// Versions of objects of trust.
pub const TRUST_OBJECTS: &str = "trust/objects";
/// Projects, principals and their rights.
pub const ACCESS_DOCUMENTS: &str = "trust/access";
/// Directories that stand from the beginning.
pub const DIRECTORIES: [&str; 10] =
    [BLOBS, UPLOADS, JOURNAL, INDEX, "access", "trust", POLICIES, ACCESS_DOCUMENTS, "identity", QUARANTINE];

/// One of the directories that share out the blobs: those whose hexadecimal begins with the same two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub algorithm: Algorithm,
    pub first: u8,
}

impl Shard {
    /// Where it is.
    pub fn path(&self) -> String {
        format!("{BLOBS}/{}/{:02x}", self.algorithm.name(), self.first)
    }

    /// Whether it may hold content that sorts behind `after`.
    pub fn reaches_behind(&self, after: &Digest) -> bool {
        (self.algorithm, Some(&self.first)) >= (after.algorithm(), after.raw().first())
    }

    /// The digest that a file of this shard is named after.
    pub fn digest(&self, file_name: &str) -> Option<Digest> {
        let digest: Digest = format!("{}:{file_name}", self.algorithm.name()).parse().ok()?;
        (digest.raw().first() == Some(&self.first)).then_some(digest)
    }
}

/// All shards, in order.
pub fn shards() -> impl Iterator<Item = Shard> {
    let algorithms = [Algorithm::Sha256, Algorithm::Sha512];
    algorithms.into_iter().flat_map(|algorithm| (0..=u8::MAX).map(move |first| Shard { algorithm, first }))
}

/// Where some content is.
pub fn blob_path(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{BLOBS}/{}/{}/{hex}", digest.algorithm().name(), &hex[..2])
}

/// Where a trust policy is.
pub fn policy_path(digest: &Digest) -> String {
    format!("{POLICIES}/{}.toml", digest.hex())
}

/// Where a version of an object of trust is.
pub fn trust_object_path(digest: &Digest) -> String {
    format!("{TRUST_OBJECTS}/{}.txt", digest.hex())
}

/// Where a document of projects, principals and their rights is. It holds names and hashes of secrets, so it is no event:
/// a file can be removed, the journal cannot forget.
pub fn access_path(digest: &Digest) -> String {
    format!("{ACCESS_DOCUMENTS}/{}.json", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::{blob_path, shards};
    use crate::oci::digest::Digest;

    #[test]
    fn a_blob_lies_in_its_shard_and_is_read_back() {
        let digest = Digest::of(b"x");
        let path = blob_path(&digest);
        let shard = shards().find(|shard| path.starts_with(&shard.path())).unwrap();
        assert_eq!(shard.digest(&digest.hex()), Some(digest));
        assert_eq!(shard.digest("README"), None);
        assert_eq!(shards().filter(|other| other.digest(&digest.hex()).is_some()).count(), 1);
        assert_eq!(shards().count(), 512);
    }
}
