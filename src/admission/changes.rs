//! What was admitted, as changes for the store: parts before the whole, tags last.

use std::collections::BTreeSet;

use super::judge::AdmittedImage;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::name::Tag;
use crate::store::{Change, LinkVia};
use crate::verify::{Admitted, Verdict};

/// How an admitted image enters the store. Its repository is the one for which it was judged.
#[derive(Clone, Copy)]
pub struct Destination<'a> {
    /// By what right the blobs belong to the repository.
    pub via: LinkVia,
    /// Where it comes from, as it is to be remembered.
    pub origin: Option<&'a str>,
    /// Whether a blob's bytes are in the store.
    pub present: &'a dyn Fn(&Digest) -> bool,
}

/// What the evidence of an admitted image says of the time.
pub fn raise_time(verdict: &Verdict) -> Option<Change> {
    let source = format!("evidence of '{}'", verdict.target());
    verdict.proved_time().map(|at| Change::RaiseTimeFloor { at, source })
}

impl AdmittedImage {
    /// Everything that makes the image servable, in one transaction or none. A manifest of which a part is missing is
    /// marked sparse; blobs that are present are linked.
    pub fn changes(&self, destination: &Destination<'_>) -> Vec<Change> {
        let (lists, statements): (Vec<_>, Vec<_>) =
            self.companions.iter().map(|(_, companion)| companion).partition(|companion| companion.get().is_index());
        let in_order = self.children.iter().chain([&self.root]).chain(statements).chain(lists);
        let mut changes = Vec::new();
        let (mut published, mut linked) = (BTreeSet::new(), BTreeSet::new());
        for manifest in in_order {
            if published.insert(manifest.get().digest) {
                self.publish(manifest, destination, &published, &mut linked, &mut changes);
            }
        }
        let companion_tags = self.companions.iter().filter_map(|(tag, companion)| Some((tag.as_ref()?, companion)));
        for (tag, target) in companion_tags.chain(self.tags.iter().map(|tag| (tag, &self.root))) {
            changes.push(self.move_tag(tag, target));
        }
        changes.extend(raise_time(&self.verdict));
        changes
    }

    fn publish(
        &self,
        manifest: &Admitted<Manifest>,
        destination: &Destination<'_>,
        published: &BTreeSet<Digest>,
        linked: &mut BTreeSet<Digest>,
        changes: &mut Vec<Change>,
    ) {
        let mut sparse = false;
        for edge in manifest.get().edges() {
            let here = match edge.kind {
                EdgeKind::Manifest => published.contains(&edge.digest),
                EdgeKind::Blob => (destination.present)(&edge.digest),
            };
            sparse |= !here;
            if here && edge.kind == EdgeKind::Blob && linked.insert(edge.digest) {
                changes.push(Change::LinkBlob {
                    repository: self.repository.clone(),
                    digest: edge.digest,
                    size_bytes: edge.size,
                    via: destination.via,
                });
            }
        }
        changes.push(Change::Publish {
            repository: self.repository.clone(),
            manifest: manifest.clone(),
            sparse,
            origin: destination.origin.map(ToOwned::to_owned),
        });
    }

    fn move_tag(&self, tag: &Tag, target: &Admitted<Manifest>) -> Change {
        Change::MoveTag {
            repository: self.repository.clone(),
            tag: tag.clone(),
            target: target.get().digest,
            expected: None,
        }
    }
}
