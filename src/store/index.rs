//! The index: rows made from the journal, for looking things up. The only user of sled.
//!
//! It may be deleted at any time. It carries the position that it has applied, in the same batch as the rows, and is
//! synced after every batch: sled's `flush` on Linux only starts the write-back, so our own descriptor of its file is
//! synced behind it. sled may panic on a damaged file; opening it is caught, and what cannot be used is made anew.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::journal::Place;
use super::pages::{self, BoundedPage, Mutation, PageError};
use super::record::Position;
use super::rows::{Rows, Visit};
use crate::sys::dir::{Create, Dir, DirError, File};

/// Version of rows and pages together. Another version is made anew from the journal.
pub const ROWS_VERSION: u32 = 3;
const META_KEY: &[u8] = &[0];
const PAGE_PREFIX: u8 = 1;
/// sled gives up its lock a moment after it is dropped.
const LOCK_ATTEMPTS_COUNT: u32 = 200;
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_millis(10);

/// The index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("the index's file cannot be used")]
    Sled(#[from] sled::Error),
    #[error("the index's file makes its library panic")]
    Panic,
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("a row of the index ({0}) is not readable: make it anew with 'postern store rebuild'")]
    Row(&'static str),
    #[error("the index is of version {0}")]
    Version(u32),
    #[error("the index does not hold what it says it holds")]
    Mismatch,
    #[error("the index's file cannot be synced")]
    Sync(#[source] std::io::Error),
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// What the index says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub version: u32,
    /// What it has applied; none before the first batch.
    pub position: Option<Position>,
    /// The journal's frame that ends there.
    pub place: Option<Place>,
    pub rows_count: u64,
    pub pages_count: u64,
    /// Sum of the CRC-32 of every page with its key.
    pub pages_sum: u64,
}

impl Meta {
    const EMPTY: Self =
        Self { version: ROWS_VERSION, position: None, place: None, rows_count: 0, pages_count: 0, pages_sum: 0 };
}

/// An open index.
#[derive(Debug)]
pub struct Index {
    backend: Backend,
    meta: Mutex<Meta>,
}

enum Backend {
    Sled {
        database: sled::Db,
        file: Arc<dyn File>,
    },
    /// In a simulation, which has no real path to give to sled.
    Memory(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>),
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Sled { .. }) { "sled" } else { "memory" })
    }
}

fn sum_of(key: &[u8], page: &[u8]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(page);
    u64::from(hasher.finalize())
}

fn page_key(bound: &[u8]) -> Vec<u8> {
    [&[PAGE_PREFIX], bound].concat()
}

/// Opens sled, which may panic on a damaged file, and may still hold its own lock after an earlier use.
fn open_sled(path: &std::path::Path, cache_bytes: u64) -> Result<sled::Db, IndexError> {
    let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
    let mut attempts = 0;
    loop {
        #[expect(clippy::disallowed_methods, reason = "this module is the owner of sled")]
        let opened = catch_unwind(AssertUnwindSafe(|| config.open())).map_err(|_| IndexError::Panic)?;
        match opened {
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") && attempts < LOCK_ATTEMPTS_COUNT => {
                attempts += 1;
                std::thread::sleep(LOCK_WAIT);
            }
            opened => return Ok(opened?),
        }
    }
}

impl Index {
    /// Opens the index in `path` of `dir`, or makes an empty one. In a simulation it is always empty.
    pub fn open(dir: &dyn Dir, path: &str, cache_bytes: u64) -> Result<Self, IndexError> {
        let Some(real) = dir.real_path(path) else {
            return Ok(Self { backend: Backend::Memory(RwLock::default()), meta: Mutex::new(Meta::EMPTY) });
        };
        let database = open_sled(&real, cache_bytes)?;
        let file = dir.open_write(&format!("{path}/db"), Create::Existing)?;
        let read = catch_unwind(AssertUnwindSafe(|| database.get(META_KEY))).map_err(|_| IndexError::Panic)??;
        let meta = match read {
            None if database.is_empty() => Meta::EMPTY,
            None => return Err(IndexError::Mismatch),
            Some(value) => serde_json::from_slice(&value).map_err(|_| IndexError::Row("meta"))?,
        };
        if meta.version != ROWS_VERSION {
            return Err(IndexError::Version(meta.version));
        }
        Ok(Self { backend: Backend::Sled { database, file }, meta: Mutex::new(meta) })
    }

