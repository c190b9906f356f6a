//! Signing the journal's end every hour in which it moved, and once more when the server ends.

use std::sync::Arc;
use std::time::Duration;

use super::super::appliance::Appliance;
use super::super::audit;

const INTERVAL: Duration = Duration::from_secs(3600);

/// Signs until nobody waits for it any more.
pub async fn by_the_hour(appliance: Arc<Appliance>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        sign(&appliance).await;
    }
}

/// Signs now.
pub async fn sign(appliance: &Arc<Appliance>) {
    let appliance = Arc::clone(appliance);
    let signed = tokio::task::spawn_blocking(move || audit::checkpoint(&appliance)).await;
    if let Ok(Err(failure)) = signed {
        tracing::warn!(chain = ?failure.chain, "the journal's end could not be signed");
    }
}
