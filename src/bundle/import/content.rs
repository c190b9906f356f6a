//! The bytes of a set while it is judged: out of the staging, or out of the store where they stood already.

use super::staging::Staging;
use crate::admission::{Bytes, ContentError, Stream};
use crate::bundle::content::Source;
use crate::bundle::format::table::SetTable;
use crate::oci::digest::Digest;
use crate::store::Store;
use crate::sys::dir::read_bounded;

pub(super) struct StagedSource<'a> {
    pub store: &'a Store,
    pub table: &'a SetTable,
    pub staging: &'a Staging<'a>,
}

impl Source for StagedSource<'_> {
    fn manifest_type(&self, digest: &Digest) -> Option<String> {
        self.table.blob(digest)?.manifest.clone()
    }

    fn read(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        let Some(index) = self.table.blob_index(digest) else { return Ok(None) };
        if self.table.blobs[index].size > limit_bytes as u64 {
            return Ok(None);
        }
        if self.staging.is_in_store(index) {
            return Ok(self.store.blobs().read(digest, limit_bytes)?);
        }
        Ok(Some(read_bounded(self.store.dir().as_ref(), &self.staging.part_path(index), limit_bytes)?))
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        let Some(index) = self.table.blob_index(digest) else { return Ok(None) };
        if self.staging.is_in_store(index) {
            return Ok(self.store.blobs().open(digest)?.map(Bytes::of));
        }
        Ok(Some(Bytes::of(self.store.dir().open(&self.staging.part_path(index))?)))
    }
}
