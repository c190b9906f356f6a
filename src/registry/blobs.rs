//! `GET` and `HEAD /v2/<name>/blobs/<digest>`, whole or in ranges.

use std::sync::Arc;

use ::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE};
use ::http::{Response, StatusCode};

use super::error::RegistryError;
use super::multipart::Multipart;
use super::place::Located;
use super::range::{Requested, Span, requested};
use super::respond;
use super::route::Place;
use super::{Asked, Noted, Registry, etag};
use crate::access::{Action, Caller};
use crate::admission::Unserved;
use crate::http::Body;
use crate::oci::digest::Digest;
use crate::sys::dir::File;
use crate::sys::random;
use crate::upstream::{MirrorError, SharedError};

/// Where the bytes of a blob come from.
enum Source {
    File(Arc<dyn File>),
    Upstream,
}

impl Source {
    const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
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
        let (mut response, wanted) = blob_head(&digest, size_bytes, asked, source.is_file())?;
        if asked.is_head || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let piece_bytes = self.settings.piece_bytes;
        *response.body_mut() = match (source, wanted) {
            (Source::File(file), Wanted::Span(span)) => {
                Body::file(file, span.offset_bytes, span.len_bytes, piece_bytes)
            }
            (Source::File(file), Wanted::Parts(parts)) => parts.body(file, piece_bytes),
            (Source::Upstream, wanted) => {
                let Wanted::Span(span) = wanted else { return Err(RegistryError::Interrupted) };
                let mirror = self.mirror.as_ref().ok_or(RegistryError::BlobLeftBehind)?;
                let opened = mirror.open_blob(&located.repository, digest, size_bytes).await;
                opened.map_err(blob_error)?.into_body(span.offset_bytes, span.len_bytes, piece_bytes)
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
        let may_push = self.access.has_right(caller, &located.repository, Action::Push);
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
        // A layer goes with its images: it is served as long as one of them is.
        match self.rechecks.check_blob(&located.repository, digest) {
            Ok(_) => {}
            // Given up just now, or the manifests' bytes are lost: nothing says that it may be served.
            Err(Unserved::Missing) => {
                return match self.store.blob_link(&located.repository, digest)? {
                    Some(_) => Err(RegistryError::Damaged(*digest)),
                    None => Err(RegistryError::BlobUnknown),
                };
            }
            Err(Unserved::Failed(error)) => return Err(RegistryError::Unjudged(error)),
            Err(Unserved::Refused(refusal)) => {
                // Whoever pushes the next image sends only what is not there.
                let own = if may_push { self.store.uploaded_blob(&located.repository, digest)? } else { None };
                return match (own, self.store.blobs().open(digest)?) {
                    (Some(size_bytes), Some(file)) => Ok((size_bytes, Source::File(file))),
                    _ => Err(RegistryError::Refused(refusal)),
                };
            }
        }
        let file = if link.present { self.store.blobs().open(digest)? } else { None };
        match file {
            Some(file) => Ok((link.size_bytes, Source::File(file))),
            None if located.is_mirrored => Ok((link.size_bytes, Source::Upstream)),
            // Unless it was given up just now, since it was looked for.
            // Its bytes are lost. Whoever pushes it once more is not to be told that it is here.
            None if link.present && may_push => Err(RegistryError::BlobUnknown),
            None if link.present => match self.store.blob_link(&located.repository, digest)? {
                Some(link) if link.present => Err(RegistryError::Damaged(*digest)),
                _ => Err(RegistryError::BlobUnknown),
            },
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

/// Which bytes are to follow.
enum Wanted {
    Span(Span),
    Parts(Multipart),
}

/// Status and headers, and which bytes are to follow. What is still being fetched is sent as one part or whole.
fn blob_head(
    digest: &Digest,
    size_bytes: u64,
    asked: &Asked,
    in_parts: bool,
) -> Result<(Response<Body>, Wanted), RegistryError> {
    let header = |text: String| HeaderValue::try_from(text).map_err(|_| RegistryError::Damaged(*digest));
    let whole = Span { offset_bytes: 0, len_bytes: size_bytes };
    let conditions = asked.conditions();
    if conditions.rules_out(Some(digest)) {
        return Err(RegistryError::Precondition);
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(respond::CONTENT_DIGEST, header(digest.to_string())?);
    headers.insert(ETAG, header(etag(digest))?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if conditions.has_already(Some(digest)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok((response, Wanted::Span(whole)));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // A range counts only for the content that the client thinks it is, and means nothing to a HEAD.
    let applies = !asked.is_head && asked.header(&IF_RANGE).is_none_or(|validator| validator == etag(digest));
    let range = asked.header(&RANGE).filter(|_| applies);
    let wanted = match requested(range, size_bytes) {
        Requested::Unsatisfiable => return Err(RegistryError::Range { size_bytes }),
        Requested::Parts(spans) if in_parts => {
            let parts = Multipart::new(random::identifier(), size_bytes, spans);
            headers.insert(CONTENT_TYPE, header(parts.content_type())?);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(parts.len_bytes()));
            Wanted::Parts(parts)
        }
        Requested::Part(span) => {
            let last = span.offset_bytes + (span.len_bytes - 1);
            headers.insert(CONTENT_RANGE, header(format!("bytes {}-{last}/{size_bytes}", span.offset_bytes))?);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(span.len_bytes));
            Wanted::Span(span)
        }
        Requested::Whole | Requested::Parts(_) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size_bytes));
            return Ok((response, Wanted::Span(whole)));
        }
    };
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok((response, wanted))
}
