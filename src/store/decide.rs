//! Whether a change fits what the store holds, and the event that it becomes. It changes nothing.

mod time;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use data_encoding::BASE64;

use super::blobs::Blobs;
use super::error::{CommitError, Conflict, StoreError};
use super::event::{Body, LinkedBlob, StandingChange, SweptContent};
use super::layout;
use super::reach;
use super::record::DeviceRole;
use super::rows::{
    ACTIVE_ACCESS, ACTIVE_POLICY, CondemnedRow, ManifestRow, Rows, any, digest_in, from_json, key, scan_prefix, u64_at,
};
use super::transaction::{Change, LinkVia, PrincipalRef};
use crate::device_id::DeviceId;
use crate::limits::{
    DEVICE_NAME_BYTES_MAX, IDENTITY_BYTES_MAX, JOURNAL_TEXT_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, REFUSAL_TEXT_BYTES_MAX,
};
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::name::{RepositoryName, Tag};
use crate::sys::dir::Dir;
use crate::verify::{Admitted, Refusal};

/// What a decision looks at.
pub struct View<'a> {
    pub rows: &'a dyn Rows,
    pub blobs: &'a Blobs,
    pub dir: &'a dyn Dir,
    pub running_seconds: u64,
    /// By how much trusted time may rise at once.
    pub time_step_seconds_max: u64,
}

/// Links in one event.
const LINKED_IN_EVENT_COUNT: usize = 1000;

/// Changes that are still to be decided.
pub type Following = std::iter::Peekable<std::vec::IntoIter<Change>>;

type Decided = Result<Option<Body>, CommitError>;

fn index(error: super::index::IndexError) -> CommitError {
    CommitError::Store(StoreError::Index(error))
}

fn short(field: &'static str, text: &str, limit_bytes: usize) -> Result<(), Conflict> {
    if text.len() <= limit_bytes {
        return Ok(());
    }
    Err(Conflict::TooLong { field, bytes: text.len(), limit_bytes })
}

fn enrol(device_id: DeviceId, name: String, role: DeviceRole, identity: &[u8]) -> Decided {
    short("device name", &name, DEVICE_NAME_BYTES_MAX)?;
    if identity.len() > IDENTITY_BYTES_MAX {
        let (bytes, limit_bytes) = (identity.len(), IDENTITY_BYTES_MAX);
        return Err(Conflict::TooLong { field: "identity", bytes, limit_bytes }.into());
    }
    Ok(Some(Body::DeviceEnrolled { device_id, name, role, identity: BASE64.encode(identity) }))
}

