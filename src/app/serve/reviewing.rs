//! Judging what is here anew, behind, whenever policy, trust or time has made other verdicts due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::{Ending, reaches};
use crate::admission::Rechecks;
use crate::error_chain::chain;

/// How often it is looked whether something has changed; whoever pulls does not wait for it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Half of one processor's time at the most, in pieces that nobody notices.
const REST_MAX: Duration = Duration::from_millis(250);

/// Reviews until the end, and writes down what was seen.
pub fn start(rechecks: Arc<Rechecks>, ended: watch::Receiver<Ending>) {
    let stop = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut end = std::pin::pin!(reaches(ended, Ending::InOrder));
        while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => {}
                () = &mut end => stop.store(true, Ordering::Relaxed),
            }
            let (rechecks, stopped) = (Arc::clone(&rechecks), Arc::clone(&stop));
            let mut pass = tokio::task::spawn_blocking(move || look(&rechecks, &stopped));
            tokio::select! {
                _ = &mut pass => {}
                () = &mut end, if !stop.load(Ordering::Relaxed) => {
                    stop.store(true, Ordering::Relaxed);
                    let _ = pass.await;
                }
            }
        }
    });
}

fn look(rechecks: &Rechecks, stop: &AtomicBool) {
    let is_stopped = || stop.load(Ordering::Relaxed);
    rechecks.write_noted();
    let reviewed = match rechecks.is_review_due() {
        Ok(true) if !is_stopped() => {
            rechecks.review(&|worked| std::thread::sleep(worked.min(REST_MAX)), &is_stopped).map(drop)
        }
        looked => looked.map(drop),
    };
    if let Err(error) = reviewed {
        tracing::warn!(error = %chain(&error), "what is here was not judged anew");
    }
}
