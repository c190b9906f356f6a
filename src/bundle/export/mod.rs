//! Writes a planned set to a medium, in two passes over the content: the first makes the table, which must be known (and
//! sealed) before the first volume begins; the second writes. What was written is read back from the device itself before
//! a volume gets its name.
//!
//! Interrupted, the same command goes on with the same set: the table and the seal are kept until the next set of the
//! series is sealed.

mod pack;
mod state;
mod volumes;

use serde::{Deserialize, Serialize};

use super::closure::Missing;
use super::format::chunk::ChunkError;
use super::format::layout::LayoutError;
use super::format::seal::{Seal, SealError, UnverifiedSeal, table_digest};
use super::format::table::{SetTable, TableError};
use super::format::volume::SetId;
use super::plan::ExportPlan;
use super::reader::VolumeError;
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::{BlobError, Cause, Change, CommitError, LeaseHeld, PrincipalRef, Store, StoreError, Transaction};
use crate::sys::dir::DirError;
use crate::sys::keys::{KeyError, KeyRing};
use crate::sys::kill_point::kill_point;
use crate::sys::medium::Medium;

pub use volumes::WrittenVolume;

/// What was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportReport {
    pub set: SetId,
    pub receiver: DeviceId,
    pub series: String,
    pub sequence: u64,
    /// Whether an interrupted export was continued, or a finished one repeated.
    pub resumed: bool,
    pub images_count: usize,
    pub blobs_count: usize,
    pub content_bytes: u64,
    pub volumes: Vec<WrittenVolume>,
    /// Bytes written now; those of volumes that stood there already do not count.
    pub bytes_written: u64,
    /// Every volume was read back from the medium and found whole: it may be taken out.
    pub safe_to_remove: bool,
}

