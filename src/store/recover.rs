//! What happens between two runs: the index catches up with the journal, or is made anew from it.
//!
//! Damage never stops reading. Where the journal cannot be explained by a power cut, the store opens read-only with the
//! best state that can be proved, and says where the damage is.

use std::sync::Arc;

use super::StoreSettings;
use super::apply;
use super::error::StoreError;
use super::generation;
use super::index::{Index, IndexError, Meta};
use super::journal::{FileJournal, Place, segment_path};
use super::layout;
use super::record::Position;
use super::rows::{Layered, Overlay};
use super::scan::{self, Event, ScanError, Scanned, Start};
use super::snapshot;
use crate::limits::INDEX_REBUILD_BYTES;
use crate::sys::dir::{Dir, DirError};
use crate::sys::kill_point::kill_point;

/// A store that can be read, and usually written.
#[derive(Debug)]
pub struct Recovered {
    pub index: Index,
    pub head: Position,
    pub journal: Option<FileJournal>,
    /// Why nothing can be written.
    pub read_only: Option<String>,
}

/// Brings the index to the end of the journal, whatever state both are in. `unclean`: the last run did not end well.
pub fn recover(dir: &Arc<dyn Dir>, settings: &StoreSettings, unclean: bool) -> Result<Recovered, StoreError> {
    let kept = open_current(dir.as_ref(), settings, unclean)?;
    if let Some(index) = kept {
        let meta = index.meta();
        match (&meta.position, &meta.place) {
            (Some(position), Some(place)) => match replay(dir.as_ref(), &index, &Start::After { place, position }) {
                Ok(scanned) => return finish(dir, index, scanned, unclean),
                Err(ScanError::NoSuchPlace | ScanError::Missing) => {
                    if let Some(recovered) = ahead_of_journal(dir.as_ref(), &meta, position)? {
                        return Ok(Recovered {
                            index,
                            head: position.clone(),
                            journal: None,
                            read_only: Some(recovered),
                        });
                    }
                    tracing::warn!("the index belongs to another journal and is made anew");
                }
                Err(ScanError::Visit(error)) => {
                    tracing::warn!(%error, "the index cannot take in the journal and is made anew");
                }
                Err(error) => return Err(unreadable(error)),
            },
            _ => tracing::info!("the index is empty and is made from the journal"),
        }
        drop(index);
    }
    let (index, scanned) = rebuild(dir.as_ref(), settings, First::Snapshot)?;
    finish(dir, index, scanned, unclean)
}

/// What an index is made from at first; the other is taken where that does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// What a start takes: the time does not grow with the age of the store.
    Snapshot,
    /// What somebody takes who asks for it: nothing but the record is believed, unless it is damaged.
    Journal,
}

/// Makes a new index and puts it into use.
pub fn rebuild(dir: &dyn Dir, settings: &StoreSettings, first: First) -> Result<(Index, Scanned), StoreError> {
    let whole = |made: &Option<Made>| made.as_ref().is_some_and(|made| made.scanned.damage.is_none());
    let mut made = match first {
        First::Snapshot => from_snapshot(dir, settings)?,
        First::Journal => Some(from_beginning(dir, settings)?),
    };
    if !whole(&made) {
        let other = match first {
            First::Snapshot => Some(from_beginning(dir, settings)?),
            First::Journal => from_snapshot(dir, settings)?,
        };
        let reach =
            |made: &Option<Made>| made.as_ref().and_then(|made| made.scanned.position.as_ref()).map(|p| p.sequence);
        let (taken, left) = if reach(&other) > reach(&made) || whole(&other) { (other, made) } else { (made, other) };
        made = taken;
        if let Some(Made { path, index, .. }) = left {
            drop(index);
            generation::abandon(dir, &path);
        }
    }
    let Some(Made { index, path, scanned }) = made else { return Err(StoreError::JournalMissing) };
    kill_point("rebuild-made");
    generation::switch_to(dir, &path)?;
    kill_point("rebuild-switched");
    Ok((index, scanned))
}

/// An index that is not in use yet.
struct Made {
    index: Index,
    path: String,
    scanned: Scanned,
}

fn from_beginning(dir: &dyn Dir, settings: &StoreSettings) -> Result<Made, StoreError> {
    let (index, path) = generation::begin(dir, settings.index_cache_bytes)?;
    let scanned = replay(dir, &index, &Start::Beginning).map_err(unreadable)?;
    index.flush()?;
    Ok(Made { index, path, scanned })
}

/// None where there is no snapshot, or the journal does not hold the event that it stands at.
fn from_snapshot(dir: &dyn Dir, settings: &StoreSettings) -> Result<Option<Made>, StoreError> {
    let (index, path) = generation::begin(dir, settings.index_cache_bytes)?;
    let replayed = match snapshot::load(dir, &index)? {
        Some((position, place)) => replay(dir, &index, &Start::After { place: &place, position: &position }),
        None => Err(ScanError::NoSuchPlace),
    };
    match replayed {
        Ok(scanned) => {
            index.flush()?;
            tracing::info!("the index is made from a snapshot and what came after it");
            Ok(Some(Made { index, path, scanned }))
        }
        Err(error) => {
            drop(index);
            generation::abandon(dir, &path);
            match error {
                ScanError::Dir(error) => Err(error.into()),
                _ => Ok(None),
            }
        }
    }
}

