//! A subset of Harbor's API, version 2.0, for projects, members, robots and quotas: what Harbor's clients ask for, with the
//! meaning that there is here. `docs/openapi.yaml` describes it.
//!
//! Never here: a second set of rules. Rights are those of `access`, and each change is an event of the journal like one made
//! at the machine. Users and what is mirrored are managed there alone.

mod error;
mod images;
mod members;
mod projects;
pub mod query;
mod quotas;
pub mod request;
mod robots;
pub mod route;
pub mod sessions;
mod sight;
mod system;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION,
    USER_AGENT,
};
use ::http::request::Parts;
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::Serialize;

use self::error::{ApiError, failure, json_answer};
use self::query::{Page, links};
use self::route::{Endpoint, PREFIX, Route, RouteError, route};
use crate::access::{Access, Caller, Subject};
use crate::http::body::BodyError;
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::limits::API_BODY_BYTES_MAX;
use crate::ops::access_log::{AccessLog, AccessRecord, Event};
use crate::ops::traffic::RouteClass;
use crate::store::{PrincipalRef, Store};

/// Time for a whole body.
const BODY_SECONDS_MAX: u64 = 30;
const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Says that what looks like a number is a project's name.
const IS_RESOURCE_NAME: HeaderName = HeaderName::from_static("x-is-resource-name");
/// Asks for the name and not the number of what was made.
const NAME_IN_LOCATION: HeaderName = HeaderName::from_static("x-resource-name-in-location");

/// Whether a path is answered here and not by the registry.
pub fn is_mine(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// The kind of route that a request takes here.
pub fn class_of(method: &Method, uri: &Uri) -> RouteClass {
    class(&route(method, uri.path(), uri.query()))
}

fn class(routed: &Result<Route, RouteError>) -> RouteClass {
    match routed.as_ref().map(|route| route.endpoint) {
        Ok(Endpoint::Ping | Endpoint::Health) => RouteClass::Health,
        Ok(Endpoint::SystemInfo | Endpoint::Notice) | Err(_) => RouteClass::Other,
        Ok(_) => RouteClass::Admin,
    }
}

/// The API on a store.
#[derive(Debug)]
pub struct Api {
    store: Store,
    access: Arc<Access>,
    access_log: Arc<AccessLog>,
}

/// What handlers look at of a request of somebody who has signed in.
struct Asked {
    route: Route,
    caller: Caller,
    /// The user's id in the document.
    user: String,
    is_system_admin: bool,
    path: String,
    query: String,
    body: Bytes,
    is_resource_name: bool,
    name_in_location: bool,
}

impl Asked {
    fn principal(&self) -> PrincipalRef {
        self.caller.principal()
    }
}

type Answer = Result<Response<Body>, ApiError>;

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let pieces = body.into_data_stream().map(|piece| piece.map_err(BodyError::Receive)).boxed();
        self.answer(parts, pieces, info).await
    }
}

impl Api {
    /// The API for the projects and accounts of `access`.
    pub fn new(store: Store, access: Arc<Access>, access_log: Arc<AccessLog>) -> Arc<Self> {
        Arc::new(Self { store, access, access_log })
    }

    /// Answers one request, and records it.
    pub async fn answer(
        self: &Arc<Self>,
        parts: Parts,
        pieces: BoxStream<'static, Result<Bytes, BodyError>>,
        info: RequestInfo,
    ) -> Response<Body> {
        let began = self.store.clock().running();
        let authorization = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let names = info.certificate_names.as_deref();
        let caller = self.access.identify_manager(authorization, names, info.remote.map(|remote| remote.ip())).await;
        let mut principal = caller.label();
        let routed = route(&parts.method, parts.uri.path(), parts.uri.query());
        let class = class(&routed);
        let operation = routed.as_ref().ok().filter(|_| class == RouteClass::Admin).map(|route| route.endpoint.name());
        let answered = match routed {
            Ok(route) => self.dispatch(route, caller, &parts, pieces, &mut principal).await,
            Err(error) => Err(error.into()),
        };
        let mut response = answered.unwrap_or_else(|error| failure(&error, &info.request_id));
        finish_headers(&mut response, &info, parts.method == Method::HEAD);
        let record = AccessRecord {
            time: self.store.clock().wall(),
            event: Event::of(class, response.status().as_u16()),
            class,
            request_id: info.request_id,
            remote: info.remote,
            principal,
            operation: operation.map(str::to_owned),
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().chars().take(1_024).collect(),
            status: response.status().as_u16(),
            user_agent: parts.headers.get(USER_AGENT).map(shown),
            ..AccessRecord::default()
        };
        self.access_log.record_at_end(response, record, began)
    }

    async fn dispatch(
        self: &Arc<Self>,
        route: Route,
        caller: Caller,
        parts: &Parts,
        pieces: BoxStream<'static, Result<Bytes, BodyError>>,
        principal: &mut Option<String>,
    ) -> Answer {
        if route.endpoint.is_open() {
            return self.blocking(move |api| Ok(api.open(route.endpoint))).await;
        }
        if route.endpoint == Endpoint::SessionBegin {
            let body = body(&parts.headers, &route, pieces).await?;
            return self.session_begin(&body, &caller, principal).await;
        }
        let user = self.signed_in(&caller)?;
        match route.endpoint {
            Endpoint::SessionRead => return self.session_read(parts, &caller),
            Endpoint::SessionEnd => return self.session_end(parts),
            _ => {}
        }
        if route.endpoint == Endpoint::CurrentUser {
            return self.blocking(move |api| api.current_user(&caller)).await;
        }
        let Some(user) = user else {
            return Err(ApiError::Forbidden("robots pull and push, and manage nothing: sign in as a user"));
        };
        let body = if route.endpoint.takes_body() { body(&parts.headers, &route, pieces).await? } else { Bytes::new() };
        let is_true = |name: &HeaderName| parts.headers.get(name).is_some_and(|value| value == "true");
        let asked = Asked {
            is_system_admin: self.is_system_admin(&caller),
            user,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body,
            is_resource_name: is_true(&IS_RESOURCE_NAME),
            name_in_location: is_true(&NAME_IN_LOCATION),
            route,
            caller,
        };
        self.blocking(move |api| api.carry_out(&asked)).await
    }

