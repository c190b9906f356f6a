//! Failed attempts to sign in, and how long the next one has to wait. Pure: time is an argument.
//!
//! What is slowed is the pair of account and address, so that a stranger who guesses an operator's password locks himself
//! out and not the operator; and the address as a whole, so that guessing across accounts is slow too. Locking the account
//! itself, wherever attempts come from (NIST SP 800-53 AC-7), is for the sites that must: there a stranger can lock an
//! account, and the console unlocks it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::limits::ATTEMPTS_COUNT_MAX;

/// How attempts are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptSettings {
    /// Failures in a row after which an account is locked wherever they came from; 0: never.
    pub lockout_failures_count: u32,
    /// For how long it is.
    pub lockout_seconds: u64,
}

/// Failures of one account from one address that cost nothing but a fast answer.
const FREE_COUNT: u32 = 3;
/// The same for one address over all accounts: people share addresses.
const FREE_OF_ADDRESS_COUNT: u32 = 20;
/// Longest wait of a pair of account and address.
const WAIT_SECONDS_MAX: u64 = 300;
/// Longest wait of an address.
const WAIT_OF_ADDRESS_SECONDS_MAX: u64 = 30;
/// Failures are forgotten after this long without another.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// What is looked at of a name.
const NAME_LETTERS_MAX: usize = 128;

/// Why the next attempt is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Seconds(u64),
    Locked { seconds: u64 },
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last: Duration,
    /// Running time until which nothing is looked at.
    until: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Pair(String, IpAddr),
    Address(IpAddr),
    Account(String),
}

/// All failures that are remembered.
#[derive(Debug)]
pub struct Attempts {
    settings: AttemptSettings,
    failures: HashMap<Key, Failures>,
}

impl Attempts {
    /// Nothing failed so far.
    pub fn new(settings: AttemptSettings) -> Self {
        Self { settings, failures: HashMap::new() }
    }

    /// Whether the next attempt is looked at, at running time `now`.
    pub fn check(&self, name: &str, remote: Option<IpAddr>, now: Duration) -> Result<(), Wait> {
        let left = |key: &Key| {
            let until = self.failures.get(key).map(|failures| failures.until);
            until.map(|until| until.saturating_sub(now)).filter(|left| !left.is_zero())
        };
        let rounded = |left: Duration| left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let [pair, address, account] = keys(name, remote);
        if let Some(left) = left(&account) {
            return Err(Wait::Locked { seconds: rounded(left) });
        }
        match left(&pair).max(left(&address)) {
            Some(left) => Err(Wait::Seconds(rounded(left))),
            None => Ok(()),
        }
    }

    /// Notes that an attempt failed.
    pub fn failed(&mut self, name: &str, remote: Option<IpAddr>, now: Duration) {
        if self.failures.len() + 3 > ATTEMPTS_COUNT_MAX {
            self.forget(now);
        }
        let settings = self.settings;
        for key in keys(name, remote) {
            let failures = self.failures.entry(key.clone()).or_default();
            if now.saturating_sub(failures.last) >= FORGOTTEN_AFTER {
                failures.count = 0;
            }
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
            let wait_seconds = match key {
                Key::Pair(..) => doubling(failures.count, FREE_COUNT, WAIT_SECONDS_MAX),
                Key::Address(_) => doubling(failures.count, FREE_OF_ADDRESS_COUNT, WAIT_OF_ADDRESS_SECONDS_MAX),
                Key::Account(_) if settings.lockout_failures_count == 0 => 0,
                Key::Account(_) if failures.count < settings.lockout_failures_count => 0,
                Key::Account(_) => settings.lockout_seconds,
            };
            failures.until = failures.until.max(now + Duration::from_secs(wait_seconds));
        }
    }

    /// Notes that an attempt was right. The address keeps what it has: it may have guessed at others.
    pub fn succeeded(&mut self, name: &str, remote: Option<IpAddr>) {
        let [pair, _, account] = keys(name, remote);
        self.failures.remove(&pair);
        self.failures.remove(&account);
    }

    /// Forgets every failure of an account; whether there was one.
    pub fn unlock(&mut self, name: &str) -> bool {
        let before = self.failures.len();
        self.failures.retain(|key, _| !matches!(key, Key::Pair(own, _) | Key::Account(own) if own == name));
        self.failures.len() < before
    }

    /// Makes room: what is old goes first, then what waits for nothing.
    fn forget(&mut self, now: Duration) {
        self.failures.retain(|_, failures| now.saturating_sub(failures.last) < FORGOTTEN_AFTER);
        if self.failures.len() + 3 > ATTEMPTS_COUNT_MAX {
            self.failures.retain(|_, failures| failures.until > now);
        }
        if self.failures.len() + 3 > ATTEMPTS_COUNT_MAX {
            // A flood from everywhere: the oldest half is what an attacker made longest ago.
            let mut times: Vec<Duration> = self.failures.values().map(|failures| failures.last).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or_default();
            self.failures.retain(|_, failures| failures.last > middle);
        }
    }
}

