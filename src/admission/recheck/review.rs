//! Judging everything that is here once for each generation, behind and paced, so that what is served no more is known
//! before anybody asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Rechecks, Unserved};
use crate::error_chain::chain;
use crate::limits::LISTING_ENTRIES_COUNT_MAX;
use crate::oci::name::RepositoryName;
use crate::store::{Change, PrincipalRef, StoreError, Transaction};

/// Manifests after which others get their turn, for as long as these took.
const PACE_COUNT: u64 = 64;
/// Manifests after which the log hears of it.
const LOG_COUNT: u64 = 2_000;

/// How far the review is, for whoever watches.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The generation that was reviewed to its end; 0 before the first.
    reviewed: AtomicU64,
    looked_at: AtomicU64,
    refused: AtomicU64,
}

/// What is counted of the gate at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReviewCounts {
    pub generation: u64,
    /// Whether everything was judged under this generation.
    pub is_reviewed: bool,
    /// Manifests that the review has looked at in the newest pass.
    pub looked_at: u64,
    /// Those of them that are refused.
    pub refused: u64,
    /// Judgements since the start, and how many refused.
    pub judged_total: u64,
    pub judged_refused_total: u64,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewEnd {
    Done {
        manifests: u64,
        refused: u64,
    },
    /// It was told to stop, or another generation began.
    Stopped,
}

impl Rechecks {
    /// The counts now.
    pub fn counts(&self) -> ReviewCounts {
        let generation = self.current().number;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ReviewCounts {
            generation,
            is_reviewed: load(&self.review.reviewed) == generation,
            looked_at: load(&self.review.looked_at),
            refused: load(&self.review.refused),
            judged_total: load(&self.judged_count),
            judged_refused_total: load(&self.refused_count),
        }
    }

    /// Whether a pass is due: not everything was judged under this generation. What was reviewed before the start counts.
    pub fn is_review_due(&self) -> Result<bool, StoreError> {
        let generation = self.generation(self.now());
        if self.review.reviewed.load(Ordering::Relaxed) == generation.number {
            return Ok(false);
        }
        // A policy with times in it may mean something else by now.
        let is_timeless = generation.until().is_none()
            && !generation.policy.looks_at_certificates()
            && !generation.policy.looks_at_age();
        if generation.number == 1
            && is_timeless
            && self.store.reviewed_policy()?.as_ref() == Some(generation.policy.digest())
        {
            self.review.reviewed.store(1, Ordering::Relaxed);
            return Ok(false);
        }
        Ok(true)
    }

    /// One pass over everything that is here. `rest` is called now and then with the time that was worked since.
    pub fn review(&self, rest: &dyn Fn(Duration), stop: &dyn Fn() -> bool) -> Result<ReviewEnd, StoreError> {
        let generation = self.generation(self.now());
        let number = generation.number;
        self.review.looked_at.store(0, Ordering::Relaxed);
        self.review.refused.store(0, Ordering::Relaxed);
        let mut began = self.store.clock().running();
        let mut repository: Option<RepositoryName> = None;
        while let Some(next) = self.store.repositories(repository.as_ref(), 1)?.pop() {
            let mut after = None;
            loop {
                let page = self.store.manifests(&next, after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
                let Some(last) = page.last() else { break };
                after = Some(last.digest);
                for record in &page {
                    if stop() || self.generation(self.now()).number != number {
                        self.write_noted();
                        return Ok(ReviewEnd::Stopped);
                    }
                    let judged = self.manifest(&generation, &next, &record.digest, self.now(), true);
                    let looked_at = self.count_reviewed(&next, judged.map(|verdict| verdict.outcome.is_ok()));
                    if looked_at.is_multiple_of(PACE_COUNT) {
                        rest(self.store.clock().running().saturating_sub(began));
                        began = self.store.clock().running();
                    }
                }
            }
            repository = Some(next);
        }
        self.write_noted();
        self.end_review(number, generation.policy.digest())
    }

    fn count_reviewed(&self, repository: &RepositoryName, judged: Result<bool, Unserved>) -> u64 {
        let looked_at = self.review.looked_at.fetch_add(1, Ordering::Relaxed) + 1;
        match judged {
            Ok(true) => {}
            Ok(false) | Err(Unserved::Refused(_)) => {
                self.review.refused.fetch_add(1, Ordering::Relaxed);
            }
            // A sweep or a deletion was quicker, or a scrub will say it.
            Err(Unserved::Missing) => {}
            Err(Unserved::Failed(error)) => {
                tracing::warn!(%repository, error = %chain(&*error), "an image was not judged again");
            }
        }
        if looked_at.is_multiple_of(LOG_COUNT) {
            let refused = self.review.refused.load(Ordering::Relaxed);
            tracing::info!(looked_at, refused, "what is here is judged anew");
        }
        looked_at
    }

    fn end_review(&self, generation: u64, policy: &crate::oci::digest::Digest) -> Result<ReviewEnd, StoreError> {
        let manifests = self.review.looked_at.load(Ordering::Relaxed);
        let refused = self.review.refused.load(Ordering::Relaxed);
        self.review.reviewed.store(generation, Ordering::Relaxed);
        tracing::info!(generation, manifests, refused, "everything that is here was judged");
        if manifests > 0 && self.store.reviewed_policy()?.as_ref() != Some(policy) {
            let change = Change::NoteReview { manifests, refused };
            let principal = PrincipalRef::system("gate");
            let transaction = Transaction { policy: Some(*policy), ..Transaction::new(principal, vec![change]) };
            if let Err(error) = self.store.commit(transaction) {
                tracing::warn!(error = %chain(&error), "the end of a review was not written down");
            }
        }
        Ok(ReviewEnd::Done { manifests, refused })
    }
}
