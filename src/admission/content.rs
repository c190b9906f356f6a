//! Where an image's manifests and documents are read from, and the checks that make what is read what was asked for.

use std::cell::Cell;
use std::io::Read;
use std::sync::Arc;

use super::error::AdmissionError;
use crate::limits::{IMAGE_MANIFESTS_BYTES_MAX, IMAGE_MANIFESTS_COUNT_MAX, MANIFEST_BYTES_MAX};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::name::Tag;
use crate::sys::dir::File;

/// Why content could not be read at all; that something is absent is no error.
pub type ContentError = Box<dyn std::error::Error + Send + Sync>;

/// One repository, wherever it is. Nothing that it answers is believed before it was hashed.
///
/// For a child of an index it may answer that it knows no referrers and no tags, where looking would cost a round trip:
/// what speaks of the root is what decides.
pub trait Content {
    /// A manifest's media type and bytes.
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError>;
    /// Where a tag points.
    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError>;
    /// Manifests that may have `subject` as their subject.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError>;
    /// A blob of `limit_bytes` at the most; one that is larger counts as absent.
    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError>;
    /// A blob of any size, to be read in pieces. Where layers are not held none is there, and no rule about them is satisfied.
    fn open(&self, _digest: &Digest) -> Result<Option<Stream>, ContentError> {
        Ok(None)
    }
}

/// The bytes of a blob, one after the other.
pub type Stream = Box<dyn Read + Send>;

/// The bytes of a file from its beginning.
#[derive(Debug)]
pub struct Bytes {
    file: Arc<dyn File>,
    at_byte: u64,
}

impl Bytes {
    /// Those of `file`.
    pub fn of(file: Arc<dyn File>) -> Stream {
        Box::new(Self { file, at_byte: 0 })
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.at_byte)?;
        self.at_byte += count as u64;
        Ok(count)
    }
}

/// What of one image may be read into memory; an image that needs more gets no verdict, and may get one where there is
/// more memory.
#[derive(Debug)]
pub struct Allowance {
    bytes_max: usize,
    bytes_left: Cell<usize>,
}

/// An image that memory has no room for.
#[derive(Debug, thiserror::Error)]
#[error(
    "the manifests and evidence of this image are more than the {bytes_max} bytes that memory_max_bytes leaves for one \
     image; raise it in the configuration"
)]
pub struct NoRoom {
    bytes_max: usize,
}

impl Allowance {
    /// For one image; without a number the bounds of an image itself are all there is.
    pub fn of(bytes_max: Option<usize>) -> Self {
        let bytes_max = bytes_max.unwrap_or(usize::MAX);
        Self { bytes_max, bytes_left: Cell::new(bytes_max) }
    }

    /// Counts what was read, and passes it on while there is room.
    pub fn take(&self, read: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, ContentError> {
        let Some(left) = self.bytes_left.get().checked_sub(read.as_ref().map_or(0, Vec::len)) else {
            return Err(NoRoom { bytes_max: self.bytes_max }.into());
        };
        self.bytes_left.set(left);
        Ok(read)
    }
}

/// Reads through a [`Content`]: hashed, parsed, and bounded over a whole image.
pub struct Reader<'a> {
    content: &'a dyn Content,
    manifests_left: usize,
    bytes_left: usize,
}

/// Whether `bytes` hash to `digest`, whichever algorithm it names.
pub fn hashes_to(bytes: &[u8], digest: &Digest) -> bool {
    digest.algorithm().hash(bytes) == *digest
}

impl<'a> Reader<'a> {
    /// A reader with the whole budget of one image.
    pub const fn new(content: &'a dyn Content) -> Self {
        Self { content, manifests_left: IMAGE_MANIFESTS_COUNT_MAX, bytes_left: IMAGE_MANIFESTS_BYTES_MAX }
    }

    /// A manifest and its bytes; `None` where it is absent.
    pub fn manifest(&mut self, digest: &Digest) -> Result<Option<(Manifest, Vec<u8>)>, AdmissionError> {
        let read = self.content.manifest_by_digest(digest).map_err(|source| AdmissionError::unread(digest, source))?;
        let Some((media_type, bytes)) = read else {
            return Ok(None);
        };
        if bytes.len() > MANIFEST_BYTES_MAX || !hashes_to(&bytes, digest) {
            return Err(AdmissionError::Corrupt(*digest));
        }
        let left = self.bytes_left.checked_sub(bytes.len()).zip(self.manifests_left.checked_sub(1));
        (self.bytes_left, self.manifests_left) = left.ok_or(AdmissionError::TooMuch)?;
        let manifest = Manifest::parse_with(&bytes, &media_type, digest.algorithm())
            .map_err(|source| AdmissionError::Manifest { digest: Box::new(*digest), source: Box::new(source) })?;
        assert_eq!(manifest.digest, *digest, "the bytes were just hashed");
        Ok(Some((manifest, bytes)))
    }

    /// Where a tag points.
    pub fn tag(&self, tag: &Tag) -> Result<Option<Digest>, AdmissionError> {
        self.content.tag(tag).map_err(|source| AdmissionError::unread(tag, source))
    }

    /// Manifests that may have `subject` as their subject.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, AdmissionError> {
        self.content.referrers(subject).map_err(|source| AdmissionError::unread(subject, source))
    }

    /// Where it reads from.
    pub fn content(&self) -> &'a dyn Content {
        self.content
    }

    /// A blob as a stream, not hashed yet.
    pub fn open(&self, digest: &Digest) -> Result<Option<Stream>, AdmissionError> {
        self.content.open(digest).map_err(|source| AdmissionError::unread(digest, source))
    }

    /// A blob, not hashed yet.
    pub fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, AdmissionError> {
        self.content.blob(digest, limit_bytes).map_err(|source| AdmissionError::unread(digest, source))
    }
}

#[cfg(test)]
mod tests {
    use super::Allowance;

    #[test]
    fn an_image_may_need_as_much_as_there_is_and_no_more() {
        let allowance = Allowance::of(Some(10));
        assert_eq!(allowance.take(Some(vec![1; 6])).unwrap(), Some(vec![1; 6]));
        assert_eq!(allowance.take(None).unwrap(), None);
        assert_eq!(allowance.take(Some(vec![2; 4])).unwrap(), Some(vec![2; 4]));
        assert!(allowance.take(Some(vec![3])).unwrap_err().to_string().contains("the 10 bytes"));
        assert!(Allowance::of(None).take(Some(vec![0; 1_000])).is_ok());
    }
}
