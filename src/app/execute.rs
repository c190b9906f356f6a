//! Carrying out operations, on an open appliance.

use serde::Serialize;
use serde_json::Value;

use super::appliance::Appliance;
use super::failure::Failure;
use super::operation::Operation;
use super::report::StatusReport;
use super::{accounts, audit, backups, bundles, enrol, images, mirrors, policy, retire, site, trust, upkeep, verify};
use crate::limits::LISTING_ENTRIES_COUNT_MAX;
use crate::progress::Progress;
use crate::store::DeviceRole;

/// Carries out `operation` and answers with its report as JSON. May block for as long as the work takes.
pub fn execute(appliance: &Appliance, operation: Operation, progress: &dyn Progress) -> Result<Value, Failure> {
    match operation {
        Operation::Status => report(&status(appliance)?),
        Operation::EnrolShow => report(&enrol::show(appliance)),
        Operation::EnrolAdd(order) => report(&enrol::add(appliance, &order)?),
        Operation::EnrolList => report(&enrol::list(appliance)?),
        Operation::EnrolRemove { device, dry_run } => report(&enrol::remove(appliance, &device, dry_run)?),
        Operation::PolicyActivate { text, dry_run } => report(&policy::activate(appliance, &text, dry_run, progress)?),
        Operation::PolicyShow => report(&policy::show(appliance)?),
        Operation::PolicyTest { reference, policy, local, original } => {
            let names = images::OtherNames { local, original };
            report(&images::test_by(appliance, &reference, policy.as_deref(), names)?)
        }
        Operation::VerifyOutside { reference, place, policy } => {
            report(&verify::outside(appliance, &reference, &place, policy.as_deref())?)
        }
        Operation::Trust(order) => trust::execute(appliance, order, progress),
        Operation::SiteKey { create } => report(&site::key(appliance, create)?),
        Operation::Sign(order) => report(&site::sign(appliance, order)?),
        Operation::Attach(order) => report(&site::attach(appliance, order)?),
        Operation::SignSummary { reference, policy } => {
            report(&site::summary(appliance, &reference, policy.as_deref())?)
        }
        Operation::BundlePlan(order) => report(&bundles::plan(appliance, &order)?),
        Operation::BundleExport(order) => report(&bundles::export(appliance, &order, progress)?),
        Operation::BundleInspect { medium } => report(&bundles::inspect(appliance, &medium)?),
        Operation::BundleImport { medium, set } => report(&bundles::import(appliance, &medium, set, progress)?),
        Operation::BundleReceipts => report(&bundles::receipts(appliance)?),
        Operation::BundleReceipt { set } => report(&bundles::receipt(appliance, &set)?),
        Operation::BundleReceiptRead { file } => report(&bundles::read_receipt(appliance, file)?),
        Operation::ImageList { repository } => report(&images::list(appliance, repository.as_ref())?),
        Operation::ImageShow { reference } => report(&images::show(appliance, &reference)?),
        Operation::RetentionPlan => report(&retire::plan(appliance)?),
        Operation::RetentionApply => report(&retire::apply(appliance)?),
        Operation::StoreCheck { depth } => report(&appliance.store.check(depth, progress)?),
        Operation::StoreRebuild => report(&appliance.store.rebuild(progress)?),
        Operation::StoreScrub { bytes_per_second } => {
            report(&upkeep::scrub(appliance, bytes_per_second, &|| false, progress)?)
        }
        Operation::StoreRepair { dry_run } => report(&upkeep::repair(appliance, dry_run, progress)?),
        Operation::StoreFinalize { dry_run: true } => report(&upkeep::finalize_dry(appliance)?),
        Operation::StoreFinalize { dry_run: false } => report(&upkeep::finalize(appliance)?),
        Operation::MirrorFetch { references } => report(&mirrors::fetch(appliance, &references, progress)?),
        Operation::AuditVerify => report(&audit::verify(appliance)?),
        Operation::AuditExport { out } => report(&audit::export(appliance, &out)?),
        Operation::AuditCheckpoint => report(&audit::checkpoint(appliance)?),
        Operation::Backup { to, reread } => report(&backups::back_up(appliance, &to, reread, progress)?),
        Operation::RestoreConfirm => report(&backups::confirm(appliance)?),
        Operation::Access(order) => accounts::execute(appliance, order),
        Operation::Sweep { grace_seconds, dry_run } => report(&retire::sweep(appliance, grace_seconds, dry_run)?),
    }
}

pub(super) fn report(report: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(report).map_err(|error| Failure::failed("a report cannot be written as JSON").because(&error))
}

fn status(appliance: &Appliance) -> Result<StatusReport, Failure> {
    let Appliance { store, keys, config, .. } = appliance;
    let devices = store.devices()?;
    let enrolled_as = |role| devices.iter().filter(|device| device.role == role).count() as u64;
    Ok(StatusReport {
        name: keys.identity().name.clone(),
        device_id: keys.device_id().clone(),
        fingerprint: keys.device_id().fingerprint(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data_dir: config.effective.data_dir.clone(),
        head: store.head(),
        read_only: store.read_only(),
        conditions: store.conditions(),
        format: store.format().0,
        format_newest: store.format().1,
        running_seconds: store.running_seconds(),
        free_bytes: store.dir().free_bytes()?,
        policy: store.active_policy()?,
        offline: config.effective.offline,
        upstreams: config.effective.upstream.iter().map(|upstream| upstream.name.clone()).collect(),
        repositories_count: count_repositories(appliance)?,
        senders_count: enrolled_as(DeviceRole::Sender),
        receivers_count: enrolled_as(DeviceRole::Receiver),
    })
}

fn count_repositories(appliance: &Appliance) -> Result<u64, Failure> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = appliance.store.repositories(after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
        count += page.len() as u64;
        if page.len() < LISTING_ENTRIES_COUNT_MAX {
            return Ok(count);
        }
        after = page.last().cloned();
    }
}
