//! Whether requests are answered, for load balancers and for the person who asks why not.

use std::sync::Arc;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinError;

use crate::http::Body;
use crate::ops::access_log::AccessLog;
use crate::ops::health::Health;
use crate::store::{ConditionKind, Store};

/// Where readiness is asked for, and health.
pub(super) const READY_PATH: &str = "/readyz";
pub(super) const HEALTH_PATH: &str = "/healthz";

/// The query of whoever sends changes here, and wants to know whether they are taken.
const FOR_CHANGES: &str = "for=changes";

/// Looks when it is asked.
#[derive(Debug)]
pub(super) struct Readiness {
    pub(super) store: Store,
    pub(super) access_log: Arc<AccessLog>,
}

impl Readiness {
    /// 200, or 503 with the reasons. What is wrong and stops no pull is told with 200, unless `query` asks for changes.
    pub(super) async fn answer(self: &Arc<Self>, query: Option<&str>) -> Response<Body> {
        if let Some(stopped) = self.access_log.stopped() {
            let reasons = [stopped.to_string()];
            return json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "stopped", "reasons": reasons }));
        }
        let Ok(conditions) = self.conditions().await else { return broken() };
        if conditions.is_empty() {
            return json(StatusCode::OK, &json!({ "status": "ready" }));
        }
        let takes_changes = !conditions.contains(&ConditionKind::ReadOnly);
        let is_enough = takes_changes || query != Some(FOR_CHANGES);
        let status = if is_enough { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let reason = |kind: &ConditionKind| format!("{}: {}; 'postern status' says more", kind.name(), kind.meaning());
        let reasons: Vec<String> = conditions.iter().map(reason).collect();
        json(status, &json!({ "status": "degraded", "takes_changes": takes_changes, "reasons": reasons }))
    }

    /// What is not as it should be, without a word about the inside: anybody may ask.
    async fn conditions(self: &Arc<Self>) -> Result<Vec<ConditionKind>, JoinError> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || {
            store.recent_conditions().into_iter().map(|condition| condition.kind).collect()
        })
        .await
    }

    /// Whether it would be 200.
    pub(super) fn is_ready(&self) -> bool {
        self.access_log.stopped().is_none()
    }

    /// What the registry says on `/healthz`. May block.
    pub(super) fn health(&self) -> Health {
        Health::of(&self.store)
    }

    /// The same as an answer, without a record of it.
    pub(super) async fn health_answer(self: &Arc<Self>) -> Response<Body> {
        let readiness = Arc::clone(self);
        match tokio::task::spawn_blocking(move || readiness.health()).await {
            Ok(health) => json(StatusCode::OK, &health),
            Err(_) => broken(),
        }
    }
}

/// Something that never should have happened, and stops the process where it did.
pub(super) fn broken() -> Response<Body> {
    json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "it could not be looked up" }))
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::full(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
