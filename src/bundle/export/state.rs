//! What an export keeps so that it can go on: `uploads/export-<key>/`, one for each thing that was asked for.
//!
//! ```text
//! uploads/export-<key>/set.json    the table
//! uploads/export-<key>/seal.json   the seal over it
//! uploads/export-<key>/sealed      empty; written after the sequence number was journalled
//! ```

use super::{ExportError, SealedSet};
use crate::bundle::plan::{ExportPlan, chunk_bytes};
use crate::limits::{SEAL_BYTES_MAX, SET_TABLE_BYTES_MAX};
use crate::oci::digest::Digest;
use crate::store::Store;
use crate::sys::dir::{DirError, read_bounded, replace};
use crate::sys::keys::KeyRing;

const TABLE_FILE: &str = "set.json";
const SEAL_FILE: &str = "seal.json";
const SEALED_FILE: &str = "sealed";

pub(super) struct State {
    name: String,
}

impl State {
    /// The place for what `plan` asks for. The same images with other content, or for another receiver, have another one;
    /// so have other bytes of the same content, as a newer compressor makes them.
    pub(super) fn of(_store: &Store, plan: &ExportPlan) -> Self {
        let request = &plan.request;
        let needs: Vec<_> = plan.closure.needs.iter().map(|(digest, need)| (digest, &need.manifest)).collect();
        let mut images = plan.closure.images.clone();
        images.sort();
        let key = serde_json::json!({
            "chunk_bytes": chunk_bytes(request.volume_bytes_max),
            "compressor": zstd::zstd_safe::version_number(),
            "images": images,
            "needs": needs,
            "receiver": request.receiver,
            "series": request.series,
            "volume_bytes_max": request.volume_bytes_max,
        });
        Self { name: format!("export-{}", &Digest::of(key.to_string().as_bytes()).hex()[..32]) }
    }

    fn path(&self, file: &str) -> String {
        format!("uploads/{}/{file}", self.name)
    }

    /// The set that was sealed for this and is still the last of its series; what is left of others is removed.
    pub(super) fn load(
        &self,
        store: &Store,
        keys: &KeyRing,
        plan: &ExportPlan,
    ) -> Result<Option<SealedSet>, ExportError> {
        let dir = store.dir().as_ref();
        if dir.stat(&self.path(SEALED_FILE)).map_err(ExportError::State)?.is_none() {
            self.discard(store)?;
            return Ok(None);
        }
        let table = read_bounded(dir, &self.path(TABLE_FILE), SET_TABLE_BYTES_MAX).map_err(ExportError::State)?;
        let seal = read_bounded(dir, &self.path(SEAL_FILE), SEAL_BYTES_MAX).map_err(ExportError::State)?;
        let damaged = |source| ExportError::StateDamaged { name: self.name.clone(), source };
        let sealed = SealedSet::restore(keys, seal, table)
            .map_err(|error| damaged(Some(error)))?
            .ok_or_else(|| damaged(None))?;
        let next = store.next_export_sequence(&plan.request.receiver, &plan.request.series)?;
        if sealed.seal.sequence + 1 != next {
            // A later set was sealed since: the receiver would refuse this one as too old.
            self.discard(store)?;
            return Ok(None);
        }
        Ok(Some(sealed))
    }

    fn discard(&self, store: &Store) -> Result<(), ExportError> {
        store.dir().remove_tree(&format!("uploads/{}", self.name)).map_err(ExportError::State)
    }

    /// Keeps a sealed set, before its sequence number is journalled.
    pub(super) fn save(&self, store: &Store, sealed: &SealedSet) -> Result<(), ExportError> {
        let dir = store.dir().as_ref();
        let save = || -> Result<(), DirError> {
            dir.create_dir_all(&format!("uploads/{}", self.name))?;
            replace(dir, &self.path(TABLE_FILE), &sealed.table_bytes)?;
            replace(dir, &self.path(SEAL_FILE), &sealed.seal_bytes)?;
            dir.sync_dir("uploads")
        };
        save().map_err(ExportError::State)
    }

    /// Notes that the journal has the sequence number. Without this mark the state is given up, and the number with it.
    pub(super) fn mark_sealed(&self, store: &Store) -> Result<(), ExportError> {
        replace(store.dir().as_ref(), &self.path(SEALED_FILE), b"").map_err(ExportError::State)
    }
}
