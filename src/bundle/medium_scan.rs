//! Which volumes stand on a medium, by the names of their files. A name proves nothing: what a volume is, its head tells.

use std::collections::BTreeMap;

use super::format::volume::FileName;
use crate::limits::MEDIUM_ENTRIES_COUNT_MAX;
use crate::sys::dir::DirError;
use crate::sys::medium::Medium;

/// Volumes of one set, by number; the value is the file's name as it stands on the medium.
pub(super) type Volumes = BTreeMap<u16, String>;

/// Why a medium's volumes cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("the medium '{label}' cannot be listed: put it back and run the same command again")]
    List {
        label: String,
        #[source]
        source: DirError,
    },
    #[error("files '{one}' and '{other}' are both volume {volume} of one set: take away the one that is not meant")]
    Duplicate { one: String, other: String, volume: u16 },
    #[error("files '{one}' and '{other}' disagree about how many volumes set '{set}' has: take away the foreign one")]
    Counts { one: String, other: String, set: String },
}

/// The volumes on `medium`, by the part of the set's id that stands in their names.
pub(super) fn scan(medium: &dyn Medium) -> Result<BTreeMap<String, Volumes>, ScanError> {
    let entries = medium.dir().list("").map_err(|source| ScanError::List { label: medium.label(), source })?;
    let mut sets: BTreeMap<String, Volumes> = BTreeMap::new();
    let mut counts: BTreeMap<String, (u16, String)> = BTreeMap::new();
    for entry in entries.into_iter().take(MEDIUM_ENTRIES_COUNT_MAX).filter(|entry| !entry.stat.is_dir) {
        let Some(name) = FileName::parse(&entry.name) else { continue };
        let (count, first) = counts.entry(name.set.clone()).or_insert_with(|| (name.volumes, entry.name.clone()));
        if *count != name.volumes {
            return Err(ScanError::Counts { one: first.clone(), other: entry.name, set: name.set });
        }
        let volumes = sets.entry(name.set).or_default();
        if let Some(one) = volumes.insert(name.volume, entry.name.clone()) {
            return Err(ScanError::Duplicate { one, other: entry.name, volume: name.volume });
        }
    }
    Ok(sets)
}
