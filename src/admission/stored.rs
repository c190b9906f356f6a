//! A repository of the store, as admission reads it.

use super::Candidate;
use super::content::{Bytes, Content, ContentError, Stream};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::{RepositoryName, Tag};
use crate::oci::signature_tag;
use crate::store::{Store, StoreError};

/// One repository of the store: what was admitted to it, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub store: &'a Store,
    pub repository: &'a RepositoryName,
}

impl Stored<'_> {
    /// What is here, as a candidate to be judged again: with every tag that points at it, and under the name that it came
    /// under too, since a claimed name can add rules.
    pub fn candidate(&self, root: Digest) -> Result<Candidate, StoreError> {
        let origin = self.store.manifest(self.repository, &root)?.and_then(|record| record.origin);
        let original = origin.filter(|origin| origin.contains('/')).and_then(|origin| origin.parse().ok());
        let mut tags = self.store.tags_of(self.repository, &root, usize::MAX)?;
        tags.retain(|tag| signature_tag::parse(tag).is_none());
        Ok(Candidate { repository: self.repository.clone(), original, root, tags })
    }
}

impl Content for Stored<'_> {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        let Some(record) = self.store.manifest(self.repository, digest)? else { return Ok(None) };
        Ok(self.store.blobs().read(digest, MANIFEST_BYTES_MAX)?.map(|bytes| (record.media_type, bytes)))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        Ok(self.store.resolve(self.repository, tag)?)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        let referrers = self.store.referrers(self.repository, subject)?;
        Ok(referrers.into_iter().map(|referrer| referrer.digest).collect())
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        match self.store.blob_link(self.repository, digest)? {
            Some(link) if link.present => Ok(self.store.blobs().read(digest, limit_bytes)?),
            _ => Ok(None),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        match self.store.blob_link(self.repository, digest)? {
            Some(link) if link.present => Ok(self.store.blobs().open(digest)?.map(Bytes::of)),
            _ => Ok(None),
        }
    }
}
