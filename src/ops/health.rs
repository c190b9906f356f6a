//! Is the appliance fit to serve? Answered for supervisors and load balancers, so it says little.

use serde::Serialize;

use crate::store::Store;

/// How the appliance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    pub status: HealthStatus,
    pub version: &'static str,
    /// Journal sequence up to which everything is visible.
    pub sequence: u64,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Ok,
    /// Pulls are answered; nothing can be changed. The log says why.
    ReadOnly,
}

impl Health {
    /// How `store` is now.
    pub fn of(store: &Store) -> Self {
        let status = if store.read_only().is_some() { HealthStatus::ReadOnly } else { HealthStatus::Ok };
        Self { status, version: env!("CARGO_PKG_VERSION"), sequence: store.head().sequence }
    }
}
