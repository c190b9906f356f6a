//! The gate while images are here: what was admitted is judged again when policy, trust, evidence or time has changed.
//!
//! A verdict is kept with all that it depends on (the repository and its evidence, the name elsewhere, the manifest, policy
//! and trust, a span of time) and asked for at every pull; a change makes it a thing of the past at once, so that nothing
//! is served by an old one. Behind, [`Rechecks::review`] judges everything that is here once for each generation.
//!
//! Never here: a rule. [`crate::verify`] judges; this remembers, and says what covers what.

mod cover;
mod generation;
mod kept;
mod noted;
mod review;
mod revoked;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use self::cover::Judge;
use self::generation::Generation;
use self::kept::{About, Capacity, Kept, Outcome, Refused, Validity, Verdict};
use self::noted::Noted;
pub use self::review::{ReviewCounts, ReviewEnd};
use super::error::AdmissionError;
use crate::access::{Access, Enforcement};
use crate::limits::{CERTIFICATE_VERDICT_SECONDS_MAX, COVERING_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::store::{Store, StoreError};
use crate::sys::clock::trusted_now;
use crate::verify::{Refusal, TrustPolicy, rule_names};

/// The policy in force.
pub type PolicySource = Arc<dyn Fn() -> Arc<TrustPolicy> + Send + Sync>;

/// Parents of a blob that are looked at in one step.
const STEP_COUNT: usize = 16;

/// How much is judged at once.
#[derive(Clone, Copy, Debug)]
pub struct RecheckSettings {
    /// Images that are judged at the same time; one image is never judged twice at once.
    pub places_count: usize,
    /// Manifests and evidence that are read of one image.
    pub bytes_max: Option<usize>,
}

/// Verdicts about everything that is here.
pub struct Rechecks {
    store: Store,
    access: Arc<Access>,
    policy: PolicySource,
    bytes_max: Option<usize>,
    generation: Mutex<Arc<Generation>>,
    kept: Kept,
    noted: Noted,
    /// Whoever judges holds the place of what is judged.
    places: Vec<Mutex<()>>,
    hasher: RandomState,
    judged_count: AtomicU64,
    refused_count: AtomicU64,
    review: review::Progress,
}

impl std::fmt::Debug for Rechecks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rechecks").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

/// Leave to serve something, for as long as [`Rechecks::is_current`] says so and nothing in the store has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    validity: Validity,
    /// Why it would be refused if its project enforced.
    audited: Option<Arc<Refused>>,
    is_companion: bool,
}

/// Why something that is here is not served.
#[derive(Debug)]
pub enum Unserved {
    /// A rule refuses it.
    Refused(Refusal),
    /// Its bytes are not here.
    Missing,
    /// There is no verdict.
    Failed(Box<AdmissionError>),
}

impl From<AdmissionError> for Unserved {
    fn from(error: AdmissionError) -> Self {
        match (error.refusal(), error) {
            (Some(refusal), _) => Self::Refused(refusal),
            (None, AdmissionError::Missing(_)) => Self::Missing,
            (None, error) => Self::Failed(Box::new(error)),
        }
    }
}

impl From<StoreError> for Unserved {
    fn from(error: StoreError) -> Self {
        Self::Failed(Box::new(AdmissionError::unread(&"the store", error.into())))
    }
}

#[cfg(test)]
impl Served {
    /// Leave that never was given, for tests of what remembers it.
    pub(crate) fn for_test() -> Self {
        let (from, until) = (Timestamp::MIN, Timestamp::MAX);
        Self { validity: Validity { generation: 0, changed_at: 0, from, until }, audited: None, is_companion: false }
    }
}

impl Served {
    /// Whether it is only served because it speaks of an image that is: nothing to run.
    pub const fn is_companion(&self) -> bool {
        self.is_companion
    }

    /// What a person is to be told, where it is served only because its project does not enforce.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let audited = self.audited.as_ref()?;
        let age_seconds = now.duration_since(audited.judged_at).as_secs().max(0);
        let Refused { refusal, evidence_count, .. } = audited.as_ref();
        Some(format!(
            "served under audit, although {refusal}; judged {age_seconds} s ago by {evidence_count} documents of evidence"
        ))
    }
}

