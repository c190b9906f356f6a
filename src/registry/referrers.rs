//! `GET /v2/<name>/referrers/<digest>`: what speaks of a manifest.
//!
//! Found by `subject`, and in the list under the fallback tag `sha256-<hex>` that clients write where a registry had no
//! such API. Only what was admitted is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::http::Response;
use ::http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::error::RegistryError;
use super::respond;
use super::route::Place;
use super::{Asked, Noted, Registry};
use crate::http::Body;
use crate::limits::{LISTING_ENTRIES_COUNT_MAX, MANIFEST_BYTES_MAX};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_INDEX;
use crate::oci::name::RepositoryName;
use crate::oci::signature_tag::SignatureTagKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrersIndex {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

impl Registry {
    pub(super) async fn referrers(
        self: &Arc<Self>,
        place: Place,
        subject: Digest,
        artifact_types: Vec<String>,
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
        let repository = located.repository;
        let mut manifests = self.blocking(move |registry| registry.list_referrers(&repository, &subject)).await?;
        let is_filtered = !artifact_types.is_empty();
        if is_filtered {
            manifests.retain(|descriptor| {
                descriptor.artifact_type.as_ref().is_some_and(|kind| artifact_types.contains(kind))
            });
        }
        let mut response = respond::json(&ReferrersIndex { schema_version: 2, media_type: OCI_INDEX, manifests });
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
        if is_filtered {
            response.headers_mut().insert(respond::FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let Some(warning) = warning {
            respond::warn(&mut response, &warning);
        }
        Ok(response)
    }

    fn list_referrers(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let by_subject = self.store.referrers(repository, subject)?.into_iter().map(|record| record.digest);
        let mut digests: BTreeSet<Digest> = by_subject.collect();
        digests.extend(self.fallback_list(repository, subject)?);
        let mut found = BTreeMap::new();
        for digest in digests.into_iter().take(LISTING_ENTRIES_COUNT_MAX) {
            if let Some(manifest) = self.parsed(repository, &digest)? {
                found.insert(digest, referrer_descriptor(manifest));
            }
        }
        Ok(found.into_values().collect())
    }

    /// What the index under the fallback tag lists.
    fn fallback_list(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>, RegistryError> {
        let tag = SignatureTagKind::ReferrersFallback.tag_for(subject);
        let Some(digest) = self.store.resolve(repository, &tag)? else { return Ok(Vec::new()) };
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
