//! The one thread that changes the store.
//!
//! It takes queued transactions in order, checks each against what the store holds and what the group before it has
//! already changed, and makes one frame of the journal out of as many as are waiting. After the sync, the new rows
//! become visible together, and only then is anybody answered. Rows go into the index later and in larger batches: the
//! journal holds them, so the index may lag behind by as much as a start replays at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::apply;
use super::decide::View;
use super::error::{CommitError, StoreError};
use super::event::{self, Body, EventHead, EventTime};
use super::index::{Index, IndexError};
use super::journal::{AppendError, Group, Journal, Place};
use super::layout;
use super::reach;
use super::record::{Position, Unreferenced};
use super::reserve;
use super::rows::{Layered, Overlay, Rows, time_floor};
use super::running;
use super::snapshot::{self, SnapshotReport};
use super::state::{State, locked};
use super::transaction::{Change, Transaction};
use crate::error_chain::chain;
use crate::limits::{
    DISK_FREE_BYTES_MIN, INDEX_OVERLAY_BYTES, JOURNAL_GROUP_BYTES, JOURNAL_GROUP_COMMANDS_COUNT_MAX,
    SNAPSHOT_EVENTS_COUNT, TRANSACTION_BYTES_MAX,
};
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::sys::dir::DirError;
use crate::sys::kill_point::kill_point;

/// So long after the last commit the index catches up.
const IDLE: Duration = Duration::from_secs(2);
/// How often running time is written down: what a power cut takes away only lengthens a grace.
const RUNNING_INTERVAL_SECONDS: u64 = 600;
const WRITER: &str = concat!("postern ", env!("CARGO_PKG_VERSION"));

pub type Reply = SyncSender<Result<Position, CommitError>>;

/// What the sequencer is asked to do.
pub enum Command {
    Commit(Box<Transaction>, Reply),
    /// Something that must not run beside a commit.
    Run(Box<dyn FnOnce(&mut Sequencer) + Send>),
}

/// The only writer of a store.
pub struct Sequencer {
    pub state: Arc<State>,
    /// None where the journal cannot take anything.
    journal: Option<Box<dyn Journal>>,
    /// What the rows in front of the index bring it to.
    pending: Option<(Position, Place)>,
    running_saved_seconds: u64,
    snapshot_due_at: u64,
}

/// Transactions that will become durable together.
struct Draft {
    position: Position,
    payload: Vec<u8>,
    event_count: u32,
    rows: Overlay,
    linked: Vec<Digest>,
    changed: BTreeSet<RepositoryName>,
    staging: Vec<RepositoryName>,
    time_floor: Option<jiff::Timestamp>,
}

impl Sequencer {
    pub fn new(state: Arc<State>, journal: Option<Box<dyn Journal>>) -> Self {
        let running_saved_seconds = state.running.seconds();
        let snapshot_due_at = snapshot::newest_sequence(state.dir.as_ref()) + SNAPSHOT_EVENTS_COUNT;
        Self { state, journal, pending: None, running_saved_seconds, snapshot_due_at }
    }

