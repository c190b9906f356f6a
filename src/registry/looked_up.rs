//! Small manifests that were looked up since the last change, so that the next client costs no look at the disk.
//!
//! What is remembered is right at one position of the journal and forgotten at the next one: a removal, a refusal, another
//! policy are all changes, so none of them is ever overlooked. Rights are not remembered; they are asked for each request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::place::Located;
use super::route::Place;
use crate::admission::Served;
use crate::limits::{LOOKED_UP_BYTES_MAX, LOOKED_UP_ONE_BYTES_MAX};
use crate::oci::name::Reference;
use crate::store::ManifestRecord;

/// A manifest, and the repository that it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LookedUp {
    pub(super) located: Located,
    pub(super) record: ManifestRecord,
    /// Leave to serve it, which ends with policy, trust and time as well.
    pub(super) served: Served,
    /// Its bytes, which were hashed when they were read.
    pub(super) bytes: Bytes,
}

/// What was looked up since the last change; bounded.
#[derive(Debug, Default)]
pub(super) struct RecentLookups {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    bytes: usize,
    entries: HashMap<(Place, Reference), LookedUp>,
}

/// What an entry takes beside the manifest: names, digests, the map's own.
const ENTRY_BYTES: usize = 1_024;

impl RecentLookups {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found at `place` for `reference`, if nothing has changed until `sequence`.
    pub(super) fn recall(&self, place: &Place, reference: &Reference, sequence: u64) -> Option<LookedUp> {
        let state = self.state();
        if state.sequence != sequence || state.entries.is_empty() {
            return None;
        }
        state.entries.get(&(place.clone(), reference.clone())).cloned()
    }

    /// Remembers what was looked up after the change `sequence` had become visible. Where there is no room, all is forgotten:
    /// it costs one look each.
    pub(super) fn remember(&self, place: Place, reference: Reference, sequence: u64, found: LookedUp) {
        if found.bytes.len() > LOOKED_UP_ONE_BYTES_MAX {
            return;
        }
        let mut state = self.state();
        let taken = found.bytes.len() + ENTRY_BYTES;
        if sequence > state.sequence || state.bytes + taken > LOOKED_UP_BYTES_MAX {
            *state = State { sequence: sequence.max(state.sequence), ..State::default() };
        }
        if sequence == state.sequence && state.entries.insert((place, reference), found).is_none() {
            state.bytes += taken;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{ENTRY_BYTES, LookedUp, RecentLookups};
    use crate::admission::Served;
    use crate::limits::{LOOKED_UP_BYTES_MAX, LOOKED_UP_ONE_BYTES_MAX};
    use crate::oci::digest::Digest;
    use crate::oci::name::Reference;
    use crate::registry::place::Located;
    use crate::registry::route::Place;
    use crate::store::ManifestRecord;

    fn place() -> Place {
        Place { path: "team/app".parse().unwrap(), namespace: None }
    }

    fn found(len: usize) -> LookedUp {
        let bytes = vec![b' '; len];
        LookedUp {
            located: Located { repository: place().path, is_mirrored: false, is_held: true },
            record: ManifestRecord {
                digest: Digest::of(&bytes),
                media_type: String::new(),
                size_bytes: len as u64,
                artifact_type: None,
                subject: None,
                sparse: false,
                origin: None,
                sequence: 1,
            },
            served: Served::for_test(),
            bytes: Bytes::from(bytes),
        }
    }

    #[test]
    fn what_was_looked_up_before_a_change_is_forgotten() {
        let (recent, tag) = (RecentLookups::default(), Reference::Tag("v1".parse().unwrap()));
        recent.remember(place(), tag.clone(), 7, found(10));
        assert_eq!(recent.recall(&place(), &tag, 7), Some(found(10)));
        for other in [6, 8] {
            assert_eq!(recent.recall(&place(), &tag, other), None);
        }
        recent.remember(place(), tag.clone(), 8, found(20));
        assert_eq!(recent.recall(&place(), &tag, 8), Some(found(20)));
        // One who looked before the change, and was slow.
        recent.remember(place(), tag.clone(), 7, found(10));
        assert_eq!(recent.recall(&place(), &tag, 8), Some(found(20)));
        let mirror = Place { namespace: Some("docker.io".to_owned()), ..place() };
        assert_eq!(recent.recall(&mirror, &tag, 8), None);
    }

    #[test]
    fn there_is_a_bound() {
        let recent = RecentLookups::default();
        let tag = |number: usize| Reference::Tag(format!("v{number}").parse().unwrap());
        recent.remember(place(), tag(0), 1, found(LOOKED_UP_ONE_BYTES_MAX + 1));
        assert_eq!(recent.recall(&place(), &tag(0), 1), None);
        let fits = LOOKED_UP_BYTES_MAX / (LOOKED_UP_ONE_BYTES_MAX + ENTRY_BYTES);
        for number in 0..=fits {
            recent.remember(place(), tag(number), 1, found(LOOKED_UP_ONE_BYTES_MAX));
            assert!(recent.state().bytes <= LOOKED_UP_BYTES_MAX);
            assert!(recent.recall(&place(), &tag(number), 1).is_some());
        }
        assert_eq!(recent.recall(&place(), &tag(0), 1), None);
    }
}
