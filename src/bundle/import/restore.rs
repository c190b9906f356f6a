//! A set that came in before brings back what the disk has lost of it since. Nothing becomes visible that was not: every
//! blob is hashed before it takes its place, and only content that some repository here still holds does.

use super::ImportError;
use super::intake;
use super::select::Selected;
use super::staging::{Staging, staging_path};
use crate::bundle::format::layout;
use crate::progress::Progress;
use crate::store::Store;

/// Puts back content of the set that is held here and has no bytes; how many blobs that were.
pub(super) fn restore(store: &Store, selected: &mut Selected, progress: &dyn Progress) -> Result<u64, ImportError> {
    let losses = store.losses()?;
    let lacking: Vec<_> = losses.lacking.iter().map(|lacking| lacking.digest).collect();
    let table = &selected.table;
    let wanted: Vec<_> = lacking.into_iter().filter(|digest| table.blob(digest).is_some()).collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    let volume_bytes =
        (1..=selected.seal.volumes).map(|volume| layout::body_bytes(table, volume)).max().unwrap_or_default();
    let mut staging = Staging::open(store, &selected.set, table, volume_bytes)?;
    intake::check_room(store, &staging)?;
    let intake = intake::take_in(&mut staging, table, &mut selected.volumes, progress)?;
    let bytes_read = selected.bytes_read + intake.bytes_read;
    if !intake.missing.is_empty() {
        return Err(ImportError::VolumesMissing { set: selected.set, volumes: intake.missing, bytes_read });
    }
    intake::verify_all(&mut staging, table, progress)?;
    for digest in &wanted {
        let blob = table.blob_index(digest).expect("it was found in this table");
        store.blobs().adopt(&staging.part_path(blob), digest)?;
        store.blobs().linked(digest);
    }
    store.blobs().sync_adopted()?;
    store.dir().remove_tree(&staging_path(&selected.set))?;
    selected.bytes_read = bytes_read;
    tracing::info!(set = %selected.set, count = wanted.len(), "content that was lost is back");
    Ok(wanted.len() as u64)
}
