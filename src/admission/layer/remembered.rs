//! What was found in layers, or why they cannot be looked into, by their digests. It is about content that is named by its own hash, so that it is never stale
//! and belongs to the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Found, LayerError};
use crate::limits::{LAYERS_REMEMBERED_BYTES_MAX, LAYERS_REMEMBERED_COUNT_MAX};
use crate::oci::digest::Digest;

/// The layer, and what was asked about it.
type Key = (Digest, Digest);
type Outcome = Result<Arc<Found>, LayerError>;

static REMEMBERED: Mutex<Option<Remembered>> = Mutex::new(None);

#[derive(Default)]
struct Remembered {
    found: HashMap<Key, Outcome>,
    order: VecDeque<Key>,
    bytes: usize,
}

fn remembered() -> MutexGuard<'static, Option<Remembered>> {
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was found in a layer for the same question.
pub fn recall(layer: &Digest, question: &Digest) -> Option<Outcome> {
    again(remembered().as_ref()?.found.get(&(*layer, *question))?)
}

/// The same once more; nothing where another time may bring something else.
fn again(outcome: &Outcome) -> Option<Outcome> {
    match outcome {
        Ok(found) => Some(Ok(Arc::clone(found))),
        Err(error) => error.again().map(Err),
    }
}

/// Remembers what was found; what is oldest goes first.
pub fn remember(layer: &Digest, question: &Digest, outcome: &Outcome) {
    let Some(outcome) = again(outcome) else { return };
    let bytes = size(&outcome);
    if bytes > LAYERS_REMEMBERED_BYTES_MAX / 4 {
        return;
    }
    let mut locked = remembered();
    let all = locked.get_or_insert_with(Remembered::default);
    let key = (*layer, *question);
    if all.found.insert(key, outcome).is_some() {
        return;
    }
    all.order.push_back(key);
    all.bytes += bytes;
    while all.order.len() > LAYERS_REMEMBERED_COUNT_MAX || all.bytes > LAYERS_REMEMBERED_BYTES_MAX {
        let Some(oldest) = all.order.pop_front() else { return };
        if let Some(gone) = all.found.remove(&oldest) {
            all.bytes = all.bytes.saturating_sub(size(&gone));
        }
    }
}

fn size(outcome: &Outcome) -> usize {
    const OF_EACH: usize = 64;
    let found = match outcome {
        Ok(found) => found,
        Err(LayerError::Read(error)) => return 2 * OF_EACH + error.to_string().len(),
        Err(_) => return 2 * OF_EACH,
    };
    let texts = found.paths.iter().chain(&found.taken_away).chain(&found.emptied);
    let users = found.users.as_ref().and_then(Option::as_ref).map_or(0, Vec::len);
    OF_EACH + users + texts.map(|text| text.len() + OF_EACH).sum::<usize>()
}
