//! From a whole, hashed set to one commit: judge every image, move what the admitted ones need into the store, and make
//! all of it visible at once. Bytes of refused images never leave the staging.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::content::StagedSource;
use super::settle::Published;
use super::staging::Staging;
use super::{ImportError, ImportOptions};
use crate::admission::{AdmittedImage, Allowance, Candidate, Destination, Judgement, judge_for};
use crate::bundle::content::ImageContent;
use crate::bundle::format::seal::Seal;
use crate::bundle::format::table::{Image, SetTable};
use crate::bundle::format::volume::SetId;
use crate::bundle::receipt::{AdmittedEntry, Circumstances, Receipt, RefusedEntry, RuleSummary};
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::{Reference, Tag};
use crate::store::{Cause, Change, LinkVia, PrincipalRef, Store, Transaction};
use crate::sys::keys::KeyRing;
use crate::sys::kill_point::kill_point;
use crate::verify::{Refusal, TrustPolicy, rule_names};

/// What became of the images of a set.
#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    /// Content that admitted images need.
    needed: BTreeSet<Digest>,
    admitted: Vec<AdmittedEntry>,
    refused: Vec<RefusedEntry>,
}

/// A set that is judged, with what its admitted images need in the store, and nothing of it visible.
pub(super) struct Judged {
    /// What the receipt will say.
    pub receipt: Receipt,
    changes: Vec<Change>,
}

/// How a set is judged.
pub(super) struct Judging<'a> {
    pub policy: &'a TrustPolicy,
    pub now: Timestamp,
    /// What became of the same set under another policy.
    pub earlier: Option<&'a Receipt>,
    pub options: &'a ImportOptions,
}

/// With `earlier`, the receipt of this set under another policy, only what was refused then is judged: what came in stands
/// as it was left, also where it has been retired since.
pub(super) fn judge_set(
    store: &Store,
    keys: &KeyRing,
    (set, seal, table): (&SetId, &Seal, &SetTable),
    staging: &mut Staging<'_>,
    judging: &Judging<'_>,
) -> Result<Judged, ImportError> {
    let outcome = judge_all(store, table, staging, judging)?;
    adopt(store, table, staging, &outcome.needed)?;
    let about = Circumstances {
        set: *set,
        sender: seal.sender.clone(),
        receiver: keys.device_id().clone(),
        series: seal.series.clone(),
        sequence: seal.sequence,
        volumes: seal.volumes,
        table_digest: seal.table.digest,
        policy_digest: *judging.policy.digest(),
        time: judging.now,
    };
    let mut receipt = Receipt::new(about, store.head());
    (receipt.admitted, receipt.refused) = (outcome.admitted, outcome.refused);
    staging.keep_outcome(&receipt.to_draft())?;
    Ok(Judged { receipt, changes: outcome.changes })
}

/// Makes everything that was admitted visible at once.
pub(super) fn commit(store: &Store, judged: Judged, principal: &PrincipalRef) -> Result<Published, ImportError> {
    let Judged { receipt, mut changes } = judged;
    let set_id = receipt.set.to_string();
    changes.push(Change::CommitImport {
        set_id: set_id.clone(),
        sender: receipt.sender.clone(),
        series: receipt.series.clone(),
        sequence: receipt.sequence,
        table_digest: receipt.table_digest,
        admitted: receipt.admitted.len() as u64,
        refused: receipt.refused.len() as u64,
    });
    let position = store.commit(Transaction {
        cause: Cause { set: Some(set_id), ..Cause::default() },
        policy: Some(receipt.policy_digest),
        ..Transaction::new(principal.clone(), changes)
    })?;
    Ok(Published { receipt, position })
}

fn judge_all(
    store: &Store,
    table: &SetTable,
    staging: &Staging<'_>,
    judging: &Judging<'_>,
) -> Result<Outcome, ImportError> {
    let Judging { policy, now, earlier, options } = *judging;
    let source = StagedSource { store, table, staging };
    let mut outcome = Outcome::default();
    for image in &table.images {
        if let Some(entry) = earlier.and_then(|receipt| admitted_as(receipt, image)) {
            outcome.admitted.push(entry.clone());
            continue;
        }
        let taken = match earlier {
            Some(receipt) => tags_moved_since(store, image, receipt.position.sequence)?,
            None => BTreeSet::new(),
        };
        let candidate = Candidate {
            repository: image.repository.clone(),
            original: Some(image.original.clone()),
            root: image.digest,
            tags: image.tags.clone(),
        };
        let content = ImageContent { image, source: &source, allowance: Allowance::of(options.judged_bytes_max) };
        let judgement = judge_for(options.enforcement(&image.repository), policy, &candidate, &content, now);
        let refusal = match judgement {
            Ok(Judgement::Admitted(admitted)) => match incomplete(&admitted, table) {
                None => {
                    outcome.admit(image, &admitted, table, &taken);
                    continue;
                }
                Some(refusal) => refusal,
            },
            Ok(Judgement::Refused { refusal, .. }) => refusal,
            Err(error) => match error.refusal() {
                Some(refusal) => refusal,
                None => return Err(error.into()),
            },
        };
        outcome.refuse(image, &refusal);
    }
    Ok(outcome)
}

