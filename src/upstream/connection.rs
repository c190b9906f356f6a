//! One upstream: its address, its credentials and tokens, and whether it was reachable a moment ago.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use ::http::{Method, Response, StatusCode, Uri};
use data_encoding::BASE64;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::MirrorError;
use super::recent::Recent;
use super::settings::{Credentials, MirrorSettings, UpstreamSettings};
use super::token::{self, Challenge};
use crate::http::client::{Client, ClientError, ClientSettings, FromElsewhere, Received};
use crate::limits::{KIB, TOKEN_RESPONSE_BYTES_MAX};
use crate::oci::media_type::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST};
use crate::oci::name::RepositoryName;
use crate::sys::clock::Clock;
use crate::sys::dir::{DirError, read_bounded};
use crate::sys::dir_real::RealDir;

/// A registry outside, and what is known of it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    namespaces: Vec<String>,
    origin: String,
    is_https: bool,
    client: Client,
    credentials: Option<Credentials>,
    authorizations: Recent<String, Authorization>,
    failed: Recent<(), ()>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Debug)]
struct Authorization {
    header: HeaderValue,
    expires: Duration,
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
/// A token is renewed this long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
const AUTHORIZATION_SECONDS_MAX: u64 = 3_600;
const PASSWORD_BYTES_MAX: usize = 16 * KIB;

fn wrong_settings(name: &str, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> MirrorError {
    MirrorError::Settings { name: name.to_owned(), source: reason.into() }
}

impl Upstream {
    pub(super) fn new(
        settings: UpstreamSettings,
        mirror: &MirrorSettings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, MirrorError> {
        let name = settings.name;
        if name.contains('/') || name.parse::<RepositoryName>().is_err() {
            return Err(wrong_settings(&name, "its name is not one component of a repository name"));
        }
        let uri: Uri = settings.url.parse().map_err(|error| wrong_settings(&name, Box::new(error) as Box<_>))?;
        let (scheme, authority) = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme @ ("http" | "https")), Some(authority)) if !authority.as_str().contains('@') => {
                (scheme, authority.as_str())
            }
            _ => return Err(wrong_settings(&name, "its url is not 'http://host' or 'https://host', without a user")),
        };
        if uri.query().is_some() {
            return Err(wrong_settings(&name, "its url has a query"));
        }
        let mut namespaces = settings.namespaces;
        namespaces.extend([name.clone(), authority.to_owned()]);
        let client = ClientSettings { ca_file: settings.ca_file, ..ClientSettings::default() };
        Ok(Self {
            origin: format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')),
            is_https: scheme == "https",
            client: Client::new(client).map_err(|error| wrong_settings(&name, error))?,
            credentials: settings.credentials,
            authorizations: Recent::new(Arc::clone(clock), AUTHORIZATION_SECONDS_MAX),
            failed: Recent::new(Arc::clone(clock), mirror.unreachable_seconds),
            clock: Arc::clone(clock),
            namespaces,
            name,
        })
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
        let response = self.send(ask).await?;
        let is_own_challenge = response.extensions().get::<FromElsewhere>().is_none();
        if response.status() != StatusCode::UNAUTHORIZED || !is_own_challenge {
            return self.check_status(response);
        }
        let header = self.authorize(&response, ask.repository).await?;
        self.authorizations.remember(ask.repository.to_owned(), header);
        let response = self.send(ask).await?;
        self.check_status(response)
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Response<Received>, MirrorError> {
        let text = format!("{}/v2/{}/{}", self.origin, ask.repository, ask.rest);
        let uri: Uri = text.parse().map_err(|_| MirrorError::NotFound { upstream: self.name.clone() })?;
        let mut headers = HeaderMap::new();
        for media_type in MANIFEST_TYPES {
            headers.append(ACCEPT, HeaderValue::from_static(media_type));
        }
        headers.append(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(from) = ask.range_from
            && let Ok(range) = format!("bytes={from}-").parse()
        {
            headers.insert(RANGE, range);
        }
        let known = self.authorizations.recall(&ask.repository.to_owned());
        if let Some(known) = known.filter(|known| self.clock.running() < known.expires) {
            headers.insert(AUTHORIZATION, known.header);
        }
        let answer = self.client.fetch(ask.method.clone(), uri, headers).await;
        answer.map_err(|source| self.unreachable(source)).inspect(|_| self.failed.forget(&()))
    }

    fn unreachable(&self, source: ClientError) -> MirrorError {
        if source.is_unreachable() {
            self.note_failure();
        }
        MirrorError::Unreachable { upstream: self.name.clone(), source }
    }

    fn check_status(&self, response: Response<Received>) -> Result<Response<Received>, MirrorError> {
        let upstream = self.name.clone();
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND => Err(MirrorError::NotFound { upstream }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(MirrorError::Denied { upstream }),
            StatusCode::TOO_MANY_REQUESTS => {
                let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                Err(MirrorError::RateLimited {
                    upstream,
                    retry_after_seconds: header.and_then(|text| text.parse().ok()),
                })
            }
            status => Err(MirrorError::Status { upstream, status: status.as_u16() }),
        }
    }

    /// Answers the challenge of a 401.
    async fn authorize(&self, response: &Response<Received>, repository: &str) -> Result<Authorization, MirrorError> {
        let denied = || MirrorError::Denied { upstream: self.name.clone() };
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut challenges: Vec<Challenge> = headers.flat_map(token::challenges).collect();
        challenges.sort_by_key(|challenge| *challenge == Challenge::Basic);
        let forever = self.clock.running() + Duration::from_secs(AUTHORIZATION_SECONDS_MAX);
        match challenges.into_iter().next().ok_or_else(denied)? {
            Challenge::Basic => {
                let header = self.basic().await?.ok_or_else(denied)?;
                Ok(Authorization { header, expires: forever })
            }
            Challenge::Bearer { realm, service, scope } => {
                let scope = scope.unwrap_or_else(|| format!("repository:{repository}:pull"));
                let token = self.fetch_token(&realm, service.as_deref(), &scope).await?;
                let lifetime = Duration::from_secs(token.seconds).saturating_sub(TOKEN_MARGIN);
                let mut header = HeaderValue::try_from(format!("Bearer {}", token.value)).map_err(|_| denied())?;
                header.set_sensitive(true);
                Ok(Authorization { header, expires: self.clock.running() + lifetime.max(Duration::from_secs(1)) })
            }
        }
    }

    async fn fetch_token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<token::Token, MirrorError> {
        let refuse = |reason| MirrorError::TokenService { upstream: self.name.clone(), reason };
        let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let separator = if realm.contains('?') { '&' } else { '?' };
        let service = service.map(|service| format!("&service={}", escaped(service))).unwrap_or_default();
        let uri: Uri = format!("{realm}{separator}scope={}{service}", escaped(scope))
            .parse()
            .map_err(|_| refuse("its realm is not an address"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if !self.is_https => {}
            _ => return Err(refuse("it is not reached over TLS, though the upstream is")),
        }
        let mut headers = HeaderMap::new();
        if let Some(basic) = self.basic().await? {
            headers.insert(AUTHORIZATION, basic);
        }
        let response = self
            .client
            .fetch(Method::GET, uri, headers)
            .await
            .map_err(|source| self.unreachable(source))
            .and_then(|response| self.check_status(response))?;
        let body = response.into_body().collect(TOKEN_RESPONSE_BYTES_MAX).await;
        let body = body.map_err(|source| MirrorError::Body { upstream: self.name.clone(), source })?;
        token::parse(&body).map_err(|source| MirrorError::Token { upstream: self.name.clone(), source })
    }

    async fn basic(&self) -> Result<Option<HeaderValue>, MirrorError> {
        let Some(credentials) = self.credentials.clone() else { return Ok(None) };
        let user = credentials.user.clone();
        let read = tokio::task::spawn_blocking(move || read_password(&credentials)).await;
        let password = read
            .map_err(|_| MirrorError::Interrupted)?
            .map_err(|source| MirrorError::Password { upstream: self.name.clone(), source })?;
        let pair = [user.as_bytes(), b":", &password].concat();
        let header = HeaderValue::try_from(format!("Basic {}", BASE64.encode(&pair)));
        let mut header = header.map_err(|_| MirrorError::Denied { upstream: self.name.clone() })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

/// The first line of the file. A link is followed: that is how secrets are mounted.
fn read_password(credentials: &Credentials) -> Result<Vec<u8>, DirError> {
    let shown = credentials.password_file.display().to_string();
    let failed = |source| DirError { operation: "open", path: shown.clone(), source };
    let real = credentials.password_file.canonicalize().map_err(failed)?;
    let (Some(folder), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err(failed(std::io::ErrorKind::InvalidInput.into()));
    };
    let mut password = read_bounded(&RealDir::open(folder)?, name, PASSWORD_BYTES_MAX)?;
    let line = password.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(password.len());
    password.truncate(line);
    Ok(password)
}
