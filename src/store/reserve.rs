//! Disk kept aside, so that retiring and sweeping work when the disk is full.

use super::layout;
use crate::limits::{DISK_FREE_BYTES_MIN, MIB};
use crate::sys::dir::{Create, Dir, DirError};

/// Fills the reserve up to `bytes`, if the disk has room for it and more.
pub fn restore(dir: &dyn Dir, bytes: u64) -> Result<(), DirError> {
    let has_bytes = dir.stat(layout::RESERVE)?.map_or(0, |stat| stat.len_bytes);
    if has_bytes >= bytes || dir.free_bytes()? < 2 * DISK_FREE_BYTES_MIN + bytes {
        return Ok(());
    }
    let failed = |source| DirError { operation: "fill", path: layout::RESERVE.to_owned(), source };
    let file = dir.open_write(layout::RESERVE, Create::Missing)?;
    let zeros = vec![0; MIB];
    let mut at = has_bytes;
    while at < bytes {
        let step = zeros.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        file.write_at(&zeros[..step], at).map_err(failed)?;
        at += step as u64;
    }
    file.sync_data().map_err(failed)
}

/// How much of it is there.
pub fn len_bytes(dir: &dyn Dir) -> u64 {
    dir.stat(layout::RESERVE).ok().flatten().map_or(0, |stat| stat.len_bytes)
}

/// Gives the reserve up. It is filled again when a sweep has made room.
pub fn release(dir: &dyn Dir) {
    match dir.remove(layout::RESERVE) {
        Ok(()) => tracing::warn!("the disk is full: the reserve is given up so that space can be made"),
        Err(error) if error.is_not_found() => {}
        Err(error) => tracing::error!(%error, "the reserve could not be given up"),
    }
}
