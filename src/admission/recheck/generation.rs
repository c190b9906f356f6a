//! What every verdict depends on: the policy with its trust and its deny list, and the span of time in which they mean
//! the same.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::revoked::Revoked;
use crate::store::{Store, StoreError};
use crate::verify::TrustPolicy;

/// One of them. Another policy, other trust or another denial in force begins the next.
#[derive(Debug)]
pub(super) struct Generation {
    pub number: u64,
    pub policy: Arc<TrustPolicy>,
    from: Timestamp,
    /// When a denial or a key of the policy begins or ends.
    until: Option<Timestamp>,
    revoked: Mutex<Option<Arc<Revoked>>>,
}

impl Generation {
    pub fn new(number: u64, policy: Arc<TrustPolicy>, now: Timestamp) -> Self {
        let until = policy.next_change(now);
        Self { number, policy, from: now, until, revoked: Mutex::default() }
    }

    /// Whether `policy` at `now` is still this. A clock that was set back begins another.
    pub fn holds(&self, policy: &TrustPolicy, now: Timestamp) -> bool {
        self.policy.digest() == policy.digest() && self.from <= now && self.until.is_none_or(|until| now < until)
    }

    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// What belongs to denied indexes. Found once, by the first who asks; the others wait for it.
    pub fn revoked(&self, store: &Store) -> Result<Arc<Revoked>, StoreError> {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = revoked.as_ref() {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(Revoked::find(store, &self.policy, self.from)?);
        *revoked = Some(Arc::clone(&found));
        Ok(found)
    }
}
