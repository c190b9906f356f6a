//! `GET /v2/<name>/referrers/<digest>`: what speaks of a manifest.
//!
//! Found by `subject`, and in the list under the fallback tag `sha256-<hex>` that clients write where a registry had no
//! such API. Only what was admitted is listed.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use ::http::Response;
use ::http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::error::RegistryError;
use super::listings::link;
use super::respond;
use super::route::{Page, Place, RouteError};
use super::{Asked, Noted, Registry};
use crate::http::Body;
use crate::limits::{
    LISTING_ENTRIES_COUNT_MAX, MANIFEST_BYTES_MAX, REFERRERS_LOOKED_AT_COUNT_MAX, REFERRERS_PAGE_BYTES,
};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_INDEX;
use crate::oci::name::{NameError, RepositoryName};
use crate::oci::signature_tag::SignatureTagKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrersIndex {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// Digests that are looked up at once.
const STEP_COUNT: usize = 256;

/// What is asked for.
struct Wanted<'a> {
    repository: &'a RepositoryName,
    subject: &'a Digest,
    /// Types to be listed; all where there is none.
    types: &'a [String],
    count: usize,
}

impl Registry {
    pub(super) async fn referrers(
        self: &Arc<Self>,
        place: Place,
        subject: Digest,
        artifact_types: Vec<String>,
        page: Page,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        let (named, caller) = (place.clone(), Arc::clone(&asked.caller));
        let located = self.blocking(move |registry| registry.locate(&named, &caller)).await?;
        noted.repository = Some(located.repository.to_string());
        if let Some(error) = Self::unknown_place(&place, &located) {
            return Err(error);
        }
        // An empty list ends a client's search, so it must not stand for "nobody looked yet".
        let warning = match self.mirror.as_ref().filter(|_| located.is_mirrored) {
            Some(mirror) => mirror.refresh_evidence(&located.repository, &subject).await?,
            None => None,
        };
        let after = page.last.as_ref().map(|last| last.parse()).transpose();
        let after = after.map_err(|error| RouteError::Reference(NameError::Digest(error)))?;
        let count = page.count.unwrap_or(LISTING_ENTRIES_COUNT_MAX).max(1);
        let (repository, types) = (located.repository, artifact_types.clone());
        let listed = self.blocking(move |registry| {
            let wanted = Wanted { repository: &repository, subject: &subject, types: &types, count };
            registry.list_referrers(&wanted, after)
        });
        let (manifests, next) = listed.await?;
        let is_filtered = !artifact_types.is_empty();
        let mut response = respond::json(&ReferrersIndex { schema_version: 2, media_type: OCI_INDEX, manifests });
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
        if is_filtered {
            response.headers_mut().insert(respond::FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let Some(next) = next {
            let path = format!("/v2/{}/referrers/{subject}", place.path);
            let kept = artifact_types.iter().map(|kind| ("artifactType", kind.as_str()));
            let kept: Vec<_> = kept.chain(place.namespace.as_deref().map(|name| ("ns", name))).collect();
            link(&mut response, &path, count, &next, &kept);
        }
        if let Some(warning) = warning {
            respond::warn(&mut response, &warning);
        }
        Ok(response)
    }

    /// A page of what speaks of a manifest, and the last of it where more may follow.
    fn list_referrers(
        &self,
        wanted: &Wanted<'_>,
        mut after: Option<Digest>,
    ) -> Result<(Vec<Descriptor>, Option<Digest>), RegistryError> {
        let fallback = self.fallback_list(wanted.repository, wanted.subject)?;
        let (mut found, mut found_bytes, mut looked_at) = (Vec::new(), 0, 0);
        loop {
            let step = self.next_referrers(wanted, after.as_ref(), &fallback)?;
            if step.is_empty() {
                return Ok((found, None));
            }
            for digest in step {
                after = Some(digest);
                looked_at += 1;
                if let Some(descriptor) = self.referrer(wanted, &digest)? {
                    found_bytes += serde_json::to_vec(&descriptor).map_or(0, |bytes| bytes.len());
                    found.push(descriptor);
                }
                let is_full = found.len() >= wanted.count || found_bytes >= REFERRERS_PAGE_BYTES;
                if is_full || looked_at >= REFERRERS_LOOKED_AT_COUNT_MAX {
                    let more = !self.next_referrers(wanted, after.as_ref(), &fallback)?.is_empty();
                    return Ok((found, after.filter(|_| more)));
                }
            }
        }
    }

    /// The next few digests after `after`: of those that name the subject, and of those in the list under the fallback tag.
    fn next_referrers(
        &self,
        wanted: &Wanted<'_>,
        after: Option<&Digest>,
        fallback: &BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, RegistryError> {
        let records = self.store.referrers_page(wanted.repository, wanted.subject, after, STEP_COUNT)?;
        let mut step: BTreeSet<Digest> = records.iter().map(|record| record.digest).collect();
        let begin = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        step.extend(fallback.range((begin, Bound::Unbounded)).take(STEP_COUNT));
        // Behind the first so many of both, one of them may have something that was not looked at.
        Ok(step.into_iter().take(STEP_COUNT).collect())
    }

    /// A manifest that is to be listed; its record says whether it is worth reading.
    fn referrer(&self, wanted: &Wanted<'_>, digest: &Digest) -> Result<Option<Descriptor>, RegistryError> {
        let Some(record) = self.store.manifest(wanted.repository, digest)? else { return Ok(None) };
        let types = wanted.types;
        if !types.is_empty() && !record.artifact_type.as_ref().is_some_and(|kind| types.contains(kind)) {
            return Ok(None);
        }
        Ok(self.parsed(wanted.repository, digest)?.map(referrer_descriptor))
    }

    /// What the index under the fallback tag lists.
    fn fallback_list(&self, repository: &RepositoryName, subject: &Digest) -> Result<BTreeSet<Digest>, RegistryError> {
        let tag = SignatureTagKind::ReferrersFallback.tag_for(subject);
        let Some(digest) = self.store.resolve(repository, &tag)? else { return Ok(BTreeSet::new()) };
        let index = self.parsed(repository, &digest)?.filter(Manifest::is_index);
        Ok(index.map(|index| index.parts.iter().map(|part| part.digest).collect()).unwrap_or_default())
    }

    /// An admitted manifest, read. One that cannot be read is logged and left out: the others still count.
    fn parsed(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Manifest>, RegistryError> {
        let Some(record) = self.store.manifest(repository, digest)? else { return Ok(None) };
        let Some(bytes) = self.store.blobs().read(digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        match Manifest::parse_with(&bytes, &record.media_type, digest.algorithm()) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => {
                tracing::error!(%digest, %error, "a stored manifest cannot be read");
                Ok(None)
            }
        }
    }
}

fn referrer_descriptor(manifest: Manifest) -> Descriptor {
    Descriptor {
        media_type: manifest.media_type,
        digest: manifest.digest,
        size: manifest.size,
        artifact_type: manifest.artifact_type,
        platform: None,
        annotations: manifest.annotations,
    }
}
