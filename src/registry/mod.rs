//! The OCI distribution API towards clients: reading what the store shows and the mirror can get, pushing, and
//! deleting.
//!
//! Never here: a decision about what may be served. The store answers what was admitted, the mirror what it may fetch.

mod blobs;
pub mod challenge;
mod class;
mod conditions;
mod delete;
mod error;
mod listings;
mod looked_up;
mod manifests;
mod mount;
mod multipart;
mod place;
mod push;
mod quota;
pub mod range;
mod referrers;
mod respond;
pub mod route;
mod staging;
#[cfg(test)]
mod tests;
mod token;
pub mod uploads;

use std::sync::Arc;

use ::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT, WWW_AUTHENTICATE,
};
use ::http::request::Parts;
use ::http::{Method, Request, Response, StatusCode};
use futures_util::StreamExt as _;
use http_body::Body as _;
use http_body_util::BodyExt as _;

pub use class::class_of;
pub use error::{DeleteError, PushError, RegistryError};
pub use push::{PolicySource, PushSettings};

use self::conditions::Conditions;
use self::looked_up::RecentLookups;
use self::quota::Quotas;
use self::route::{Route, UploadAction};
use self::uploads::{Pieces, Uploads};
use crate::access::{Access, Action, Caller, Denial};
use crate::admission::{RecheckSettings, Rechecks};
use crate::http::body::BodyError;
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::limits::BODY_CHUNK_BYTES;
use crate::oci::digest::Digest;
use crate::ops::access_log::{AccessLog, AccessRecord, Event};
use crate::ops::health::Health;
use crate::ops::traffic::RouteClass;
use crate::store::Store;
use crate::upstream::Mirror;

/// How the registry reads names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// A name that nothing here begins with is looked for below this registry too: dockerd's `registry-mirrors` asks for
    /// `library/nginx` and means `docker.io/library/nginx`.
    pub root_namespace: Option<String>,
    /// How clients reach this registry (`https://registry.example`), where something stands before it.
    pub public_url: Option<String>,
    /// Piece in which a stored file is read and sent.
    pub piece_bytes: usize,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self { root_namespace: Some("docker.io".to_owned()), public_url: None, piece_bytes: BODY_CHUNK_BYTES }
    }
}

/// The distribution API on a store.
#[derive(Debug)]
pub struct Registry {
    store: Store,
    mirror: Option<Arc<Mirror>>,
    access: Arc<Access>,
    access_log: Arc<AccessLog>,
    settings: RegistrySettings,
    push: PushSettings,
    uploads: Uploads,
    quotas: Quotas,
    looked_up: RecentLookups,
    /// What is here is judged anew.
    rechecks: Arc<Rechecks>,
    /// Held while something is deleted.
    deletions: tokio::sync::Mutex<()>,
}

/// What handlers look at of a request.
struct Asked {
    is_head: bool,
    headers: HeaderMap,
    /// Who asks.
    caller: Arc<Caller>,
    /// By whom sessions are counted: the account, or the address of whoever has none.
    client: Option<String>,
}

impl Asked {
    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn conditions(&self) -> Conditions {
        Conditions::of(&self.headers)
    }
}

/// The strong validator of some content: its digest, quoted.
fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// What the access log is told beyond the request line.
#[derive(Default)]
struct Noted {
    class: RouteClass,
    namespace: Option<String>,
    repository: Option<String>,
    reference: Option<String>,
    rule: Option<String>,
    principal: Option<String>,
}

impl Handler for Registry {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let pieces = body.into_data_stream().map(|piece| piece.map_err(BodyError::Receive)).boxed();
        self.answer(parts, pieces, info).await
    }
}

impl Registry {
    /// A registry on `store` that fetches what is absent through `mirror`, where there is one, for whom `access` lets in.
    pub fn new(
        store: Store,
        mirror: Option<Arc<Mirror>>,
        access: Arc<Access>,
        access_log: Arc<AccessLog>,
        settings: RegistrySettings,
        push: PushSettings,
    ) -> Arc<Self> {
        let uploads = Uploads::new(push.uploads.clone());
        let settings_of_rechecks = RecheckSettings {
            places_count: push.uploads.manifests_count_max,
            bytes_max: push.uploads.judged_bytes_max,
        };
        let rechecks =
            Rechecks::new(store.clone(), Arc::clone(&access), Arc::clone(&push.policy), settings_of_rechecks);
        let registry = Arc::new(Self {
            store,
            mirror,
            access,
            access_log,
            settings,
            push,
            uploads,
            quotas: Quotas::default(),
            looked_up: RecentLookups::default(),
            rechecks,
            deletions: tokio::sync::Mutex::new(()),
        });
        tokio::spawn(uploads::expire_silent(Arc::downgrade(&registry)));
        registry
    }

