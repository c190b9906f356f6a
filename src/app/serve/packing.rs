//! Compressing ended segments of the journal while the server runs, where the form of the store allows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::super::appliance::Appliance;
use super::{Ending, reaches};
use crate::error_chain::chain;

const INTERVAL: Duration = Duration::from_secs(3600);

/// Looks every hour, until the end.
pub fn start(appliance: Arc<Appliance>, ended: watch::Receiver<Ending>) {
    tokio::spawn(async move {
        let stop = Arc::new(AtomicBool::new(false));
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = reaches(ended.clone(), Ending::InOrder) => return,
            }
            let (appliance, stopped) = (Arc::clone(&appliance), Arc::clone(&stop));
            let packing = tokio::task::spawn_blocking(move || pack(&appliance, &stopped));
            tokio::select! {
                _ = packing => {}
                () = reaches(ended.clone(), Ending::InOrder) => return stop.store(true, Ordering::Relaxed),
            }
        }
    });
}

fn pack(appliance: &Appliance, stop: &AtomicBool) {
    match appliance.store.pack_segments(&|| stop.load(Ordering::Relaxed)) {
        Ok(report) if report.segments_count > 0 => {
            let (segments, before, after) = (report.segments_count, report.bytes_before, report.bytes_after);
            tracing::info!(segments, before, after, "segments of the journal compressed");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = %chain(&error), "a segment of the journal could not be compressed"),
    }
}
