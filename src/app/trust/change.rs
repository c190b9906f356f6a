//! Letting other versions count: planned, judged against what is stored, agreed to, and then one event.

use std::sync::Arc;

use super::objects::{find, load, text};
use super::{ActivationLine, ActivationReport, ObjectChoice, impact};
use crate::app::appliance::Appliance;
use crate::app::failure::Failure;
use crate::app::policy;
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::{ActiveObject, Change, ObjectRecord, ObjectVersion, Store, Transaction, policy_path};
use crate::sys::dir::replace;
use crate::verify::TrustPolicy;
use crate::verify::policy::{ObjectKind, ObjectName, TrustObject};

/// How far somebody wants to go.
#[derive(Clone, Copy)]
pub struct Consent {
    /// Also where images stop verifying.
    pub agreed: bool,
    /// Only look.
    pub dry_run: bool,
}

/// What is to count, and the policy that it makes.
struct Plan {
    objects: Vec<(ObjectVersion, Option<u64>)>,
    policy: Arc<TrustPolicy>,
    /// Another policy file that is to be in force.
    policy_text: Option<String>,
}

/// Says what the next activation is to be, and what it would do.
pub fn stage(
    appliance: &Appliance,
    choices: &[ObjectChoice],
    instead: bool,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<ActivationReport, Failure> {
    let store = &appliance.store;
    let mut staged: Vec<ObjectVersion> = if instead { Vec::new() } else { store.staged_objects()? };
    for choice in choices {
        let record = find(store, choice)?;
        staged.retain(|known| known.object != record.object);
        staged.push(ObjectVersion { object: record.object, version: record.version });
    }
    let choices: Vec<ObjectChoice> = staged.iter().map(chosen).collect();
    let plan = plan(appliance, &choices)?;
    let report = judge(appliance, &plan, progress)?;
    if !dry_run {
        let change = Change::StageTrust { objects: staged };
        store.commit(Transaction::new(Appliance::operator(), vec![change]))?;
    }
    Ok(report)
}

fn chosen(staged: &ObjectVersion) -> ObjectChoice {
    ObjectChoice { object: staged.object.clone(), version: Some(staged.version) }
}

/// Lets the chosen versions count, or all that are staged.
pub fn activate(
    appliance: &Appliance,
    choices: &[ObjectChoice],
    consent: Consent,
    progress: &dyn Progress,
) -> Result<ActivationReport, Failure> {
    let staged: Vec<ObjectChoice> = match choices {
        [] => appliance.store.staged_objects()?.iter().map(chosen).collect(),
        named => named.to_vec(),
    };
    if staged.is_empty() {
        return Err(Failure::usage("nothing is staged")
            .next("name objects, or stage them first: `postern trust stage KIND/NAME`"));
    }
    carry_out(appliance, &plan(appliance, &staged)?, "activated", consent, progress)
}

/// Lets the version count that did before.
pub fn roll_back(
    appliance: &Appliance,
    object: ObjectName,
    consent: Consent,
    progress: &dyn Progress,
) -> Result<ActivationReport, Failure> {
    let active = appliance.store.active_objects()?;
    let version = active.into_iter().find(|active| active.object == object).and_then(|active| active.previous);
    let Some(version) = version else {
        find(&appliance.store, &ObjectChoice { object: object.clone(), version: None })?;
        return Err(Failure::usage(format!("no other version of '{object}' counted before"))
            .next("`postern trust list` shows its versions; activate one of them"));
    };
    let choice = ObjectChoice { object, version: Some(version) };
    carry_out(appliance, &plan(appliance, &[choice])?, "rolled back", consent, progress)
}

fn plan(appliance: &Appliance, choices: &[ObjectChoice]) -> Result<Plan, Failure> {
    let store = &appliance.store;
    let active = store.active_objects()?;
    let mut objects = load(store, &active)?;
    let mut plan = Vec::new();
    let mut policy_text: Option<String> = None;
    for choice in choices {
        let ObjectRecord { object, version, digest, .. } = find(store, choice)?;
        let text = text(store, &object, &digest)?;
        if object.kind() != ObjectKind::Policy {
            objects.set(TrustObject { object: object.clone(), version, text });
        } else if policy_text.replace(text).is_some() {
            return Err(
                Failure::usage("two policies are to be in force, and there can be one").next("name one of them")
            );
        }
        let is = active.iter().find(|known: &&ActiveObject| known.object == object).map(|known| known.version);
        plan.push((ObjectVersion { object, version }, is));
    }
    let in_force = match &policy_text {
        Some(text) => Some(text.clone().into_bytes()),
        None => policy_file(store)?,
    };
    let policy = match in_force {
        Some(bytes) => TrustPolicy::parse_with(&bytes, &objects).map_err(|error| {
            Failure::usage("the trust policy could not be used with these objects")
                .because(&error)
                .next("stage or activate what it refers to together with it")
        })?,
        None => TrustPolicy::embedded(),
    };
    Ok(Plan { objects: plan, policy: Arc::new(policy), policy_text })
}

/// The policy file in force.
fn policy_file(store: &Store) -> Result<Option<Vec<u8>>, Failure> {
    let Some(digest) = store.active_policy()? else { return Ok(None) };
    policy::file(store, &digest).map(Some)
}

fn judge(appliance: &Appliance, plan: &Plan, progress: &dyn Progress) -> Result<ActivationReport, Failure> {
    let before = appliance.policy.current();
    let line = |(wanted, previous): &(ObjectVersion, Option<u64>)| ActivationLine {
        object: wanted.object.clone(),
        version: wanted.version,
        previous: *previous,
    };
    Ok(ActivationReport {
        objects: plan.objects.iter().map(line).collect(),
        impact: impact::compare(appliance, &before, &plan.policy, progress)?,
        policy_digest: *plan.policy.digest(),
        activated: false,
        needs_agreement: false,
    })
}

fn carry_out(
    appliance: &Appliance,
    plan: &Plan,
    reason: &str,
    consent: Consent,
    progress: &dyn Progress,
) -> Result<ActivationReport, Failure> {
    let mut report = judge(appliance, plan, progress)?;
    report.needs_agreement = report.impact.stops_count > 0 && !consent.agreed && !consent.dry_run;
    if consent.dry_run || report.needs_agreement {
        return Ok(report);
    }
    let store = &appliance.store;
    let mut changes = vec![Change::ActivateTrust { objects: plan.objects.clone(), reason: reason.to_owned() }];
    if let Some(text) = &plan.policy_text {
        let digest = Digest::of(text.as_bytes());
        replace(store.dir().as_ref(), &policy_path(&digest), text.as_bytes())?;
        if store.active_policy()? != Some(digest) {
            changes.push(Change::ActivatePolicy { digest });
        }
    }
    store.commit(Transaction::new(Appliance::operator(), changes))?;
    for line in &report.objects {
        tracing::info!(object = %line.object, version = line.version, reason, "object of trust counts");
    }
    report.activated = true;
    Ok(report)
}