    /// Works until nobody can send any more, then closes the store.
    pub fn work(mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(IDLE) {
                Ok(first) => self.turn(first, commands),
                Err(RecvTimeoutError::Timeout) => self.rest(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.close();
    }

    /// Takes in what is waiting, and answers it.
    fn turn(&mut self, first: Command, commands: &Receiver<Command>) {
        let mut waiting = Some(first);
        let mut draft = self.draft();
        let mut answers = Vec::new();
        let free_bytes = self.state.dir.free_bytes().unwrap_or(u64::MAX);
        while let Some(command) = waiting {
            match command {
                Command::Commit(transaction, reply) => match self.add(&mut draft, *transaction, free_bytes) {
                    Ok(position) => answers.push((reply, position)),
                    // Whoever asked may have gone away; nobody else wants to know.
                    Err(error) => drop(reply.send(Err(error))),
                },
                Command::Run(run) => {
                    let group = std::mem::replace(&mut draft, self.draft());
                    self.finish(group, std::mem::take(&mut answers));
                    run(self);
                    draft = self.draft();
                }
            }
            let room = draft.payload.len() < JOURNAL_GROUP_BYTES && answers.len() < JOURNAL_GROUP_COMMANDS_COUNT_MAX;
            waiting = if room { commands.try_recv().ok() } else { None };
        }
        self.finish(draft, answers);
        let overlay_bytes = self.state.overlay.read().unwrap_or_else(PoisonError::into_inner).bytes();
        if overlay_bytes >= INDEX_OVERLAY_BYTES {
            self.catch_up();
        }
    }

    fn draft(&self) -> Draft {
        Draft::behind(self.state.head())
    }

    /// Adds one transaction to the draft, or leaves the draft as it was.
    fn add(&self, draft: &mut Draft, transaction: Transaction, free_bytes: u64) -> Result<Position, CommitError> {
        if let Some(reason) = self.state.read_only() {
            return Err(CommitError::ReadOnly { reason });
        }
        self.check_space(&transaction, free_bytes)?;
        let overlay = self.state.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let index = Arc::clone(&self.state.index.read().unwrap_or_else(PoisonError::into_inner));
        let shared = Layered { top: &overlay, base: index.as_ref() };
        let base = Layered { top: &draft.rows, base: &shared };
        let added = self.events(draft.position.clone(), transaction, &base)?;
        draft.position = added.position.clone();
        draft.payload.extend_from_slice(&added.payload);
        draft.event_count += added.event_count;
        draft.rows.extend(added.rows.into_mutations());
        draft.linked.extend(added.linked);
        draft.changed.extend(added.changed);
        draft.staging.extend(added.staging);
        draft.time_floor = added.time_floor.or(draft.time_floor);
        Ok(added.position)
    }

    /// What a full disk must not stop gives up the reserve instead.
    fn check_space(&self, transaction: &Transaction, free_bytes: u64) -> Result<(), CommitError> {
        if free_bytes >= DISK_FREE_BYTES_MIN {
            return Ok(());
        }
        if transaction.changes.iter().all(Change::only_removes) {
            reserve::release(self.state.dir.as_ref());
            return Ok(());
        }
        Err(CommitError::Full { free_bytes, needed_bytes: DISK_FREE_BYTES_MIN })
    }

    /// The events of one transaction behind `position`, and the rows that they make.
    fn events(&self, position: Position, transaction: Transaction, base: &dyn Rows) -> Result<Draft, CommitError> {
        let stored = |error: IndexError| CommitError::Store(error.into());
        let Transaction { principal, on_behalf_of, request_id, cause, policy, changes } = transaction;
        let running_seconds = self.state.running.seconds();
        let mut added = Draft::behind(position);
        let time = EventTime {
            wall: self.state.clock.wall(),
            source: "system".to_owned(),
            floor: time_floor(base).map_err(stored)?,
        };
        let mut changes = changes.into_iter().peekable();
        while let Some(change) = changes.next() {
            let decided_by = match &change {
                Change::Publish { manifest, .. } => Some(*manifest.verdict().policy_digest()),
                _ => policy,
            };
            let rows = Layered { top: &added.rows, base };
            let (blobs, dir) = (self.state.blobs.as_ref(), self.state.dir.as_ref());
            let time_step_seconds_max = self.state.settings.time_step_seconds_max;
            let view = View { rows: &rows, blobs, dir, running_seconds, time_step_seconds_max };
            let Some(body) = view.decide(change, &mut changes)? else {
                continue;
            };
            let head = EventHead {
                version: event::ENVELOPE_VERSION,
                hash: event::HASH.to_owned(),
                journal: added.position.journal_id.clone(),
                epoch: added.position.epoch,
                sequence: added.position.sequence + 1,
                previous: Some(added.position.hash),
                kind_version: event::KIND_VERSION,
                critical: body.is_critical(),
                time: time.clone(),
                boot: self.state.boot_id.clone(),
                running_seconds,
                principal: principal.clone(),
                on_behalf_of: on_behalf_of.clone(),
                request_id: request_id.clone(),
                cause: cause.clone(),
                policy: decided_by,
                trust: None,
                writer: WRITER.to_owned(),
            };
            let mutations = apply::mutations(&head, &body, &rows).map_err(stored)?;
            added.rows.extend(mutations);
            added.take(&head, &body)?;
        }
        Ok(added)
    }

    /// Makes a group durable and visible, and answers it.
    fn finish(&mut self, draft: Draft, answers: Vec<(Reply, Position)>) {
        let outcome = if draft.event_count == 0 { Ok(()) } else { self.append(draft) };
        for (reply, position) in answers {
            let answer = match &outcome {
                Ok(()) => Ok(position),
                Err(Unwritten::Full) => Err(CommitError::Full {
                    free_bytes: self.state.dir.free_bytes().unwrap_or_default(),
                    needed_bytes: DISK_FREE_BYTES_MIN,
                }),
                Err(Unwritten::Names(error)) => Err(CommitError::Store(StoreError::Dir(DirError {
                    operation: "keep the names of",
                    path: layout::BLOBS.to_owned(),
                    source: std::io::Error::other(error.clone()),
                }))),
                Err(Unwritten::Indeterminate) => Err(CommitError::Indeterminate),
            };
            let _ = reply.send(answer);
        }
    }

    fn append(&mut self, draft: Draft) -> Result<(), Unwritten> {
        self.state.blobs.keep_names(&draft.linked).map_err(|error| Unwritten::Names(chain(&error)))?;
        let before = self.state.head();
        let group = Group {
            after: Some(before.hash),
            first_sequence: before.sequence + 1,
            event_count: draft.event_count,
            payload: draft.payload,
            last: draft.position,
        };
        let appended = self.journal.as_mut().map_or(Err(AppendError::Poisoned), |journal| journal.append(&group));
        let place = match appended {
            Ok(place) => place,
            Err(AppendError::Full(_)) => return Err(Unwritten::Full),
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                self.state.stop_writing(format!("{error}{cause}"));
                return Err(Unwritten::Indeterminate);
            }
        };
        kill_point("journal-synced");
        self.state.overlay.write().unwrap_or_else(PoisonError::into_inner).extend(draft.rows.into_mutations());
        for digest in &draft.linked {
            self.state.blobs.linked(digest);
        }
        self.state.staging.add(draft.staging);
        self.state.changes.note(draft.changed, group.last.sequence);
        if let Some(floor) = draft.time_floor {
            *locked(&self.state.time_floor) = floor;
        }
        *locked(&self.state.head) = group.last.clone();
        self.pending = Some((group.last, place));
        Ok(())
    }

    /// Brings the index to where the journal stands, durably.
    pub fn catch_up(&mut self) {
        let Some((position, place)) = self.pending.take() else { return };
        let index = self.index();
        let applied = {
            let overlay = self.state.overlay.read().unwrap_or_else(PoisonError::into_inner);
            index.apply(overlay.mutations(), &position, &place).and_then(|()| index.flush())
        };
        match applied {
            Ok(()) => self.state.overlay.write().unwrap_or_else(PoisonError::into_inner).clear(),
            // The journal holds everything and the rows stay in memory: the next start makes the index anew.
            Err(error) => self.state.stop_writing(format!("the index could not be written: {error}")),
        }
    }

    /// Commits a transaction by itself, for work that has the sequencer.
    pub fn commit_alone(&mut self, transaction: Transaction) -> Result<Position, CommitError> {
        let draft = self.draft();
        self.commit_behind(draft, transaction)
    }

    /// The same as the first of a new epoch.
    pub fn begin_epoch(&mut self, transaction: Transaction) -> Result<Position, CommitError> {
        let mut draft = self.draft();
        draft.position.epoch += 1;
        let next_sequence = draft.position.sequence + 1;
        let begun = self
            .journal
            .as_mut()
            .map_or(Err(AppendError::Poisoned), |journal| journal.begin_epoch(draft.position.epoch, next_sequence));
        begun.map_err(StoreError::from)?;
        self.commit_behind(draft, transaction)
    }

    fn commit_behind(&mut self, mut draft: Draft, transaction: Transaction) -> Result<Position, CommitError> {
        let free_bytes = self.state.dir.free_bytes().map_err(StoreError::from)?;
        let position = self.add(&mut draft, transaction, free_bytes)?;
        let (sender, receiver) = sync_channel(1);
        self.finish(draft, vec![(sender, position)]);
        receiver.recv().map_err(|_| StoreError::Stopped)?
    }

    /// Writes the index down as it stands now.
    pub fn snapshot(&mut self) -> Result<SnapshotReport, StoreError> {
        // What comes after begins in a segment of its own, so that nothing below is needed to go on from here.
        if let Err(error) = self.seal_segment() {
            tracing::warn!(error = %chain(&error), "the journal's segment could not be ended before a snapshot");
        }
        self.catch_up();
        snapshot::write(self.state.dir.as_ref(), self.index().as_ref())
    }

    /// Begins the next segment of the journal.
    pub fn seal_segment(&mut self) -> Result<Position, StoreError> {
        let head = self.state.head();
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.seal(head.sequence + 1)
        {
            if matches!(error, AppendError::Failed(_)) {
                self.state.stop_writing(chain(&error));
            }
            return Err(error.into());
        }
        Ok(head)
    }

    /// The segment that is being written; none where nothing is.
    pub fn active_segment(&self) -> Option<String> {
        self.journal.as_ref().map(|journal| journal.active_segment().to_owned())
    }

    /// The next snapshot, when enough has happened since the last one.
    fn snapshot_when_due(&mut self) {
        let sequence = self.state.head().sequence;
        if sequence < self.snapshot_due_at || self.state.read_only().is_some() {
            return;
        }
        match self.snapshot() {
            Ok(report) => tracing::info!(sequence, rows = report.rows_count, bytes = report.bytes, "snapshot written"),
            Err(error) => tracing::warn!(error = %chain(&error), "a snapshot could not be written"),
        }
        self.snapshot_due_at = sequence + SNAPSHOT_EVENTS_COUNT;
    }

    /// The index was made anew from the whole journal: no row in front of it is still to go in.
    pub fn forget_pending(&mut self) {
        self.pending = None;
    }

    /// Removes files that nothing holds any more. Here, because no commit can link one meanwhile.
    pub fn unlink(&mut self, digests: Vec<Digest>) -> Result<Vec<Unreferenced>, StoreError> {
        if self.state.files_held.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            return Ok(Vec::new());
        }
        let blobs = Arc::clone(&self.state.blobs);
        let mut files = BTreeMap::new();
        for digest in digests.into_iter().filter(|digest| !blobs.is_fresh(digest)) {
            if let Some(size_bytes) = blobs.stat(&digest)? {
                files.insert(digest, size_bytes);
            }
        }
        let unowned = self.state.look(|rows| reach::unowned(rows, files))?;
        let mut removed = Vec::with_capacity(unowned.len());
        for (digest, size_bytes) in unowned {
            blobs.remove(&digest)?;
            kill_point("sweep-mid-unlink");
            removed.push(Unreferenced { digest, size_bytes });
        }
        self.restore_reserve();
        Ok(removed)
    }

