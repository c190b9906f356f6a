//! Operations that retire tags and give bytes back.

use serde::{Deserialize, Serialize};

use super::appliance::Appliance;
use super::failure::Failure;
use crate::retention::{self, RetentionPlan, RetentionReport, SweepOptions, SweepReport};

/// A plan together with what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub plan: RetentionPlan,
    pub report: RetentionReport,
}

/// What the configured rules would retire now.
pub fn plan(appliance: &Appliance) -> Result<RetentionPlan, Failure> {
    if appliance.config.retention.is_empty() {
        return Err(Failure::usage("no retention rule is configured")
            .next("add a [[retention]] table to the configuration; `postern config show --defaults` shows its keys"));
    }
    Ok(retention::plan(&appliance.store, &appliance.config.retention)?)
}

/// Plans and does what the plan says.
pub fn apply(appliance: &Appliance) -> Result<Applied, Failure> {
    let plan = plan(appliance)?;
    let report = retention::apply(&appliance.store, &plan, Appliance::operator())?;
    Ok(Applied { plan, report })
}

/// Condemns what nothing needs and removes what was condemned long enough ago.
pub fn sweep(appliance: &Appliance, grace_seconds: Option<u64>, dry_run: bool) -> Result<SweepReport, Failure> {
    let grace_seconds = grace_seconds.unwrap_or(appliance.config.effective.sweep.grace_seconds);
    let options = SweepOptions { grace_seconds, dry_run };
    Ok(retention::sweep(&appliance.store, options, &Appliance::operator())?)
}
