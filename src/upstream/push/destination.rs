//! One repository of a registry that is pushed to, by the distribution specification: what it has, and how it takes more.

use std::path::PathBuf;
use std::sync::Arc;

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use ::http::{Method, Response, StatusCode, Uri};
use bytes::Bytes;

use super::error::OutgoingError;
use super::listing::ListingError;
use crate::http::Body;
use crate::http::client::{ClientSettings, Received, next_uri};
use crate::limits::{ERROR_BODY_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::oci::digest::Digest;
use crate::oci::error_body;
use crate::oci::name::{Reference, Tag};
use crate::oci::remote_name::RemoteName;
use crate::sys::clock::{Clock, RealClock};
use crate::upstream::connection::{Connection, ConnectionError, ConnectionSettings};
use crate::upstream::settings::Credentials;
use crate::upstream::source::accepting_all;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A registry may read all of a blob once more before it says that it has it.
const RESPONSE_SECONDS_MAX: u64 = 120;

/// How the registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Address, where it is not `https://` and the registry's name.
    pub url: Option<String>,
    /// Certificates (PEM) that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    pub credentials: Option<Credentials>,
}

/// A repository that is pushed to.
#[derive(Debug)]
pub struct Destination {
    registry: String,
    repository: String,
    tag: Tag,
    connection: Connection,
}

/// What is sent or asked, for what is said about it.
#[derive(Clone, Copy, Debug)]
enum Thing<'a> {
    Blob(&'a Digest),
    Manifest(&'a Reference),
    Referrers(&'a Digest),
}

impl std::fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob '{digest}'"),
            Self::Manifest(reference) => write!(f, "manifest '{reference}'"),
            Self::Referrers(subject) => write!(f, "what speaks of '{subject}'"),
        }
    }
}

impl Destination {
    /// Where `name` is. Only a registry on this very machine is tried without TLS too, when it speaks none: whatever else is
    /// to be reached so must be written as an address.
    pub async fn find(name: &RemoteName, way: &Way) -> Result<Self, OutgoingError> {
        let registry = name.registry();
        let secure = Self::at(way.url.clone().unwrap_or_else(|| format!("https://{registry}")), name, way)?;
        if way.url.is_none() && way.ca_file.is_none() && name.is_loopback() && !secure.speaks().await {
            let plain = Self::at(format!("http://{registry}"), name, way)?;
            if plain.speaks().await {
                return Ok(plain);
            }
        }
        Ok(secure)
    }

    fn at(url: String, name: &RemoteName, way: &Way) -> Result<Self, OutgoingError> {
        let settings = ConnectionSettings {
            url,
            client: ClientSettings {
                ca_file: way.ca_file.clone(),
                response_seconds_max: RESPONSE_SECONDS_MAX,
                ..ClientSettings::default()
            },
            credentials: way.credentials.clone(),
            actions: "pull,push",
        };
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let connection =
            Connection::new(settings, &clock).map_err(|error| OutgoingError::unanswered(name.registry(), error))?;
        let (repository, tag) = (name.repository().to_string(), name.tag().clone());
        Ok(Self { registry: name.registry().to_owned(), repository, tag, connection })
    }

    /// Whether something answers there that can be spoken to like this.
    async fn speaks(&self) -> bool {
        let Some(uri) = self.connection.address(&self.repository, "tags/list") else { return false };
        let answer = self.connection.fetch(&Method::GET, &self.repository, &uri, &HeaderMap::new()).await;
        !matches!(answer, Err(ConnectionError::Client(_)))
    }

    /// The tag that the image gets.
    pub(super) const fn tag(&self) -> &Tag {
        &self.tag
    }

    pub(super) async fn has_blob(&self, digest: &Digest) -> Result<bool, OutgoingError> {
        Ok(self.look(&format!("blobs/{digest}"), Thing::Blob(digest)).await?.is_some())
    }

    pub(super) async fn has_manifest(&self, digest: &Digest) -> Result<bool, OutgoingError> {
        let reference = Reference::Digest(*digest);
        Ok(self.look(&format!("manifests/{digest}"), Thing::Manifest(&reference)).await?.is_some())
    }

    /// What the tag is there now.
    pub(super) async fn tagged(&self) -> Result<Option<Digest>, OutgoingError> {
        let reference = Reference::Tag(self.tag.clone());
        let found = self.look(&format!("manifests/{}", self.tag), Thing::Manifest(&reference)).await?;
        Ok(found.and_then(|headers| headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()))
    }

