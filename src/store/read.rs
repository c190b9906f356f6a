//! What can be asked of an open store. Answers are consistent in themselves; two questions may see two states.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::apply::edges_of;
use super::blobs::BlobError;
use super::index::IndexError;
use super::layout::{Shard, shards};
use super::record::{
    BlobLink, ChildRecord, Condemned, DeviceRecord, ImportMark, ManifestRecord, RefusalRecord, Unreferenced,
};
use super::rows::{
    ACTIVE_ACCESS, ACTIVE_POLICY, BLOBS, CONDEMNED, CondemnedRow, DEVICES, DeviceRow, LinkRow, MANIFESTS, ManifestRow,
    ParentRow, REVIEWED_POLICY, RefusalRow, Rows, digest_in, from_json, key, scan_prefix, split_repository,
    time_waiting, u64_at,
};
use super::state::locked;
use super::{LinkVia, Store, StoreError, reach};
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::EdgeKind;
use crate::oci::name::{Reference, RepositoryName, Tag};

/// Files looked at in one walk over all links.
const ORPHANS_WALK_COUNT: usize = 50_000;

/// Collects what `take` makes of the rows with `prefix` behind `after`, `limit` at the most.
fn collect<T>(
    rows: &dyn Rows,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, IndexError>,
) -> Result<Vec<T>, IndexError> {
    let mut found = Vec::new();
    let mut outcome = Ok(());
    if limit == 0 {
        return Ok(found);
    }
    scan_prefix(rows, prefix, after.as_deref().unwrap_or(prefix), &mut |key, value| {
        if after.as_deref() == Some(key) {
            return ControlFlow::Continue(());
        }
        match take(&key[prefix.len()..], value) {
            Ok(taken) => found.extend(taken),
            Err(error) => outcome = Err(error),
        }
        if outcome.is_err() || found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    outcome.map(|()| found)
}

/// The first repository after `after` with a row in a collection: one step over all rows of `after`.
fn next_repository(
    rows: &dyn Rows,
    collection: u8,
    after: Option<&RepositoryName>,
) -> Result<Option<RepositoryName>, IndexError> {
    let prefix = [collection];
    let from = after.map_or_else(|| prefix.to_vec(), |after| key::behind_repository(collection, after));
    let mut next = None;
    scan_prefix(rows, &prefix, &from, &mut |key, _| {
        next = split_repository(key).map(|(repository, _)| repository);
        ControlFlow::Break(())
    })?;
    Ok(next)
}

fn text<T: std::str::FromStr>(bytes: &[u8], what: &'static str) -> Result<T, IndexError> {
    let text = std::str::from_utf8(bytes).map_err(|_| IndexError::Row(what))?;
    text.parse().map_err(|_| IndexError::Row(what))
}

fn record(digest: Digest, value: &[u8]) -> Result<ManifestRecord, IndexError> {
    let row: ManifestRow = from_json(value, "manifest")?;
    Ok(ManifestRecord {
        digest,
        media_type: row.media_type,
        size_bytes: row.size_bytes,
        artifact_type: row.artifact_type,
        subject: row.subject,
        sparse: row.sparse,
        origin: row.origin,
        sequence: row.sequence,
    })
}

fn manifest(
    rows: &dyn Rows,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<ManifestRecord>, IndexError> {
    rows.row(&key::manifest(repository, digest))?.map(|value| record(*digest, &value)).transpose()
}

fn devices(rows: &dyn Rows) -> Result<Vec<DeviceRecord>, IndexError> {
    let mut devices: Vec<DeviceRecord> = Vec::new();
    collect(rows, &[DEVICES], None, usize::MAX, |key, value| {
        let chunk = key.len().checked_sub(2).map(|at| &key[at..]);
        if chunk == Some(&[0, 0]) {
            let row: DeviceRow = from_json(value, "device")?;
            devices.push(DeviceRecord {
                device_id: row.device_id,
                name: row.name,
                role: row.role,
                identity_digest: Digest::of(b""),
                identity: Vec::new(),
                sequence: row.sequence,
            });
        } else if let Some(device) = devices.last_mut() {
            device.identity.extend_from_slice(value);
        }
        Ok(None::<()>)
    })?;
    for device in &mut devices {
        device.identity_digest = Digest::of(&device.identity);
    }
    Ok(devices)
}

impl Store {
    /// Repositories after `after` that hold at least one manifest, in order.
    pub fn repositories(
        &self,
        after: Option<&RepositoryName>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.shared.state.look(|rows| {
            let mut found: Vec<RepositoryName> = Vec::new();
            while found.len() < limit
                && let Some(next) = next_repository(rows, MANIFESTS, found.last().or(after))?
            {
                found.push(next);
            }
            Ok(found)
        })
    }

    /// Tags after `after`, in order of their bytes, and what each points at.
    pub fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<(Tag, Digest)>, StoreError> {
        let after = after.map(|tag| key::tag(repository, tag.as_str()));
        self.shared.state.look(|rows| {
            collect(rows, &key::tags(repository), after, limit, |tag, value| {
                Ok(Some((text(tag, "tag")?, digest_in(value, "tag")?)))
            })
        })
    }

    /// What a tag points at.
    pub fn resolve(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, StoreError> {
        self.shared.state.look(|rows| {
            rows.row(&key::tag(repository, tag.as_str()))?.map(|value| digest_in(&value, "tag")).transpose()
        })
    }

    /// The tags that point at a manifest, in order, `limit` at the most.
    pub fn tags_of(&self, repository: &RepositoryName, digest: &Digest, limit: usize) -> Result<Vec<Tag>, StoreError> {
        self.shared.state.look(|rows| {
            collect(rows, &key::tags_of(repository, digest), None, limit, |tag, _| text(tag, "tag").map(Some))
        })
    }

    /// An admitted manifest of a repository.
    pub fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<ManifestRecord>, StoreError> {
        self.shared.state.look(|rows| manifest(rows, repository, digest))
    }

    /// Admitted manifests after `after`, in order of their digests.
    pub fn manifests(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ManifestRecord>, StoreError> {
        let after = after.map(|digest| key::manifest(repository, digest));
        self.shared.state.look(|rows| {
            collect(rows, &key::manifests(repository), after, limit, |digest, value| {
                record(digest_in(digest, "manifest")?, value).map(Some)
            })
        })
    }

    /// Admitted manifests whose subject is `subject`, which may itself be absent.
    pub fn referrers(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<ManifestRecord>, StoreError> {
        self.shared.state.look(|rows| {
            collect(rows, &key::referrers(repository, subject), None, usize::MAX, |digest, _| {
                manifest(rows, repository, &digest_in(digest, "referrer")?)
            })
        })
    }

    /// The same after `after`, in order of their digests, `limit` at the most.
    pub fn referrers_page(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ManifestRecord>, StoreError> {
        let after = after.map(|digest| key::referrer(repository, subject, digest));
        self.shared.state.look(|rows| {
            collect(rows, &key::referrers(repository, subject), after, limit, |digest, _| {
                manifest(rows, repository, &digest_in(digest, "referrer")?)
            })
        })
    }

    /// What an admitted manifest points at, without its subject.
    pub fn children(&self, repository: &RepositoryName, parent: &Digest) -> Result<Vec<ChildRecord>, StoreError> {
        self.shared.state.look(|rows| {
            let mut children = Vec::new();
            for (kind, digest) in edges_of(rows, repository, parent)? {
                let row = match kind {
                    EdgeKind::Manifest => key::manifest(repository, &digest),
                    EdgeKind::Blob => key::link(repository, &digest),
                };
                children.push(ChildRecord { digest, kind, present: rows.row(&row)?.is_some() });
            }
            Ok(children)
        })
    }

    /// Admitted manifests that point at `digest`, other than as their subject.
    pub fn parents(&self, repository: &RepositoryName, digest: &Digest) -> Result<Vec<Digest>, StoreError> {
        let all = self.parents_page(repository, digest, None, usize::MAX)?;
        Ok(all.into_iter().map(|(parent, _)| parent).collect())
    }

    /// The same after `after`, in order of their digests, `limit` at the most, and as what each lists it.
    pub fn parents_page(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, EdgeKind)>, StoreError> {
        let after = after.map(|after| key::parent(repository, digest, after));
        self.shared.state.look(|rows| {
            collect(rows, &key::parents(repository, digest), after, limit, |parent, value| {
                Ok(Some((digest_in(parent, "parent")?, ParentRow::decode(value)?.kind)))
            })
        })
    }

    /// A blob, if an admitted manifest of this repository points at it; otherwise it is the same as absent.
    pub fn blob_link(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobLink>, StoreError> {
        self.shared.state.look(|rows| {
            let mut parents = collect(rows, &key::parents(repository, digest), None, 1, |_, value| {
                Ok(Some(ParentRow::decode(value)?).filter(|row| row.kind == EdgeKind::Blob))
            })?;
            let Some(parent) = parents.pop() else { return Ok(None) };
            // What is here was measured when it was linked; what a manifest says of it is a claim, and anybody may make one.
            let link = rows.row(&key::link(repository, digest))?.map(|row| LinkRow::decode(&row)).transpose()?;
            let present = link.is_some();
            let size_bytes = link.map_or(parent.size_bytes, |link| link.size_bytes);
            let media_type = parent.media_type;
            Ok(Some(BlobLink { digest: *digest, size_bytes, media_type, present }))
        })
    }

    /// Length of a blob that this repository holds, whether or not an admitted manifest points at it yet. For whoever
    /// pushes; what readers see is [`Store::blob_link`].
    pub fn held_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.shared.state.look(|rows| {
            rows.row(&key::link(repository, digest))?.map(|row| Ok(LinkRow::decode(&row)?.size_bytes)).transpose()
        })
    }

    /// Length of a blob that somebody uploaded or mounted into this repository, whether or not an admitted manifest points at
    /// it yet. What a mirror or an import brought is not among them: that is seen once it is admitted, by everybody.
    pub fn uploaded_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.shared.state.look(|rows| {
            let link = rows.row(&key::link(repository, digest))?.map(|row| LinkRow::decode(&row)).transpose()?;
            let uploaded = link.filter(|link| matches!(link.via, LinkVia::Upload | LinkVia::Mount));
            Ok(uploaded.map(|link| link.size_bytes))
        })
    }

    /// Of the `looked_at` repositories after `after`, those that hold a blob; and the last of them, unless all were looked at.
    pub fn holders(
        &self,
        digest: &Digest,
        after: Option<&RepositoryName>,
        looked_at: usize,
    ) -> Result<(Vec<RepositoryName>, Option<RepositoryName>), StoreError> {
        self.shared.state.look(|rows| {
            let mut holders = Vec::new();
            let mut last = after.cloned();
            for _ in 0..looked_at {
                last = next_repository(rows, BLOBS, last.as_ref())?;
                let Some(repository) = &last else { break };
                if rows.row(&key::link(repository, digest))?.is_some() {
                    holders.push(repository.clone());
                }
            }
            Ok((holders, last))
        })
    }

    /// What was last refused under a tag or digest, if nothing was admitted under it since.
    pub fn refusal(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<RefusalRecord>, StoreError> {
        self.shared.state.look(|rows| {
            let row = rows.row(&key::refusal(repository, &reference.to_string()))?;
            row.map(|value| Ok(from_json::<RefusalRow>(&value, "refusal")?.into())).transpose()
        })
    }

    fn sequence(&self, row: &[u8]) -> Result<u64, StoreError> {
        self.shared.state.look(|rows| rows.row(row)?.map_or(Ok(0), |value| u64_at(&value, 0, "sequence")))
    }

    /// Sequence of the last set imported from `sender` in `series`; 0 before the first.
    pub fn high_water(&self, sender: &DeviceId, series: &str) -> Result<u64, StoreError> {
        self.sequence(&key::high_water(sender, series))
    }

    /// The newest set imported from `sender` in `series`.
    pub fn newest_import(&self, sender: &DeviceId, series: &str) -> Result<Option<ImportMark>, StoreError> {
        self.shared.state.look(|rows| {
            let Some(row) = rows.row(&key::high_water(sender, series))? else { return Ok(None) };
            let sequence = u64_at(&row, 0, "sequence")?;
            let table_digest = digest_in(row.get(8..).unwrap_or_default(), "table of a set")?;
            let policy = row.get(8 + table_digest.to_key().len()..).and_then(Digest::from_key);
            Ok(Some(ImportMark { sequence, table_digest, policy }))
        })
    }

    /// Journal sequence at which a tag came to point where it points.
    pub fn tag_moved_at(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<u64>, StoreError> {
        self.shared.state.look(|rows| {
            let Some(row) = rows.row(&key::tag(repository, tag.as_str()))? else { return Ok(None) };
            let target = digest_in(&row, "target of a tag")?;
            Ok(Some(u64_at(&row, target.to_key().len(), "sequence")?))
        })
    }

    /// Sequence that the next set for `receiver` in `series` gets; 1 at first.
    pub fn next_export_sequence(&self, receiver: &DeviceId, series: &str) -> Result<u64, StoreError> {
        Ok(self.sequence(&key::export(receiver, series))?.saturating_add(1))
    }

    /// Enrolled devices, in order of their ids.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, StoreError> {
        self.shared.state.look(devices)
    }

    /// Digest of the policy file in force; its bytes are at [`super::policy_path`].
    pub fn active_policy(&self) -> Result<Option<Digest>, StoreError> {
        self.shared
            .state
            .look(|rows| rows.row(&key::single(ACTIVE_POLICY))?.map(|value| digest_in(&value, "policy")).transpose())
    }

    /// Digest of the policy under which everything was judged last, if that was ever finished.
    pub fn reviewed_policy(&self) -> Result<Option<Digest>, StoreError> {
        self.shared.state.look(|rows| {
            rows.row(&key::single(REVIEWED_POLICY))?.map(|value| digest_in(&value, "reviewed policy")).transpose()
        })
    }

    /// The rule by which a manifest that is here was last seen to be served no more.
    pub fn unserved_by(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<String>, StoreError> {
        self.shared.state.look(|rows| {
            let row = rows.row(&key::standing(repository, digest))?;
            row.map(|rule| text(&rule, "standing")).transpose()
        })
    }

    /// A number that changes whenever something changes in `repository` that is served or speaks of what is served. Read
    /// before the repository is looked at, it tells afterwards whether what was seen still holds.
    pub fn changed_at(&self, repository: &RepositoryName) -> u64 {
        self.shared.state.changes.of(repository)
    }

    /// Digest of the access document in force; its bytes are at [`super::access_path`].
    pub fn active_access(&self) -> Result<Option<Digest>, StoreError> {
        self.shared
            .state
            .look(|rows| rows.row(&key::single(ACTIVE_ACCESS))?.map(|value| digest_in(&value, "access")).transpose())
    }

    /// The time before which it cannot be, from what was signed.
    pub fn time_floor(&self) -> jiff::Timestamp {
        *locked(&self.shared.state.time_floor)
    }

    /// A later time that something signed has said, and that waits for an operator; and on whose word.
    pub fn time_waiting(&self) -> Result<Option<(jiff::Timestamp, String)>, StoreError> {
        self.shared.state.look(|rows| Ok(time_waiting(rows)?.map(|waiting| (waiting.at, waiting.source))))
    }

    /// Content after `after` that repositories link but no admitted manifest needs.
    pub fn unreferenced(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Unreferenced>, StoreError> {
        let found = self.shared.state.look(|rows| reach::unreferenced(rows, after, limit))?;
        Ok(found.into_iter().map(|(digest, size_bytes)| Unreferenced { digest, size_bytes }).collect())
    }

    /// Files after `after` that no repository holds and nobody in this process is about to link, at least `limit` of
    /// them if there are so many.
    pub fn orphans(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Unreferenced>, StoreError> {
        let mut orphans = Vec::new();
        let mut files: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut remaining = shards().filter(|shard| after.is_none_or(|after| shard.reaches_behind(after))).peekable();
        while let Some(shard) = remaining.next() {
            files.extend(self.files_behind(&shard, after)?);
            if files.len() < ORPHANS_WALK_COUNT && remaining.peek().is_some() {
                continue;
            }
            let unowned = self.shared.state.look(|rows| reach::unowned(rows, std::mem::take(&mut files)))?;
            orphans.extend(unowned.into_iter().map(|(digest, size_bytes)| Unreferenced { digest, size_bytes }));
            if orphans.len() >= limit {
                break;
            }
        }
        Ok(orphans)
    }

    fn files_behind(&self, shard: &Shard, after: Option<&Digest>) -> Result<Vec<(Digest, u64)>, BlobError> {
        let blobs = self.blobs();
        let mut files = blobs.list(shard)?;
        files.retain(|(digest, _)| after.is_none_or(|after| digest > after) && !blobs.is_fresh(digest));
        Ok(files)
    }

    /// Content after `after` whose grace has begun.
    pub fn condemned(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Condemned>, StoreError> {
        let running_seconds = self.running_seconds();
        self.shared.state.look(|rows| {
            collect(rows, &[CONDEMNED], after.map(key::condemned), limit, |digest, value| {
                let grace_seconds_left = CondemnedRow::decode(value)?.seconds_left(running_seconds);
                Ok(Some(Condemned { digest: digest_in(digest, "condemned")?, grace_seconds_left }))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{IndexError, Rows, collect, key, next_repository, text};
    use crate::oci::digest::Digest;
    use crate::oci::name::{RepositoryName, Tag};
    use crate::store::rows::{Layered, MANIFESTS, Overlay, Visit};

    struct Nothing;

    impl Rows for Nothing {
        fn row(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
            Ok(None)
        }

        fn scan(&self, _from: &[u8], _visit: &mut Visit<'_>) -> Result<(), IndexError> {
            Ok(())
        }
    }

    struct Counted<'a> {
        rows: &'a dyn Rows,
        shown: Cell<usize>,
    }

    impl Rows for Counted<'_> {
        fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
            self.rows.row(key)
        }

        fn scan(&self, from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
            self.rows.scan(from, &mut |key, value| {
                self.shown.set(self.shown.get() + 1);
                visit(key, value)
            })
        }
    }

    /// A page in the middle of very many tags, and a step over a repository of very many manifests, look at no more than they
    /// answer with.
    #[test]
    fn a_page_looks_at_a_page() {
        let repository: RepositoryName = "a".parse().unwrap();
        let mut overlay = Overlay::default();
        overlay.extend((0..50_000).map(|number| (key::tag(&repository, &format!("t{number:06}")), Some(Vec::new()))));
        let manifests = (0..50_000_u32).map(|number| Digest::of(&number.to_be_bytes()));
        overlay.extend(manifests.map(|digest| (key::manifest(&repository, &digest), Some(Vec::new()))));
        overlay.extend([(key::manifest(&"b".parse().unwrap(), &Digest::of(b"")), Some(Vec::new()))]);
        let rows = Counted { rows: &Layered { top: &overlay, base: &Nothing }, shown: Cell::new(0) };
        let after = Some(key::tag(&repository, "t025000"));
        let page: Vec<Tag> =
            collect(&rows, &key::tags(&repository), after, 100, |tag, _| text(tag, "tag").map(Some)).unwrap();
        assert_eq!((page.len(), page[0].as_str(), page[99].as_str()), (100, "t025001", "t025100"));
        let next = next_repository(&rows, MANIFESTS, Some(&repository)).unwrap();
        assert_eq!(next.map(|next| next.to_string()).as_deref(), Some("b"));
        assert_eq!(rows.shown.get(), 102, "the page, the row that it begins behind, and the next repository");
    }
}
