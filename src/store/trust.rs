//! Which objects of trust there are, and which of their versions count.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::Store;
use super::error::StoreError;
use super::event::ObjectVersion;
use super::index::IndexError;
use super::rows::{ACTIVE_TRUST, ActiveRow, ObjectRow, Rows, from_json, key, scan_prefix, u64_at, update_row};
use crate::oci::digest::Digest;
use crate::verify::policy::ObjectName;
use crate::verify::tuf::Versions;

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    pub object: ObjectName,
    pub version: u64,
    /// SHA-256 of its text, which is at [`super::trust_object_path`].
    pub digest: Digest,
    pub source: String,
    /// Journal sequence of the event that added it.
    pub sequence: u64,
    pub added: jiff::Timestamp,
    pub active: bool,
    pub staged: bool,
}

/// What was accepted last of a repository of updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedUpdate {
    pub versions: Versions,
    /// SHA-256 of the root metadata; none before the first.
    pub root: Option<Digest>,
}

/// A version that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveObject {
    pub object: ObjectName,
    pub version: u64,
    pub digest: Digest,
    /// The version that counted before.
    pub previous: Option<u64>,
}

/// Every row under a letter, read by `read` from its key behind the letter and its value.
fn all<T>(
    rows: &dyn Rows,
    prefix: &[u8],
    read: impl Fn(&[u8], &[u8]) -> Result<T, IndexError>,
) -> Result<Vec<T>, IndexError> {
    let mut found = Ok(Vec::new());
    scan_prefix(rows, prefix, prefix, &mut |key, value| {
        let read = read(&key[prefix.len()..], value);
        match (&mut found, read) {
            (Ok(all), Ok(one)) => {
                all.push(one);
                ControlFlow::Continue(())
            }
            (_, Err(error)) => {
                found = Err(error);
                ControlFlow::Break(())
            }
            (Err(_), Ok(_)) => ControlFlow::Break(()),
        }
    })?;
    found
}

fn object(name: &[u8]) -> Result<ObjectName, IndexError> {
    std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(IndexError::Row("object"))
}

fn active(rows: &dyn Rows) -> Result<Vec<ActiveObject>, IndexError> {
    all(rows, &key::active_objects(), |name, value| {
        let ActiveRow { version, digest, previous } = from_json(value, "active object")?;
        Ok(ActiveObject { object: object(name)?, version, digest, previous })
    })
}

fn staged(rows: &dyn Rows) -> Result<Vec<ObjectVersion>, IndexError> {
    all(rows, &key::staged_objects(), |name, value| {
        Ok(ObjectVersion { object: object(name)?, version: u64_at(value, 0, "staged object")? })
    })
}

/// What was accepted last of a repository of updates.
pub fn accepted_update(rows: &dyn Rows, name: &str) -> Result<Option<AcceptedUpdate>, IndexError> {
    rows.row(&key::single(&update_row(name)))?.map(|value| from_json(&value, "trust update")).transpose()
}

impl Store {
    /// What was accepted last of a repository of updates; none where none of it was.
    pub fn accepted_update(&self, name: &str) -> Result<Option<AcceptedUpdate>, StoreError> {
        self.shared.state.look(|rows| accepted_update(rows, name))
    }

    /// Every version of every object, in order.
    pub fn trust_objects(&self) -> Result<Vec<ObjectRecord>, StoreError> {
        self.shared.state.look(|rows| {
            let active: BTreeMap<_, _> =
                active(rows)?.into_iter().map(|active| (active.object, active.version)).collect();
            let staged: BTreeMap<_, _> =
                staged(rows)?.into_iter().map(|staged| (staged.object, staged.version)).collect();
            all(rows, &key::objects(), |rest, value| {
                let (object, version) = key::split_object_version(rest).ok_or(IndexError::Row("object"))?;
                let ObjectRow { digest, source, sequence, added } = from_json(value, "object")?;
                let (active, staged) = (active.get(&object) == Some(&version), staged.get(&object) == Some(&version));
                Ok(ObjectRecord { object, version, digest, source, sequence, added, active, staged })
            })
        })
    }

    /// Those that count.
    pub fn active_objects(&self) -> Result<Vec<ActiveObject>, StoreError> {
        self.shared.state.look(active)
    }

    /// Those that are to count next.
    pub fn staged_objects(&self) -> Result<Vec<ObjectVersion>, StoreError> {
        self.shared.state.look(staged)
    }

    /// Journal sequence of the last activation; 0 before the first. Whoever has read what counts need not read it again
    /// until this is another.
    pub fn trust_sequence(&self) -> Result<u64, StoreError> {
        self.shared.state.look(|rows| {
            let row = rows.row(&key::single(ACTIVE_TRUST))?;
            row.map_or(Ok(0), |value| u64_at(&value, 0, "active trust"))
        })
    }
}
