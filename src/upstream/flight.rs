//! Single flight: however many ask for the same thing at once, it is fetched once.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use super::error::{MirrorError, SharedError};

type Outcome<V> = Result<V, SharedError>;
type Running<K, V> = HashMap<K, Shared<BoxFuture<'static, Outcome<V>>>>;

/// What is being fetched now.
pub(super) struct Flights<K, V> {
    running: Mutex<Running<K, V>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { running: Mutex::default() }
    }
}

impl<K, V> std::fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone + Send + 'static, V: Clone + Send + Sync + 'static> Flights<K, V> {
    fn running(&self) -> MutexGuard<'_, Running<K, V>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome of the fetch of `key` that is under way, or of one that is started with `fetch`. It goes on even when
    /// whoever asked goes away.
    pub(super) async fn join<F>(self: &Arc<Self>, key: K, fetch: impl FnOnce() -> F) -> Outcome<V>
    where
        F: Future<Output = Result<V, MirrorError>> + Send + 'static,
    {
        let flight = {
            let mut running = self.running();
            match running.get(&key) {
                Some(flight) => flight.clone(),
                None => {
                    let (all, own, fetch) = (Arc::clone(self), key.clone(), fetch());
                    let task = tokio::spawn(async move {
                        let landed = Landed { all, key: own };
                        let outcome = fetch.await.map_err(Arc::new);
                        drop(landed);
                        outcome
                    });
                    let flight = task
                        .map(|joined| joined.unwrap_or_else(|_| Err(Arc::new(MirrorError::Interrupted))))
                        .boxed()
                        .shared();
                    running.insert(key, flight.clone());
                    flight
                }
            }
        };
        flight.await
    }
}

/// Removes a flight from the list when it ended, also by a panic.
struct Landed<K: Eq + Hash, V> {
    all: Arc<Flights<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landed<K, V> {
    fn drop(&mut self) {
        self.all.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Flights;

    #[tokio::test]
    async fn many_ask_and_one_fetches() {
        let flights = Arc::new(Flights::<&str, usize>::default());
        let count = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (flights, count) = (Arc::clone(&flights), Arc::clone(&count));
            async move {
                let fetch = || async move {
                    tokio::task::yield_now().await;
                    Ok(count.fetch_add(1, Ordering::SeqCst))
                };
                flights.join("a", fetch).await.unwrap()
            }
        };
        let answers = futures_util::future::join_all((0..10).map(|_| ask())).await;
        assert_eq!(answers, [0; 10]);
        assert_eq!(ask().await, 1);
    }
}
