//! Copying content out of the backup that is served from, while it is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::super::appliance::Appliance;
use super::super::backups;
use super::{Ending, reaches};

/// Begins, if there is anything to copy. What the end cuts short goes on after the next start.
pub fn start(appliance: Arc<Appliance>, ended: watch::Receiver<Ending>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    tokio::spawn(async move {
        reaches(ended, Ending::InOrder).await;
        stopped.store(true, Ordering::Relaxed);
    });
    tokio::task::spawn_blocking(move || {
        if let Err(failure) = backups::fill(&appliance, &|| stop.load(Ordering::Relaxed)) {
            tracing::error!(chain = ?failure.chain, "content could not be copied out of the backup; it is served from there");
        }
    });
}
