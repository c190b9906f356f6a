//! The rows of the index: their keys, their values, and how they are looked at. Pure.
//!
//! ```text
//! M  repository 0 digest                      an admitted manifest
//! B  repository 0 digest 0                    the repository holds this blob
//! B  repository 0 digest 1 parent             a manifest of the repository points at it
//! E  repository 0 digest chunk                what a manifest points at, in chunks
//! T  repository 0 tag                         what a tag points at
//! U  repository 0 digest tag                  the same, the other way round
//! S  repository 0 subject digest              a manifest that speaks of another
//! F  repository 0 reference                   what was last refused
//! V  repository 0 digest                      a manifest that is here and is served no more: the rule
//! G  repository 0 digest                      a manifest that was pushed and waits to be let in
//! W  sender 0 series                          high-water mark of imports
//! X  receiver 0 series                        last sequence of exports
//! D  device role chunk                        an enrolled device; its identity file in chunks after 0
//! C  digest                                   condemned, since when and for how long
//! O  object 0 version                         a version of an object of trust
//! K  object                                   the version of it that counts
//! H  object                                   the version of it that is to count next
//! A  name                                     what there is one of
//! ```
//!
//! Links and parents of a blob lie side by side, so that a publication touches few pages. Numbers in keys are
//! big-endian, those in values too. No row says how often something is used: edges are rows, so that applying an event
//! twice is harmless.

pub mod key;
mod value;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

pub use key::split_repository;
pub use value::{
    ActiveRow, CondemnedRow, DeviceRow, LinkRow, ManifestRow, ObjectRow, ParentRow, RefusalRow, StagedRow, WaitingRow,
    decode_edges, digest_in, encode_edges, from_json, time_floor, time_waiting, to_json, u64_at,
};

use super::index::IndexError;
use super::pages::Mutation;

pub const MANIFESTS: u8 = b'M';
pub const BLOBS: u8 = b'B';
const EDGES: u8 = b'E';
pub const TAGS: u8 = b'T';
const TAGS_OF: u8 = b'U';
const REFERRERS: u8 = b'S';
const REFUSALS: u8 = b'F';
const STANDING: u8 = b'V';
pub const STAGED: u8 = b'G';
const HIGH_WATER: u8 = b'W';
const EXPORTS: u8 = b'X';
pub const DEVICES: u8 = b'D';
pub const CONDEMNED: u8 = b'C';
const OBJECTS: u8 = b'O';
const ACTIVE_OBJECTS: u8 = b'K';
const STAGED_OBJECTS: u8 = b'H';
const SINGLES: u8 = b'A';

/// The name of the policy in force.
pub const ACTIVE_POLICY: &str = "active_policy";
/// The policy under which everything was judged last.
pub const REVIEWED_POLICY: &str = "reviewed_policy";
/// The event that last changed which objects of trust count.
pub const ACTIVE_TRUST: &str = "active_trust";
/// A time ahead of it that waits for an operator.
pub const TIME_WAITING: &str = "time_waiting";
/// What was accepted last of a repository of updates.
pub fn update_row(name: &str) -> String {
    format!("trust_update/{name}")
}

/// The document of projects, principals and their rights.
pub const ACTIVE_ACCESS: &str = "active_access";
/// The floor of trusted time.
pub const TIME_FLOOR: &str = "time_floor";
/// Children that one row of `E` lists: well within a row, whatever their algorithm.
pub const EDGES_IN_CHUNK_COUNT: usize = 64;
/// Bytes of an identity file in one row of `D`.
pub const IDENTITY_IN_CHUNK_BYTES: usize = 4096;

/// Looks at a row, and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Rows in order, with a way to look at them.
pub trait Rows {
    /// The value of one row.
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;
    /// Shows rows in order, from `from` on, until `visit` breaks.
    fn scan(&self, from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError>;
}

/// Shows the rows whose keys begin with `prefix`, in order, from `from` on where that is later.
pub fn scan_prefix(rows: &dyn Rows, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
    rows.scan(from.max(prefix), &mut |key, value| {
        if key.starts_with(prefix) { visit(key, value) } else { ControlFlow::Break(()) }
    })
}

/// Whether any row begins with `prefix`.
pub fn any(rows: &dyn Rows, prefix: &[u8]) -> Result<bool, IndexError> {
    let mut found = false;
    scan_prefix(rows, prefix, prefix, &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Rows that are newer than those below them; `None` is a removed row.
#[derive(Debug, Default)]
pub struct Overlay {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Overlay {
    /// Takes in newer rows.
    pub fn extend(&mut self, mutations: impl IntoIterator<Item = Mutation>) {
        for (key, value) in mutations {
            self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            self.rows.insert(key, value);
        }
    }

    /// About how much memory it takes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    /// Its rows, in order.
    pub fn mutations(&self) -> impl Iterator<Item = Mutation> + '_ {
        self.rows.iter().map(|(key, value)| (key.clone(), value.clone()))
    }

    /// Its rows, in order, taken out.
    pub fn into_mutations(self) -> impl Iterator<Item = Mutation> {
        self.rows.into_iter()
    }
}

/// Rows seen through newer ones.
pub struct Layered<'a> {
    pub top: &'a Overlay,
    pub base: &'a dyn Rows,
}

impl Rows for Layered<'_> {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.top.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.row(key),
        }
    }

    fn scan(&self, from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
        let newer = (Bound::Included(from), Bound::Unbounded);
        let mut newer = self.top.rows.range::<[u8], _>(newer).peekable();
        let mut flow = ControlFlow::Continue(());
        let mut show = |key: &[u8], value: &Option<Vec<u8>>| {
            value.as_ref().map_or(ControlFlow::Continue(()), |value| visit(key, value))
        };
        self.base.scan(from, &mut |key, value| {
            while let Some((newer_key, newer_value)) = newer.next_if(|(newer_key, _)| newer_key.as_slice() < key) {
                flow = show(newer_key, newer_value);
                flow?;
            }
            flow = match newer.next_if(|(newer_key, _)| newer_key.as_slice() == key) {
                Some((_, newer_value)) => show(key, newer_value),
                None => show(key, &Some(value.to_vec())),
            };
            flow
        })?;
        for (key, value) in newer {
            if flow.is_break() {
                break;
            }
            flow = show(key, value);
        }
        Ok(())
    }
}
