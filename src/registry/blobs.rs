//! `GET` and `HEAD /v2/<name>/blobs/<digest>`, whole or one range.

use std::sync::Arc;

use ::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE};
use ::http::{Response, StatusCode};

use super::error::RegistryError;
use super::place::Located;
use super::range::{Requested, requested};
use super::respond;
use super::route::Place;
use super::{Asked, Noted, Registry, etag};
use crate::access::{Action, Caller};
use crate::http::Body;
use crate::oci::digest::Digest;
use crate::sys::dir::File;
use crate::upstream::{MirrorError, SharedError};

/// Where the bytes of a blob come from.
enum Source {
    File(Arc<dyn File>),
    Upstream,
}

impl Registry {
    pub(super) async fn blob(
        self: &Arc<Self>,
        place: Place,
        digest: Digest,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        let caller = Arc::clone(&asked.caller);
        let looked = self.blocking(move |registry| registry.find_blob(&place, &digest, &caller));
        let (located, found) = looked.await?;
        noted.repository = Some(located.repository.to_string());
        let (size_bytes, source) = found?;
        let (mut response, offset, len) = blob_head(&digest, size_bytes, asked)?;
        if asked.is_head || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        *response.body_mut() = match source {
            Source::File(file) => Body::file(file, offset, len, self.settings.piece_bytes),
            Source::Upstream => {
                let mirror = self.mirror.as_ref().ok_or(RegistryError::BlobLeftBehind)?;
                let opened = mirror.open_blob(&located.repository, digest, size_bytes).await;
                opened.map_err(blob_error)?.into_body(offset, len, self.settings.piece_bytes)
            }
        };
        Ok(response)
    }

    #[expect(clippy::type_complexity, reason = "the place is told to the access log also when the blob is not there")]
    fn find_blob(
        &self,
        place: &Place,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<(Located, Result<(u64, Source), RegistryError>), RegistryError> {
        let located = self.locate(place, caller)?;
        let may_push = self.access.decide(caller, &located.repository, Action::Push).is_ok();
        let found = self.find_blob_at(place, &located, digest, may_push);
        Ok((located, found))
    }

    fn find_blob_at(
        &self,
        place: &Place,
        located: &Located,
        digest: &Digest,
        may_push: bool,
    ) -> Result<(u64, Source), RegistryError> {
        let Some(link) = self.store.blob_link(&located.repository, digest)? else {
            // Clients look for a layer before they send it again, and read back what they have sent.
            if may_push
                && let Some(size_bytes) = self.store.uploaded_blob(&located.repository, digest)?
                && let Some(file) = self.store.blobs().open(digest)?
            {
                return Ok((size_bytes, Source::File(file)));
            }
            return Err(Self::unknown_place(place, located).unwrap_or(RegistryError::BlobUnknown));
        };
        let file = if link.present { self.store.blobs().open(digest)? } else { None };
        match file {
            Some(file) => Ok((link.size_bytes, Source::File(file))),
            None if located.is_mirrored => Ok((link.size_bytes, Source::Upstream)),
            None if link.present => Err(RegistryError::Damaged(*digest)),
            None => Err(RegistryError::BlobLeftBehind),
        }
    }
}

/// What is absent here is a blob, whatever the mirror was about to fetch.
fn blob_error(error: SharedError) -> RegistryError {
    match error.as_ref() {
        MirrorError::NotFound { .. } | MirrorError::Offline => RegistryError::BlobUnknown,
        _ => error.into(),
    }
}

/// Status and headers, and which bytes are to follow.
fn blob_head(digest: &Digest, size_bytes: u64, asked: &Asked) -> Result<(Response<Body>, u64, u64), RegistryError> {
    let header = |text: String| HeaderValue::try_from(text).map_err(|_| RegistryError::Damaged(*digest));
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(respond::CONTENT_DIGEST, header(digest.to_string())?);
    headers.insert(ETAG, header(etag(digest))?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if asked.has_already(digest) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok((response, 0, 0));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // A range counts only for the content that the client thinks it is.
    let applies = asked.header(&IF_RANGE).is_none_or(|validator| validator == etag(digest));
    let range = asked.header(&RANGE).filter(|_| applies);
    let (offset, len) = match requested(range, size_bytes) {
        Requested::Whole => (0, size_bytes),
        Requested::Unsatisfiable => return Err(RegistryError::Range { size_bytes }),
        Requested::Part { offset_bytes, len_bytes } => {
            let last = offset_bytes + len_bytes - 1;
            headers.insert(CONTENT_RANGE, header(format!("bytes {offset_bytes}-{last}/{size_bytes}"))?);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (offset_bytes, len_bytes)
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
    Ok((response, offset, len))
}