/// Applies the journal from `start` on.
pub fn replay(dir: &dyn Dir, index: &Index, start: &Start<'_>) -> Result<Scanned, ScanError<IndexError>> {
    let mut overlay = Overlay::default();
    let mut pending: Option<(Position, Place)> = None;
    let scanned = scan::scan(dir, start, &mut |place: &Place, events: Vec<Event>| {
        for event in events {
            let rows = Layered { top: &overlay, base: index };
            let position = event.position();
            if let Some(body) = &event.body {
                let mutations = apply::mutations(&event.head, body, &rows)?;
                overlay.extend(mutations);
            }
            pending = Some((position, place.clone()));
        }
        if overlay.bytes() >= INDEX_REBUILD_BYTES {
            catch_up(index, &mut overlay, &mut pending)?;
        }
        Ok(())
    })?;
    catch_up(index, &mut overlay, &mut pending).map_err(ScanError::Visit)?;
    Ok(scanned)
}

fn catch_up(index: &Index, overlay: &mut Overlay, pending: &mut Option<(Position, Place)>) -> Result<(), IndexError> {
    if let Some((position, place)) = pending.take() {
        index.apply(std::mem::take(overlay).into_mutations(), &position, &place)?;
        index.flush()?;
    }
    Ok(())
}

/// Opens the index in use, if there is a usable one; one that is not usable is set aside.
fn open_current(dir: &dyn Dir, settings: &StoreSettings, unclean: bool) -> Result<Option<Index>, DirError> {
    let Some(path) = generation::current(dir) else { return Ok(None) };
    let opened = Index::open(dir, &path, settings.index_cache_bytes)
        .and_then(|index| if unclean { index.check().map(|()| index) } else { Ok(index) });
    match opened {
        Ok(index) => {
            generation::keep_only(dir, &path)?;
            Ok(Some(index))
        }
        Err(error) => {
            tracing::warn!(%error, path, "the index is not usable, is set aside and made anew");
            if dir.stat(&path)?.is_some() {
                generation::set_aside(dir, &path)?;
            }
            Ok(None)
        }
    }
}

/// Why the journal must have lost something, if the index has applied more than it holds.
fn ahead_of_journal(dir: &dyn Dir, meta: &Meta, position: &Position) -> Result<Option<String>, StoreError> {
    let scanned = match scan::scan::<IndexError>(dir, &Start::Beginning, &mut |_, _| Ok(())) {
        Ok(scanned) => scanned,
        Err(ScanError::Missing) => return Ok(Some("the journal is gone; restore it from a backup".to_owned())),
        Err(error) => return Err(unreadable(error)),
    };
    let reached = scanned.position.map_or(0, |position| position.sequence);
    if reached >= position.sequence {
        return Ok(None);
    }
    let place = scanned
        .damage
        .map_or_else(|| meta.place.as_ref().map(ToString::to_string).unwrap_or_default(), |damage| damage.to_string());
    let sequence = position.sequence;
    Ok(Some(format!(
        "the journal ends at event {reached} though event {sequence} was acknowledged ({place}); restore the journal from a backup"
    )))
}

pub fn unreadable(error: ScanError<IndexError>) -> StoreError {
    match error {
        ScanError::Missing | ScanError::NoSuchPlace => StoreError::JournalMissing,
        ScanError::Event(error) => error.into(),
        ScanError::Dir(error) => error.into(),
        ScanError::Visit(error) => error.into(),
    }
}

/// Makes the journal ready for more, where it is sound.
fn finish(dir: &Arc<dyn Dir>, index: Index, scanned: Scanned, unclean: bool) -> Result<Recovered, StoreError> {
    let head = scanned.position.ok_or(StoreError::JournalMissing)?;
    if let Some(damage) = scanned.damage {
        let sequence = head.sequence;
        let reason = format!(
            "the journal is damaged in {damage}: what was changed after event {sequence} is lost, everything up to it is served; \
             restore it from a backup with 'postern restore'"
        );
        tracing::error!(reason, "the store is opened read-only");
        return Ok(Recovered { index, head, journal: None, read_only: Some(reason) });
    }
    let tail = scanned.tail.ok_or(StoreError::JournalMissing)?;
    let resumed = drop_unborn(dir.as_ref(), scanned.unborn_segment.as_deref())
        .and_then(|()| FileJournal::resume(dir, &tail, &head, unclean));
    Ok(match resumed {
        Ok(journal) => Recovered { index, head, journal: Some(journal), read_only: None },
        Err(error) => {
            let reason = format!("the journal cannot be continued ({error}: {})", error.source);
            tracing::error!(reason, "the store is opened read-only");
            Recovered { index, head, journal: None, read_only: Some(reason) }
        }
    })
}

fn drop_unborn(dir: &dyn Dir, name: Option<&str>) -> Result<(), DirError> {
    let Some(name) = name else { return Ok(()) };
    dir.remove(&segment_path(name))?;
    dir.sync_dir(layout::JOURNAL)
}