    /// Upload sessions that are open.
    pub fn uploads_count(&self) -> u64 {
        self.uploads.open_count() as u64
    }

    /// The verdicts by which it serves.
    pub const fn rechecks(&self) -> &Arc<Rechecks> {
        &self.rechecks
    }

    /// Answers one request. Its body is read only where it is pushed content.
    pub async fn answer(self: &Arc<Self>, parts: Parts, pieces: Pieces, info: RequestInfo) -> Response<Body> {
        let began = self.store.clock().running();
        let mut noted = Noted::default();
        let base = self.base_address(&parts, &info);
        let authorization = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let names = info.certificate_names.as_deref();
        let caller = self.access.identify(authorization, names, info.remote.map(|remote| remote.ip())).await;
        noted.principal = caller.label();
        let (is_head, client, caller) = (parts.method == Method::HEAD, caller.counted_as(), Arc::new(caller));
        let asked = Asked { is_head, headers: parts.headers, caller, client };
        let routed = route::route(&parts.method, parts.uri.path(), parts.uri.query());
        let answered = match routed {
            _ if parts.uri.path() == challenge::TOKEN_PATH => {
                noted.class = RouteClass::Token;
                self.token(&parts.method, parts.uri.query(), pieces, &asked, &mut noted).await
            }
            Ok(route) => {
                note(&route, &mut noted);
                self.dispatch(route, &asked, pieces, &mut noted).await
            }
            Err(error) => Err(error.into()),
        };
        let mut response = answered.unwrap_or_else(|error| {
            log_failure(&error, &info.request_id);
            if let RegistryError::Refused(refusal) = &error {
                noted.rule = Some(refusal.rule.clone());
            }
            let mut response = respond::failure(&error, &info.request_id);
            if response.status() == StatusCode::UNAUTHORIZED {
                let denial = if let RegistryError::Denied(denial) = &error { Some(denial) } else { None };
                for challenge in challenge::challenges(base.as_deref(), denial) {
                    response.headers_mut().append(WWW_AUTHENTICATE, challenge);
                }
            }
            if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PATCH, PUT, DELETE"));
            }
            response
        });
        finish_headers(&mut response, &noted, &info, asked.is_head);
        let record = AccessRecord {
            time: self.store.clock().wall(),
            event: Event::of(noted.class, response.status().as_u16()),
            class: noted.class,
            request_id: info.request_id,
            remote: info.remote,
            principal: noted.principal,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().chars().take(1_024).collect(),
            ns: noted.namespace,
            repository: noted.repository,
            reference: noted.reference,
            status: response.status().as_u16(),
            user_agent: asked.headers.get(USER_AGENT).map(shown),
            rule: noted.rule,
            ..AccessRecord::default()
        };
        self.access_log.record_at_end(response, record, began)
    }

    async fn dispatch(
        self: &Arc<Self>,
        route: Route,
        asked: &Asked,
        pieces: Pieces,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        match route {
            Route::Base => self.base(asked),
            Route::Health => self.health().await,
            Route::Catalog(page) => self.catalog(page, asked).await,
            Route::Manifest { place, reference } => self.manifest(place, reference, asked, noted).await,
            Route::Blob { place, digest } => self.blob(place, digest, asked, noted).await,
            Route::StartUpload { place, digest, mount, algorithm } => {
                self.start_upload(place, digest, mount, algorithm, pieces, asked).await
            }
            Route::Upload { place, session, action } => self.upload(place, &session, action, pieces, asked).await,
            Route::PutManifest { place, reference, tags } => {
                self.put_manifest(place, reference, tags, pieces, asked, noted).await
            }
            Route::DeleteManifest { place, reference } => self.delete_manifest(place, reference, asked, noted).await,
            Route::DeleteBlob { place, digest } => self.delete_blob(place, digest, asked, noted).await,
            Route::Tags { place, page } => self.tags(place, page, asked, noted).await,
            Route::Referrers { place, subject, artifact_types, page } => {
                self.referrers(place, subject, artifact_types, page, asked, noted).await
            }
        }
    }

    /// Whether this is a registry, and whether the credentials are good: clients look here first, and some learn here alone
    /// how to sign in. So where anyone can sign in, everyone is asked to, if only for a token that says "nobody".
    fn base(&self, asked: &Asked) -> Result<Response<Body>, RegistryError> {
        let caller = &asked.caller;
        if caller.is_somebody() || caller.scopes.is_some() || !self.access.is_in_use() {
            return Ok(respond::json(&serde_json::json!({})));
        }
        let (repository, action) = (String::new(), Action::Pull);
        Err(match &caller.failed {
            Some(error) => Denial::Failed { error: error.clone(), repository, action },
            None => Denial::SignIn { repository, action },
        }
        .into())
    }

    /// How this client reaches the registry, for the address of the token endpoint.
    fn base_address(&self, parts: &Parts, info: &RequestInfo) -> Option<String> {
        if let Some(url) = &self.settings.public_url {
            return Some(url.clone());
        }
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let host = authority.or_else(|| parts.headers.get(HOST).and_then(|host| host.to_str().ok()));
        challenge::base_address(host, info.is_secure)
    }

    async fn health(self: &Arc<Self>) -> Result<Response<Body>, RegistryError> {
        let health = self.blocking(|registry| Ok(Health::of(&registry.store))).await?;
        Ok(respond::json(&health))
    }

    /// Runs what reads the store where it may block.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let registry = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&registry)).await.map_err(|_| RegistryError::Interrupted)?
    }
}

