//! What an event does to the index. Pure, absolute, and harmless when done twice.

use data_encoding::BASE64;

use super::event::{ActivatedObject, Body, EventHead, LinkedBlob, ObjectVersion, StandingChange, SweptContent};
use super::index::IndexError;
use super::pages::Mutation;
use super::rows::{
    ACTIVE_ACCESS, ACTIVE_POLICY, ACTIVE_TRUST, ActiveRow, CondemnedRow, DeviceRow, EDGES_IN_CHUNK_COUNT,
    IDENTITY_IN_CHUNK_BYTES, LinkRow, ManifestRow, ObjectRow, ParentRow, REVIEWED_POLICY, RefusalRow, Rows, StagedRow,
    TIME_FLOOR, TIME_WAITING, WaitingRow, decode_edges, encode_edges, from_json, key, scan_prefix, time_waiting,
    to_json, update_row,
};
use super::trust::AcceptedUpdate;
use crate::oci::digest::Digest;
use crate::oci::manifest::{Edge, EdgeKind};
use crate::oci::name::{Reference, RepositoryName};

/// The rows that change because of an event, given the rows before it.
pub fn mutations(head: &EventHead, body: &Body, rows: &dyn Rows) -> Result<Vec<Mutation>, IndexError> {
    let sequence = head.sequence.to_be_bytes().to_vec();
    Ok(match body {
        Body::JournalCreated { .. }
        | Body::RetentionApplied { .. }
        | Body::EpochBegun { .. }
        | Body::FormatFinalized { .. } => Vec::new(),
        Body::ManifestPublished { .. } => published(head, body),
        Body::ManifestStaged { .. } => staged(head, body),
        Body::StagingEnded { repository, digests } => {
            digests.iter().map(|digest| unset(key::staged(repository, digest))).collect()
        }
        Body::ManifestRemoved { repository, digest, .. } => removed(repository, digest, rows)?,
        Body::BlobsLinked { repository, via, blobs } => blobs
            .iter()
            .flat_map(|LinkedBlob { digest, size_bytes }| {
                let row = LinkRow { size_bytes: *size_bytes, via: *via }.encode();
                [set(key::link(repository, digest), row), unset(key::condemned(digest))]
            })
            .collect(),
        Body::BlobUnlinked { repository, digest, .. } => vec![unset(key::link(repository, digest))],
        Body::TagMoved { repository, tag, target, previous } => {
            let mut changes = Vec::with_capacity(4);
            if let Some(previous) = previous {
                changes.push(unset(key::tag_of(repository, previous, tag.as_str())));
            }
            changes.push(set(key::tag(repository, tag.as_str()), [target.to_key(), sequence].concat()));
            changes.push(set(key::tag_of(repository, target, tag.as_str()), Vec::new()));
            changes.push(unset(key::refusal(repository, tag.as_str())));
            changes
        }
        Body::TagRemoved { repository, tag, previous, .. } => {
            vec![unset(key::tag(repository, tag.as_str())), unset(key::tag_of(repository, previous, tag.as_str()))]
        }
        Body::RefusalRecorded { repository, reference, digest, refusal } => {
            let row = RefusalRow { refusal: refusal.clone(), digest: *digest, sequence: head.sequence };
            let row = to_json(&row);
            let by_digest = digest.iter().filter(|digest| *reference != Reference::Digest(**digest));
            let mut changes: Vec<Mutation> =
                by_digest.map(|digest| set(key::refusal(repository, &digest.to_string()), row.clone())).collect();
            changes.push(set(key::refusal(repository, &reference.to_string()), row));
            changes
        }
        Body::ImportCommitted { sender, series, sequence, table_digest, .. } => {
            let mut row = [sequence.to_be_bytes().as_slice(), &table_digest.to_key()].concat();
            row.extend(head.policy.iter().flat_map(Digest::to_key));
            vec![set(key::high_water(sender, series), row)]
        }
        Body::ExportSealed { receiver, series, sequence, .. } => {
            vec![set(key::export(receiver, series), sequence.to_be_bytes().to_vec())]
        }
        Body::DeviceEnrolled { .. } => enrolled(head, body, rows)?,
        Body::DeviceRemoved { device_id } => unset_all(rows, &key::device_roles(device_id))?,
        Body::PolicyActivated { digest, .. } => vec![set(key::single(ACTIVE_POLICY), digest.to_key())],
        Body::StandingChanged { changes } => changes.iter().map(standing).collect(),
        Body::StandingReviewed { .. } => {
            head.policy.iter().map(|policy| set(key::single(REVIEWED_POLICY), policy.to_key())).collect()
        }
        Body::TrustObjectAdded { .. }
        | Body::TrustUpdateAccepted { .. }
        | Body::TrustStaged { .. }
        | Body::TrustActivated { .. } => trusted(head, body, rows)?,
        Body::AccessChanged { digest, .. } => vec![set(key::single(ACTIVE_ACCESS), digest.to_key())],
        Body::ContentCondemned { digests, grace_seconds } => {
            let row =
                CondemnedRow { since_running_seconds: head.running_seconds, grace_seconds: *grace_seconds }.encode();
            digests.iter().map(|digest| set(key::condemned(digest), row.clone())).collect()
        }
        Body::ContentSwept { content } => swept(content),
        Body::TimeFloorRaised { .. } | Body::TimeStepHeld { .. } | Body::TimeFloorSet { .. } => timed(body, rows)?,
    })
}

