//! The listener for supervisors: metrics, health and readiness.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::header::{ALLOW, CONTENT_TYPE};
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;

use super::readiness::{HEALTH_PATH, READY_PATH, Readiness, broken, json as json_answer};
use crate::http::server::{Handler, RequestInfo};
use crate::http::traffic::Traffic;
use crate::http::{Body, Incoming};
use crate::ops::access_log::AccessLog;
use crate::ops::metrics::{MEDIA_TYPE, Snapshot, text};
use crate::registry::Registry;
use crate::store::{Store, shards};

/// How old the count of stored content may be: it looks at every file.
const COUNT_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);

pub(super) struct Metrics {
    pub(super) store: Store,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) registry: Arc<Registry>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) listeners: Vec<(&'static str, Arc<Traffic>)>,
    pub(super) content: Arc<Mutex<Content>>,
}

/// What is stored, as last counted.
#[derive(Debug, Default)]
pub(super) struct Content {
    counted: Option<(u64, u64)>,
    began_at: Option<Duration>,
}

impl Handler for Metrics {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _info: RequestInfo) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = json_answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "only GET and HEAD" }));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            READY_PATH => self.readiness.answer(request.uri().query()).await,
            HEALTH_PATH => self.readiness.health_answer().await,
            "/metrics" => self.metrics().await,
            _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "/metrics, /healthz and /readyz are here" })),
        }
    }
}

impl Metrics {
    async fn metrics(self: &Arc<Self>) -> Response<Body> {
        self.count_content_at_times();
        let metrics = Arc::clone(self);
        let text = tokio::task::spawn_blocking(move || text(&metrics.snapshot(), &metrics.access_log)).await;
        let Ok(text) = text else { return broken() };
        let mut answer = Response::new(Body::full(text));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        answer
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            health: self.readiness.health(),
            is_ready: self.readiness.is_ready(),
            conditions: self.store.recent_conditions().into_iter().map(|condition| condition.kind).collect(),
            listeners: self.listeners.iter().map(|(name, traffic)| (*name, traffic.counts())).collect(),
            uploads_count: self.registry.uploads_count(),
            gate: self.registry.rechecks().counts(),
            free_bytes: self.store.dir().free_bytes().ok(),
            blobs: self.content.lock().unwrap_or_else(PoisonError::into_inner).counted,
            running_seconds: self.store.running_seconds(),
        }
    }

    /// Begins to count anew where the count is old. The answer has the one before, and none at first.
    fn count_content_at_times(&self) {
        let now = self.store.clock().running();
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if content.began_at.is_some_and(|at| now.saturating_sub(at) < COUNT_AGAIN_AFTER) {
            return;
        }
        content.began_at = Some(now);
        drop(content);
        let (store, content) = (self.store.clone(), Arc::clone(&self.content));
        tokio::task::spawn_blocking(move || {
            let counted = count(&store);
            content.lock().unwrap_or_else(PoisonError::into_inner).counted = counted;
        });
    }
}

/// Files of content and their bytes; none where they cannot be listed.
fn count(store: &Store) -> Option<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0_u64);
    for shard in shards() {
        let listed = store.blobs().list(&shard).ok()?;
        files += listed.len() as u64;
        bytes = listed.iter().fold(bytes, |bytes, (_, len_bytes)| bytes.saturating_add(*len_bytes));
    }
    Some((files, bytes))
}
