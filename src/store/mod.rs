//! State: the journal that is the truth, the index made from it, and the blobs.
//!
//! [`Store::commit`] is the only way to change anything, and a manifest becomes servable only through an
//! [`Admitted`](crate::verify::Admitted) one. The store never judges, never talks to the network, and never serves
//! what an event has not made visible.

mod blobs;
mod error;
mod layout;
mod lease;
mod record;
mod transaction;

use std::sync::Arc;

pub use blobs::{BlobError, BlobWriter, Blobs};
pub use error::{CommitError, Conflict, StoreError};
pub use layout::{Shard, policy_path, shards};
pub use lease::{Lease, LeaseHeld};
pub use record::{
    BlobLink, ChildRecord, Condemned, DeviceRecord, DeviceRole, ManifestRecord, Position, RefusalRecord, Unreferenced,
};
pub use transaction::{Cause, Change, LinkVia, PrincipalKind, PrincipalRef, Transaction};

pub use crate::sys::kill_point::kill_point;

use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::sys::clock::Clock;
use crate::sys::dir::Dir;

/// What a store can be told about the machine that it runs on.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Memory for the index's cache.
    pub index_cache_bytes: u64,
    /// Disk kept aside, so that deleting works when the disk is full.
    pub reserve_bytes: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { index_cache_bytes: 4 * 1024 * 1024, reserve_bytes: 16 * 1024 * 1024 }
    }
}

/// An open store. Clones share it; the last one dropped closes it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: Arc<dyn Dir>,
    clock: Arc<dyn Clock>,
    blobs: Arc<Blobs>,
    leases: lease::Leases,
}

impl Store {
    /// Makes a new, empty store for `device`.
    pub fn create(_dir: &Arc<dyn Dir>, _clock: &Arc<dyn Clock>, _device: &DeviceId) -> Result<(), StoreError> {
        Err(StoreError::Stopped)
    }

    /// Opens the store in `dir` for this process alone, and recovers what a power cut has left.
    pub fn open(dir: Arc<dyn Dir>, clock: Arc<dyn Clock>, _settings: &StoreSettings) -> Result<Self, StoreError> {
        let blobs = Arc::new(Blobs::new(Arc::clone(&dir)));
        Ok(Self { shared: Arc::new(Shared { dir, clock, blobs, leases: lease::Leases::default() }) })
    }

    /// The directory that holds it.
    pub fn dir(&self) -> &Arc<dyn Dir> {
        &self.shared.dir
    }

    /// The clock that it runs by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Its content.
    pub fn blobs(&self) -> &Arc<Blobs> {
        &self.shared.blobs
    }

    /// Takes `repositories` for exclusive work, all or none.
    pub fn lease(&self, repositories: &[RepositoryName], who: &'static str) -> Result<Lease, LeaseHeld> {
        self.shared.leases.take(repositories, who)
    }

    /// The position of the last change that is durable and visible.
    pub fn head(&self) -> Position {
        Position { journal_id: String::new(), epoch: 0, sequence: 0, hash: Digest::of(b"") }
    }

    /// Why nothing can be changed; `None` in a healthy store.
    pub fn read_only(&self) -> Option<String> {
        None
    }

    /// Seconds for which the store has been open, over all boots.
    pub fn running_seconds(&self) -> u64 {
        0
    }

    /// The time before which it cannot be, from what was signed.
    pub fn time_floor(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    /// Makes `transaction` durable and visible, or changes nothing. Blocks until the journal is synced.
    pub fn commit(&self, _transaction: Transaction) -> Result<Position, CommitError> {
        Err(StoreError::Stopped.into())
    }

    /// Repositories after `after` that hold at least one manifest, in order.
    pub fn repositories(
        &self,
        _after: Option<&RepositoryName>,
        _limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Tags after `after`, in order of their bytes, and what each points at.
    pub fn tags(
        &self,
        _repository: &RepositoryName,
        _after: Option<&Tag>,
        _limit: usize,
    ) -> Result<Vec<(Tag, Digest)>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// What a tag points at.
    pub fn resolve(&self, _repository: &RepositoryName, _tag: &Tag) -> Result<Option<Digest>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// The tags that point at a manifest, in order.
    pub fn tags_of(&self, _repository: &RepositoryName, _digest: &Digest) -> Result<Vec<Tag>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// An admitted manifest of a repository.
    pub fn manifest(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
    ) -> Result<Option<ManifestRecord>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Admitted manifests after `after`, in order of their digests.
    pub fn manifests(
        &self,
        _repository: &RepositoryName,
        _after: Option<&Digest>,
        _limit: usize,
    ) -> Result<Vec<ManifestRecord>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Admitted manifests whose subject is `subject`, which may itself be absent.
    pub fn referrers(
        &self,
        _repository: &RepositoryName,
        _subject: &Digest,
    ) -> Result<Vec<ManifestRecord>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// What an admitted manifest points at, without its subject.
    pub fn children(&self, _repository: &RepositoryName, _parent: &Digest) -> Result<Vec<ChildRecord>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Admitted manifests that point at `digest`, other than as their subject.
    pub fn parents(&self, _repository: &RepositoryName, _digest: &Digest) -> Result<Vec<Digest>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// A blob, if an admitted manifest of this repository points at it; otherwise it is the same as absent.
    pub fn blob_link(&self, _repository: &RepositoryName, _digest: &Digest) -> Result<Option<BlobLink>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// What was last refused under a tag or digest, if nothing was admitted under it since.
    pub fn refusal(
        &self,
        _repository: &RepositoryName,
        _reference: &Reference,
    ) -> Result<Option<RefusalRecord>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Sequence of the last set imported from `sender` in `series`; 0 before the first.
    pub fn high_water(&self, _sender: &DeviceId, _series: &str) -> Result<u64, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Sequence that the next set for `receiver` in `series` gets; 1 at first.
    pub fn next_export_sequence(&self, _receiver: &DeviceId, _series: &str) -> Result<u64, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Enrolled devices, in order of their ids.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Digest of the policy file in force; its bytes are at [`policy_path`].
    pub fn active_policy(&self) -> Result<Option<Digest>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Content after `after` that repositories link but no admitted manifest of theirs needs.
    pub fn unreferenced(&self, _after: Option<&Digest>, _limit: usize) -> Result<Vec<Unreferenced>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Files of one shard of the blobs that no repository links and nobody in this process is about to.
    pub fn orphans(&self, _shard: &Shard) -> Result<Vec<Unreferenced>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Content after `after` whose grace has begun.
    pub fn condemned(&self, _after: Option<&Digest>, _limit: usize) -> Result<Vec<Condemned>, StoreError> {
        Err(StoreError::Stopped)
    }

    /// Removes the files of swept content, each only if still nothing links it. Returns what was removed.
    pub fn unlink_swept(&self, _digests: Vec<Digest>) -> Result<Vec<Unreferenced>, StoreError> {
        Err(StoreError::Stopped)
    }
}
