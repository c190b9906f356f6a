//! Whether a change of the objects of trust fits.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{Decided, StoreError, View, from_json, index, key, layout, scan_prefix, short};
use crate::limits::{JOURNAL_TEXT_BYTES_MAX, TRUST_OBJECTS_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::store::error::{CommitError, Conflict};
use crate::store::event::{ActivatedObject, Body, ObjectVersion};
use crate::store::rows::{ActiveRow, ObjectRow};
use crate::store::trust::accepted_update;
use crate::verify::policy::ObjectName;
use crate::verify::tuf::Versions;

impl View<'_> {
    pub(super) fn add_object(&self, object: ObjectName, digest: Digest, source: String) -> Decided {
        short("source", &source, JOURNAL_TEXT_BYTES_MAX)?;
        if self.dir.stat(&layout::trust_object_path(&digest)).map_err(StoreError::from)?.is_none() {
            return Err(Conflict::ObjectMissing { object: object.to_string(), digest }.into());
        }
        let newest = self.newest_version(&object)?;
        if newest.as_ref().is_some_and(|(_, row)| row.digest == digest) {
            return Ok(None);
        }
        if newest.is_none() && self.objects_count()? >= TRUST_OBJECTS_COUNT_MAX {
            return Err(Conflict::TooManyObjects.into());
        }
        let version = newest.map_or(0, |(version, _)| version) + 1;
        Ok(Some(Body::TrustObjectAdded { object, version, digest, source }))
    }

    pub(super) fn check_update(
        &self,
        name: &str,
        versions: &Versions,
        reason: Option<&str>,
    ) -> Result<(), CommitError> {
        short("name", name, JOURNAL_TEXT_BYTES_MAX)?;
        short("reason", reason.unwrap_or_default(), JOURNAL_TEXT_BYTES_MAX)?;
        let known = accepted_update(self.rows, name).map_err(index)?.unwrap_or_default().versions;
        if versions.root < known.root {
            return Err(
                Conflict::UpdateTooOld { name: name.to_owned(), known: known.root, offered: versions.root }.into()
            );
        }
        Ok(())
    }

    pub(super) fn stage_objects(&self, objects: Vec<ObjectVersion>) -> Decided {
        for staged in &objects {
            self.version(staged)?;
        }
        Ok(Some(Body::TrustStaged { objects }))
    }

    pub(super) fn activate_objects(&self, objects: Vec<(ObjectVersion, Option<u64>)>, reason: String) -> Decided {
        short("reason", &reason, JOURNAL_TEXT_BYTES_MAX)?;
        let mut activated = Vec::with_capacity(objects.len());
        for (wanted, expected) in objects {
            let digest = self.version(&wanted)?.digest;
            let row = self.rows.row(&key::active_object(&wanted.object)).map_err(index)?;
            let row: Option<ActiveRow> =
                row.map(|value| from_json(&value, "active object")).transpose().map_err(index)?;
            let previous = row.map(|row| row.version);
            if previous != expected {
                return Err(Conflict::ObjectChanged(wanted.object.to_string()).into());
            }
            if previous != Some(wanted.version) {
                let ObjectVersion { object, version } = wanted;
                activated.push(ActivatedObject { object, version, digest, previous });
            }
        }
        Ok((!activated.is_empty()).then_some(Body::TrustActivated { objects: activated, reason }))
    }

    fn version(&self, wanted: &ObjectVersion) -> Result<ObjectRow, CommitError> {
        let row = self.rows.row(&key::object_version(&wanted.object, wanted.version)).map_err(index)?;
        let Some(row) = row else {
            let (object, version) = (wanted.object.to_string(), wanted.version);
            return Err(Conflict::ObjectUnknown { object, version }.into());
        };
        from_json(&row, "object").map_err(index)
    }

    fn newest_version(&self, object: &ObjectName) -> Result<Option<(u64, ObjectRow)>, CommitError> {
        let prefix = key::object_versions(object);
        let mut newest = None;
        scan_prefix(self.rows, &prefix, &prefix, &mut |key, value| {
            newest = Some((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .map_err(index)?;
        let Some((key, value)) = newest else { return Ok(None) };
        let version = key::split_object_version(&key[1..]).map_or(0, |(_, version)| version);
        Ok(Some((version, from_json(&value, "object").map_err(index)?)))
    }

    fn objects_count(&self) -> Result<usize, CommitError> {
        let prefix = key::objects();
        let mut names = BTreeSet::new();
        scan_prefix(self.rows, &prefix, &prefix, &mut |key, _| {
            names.extend(key::split_object_version(&key[1..]).map(|(object, _)| object));
            ControlFlow::Continue(())
        })
        .map_err(index)?;
        Ok(names.len())
    }
}
