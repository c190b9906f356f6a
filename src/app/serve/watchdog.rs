//! Signs of life for systemd. One is given only when the store answered, so that a server that hangs is started again.

use std::sync::Arc;
use std::time::Duration;

use crate::store::Store;
use crate::sys::notify::{Notifier, State};

/// Gives a sign twice in the time that systemd allows; nothing where it wants none.
pub fn start(allowed_microseconds: Option<u64>, store: Store, notifier: Arc<Notifier>) {
    let Some(allowed) = allowed_microseconds.map(Duration::from_micros).filter(|allowed| !allowed.is_zero()) else {
        return;
    };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(allowed / 2);
        loop {
            ticks.tick().await;
            let store = store.clone();
            let answered = tokio::task::spawn_blocking(move || store.repositories(None, 1).is_ok()).await;
            match answered {
                Ok(true) => notifier.tell(State::Watchdog),
                Ok(false) => tracing::error!("the store does not answer: no sign of life is given"),
                Err(_) => return,
            }
        }
    });
}
