//! In front of the registry: a request goes through when there is room for its record, where a site wants it so (AU-5).

use std::sync::Arc;

use ::http::header::RETRY_AFTER;
use ::http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;

use super::readiness::{self, Readiness};
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::ops::access_log::{AccessLog, Stopped};
use crate::registry::Registry;

/// A disk that was full or a collector that was away is looked for again about as often.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("10");

pub(super) struct Gate {
    pub(super) registry: Arc<Registry>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) readiness: Arc<Readiness>,
}

impl Handler for Gate {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
        if request.uri().path() == readiness::PATH {
            return self.readiness.answer();
        }
        match self.access_log.reserve() {
            // The record is handed over when the body has ended, and before this: room is kept until it needs none.
            Ok(reserved) => {
                let answer = Arc::clone(&self.registry).handle(request, info).await;
                answer.map(|body| body.on_end(move |_| drop(reserved)))
            }
            Err(stopped) => refuse(&stopped),
        }
    }
}

fn refuse(stopped: &Stopped) -> Response<Body> {
    let error = json!({ "code": "UNAVAILABLE", "message": stopped.to_string() });
    let mut response = readiness::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "errors": [error] }));
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}
