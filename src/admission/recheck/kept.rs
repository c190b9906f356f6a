//! Verdicts about what is here, kept until something that they depend on changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use crate::limits::KEPT_VERDICTS_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::verify::Refusal;

/// What a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    Manifest,
    Blob,
}

/// In what capacity something is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capacity {
    /// Judged itself, or a member of an index that was. It covers its members and what speaks of it.
    Image,
    /// Speaks of an image, and covers nothing.
    Companion,
}

/// Why something is not served, and on what that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub refusal: Refusal,
    /// Documents that were looked at.
    pub evidence_count: usize,
    pub judged_at: Timestamp,
}

pub(super) type Outcome = Result<Capacity, Arc<Refused>>;

/// When a verdict holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// Of policy and trust.
    pub generation: u64,
    /// Where the repository, and with it the evidence, had changed last.
    pub changed_at: u64,
    pub from: Timestamp,
    /// The end, which does not belong to it.
    pub until: Timestamp,
}

impl Validity {
    pub fn holds(&self, generation: u64, changed_at: u64, now: Timestamp) -> bool {
        self.generation == generation && self.changed_at == changed_at && self.from <= now && now < self.until
    }
}

/// One verdict.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub validity: Validity,
    pub outcome: Outcome,
}

/// The verdicts; bounded.
#[derive(Debug, Default)]
pub(super) struct Kept(RwLock<Entries>);

#[derive(Debug, Default)]
struct Entries {
    count: usize,
    by_repository: HashMap<RepositoryName, HashMap<(About, Digest), Verdict>>,
}

/// What a verdict is kept under.
pub(super) type Key<'a> = (&'a RepositoryName, About, &'a Digest);

impl Entries {
    fn forget_all_but(&mut self, generation: u64) {
        self.by_repository.retain(|_, own| {
            own.retain(|_, verdict| verdict.validity.generation == generation);
            !own.is_empty()
        });
        self.count = self.by_repository.values().map(HashMap::len).sum();
    }
}

impl Kept {
    /// The verdict, whether or not it still holds.
    pub fn recall(&self, repository: &RepositoryName, about: About, digest: &Digest) -> Option<Verdict> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.by_repository.get(repository)?.get(&(about, *digest)).cloned()
    }

    /// Keeps a verdict. Where there is no room, those of other generations are forgotten, and then all: each costs one
    /// judgement. Whoever looks at everything (`behind`) makes nobody else's verdict go.
    pub fn remember(&self, (repository, about, digest): Key<'_>, verdict: Verdict, behind: bool) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let own = entries.by_repository.get(repository);
        let is_new = own.is_none_or(|own| !own.contains_key(&(about, *digest)));
        if is_new && entries.count >= KEPT_VERDICTS_COUNT_MAX {
            entries.forget_all_but(verdict.validity.generation);
        }
        if is_new && entries.count >= KEPT_VERDICTS_COUNT_MAX {
            if behind {
                return;
            }
            *entries = Entries::default();
        }
        let replaced = match entries.by_repository.get_mut(repository) {
            Some(own) => own.insert((about, *digest), verdict),
            None => {
                let own = HashMap::from([((about, *digest), verdict)]);
                entries.by_repository.insert(repository.clone(), own);
                None
            }
        };
        entries.count += usize::from(replaced.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Capacity, Kept, Validity, Verdict};
    use crate::limits::KEPT_VERDICTS_COUNT_MAX;
    use crate::oci::digest::Digest;

    fn time(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_verdict_holds_until_anything_that_it_depends_on_changes() {
        let validity = Validity { generation: 1, changed_at: 7, from: time(10), until: time(20) };
        assert!(validity.holds(1, 7, time(10)) && validity.holds(1, 7, time(19)));
        for (generation, changed_at, second) in [(2, 7, 10), (1, 8, 10), (1, 7, 20), (1, 7, 9)] {
            assert!(!validity.holds(generation, changed_at, time(second)), "{generation} {changed_at} {second}");
        }
    }

    #[test]
    fn there_is_a_bound() {
        let kept = Kept::default();
        let validity = Validity { generation: 1, changed_at: 1, from: time(0), until: time(1) };
        let verdict = Verdict { validity, outcome: Ok(Capacity::Image) };
        let name = "a/b".parse().unwrap();
        let digest = |number: usize| Digest::of(&number.to_be_bytes());
        let is_kept = |number| kept.recall(&name, About::Manifest, &digest(number)).is_some();
        let remember = |number, behind| {
            kept.remember((&name, About::Manifest, &digest(number)), verdict.clone(), behind);
        };
        for number in 0..KEPT_VERDICTS_COUNT_MAX {
            remember(number, false);
            remember(number, false);
        }
        remember(KEPT_VERDICTS_COUNT_MAX, true);
        assert!(is_kept(0) && !is_kept(KEPT_VERDICTS_COUNT_MAX));
        remember(KEPT_VERDICTS_COUNT_MAX, false);
        assert!(!is_kept(0) && is_kept(KEPT_VERDICTS_COUNT_MAX));
        assert!(kept.recall(&name, About::Blob, &digest(KEPT_VERDICTS_COUNT_MAX)).is_none());
        // Those of an older generation make room.
        for number in 0..KEPT_VERDICTS_COUNT_MAX {
            remember(number, false);
        }
        let newer = Verdict { validity: Validity { generation: 2, ..validity }, outcome: Ok(Capacity::Image) };
        kept.remember((&name, About::Manifest, &digest(KEPT_VERDICTS_COUNT_MAX + 1)), newer, true);
        assert!(!is_kept(1) && is_kept(KEPT_VERDICTS_COUNT_MAX + 1));
    }
}
