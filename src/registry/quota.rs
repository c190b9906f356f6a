//! How much a project may hold: looked at before bytes are taken, and counted when they are.
//!
//! Usage is counted once from the index and then kept by adding what is taken. What is given up meanwhile is not seen, so
//! the number is only ever too high; before anything is refused for it, it is counted anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Registry;
use super::error::{PushError, RegistryError};
use crate::access::name::ProjectName;
use crate::oci::name::{RepositoryName, Tag};
use crate::store::Usage;

/// What projects with a bound are known to hold at most.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<String, Usage>>);

/// The bounds of one project.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    bytes_max: Option<u64>,
    tags_count_max: Option<u64>,
}

impl Registry {
    fn bounds(&self, project: &str) -> Bounds {
        self.access.look(|document| {
            let project = document.projects.get(project);
            project.map_or(Bounds::default(), |project| Bounds {
                bytes_max: project.quota_bytes_max,
                tags_count_max: project.tags_count_max,
            })
        })
    }

    /// How many bytes the project of `repository` still takes; `None` where it has no bound.
    pub(super) fn room_bytes(&self, repository: &RepositoryName) -> Result<Option<u64>, RegistryError> {
        let project = ProjectName::text_of(repository);
        let Some(bytes_max) = self.bounds(project).bytes_max else { return Ok(None) };
        let held = self.held(project, Usage::default(), |usage| usage.bytes < bytes_max)?;
        Ok(Some(bytes_max.saturating_sub(held.bytes)))
    }

    /// Counts `size_bytes` that the project of `repository` is about to hold, or refuses them.
    pub(super) fn take_bytes(&self, repository: &RepositoryName, size_bytes: u64) -> Result<(), RegistryError> {
        let project = ProjectName::text_of(repository);
        let Some(bytes_max) = self.bounds(project).bytes_max else { return Ok(()) };
        let more = Usage { bytes: size_bytes, tags_count: 0 };
        let held = self.held(project, more, |usage| usage.bytes <= bytes_max)?;
        if held.bytes.saturating_add(size_bytes) <= bytes_max {
            return Ok(());
        }
        Err(PushError::Quota { project: project.to_owned(), used_bytes: held.bytes, bytes_max }.into())
    }

    /// Counts tags that are new in `repository`, or refuses them.
    pub(super) fn take_tags(&self, repository: &RepositoryName, tags: &[Tag]) -> Result<(), RegistryError> {
        let project = ProjectName::text_of(repository);
        let Some(tags_count_max) = self.bounds(project).tags_count_max else { return Ok(()) };
        let mut tags_count = 0;
        for tag in tags {
            tags_count += u64::from(self.store.resolve(repository, tag)?.is_none());
        }
        if tags_count == 0 {
            return Ok(());
        }
        let held = self.held(project, Usage { bytes: 0, tags_count }, |usage| usage.tags_count <= tags_count_max)?;
        if held.tags_count.saturating_add(tags_count) <= tags_count_max {
            return Ok(());
        }
        Err(PushError::TagsQuota { project: project.to_owned(), tags_count_max }.into())
    }

    /// What a project holds at most, before `more`; counted anew where that is not known, or with `more` would not do. Where
    /// it does, `more` is counted too. One at a time, so that two pushes do not take the same room; only what is just being
    /// committed while another one counts anew may be missed.
    fn held(&self, project: &str, more: Usage, does: impl Fn(&Usage) -> bool) -> Result<Usage, RegistryError> {
        let mut known = self.quotas.0.lock().unwrap_or_else(PoisonError::into_inner);
        let with_more = |usage: Usage| Usage {
            bytes: usage.bytes.saturating_add(more.bytes),
            tags_count: usage.tags_count.saturating_add(more.tags_count),
        };
        let held = match known.get(project).copied().filter(|usage| does(&with_more(*usage))) {
            Some(usage) => usage,
            None => self.store.usage(project)?,
        };
        let kept = if does(&with_more(held)) { with_more(held) } else { held };
        known.insert(project.to_owned(), kept);
        Ok(held)
    }
}