impl Rechecks {
    /// Verdicts about what `store` holds, by the policy in force.
    pub fn new(store: Store, access: Arc<Access>, policy: PolicySource, settings: RecheckSettings) -> Arc<Self> {
        let now = trusted_now(store.clock().wall(), store.time_floor());
        let generation = Generation::new(1, policy(), now);
        Arc::new(Self {
            store,
            access,
            policy,
            bytes_max: settings.bytes_max,
            generation: Mutex::new(Arc::new(generation)),
            kept: Kept::default(),
            noted: Noted::default(),
            places: (0..settings.places_count.clamp(1, 64)).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            judged_count: AtomicU64::default(),
            refused_count: AtomicU64::default(),
            review: review::Progress::default(),
        })
    }

    fn now(&self) -> Timestamp {
        trusted_now(self.store.clock().wall(), self.store.time_floor())
    }

    fn current(&self) -> MutexGuard<'_, Arc<Generation>> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation at `now`; the next one where something has changed.
    fn generation(&self, now: Timestamp) -> Arc<Generation> {
        let policy = (self.policy)();
        let mut current = self.current();
        if !current.holds(&policy, now) {
            let number = current.number + 1;
            tracing::info!(generation = number, policy = %policy.digest(), "what is here is judged anew");
            *current = Arc::new(Generation::new(number, policy, now));
        }
        Arc::clone(&current)
    }

    /// Whether leave that was given still holds, as far as policy, trust and time go. Whoever remembers it forgets it when
    /// the store changes.
    pub fn is_current(&self, served: &Served) -> bool {
        let now = self.now();
        let policy = (self.policy)();
        let validity = &served.validity;
        let current = self.current();
        current.number == validity.generation
            && current.holds(&policy, now)
            && validity.from <= now
            && now < validity.until
    }

    /// Whether a manifest that is here is served now.
    pub fn check(&self, repository: &RepositoryName, digest: &Digest) -> Result<Served, Unserved> {
        let now = self.now();
        let generation = self.generation(now);
        self.enforced(repository, self.manifest(&generation, repository, digest, now, false)?)
    }

    /// Whether a blob that manifests here point at is served now: one of them must be.
    pub fn check_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Served, Unserved> {
        let now = self.now();
        let generation = self.generation(now);
        let changed_at = self.store.changed_at(repository);
        if let Some(verdict) = self.kept.recall(repository, About::Blob, digest)
            && verdict.validity.holds(generation.number, changed_at, now)
        {
            return self.enforced(repository, verdict);
        }
        let (mut after, mut last) = (None, Err(Unserved::Missing));
        for _ in 0..COVERING_COUNT_MAX / STEP_COUNT {
            let page = self.store.parents_page(repository, digest, after.as_ref(), STEP_COUNT)?;
            for (parent, _) in &page {
                let verdict = match self.manifest(&generation, repository, parent, now, false) {
                    Err(Unserved::Missing) => continue,
                    judged => judged?,
                };
                // A manifest of the repository may have come in between: it counts at the next look.
                let verdict = Verdict { validity: Validity { changed_at, ..verdict.validity }, ..verdict };
                let is_served = verdict.outcome.is_ok();
                if is_served {
                    self.kept.remember((repository, About::Blob, digest), verdict.clone(), false);
                }
                last = self.enforced(repository, verdict);
                if is_served || last.is_ok() {
                    return last;
                }
            }
            match page.last().filter(|_| page.len() == STEP_COUNT) {
                Some((digest, _)) => after = Some(*digest),
                None => break,
            }
        }
        last
    }

    /// What a verdict means in its project. The deny list is above every project, and so is a policy that cannot be read.
    fn enforced(&self, repository: &RepositoryName, verdict: Verdict) -> Result<Served, Unserved> {
        let validity = verdict.validity;
        let refused = match verdict.outcome {
            Ok(capacity) => {
                let is_companion = capacity == Capacity::Companion;
                return Ok(Served { validity, audited: None, is_companion });
            }
            Err(refused) => refused,
        };
        match self.access.enforcement(repository) {
            _ if rule_names::ABOVE_PROJECTS.contains(&&*refused.refusal.rule) => {
                Err(Unserved::Refused(refused.refusal.clone()))
            }
            Enforcement::Enforce => Err(Unserved::Refused(refused.refusal.clone())),
            Enforcement::Audit => Ok(Served { validity, audited: Some(refused), is_companion: false }),
            Enforcement::Open => Ok(Served { validity, audited: None, is_companion: false }),
        }
    }

