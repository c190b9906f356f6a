//! `POST /v2/<name>/blobs/uploads/?mount=<digest>`: content that is here already is linked instead of sent again.
//!
//! A blob is taken over only from a repository that whoever pushes may read, and where they can read it. Everything else
//! is as if it were not here, and the mount becomes an ordinary upload.

use super::Registry;
use super::error::{PushError, RegistryError};
use super::uploads::link;
use crate::access::name::ProjectName;
use crate::access::{Action, Caller};
use crate::limits::MOUNT_REPOSITORIES_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::store::LinkVia;

/// Repositories that are looked at in one step.
const LOOKED_AT_COUNT: usize = 500;

impl Registry {
    /// Links a blob out of `from`, or out of any repository where none is named. False where there is none to be had.
    pub(super) fn mount(
        &self,
        from: Option<&RepositoryName>,
        to: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<bool, RegistryError> {
        let Some(size_bytes) = self.mountable(digest, from, to, caller)? else { return Ok(false) };
        if self.store.held_blob(to, digest)?.is_none() {
            self.take_bytes(to, size_bytes)?;
        }
        match link(&self.store, caller.principal(), to, *digest, size_bytes, LinkVia::Mount) {
            // It was deleted and swept in between.
            Err(RegistryError::Push(PushError::Swept(_))) => Ok(false),
            linked => linked.map(|()| true),
        }
    }

    /// Length of a blob that `caller` can read in `from` (in any repository where none is named).
    fn mountable(
        &self,
        digest: &Digest,
        from: Option<&RepositoryName>,
        to: &RepositoryName,
        caller: &Caller,
    ) -> Result<Option<u64>, RegistryError> {
        if !self.store.blobs().has(digest) {
            return Ok(None);
        }
        if let Some(from) = from {
            let may_read = self.access.decide(caller, from, Action::Pull).is_ok();
            return if may_read { self.readable_blob(from, digest, caller) } else { Ok(None) };
        }
        let mut last = None;
        for _ in 0..MOUNT_REPOSITORIES_COUNT_MAX / LOOKED_AT_COUNT {
            let (holders, next) = self.store.holders(digest, last.as_ref(), LOOKED_AT_COUNT)?;
            for holder in holders.iter().filter(|holder| self.may_take(holder, to, caller)) {
                if let Some(size_bytes) = self.readable_blob(holder, digest, caller)? {
                    return Ok(Some(size_bytes));
                }
            }
            last = next;
            if last.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// Whether a blob of `holder` may be taken without its name: where the caller may read it, and in the same project also
    /// where a token was asked for the other repository alone, because a client that names no source cannot ask for it.
    fn may_take(&self, holder: &RepositoryName, to: &RepositoryName, caller: &Caller) -> bool {
        self.access.decide(caller, holder, Action::Pull).is_ok()
            || (ProjectName::text_of(holder) == ProjectName::text_of(to)
                && self.access.has_right(caller, holder, Action::Pull))
    }

    /// Length of a blob as whoever pushes finds it in a repository.
    fn readable_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<u64>, RegistryError> {
        let link = self.store.blob_link(repository, digest)?.filter(|link| link.present);
        match link.filter(|_| self.rechecks.check_blob(repository, digest).is_ok()) {
            Some(link) => Ok(Some(link.size_bytes)),
            None if self.access.has_right(caller, repository, Action::Push) => {
                Ok(self.store.uploaded_blob(repository, digest)?)
            }
            None => Ok(None),
        }
    }
}