/// Why a set was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(
        "'{}' of '{}' is not here yet, and {} more: fetch it with 'postern mirror fetch {}', or name the platforms that \
         shall travel",
        .first.digest, .first.image, .more_count, .first.image
    )]
    Missing { first: Missing, more_count: usize },
    #[error("the medium has {free_bytes} bytes free and {needed_bytes} are needed: make room, or use a larger one")]
    NoRoom { free_bytes: u64, needed_bytes: u64 },
    #[error("the medium takes files of {limit_bytes} bytes at the most: ask for volumes of that size")]
    FileTooLarge { limit_bytes: u64 },
    #[error("'{0}' has changed on the disk since it was stored: 'postern store check' tells more; then fetch it again")]
    Source(Digest),
    #[error(
        "file '{file}' cannot be written to the medium: is it in place, writable, and not full? then run the same command again"
    )]
    Write {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the medium cannot be used: is it in place and writable? then run the same command again")]
    Medium(#[source] DirError),
    #[error(
        "the medium did not keep what was written: do not use it any more, and run the same command with another one"
    )]
    ReadBack(#[source] VolumeError),
    #[error("set cannot be laid out in volumes")]
    Layout(#[from] LayoutError),
    #[error("set cannot be described")]
    Table(#[from] TableError),
    #[error("content cannot be packed")]
    Chunk(#[from] ChunkError),
    #[error("set cannot be sealed")]
    Key(#[from] KeyError),
    #[error("an image of the set is busy")]
    Lease(#[from] LeaseHeld),
    #[error("content of the store cannot be read")]
    Blob(#[from] BlobError),
    #[error("state of the export cannot be kept")]
    State(#[source] DirError),
    #[error("kept state of this export is damaged: remove 'uploads/{name}' and run the same command again")]
    StateDamaged {
        name: String,
        #[source]
        source: Option<SealError>,
    },
    #[error("sequence number of the set was not kept")]
    Commit(#[from] CommitError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// A set that is sealed and not yet (all) written.
pub(super) struct SealedSet {
    pub set: SetId,
    pub seal: Seal,
    pub seal_bytes: Vec<u8>,
    pub table: SetTable,
    pub table_bytes: Vec<u8>,
}

/// Exports what was planned to `medium`. Nothing is written to it before room for everything was found.
pub fn export(
    store: &Store,
    keys: &KeyRing,
    plan: &ExportPlan,
    medium: &dyn Medium,
    principal: PrincipalRef,
    progress: &dyn Progress,
) -> Result<ExportReport, ExportError> {
    if let Some(first) = plan.missing.first() {
        return Err(ExportError::Missing { first: first.clone(), more_count: plan.missing.len() - 1 });
    }
    let mut repositories: Vec<_> = plan.images.iter().map(|image| image.repository.clone()).collect();
    repositories.sort();
    repositories.dedup();
    let _lease = store.lease(&repositories, "an export")?;

    let state = state::State::of(store, plan);
    let (sealed, resumed) = match state.load(store, keys, plan)? {
        Some(sealed) => (sealed, true),
        None => (seal(store, keys, plan, &state, principal, progress)?, false),
    };
    let volumes = volumes::write_all(store, &sealed, medium, progress)?;
    Ok(ExportReport {
        set: sealed.set,
        receiver: plan.request.receiver.clone(),
        series: sealed.seal.series,
        sequence: sealed.seal.sequence,
        resumed,
        images_count: sealed.table.images.len(),
        blobs_count: sealed.table.blobs.len(),
        content_bytes: plan.content_bytes,
        bytes_written: volumes.iter().filter(|volume| volume.written).map(|volume| volume.bytes).sum(),
        volumes,
        safe_to_remove: true,
    })
}

/// Makes the table, takes the next sequence number and seals.
fn seal(
    store: &Store,
    keys: &KeyRing,
    plan: &ExportPlan,
    state: &state::State,
    principal: PrincipalRef,
    progress: &dyn Progress,
) -> Result<SealedSet, ExportError> {
    let request = &plan.request;
    let sequence = store.next_export_sequence(&request.receiver, &request.series)?;
    let seal_for = |table, volumes| {
        let series = (request.series.as_str(), sequence);
        let (sender, receiver) = (keys.device_id().clone(), request.receiver.clone());
        Seal::new(sender, receiver, series, store.clock().wall(), (table, volumes))
    };
    let sample = seal_for(table_digest(b""), 1).sign(keys)?;
    let table = pack::table(store, plan, sample.len() as u64, progress)?;
    table.check()?;
    let table_bytes = table.to_bytes();
    let volumes_count = u16::try_from(table.volumes.len()).expect("checked against the most volumes of a set");
    let seal = seal_for(table_digest(&table_bytes), volumes_count);
    let seal_bytes = seal.sign(keys)?;
    let sealed = SealedSet { set: seal.set_id(), seal, seal_bytes, table, table_bytes };
    state.save(store, &sealed)?;
    kill_point("export-kept");
    let change = Change::SealExport {
        set_id: sealed.set.to_string(),
        receiver: request.receiver.clone(),
        series: request.series.clone(),
        sequence,
        table_digest: sealed.seal.table.digest,
    };
    let cause = Cause { set: Some(sealed.set.to_string()), ..Cause::default() };
    store.commit(Transaction { cause, ..Transaction::new(principal, vec![change]) })?;
    kill_point("export-numbered");
    state.mark_sealed(store)?;
    kill_point("export-sealed");
    Ok(sealed)
}

impl SealedSet {
    /// Puts a set together from what was kept, if it is ours and whole.
    fn restore(keys: &KeyRing, seal_bytes: Vec<u8>, table_bytes: Vec<u8>) -> Result<Option<Self>, SealError> {
        let unverified = UnverifiedSeal::parse(&seal_bytes)?;
        let seal = unverified.verify(keys.identity())?;
        if seal.table != table_digest(&table_bytes) {
            return Ok(None);
        }
        let table = SetTable::parse(&table_bytes).ok();
        Ok(table.map(|table| Self { set: unverified.set_id(), seal, seal_bytes, table, table_bytes }))
    }
}
