//! Tags of a repository with their platforms, SBOMs, provenance and signatures. This is the appliance's own.

use std::str::FromStr;

use ::http::StatusCode;
use serde::Serialize;

use super::error::{ApiError, json_answer};
use super::query::QueryError;
use super::request::RequestError;
use super::route::RouteError;
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

fn parse<T: FromStr>(name: &'static str, text: &str) -> Result<T, ApiError> {
    let wrong = QueryError::Value { name, value: text.chars().take(80).collect() };
    text.parse().map_err(|_| RouteError::Query(wrong).into())
}

impl Api {
    /// A page of tags in the order of their names, behind `last`; or the one that is named.
    pub(super) fn tags_list(&self, asked: &Asked) -> Answer {
        let query = &asked.route.query;
        let text = query.repository.as_deref().ok_or(RequestError::Missing("repository"))?;
        let repository: RepositoryName = parse("repository", text)?;
        // Whoever may not pull does not learn either whether it is there.
        if self.access.decide(&asked.caller, &repository, Action::Pull).is_err() {
            return Err(ApiError::NotFound("repository"));
        }
        let named: Option<Tag> = query.tag.as_deref().map(|text| parse("tag", text)).transpose()?;
        let last: Option<Tag> = query.last.as_deref().map(|text| parse("last", text)).transpose()?;
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
