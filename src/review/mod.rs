//! Whether an image may be used, for those who ask before they use one: Kubernetes' admission webhooks, Gatekeeper, and a
//! plain question for anything else.
//!
//! It decides nothing itself: the image is looked up as a pull would find it and judged by the policy in force. Whatever
//! goes wrong on the way is a refusal that says so. Nothing is dialled and nothing is kept.

mod bounded_list;
pub mod gatekeeper;
pub mod kubernetes;
mod look;
pub mod pod_image;
pub mod route;
#[cfg(test)]
mod tests;
pub mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use ::http::request::Parts;
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::look::{Admitted, NotAdmitted};
use self::route::{Endpoint, RouteError, route};
use crate::access::{Access, Caller};
use crate::http::body::BodyError;
use crate::http::network::Network;
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::limits::{REVIEW_BODY_BYTES_MAX, REVIEWS_COUNT_MAX};
use crate::ops::access_log::{AccessLog, AccessRecord, Event};
use crate::ops::traffic::RouteClass;
use crate::registry::{PolicySource, Registry};
use crate::store::Store;

/// Time in which the next piece of a body must come.
const BODY_IDLE: Duration = Duration::from_secs(5);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who may ask, and by which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewSettings {
    /// From where anyone is told about every image.
    pub networks: Vec<Network>,
    /// Hosts, with ports, by which Pods name this registry. Every other one is a registry that it mirrors.
    pub registry_names: Vec<String>,
}

/// Answers reviews.
pub struct Review {
    store: Store,
    registry: Arc<Registry>,
    access: Arc<Access>,
    access_log: Arc<AccessLog>,
    policy: PolicySource,
    settings: ReviewSettings,
    /// Bodies are held in memory and judging takes a processor. Whoever is told about everything has places of their own, which
    /// nobody else can hold.
    places: Arc<Semaphore>,
    places_for_others: Arc<Semaphore>,
}

impl std::fmt::Debug for Review {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Review").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why a request has no answer of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("the body is longer than {REVIEW_BODY_BYTES_MAX} bytes, the most that is taken here")]
    TooLarge,
    #[error("the body broke off")]
    Broken,
    #[error("{0}")]
    Body(String),
    #[error("too many reviews are under way, or this one took too long: try again")]
    Busy,
}

impl Failed {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Route(RouteError::Unknown) => StatusCode::NOT_FOUND,
            Self::Route(RouteError::Method(_)) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Route(RouteError::NoImage) | Self::Broken | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Handler for Review {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let pieces = http_body_util::BodyExt::into_data_stream(body);
        let pieces = pieces.map(|piece| piece.map_err(BodyError::Receive)).boxed();
        self.answer(parts, pieces, info).await
    }
}

type Pieces = BoxStream<'static, Result<Bytes, BodyError>>;