fn admitted_as<'a>(earlier: &'a Receipt, image: &Image) -> Option<&'a AdmittedEntry> {
    let same = |entry: &&AdmittedEntry| entry.repository == image.repository && entry.digest == image.digest;
    // Where some of the tags are still to come, all is judged.
    earlier.admitted.iter().filter(same).find(|entry| entry.tags.len() == image.tags.len())
}

/// Tags of an image that something else has moved after the set came in: they are newer than the set.
fn tags_moved_since(store: &Store, image: &Image, sequence: u64) -> Result<BTreeSet<Tag>, ImportError> {
    let mut taken = BTreeSet::new();
    for tag in &image.tags {
        if store.tag_moved_at(&image.repository, tag)?.is_some_and(|moved_at| moved_at > sequence) {
            taken.insert(tag.clone());
        }
    }
    Ok(taken)
}

fn manifests(image: &AdmittedImage) -> impl Iterator<Item = &Manifest> {
    let companions = image.companions.iter().map(|(_, companion)| companion);
    std::iter::once(&image.root).chain(&image.children).chain(companions).map(|admitted| admitted.get())
}

/// Children of an index may stay behind, but never a part of an image: it could not be run. A non-distributable layer is
/// fetched from elsewhere.
pub(super) fn incomplete(image: &AdmittedImage, table: &SetTable) -> Option<Refusal> {
    let mut parts = manifests(image).flat_map(Manifest::edges).filter(|edge| edge.kind == EdgeKind::Blob);
    let broken = parts.find(|edge| match table.blob(&edge.digest) {
        Some(blob) => blob.size != edge.size,
        None => !media_type::is_non_distributable(&edge.media_type),
    })?;
    Some(Refusal {
        rule: rule_names::INTEGRITY.to_owned(),
        reason: format!("the set does not carry '{}' of {} bytes, which the image needs", broken.digest, broken.size),
        next_step: Some("let the sender fetch the image again and export a new set".to_owned()),
    })
}

impl Outcome {
    /// Tags that are `taken` stay where they are.
    fn admit(&mut self, image: &Image, admitted: &AdmittedImage, table: &SetTable, taken: &BTreeSet<Tag>) {
        let present = |digest: &Digest| table.blob(digest).is_some();
        let destination =
            Destination { via: LinkVia::Import, origin: Some(image.original.as_str()), present: &present };
        let mut count = BTreeSet::new();
        for manifest in manifests(admitted) {
            count.insert(manifest.digest);
            self.needed.insert(manifest.digest);
            let parts = manifest.edges().filter(|edge| edge.kind == EdgeKind::Blob).map(|edge| edge.digest);
            self.needed.extend(parts.filter(present));
        }
        let stays = |change: &Change| !matches!(change, Change::MoveTag { tag, .. } if taken.contains(tag));
        self.changes.extend(admitted.changes(&destination).into_iter().filter(stays));
        self.admitted.push(AdmittedEntry {
            repository: image.repository.clone(),
            tags: image.tags.iter().filter(|tag| !taken.contains(tag)).cloned().collect(),
            digest: image.digest,
            manifests: count.len() as u64,
            rules: RuleSummary::of(&admitted.verdict),
            evidence_digests: admitted.verdict.evidence_digests().to_vec(),
            unenforced: RuleSummary::of_refusal(&admitted.verdict),
        });
    }

    /// A refusal is remembered under every name by which somebody may ask for the image.
    fn refuse(&mut self, image: &Image, refusal: &Refusal) {
        let references = image.tags.iter().cloned().map(Reference::Tag).chain([Reference::Digest(image.digest)]);
        self.changes.extend(references.map(|reference| Change::RecordRefusal {
            repository: image.repository.clone(),
            reference,
            digest: Some(image.digest),
            refusal: refusal.clone(),
        }));
        self.refused.push(RefusedEntry::new(image.repository.clone(), image.tags.clone(), image.digest, refusal));
    }
}

/// Moves verified content into the store. A crash in between leaves files without a link, which are garbage, not damage.
fn adopt(
    store: &Store,
    table: &SetTable,
    staging: &mut Staging<'_>,
    needed: &BTreeSet<Digest>,
) -> Result<(), ImportError> {
    for digest in needed {
        let blob = table.blob_index(digest).expect("only content of the table is needed");
        if staging.is_in_store(blob) {
            if !store.blobs().has(digest) {
                return Err(ImportError::Swept { digest: *digest });
            }
            continue;
        }
        store.blobs().adopt(&staging.part_path(blob), digest)?;
        kill_point("import-mid-publish");
    }
    Ok(store.blobs().sync_adopted()?)
}