fn note(route: &Route, noted: &mut Noted) {
    noted.class = class::class(route);
    let (place, reference) = match route {
        Route::Base | Route::Health | Route::Catalog(_) => return,
        Route::Manifest { place, reference } => (place, Some(reference.to_string())),
        Route::Blob { place, digest } => (place, Some(digest.to_string())),
        Route::DeleteManifest { place, reference } => (place, Some(reference.to_string())),
        Route::DeleteBlob { place, digest } => (place, Some(digest.to_string())),
        Route::PutManifest { place, reference, .. } => (place, Some(reference.to_string())),
        Route::StartUpload { place, digest, .. } => (place, digest.map(|digest| digest.to_string())),
        Route::Upload { place, action: UploadAction::Finish(digest), .. } => (place, Some(digest.to_string())),
        Route::Upload { place, .. } | Route::Tags { place, .. } => (place, None),
        Route::Referrers { place, subject, .. } => (place, Some(subject.to_string())),
    };
    noted.namespace.clone_from(&place.namespace);
    noted.reference = reference;
}

fn log_failure(error: &RegistryError, request_id: &str) {
    let internal = matches!(
        error,
        RegistryError::Store(_)
            | RegistryError::Blob(_)
            | RegistryError::Damaged(_)
            | RegistryError::Mirror(_)
            | RegistryError::Unjudged(_)
            | RegistryError::Push(PushError::Commit(_) | PushError::Admission(_))
            | RegistryError::Delete(DeleteError::Commit(_))
            | RegistryError::Interrupted
    );
    if internal {
        let cause = std::error::Error::source(error).map(crate::error_chain::chain);
        tracing::warn!(request_id, error = %error, cause, "a request failed");
    }
}

fn finish_headers(response: &mut Response<Body>, noted: &Noted, info: &RequestInfo, is_head: bool) {
    let has_body = response.status() != StatusCode::NOT_MODIFIED;
    let size = response.body().size_hint().exact();
    let headers = response.headers_mut();
    headers.insert(respond::API_VERSION, HeaderValue::from_static("registry/2.0"));
    if let Ok(value) = HeaderValue::try_from(&info.request_id) {
        headers.insert(respond::REQUEST_ID, value);
    }
    if let Some(namespace) = noted.namespace.as_ref().and_then(|name| HeaderValue::try_from(name).ok()) {
        headers.insert(respond::NAMESPACE, namespace);
    }
    if let Some(size) = size.filter(|_| has_body && !headers.contains_key(CONTENT_LENGTH)) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    if is_head {
        *response.body_mut() = Body::empty();
    }
}

/// A foreign header's text, short enough for a log line.
fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().take(200).collect()
}
