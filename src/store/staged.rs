//! Manifests that were pushed and wait for what would let them in. Whoever pushed one sees it; it is served to nobody.

use super::Store;
use super::error::StoreError;
use super::record::StagedRecord;
use super::rows::{STAGED, StagedRow, digest_in, from_json, key, scan_prefix, split_repository};
use super::state::State;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;

impl Store {
    /// What waits in a repository at `now`, the oldest first.
    pub fn staged_in(
        &self,
        repository: &RepositoryName,
        now: jiff::Timestamp,
    ) -> Result<Vec<StagedRecord>, StoreError> {
        if !self.may_have_staged(repository) {
            return Ok(Vec::new());
        }
        let mut found = self.all_staged(repository)?;
        found.retain(|record| now < record.until);
        Ok(found)
    }

    /// The same, with what nobody sees any more because its time is over.
    pub fn all_staged(&self, repository: &RepositoryName) -> Result<Vec<StagedRecord>, StoreError> {
        self.shared.state.look(|rows| {
            let prefix = key::all_staged(repository);
            let (mut found, mut outcome) = (Vec::new(), Ok(()));
            scan_prefix(rows, &prefix, &prefix, &mut |key, value| {
                let read = digest_in(&key[prefix.len()..], "staged")
                    .and_then(|digest| Ok(from_json::<StagedRow>(value, "staged")?.into_record(digest)));
                match read {
                    Ok(record) => found.push(record),
                    Err(error) => outcome = Err(error),
                }
                std::ops::ControlFlow::Continue(())
            })?;
            outcome?;
            found.sort_by_key(|record: &StagedRecord| record.sequence);
            Ok(found)
        })
    }

    /// What waits under this digest at `now`.
    pub fn staged(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: jiff::Timestamp,
    ) -> Result<Option<StagedRecord>, StoreError> {
        Ok(self.staged_in(repository, now)?.into_iter().find(|record| record.digest == *digest))
    }

    /// Whether anything may wait there: false costs nothing, and is true for most repositories.
    pub fn may_have_staged(&self, repository: &RepositoryName) -> bool {
        self.shared.state.staging.holds(repository)
    }
}

/// Notes in `state` where something waited when the store was opened.
pub fn note_all(state: &State) -> Result<(), StoreError> {
    let mut repositories = Vec::new();
    state.look(|rows| {
        scan_prefix(rows, &[STAGED], &[STAGED], &mut |key, _| {
            repositories.extend(split_repository(key).map(|(repository, _)| repository));
            std::ops::ControlFlow::Continue(())
        })
    })?;
    state.staging.add(repositories);
    Ok(())
}
