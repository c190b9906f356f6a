//! From the volumes into the staging: every chunk that is still wanted, checked one by one.

use super::ImportError;
use super::select::OpenVolume;
use super::staging::{Hashed, Staging};
use crate::bundle::format::layout;
use crate::bundle::format::table::SetTable;
use crate::progress::Progress;
use crate::store::Store;
use crate::sys::kill_point::kill_point;

/// Space that stays free for the journal and the index when a set is taken in.
const SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// What came from one medium.
pub(super) struct Intake {
    /// Bytes read besides the heads.
    pub bytes_read: u64,
    pub volumes_read: Vec<u16>,
    /// Volumes that hold chunks which are still wanted.
    pub missing: Vec<u16>,
}

/// Space is asked for before the first byte is staged. Blobs are renamed into the store, so they need it once.
pub(super) fn check_room(store: &Store, staging: &Staging<'_>) -> Result<(), ImportError> {
    let needed_bytes = staging.wanted_bytes() + SPARE_BYTES;
    let free_bytes = store.dir().free_bytes()?;
    if needed_bytes > free_bytes { Err(ImportError::NoRoom { needed_bytes, free_bytes }) } else { Ok(()) }
}

/// Reads what is wanted from the volumes that are here. What was staged before an error stays.
pub(super) fn take_in(
    staging: &mut Staging<'_>,
    table: &SetTable,
    volumes: &mut [OpenVolume],
    progress: &dyn Progress,
) -> Result<Intake, ImportError> {
    let total = staging.wanted_bytes();
    let mut done = 0;
    let mut intake = Intake { bytes_read: 0, volumes_read: Vec::new(), missing: Vec::new() };
    for OpenVolume { reader, head } in volumes.iter_mut() {
        let wanted: Vec<u32> = layout::chunks_of_volume(table, head.volume.volume)
            .filter(|place| staging.wants(place))
            .map(|place| place.index)
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let before = reader.bytes_read();
        let read = reader.chunks(
            head,
            table,
            |place| wanted.binary_search(&place.index).is_ok(),
            |place, content| {
                let hashed = staging.put(place, content)?;
                kill_point("import-mid-chunk");
                done += content.len() as u64;
                progress.step("reading", done, total);
                require(hashed, staging, table, place.blob)
            },
        );
        // What was checked before an error is kept, also when that error is final for this medium.
        let kept = staging.checkpoint();
        read?;
        kept?;
        intake.bytes_read += reader.bytes_read() - before;
        intake.volumes_read.push(head.volume.volume);
    }
    let volumes_count = u16::try_from(table.volumes.len()).expect("checked against the most volumes of a set");
    intake.missing = (1..=volumes_count)
        .filter(|volume| layout::chunks_of_volume(table, *volume).any(|place| staging.wants(&place)))
        .collect();
    Ok(intake)
}

/// Hashes every blob that was not hashed on its way in.
pub(super) fn verify_all(
    staging: &mut Staging<'_>,
    table: &SetTable,
    progress: &dyn Progress,
) -> Result<(), ImportError> {
    for blob in 0..table.blobs.len() {
        let hashed = staging.verify(blob)?;
        require(hashed, staging, table, blob)?;
        progress.step("checking blobs (count)", blob as u64 + 1, table.blobs.len() as u64);
    }
    Ok(staging.checkpoint()?)
}

fn require(hashed: Hashed, staging: &Staging<'_>, table: &SetTable, blob: usize) -> Result<(), ImportError> {
    match hashed {
        Hashed::Good => Ok(()),
        Hashed::Wrong => Err(ImportError::Blob { set: staging.set_text(), digest: table.blobs[blob].digest }),
    }
}
