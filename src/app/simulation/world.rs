//! One appliance in one simulated world: what happens to it is decided by a seed, and written down beside it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::goods::{self, goods};
use super::picture::{Done, Picture, Seen};
use crate::bundle::format::volume::SetId;
use crate::bundle::receipt::Receipt;
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::store::{BlobError, Change, CheckDepth, CommitError, Position, PrincipalRef, Store, Transaction, shards};
use crate::sys::clock::SimulatedClock;
use crate::sys::dir::Dir;
use crate::sys::dir_simulated::{Chance, SimulatedDir};

/// Why an act did not end as it was meant to.
#[derive(Debug)]
pub struct Failed {
    text: String,
    /// It may happen although nothing is broken: somebody else was faster.
    excused: bool,
}

impl Failed {
    pub fn excused(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { text: crate::error_chain::chain(error), excused: true }
    }
}

impl Failed {
    /// Nothing but a fault explains it.
    pub fn unexcused(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { excused: false, ..Self::excused(error) }
    }
}

impl From<BlobError> for Failed {
    fn from(error: BlobError) -> Self {
        Self { text: crate::error_chain::chain(&error), excused: false }
    }
}

impl From<CommitError> for Failed {
    fn from(error: CommitError) -> Self {
        let excused = matches!(error, CommitError::Conflict(_) | CommitError::ReadOnly { .. });
        Self { text: crate::error_chain::chain(&error), excused }
    }
}

/// What is known, and what may have happened besides.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub picture: Picture,
    /// Commits of which nobody knows whether they are durable. Each is there whole or not at all.
    pub doubts: Vec<Vec<Done>>,
    receipts: BTreeSet<SetId>,
    head: Option<Position>,
    pub said: String,
}