    /// Also where somebody else has made room.
    fn restore_reserve(&self) {
        if let Err(error) = reserve::restore(self.state.dir.as_ref(), self.state.settings.reserve_bytes) {
            tracing::warn!(%error, "the reserve could not be filled again");
        }
    }

    /// The index that is in use.
    pub fn index(&self) -> Arc<Index> {
        Arc::clone(&self.state.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn rest(&mut self) {
        self.catch_up();
        self.snapshot_when_due();
        let running_seconds = self.state.running.seconds();
        if running_seconds >= self.running_saved_seconds + RUNNING_INTERVAL_SECONDS {
            running::save(self.state.dir.as_ref(), running_seconds);
            self.running_saved_seconds = running_seconds;
            self.restore_reserve();
        }
    }

    fn close(mut self) {
        self.catch_up();
        running::save(self.state.dir.as_ref(), self.state.running.seconds());
        // After any failure the marker stays, so that the next start looks closely.
        if self.state.read_only().is_none() && self.state.dir.remove(layout::INDEX_DIRTY).is_ok() {
            let _ = self.state.dir.sync_dir("");
        }
    }
}

/// Why a group has no place in the journal.
enum Unwritten {
    Full,
    /// Content that it links could be lost in a power cut.
    Names(String),
    Indeterminate,
}

impl Draft {
    fn behind(position: Position) -> Self {
        Self {
            position,
            payload: Vec::new(),
            event_count: 0,
            rows: Overlay::default(),
            linked: Vec::new(),
            changed: BTreeSet::new(),
            staging: Vec::new(),
            time_floor: None,
        }
    }

    fn take(&mut self, head: &EventHead, body: &Body) -> Result<(), CommitError> {
        let line = event::encode(head, body);
        self.position.sequence = head.sequence;
        self.position.hash = Digest::of(&line);
        self.payload.extend_from_slice(&line);
        self.payload.push(b'\n');
        self.event_count += 1;
        if self.payload.len() > TRANSACTION_BYTES_MAX {
            return Err(CommitError::TooLarge { bytes: self.payload.len(), limit_bytes: TRANSACTION_BYTES_MAX });
        }
        self.changed.extend(body.repositories().into_iter().cloned());
        match body {
            Body::ManifestPublished { digest, .. } => self.linked.push(*digest),
            Body::ManifestStaged { repository, digest, .. } => {
                self.linked.push(*digest);
                self.staging.push(repository.clone());
            }
            Body::BlobsLinked { blobs, .. } => self.linked.extend(blobs.iter().map(|blob| blob.digest)),
            Body::TimeFloorRaised { at, .. } | Body::TimeFloorSet { at, .. } => self.time_floor = Some(*at),
            _ => {}
        }
        Ok(())
    }
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(error) | AppendError::Failed(error) => Self::Dir(error),
            AppendError::HeadMoved | AppendError::Poisoned => Self::Stopped,
        }
    }
}