    /// What it says of itself.
    pub fn meta(&self) -> Meta {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts and sums every page: after an unclean end, the index must hold what it says it holds.
    pub fn check(&self) -> Result<(), IndexError> {
        let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<Meta, IndexError> {
            let mut counted = Meta { rows_count: 0, pages_count: 0, pages_sum: 0, ..self.meta() };
            let mut bound = None;
            while let Some((key, page)) = self.page_after(bound.as_deref())? {
                counted.pages_count += 1;
                counted.rows_count += pages::decode(&page)?.len() as u64;
                counted.pages_sum = counted.pages_sum.wrapping_add(sum_of(&page_key(&key), &page));
                bound = Some(key);
            }
            Ok(counted)
        }));
        let counted = outcome.map_err(|_| IndexError::Panic)??;
        if counted == self.meta() { Ok(()) } else { Err(IndexError::Mismatch) }
    }

    /// The page that would hold `key`, with its bound.
    fn page_of(&self, key: &[u8]) -> Result<Option<BoundedPage>, IndexError> {
        let range = (Bound::Included(vec![PAGE_PREFIX]), Bound::Included(page_key(key)));
        Ok(match &self.backend {
            Backend::Sled { database, .. } => match database.range(range).next_back() {
                Some(found) => found.map(|(key, page)| Some((key[1..].to_vec(), page.to_vec())))?,
                None => None,
            },
            Backend::Memory(rows) => {
                let rows = rows.read().unwrap_or_else(PoisonError::into_inner);
                rows.range(range).next_back().map(|(key, page)| (key[1..].to_vec(), page.clone()))
            }
        })
    }

    /// The page with the least bound above `bound`; the first of all without one.
    fn page_after(&self, bound: Option<&[u8]>) -> Result<Option<BoundedPage>, IndexError> {
        let from = bound.map_or(Bound::Included(vec![PAGE_PREFIX]), |bound| Bound::Excluded(page_key(bound)));
        let range = (from, Bound::Excluded(vec![PAGE_PREFIX + 1]));
        Ok(match &self.backend {
            Backend::Sled { database, .. } => match database.range(range).next() {
                Some(found) => found.map(|(key, page)| Some((key[1..].to_vec(), page.to_vec())))?,
                None => None,
            },
            Backend::Memory(rows) => {
                let rows = rows.read().unwrap_or_else(PoisonError::into_inner);
                rows.range(range).next().map(|(key, page)| (key[1..].to_vec(), page.clone()))
            }
        })
    }

    /// Applies rows, which are in order, and makes the index say that it stands at `position`. All or nothing.
    pub fn apply(
        &self,
        mutations: impl Iterator<Item = Mutation>,
        position: &Position,
        place: &Place,
    ) -> Result<(), IndexError> {
        let mut meta = Meta { position: Some(position.clone()), place: Some(place.clone()), ..self.meta() };
        let mut writes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let mut mutations = mutations.peekable();
        while let Some(first) = mutations.next() {
            let (bound, page) = match self.page_of(&first.0)? {
                Some((bound, page)) => (bound, Some(page)),
                None => (Vec::new(), None),
            };
            let next_bound = self.page_after(page.as_ref().map(|_| bound.as_slice()))?.map(|(next, _)| next);
            let mut together = vec![first];
            let belongs = |key: &Vec<u8>| next_bound.as_ref().is_none_or(|next| key < next);
            while let Some(mutation) = mutations.next_if(|(key, _)| belongs(key)) {
                together.push(mutation);
            }
            let rewritten = pages::rewrite(&bound, page.as_deref(), &together)?;
            meta.rows_count = meta.rows_count.saturating_add_signed(rewritten.rows_added);
            let key = page_key(&bound);
            if let Some(page) = page {
                meta.pages_count -= 1;
                meta.pages_sum = meta.pages_sum.wrapping_sub(sum_of(&key, &page));
                if rewritten.pages.is_empty() {
                    writes.push((key, None));
                }
            }
            for (bound, page) in rewritten.pages {
                let key = page_key(&bound);
                meta.pages_count += 1;
                meta.pages_sum = meta.pages_sum.wrapping_add(sum_of(&key, &page));
                writes.push((key, Some(page)));
            }
        }
        writes.push((META_KEY.to_vec(), Some(serde_json::to_vec(&meta).map_err(|_| IndexError::Row("meta"))?)));
        self.write(writes)?;
        *self.meta.lock().unwrap_or_else(PoisonError::into_inner) = meta;
        Ok(())
    }

    fn write(&self, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), IndexError> {
        match &self.backend {
            Backend::Sled { database, .. } => {
                let mut batch = sled::Batch::default();
                for (key, value) in writes {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                database.apply_batch(batch)?;
            }
            Backend::Memory(rows) => {
                let mut rows = rows.write().unwrap_or_else(PoisonError::into_inner);
                for (key, value) in writes {
                    match value {
                        Some(value) => rows.insert(key, value),
                        None => rows.remove(&key),
                    };
                }
            }
        }
        Ok(())
    }

    /// Makes everything applied so far durable. Called after every batch, before the next one.
    pub fn flush(&self) -> Result<(), IndexError> {
        if let Backend::Sled { database, file } = &self.backend {
            database.flush()?;
            file.sync_data().map_err(IndexError::Sync)?;
        }
        Ok(())
    }
}

impl Rows for Index {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.page_of(key)? {
            Some((_, page)) => Ok(pages::find(&page, key)?),
            None => Ok(None),
        }
    }

    fn scan(&self, from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
        let mut next = match self.page_of(from)? {
            Some(page) => Some(page),
            None => self.page_after(None)?,
        };
        // A page split between two steps shows its second half again: rows that were shown are passed over.
        let mut shown: Option<Vec<u8>> = None;
        while let Some((bound, page)) = next {
            for (key, value) in pages::decode(&page)? {
                if key.as_slice() < from || shown.as_ref().is_some_and(|shown| key <= *shown) {
                    continue;
                }
                if visit(&key, &value).is_break() {
                    return Ok(());
                }
                shown = Some(key);
            }
            next = self.page_after(Some(&bound))?;
        }
        Ok(())
    }
}
