//! One registry that is mirrored: what it is called here, what may be asked of it, and whether it was reachable a moment
//! ago.

use std::sync::Arc;

use ::http::header::{ACCEPT, HeaderMap, HeaderValue, RANGE};
use ::http::{Method, Response, StatusCode};

use super::connection::{Connection, ConnectionError, ConnectionSettings, retry_after_seconds};
use super::error::MirrorError;
use super::recent::Recent;
use super::settings::{MirrorSettings, UpstreamSettings};
use crate::http::client::{ClientError, ClientSettings, Received};
use crate::oci::media_type::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST};
use crate::oci::name::RepositoryName;
use crate::sys::clock::Clock;

/// A registry outside, and what is known of it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    namespaces: Vec<String>,
    connection: Connection,
    failed: Recent<(), ()>,
}

/// One request for something of a repository.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Path of the repository at the upstream.
    pub(super) repository: &'a str,
    /// What follows the repository: `manifests/latest`.
    pub(super) rest: &'a str,
    pub(super) range_from: Option<u64>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(repository: &'a str, rest: &'a str) -> Self {
        Self { method: Method::GET, repository, rest, range_from: None }
    }

    pub(super) fn head(repository: &'a str, rest: &'a str) -> Self {
        Self { method: Method::HEAD, ..Self::get(repository, rest) }
    }
}

const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_MANIFEST];

/// Headers that take every type of manifest, without which a registry would translate.
pub(super) fn accepting_all() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for media_type in MANIFEST_TYPES {
        headers.append(ACCEPT, HeaderValue::from_static(media_type));
    }
    headers.append(ACCEPT, HeaderValue::from_static("*/*"));
    headers
}

impl Upstream {
    pub(super) fn new(
        settings: UpstreamSettings,
        mirror: &MirrorSettings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, MirrorError> {
        let name = settings.name;
        let wrong = |source| MirrorError::Settings { name: name.clone(), source };
        if name.contains('/') || name.parse::<RepositoryName>().is_err() {
            return Err(wrong("its name is not one component of a repository name".into()));
        }
        let connection = ConnectionSettings {
            url: settings.url,
            client: ClientSettings {
                ca_file: settings.ca_file,
                receive_bytes_max: mirror.receive_bytes_max,
                ..ClientSettings::default()
            },
            credentials: settings.credentials,
            actions: "pull",
        };
        let connection = Connection::new(connection, clock).map_err(|error| match error {
            ConnectionError::Settings(source) => wrong(source),
            error => wrong(Box::new(error)),
        })?;
        let mut namespaces = settings.namespaces;
        namespaces.extend([name.clone(), connection.authority().to_owned()]);
        let failed = Recent::new(Arc::clone(clock), mirror.unreachable_seconds);
        Ok(Self { name, namespaces, connection, failed })
    }

    /// Whether a client that says `ns=namespace` means this upstream.
    pub(super) fn is_meant_by(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|own| own.eq_ignore_ascii_case(namespace))
    }

    /// Whether it could not be reached a moment ago.
    pub(super) fn failed_lately(&self) -> bool {
        self.failed.recall(&()).is_some()
    }

    /// Notes that it did not answer in time.
    pub(super) fn note_failure(&self) {
        self.failed.remember((), ());
    }

    /// Asks, with a token where one is demanded. Any status that is not a success becomes an error.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Response<Received>, MirrorError> {
        let not_found = || MirrorError::NotFound { upstream: self.name.clone() };
        let uri = self.connection.address(ask.repository, ask.rest).ok_or_else(not_found)?;
        let mut headers = accepting_all();
        if let Some(from) = ask.range_from
            && let Ok(range) = format!("bytes={from}-").parse()
        {
            headers.insert(RANGE, range);
        }
        let answer = self.connection.fetch(&ask.method, ask.repository, &uri, &headers).await;
        let response = answer.map_err(|error| self.unanswered(error))?;
        self.failed.forget(&());
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            status => Err(self.refused(status, retry_after_seconds(&response))),
        }
    }

    fn unanswered(&self, error: ConnectionError) -> MirrorError {
        let upstream = self.name.clone();
        match error {
            ConnectionError::Client(source) => self.unreachable(source),
            ConnectionError::Settings(source) => MirrorError::Settings { name: upstream, source },
            ConnectionError::Denied => MirrorError::Denied { upstream },
            ConnectionError::TokenStatus { status, retry_after_seconds } => self.refused(status, retry_after_seconds),
            ConnectionError::TokenService(reason) => MirrorError::TokenService { upstream, reason },
            ConnectionError::TokenBody(source) => MirrorError::Body { upstream, source },
            ConnectionError::Token(source) => MirrorError::Token { upstream, source },
            ConnectionError::Password(source) => MirrorError::Password { upstream, source },
            ConnectionError::Interrupted => MirrorError::Interrupted,
        }
    }

    fn unreachable(&self, source: ClientError) -> MirrorError {
        if source.is_unreachable() {
            self.note_failure();
        }
        MirrorError::Unreachable { upstream: self.name.clone(), source }
    }

    fn refused(&self, status: StatusCode, retry_after_seconds: Option<u64>) -> MirrorError {
        let upstream = self.name.clone();
        match status {
            StatusCode::NOT_FOUND => MirrorError::NotFound { upstream },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => MirrorError::Denied { upstream },
            StatusCode::TOO_MANY_REQUESTS => MirrorError::RateLimited { upstream, retry_after_seconds },
            status => MirrorError::Status { upstream, status: status.as_u16() },
        }
    }
}
