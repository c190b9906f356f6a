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
use crate::admission::{Served, Unserved};
use crate::http::Body;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName};
use crate::store::ManifestRecord;
use crate::sys::dir::File;
use crate::verify::Refusal;

/// A manifest that can be answered with.
pub(super) struct Ready {
    pub(super) record: ManifestRecord,
    /// Leave to serve it; none where it waits for that, and is shown to whoever pushed it.
    pub(super) served: Option<Served>,
    /// None where only the headers are asked for.
    pub(super) content: Option<Content>,
}

/// What a look at the store finds.
pub(super) enum Here {
    Ready(Ready),
    /// It is here and not served.
    Refused(ManifestRecord, Refusal),
    Nothing,
}

impl Here {
    const fn record(&self) -> Option<&ManifestRecord> {
        match self {
            Self::Ready(ready) => Some(&ready.record),
            Self::Refused(record, _) => Some(record),
            Self::Nothing => None,
        }
    }
}

/// A manifest's bytes, hashed again. Only a small one is held: an answer may wait long for its client.
pub(super) enum Content {
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
        if let Some(response) = self.staged_manifest(&place, &reference, asked, noted).await? {
            return Ok(response);
        }
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
                let is_settled = registry.is_settled(&located, &wanted, here.record());
                if let Here::Ready(Ready { record, served: Some(served), content: Some(Content::Whole(bytes)) }) = &here
                {
                    let (record, served, bytes) = (record.clone(), served.clone(), bytes.clone());
                    let found = LookedUp { located: located.clone(), record, served, bytes };
                    registry.looked_up.remember(named, wanted, sequence, found);
                }
                Ok((located, here, is_settled))
            })
            .await?;
        noted.repository = Some(located.repository.to_string());
        if is_settled {
            return match here {
                Here::Ready(ready) => self.manifest_response(ready, asked, None),
                Here::Refused(_, refusal) => Err(RegistryError::Refused(refusal)),
                Here::Nothing => Err(self.why_absent(place, located, reference).await),
            };
        }
        let Some(mirror) = self.mirror.clone() else { return Err(RegistryError::ManifestUnknown) };
        // What is refused here may have been followed by something better at the upstream.
        let own = here.record().map(|record| record.digest);
        let found = mirror.resolve(&located.repository, &reference, own).await?;
        let ready = match here {
            Here::Ready(ready) if ready.record.digest == found.digest => ready,
            _ => {
                let repository = located.repository.clone();
                let read = self.blocking(move |registry| registry.read(&repository, &found.digest, with_bytes)).await?;
                match read {
                    Here::Ready(ready) => ready,
                    Here::Refused(_, refusal) => return Err(RegistryError::Refused(refusal)),
                    Here::Nothing => return Err(RegistryError::ManifestUnknown),
                }
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
        let LookedUp { located, record, served, bytes } = found;
        // Whom a name falls back to another repository hangs on who asks: it may be a repository's own for the next caller.
        if place.namespace.is_none() && located.repository != place.path {
            return Ok(None);
        }
        // Where the name means another repository to those who may not pull this one, that is found by looking.
        let may_pull = self.access.decide(&asked.caller, &located.repository, Action::Pull).is_ok();
        if !may_pull || !self.is_settled(&located, reference, Some(&record)) || !self.rechecks.is_current(&served) {
            return Ok(None);
        }
        if !asked.is_head {
            self.access.count_pull(&asked.caller, &located.repository)?;
        }
        let content = (!asked.is_head).then_some(Content::Whole(bytes));
        Ok(Some((located, Ready { record, served: Some(served), content })))
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
    ) -> Result<Here, RegistryError> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => match self.store.resolve(repository, tag)? {
                Some(digest) => digest,
                None => return Ok(Here::Nothing),
            },
        };
        self.read(repository, &digest, with_bytes)
    }

    fn read(&self, repository: &RepositoryName, digest: &Digest, with_bytes: bool) -> Result<Here, RegistryError> {
        let Some(record) = self.store.manifest(repository, digest)? else { return Ok(Here::Nothing) };
        // What changes in policy, trust and evidence is in force at once, for what is here already too. The bytes stay.
        let served = match self.rechecks.check(repository, digest) {
            Ok(served) => served,
            Err(Unserved::Refused(refusal)) => return Ok(Here::Refused(record, refusal)),
            Err(Unserved::Missing) => return self.lost(repository, digest),
            Err(Unserved::Failed(error)) => return Err(RegistryError::Unjudged(error)),
        };
        if !with_bytes {
            return Ok(Here::Ready(Ready { record, served: Some(served), content: None }));
        }
        let content = if record.size_bytes > self.settings.piece_bytes as u64 {
            self.store.blobs().open_sound(digest)?.map(Content::File)
        } else {
            self.store.blobs().read(digest, MANIFEST_BYTES_MAX)?.map(|bytes| Content::Whole(bytes.into()))
        };
        match content {
            Some(content) => Ok(Here::Ready(Ready { record, served: Some(served), content: Some(content) })),
            None => self.lost(repository, digest),
        }
    }

    /// The bytes of a manifest are not there: it was given up just now, since it was looked for, or they are lost.
    fn lost(&self, repository: &RepositoryName, digest: &Digest) -> Result<Here, RegistryError> {
        match self.store.manifest(repository, digest)? {
            None => Ok(Here::Nothing),
            Some(_) => Err(RegistryError::Damaged(*digest)),
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

    pub(super) fn manifest_response(
        &self,
        ready: Ready,
        asked: &Asked,
        warning: Option<&str>,
    ) -> Result<Response<Body>, RegistryError> {
        let Ready { record, served, content } = ready;
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
        let audited = served.and_then(|served| served.warning(self.store.clock().wall()));
        for warning in warning.into_iter().chain(audited.as_deref()) {
            respond::warn(&mut response, warning);
        }
        Ok(response)
    }
}
