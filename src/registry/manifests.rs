//! `GET` and `HEAD /v2/<name>/manifests/<reference>`.

use std::sync::Arc;

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue};
use ::http::{Response, StatusCode};
use bytes::Bytes;

use super::error::RegistryError;
use super::looked_up::LookedUp;
use super::place::Located;
use super::respond;
use super::route::Place;
use super::{Asked, Noted, Registry, etag};
use crate::access::Action;
use crate::http::Body;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName};
use crate::store::ManifestRecord;
use crate::sys::clock::trusted_now;
use crate::sys::dir::File;

/// A manifest that can be answered with.
pub(super) struct Ready {
    pub(super) record: ManifestRecord,
    /// None where only the headers are asked for.
    content: Option<Content>,
}

/// A manifest's bytes, hashed again. Only a small one is held: an answer may wait long for its client.
enum Content {
    Whole(Bytes),
    File(Arc<dyn File>),
}

impl Registry {
    pub(super) async fn manifest(
        self: &Arc<Self>,
        place: Place,
        reference: Reference,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        let with_bytes = !asked.is_head;
        if let Some((located, ready)) = self.recall(&place, &reference, asked)? {
            noted.repository = Some(located.repository.to_string());
            return self.manifest_response(ready, asked, None);
        }
        let (wanted, named, caller) = (reference.clone(), place.clone(), Arc::clone(&asked.caller));
        let (located, here, is_settled) = self
            .blocking(move |registry| {
                // Before anything is looked at: what changes from here on makes what is found now a thing of the past.
                let sequence = registry.store.head().sequence;
                let located = registry.locate(&named, &caller)?;
                if with_bytes {
                    registry.access.count_pull(&caller, &located.repository)?;
                }
                let here = registry.look_up(&located.repository, &wanted, with_bytes)?;
                let is_settled = registry.is_settled(&located, &wanted, here.as_ref().map(|ready| &ready.record));
                if let Some(Ready { record, content: Some(Content::Whole(bytes)) }) = &here {
                    let found = LookedUp { located: located.clone(), record: record.clone(), bytes: bytes.clone() };
                    registry.looked_up.remember(named, wanted, sequence, found);
                }
                Ok((located, here, is_settled))
            })
            .await?;
        noted.repository = Some(located.repository.to_string());
        if is_settled {
            let Some(ready) = here else { return Err(self.why_absent(place, located, reference).await) };
            return self.manifest_response(ready, asked, None);
        }
        let Some(mirror) = self.mirror.clone() else { return Err(RegistryError::ManifestUnknown) };
        let own = here.as_ref().map(|ready| ready.record.digest);
        let found = mirror.resolve(&located.repository, &reference, own).await?;
        let ready = match here {
            Some(ready) if ready.record.digest == found.digest => ready,
            _ => {
                let repository = located.repository.clone();
                let read = self.blocking(move |registry| registry.read(&repository, &found.digest, with_bytes)).await?;
                read.ok_or(RegistryError::ManifestUnknown)?
            }
        };
        self.manifest_response(ready, asked, found.warning.as_deref())
    }

    /// What somebody else has looked up since the last change, if this caller may have it and nothing is to be asked.
    fn recall(
        &self,
        place: &Place,
        reference: &Reference,
        asked: &Asked,
    ) -> Result<Option<(Located, Ready)>, RegistryError> {
        let Some(found) = self.looked_up.recall(place, reference, self.store.head().sequence) else { return Ok(None) };
        let LookedUp { located, record, bytes } = found;
        // Where the name means another repository to those who may not pull this one, that is found by looking.
        let may_pull = self.access.decide(&asked.caller, &located.repository, Action::Pull).is_ok();
        if !may_pull || !self.is_settled(&located, reference, Some(&record)) {
            return Ok(None);
        }
        if !asked.is_head {
            self.access.count_pull(&asked.caller, &located.repository)?;
        }
        let content = (!asked.is_head).then_some(Content::Whole(bytes));
        Ok(Some((located, Ready { record, content })))
    }

    /// Whether the store alone can answer: a digest that is here, a tag that was compared lately, or no upstream at all.
    fn is_settled(&self, located: &Located, reference: &Reference, here: Option<&ManifestRecord>) -> bool {
        let Some(mirror) = self.mirror.as_ref().filter(|_| located.is_mirrored) else { return true };
        match reference {
            Reference::Digest(_) => here.is_some(),
            Reference::Tag(tag) => here.is_some_and(|record| mirror.is_fresh(&located.repository, tag, &record.digest)),
        }
    }

    fn look_up(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        with_bytes: bool,
    ) -> Result<Option<Ready>, RegistryError> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => match self.store.resolve(repository, tag)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        self.read(repository, &digest, with_bytes)
    }

    fn read(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        with_bytes: bool,
    ) -> Result<Option<Ready>, RegistryError> {
        let Some(record) = self.store.manifest(repository, digest)? else { return Ok(None) };
        // In force from the moment it is activated, for what is here already too. The bytes stay.
        let now = trusted_now(self.store.clock().wall(), self.store.time_floor());
        if let Some(refusal) = (self.push.policy)().refusal_of_denied(digest, now) {
            return Err(RegistryError::Refused(refusal));
        }
        if !with_bytes {
            return Ok(Some(Ready { record, content: None }));
        }
        let content = if record.size_bytes > self.settings.piece_bytes as u64 {
            self.store.blobs().open_sound(digest)?.map(Content::File)
        } else {
            self.store.blobs().read(digest, MANIFEST_BYTES_MAX)?.map(|bytes| Content::Whole(bytes.into()))
        };
        match content {
            Some(content) => Ok(Some(Ready { record, content: Some(content) })),
            // Given up just now, since it was looked for.
            None if self.store.manifest(repository, digest)?.is_none() => Ok(None),
            None => Err(RegistryError::Damaged(*digest)),
        }
    }

    /// Refused, or simply not here.
    async fn why_absent(self: &Arc<Self>, place: Place, located: Located, reference: Reference) -> RegistryError {
        let looked = self.blocking(move |registry| {
            let refused = registry.store.refusal(&located.repository, &reference)?;
            Ok(match refused {
                Some(record) => RegistryError::Refused(record.refusal),
                None => Self::unknown_place(&place, &located).unwrap_or(RegistryError::ManifestUnknown),
            })
        });
        looked.await.unwrap_or_else(|error| error)
    }

    fn manifest_response(
        &self,
        ready: Ready,
        asked: &Asked,
        warning: Option<&str>,
    ) -> Result<Response<Body>, RegistryError> {
        let Ready { record, content } = ready;
        let header = |text: String| HeaderValue::try_from(text).map_err(|_| RegistryError::Damaged(record.digest));
        let conditions = asked.conditions();
        if conditions.rules_out(Some(&record.digest)) {
            return Err(RegistryError::Precondition);
        }
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(respond::CONTENT_DIGEST, header(record.digest.to_string())?);
        headers.insert(ETAG, header(etag(&record.digest))?);
        if conditions.has_already(Some(&record.digest)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            headers.insert(CONTENT_TYPE, header(record.media_type.clone())?);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(record.size_bytes));
            *response.body_mut() = match content {
                None => Body::empty(),
                Some(Content::Whole(bytes)) => Body::full(bytes),
                Some(Content::File(file)) => Body::file(file, 0, record.size_bytes, self.settings.piece_bytes),
            };
        }
        if let Some(warning) = warning {
            respond::warn(&mut response, warning);
        }
        Ok(response)
    }
}