impl View<'_> {
    /// The event that `change` becomes, together with changes `following` it that are taken out where they are of one
    /// kind with it; none where nothing of it is left to do.
    pub fn decide(&self, change: Change, following: &mut Following) -> Decided {
        match change {
            Change::Publish { repository, manifest, sparse, origin } => {
                self.publish(repository, &manifest, sparse, origin)
            }
            Change::LinkBlob { repository, digest, size_bytes, via } => {
                self.link(repository, via, LinkedBlob { digest, size_bytes }, following)
            }
            Change::Stage { repository, manifest, tags, beside, until, rule } => {
                self.stage(repository, &manifest, (tags, beside), until, rule)
            }
            Change::EndStaging { repository, digests } => self.end_staging(repository, digests),
            Change::UnlinkBlob { repository, digest, reason } => self.unlink(repository, digest, reason),
            Change::MoveTag { repository, tag, target, expected } => self.move_tag(repository, tag, target, expected),
            Change::RemoveTag { repository, tag, expected, reason } => {
                self.remove_tag(repository, tag, expected, reason)
            }
            Change::RemoveManifest { repository, digest, reason } => self.remove_manifest(repository, digest, reason),
            Change::RecordRefusal { repository, reference, digest, refusal } => {
                Ok(Some(Body::RefusalRecorded { repository, reference, digest, refusal: bounded(refusal) }))
            }
            Change::ActivatePolicy { digest } => self.activate(digest),
            Change::NoteStanding { changes } => self.note_standing(changes),
            Change::NoteReview { manifests, refused } => Ok(Some(Body::StandingReviewed { manifests, refused })),
            Change::AddTrustObject { object, digest, source } => self.add_object(object, digest, source),
            Change::AcceptTrustUpdate { name, versions, root, expired, reason } => {
                self.check_update(&name, &versions, reason.as_deref())?;
                Ok(Some(Body::TrustUpdateAccepted { name, versions, root, expired, reason }))
            }
            Change::StageTrust { objects } => self.stage_objects(objects),
            Change::ActivateTrust { objects, reason } => self.activate_objects(objects, reason),
            Change::ChangeAccess { digest, expected, act, object, values, only_removes: _ } => {
                short("act", &act, JOURNAL_TEXT_BYTES_MAX)?;
                short("object", &object, JOURNAL_TEXT_BYTES_MAX)?;
                let previous = self.next_access(&digest, expected)?;
                Ok(Some(Body::AccessChanged { digest, previous, act, object, values }))
            }
            Change::ApplyRetention { rule, values } => {
                short("rule", &rule, JOURNAL_TEXT_BYTES_MAX)?;
                Ok(Some(Body::RetentionApplied { rule, values }))
            }
            Change::BeginEpoch { reason, from } => Ok(Some(Body::EpochBegun { reason, from })),
            Change::FinalizeFormat { version } => Ok(Some(Body::FormatFinalized { version })),
            Change::Condemn { digests, grace_seconds } => self.condemn(digests, grace_seconds),
            Change::Sweep { digests } => self.sweep(&digests),
            Change::RaiseTimeFloor { at, source } => self.raise_time(at, source),
            Change::SetTimeFloor { at, expected, reason } => self.set_time(at, expected, reason),
            Change::CommitImport { set_id, sender, series, sequence, table_digest, admitted, refused } => {
                let row = key::high_water(&sender, &series);
                if !self.stands_at(&row, sequence, &table_digest)? {
                    self.rising(&row, &set_id, (&sender, &series), sequence)?;
                }
                Ok(Some(Body::ImportCommitted { set_id, sender, series, sequence, table_digest, admitted, refused }))
            }
            Change::SealExport { set_id, receiver, series, sequence, table_digest } => {
                self.rising(&key::export(&receiver, &series), &set_id, (&receiver, &series), sequence)?;
                Ok(Some(Body::ExportSealed { set_id, receiver, series, sequence, table_digest }))
            }
            Change::EnrolDevice { device_id, name, role, identity } => enrol(device_id, name, role, &identity),
            Change::RemoveDevice { device_id } => {
                if !any(self.rows, &key::device_roles(&device_id)).map_err(index)? {
                    return Err(Conflict::DeviceUnknown(device_id).into());
                }
                Ok(Some(Body::DeviceRemoved { device_id }))
            }
        }
    }

    /// A sequence of a series must be greater than the one that stands in `row`.
    fn rising(
        &self,
        row: &[u8],
        set_id: &str,
        (device, series): (&DeviceId, &str),
        offered: u64,
    ) -> Result<(), CommitError> {
        short("set id", set_id, JOURNAL_TEXT_BYTES_MAX)?;
        short("series", series, JOURNAL_TEXT_BYTES_MAX)?;
        let current = self.rows.row(row).map_err(index)?;
        let current = current.map_or(Ok(0), |value| u64_at(&value, 0, "sequence")).map_err(index)?;
        if offered > current {
            return Ok(());
        }
        let (device, series) = (device.clone(), series.to_owned());
        Err(Conflict::SequenceTooLow { device, series, current, offered }.into())
    }

    /// Whether the newest import of a series is of this very set. It may be committed again, because what was refused
    /// under one policy may be admitted under the next, and the sender is far away.
    fn stands_at(&self, row: &[u8], sequence: u64, table_digest: &Digest) -> Result<bool, CommitError> {
        let wanted = [sequence.to_be_bytes().as_slice(), &table_digest.to_key()].concat();
        Ok(self.rows.row(row).map_err(index)?.is_some_and(|current| current.starts_with(&wanted)))
    }

    fn activate(&self, digest: Digest) -> Decided {
        if self.dir.stat(&layout::policy_path(&digest)).map_err(StoreError::from)?.is_none() {
            return Err(Conflict::PolicyMissing(digest).into());
        }
        let previous = self.rows.row(&key::single(ACTIVE_POLICY)).map_err(index)?;
        let previous = previous.map(|value| digest_in(&value, "policy")).transpose().map_err(index)?;
        Ok(Some(Body::PolicyActivated { digest, previous }))
    }

    /// What has gone since it was judged, and what is noted already, is left out.
    fn note_standing(&self, mut changes: Vec<StandingChange>) -> Decided {
        let mut failed = None;
        changes.retain(|change| {
            let look = |key: Vec<u8>| self.rows.row(&key);
            let seen = look(key::manifest(&change.repository, &change.digest))
                .and_then(|here| Ok((here, look(key::standing(&change.repository, &change.digest))?)));
            match seen {
                Ok((here, noted)) => here.is_some() && noted.is_some() != change.rule.is_some(),
                Err(error) => {
                    failed.get_or_insert(error);
                    false
                }
            }
        });
        match failed {
            Some(error) => Err(index(error)),
            None => Ok((!changes.is_empty()).then_some(Body::StandingChanged { changes })),
        }
    }

    /// The document that `digest` follows, which must be the one that whoever made it had read.
    fn next_access(&self, digest: &Digest, expected: Option<Digest>) -> Result<Option<Digest>, CommitError> {
        if self.dir.stat(&layout::access_path(digest)).map_err(StoreError::from)?.is_none() {
            return Err(Conflict::AccessMissing(*digest).into());
        }
        let current = self.rows.row(&key::single(ACTIVE_ACCESS)).map_err(index)?;
        let current = current.map(|value| digest_in(&value, "access")).transpose().map_err(index)?;
        if current == expected { Ok(current) } else { Err(Conflict::AccessChanged.into()) }
    }

    /// The bytes are in the store, whole.
    fn bytes_there(&self, digest: &Digest, size_bytes: u64) -> Result<(), CommitError> {
        let there = self.blobs.stat(digest).map_err(StoreError::from)?;
        if there == Some(size_bytes) {
            return Ok(());
        }
        Err(Conflict::BytesMissing { digest: *digest, size_bytes }.into())
    }

    /// One event for all layers of an image, or the journal would be filled with envelopes.
    fn link(&self, repository: RepositoryName, via: LinkVia, first: LinkedBlob, following: &mut Following) -> Decided {
        self.bytes_there(&first.digest, first.size_bytes)?;
        let mut blobs = vec![first];
        let alike = |change: &Change| matches!(change, Change::LinkBlob { repository: other, via: by, .. } if *other == repository && *by == via);
        while blobs.len() < LINKED_IN_EVENT_COUNT
            && let Some(Change::LinkBlob { digest, size_bytes, .. }) = following.next_if(alike)
        {
            self.bytes_there(&digest, size_bytes)?;
            blobs.push(LinkedBlob { digest, size_bytes });
        }
        Ok(Some(Body::BlobsLinked { repository, via, blobs }))
    }

    /// Also what a sparse manifest points at stays: nobody who asks for one layer to go means an image without it.
    fn unlink(&self, repository: RepositoryName, digest: Digest, reason: String) -> Decided {
        short("reason", &reason, JOURNAL_TEXT_BYTES_MAX)?;
        if self.rows.row(&key::link(&repository, &digest)).map_err(index)?.is_none() {
            return Err(Conflict::BlobUnknown { repository, digest }.into());
        }
        if let Some(parent) = self.first_parent(&repository, &digest)? {
            return Err(Conflict::StillNeeded { repository, digest, parent }.into());
        }
        Ok(Some(Body::BlobUnlinked { repository, digest, reason }))
    }

    fn publish(
        &self,
        repository: RepositoryName,
        admitted: &Admitted<Manifest>,
        sparse: bool,
        origin: Option<String>,
    ) -> Decided {
        let manifest = admitted.get();
        if !admitted.is_for(&repository) {
            let judged = admitted.verdict().repository().clone();
            return Err(Conflict::JudgedForAnother { repository, judged, manifest: manifest.digest }.into());
        }
        short("artifact type", manifest.artifact_type.as_deref().unwrap_or_default(), MEDIA_TYPE_BYTES_MAX)?;
        short("origin", origin.as_deref().unwrap_or_default(), JOURNAL_TEXT_BYTES_MAX)?;
        self.bytes_there(&manifest.digest, manifest.size)?;
        let edges: Vec<_> = manifest.edges().collect();
        for edge in &edges {
            short("media type", &edge.media_type, MEDIA_TYPE_BYTES_MAX)?;
        }
        for edge in edges.iter().filter(|_| !sparse) {
            let row = match edge.kind {
                EdgeKind::Manifest => key::manifest(&repository, &edge.digest),
                EdgeKind::Blob => key::link(&repository, &edge.digest),
            };
            if self.rows.row(&row).map_err(index)?.is_none() {
                return Err(Conflict::EdgeMissing { repository, manifest: manifest.digest, edge: edge.digest }.into());
            }
        }
        let verdict = admitted.verdict();
        Ok(Some(Body::ManifestPublished {
            repository,
            digest: manifest.digest,
            media_type: manifest.media_type.clone(),
            size_bytes: manifest.size,
            artifact_type: manifest.artifact_type.clone(),
            subject: manifest.subject.as_ref().map(|subject| subject.digest),
            sparse,
            origin,
            edges,
            rules: verdict.rules().iter().map(|rule| rule.rule.clone()).collect(),
            evidence: verdict.evidence_digests().to_vec(),
        }))
    }

    fn end_staging(&self, repository: RepositoryName, mut digests: Vec<Digest>) -> Decided {
        let mut failed = None;
        digests.retain(|digest| {
            let row = self.rows.row(&key::staged(&repository, digest));
            row.map_err(|error| failed = Some(error)).is_ok_and(|row| row.is_some())
        });
        match failed {
            Some(error) => Err(index(error)),
            None => Ok((!digests.is_empty()).then_some(Body::StagingEnded { repository, digests })),
        }
    }

    fn stage(
        &self,
        repository: RepositoryName,
        manifest: &Manifest,
        (tags, beside): (Vec<Tag>, Vec<PrincipalRef>),
        until: jiff::Timestamp,
        rule: String,
    ) -> Decided {
        short("rule", &rule, JOURNAL_TEXT_BYTES_MAX)?;
        short("media type", &manifest.media_type, MEDIA_TYPE_BYTES_MAX)?;
        self.bytes_there(&manifest.digest, manifest.size)?;
        Ok(Some(Body::ManifestStaged {
            repository,
            digest: manifest.digest,
            media_type: manifest.media_type.clone(),
            size_bytes: manifest.size,
            subject: manifest.subject.as_ref().map(|subject| subject.digest),
            tags,
            beside,
            until,
            rule,
        }))
    }

    fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, CommitError> {
        let row = self.rows.row(&key::tag(repository, tag.as_str())).map_err(index)?;
        row.map(|value| digest_in(&value, "tag")).transpose().map_err(index)
    }

    fn remove_tag(&self, repository: RepositoryName, tag: Tag, expected: Option<Digest>, reason: String) -> Decided {
        short("reason", &reason, JOURNAL_TEXT_BYTES_MAX)?;
        match self.tag(&repository, &tag)? {
            Some(previous) if expected.is_some_and(|expected| expected != previous) => {
                Err(Conflict::TagMoved { repository, tag, actual: Some(previous) }.into())
            }
            Some(previous) => Ok(Some(Body::TagRemoved { repository, tag, previous, reason })),
            None => Err(Conflict::TagUnknown { repository, tag }.into()),
        }
    }

    fn move_tag(
        &self,
        repository: RepositoryName,
        tag: Tag,
        target: Digest,
        expected: Option<Option<Digest>>,
    ) -> Decided {
        let previous = self.tag(&repository, &tag)?;
        if expected.is_some_and(|expected| expected != previous) {
            return Err(Conflict::TagMoved { repository, tag, actual: previous }.into());
        }
        if self.rows.row(&key::manifest(&repository, &target)).map_err(index)?.is_none() {
            return Err(Conflict::ManifestUnknown { repository, digest: target }.into());
        }
        Ok(Some(Body::TagMoved { repository, tag, target, previous }))
    }

    fn remove_manifest(&self, repository: RepositoryName, digest: Digest, reason: String) -> Decided {
        short("reason", &reason, JOURNAL_TEXT_BYTES_MAX)?;
        if self.rows.row(&key::manifest(&repository, &digest)).map_err(index)?.is_none() {
            return Err(Conflict::ManifestUnknown { repository, digest }.into());
        }
        let tags = key::tags_of(&repository, &digest);
        let mut tag = None;
        scan_prefix(self.rows, &tags, &tags, &mut |key, _| {
            tag = Some(String::from_utf8_lossy(&key[tags.len()..]).into_owned());
            ControlFlow::Break(())
        })
        .map_err(index)?;
        if let Some(tag) = tag {
            return Err(Conflict::StillTagged { repository, digest, tag }.into());
        }
        if let Some(parent) = self.whole_parent(&repository, &digest)? {
            return Err(Conflict::StillNeeded { repository, digest, parent }.into());
        }
        Ok(Some(Body::ManifestRemoved { repository, digest, reason }))
    }

    /// A manifest that points at `digest` and promises to be whole.
    fn whole_parent(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Digest>, CommitError> {
        let prefix = key::parents(repository, digest);
        let mut whole = Ok(None);
        scan_prefix(self.rows, &prefix, &prefix, &mut |key, _| {
            let parent = digest_in(&key[prefix.len()..], "parent");
            let found = parent.and_then(|parent| {
                let row = self.rows.row(&key::manifest(repository, &parent))?;
                let row: Option<ManifestRow> = row.map(|value| from_json(&value, "manifest")).transpose()?;
                Ok(row.filter(|row| !row.sparse).map(|_| parent))
            });
            match found {
                Ok(None) => ControlFlow::Continue(()),
                found => {
                    whole = found;
                    ControlFlow::Break(())
                }
            }
        })
        .map_err(index)?;
        whole.map_err(index)
    }

    fn first_parent(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Digest>, CommitError> {
        let prefix = key::parents(repository, digest);
        let mut first = None;
        scan_prefix(self.rows, &prefix, &prefix, &mut |key, _| {
            first = Some(digest_in(&key[prefix.len()..], "parent"));
            ControlFlow::Break(())
        })
        .map_err(index)?;
        first.transpose().map_err(index)
    }

    fn condemn(&self, digests: Vec<Digest>, grace_seconds: u64) -> Decided {
        let mut asked = BTreeSet::new();
        for digest in digests {
            // A grace that already runs is not begun anew, or it would never end.
            let row = self.rows.row(&key::condemned(&digest)).map_err(index)?;
            let row = row.map(|row| CondemnedRow::decode(&row)).transpose().map_err(index)?;
            if row.is_none_or(|row| row.seconds_left(self.running_seconds) > grace_seconds) {
                asked.insert(digest);
            }
        }
        let uses = reach::uses(self.rows, &asked).map_err(index)?;
        let digests: Vec<Digest> =
            asked.into_iter().filter(|digest| uses.get(digest).is_none_or(|uses| !uses.is_needed())).collect();
        Ok((!digests.is_empty()).then_some(Body::ContentCondemned { digests, grace_seconds }))
    }

    fn sweep(&self, digests: &[Digest]) -> Decided {
        let mut due = BTreeSet::new();
        for digest in digests {
            let Some(row) = self.rows.row(&key::condemned(digest)).map_err(index)? else { continue };
            let row = CondemnedRow::decode(&row).map_err(index)?;
            if row.seconds_left(self.running_seconds) == 0 && !self.blobs.is_fresh(digest) {
                due.insert(*digest);
            }
        }
        let mut uses: BTreeMap<_, _> = reach::uses(self.rows, &due).map_err(index)?;
        let mut content = Vec::new();
        for digest in due {
            let uses = uses.remove(&digest).unwrap_or_default();
            if !uses.is_needed() {
                content.push(SweptContent { digest, repositories: uses.linked_by });
            }
        }
        Ok((!content.is_empty()).then_some(Body::ContentSwept { content }))
    }
}

/// A refusal that is sure to fit into a row: text from outside may have any length.
fn bounded(refusal: Refusal) -> Refusal {
    let bounded = |text: String, limit_bytes: usize| -> String {
        let mut kept = String::with_capacity(text.len().min(limit_bytes));
        for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
            if kept.len() + letter.len_utf8() > limit_bytes {
                kept.push('…');
                break;
            }
            kept.push(letter);
        }
        kept
    };
    Refusal {
        rule: bounded(refusal.rule, REFUSAL_TEXT_BYTES_MAX / 4),
        reason: bounded(refusal.reason, REFUSAL_TEXT_BYTES_MAX),
        next_step: refusal.next_step.map(|step| bounded(step, REFUSAL_TEXT_BYTES_MAX / 2)),
    }
}
