//! The way to one registry: its address, the credentials for it, and the tokens that it asked for.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use ::http::{Method, Request, Response, StatusCode, Uri};
use data_encoding::BASE64;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::recent::Recent;
use super::settings::Credentials;
use super::token::{self, Challenge, TokenError};
use crate::http::Body;
use crate::http::body::BodyError;
use crate::http::client::{Client, ClientError, ClientSettings, FromElsewhere, Received, same_origin};
use crate::limits::{KIB, TOKEN_RESPONSE_BYTES_MAX};
use crate::sys::clock::Clock;
use crate::sys::dir::{DirError, read_bounded};
use crate::sys::dir_real::RealDir;

/// Where a registry is and how it is spoken to.
#[derive(Clone, Debug)]
pub(super) struct ConnectionSettings {
    /// `http://host` or `https://host`; a path is put before `/v2/`.
    pub(super) url: String,
    pub(super) client: ClientSettings,
    pub(super) credentials: Option<Credentials>,
    /// What a token is asked for where the registry does not say it itself.
    pub(super) actions: &'static str,
}

/// A registry that is spoken to.
#[derive(Debug)]
pub(super) struct Connection {
    origin: String,
    authority: String,
    is_https: bool,
    client: Client,
    credentials: Option<Credentials>,
    actions: &'static str,
    authorizations: Recent<String, Authorization>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Debug)]
struct Authorization {
    header: HeaderValue,
    expires: Duration,
}

