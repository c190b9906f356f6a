//! `tags/list` and `_catalog`: in the order of their bytes, page by page.

use std::fmt::Display;
use std::sync::Arc;

use ::http::Response;
use ::http::header::{HeaderValue, LINK};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::error::RegistryError;
use super::respond;
use super::route::{Page, Place, RouteError};
use super::{Asked, Noted, Registry};
use crate::access::{Action, Caller, Denial};
use crate::http::Body;
use crate::limits::LISTING_ENTRIES_COUNT_MAX;
use crate::oci::name::RepositoryName;

impl Registry {
    pub(super) async fn tags(
        self: &Arc<Self>,
        place: Place,
        page: Page,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        let count = page.count.unwrap_or(LISTING_ENTRIES_COUNT_MAX);
        let last = page.last.as_ref().map(|last| last.parse()).transpose().map_err(RouteError::Reference)?;
        let (named, caller) = (place.clone(), Arc::clone(&asked.caller));
        let (located, tags) = self
            .blocking(move |registry| {
                let located = registry.locate(&named, &caller)?;
                if !located.is_held {
                    let unknown = || RegistryError::RepositoryUnknown(named.path.clone());
                    return Err(Self::unknown_place(&named, &located).unwrap_or_else(unknown));
                }
                let tags = registry.store.tags(&located.repository, last.as_ref(), count + 1)?;
                Ok((located, tags))
            })
            .await?;
        noted.repository = Some(located.repository.to_string());
        let names: Vec<_> = tags.into_iter().map(|(tag, _)| tag).collect();
        let (names, next) = cut(names, count);
        let mut response = respond::json(&json!({ "name": place.path, "tags": names }));
        if let Some(next) = next {
            let kept: Vec<_> = place.namespace.as_deref().map(|name| ("ns", name)).into_iter().collect();
            link(&mut response, &format!("/v2/{}/tags/list", place.path), count, &next, &kept);
        }
        if located.is_mirrored {
            respond::warn(&mut response, "only tags that were mirrored already are listed");
        }
        Ok(response)
    }

    /// Repositories that the caller may pull from. The others are passed over, so that a page is as long as was asked.
    pub(super) async fn catalog(self: &Arc<Self>, page: Page, asked: &Asked) -> Result<Response<Body>, RegistryError> {
        let count = page.count.unwrap_or(LISTING_ENTRIES_COUNT_MAX);
        let last = page.last.as_ref().map(|last| last.parse()).transpose().map_err(RouteError::Name)?;
        let caller = Arc::clone(&asked.caller);
        if let Some(error) = &caller.failed {
            // An empty list would look as if there were nothing.
            let (error, repository) = (error.clone(), String::new());
            return Err(Denial::Failed { error, repository, action: Action::Pull }.into());
        }
        let looked = self.blocking(move |registry| registry.visible_repositories(last, count + 1, &caller));
        let (names, next) = cut(looked.await?, count);
        let mut response = respond::json(&json!({ "repositories": names }));
        if let Some(next) = next {
            link(&mut response, "/v2/_catalog", count, &next, &[]);
        }
        Ok(response)
    }
}

impl Registry {
    fn visible_repositories(
        &self,
        mut after: Option<RepositoryName>,
        count: usize,
        caller: &Caller,
    ) -> Result<Vec<RepositoryName>, RegistryError> {
        let mut visible = Vec::new();
        loop {
            let page = self.store.repositories(after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
            let is_last = page.len() < LISTING_ENTRIES_COUNT_MAX;
            after = page.last().cloned();
            visible.extend(page.into_iter().filter(|name| self.access.decide(caller, name, Action::Pull).is_ok()));
            if is_last || visible.len() >= count {
                visible.truncate(count);
                return Ok(visible);
            }
        }
    }
}

/// The first `count` names, and the last of them when more follow. A page of none has no next one.
fn cut<T: Clone>(mut names: Vec<T>, count: usize) -> (Vec<T>, Option<T>) {
    let more = names.len() > count;
    names.truncate(count);
    let next = names.last().filter(|_| more).cloned();
    (names, next)
}

/// Adds the address of the next page, which asks for the same otherwise.
pub(super) fn link(
    response: &mut Response<Body>,
    path: &str,
    count: usize,
    last: &impl Display,
    kept: &[(&str, &str)],
) {
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let kept: String = kept.iter().map(|(key, value)| format!("&{key}={}", escaped(value))).collect();
    let last = escaped(&last.to_string());
    if let Ok(value) = HeaderValue::try_from(format!("<{path}?n={count}&last={last}{kept}>; rel=\"next\"")) {
        response.headers_mut().insert(LINK, value);
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn pages() {
        let check = |names: &[u8], count: usize, expected: (&[u8], Option<u8>)| {
            assert_eq!(cut(names.to_vec(), count), (expected.0.to_vec(), expected.1), "{names:?} {count}");
        };
        check(&[1, 2, 3], 2, (&[1, 2], Some(2)));
        check(&[1, 2], 2, (&[1, 2], None));
        check(&[1], 0, (&[], None));
        check(&[], 2, (&[], None));
    }
}