    /// The verdict about a manifest: as it is kept, or made now, once for all who ask.
    fn manifest(
        &self,
        generation: &Generation,
        repository: &RepositoryName,
        digest: &Digest,
        now: Timestamp,
        behind: bool,
    ) -> Result<Verdict, Unserved> {
        let kept = || self.kept_at(generation, repository, digest, self.store.changed_at(repository), now);
        if let Some(verdict) = kept() {
            return Ok(verdict);
        }
        let place = usize::try_from(self.hasher.hash_one((repository, digest)) % self.places.len() as u64);
        let place = self.places.get(place.unwrap_or_default()).or_else(|| self.places.first());
        let _place = place.map(|place| place.lock().unwrap_or_else(PoisonError::into_inner));
        match kept() {
            Some(verdict) => Ok(verdict),
            None => self.judge(generation, repository, digest, now, behind),
        }
    }

    /// What is kept of a manifest, if it is still what would be found in a repository that last changed then.
    fn kept_at(
        &self,
        generation: &Generation,
        repository: &RepositoryName,
        digest: &Digest,
        changed_at: u64,
        now: Timestamp,
    ) -> Option<Verdict> {
        let verdict = self.kept.recall(repository, About::Manifest, digest)?;
        verdict.validity.holds(generation.number, changed_at, now).then_some(verdict)
    }

    fn judge(
        &self,
        generation: &Generation,
        repository: &RepositoryName,
        digest: &Digest,
        now: Timestamp,
        behind: bool,
    ) -> Result<Verdict, Unserved> {
        // Before anything is looked at: what changes from here on makes what is found now a thing of the past.
        let changed_at = self.store.changed_at(repository);
        let validity = Validity { generation: generation.number, changed_at, from: now, until: until(generation, now) };
        let revoked = generation.revoked(&self.store)?;
        let known = |digest: &Digest| {
            self.kept_at(generation, repository, digest, changed_at, now).map(|verdict| verdict.outcome)
        };
        let mut judge = Judge {
            store: &self.store,
            repository,
            policy: &generation.policy,
            revoked: &revoked,
            now,
            bytes_max: self.bytes_max,
            known: &known,
            images: std::collections::HashMap::new(),
        };
        let outcome = judge.judge(digest)?;
        let images = judge.images;
        // An index that covers one platform covers the next too.
        for (index, outcome) in images.into_iter().filter(|(other, outcome)| other != digest && outcome.is_ok()) {
            let verdict = Verdict { validity, outcome };
            self.kept.remember((repository, About::Manifest, &index), verdict, behind);
        }
        self.count(generation, repository, digest, &outcome)?;
        let verdict = Verdict { validity, outcome };
        self.kept.remember((repository, About::Manifest, digest), verdict.clone(), behind);
        Ok(verdict)
    }

    fn count(
        &self,
        generation: &Generation,
        repository: &RepositoryName,
        digest: &Digest,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        self.judged_count.fetch_add(1, Ordering::Relaxed);
        self.refused_count.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
        let rule = outcome.as_ref().err().map(|refused| refused.refusal.rule.as_str());
        self.noted.note(&self.store, generation.policy.digest(), (repository, digest), rule)
    }

    /// Writes changes of standing that were seen into the journal.
    pub fn write_noted(&self) {
        self.noted.write(&self.store);
    }
}

/// Until when a verdict that was made now holds if nothing changes.
fn until(generation: &Generation, now: Timestamp) -> Timestamp {
    let of_policy = generation.until().unwrap_or(Timestamp::MAX);
    if !generation.policy.looks_at_certificates() && !generation.policy.looks_at_age() {
        return of_policy;
    }
    let of_certificates = now.saturating_add(SignedDuration::from_secs(CERTIFICATE_VERDICT_SECONDS_MAX));
    of_policy.min(of_certificates.unwrap_or(Timestamp::MAX))
}