fn set(key: Vec<u8>, value: Vec<u8>) -> Mutation {
    (key, Some(value))
}

fn unset(key: Vec<u8>) -> Mutation {
    (key, None)
}

fn unset_all(rows: &dyn Rows, prefix: &[u8]) -> Result<Vec<Mutation>, IndexError> {
    let mut changes = Vec::new();
    scan_prefix(rows, prefix, prefix, &mut |key, _| {
        changes.push(unset(key.to_vec()));
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(changes)
}

/// The rows that change because of an event about the time.
fn timed(body: &Body, rows: &dyn Rows) -> Result<Vec<Mutation>, IndexError> {
    Ok(match body {
        Body::TimeFloorRaised { at, .. } => {
            let mut changes = vec![set(key::single(TIME_FLOOR), at.to_string().into_bytes())];
            // What waited is behind now.
            if time_waiting(rows)?.is_some_and(|waiting| waiting.at <= *at) {
                changes.push(unset(key::single(TIME_WAITING)));
            }
            changes
        }
        Body::TimeStepHeld { at, source } => {
            vec![set(key::single(TIME_WAITING), to_json(&WaitingRow { at: *at, source: source.clone() }))]
        }
        Body::TimeFloorSet { at, .. } => {
            vec![set(key::single(TIME_FLOOR), at.to_string().into_bytes()), unset(key::single(TIME_WAITING))]
        }
        _ => Vec::new(),
    })
}

/// The rows that change because of an event about what is trusted.
fn trusted(head: &EventHead, body: &Body, rows: &dyn Rows) -> Result<Vec<Mutation>, IndexError> {
    Ok(match body {
        Body::TrustObjectAdded { object, version, digest, source } => {
            let (digest, source) = (*digest, source.clone());
            let row = ObjectRow { digest, source, sequence: head.sequence, added: head.time.wall };
            vec![set(key::object_version(object, *version), to_json(&row))]
        }
        Body::TrustUpdateAccepted { name, versions, root, .. } => {
            let row = AcceptedUpdate { versions: *versions, root: Some(*root) };
            vec![set(key::single(&update_row(name)), to_json(&row))]
        }
        Body::TrustStaged { objects } => staged_objects(objects, rows)?,
        Body::TrustActivated { objects, .. } => activated(objects, head),
        _ => Vec::new(),
    })
}

fn staged_objects(objects: &[ObjectVersion], rows: &dyn Rows) -> Result<Vec<Mutation>, IndexError> {
    let mut changes = unset_all(rows, &key::staged_objects())?;
    changes.extend(
        objects.iter().map(|staged| set(key::staged_object(&staged.object), staged.version.to_be_bytes().to_vec())),
    );
    Ok(changes)
}

fn activated(objects: &[ActivatedObject], head: &EventHead) -> Vec<Mutation> {
    let mut changes = vec![set(key::single(ACTIVE_TRUST), head.sequence.to_be_bytes().to_vec())];
    for active in objects {
        let row = ActiveRow { version: active.version, digest: active.digest, previous: active.previous };
        changes.push(set(key::active_object(&active.object), to_json(&row)));
        changes.push(unset(key::staged_object(&active.object)));
    }
    changes
}

fn standing(change: &StandingChange) -> Mutation {
    let rule = change.rule.as_ref().map(|rule| rule.clone().into_bytes());
    (key::standing(&change.repository, &change.digest), rule)
}

fn staged(head: &EventHead, body: &Body) -> Vec<Mutation> {
    let Body::ManifestStaged { repository, digest, media_type, size_bytes, subject, tags, beside, until, rule: _ } =
        body
    else {
        return Vec::new();
    };
    let row = StagedRow {
        media_type: media_type.clone(),
        size_bytes: *size_bytes,
        subject: *subject,
        tags: tags.clone(),
        principal: head.principal.clone(),
        beside: beside.clone(),
        until: *until,
        sequence: head.sequence,
    };
    vec![set(key::staged(repository, digest), to_json(&row)), unset(key::condemned(digest))]
}

fn published(head: &EventHead, body: &Body) -> Vec<Mutation> {
    let Body::ManifestPublished {
        repository,
        digest,
        media_type,
        size_bytes,
        artifact_type,
        subject,
        sparse,
        origin,
        edges,
        ..
    } = body
    else {
        return Vec::new();
    };
    let row = ManifestRow {
        media_type: media_type.clone(),
        size_bytes: *size_bytes,
        artifact_type: artifact_type.clone(),
        subject: *subject,
        sparse: *sparse,
        origin: origin.clone(),
        sequence: head.sequence,
    };
    let mut changes = vec![
        set(key::manifest(repository, digest), to_json(&row)),
        unset(key::refusal(repository, &digest.to_string())),
        unset(key::standing(repository, digest)),
        unset(key::condemned(digest)),
    ];
    if let Some(subject) = subject {
        changes.push(set(key::referrer(repository, subject, digest), Vec::new()));
    }
    for (chunk, edges) in (0u16..).zip(edges.chunks(EDGES_IN_CHUNK_COUNT)) {
        let value = encode_edges(edges.iter().map(|edge| (edge.kind, &edge.digest)));
        changes.push(set(key::edges_chunk(repository, digest, chunk), value));
    }
    for edge in edges {
        changes.push(edge_from(repository, digest, edge));
        changes.push(unset(key::condemned(&edge.digest)));
    }
    changes
}

fn edge_from(repository: &RepositoryName, parent: &Digest, edge: &Edge) -> Mutation {
    let row = ParentRow { kind: edge.kind, size_bytes: edge.size, media_type: edge.media_type.clone() };
    set(key::parent(repository, &edge.digest, parent), row.encode())
}

/// What a manifest of a repository points at.
pub fn edges_of(
    rows: &dyn Rows,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Vec<(EdgeKind, Digest)>, IndexError> {
    let prefix = key::edges(repository, digest);
    let mut chunks = Vec::new();
    scan_prefix(rows, &prefix, &prefix, &mut |_, value| {
        chunks.push(decode_edges(value));
        std::ops::ControlFlow::Continue(())
    })?;
    let mut edges = Vec::new();
    for chunk in chunks {
        edges.extend(chunk?);
    }
    Ok(edges)
}

fn removed(repository: &RepositoryName, digest: &Digest, rows: &dyn Rows) -> Result<Vec<Mutation>, IndexError> {
    let manifest_key = key::manifest(repository, digest);
    let mut changes = Vec::new();
    if let Some(value) = rows.row(&manifest_key)? {
        let row: ManifestRow = from_json(&value, "manifest")?;
        changes.extend(row.subject.map(|subject| unset(key::referrer(repository, &subject, digest))));
    }
    for (_, child) in edges_of(rows, repository, digest)? {
        changes.push(unset(key::parent(repository, &child, digest)));
    }
    changes.extend(unset_all(rows, &key::edges(repository, digest))?);
    changes.push(unset(key::standing(repository, digest)));
    changes.push(unset(manifest_key));
    Ok(changes)
}

fn enrolled(head: &EventHead, body: &Body, rows: &dyn Rows) -> Result<Vec<Mutation>, IndexError> {
    let Body::DeviceEnrolled { device_id, name, role, identity } = body else { return Ok(Vec::new()) };
    let identity = BASE64.decode(identity.as_bytes()).map_err(|_| IndexError::Row("identity"))?;
    let row = DeviceRow { device_id: device_id.clone(), name: name.clone(), role: *role, sequence: head.sequence };
    // An older, longer identity of the same device leaves no chunk behind.
    let all = key::device(device_id, *role, 0);
    let mut changes = unset_all(rows, &all[..all.len() - size_of::<u16>()])?;
    changes.push(set(all, to_json(&row)));
    for (chunk, bytes) in (1u16..).zip(identity.chunks(IDENTITY_IN_CHUNK_BYTES)) {
        changes.push(set(key::device(device_id, *role, chunk), bytes.to_vec()));
    }
    Ok(changes)
}

/// Every repository gives up its link. That nothing needs the content was checked when the event was made.
fn swept(content: &[SweptContent]) -> Vec<Mutation> {
    let mut changes = Vec::new();
    for SweptContent { digest, repositories } in content {
        changes.push(unset(key::condemned(digest)));
        changes.extend(repositories.iter().map(|repository| unset(key::link(repository, digest))));
    }
    changes
}
