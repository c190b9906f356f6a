//! Gives back the bytes that nothing needs any more.
//!
//! Marking is the store's: its records know at any time what an admitted manifest of any repository needs. What they do
//! not need is condemned first, waits its grace in running seconds (time that a power cut or a wrong clock cannot
//! shorten), is looked at again and only then given up in the journal; the files go last. Files that no record names
//! (of a deleted manifest or blob, or of an upload or import that was interrupted and may be continued) go the same way.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::limits::{LISTING_ENTRIES_COUNT_MAX, SWEEP_DIGESTS_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::store::{Change, CommitError, Condemned, PrincipalRef, Store, StoreError, Transaction, Unreferenced};

/// How to sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepOptions {
    /// Seconds of running time between condemning and unlinking; 0 gives the bytes back at once.
    pub grace_seconds: u64,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What a sweep did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    pub dry_run: bool,
    /// Whose grace began now.
    pub condemned: u64,
    /// Whose grace has not yet passed, the newly condemned among them.
    pub waiting: u64,
    /// Seconds of running time until the next of them may go; 0 when none waits.
    pub next_in_seconds: u64,
    /// Contents whose files went, and how many bytes that gave back.
    pub unlinked: u64,
    pub bytes_freed: u64,
}

/// Why a sweep stopped. What it did before stays done; sweeping again goes on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("the store cannot be read or its files not removed")]
    Store(#[from] StoreError),
    #[error("what is to go could not be written to the journal")]
    Commit(#[from] CommitError),
}

/// Condemns what nothing needs and unlinks what was condemned long enough ago.
pub fn sweep(store: &Store, options: SweepOptions, principal: &PrincipalRef) -> Result<SweepReport, SweepError> {
    let mut report = SweepReport { dry_run: options.dry_run, ..SweepReport::default() };
    let sentenced = condemned(store)?.into_iter().map(|condemned| condemned.digest).collect();
    condemn(store, options, principal, &sentenced, Store::unreferenced, &mut report)?;
    condemn(store, options, principal, &sentenced, Store::orphans, &mut report)?;
    let ready = look_again(store, options, &mut report)?;
    for digests in ready.chunks(SWEEP_DIGESTS_COUNT_MAX) {
        store.commit(Transaction::new(principal.clone(), vec![Change::Sweep { digests: digests.to_vec() }]))?;
        count(&mut report, &store.unlink_swept(digests.to_vec())?);
    }
    tracing::info!(
        condemned = report.condemned,
        waiting = report.waiting,
        unlinked = report.unlinked,
        bytes_freed = report.bytes_freed,
        dry_run = report.dry_run,
        "swept"
    );
    Ok(report)
}

fn count(report: &mut SweepReport, removed: &[Unreferenced]) {
    report.unlinked += removed.len() as u64;
    report.bytes_freed += removed.iter().map(|content| content.size_bytes).sum::<u64>();
}

/// Content after a digest, at least so many if there are.
type Pages = fn(&Store, Option<&Digest>, usize) -> Result<Vec<Unreferenced>, StoreError>;

fn condemn(
    store: &Store,
    options: SweepOptions,
    principal: &PrincipalRef,
    sentenced: &BTreeSet<Digest>,
    pages: Pages,
    report: &mut SweepReport,
) -> Result<(), SweepError> {
    let mut after = None;
    loop {
        let mut page = pages(store, after.as_ref(), SWEEP_DIGESTS_COUNT_MAX)?;
        let is_last = page.len() < SWEEP_DIGESTS_COUNT_MAX;
        after = page.last().map(|content| content.digest);
        page.retain(|content| !sentenced.contains(&content.digest));
        report.condemned += page.len() as u64;
        if options.dry_run {
            match options.grace_seconds {
                0 => count(report, &page),
                _ => report.waiting += page.len() as u64,
            }
        }
        for part in page.chunks(SWEEP_DIGESTS_COUNT_MAX).filter(|_| !options.dry_run) {
            let digests: Vec<Digest> = part.iter().map(|content| content.digest).collect();
            let change = Change::Condemn { digests, grace_seconds: options.grace_seconds };
            store.commit(Transaction::new(principal.clone(), vec![change]))?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// All content whose grace has begun.
fn condemned(store: &Store) -> Result<Vec<Condemned>, StoreError> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map(|condemned: &Condemned| condemned.digest);
        let page = store.condemned(after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
        let is_last = page.len() < LISTING_ENTRIES_COUNT_MAX;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// The condemned whose grace has passed. The store looks once more, under its own lock, whether anything needs them.
fn look_again(store: &Store, options: SweepOptions, report: &mut SweepReport) -> Result<Vec<Digest>, SweepError> {
    let (over, waiting): (Vec<_>, Vec<_>) =
        condemned(store)?.into_iter().partition(|condemned| condemned.grace_seconds_left == 0);
    report.waiting += waiting.len() as u64;
    report.next_in_seconds = waiting.iter().map(|condemned| condemned.grace_seconds_left).min().unwrap_or(0);
    let ready: Vec<Digest> = over.into_iter().map(|condemned| condemned.digest).collect();
    if !options.dry_run {
        return Ok(ready);
    }
    for digest in ready {
        let size_bytes = store.blobs().stat(&digest).map_err(StoreError::from)?.unwrap_or(0);
        count(report, &[Unreferenced { digest, size_bytes }]);
    }
    Ok(Vec::new())
}