fn keys(name: &str, remote: Option<IpAddr>) -> [Key; 3] {
    let name: String = name.chars().take(NAME_LETTERS_MAX).collect();
    let address = network_of(remote);
    [Key::Pair(name.clone(), address), Key::Address(address), Key::Account(name)]
}

/// Whom an address stands for: one subscriber has a whole /64 of IPv6.
fn network_of(remote: Option<IpAddr>) -> IpAddr {
    match remote.map(|remote| remote.to_canonical()) {
        Some(IpAddr::V6(address)) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        Some(address) => address,
        None => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    }
}

fn doubling(count: u32, free_count: u32, seconds_max: u64) -> u64 {
    match count.checked_sub(free_count) {
        None | Some(0) => 0,
        Some(beyond) => 1_u64.checked_shl(beyond.saturating_sub(1).min(62)).unwrap_or(u64::MAX).min(seconds_max),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::{AttemptSettings, Attempts, Wait};
    use crate::limits::ATTEMPTS_COUNT_MAX;

    const AT: Duration = Duration::from_secs(10_000);

    fn attempts(lockout_failures_count: u32) -> Attempts {
        Attempts::new(AttemptSettings { lockout_failures_count, lockout_seconds: 900 })
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_stranger_who_guesses_waits_longer_each_time_and_the_operator_does_not() {
        let mut attempts = attempts(0);
        let mut waits = Vec::new();
        let mut now = AT;
        for _ in 0..14 {
            attempts.failed("anna", address(1), now);
            let wait = match attempts.check("anna", address(1), now) {
                Err(Wait::Seconds(seconds)) => seconds,
                other => u64::from(other.is_err()) * 1_000_000,
            };
            waits.push(wait);
            now += Duration::from_secs(wait);
            assert_eq!(attempts.check("anna", address(1), now), Ok(()));
            assert_eq!(attempts.check("anna", address(2), now), Ok(()), "from her own machine");
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        attempts.succeeded("anna", address(1));
        attempts.failed("anna", address(1), now);
        assert_eq!(attempts.check("anna", address(1), now), Ok(()));
    }

    #[test]
    fn guessing_across_accounts_is_slow_too() {
        let mut attempts = attempts(0);
        for at in 0..21 {
            assert_eq!(attempts.check("next", address(1), AT), Ok(()), "{at}");
            attempts.failed(&format!("user{at}"), address(1), AT);
        }
        assert_eq!(attempts.check("next", address(1), AT), Err(Wait::Seconds(1)));
        assert_eq!(attempts.check("next", address(2), AT), Ok(()));
    }

    #[test]
    fn a_locked_account_is_locked_from_everywhere_until_it_is_unlocked_or_time_is_over() {
        let mut attempts = attempts(3);
        for from in 1..=3 {
            assert_eq!(attempts.check("anna", address(9), AT), Ok(()));
            attempts.failed("anna", address(from), AT);
        }
        assert_eq!(attempts.check("anna", address(9), AT), Err(Wait::Locked { seconds: 900 }));
        assert_eq!(attempts.check("bert", address(9), AT), Ok(()));
        assert_eq!(attempts.check("anna", address(9), AT + Duration::from_secs(900)), Ok(()));
        assert!(attempts.unlock("anna") && !attempts.unlock("anna"));
        assert_eq!(attempts.check("anna", address(9), AT), Ok(()));
    }

    #[test]
    fn addresses_of_one_subscriber_count_as_one() {
        let mut attempts = attempts(0);
        for last in 0..5 {
            attempts.failed("anna", Some(format!("2001:db8::{last}").parse().unwrap()), AT);
        }
        assert!(attempts.check("anna", Some("2001:db8::ffff".parse().unwrap()), AT).is_err());
        assert!(attempts.check("anna", Some("2001:db8:0:1::".parse().unwrap()), AT).is_ok());
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_than_its_bound() {
        let mut attempts = attempts(0);
        for at in 0..ATTEMPTS_COUNT_MAX {
            attempts.failed(&format!("user{at}"), address(1), AT + Duration::from_secs(at as u64 / 100));
        }
        assert!(attempts.failures.len() <= ATTEMPTS_COUNT_MAX);
        attempts.failed("anna", address(2), AT + Duration::from_secs(3));
        assert!(attempts.failures.len() <= ATTEMPTS_COUNT_MAX);
    }
}
