//! Reading the content again while the server runs, as often as the configuration says, and fetching what was lost from
//! upstreams that have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::super::appliance::Appliance;
use super::super::upkeep;
use super::{Ending, reaches};
use crate::progress::Silent;

/// How often it is looked whether a pass is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Scrubs when it is due, until the end. A pass that the end cuts short goes on after the next start.
pub fn start(appliance: Arc<Appliance>, ended: watch::Receiver<Ending>) {
    let interval_seconds = u64::from(appliance.config.effective.scrub.interval_days) * DAY_SECONDS;
    if interval_seconds == 0 {
        return;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, end) = (Arc::clone(&stop), ended.clone());
    tokio::spawn(async move {
        reaches(end, Ending::InOrder).await;
        stopped.store(true, Ordering::Relaxed);
    });
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => {}
                () = reaches(ended.clone(), Ending::InOrder) => return,
            }
            let (appliance, stop) = (Arc::clone(&appliance), Arc::clone(&stop));
            let _ = tokio::task::spawn_blocking(move || pass(&appliance, interval_seconds, &stop)).await;
        }
    });
}

fn pass(appliance: &Appliance, interval_seconds: u64, stop: &AtomicBool) {
    if appliance.store.next_scrub_in_seconds(interval_seconds) > 0 {
        return;
    }
    match upkeep::scrub(appliance, None, &|| stop.load(Ordering::Relaxed), &Silent) {
        Ok(report) if report.is_sound() => tracing::info!(files = report.files_count, "scrubbed"),
        Ok(report) => {
            let (lacking, images) = (report.losses.lacking.len(), report.losses.images.len());
            let journal = report.journal_damage;
            tracing::error!(lacking, images, journal, "something stored is lost: see 'postern store repair --dry-run'");
            let healed = upkeep::heal(appliance, &report.losses, &|| stop.load(Ordering::Relaxed), &Silent);
            let (restored, failed) = (healed.restored.len(), healed.failed.len());
            tracing::info!(restored, failed, "upstreams were asked for what is lacking");
        }
        Err(failure) => tracing::warn!(chain = ?failure.chain, "a scrub did not run"),
    }
}
