//! Operations on transfer bundles.

use std::path::Path;

use super::appliance::Appliance;
use super::enrol;
use super::failure::{Failure, FailureKind};
use super::kinds_of_bundles::import_failure;
use super::operation::BundleOrder;
use super::report::{ExportedReport, ImportedReport, ReceiptReport, ReceiptsReport};
use crate::admission::{AdmissionError, Judgement};
use crate::bundle::export;
use crate::bundle::format::volume::SetId;
use crate::bundle::import::{self, ImportOptions};
use crate::bundle::inspect::{self, Inspection};
use crate::bundle::plan::{self, ExportPlan, ExportRequest};
use crate::bundle::receipt::{self, RECEIPTS_DIR, Receipt, SignedReceipt};
use crate::oci::digest::Digest;
use crate::oci::name::ImageReference;
use crate::progress::Progress;
use crate::sys::medium::{Medium, RealMedium};
use crate::verify::TrustPolicy;

/// What would travel. Writes nothing.
pub fn plan(appliance: &Appliance, order: &BundleOrder) -> Result<ExportPlan, Failure> {
    let medium = order.medium.as_deref().map(open).transpose()?;
    let request = ExportRequest {
        references: order.references.clone(),
        platforms: order.platforms.clone(),
        receiver: enrol::find(appliance, &order.receiver)?,
        series: order.series.clone(),
        volume_bytes_max: order.volume_bytes_max,
    };
    let policy = appliance.policy.current();
    let medium = medium.as_ref().map(|medium| medium as &dyn Medium);
    Ok(plan::plan(&appliance.store, &request, &policy, medium)?)
}

/// Seals a set and writes it to a medium.
pub fn export(appliance: &Appliance, order: &BundleOrder, progress: &dyn Progress) -> Result<ExportedReport, Failure> {
    let Some(path) = order.medium.as_deref() else {
        return Err(Failure::usage("no medium to export to").next("name its directory with --medium"));
    };
    let medium = open(path)?;
    let plan = plan(appliance, order)?;
    let (store, keys) = (&appliance.store, &appliance.keys);
    let export = export::export(store, keys, &plan, &medium, Appliance::operator(), progress)?;
    Ok(ExportedReport { read_back: export.safe_to_remove, export })
}

/// What stands on a medium.
pub fn inspect(appliance: &Appliance, medium: &Path) -> Result<Inspection, Failure> {
    Ok(inspect::inspect(&appliance.store, &open(medium)?, appliance.config.memory.set_table_bytes_max)?)
}

/// What `policy` says of an image in a set on a medium.
pub fn verify(
    appliance: &Appliance,
    medium: &Path,
    set: Option<String>,
    image: &ImageReference,
    policy: &TrustPolicy,
) -> Result<(Digest, Result<Judgement, AdmissionError>), Failure> {
    let (medium, options) = (open(medium)?, options(appliance, set));
    import::verify(&appliance.store, &appliance.keys, policy, &medium, &options, image).map_err(import_failure)
}

fn options(appliance: &Appliance, set: Option<String>) -> ImportOptions {
    let memory = &appliance.config.memory;
    ImportOptions {
        set,
        principal: Appliance::operator(),
        table_bytes_max: memory.set_table_bytes_max,
        judged_bytes_max: memory.judged_bytes_max,
        unenforced: appliance.access.unenforced_projects(),
    }
}

/// Takes a set in from a medium.
pub fn import(
    appliance: &Appliance,
    medium: &Path,
    set: Option<String>,
    progress: &dyn Progress,
) -> Result<ImportedReport, Failure> {
    // A set comes in once. Taken in now, all of it would be refused, and the sender would have to make it anew.
    if appliance.store.active_policy()?.is_none() {
        return Err(Failure::new(
            FailureKind::Refused,
            "no trust policy is in force, so that everything would be refused",
        )
        .next("`postern policy activate FILE`, then run the same command again; nothing was read"));
    }
    let medium = open(medium)?;
    let policy = appliance.policy.current();
    let options = options(appliance, set);
    let (store, keys) = (&appliance.store, &appliance.keys);
    let report = import::import(store, keys, &policy, &medium, &options, progress).map_err(import_failure)?;
    let Receipt { sender, series, sequence, admitted, refused, policy_digest, position, .. } = report.receipt;
    Ok(ImportedReport {
        set: report.set,
        already_imported: report.already_imported,
        restored_count: report.restored_count,
        sender,
        series,
        sequence,
        admitted,
        refused,
        policy_digest,
        position,
        receipt_path: appliance.config.effective.data_dir.join(report.receipt_path),
        bytes_read: report.bytes_read,
        volumes_read: report.volumes_read,
    })
}

fn open(medium: &Path) -> Result<RealMedium, Failure> {
    RealMedium::open(medium).map_err(|error| {
        let kind = if error.is_not_found() { FailureKind::NotNow } else { FailureKind::Failed };
        Failure::of(kind, &error).next("mount the medium and name the directory where it is")
    })
}

/// Every receipt kept here, in the order of their names.
pub fn receipts(appliance: &Appliance) -> Result<ReceiptsReport, Failure> {
    let sets = kept_sets(appliance)?;
    let receipts = sets.iter().map(|set| Ok(kept(appliance, set)?.receipt)).collect::<Result<_, Failure>>()?;
    Ok(ReceiptsReport { receipts })
}

/// The receipt of one set.
pub fn receipt(appliance: &Appliance, meant: &str) -> Result<ReceiptReport, Failure> {
    let mut sets = kept_sets(appliance)?;
    sets.retain(|set| set.to_string().starts_with(meant));
    match sets.as_slice() {
        [set] => {
            let SignedReceipt { receipt, file } = kept(appliance, set)?;
            Ok(ReceiptReport { receipt, file: String::from_utf8_lossy(&file).into_owned() })
        }
        [] => Err(Failure::usage(format!("no receipt of a set '{meant}' is kept here"))
            .next("`postern bundle receipt` lists those that are")),
        _ => Err(Failure::usage(format!("{} receipts are of sets that begin with '{meant}'", sets.len()))
            .next("write more of the set's id")),
    }
}

/// A receipt that came back: checked against the receiver that was enrolled.
pub fn read_receipt(appliance: &Appliance, file: String) -> Result<ReceiptReport, Failure> {
    let receipt = receipt::read(&appliance.store, &appliance.keys, file.as_bytes())?;
    Ok(ReceiptReport { receipt, file })
}

fn kept_sets(appliance: &Appliance) -> Result<Vec<SetId>, Failure> {
    let dir = appliance.store.dir();
    if dir.stat(RECEIPTS_DIR)?.is_none() {
        return Ok(Vec::new());
    }
    let names = dir.list(RECEIPTS_DIR)?.into_iter();
    Ok(names.filter_map(|entry| entry.name.strip_suffix(".json")?.parse().ok()).collect())
}

fn kept(appliance: &Appliance, set: &SetId) -> Result<SignedReceipt, Failure> {
    Receipt::kept(&appliance.store, &appliance.keys, set)?
        .ok_or_else(|| Failure::failed(format!("the receipt of set '{set}' has gone")))
}