impl Review {
    /// Reviews of the images in `store`, found as `registry` finds them.
    pub fn new(
        store: Store,
        registry: Arc<Registry>,
        access: Arc<Access>,
        access_log: Arc<AccessLog>,
        policy: PolicySource,
        settings: ReviewSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            registry,
            access,
            access_log,
            policy,
            settings,
            places: Arc::new(Semaphore::new(REVIEWS_COUNT_MAX)),
            places_for_others: Arc::new(Semaphore::new(1)),
        })
    }

    /// Answers one request, and records it.
    pub async fn answer(self: &Arc<Self>, parts: Parts, pieces: Pieces, info: RequestInfo) -> Response<Body> {
        let began = self.store.clock().running();
        let authorization = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let names = info.certificate_names.as_deref();
        let caller = self.access.identify(authorization, names, info.remote.map(|remote| remote.ip())).await;
        let principal = caller.label();
        let answered = match route(&parts.method, parts.uri.path(), parts.uri.query()) {
            Ok((endpoint, seconds)) => {
                let time = Duration::from_secs(seconds);
                let work = self.reviewed(endpoint, caller, pieces, began.saturating_add(time));
                tokio::time::timeout(time, work).await.unwrap_or(Err(Failed::Busy))
            }
            Err(error) => Err(error.into()),
        };
        let mut response = answered.unwrap_or_else(|error| failure(&error));
        if let Ok(value) = HeaderValue::try_from(&info.request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let status = response.status().as_u16();
        let record = AccessRecord {
            time: self.store.clock().wall(),
            event: Event::of(RouteClass::Review, status),
            class: RouteClass::Review,
            request_id: info.request_id,
            remote: info.remote,
            principal,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().chars().take(1_024).collect(),
            status,
            user_agent: parts.headers.get(USER_AGENT).map(shown),
            ..AccessRecord::default()
        };
        self.access_log.record_at_end(response, record, began)
    }

    async fn reviewed(
        self: &Arc<Self>,
        endpoint: Endpoint,
        caller: Caller,
        pieces: Pieces,
        until: Duration,
    ) -> Result<Response<Body>, Failed> {
        let places = if self.is_near(&caller) { &self.places } else { &self.places_for_others };
        let place = Arc::clone(places).acquire_owned().await.map_err(|_| Failed::Busy)?;
        let body = match &endpoint {
            Endpoint::Verify { .. } => Vec::new(),
            _ => received(pieces).await?,
        };
        let review = Arc::clone(self);
        let work = move || {
            // Held until the work is done, also where nobody waits for it any more.
            let _place = place;
            match endpoint {
                Endpoint::Validate => review.kubernetes(&body, &caller, until, false),
                Endpoint::Mutate => review.kubernetes(&body, &caller, until, true),
                Endpoint::Gatekeeper => review.gatekeeper(&body, &caller, until),
                Endpoint::Verify { image } => Ok(review.verify(&caller, &image)),
            }
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Failed::Busy)?
    }

    fn kubernetes(&self, body: &[u8], caller: &Caller, until: Duration, pins: bool) -> Result<Response<Body>, Failed> {
        let asked = kubernetes::parse(body).map_err(|error| Failed::Body(error.to_string()))?;
        let images = match asked.images {
            Ok(images) => images,
            Err(error) => return Ok(answer(StatusCode::OK, &kubernetes::refuse(&asked.uid, &error.to_string()))),
        };
        let mut looks = Looks { review: self, caller, until, known: BTreeMap::new() };
        let (mut refused, mut warnings, mut patch) = (Vec::new(), Vec::new(), Vec::new());
        for named in &images {
            let looked = looks.look(&named.image);
            if let Some(warning) = looked.as_ref().ok().and_then(|admitted| admitted.warning.as_ref()) {
                warnings.push(format!("{}: {warning}", short(&named.image)));
            }
            match looked {
                Ok(admitted) if !admitted.is_pinned && pins => {
                    patch.push((named.pointer.clone(), admitted.pinned.clone()));
                }
                Ok(admitted) if !admitted.is_pinned => {
                    let image = short(&named.image);
                    warnings.push(format!(
                        "{image} is named by a tag, which may move: {} is what was judged",
                        admitted.digest
                    ));
                }
                Ok(_) => {}
                Err(error) => refused.push(format!("{} ({}): {error}", short(&named.image), short(&named.user))),
            }
        }
        let value = match refused.as_slice() {
            [] => kubernetes::allow(&asked.uid, &warnings, &patch),
            _ => kubernetes::refuse(&asked.uid, &refused.join("; ")),
        };
        Ok(answer(StatusCode::OK, &value))
    }

    fn gatekeeper(&self, body: &[u8], caller: &Caller, until: Duration) -> Result<Response<Body>, Failed> {
        let asked = gatekeeper::parse(body).map_err(|error| Failed::Body(error.to_string()))?;
        let mut looks = Looks { review: self, caller, until, known: BTreeMap::new() };
        let outcomes: Vec<Result<String, String>> = asked
            .images
            .iter()
            .map(|image| {
                looks.look(image).as_ref().map(|admitted| admitted.pinned.clone()).map_err(ToString::to_string)
            })
            .collect();
        Ok(answer(StatusCode::OK, &gatekeeper::answer(&asked, &outcomes)))
    }

    fn verify(&self, caller: &Caller, image: &str) -> Response<Body> {
        match self.look(caller, image) {
            Ok(admitted) => {
                let verdict = self.verdict(&admitted.repository, admitted.digest);
                let value = json!({"image": short(image), "admitted": true, "repository": admitted.repository,
                    "digest": admitted.digest, "warning": admitted.warning, "verdict": verdict.as_deref()});
                answer(StatusCode::OK, &value)
            }
            Err(error) => {
                let (status, code) = error.status();
                let mut value = json!({"image": short(image), "admitted": false,
                    "errors": [{"code": code, "message": error.to_string()}]});
                if let NotAdmitted::Refused { digest, refusal, verdict } = &error {
                    value["digest"] = json!(digest);
                    value["refusal"] = json!(refusal);
                    value["verdict"] = json!(verdict.as_deref());
                }
                answer(status, &value)
            }
        }
    }
}

impl NotAdmitted {
    const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Name(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Self::NotHere(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::NoRight(_) | Self::NotAnImage(_) | Self::Refused { .. } => (StatusCode::FORBIDDEN, "DENIED"),
            Self::Registry(_) | Self::Judge(_) | Self::Store(_) | Self::NoTime => {
                (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
            }
        }
    }
}

/// What was seen in one review: an image that is named twice is looked at once.
struct Looks<'a> {
    review: &'a Review,
    caller: &'a Caller,
    until: Duration,
    known: BTreeMap<String, Result<Admitted, NotAdmitted>>,
}

impl Looks<'_> {
    fn look(&mut self, image: &str) -> &Result<Admitted, NotAdmitted> {
        let Self { review, caller, until, known } = self;
        known.entry(image.to_owned()).or_insert_with(|| {
            if review.store.clock().running() >= *until {
                return Err(NotAdmitted::NoTime);
            }
            review.look(caller, image)
        })
    }
}

async fn received(mut pieces: Pieces) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(piece) = tokio::time::timeout(BODY_IDLE, pieces.next()).await.map_err(|_| Failed::Broken)? {
        let piece = piece.map_err(|_| Failed::Broken)?;
        if body.len() + piece.len() > REVIEW_BODY_BYTES_MAX {
            return Err(Failed::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::full(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn failure(error: &Failed) -> Response<Body> {
    let value: Value = json!({"errors": [{"code": "UNSUPPORTED", "message": error.to_string()}]});
    let mut response = answer(error.status(), &value);
    if let Failed::Route(RouteError::Method(allowed)) = error {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

/// A foreign header's text, short enough for a log line.
fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().take(200).collect()
}