/// One appliance.
pub struct World {
    pub clock: Arc<SimulatedClock>,
    pub dir: Mutex<SimulatedDir>,
    chance: Mutex<Chance>,
    pub book: Mutex<Book>,
    /// Whether a fault was set, so that anything may fail.
    pub faulty: Mutex<bool>,
    /// Long events are frequent here, so that segments of the journal end.
    pub is_wordy: bool,
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Commits in doubt that are told apart.
const DOUBTS_COUNT_MAX: usize = 4;

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            clock: goods::clock(),
            dir: Mutex::new(goods().base.fork()),
            chance: Mutex::new(Chance::new(seed)),
            book: Mutex::default(),
            faulty: Mutex::new(false),
            is_wordy: seed % 8 == 7,
        }
    }

    pub fn below(&self, bound: u64) -> u64 {
        (locked(&self.chance).next() >> 11) % bound
    }

    pub fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or_default()]
    }

    pub fn dir(&self) -> SimulatedDir {
        locked(&self.dir).clone()
    }

    pub fn say(&self, what: &str) {
        let _ = write!(locked(&self.book).said, "{what}; ");
    }

    /// One that no import brings: an import goes on behind its commit, and whatever came between would be written down
    /// in the wrong order.
    pub fn some_manifest(&self) -> Option<(&'static str, Digest)> {
        let book = locked(&self.book).clone();
        let all: Vec<_> = book.picture.manifests.into_keys().filter(|(name, _)| *name != "in/x").collect();
        if all.is_empty() { None } else { Some(self.pick(&all)) }
    }

    pub fn tags_of(&self, repository: &str, digest: &Digest) -> Vec<String> {
        let book = locked(&self.book);
        let tags = book.picture.tags.iter().filter(|((name, _), target)| *name == repository && *target == digest);
        tags.map(|((_, tag), _)| tag.clone()).collect()
    }

    pub fn imported(&self) -> u64 {
        locked(&self.book).picture.imported
    }

    pub fn receipt_is_owed(&self, set: SetId) {
        locked(&self.book).receipts.insert(set);
    }

    pub fn commit(&self, store: &Store, changes: Vec<Change>) -> Result<(), Failed> {
        let position = store.commit(Transaction::new(PrincipalRef::system("test"), changes))?;
        locked(&self.book).head = Some(position);
        Ok(())
    }

    pub fn note_head(&self, position: crate::store::Position) {
        locked(&self.book).head = Some(position);
    }

    pub fn has_power(&self) -> bool {
        self.dir().list("").is_ok()
    }

    /// Takes down what came of an act. An error that nothing explains is a finding.
    pub fn settle(&self, store: &Store, done: Vec<Done>, outcome: Result<(), Failed>) -> Result<(), String> {
        let excused = *locked(&self.faulty) || !self.has_power();
        let mut book = locked(&self.book);
        match outcome {
            Ok(()) => book.picture.apply(&done),
            Err(failed) => {
                let _ = write!(book.said, "({}); ", failed.text);
                if !failed.excused && !excused {
                    return Err(format!("failed without a reason: {}", failed.text));
                }
                // What a store refuses while it takes changes has certainly not happened.
                if store.read_only().is_some() && !done.is_empty() && book.doubts.len() < DOUBTS_COUNT_MAX {
                    book.doubts.push(done);
                }
            }
        }
        Ok(())
    }

    /// Whether a store shows what was acknowledged and nothing by half; what was in doubt is known from here on.
    pub fn look(&self, store: &Store) -> Result<Book, String> {
        let book = locked(&self.book).clone();
        let seen = Seen::of(store, &goods().sender)?;
        let doubts = book.doubts.len();
        let picture = (0..1_u32 << doubts).find_map(|chosen| {
            let mut picture = book.picture.clone();
            let chosen = book.doubts.iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0);
            chosen.for_each(|(_, done)| picture.apply(done));
            (picture.seen() == seen).then_some(picture)
        });
        let Some(picture) = picture else {
            return Err(format!("shows what never was: {}", seen.beside(&book.picture.seen())));
        };
        let head = store.head();
        let lost = |known: &Position| known.journal_id != head.journal_id || known.sequence > head.sequence;
        if book.head.as_ref().is_some_and(lost) {
            return Err(format!("the journal ends at {} though more was acknowledged", head.sequence));
        }
        Ok(Book { picture, doubts: Vec::new(), head: Some(head), ..book })
    }

    /// The invariants, checked on a store that was just opened.
    pub fn check(&self, store: &Store) -> Result<Book, String> {
        let book = self.look(store)?;
        let report = store.check(CheckDepth::Full, &Silent).map_err(|error| format!("cannot be checked: {error}"))?;
        if let Some(finding) = report.findings.first() {
            return Err(format!("{} ({})", finding.what, finding.place));
        }
        let absent = |repository: &str, digest: &Digest| -> Result<bool, String> {
            let name = repository.parse().unwrap();
            let link = store.blob_link(&name, digest).map_err(|error| error.to_string())?;
            Ok(!link.is_some_and(|link| link.present) || !store.blobs().has(digest))
        };
        for (repository, digest) in &book.picture.links {
            if absent(repository, digest)? {
                return Err(format!("'{repository}' lost the blob '{digest}'"));
            }
        }
        for ((repository, digest), known) in &book.picture.manifests {
            if !store.blobs().has(digest) {
                return Err(format!("'{repository}' lost the bytes of manifest '{digest}'"));
            }
            let here = |child: &Digest| book.picture.manifests.contains_key(&(*repository, *child));
            if !known.sparse && !known.children.iter().all(here) {
                return Err(format!("'{repository}' lacks a child of '{digest}'"));
            }
        }
        if let Some(policy) = &book.picture.policy {
            let path = crate::store::policy_path(policy);
            let content = crate::sys::dir::read_bounded(store.dir().as_ref(), &path, 4096);
            if content.map(|content| Digest::of(&content)).ok() != Some(*policy) {
                return Err("the file of the active policy is gone or changed".to_owned());
            }
        }
        for set in &book.receipts {
            let kept = Receipt::kept(store, &goods().keys, set);
            if !matches!(kept, Ok(Some(_))) {
                return Err(format!("the receipt of '{set}' is lost: {kept:?}"));
            }
        }
        let left = store.dir().list("uploads").map_err(|error| error.to_string())?;
        match left.iter().find(|entry| entry.name.starts_with("blob-")) {
            Some(entry) => Err(format!("'{}' was left behind", entry.name)),
            None => Ok(book),
        }
    }

    /// Nothing is on its way: a sweep leaves exactly what is needed.
    pub fn check_nothing_is_wasted(&self, store: &Store) -> Result<(), String> {
        let options = crate::retention::SweepOptions { grace_seconds: 0, dry_run: false };
        // A grace that runs is not shortened.
        self.clock.advance(std::time::Duration::from_secs(3600));
        for _ in 0..2 {
            crate::retention::sweep(store, options, &PrincipalRef::system("sweep"))
                .map_err(|error| error.to_string())?;
        }
        let held: BTreeSet<Digest> = shards()
            .map(|shard| store.blobs().list(&shard))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?
            .into_iter()
            .flatten()
            .map(|(digest, _)| digest)
            .collect();
        let needed = locked(&self.book).picture.needed();
        match (needed.difference(&held).next(), held.difference(&needed).next()) {
            (Some(lost), _) => Err(format!("'{lost}' was swept although it is needed")),
            // A link that was made before its manifest, in a repository whose manifest points there, is needed too.
            (None, Some(kept)) if self.is_pointed_at(kept) => Ok(()),
            (None, Some(kept)) => Err(format!("'{kept}' is needed by nobody and stays")),
            (None, None) => Ok(()),
        }
    }

    fn is_pointed_at(&self, digest: &Digest) -> bool {
        locked(&self.book).picture.manifests.values().any(|known| known.blobs.contains(digest))
    }
}
