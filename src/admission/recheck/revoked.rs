//! What belongs to an index that the deny list names: its platforms are denied with it, under every digest and in every
//! repository.
//!
//! The list names digests; which manifests an index had is in its bytes, as long as they are here in any repository.

use std::collections::HashMap;

use crate::error_chain::chain;
use crate::limits::{INDEX_DEPTH_COUNT_MAX, LISTING_ENTRIES_COUNT_MAX, MANIFEST_BYTES_MAX, REVOKED_PARTS_COUNT_MAX};
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type::{self, OCI_INDEX};
use crate::store::{Store, StoreError};
use crate::verify::{Refusal, TrustPolicy, rule_names};

/// The parts of all denied indexes.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    parts: HashMap<Digest, Refusal>,
}

impl Revoked {
    /// Finds them, as far as the indexes are here.
    pub fn find(store: &Store, policy: &TrustPolicy, now: jiff::Timestamp) -> Result<Self, StoreError> {
        let mut revoked = Self::default();
        let mut elsewhere: HashMap<Digest, &str> = HashMap::new();
        for (digest, denial) in policy.denied_digests(now) {
            match store.blobs().read(digest, MANIFEST_BYTES_MAX) {
                Ok(Some(bytes)) => revoked.take(store, digest, &bytes, &denial.reason, 0),
                // It may be here under its other name.
                Ok(None) => drop(elsewhere.insert(*digest, &denial.reason)),
                Err(error) => tracing::error!(%digest, error = %chain(&error), "a denied manifest cannot be read"),
            }
        }
        if !elsewhere.is_empty() {
            each_index(store, &mut |bytes| {
                for name in Algorithm::all_of(bytes) {
                    if let Some(reason) = elsewhere.get(&name) {
                        revoked.take(store, &name, bytes, reason, 0);
                    }
                }
            })?;
        }
        Ok(revoked)
    }

    /// Why a manifest with these bytes is denied because of an index that it belongs to.
    pub fn refusal(&self, bytes: &[u8]) -> Option<&Refusal> {
        if self.parts.is_empty() {
            return None;
        }
        Algorithm::all_of(bytes).iter().find_map(|name| self.parts.get(name))
    }

    fn take(&mut self, store: &Store, index: &Digest, bytes: &[u8], reason: &str, depth: usize) {
        let Some(manifest) = parsed(bytes).filter(Manifest::is_index) else { return };
        for edge in manifest.edges().filter(|edge| edge.kind == EdgeKind::Manifest) {
            if self.parts.len() >= REVOKED_PARTS_COUNT_MAX {
                tracing::error!(%index, "the deny list names indexes of more parts than are remembered");
                return;
            }
            let refusal = Refusal {
                rule: rule_names::DENY_LIST.to_owned(),
                reason: format!("the deny list names the index '{index}' that this belongs to: {reason}"),
                next_step: Some("use another version of it".to_owned()),
            };
            if self.parts.insert(edge.digest, refusal.clone()).is_some() {
                continue;
            }
            // Another index may list the same bytes by their other name.
            if let Ok(Some(part)) = store.blobs().read(&edge.digest, MANIFEST_BYTES_MAX) {
                self.parts.extend(Algorithm::all_of(&part).map(|name| (name, refusal.clone())));
                if depth < INDEX_DEPTH_COUNT_MAX {
                    self.take(store, index, &part, reason, depth + 1);
                }
            }
        }
    }
}

/// A manifest whose type is known only from itself; one that does not say it can be an index all the same.
fn parsed(bytes: &[u8]) -> Option<Manifest> {
    Manifest::parse(bytes, "").or_else(|_| Manifest::parse(bytes, OCI_INDEX)).ok()
}

/// Shows the bytes of every index that is here.
fn each_index(store: &Store, show: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
    let mut repository = None;
    while let Some(next) = store.repositories(repository.as_ref(), 1)?.pop() {
        let mut after = None;
        loop {
            let page = store.manifests(&next, after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
            let Some(last) = page.last() else { break };
            after = Some(last.digest);
            for record in page.iter().filter(|record| media_type::is_index(&record.media_type)) {
                if let Ok(Some(bytes)) = store.blobs().read(&record.digest, MANIFEST_BYTES_MAX) {
                    show(&bytes);
                }
            }
        }
        repository = Some(next);
    }
    Ok(())
}
