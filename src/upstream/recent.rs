//! A small memory of what was learnt not long ago. Bounded: when it is full, the oldest is forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sys::clock::Clock;

/// What is remembered, each for the same time.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    entries: Mutex<HashMap<K, (Duration, V)>>,
}

/// Most things remembered by one memory.
const ENTRIES_COUNT_MAX: usize = 4_096;

impl<K: Eq + Hash + Clone, V: Clone> Recent<K, V> {
    pub(super) fn new(clock: Arc<dyn Clock>, lifetime_seconds: u64) -> Self {
        Self { clock, lifetime: Duration::from_secs(lifetime_seconds), entries: Mutex::default() }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, (Duration, V)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of `key`, if it is not too old.
    pub(super) fn recall(&self, key: &K) -> Option<V> {
        let now = self.clock.running();
        let entries = self.entries();
        let (at, value) = entries.get(key)?;
        (now.saturating_sub(*at) < self.lifetime).then(|| value.clone())
    }

    /// Remembers `value`, from now on.
    pub(super) fn remember(&self, key: K, value: V) {
        let now = self.clock.running();
        let mut entries = self.entries();
        if entries.len() >= ENTRIES_COUNT_MAX {
            let lifetime = self.lifetime;
            entries.retain(|_, (at, _)| now.saturating_sub(*at) < lifetime);
        }
        if entries.len() >= ENTRIES_COUNT_MAX
            && let Some(oldest) = entries.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone())
        {
            entries.remove(&oldest);
        }
        entries.insert(key, (now, value));
    }

    /// Forgets `key`.
    pub(super) fn forget(&self, key: &K) {
        self.entries().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{ENTRIES_COUNT_MAX, Recent};
    use crate::sys::clock::SimulatedClock;

    #[test]
    fn remembers_for_a_while_and_never_too_much() {
        let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
        let recent = Recent::new(Arc::clone(&clock) as _, 10);
        recent.remember(0, "a");
        assert_eq!(recent.recall(&0), Some("a"));
        clock.advance(Duration::from_secs(9));
        assert_eq!(recent.recall(&0), Some("a"));
        clock.advance(Duration::from_secs(2));
        assert_eq!(recent.recall(&0), None);
        for key in 1..=ENTRIES_COUNT_MAX + 10 {
            clock.advance(Duration::from_millis(1));
            recent.remember(key, "b");
        }
        assert!(recent.entries().len() <= ENTRIES_COUNT_MAX);
        assert_eq!(recent.recall(&(ENTRIES_COUNT_MAX + 10)), Some("b"));
        recent.forget(&(ENTRIES_COUNT_MAX + 10));
        assert_eq!(recent.recall(&(ENTRIES_COUNT_MAX + 10)), None);
    }
}
