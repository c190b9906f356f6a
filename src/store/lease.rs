//! Exclusive work on repositories: import and retention never touch the same one at once.
//!
//! Leases live in memory and end with the process. They do not guard single commits (the sequencer orders those), only
//! work that looks first and commits later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::oci::name::RepositoryName;

type Held = BTreeMap<RepositoryName, &'static str>;

/// All leases of one store.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    held: Arc<Mutex<Held>>,
}

/// The right to work on some repositories, given back when dropped.
#[derive(Debug)]
pub struct Lease {
    held: Arc<Mutex<Held>>,
    repositories: Vec<RepositoryName>,
}

/// Somebody else works on one of the repositories.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{repository}' is in use by {by}: try again when that has ended")]
pub struct LeaseHeld {
    pub repository: RepositoryName,
    pub by: &'static str,
}

impl Leases {
    /// Takes all of `repositories` or none, so that no two takers can wait for each other.
    pub(super) fn take(&self, repositories: &[RepositoryName], who: &'static str) -> Result<Lease, LeaseHeld> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for repository in repositories {
            if let Some(by) = held.get(repository) {
                return Err(LeaseHeld { repository: repository.clone(), by });
            }
        }
        held.extend(repositories.iter().map(|repository| (repository.clone(), who)));
        Ok(Lease { held: Arc::clone(&self.held), repositories: repositories.to_vec() })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for repository in &self.repositories {
            held.remove(repository);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Leases;

    #[test]
    fn all_or_none_and_given_back() {
        let leases = Leases::default();
        let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
        let lease = leases.take(std::slice::from_ref(&b), "an import").unwrap();
        assert_eq!(leases.take(&[a.clone(), b.clone()], "retention").unwrap_err().by, "an import");
        leases.take(std::slice::from_ref(&a), "retention").unwrap();
        drop(lease);
        leases.take(&[a, b], "retention").unwrap();
    }
}
