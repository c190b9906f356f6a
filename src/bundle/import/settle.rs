//! From the commit to the receipt: what a crash may have left between the two is finished by the next import.

use super::ImportError;
use super::staging::{STAGING_PREFIX, forget_outcome, outcome, staging_path};
use crate::bundle::format::volume::SetId;
use crate::bundle::receipt::{Receipt, SignedReceipt};
use crate::store::{Position, Store};
use crate::sys::keys::KeyRing;

/// A set that was committed, and the receipt that is still to be signed.
pub(super) struct Published {
    pub receipt: Receipt,
    pub position: Position,
}

/// Signs and keeps the receipt, then clears the staging away.
pub(super) fn finish(
    store: &Store,
    keys: &KeyRing,
    published: Published,
    staging: &str,
) -> Result<SignedReceipt, ImportError> {
    let mut receipt = published.receipt;
    receipt.position = published.position;
    let signed = receipt.keep(store, keys)?;
    store.dir().remove_tree(staging)?;
    Ok(signed)
}

/// Writes receipts of sets that were committed just before a crash, and forgets those that were not.
///
/// It runs before any other set can be committed, so that the mark of the series tells whether this one was, and under
/// which policy.
pub(super) fn settle_interrupted(store: &Store, keys: &KeyRing) -> Result<(), ImportError> {
    for entry in store.dir().list("uploads")? {
        let Some(set) = entry.name.strip_prefix(STAGING_PREFIX).and_then(|set| set.parse::<SetId>().ok()) else {
            continue;
        };
        let staging = staging_path(&set);
        let Some(draft) = outcome(store, &staging)? else { continue };
        match Receipt::parse_draft(&draft) {
            Some(receipt) if receipt.set == set && was_committed(store, &receipt)? => {
                finish(store, keys, Published { receipt, position: store.head() }, &staging)?;
            }
            _ => forget_outcome(store, &staging)?,
        }
    }
    Ok(())
}

fn was_committed(store: &Store, receipt: &Receipt) -> Result<bool, ImportError> {
    let mark = store.newest_import(&receipt.sender, &receipt.series)?;
    Ok(mark.is_some_and(|mark| {
        mark.sequence == receipt.sequence
            && mark.table_digest == receipt.table_digest
            && mark.policy == Some(receipt.policy_digest)
    }))
}
