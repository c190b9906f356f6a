//! Tags of a repository with their platforms, SBOMs, provenance and signatures. This is the appliance's own.

use ::http::StatusCode;
use serde::Serialize;

use super::error::{ApiError, json_answer};
use super::request::RequestError;
use super::{Answer, Api, Asked};
use crate::access::Action;
use crate::admission::{Described, Stored, describe};
use crate::oci::name::{RepositoryName, Tag};
use crate::oci::signature_tag;

/// A tag.
#[derive(Serialize)]
struct TagView {
    tag: Tag,
    #[serde(flatten)]
    image: Described,
}

impl Api {
    /// A page of tags in the order of their names, behind `last`; or the one that is named.
    pub(super) fn tags_list(&self, asked: &Asked) -> Answer {
        let query = &asked.route.query;
        let unreadable = |parameter: &'static str| ApiError::Request(RequestError::Missing(parameter));
        let repository = query.repository.as_ref().and_then(|text| text.parse::<RepositoryName>().ok());
        let repository = repository.ok_or_else(|| unreadable("repository"))?;
        // Whoever may not pull does not learn either whether it is there.
        if self.access.decide(&asked.caller, &repository, Action::Pull).is_err() {
            return Err(ApiError::NotFound("repository"));
        }
        let named = query.tag.as_ref().map(|text| text.parse::<Tag>()).transpose().map_err(|_| unreadable("tag"))?;
        let last = query.last.as_ref().map(|text| text.parse::<Tag>()).transpose().map_err(|_| unreadable("last"))?;
        let found = match &named {
            Some(tag) => {
                self.store.resolve(&repository, tag)?.map(|digest| (tag.clone(), digest)).into_iter().collect()
            }
            None => self.store.tags(&repository, last.as_ref(), query.page_size)?,
        };
        if found.is_empty() && self.store.manifests(&repository, None, 1)?.is_empty() {
            return Err(ApiError::NotFound("repository"));
        }
        if found.is_empty() && named.is_some() {
            return Err(ApiError::NotFound("tag"));
        }
        let next =
            found.last().filter(|_| named.is_none() && found.len() == query.page_size).map(|(tag, _)| tag.clone());
        let content = Stored { store: &self.store, repository: &repository };
        let mut tags = Vec::new();
        for (tag, digest) in found {
            // Signatures have tags too; they are shown with what they speak of.
            if named.is_none() && signature_tag::parse(&tag).is_some() {
                continue;
            }
            let image = describe(&content, &digest).map_err(ApiError::Described)?;
            tags.extend(image.map(|image| TagView { tag, image }));
        }
        let answer = serde_json::json!({ "repository": repository, "tags": tags, "last": next });
        Ok(json_answer(StatusCode::OK, &answer))
    }
}
