//! Takes a set in: seal, chunks, blobs, policy, then one commit, then a signed receipt.
//!
//! The medium is only read. Volumes may come in any order and on any number of media; what was staged is kept, and the
//! same command goes on with the next one, also after a kill. Until the commit nothing of a set can be seen, whatever
//! goes wrong; after it, everything that the policy admitted.

mod content;
mod error;
mod intake;
mod publish;
mod restore;
mod select;
mod settle;
mod staging;
mod verify;

use std::collections::BTreeSet;

use serde::Serialize;

pub use error::ImportError;
pub use verify::verify;

use super::format::layout;
use super::format::volume::SetId;
use super::receipt::{Receipt, RefusedEntry, SignedReceipt};
use crate::access::Enforcement;
use crate::access::name::ProjectName;
use crate::oci::name::RepositoryName;
use crate::progress::Progress;
use crate::store::{PrincipalRef, Store};
use crate::sys::clock::trusted_now;
use crate::sys::keys::KeyRing;
use crate::sys::kill_point::kill_point;
use crate::sys::medium::Medium;
use crate::verify::TrustPolicy;
use publish::Judging;
use select::Selected;
use staging::Staging;

/// What to import, and as whom.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The set, or the beginning of its id; not needed where a medium holds only one.
    pub set: Option<String>,
    pub principal: PrincipalRef,
    /// Largest table of a set that is read.
    pub table_bytes_max: usize,
    /// Manifests and evidence of one image that are read into memory; `None` leaves it to the bounds of an image.
    pub judged_bytes_max: Option<usize>,
    /// Projects, by name, that do not enforce the policy: what it refuses of theirs comes in, and the receipt says so.
    pub unenforced: BTreeSet<String>,
}

impl ImportOptions {
    /// What becomes of an image that the policy refuses.
    fn enforcement(&self, repository: &RepositoryName) -> Enforcement {
        match self.unenforced.contains(ProjectName::text_of(repository)) {
            true => Enforcement::Audit,
            false => Enforcement::Enforce,
        }
    }
}

/// What came of an import.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    pub set: SetId,
    /// The set had been imported before: nothing was done, and the receipt is the one of then.
    pub already_imported: bool,
    /// Content that had come in before, was lost by the disk, and is here again.
    pub restored_count: u64,
    /// What came in, what was refused and why.
    pub receipt: Receipt,
    /// The signed receipt, to be carried back; it is also kept in the data directory at `receipt_path`.
    #[serde(skip)]
    pub receipt_file: Vec<u8>,
    pub receipt_path: String,
    /// Bytes read from the medium by this run.
    pub bytes_read: u64,
    /// Volumes from which this run read chunks.
    pub volumes_read: Vec<u16>,
}

/// Imports a set from `medium`, or what of it is there.
pub fn import(
    store: &Store,
    keys: &KeyRing,
    policy: &TrustPolicy,
    medium: &dyn Medium,
    options: &ImportOptions,
    progress: &dyn Progress,
) -> Result<ImportReport, ImportError> {
    // One import at a time: what an earlier one has left is settled first, and must not be one that still runs.
    let turn = "postern/import".parse().expect("a literal name");
    let _turn = store.lease(std::slice::from_ref(&turn), "another import")?;
    settle::settle_interrupted(store, keys)?;
    let mut selected = select::select(store, keys.device_id(), medium, options)?;
    let before = seen_before(store, keys, policy, options, &selected)?;
    if let Before::Settled(signed) = before {
        let restored_count = restore::restore(store, &mut selected, progress)?;
        return Ok(ImportReport { restored_count, ..report(*signed, true, selected.bytes_read, Vec::new()) });
    }
    let Selected { set, seal, table, mut volumes, bytes_read } = selected;
    let repositories: Vec<_> = {
        let mut names: Vec<_> = table.images.iter().map(|image| image.repository.clone()).collect();
        names.dedup();
        names
    };
    let lease = store.lease(&repositories, "an import")?;
    let volume_bytes = (1..=seal.volumes).map(|volume| layout::body_bytes(&table, volume)).max().unwrap_or_default();
    let mut staging = Staging::open(store, &set, &table, volume_bytes)?;
    intake::check_room(store, &staging)?;
    let intake = intake::take_in(&mut staging, &table, &mut volumes, progress)?;
    let bytes_read = bytes_read + intake.bytes_read;
    if !intake.missing.is_empty() {
        return Err(ImportError::VolumesMissing { set, volumes: intake.missing, bytes_read });
    }
    intake::verify_all(&mut staging, &table, progress)?;
    kill_point("import-all-staged");
    let now = trusted_now(store.clock().wall(), store.time_floor());
    let earlier = match before {
        Before::JudgedOtherwise(signed) => Some(signed.receipt),
        Before::Never | Before::Settled(_) => None,
    };
    let judging = Judging { policy, now, earlier: earlier.as_ref(), options };
    let judged = publish::judge_set(store, keys, (&set, &seal, &table), &mut staging, &judging)?;
    let published = publish::commit(store, judged, &options.principal)?;
    kill_point("import-before-receipt");
    let signed = settle::finish(store, keys, published, &staging::staging_path(&set))?;
    drop(lease);
    Ok(report(signed, false, bytes_read, intake.volumes_read))
}

fn report(signed: SignedReceipt, already_imported: bool, bytes_read: u64, volumes_read: Vec<u16>) -> ImportReport {
    ImportReport {
        set: signed.receipt.set,
        already_imported,
        restored_count: 0,
        receipt_path: super::receipt::path(&signed.receipt.set),
        receipt: signed.receipt,
        receipt_file: signed.file,
        bytes_read,
        volumes_read,
    }
}

/// What is known of a set before it is read.
enum Before {
    Never,
    /// It came in, and nothing would become of it now that did not become of it then.
    Settled(Box<SignedReceipt>),
    /// It is the newest of its series, and another policy refused some of it: across a gap a new set costs days, so what
    /// is on the stick is judged once more. An older set never is, since that would be a rollback.
    JudgedOtherwise(Box<SignedReceipt>),
}

fn seen_before(
    store: &Store,
    keys: &KeyRing,
    policy: &TrustPolicy,
    options: &ImportOptions,
    selected: &Selected,
) -> Result<Before, ImportError> {
    let seal = &selected.seal;
    let high_water = store.high_water(&seal.sender, &seal.series)?;
    if seal.sequence > high_water {
        return Ok(Before::Never);
    }
    let Some(signed) = Receipt::kept(store, keys, &selected.set)? else {
        let series = seal.series.clone();
        return Err(ImportError::Older { set: selected.set, series, sequence: seal.sequence, high_water });
    };
    // The policy is another one, or the project of something that was refused does not enforce it any more.
    let is_let_in = |entry: &RefusedEntry| !options.enforcement(&entry.repository).enforces() && entry.is_by_policy();
    let refused = &signed.receipt.refused;
    let otherwise = match signed.receipt.policy_digest == *policy.digest() {
        true => refused.iter().any(is_let_in),
        false => !refused.is_empty(),
    };
    if otherwise && seal.sequence == high_water {
        return Ok(Before::JudgedOtherwise(Box::new(signed)));
    }
    Ok(Before::Settled(Box::new(signed)))
}