    /// Uploads a blob in one piece (distribution specification, "POST then PUT"). `body` begins it anew each time.
    pub(super) async fn put_blob(&self, digest: &Digest, body: impl Fn() -> Body) -> Result<(), OutgoingError> {
        let thing = Thing::Blob(digest);
        let begin = self.address("blobs/uploads/", thing)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = self.send(&Method::POST, &begin, &headers, Body::empty).await?;
        let answer = self.expect_success(answer, thing).await?;
        let misplaced =
            |reason| OutgoingError::Place { registry: self.registry.clone(), what: digest.to_string(), reason };
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let place = next_uri(&begin, location.ok_or_else(|| misplaced("there is no Location"))?).map_err(misplaced)?;
        let separator = if place.query().is_some() { '&' } else { '?' };
        let place = format!("{place}{separator}digest={digest}").parse().map_err(|_| misplaced("it is no address"))?;
        let headers = typed("application/octet-stream");
        let answer = self.send(&Method::PUT, &place, &headers, body).await?;
        self.expect_success(answer, thing).await.map(drop)
    }

    /// Puts a manifest under its digest, or under a tag.
    pub(super) async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(), OutgoingError> {
        let thing = Thing::Manifest(reference);
        let uri = self.address(&format!("manifests/{reference}"), thing)?;
        let bytes = Bytes::from(bytes);
        let answer = self.send(&Method::PUT, &uri, &typed(media_type), || Body::full(bytes.clone())).await?;
        self.expect_success(answer, thing).await.map(drop)
    }

    /// Whether the registry itself says what speaks of a manifest.
    pub(super) async fn lists_referrers(&self, subject: &Digest) -> Result<bool, OutgoingError> {
        Ok(self.get(&format!("referrers/{subject}"), Thing::Referrers(subject)).await?.is_some())
    }

    /// What stands under a tag.
    pub(super) async fn manifest(&self, tag: &Tag) -> Result<Option<Vec<u8>>, OutgoingError> {
        let reference = Reference::Tag(tag.clone());
        let Some(answer) = self.get(&format!("manifests/{tag}"), Thing::Manifest(&reference)).await? else {
            return Ok(None);
        };
        let bytes = answer.into_body().collect(MANIFEST_BYTES_MAX).await;
        let bytes = bytes.map_err(|source| OutgoingError::Body { registry: self.registry.clone(), source })?;
        Ok(Some(bytes.to_vec()))
    }

    pub(super) fn unlisted(&self, tag: &Tag, source: ListingError) -> OutgoingError {
        OutgoingError::Listing { registry: self.registry.clone(), tag: tag.clone(), source }
    }

    async fn look(&self, rest: &str, thing: Thing<'_>) -> Result<Option<HeaderMap>, OutgoingError> {
        Ok(self.ask(&Method::HEAD, rest, thing).await?.map(|answer| answer.headers().clone()))
    }

    async fn get(&self, rest: &str, thing: Thing<'_>) -> Result<Option<Response<Received>>, OutgoingError> {
        self.ask(&Method::GET, rest, thing).await
    }

    async fn ask(
        &self,
        method: &Method,
        rest: &str,
        thing: Thing<'_>,
    ) -> Result<Option<Response<Received>>, OutgoingError> {
        let uri = self.address(rest, thing)?;
        let answer = self.connection.fetch(method, &self.repository, &uri, &accepting_all()).await;
        let answer = answer.map_err(|error| OutgoingError::unanswered(&self.registry, error))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.expect_success(answer, thing).await.map(Some),
        }
    }

    fn address(&self, rest: &str, thing: Thing<'_>) -> Result<Uri, OutgoingError> {
        self.connection.address(&self.repository, rest).ok_or_else(|| OutgoingError::Place {
            registry: self.registry.clone(),
            what: thing.to_string(),
            reason: "its name makes no address",
        })
    }

    async fn send(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: impl Fn() -> Body,
    ) -> Result<Response<Received>, OutgoingError> {
        let answer = self.connection.send(method, &self.repository, uri, headers, body).await;
        answer.map_err(|error| OutgoingError::unanswered(&self.registry, error))
    }

    /// The answer if it is a success; otherwise what the registry says against it.
    async fn expect_success(
        &self,
        answer: Response<Received>,
        thing: Thing<'_>,
    ) -> Result<Response<Received>, OutgoingError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.into_body().collect(ERROR_BODY_BYTES_MAX).await.unwrap_or_default();
        let (registry, what, said_text) = (self.registry.clone(), thing.to_string(), error_body::text(&body));
        Err(match status {
            StatusCode::UNAUTHORIZED => OutgoingError::Denied { registry, said_text },
            StatusCode::FORBIDDEN => OutgoingError::Refused { registry, what, said_text },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => {
                OutgoingError::NotNow { registry, said_text }
            }
            status => OutgoingError::Status { registry, what, status: status.as_u16(), said_text },
        })
    }
}

fn typed(media_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // A type that cannot stand in a header is refused by the registry, as any unknown one.
    if let Ok(value) = HeaderValue::from_str(media_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    headers
}
