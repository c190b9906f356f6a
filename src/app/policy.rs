//! Operations on the trust policy.

use super::appliance::Appliance;
use super::failure::{Failure, FailureKind};
use super::report::PolicyReport;
use super::trust::impact;
use crate::limits::POLICY_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::{Change, Store, Transaction, policy_path};
use crate::sys::dir;
use crate::verify::TrustPolicy;

/// Puts a policy into force: checked first, its file durable next, the journal last. Which images it judges otherwise is looked
/// at when it is in force already: what somebody has to deny is not to wait for that.
pub fn activate(
    appliance: &Appliance,
    text: &str,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<PolicyReport, Failure> {
    let before = appliance.policy.current();
    let policy = TrustPolicy::parse_with(text.as_bytes(), &appliance.policy.objects()?)?;
    let digest = Digest::of(text.as_bytes());
    let store = &appliance.store;
    if !dry_run {
        dir::replace(store.dir().as_ref(), &policy_path(&digest), text.as_bytes())?;
        let change = Change::ActivatePolicy { digest };
        store.commit(Transaction::new(Appliance::operator(), vec![change]))?;
        tracing::info!(%digest, "trust policy activated");
    }
    let impact = impact::compare(appliance, &before, &policy, progress);
    let impact = match impact {
        Err(failure) if !dry_run => {
            tracing::warn!(chain = ?failure.chain, "what the policy does to images could not be looked at");
            None
        }
        compared => Some(compared?),
    };
    Ok(PolicyReport { digest: Some(digest), rules: names(&policy), text: text.to_owned(), impact })
}

/// The policy in force, as it was written.
pub fn show(appliance: &Appliance) -> Result<PolicyReport, Failure> {
    let store = &appliance.store;
    let Some(digest) = store.active_policy()? else {
        return Ok(PolicyReport { digest: None, rules: Vec::new(), text: String::new(), impact: None });
    };
    let bytes = file(store, &digest)?;
    let policy = TrustPolicy::parse_with(&bytes, &appliance.policy.objects()?)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::new(FailureKind::Damaged, "the active policy's file is not text").because(&error))?;
    Ok(PolicyReport { digest: Some(digest), rules: names(&policy), text, impact: None })
}

/// The file of a policy that is in force, which is still what was put into force.
pub fn file(store: &Store, digest: &Digest) -> Result<Vec<u8>, Failure> {
    let changed = || {
        Failure::new(FailureKind::Damaged, format!("the file of policy '{digest}' was changed or cannot be read"))
            .next("activate the policy again from its source with `postern policy activate FILE`")
    };
    let bytes = dir::read_bounded(store.dir().as_ref(), &policy_path(digest), POLICY_BYTES_MAX)
        .map_err(|error| changed().because(&error))?;
    if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(changed()) }
}

fn names(policy: &TrustPolicy) -> Vec<String> {
    policy.rules().iter().map(|rule| rule.name().to_owned()).collect()
}