/// Why there is no answer that a caller could look at. Whose registry it was, the caller says.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("the address or its certificates cannot be used")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("credentials are asked for that are not here")]
    Denied,
    #[error("the token service answered with status {status}")]
    TokenStatus { status: StatusCode, retry_after_seconds: Option<u64> },
    #[error("the token service is not taken: {0}")]
    TokenService(&'static str),
    #[error("the token service broke off")]
    TokenBody(#[source] BodyError),
    #[error("the token service gave no token")]
    Token(#[source] TokenError),
    #[error("the password cannot be read")]
    Password(#[source] DirError),
    #[error("the request ended without a result")]
    Interrupted,
}

/// A token is renewed this long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
const AUTHORIZATION_SECONDS_MAX: u64 = 3_600;
const PASSWORD_BYTES_MAX: usize = 16 * KIB;

impl Connection {
    pub(super) fn new(settings: ConnectionSettings, clock: &Arc<dyn Clock>) -> Result<Self, ConnectionError> {
        let wrong = |reason: &'static str| ConnectionError::Settings(reason.into());
        let uri: Uri = settings.url.parse().map_err(|error| ConnectionError::Settings(Box::new(error)))?;
        let (scheme, authority) = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme @ ("http" | "https")), Some(authority)) if !authority.as_str().contains('@') => {
                (scheme, authority.as_str())
            }
            _ => return Err(wrong("its url is not 'http://host' or 'https://host', without a user")),
        };
        if uri.query().is_some() {
            return Err(wrong("its url has a query"));
        }
        Ok(Self {
            origin: format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')),
            authority: authority.to_owned(),
            is_https: scheme == "https",
            client: Client::new(settings.client).map_err(|error| ConnectionError::Settings(Box::new(error)))?,
            credentials: settings.credentials,
            actions: settings.actions,
            authorizations: Recent::new(Arc::clone(clock), AUTHORIZATION_SECONDS_MAX),
            clock: Arc::clone(clock),
        })
    }

    /// Host, and port where it is not the scheme's own.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The address of something in a repository; none where it makes no address.
    pub(super) fn address(&self, repository: &str, rest: &str) -> Option<Uri> {
        format!("{}/v2/{repository}/{rest}", self.origin).parse().ok()
    }

    /// Asks with GET or HEAD, follows redirects, and brings a token where one is demanded.
    pub(super) async fn fetch(
        &self,
        method: &Method,
        repository: &str,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Response<Received>, ConnectionError> {
        let ask = || self.client.fetch(method.clone(), uri.clone(), self.with_authorization(repository, headers));
        let response = ask().await?;
        if !self.answers_challenge(repository, &response).await? {
            return Ok(response);
        }
        Ok(ask().await?)
    }

    /// Sends what `body` makes, which is asked again where a token was demanded first. No redirect is followed, and
    /// nothing secret goes to another origin.
    pub(super) async fn send(
        &self,
        method: &Method,
        repository: &str,
        uri: &Uri,
        headers: &HeaderMap,
        body: impl Fn() -> Body,
    ) -> Result<Response<Received>, ConnectionError> {
        let is_own = self.origin.parse().is_ok_and(|own| same_origin(&own, uri));
        let request = || {
            let mut request = Request::new(body());
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() =
                if is_own { self.with_authorization(repository, headers) } else { headers.clone() };
            request
        };
        let response = self.client.send(request()).await?;
        if !is_own || !self.answers_challenge(repository, &response).await? {
            return Ok(response);
        }
        Ok(self.client.send(request()).await?)
    }

    fn with_authorization(&self, repository: &str, headers: &HeaderMap) -> HeaderMap {
        let mut headers = headers.clone();
        let known = self.authorizations.recall(&repository.to_owned());
        if let Some(known) = known.filter(|known| self.clock.running() < known.expires) {
            headers.insert(AUTHORIZATION, known.header);
        }
        headers
    }

    /// Whether this answer asked for a token, which is here now. What another origin says of credentials does not count.
    async fn answers_challenge(
        &self,
        repository: &str,
        response: &Response<Received>,
    ) -> Result<bool, ConnectionError> {
        let is_own_challenge = response.extensions().get::<FromElsewhere>().is_none();
        if response.status() != StatusCode::UNAUTHORIZED || !is_own_challenge {
            return Ok(false);
        }
        let header = self.authorize(response, repository).await?;
        self.authorizations.remember(repository.to_owned(), header);
        Ok(true)
    }

    /// Answers the challenge of a 401.
    async fn authorize(
        &self,
        response: &Response<Received>,
        repository: &str,
    ) -> Result<Authorization, ConnectionError> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut challenges: Vec<Challenge> = headers.flat_map(token::challenges).collect();
        challenges.sort_by_key(|challenge| *challenge == Challenge::Basic);
        let forever = self.clock.running() + Duration::from_secs(AUTHORIZATION_SECONDS_MAX);
        match challenges.into_iter().next().ok_or(ConnectionError::Denied)? {
            Challenge::Basic => {
                let header = self.basic().await?.ok_or(ConnectionError::Denied)?;
                Ok(Authorization { header, expires: forever })
            }
            Challenge::Bearer { realm, service, scope } => {
                let scope = scope.unwrap_or_else(|| format!("repository:{repository}:{}", self.actions));
                let token = self.fetch_token(&realm, service.as_deref(), &scope).await?;
                let lifetime = Duration::from_secs(token.seconds).saturating_sub(TOKEN_MARGIN);
                let mut header =
                    HeaderValue::try_from(format!("Bearer {}", token.value)).map_err(|_| ConnectionError::Denied)?;
                header.set_sensitive(true);
                Ok(Authorization { header, expires: self.clock.running() + lifetime.max(Duration::from_secs(1)) })
            }
        }
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<token::Token, ConnectionError> {
        let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let separator = if realm.contains('?') { '&' } else { '?' };
        let service = service.map(|service| format!("&service={}", escaped(service))).unwrap_or_default();
        let uri: Uri = format!("{realm}{separator}scope={}{service}", escaped(scope))
            .parse()
            .map_err(|_| ConnectionError::TokenService("its realm is not an address"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if !self.is_https => {}
            _ => {
                return Err(ConnectionError::TokenService("it is not reached over TLS, though the registry is"));
            }
        }
        let mut headers = HeaderMap::new();
        if let Some(basic) = self.basic().await? {
            headers.insert(AUTHORIZATION, basic);
        }
        let response = self.client.fetch(Method::GET, uri, headers).await?;
        if response.status() != StatusCode::OK {
            let (status, retry_after_seconds) = (response.status(), retry_after_seconds(&response));
            return Err(ConnectionError::TokenStatus { status, retry_after_seconds });
        }
        let body = response.into_body().collect(TOKEN_RESPONSE_BYTES_MAX).await.map_err(ConnectionError::TokenBody)?;
        token::parse(&body).map_err(ConnectionError::Token)
    }

    async fn basic(&self) -> Result<Option<HeaderValue>, ConnectionError> {
        let Some(credentials) = self.credentials.clone() else { return Ok(None) };
        let user = credentials.user.clone();
        let read = tokio::task::spawn_blocking(move || read_password(&credentials)).await;
        let password = read.map_err(|_| ConnectionError::Interrupted)?.map_err(ConnectionError::Password)?;
        let pair = [user.as_bytes(), b":", &password].concat();
        let header = HeaderValue::try_from(format!("Basic {}", BASE64.encode(&pair)));
        let mut header = header.map_err(|_| ConnectionError::Denied)?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

/// When to come back, where the registry says it in seconds.
pub(super) fn retry_after_seconds(response: &Response<Received>) -> Option<u64> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
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
