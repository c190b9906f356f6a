//! What readers and the sequencer share: the index, the newer rows in front of it, and where the store stands.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::StoreSettings;
use super::blobs::Blobs;
use super::condition::{JournalDamage, LastLook};
use super::error::StoreError;
use super::index::{Index, IndexError};
use super::record::Position;
use super::rows::{Layered, Overlay, Rows};
use crate::limits::CHANGED_REPOSITORIES_COUNT_MAX;
use crate::oci::name::RepositoryName;
use crate::sys::clock::Clock;
use crate::sys::dir::Dir;

/// Running time over all boots, counted while the store is open. It can stand still, but never jump.
#[derive(Debug)]
pub struct Running {
    clock: Arc<dyn Clock>,
    before_seconds: u64,
    since: Duration,
}

impl Running {
    /// Goes on from what was counted before.
    pub fn resume(clock: Arc<dyn Clock>, before_seconds: u64) -> Self {
        let since = clock.running();
        Self { clock, before_seconds, since }
    }

    pub fn seconds(&self) -> u64 {
        self.before_seconds + self.clock.running().saturating_sub(self.since).as_secs()
    }
}

/// The shared state of an open store.
#[derive(Debug)]
pub struct State {
    pub dir: Arc<dyn Dir>,
    pub clock: Arc<dyn Clock>,
    pub settings: StoreSettings,
    pub blobs: Arc<Blobs>,
    pub running: Running,
    pub boot_id: String,
    /// Rows that are durable in the journal and not yet in the index.
    pub overlay: RwLock<Overlay>,
    pub index: RwLock<Arc<Index>>,
    pub head: Mutex<Position>,
    /// Where each repository changed last, since the store was opened.
    pub changes: RepositoryChanges,
    /// Where something may wait to be let in.
    pub staging: Staging,
    /// The time before which it cannot be; the index holds it too.
    pub time_floor: Mutex<jiff::Timestamp>,
    /// How many copy the files of content and must not lose one.
    pub files_held: AtomicU64,
    /// The form that the store is in.
    pub format: AtomicU32,
    /// Why nothing can be committed.
    pub read_only: Mutex<Option<String>>,
    /// What the last pass over the journal found.
    pub journal_damage: Mutex<Option<JournalDamage>>,
    /// What was found of the files of policy and objects.
    pub last_look: LastLook,
}

/// The sequence of the last change of each repository. Bounded: where there are too many, all count as changed now.
#[derive(Debug, Default)]
pub struct RepositoryChanges(RwLock<Changed>);

#[derive(Debug, Default)]
struct Changed {
    /// What holds for a repository that has no entry.
    others: u64,
    entries: HashMap<RepositoryName, u64>,
}

impl RepositoryChanges {
    /// Where `repository` changed last; the same number as before where it did not.
    pub fn of(&self, repository: &RepositoryName) -> u64 {
        let changed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        changed.entries.get(repository).copied().unwrap_or(changed.others)
    }

    /// Notes a change that is visible already: whoever saw the number before may have seen either, and looks again.
    pub fn note(&self, repositories: impl IntoIterator<Item = RepositoryName>, sequence: u64) {
        let mut changed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for repository in repositories {
            if changed.entries.len() >= CHANGED_REPOSITORIES_COUNT_MAX && !changed.entries.contains_key(&repository) {
                *changed = Changed { others: sequence, entries: HashMap::new() };
            }
            changed.entries.insert(repository, sequence);
        }
    }
}

/// Repositories in which something waited at some time since the store was opened.
#[derive(Debug, Default)]
pub struct Staging(RwLock<HashSet<RepositoryName>>);

impl Staging {
    pub fn holds(&self, repository: &RepositoryName) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(repository)
    }

    pub fn add(&self, repositories: Vec<RepositoryName>) {
        if !repositories.is_empty() {
            self.0.write().unwrap_or_else(PoisonError::into_inner).extend(repositories);
        }
    }
}

/// A lock whose holder panicked still guards whole values: every change under it is a single assignment.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Looks at the rows as they are now.
    pub fn look<T>(&self, look: impl FnOnce(&dyn Rows) -> Result<T, IndexError>) -> Result<T, StoreError> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let index = Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner));
        Ok(look(&Layered { top: &overlay, base: index.as_ref() })?)
    }

    pub fn head(&self) -> Position {
        locked(&self.head).clone()
    }

    pub fn read_only(&self) -> Option<String> {
        locked(&self.read_only).clone()
    }

    /// Stops every further change. The first reason stays.
    pub fn stop_writing(&self, reason: String) {
        tracing::error!(reason, "the store is read-only from here; check the disk, then restart");
        locked(&self.read_only).get_or_insert(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::RepositoryChanges;
    use crate::limits::CHANGED_REPOSITORIES_COUNT_MAX;
    use crate::oci::name::RepositoryName;

    #[test]
    fn a_change_is_never_overlooked_however_many_there_are() {
        let changes = RepositoryChanges::default();
        let name = |number: usize| format!("r{number}").parse::<RepositoryName>().unwrap();
        assert_eq!(changes.of(&name(0)), 0);
        changes.note([name(0)], 5);
        assert_eq!((changes.of(&name(0)), changes.of(&name(1))), (5, 0));
        changes.note((1..CHANGED_REPOSITORIES_COUNT_MAX).map(name), 6);
        assert_eq!((changes.of(&name(0)), changes.of(&name(1))), (5, 6));
        changes.note([name(CHANGED_REPOSITORIES_COUNT_MAX)], 7);
        for number in [0, 1, CHANGED_REPOSITORIES_COUNT_MAX, CHANGED_REPOSITORIES_COUNT_MAX + 1] {
            assert_eq!(changes.of(&name(number)), 7, "{number}");
        }
    }
}
