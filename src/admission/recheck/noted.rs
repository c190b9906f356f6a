//! Changes of standing that were seen, on their way into the journal: many in one event.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::error_chain::chain;
use crate::limits::STANDING_CHANGES_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::store::{Change, PrincipalRef, StandingChange, Store, StoreError, Transaction};

/// What was seen since it was written down last: the rule that refuses, or none where it is served again.
#[derive(Debug, Default)]
pub(super) struct Noted {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    policy: Option<Digest>,
    changes: BTreeMap<(RepositoryName, Digest), Option<String>>,
}

impl Noted {
    /// Notes what a judgement under `policy` said, if that is news.
    pub fn note(
        &self,
        store: &Store,
        policy: &Digest,
        (repository, digest): (&RepositoryName, &Digest),
        rule: Option<&str>,
    ) -> Result<(), StoreError> {
        let before = store.unserved_by(repository, digest)?;
        // One event is about one policy.
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).policy.is_some_and(|earlier| earlier != *policy) {
            self.write(store);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repository.clone(), *digest);
        if before.is_some() == rule.is_some() {
            seen.changes.remove(&key);
            return Ok(());
        }
        seen.policy = Some(*policy);
        seen.changes.insert(key, rule.map(ToOwned::to_owned));
        let is_full = seen.changes.len() >= STANDING_CHANGES_COUNT_MAX;
        drop(seen);
        if is_full {
            self.write(store);
        }
        Ok(())
    }

    /// Writes down what was seen. Where the store takes nothing it is seen again after the next start.
    pub fn write(&self, store: &Store) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        if seen.changes.is_empty() {
            return;
        }
        let count = seen.changes.len();
        let changes = seen.changes.into_iter();
        let changes = changes.map(|((repository, digest), rule)| StandingChange { repository, digest, rule }).collect();
        let change = Change::NoteStanding { changes };
        let transaction =
            Transaction { policy: seen.policy, ..Transaction::new(PrincipalRef::system("gate"), vec![change]) };
        match store.commit(transaction) {
            Ok(_) => tracing::info!(count, "the standing of images has changed"),
            Err(error) => tracing::warn!(count, error = %chain(&error), "changes of standing were not written down"),
        }
    }
}
