//! One image of a set or of a plan, as admission wants to read it: what is listed for it, and nothing beside it.

use crate::admission::{Allowance, Content, ContentError, Stream};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::Tag;

use super::format::table::Image;

/// Where the bytes of a set are.
pub(super) trait Source {
    /// The media type of a manifest of the set.
    fn manifest_type(&self, digest: &Digest) -> Option<String>;
    /// Content of the set that is `limit_bytes` long at the most.
    fn read(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError>;
    /// Content of the set of any size, to be read in pieces.
    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError>;
}

/// An image and where its bytes are.
pub(super) struct ImageContent<'a> {
    pub image: &'a Image,
    pub source: &'a dyn Source,
    pub allowance: Allowance,
}

impl Content for ImageContent<'_> {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        let Some(media_type) = self.source.manifest_type(digest) else { return Ok(None) };
        let read = self.allowance.take(self.source.read(digest, MANIFEST_BYTES_MAX)?)?;
        Ok(read.map(|bytes| (media_type, bytes)))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        let found = self.image.companions.iter().find(|companion| companion.tag.as_ref() == Some(tag));
        Ok(found.map(|companion| companion.digest))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        let about = self.image.companions.iter();
        let about = about.filter(|companion| companion.tag.is_none() && companion.subject == *subject);
        Ok(about.map(|companion| companion.digest).collect())
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        self.allowance.take(self.source.read(digest, limit_bytes)?)
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        self.source.open(digest)
    }
}
