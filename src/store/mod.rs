//! State: the journal that is the truth, the index made from it, and the blobs.
//!
//! [`Store::commit`] is the only way to change anything, and a manifest becomes servable only through an
//! [`Admitted`](crate::verify::Admitted) one. The store never judges, never talks to the network, and never serves
//! what an event has not made visible.

mod apply;
mod blobs;
mod check;
mod condition;
mod decide;
mod error;
mod event;
mod frame;
mod generation;
mod index;
mod journal;
mod layout;
mod lease;
mod open;
mod pack;
mod packed;
mod pages;
mod quarantine;
mod reach;
mod read;
mod record;
mod recover;
mod reserve;
mod restored;
mod rows;
mod running;
mod scan;
mod scrub;
mod sequencer;
mod snapshot;
mod staged;
mod state;
#[cfg(test)]
mod tests;
mod transaction;
mod trust;
mod usage;
mod version;
mod walk;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

pub use blobs::{BlobError, BlobWriter, Blobs};
pub use check::{CheckDepth, CheckReport, Finding, RebuildReport};
pub use condition::{Condition, ConditionKind};
pub use error::{CommitError, Conflict, StoreError};
pub use event::{ObjectVersion, StandingChange};
pub use layout::{
    ACCESS_DOCUMENTS, POLICIES, SNAPSHOTS, Shard, TRUST_OBJECTS, VERSION as VERSION_FILE, access_path, blob_path,
    policy_path, shards, trust_object_path,
};
pub use lease::{Lease, LeaseHeld};
pub use pack::PackReport;
pub use quarantine::{Holder, HurtImage, Lacking, Losses};
pub use record::{
    BlobLink, ChildRecord, Condemned, DeviceRecord, DeviceRole, ImportMark, ManifestRecord, Position, RefusalRecord,
    StagedRecord, Unreferenced,
};
pub use restored::{ConfirmError, MissingEvents, Restored};
pub use scrub::{ScrubOptions, ScrubReport};
pub use snapshot::SnapshotReport;
pub use transaction::{Cause, Change, LinkVia, PrincipalKind, PrincipalRef, Transaction};
pub use trust::{AcceptedUpdate, ActiveObject, ObjectRecord};
pub use usage::Usage;
pub use version::Finalized;
pub use walk::{JOURNAL_DIR, JournalWalk, journal_path, open_segment, walk_journal};

pub use crate::sys::kill_point::kill_point;

use self::sequencer::{Command, Sequencer};
use self::state::State;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::sys::clock::Clock;
use crate::sys::dir::Dir;

/// What a store can be told about the machine that it runs on.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Memory for the index's cache.
    pub index_cache_bytes: u64,
    /// Disk kept aside, so that deleting works when the disk is full.
    pub reserve_bytes: u64,
    /// By how much trusted time may rise at once without an operator.
    pub time_step_seconds_max: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            index_cache_bytes: 4 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
            time_step_seconds_max: 400 * 24 * 3600,
        }
    }
}

/// As long as it lives no file of content is removed. What a sweep gives up meanwhile goes with the next one.
#[derive(Debug)]
pub struct FilesHeld {
    state: Arc<State>,
}

impl FilesHeld {
    fn new(state: Arc<State>) -> Self {
        state.files_held.fetch_add(1, Ordering::SeqCst);
        Self { state }
    }
}

impl Drop for FilesHeld {
    fn drop(&mut self) {
        self.state.files_held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An open store. Clones share it; the last one dropped closes it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Arc<State>,
    /// Taken when closing: without it, the sequencer ends.
    commands: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
    leases: lease::Leases,
    /// Given back last, when the sequencer has ended.
    _lock: open::Lock,
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so itself; the next start recovers.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// The directory that holds it.
    pub fn dir(&self) -> &Arc<dyn Dir> {
        &self.shared.state.dir
    }

    /// The clock that it runs by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.state.clock
    }

    /// Its content.
    pub fn blobs(&self) -> &Arc<Blobs> {
        &self.shared.state.blobs
    }

    /// Takes `repositories` for exclusive work, all or none.
    pub fn lease(&self, repositories: &[RepositoryName], who: &'static str) -> Result<Lease, LeaseHeld> {
        self.shared.leases.take(repositories, who)
    }

    /// The position of the last change that is durable and visible.
    pub fn head(&self) -> Position {
        self.shared.state.head()
    }

    /// Why nothing can be changed; `None` in a healthy store.
    pub fn read_only(&self) -> Option<String> {
        self.shared.state.read_only()
    }

    /// Seconds for which the store has been open, over all boots.
    pub fn running_seconds(&self) -> u64 {
        self.shared.state.running.seconds()
    }

    /// Makes `transaction` durable and visible, or changes nothing. Blocks until the journal is synced.
    pub fn commit(&self, transaction: Transaction) -> Result<Position, CommitError> {
        let (sender, receiver) = sync_channel(1);
        self.send(Command::Commit(Box::new(transaction), sender))?;
        receiver.recv().map_err(|_| StoreError::Stopped)?
    }

    /// Keeps every file of content as long as the guard lives: whoever copies the store does not lose one on the way.
    pub fn hold_files(&self) -> FilesHeld {
        FilesHeld::new(Arc::clone(&self.shared.state))
    }

    /// Removes the files of swept content, each only if still no repository holds it. Returns what was removed.
    pub fn unlink_swept(&self, digests: Vec<Digest>) -> Result<Vec<Unreferenced>, StoreError> {
        self.alone(move |sequencer| sequencer.unlink(digests))?
    }

    /// Ends the segment that is being written, so that everything up to here lies in files that never change again. Says
    /// where it stands then.
    pub fn seal_segment(&self) -> Result<Position, StoreError> {
        self.alone(Sequencer::seal_segment)?
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        let commands = self.shared.commands.as_ref().ok_or(StoreError::Stopped)?;
        commands.send(command).map_err(|_| StoreError::Stopped)
    }
}