    /// The id of whoever has signed in with a password: none for a robot.
    fn signed_in(&self, caller: &Caller) -> Result<Option<String>, ApiError> {
        if let Some(error) = &caller.failed {
            return Err(error.clone().into());
        }
        match &caller.subject {
            _ if !self.access.is_in_use() => Err(ApiError::NoUsers),
            // Tokens are for repositories: what manages these is not within what any of them was asked for.
            _ if caller.scopes.is_some() => Err(ApiError::SignIn),
            Subject::Anonymous => Err(ApiError::SignIn),
            Subject::Robot(_) => Ok(None),
            Subject::User(id) => Ok(Some(id.clone())),
        }
    }

    fn carry_out(&self, asked: &Asked) -> Answer {
        match asked.route.endpoint {
            Endpoint::Ping | Endpoint::Health | Endpoint::SystemInfo | Endpoint::Notice => {
                Ok(self.open(asked.route.endpoint))
            }
            // Answered before, with what came along.
            Endpoint::SessionBegin | Endpoint::SessionRead | Endpoint::SessionEnd => Err(ApiError::NoSession),
            Endpoint::CurrentUser => self.current_user(&asked.caller),
            Endpoint::Configurations => Ok(Self::configurations()),
            Endpoint::ProjectsList => self.projects_list(asked),
            Endpoint::ProjectsHead => self.projects_head(asked),
            Endpoint::ProjectsAdd => self.projects_add(asked),
            Endpoint::ProjectRead => self.project_read(asked),
            Endpoint::ProjectSet => self.project_set(asked),
            Endpoint::ProjectRemove => self.project_remove(asked),
            Endpoint::ProjectSummary => self.project_summary(asked),
            Endpoint::MembersList => self.members_list(asked),
            Endpoint::MembersAdd => self.members_add(asked),
            Endpoint::MemberRead => self.member_read(asked),
            Endpoint::MemberSet => self.member_set(asked),
            Endpoint::MemberRemove => self.member_remove(asked),
            Endpoint::RobotsList => self.robots_list(asked),
            Endpoint::RobotsAdd => self.robots_add(asked),
            Endpoint::RobotRead => self.robot_read(asked),
            Endpoint::RobotSet => self.robot_set(asked),
            Endpoint::RobotRenew => self.robot_renew(asked),
            Endpoint::RobotRemove => self.robot_remove(asked),
            Endpoint::TagsList => self.tags_list(asked),
            Endpoint::QuotasList => self.quotas_list(asked),
            Endpoint::QuotaRead => self.quota_read(asked),
            Endpoint::QuotaSet => self.quota_set(asked),
        }
    }

    /// Runs what reads the store, or changes it, where it may block.
    async fn blocking(self: &Arc<Self>, work: impl FnOnce(&Self) -> Answer + Send + 'static) -> Answer {
        let api = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&api)).await.map_err(|_| ApiError::Interrupted)?
    }
}

/// The body, where it says that it is JSON. What asks for nothing more than another secret may have none.
///
/// A page in a browser cannot send this type, nor another method than POST, to another site unasked: so nothing is changed
/// with a certificate that a browser shows by itself.
async fn body(
    headers: &HeaderMap,
    route: &Route,
    mut pieces: BoxStream<'static, Result<Bytes, BodyError>>,
) -> Result<Bytes, ApiError> {
    let received = tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), async {
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(ApiError::Body)?;
            if body.len() + piece.len() > API_BODY_BYTES_MAX {
                return Err(ApiError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    });
    let body = received.await.map_err(|_| ApiError::Stalled)??;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json =
        content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if is_json || (body.is_empty() && route.endpoint == Endpoint::RobotRenew) {
        return Ok(body.into());
    }
    Err(ApiError::ContentType)
}

/// An answer without a body.
fn done() -> Response<Body> {
    Response::new(Body::empty())
}

/// An answer that says where what was made is.
fn created(mut response: Response<Body>, location: &str) -> Response<Body> {
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(value) = HeaderValue::try_from(format!("{PREFIX}{location}")) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

/// One page of a list, with how many there are and where the others are.
fn listed<T: Serialize>(asked: &Asked, page: &Page<T>) -> Response<Body> {
    let mut response = json_answer(StatusCode::OK, &page.entries);
    response.headers_mut().insert(TOTAL_COUNT, HeaderValue::from(page.total));
    let links = links(&asked.path, &asked.query, &asked.route.query, page.total);
    if let Some(value) = links.and_then(|links| HeaderValue::try_from(links).ok()) {
        response.headers_mut().insert(LINK, value);
    }
    response
}

fn finish_headers(response: &mut Response<Body>, info: &RequestInfo, is_head: bool) {
    let size = response.body().size_hint().exact();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(&info.request_id) {
        headers.insert(REQUEST_ID, value);
    }
    // Secrets and names of people are nothing for a cache.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(size) = size {
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
