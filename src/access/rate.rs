//! How often: token buckets by project, account and address. Pure: time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::limits::ATTEMPTS_COUNT_MAX;

/// Manifest pulls a minute; 0: as many as come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateSettings {
    pub project_per_minute: u32,
    pub account_per_minute: u32,
    pub address_per_minute: u32,
}

/// Whose pulls are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    Project(String),
    Account(String),
    Address(IpAddr),
}

impl Counted {
    /// The word for it.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Project(_) => "project",
            Self::Account(_) => "account",
            Self::Address(_) => "address",
        }
    }
}

/// Too many for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {per_minute} manifests a minute were pulled by this {what}: try again in {retry_after_seconds} s")]
pub struct TooOften {
    pub what: &'static str,
    pub per_minute: u32,
    pub retry_after_seconds: u64,
}

/// What is left of a bucket, in pulls that one minute brings `per_minute` of.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Time at which the bucket would be full again.
    full_at: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

/// All buckets that are not full.
#[derive(Debug)]
pub struct Rates {
    settings: RateSettings,
    buckets: HashMap<Counted, Bucket>,
}

impl Rates {
    /// All buckets are full.
    pub fn new(settings: RateSettings) -> Self {
        Self { settings, buckets: HashMap::new() }
    }

    const fn per_minute(&self, counted: &Counted) -> u32 {
        match counted {
            Counted::Project(_) => self.settings.project_per_minute,
            Counted::Account(_) => self.settings.account_per_minute,
            Counted::Address(_) => self.settings.address_per_minute,
        }
    }

    /// Takes one pull from each of the buckets, or from none where one is empty.
    pub fn take(&mut self, counted: &[Counted], now: Duration) -> Result<(), TooOften> {
        for one in counted {
            let per_minute = self.per_minute(one);
            if per_minute == 0 {
                continue;
            }
            let full_at = self.buckets.get(one).map_or(now, |bucket| bucket.full_at.max(now));
            let beyond = (full_at + MINUTE / per_minute).saturating_sub(now + MINUTE);
            if !beyond.is_zero() {
                let retry_after_seconds = beyond.as_secs() + u64::from(beyond.subsec_nanos() > 0);
                return Err(TooOften { what: one.what(), per_minute, retry_after_seconds });
            }
        }
        if self.buckets.len() + counted.len() > ATTEMPTS_COUNT_MAX {
            self.buckets.retain(|_, bucket| bucket.full_at > now);
        }
        if self.buckets.len() + counted.len() > ATTEMPTS_COUNT_MAX {
            // More callers than are told apart: they begin anew rather than being held in memory.
            self.buckets.clear();
        }
        for one in counted {
            let per_minute = self.per_minute(one);
            if per_minute > 0 {
                let bucket = self.buckets.entry(one.clone()).or_insert(Bucket { full_at: now });
                bucket.full_at = bucket.full_at.max(now) + MINUTE / per_minute;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Counted, RateSettings, Rates, TooOften};

    #[test]
    fn a_bucket_holds_a_minute_and_fills_evenly() {
        let settings = RateSettings { project_per_minute: 60, ..RateSettings::default() };
        let mut rates = Rates::new(settings);
        let (one, other) = ([Counted::Project("a".to_owned())], [Counted::Project("b".to_owned())]);
        let now = Duration::from_secs(500);
        for at in 0..60 {
            assert_eq!(rates.take(&one, now), Ok(()), "{at}");
        }
        let refused = TooOften { what: "project", per_minute: 60, retry_after_seconds: 1 };
        assert_eq!(rates.take(&one, now), Err(refused));
        assert_eq!(rates.take(&other, now), Ok(()));
        let later = now + Duration::from_millis(1_000);
        assert_eq!(rates.take(&one, later), Ok(()));
        assert!(rates.take(&one, later).is_err());
        assert_eq!((0..100).filter(|_| rates.take(&one, now + Duration::from_secs(600)).is_ok()).count(), 60);
    }

    #[test]
    fn what_one_bucket_refuses_is_taken_from_none() {
        let settings = RateSettings { project_per_minute: 2, account_per_minute: 1, address_per_minute: 0 };
        let mut rates = Rates::new(settings);
        let project = Counted::Project("a".to_owned());
        let address = Counted::Address("192.0.2.1".parse().unwrap());
        let both = [project.clone(), Counted::Account("r".to_owned()), address];
        assert!(rates.take(&both, Duration::ZERO).is_ok());
        for _ in 0..5 {
            assert_eq!(rates.take(&both, Duration::ZERO).unwrap_err().what, "account");
        }
        assert!(rates.take(std::slice::from_ref(&project), Duration::ZERO).is_ok());
        assert_eq!(rates.take(&[project], Duration::ZERO).unwrap_err().what, "project");
    }
}
