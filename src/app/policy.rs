//! Operations on the trust policy.

use super::appliance::Appliance;
use super::failure::{Failure, FailureKind};
use super::report::PolicyReport;
use crate::limits::POLICY_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::store::{Change, Transaction, policy_path};
use crate::sys::dir;
use crate::verify::TrustPolicy;

/// Puts a policy into force: checked first, its file durable next, the journal last.
pub fn activate(appliance: &Appliance, text: &str) -> Result<PolicyReport, Failure> {
    let policy = TrustPolicy::parse_with(text.as_bytes(), &appliance.policy.objects()?)?;
    let digest = Digest::of(text.as_bytes());
    let store = &appliance.store;
    dir::replace(store.dir().as_ref(), &policy_path(&digest), text.as_bytes())?;
    let change = Change::ActivatePolicy { digest };
    store.commit(Transaction::new(Appliance::operator(), vec![change]))?;
    tracing::info!(%digest, "trust policy activated");
    Ok(PolicyReport { digest: Some(digest), rules: names(&policy), text: text.to_owned() })
}

/// The policy in force, as it was written.
pub fn show(appliance: &Appliance) -> Result<PolicyReport, Failure> {
    let store = &appliance.store;
    let Some(digest) = store.active_policy()? else {
        return Ok(PolicyReport { digest: None, rules: Vec::new(), text: String::new() });
    };
    let bytes = dir::read_bounded(store.dir().as_ref(), &policy_path(&digest), POLICY_BYTES_MAX)?;
    let policy = TrustPolicy::parse_with(&bytes, &appliance.policy.objects()?)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::new(FailureKind::Damaged, "the active policy's file is not text").because(&error))?;
    Ok(PolicyReport { digest: Some(digest), rules: names(&policy), text })
}

fn names(policy: &TrustPolicy) -> Vec<String> {
    policy.rules().iter().map(|rule| rule.name().to_owned()).collect()
}
