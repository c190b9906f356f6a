//! In front of the registry: a request goes through when there is room for its record, where a site wants it so (AU-5),
//! and leaves one even when whoever asked went away before there was an answer.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::RETRY_AFTER;
use ::http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::json;

use super::readiness::{HEALTH_PATH, READY_PATH, Readiness, json as json_answer};
use super::surfaces::class_of;
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::ops::access_log::{AccessLog, AccessRecord, Event, Stopped};
use crate::sys::clock::Clock;

/// A disk that was full or a collector that was away is looked for again about as often.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("10");
/// Stands for the status of an answer that there was not: the client closed first. No standard has one; others use it too.
const CLOSED_FIRST: u16 = 499;

/// The gate before `inner`.
pub(super) struct Gate<H> {
    pub(super) inner: Arc<H>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) readiness: Arc<Readiness>,
}

impl<H: Handler> Handler for Gate<H> {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
        match request.uri().path() {
            READY_PATH => return self.readiness.answer(request.uri().query()).await,
            // A supervisor that got no answer would start the server again, and what waits to be recorded would be lost.
            HEALTH_PATH if !self.readiness.is_ready() => return self.readiness.health_answer().await,
            _ => {}
        }
        match self.access_log.reserve() {
            // The record is handed over when the body has ended, and before this: room is kept until it needs none.
            Ok(reserved) => {
                let mut unanswered = Unanswered {
                    access_log: Arc::clone(&self.access_log),
                    clock: Arc::clone(&self.clock),
                    asked: Some((request.method().clone(), request.uri().clone(), info.clone())),
                    began: self.clock.running(),
                };
                let answer = Arc::clone(&self.inner).handle(request, info).await;
                unanswered.asked = None;
                answer.map(|body| body.on_end(move |_| drop(reserved)))
            }
            Err(stopped) => refuse(&stopped),
        }
    }
}

fn refuse(stopped: &Stopped) -> Response<Body> {
    let error = json!({ "code": "UNAVAILABLE", "message": stopped.to_string() });
    let mut response = json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "errors": [error] }));
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}

/// A request without an answer, recorded where it is dropped as such: nobody waits for an answer any more.
struct Unanswered {
    access_log: Arc<AccessLog>,
    clock: Arc<dyn Clock>,
    asked: Option<(Method, Uri, RequestInfo)>,
    began: Duration,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Some((method, uri, info)) = self.asked.take() else { return };
        let class = class_of(&method, &uri);
        let lasted = self.clock.running().saturating_sub(self.began).as_micros();
        self.access_log.record(AccessRecord {
            time: self.clock.wall(),
            event: Event::of(class, CLOSED_FIRST),
            class,
            request_id: info.request_id,
            remote: info.remote,
            method: method.as_str().to_owned(),
            path: uri.path().chars().take(1_024).collect(),
            status: CLOSED_FIRST,
            duration_us: u64::try_from(lasted).unwrap_or(u64::MAX),
            ..AccessRecord::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ::http::{Request, Response};
    use tokio::io::AsyncWriteExt as _;

    use super::{Gate, Readiness};
    use crate::device_id::DeviceId;
    use crate::http::listener::Listener;
    use crate::http::server::{Handler, RequestInfo, ServerSettings, serve};
    use crate::http::{Body, Incoming};
    use crate::ops::access_log::{AccessLog, AccessRecord, Event};
    use crate::store::{Store, StoreSettings};
    use crate::sys::clock::{Clock, RealClock};
    use crate::sys::dir::{Dir, read_bounded};
    use crate::sys::dir_real::RealDir;

    struct Never;

    impl Handler for Never {
        async fn handle(self: Arc<Self>, _request: Request<Incoming>, _info: RequestInfo) -> Response<Body> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn whoever_goes_away_without_an_answer_leaves_a_record() {
        let temporary = tempfile::tempdir().unwrap();
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(temporary.path()).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        Store::create(&dir, &clock, &DeviceId::of_public_key(b"device")).unwrap();
        let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
        let store = Store::open(Arc::clone(&dir), Arc::clone(&clock), &settings).unwrap();
        let access_log = Arc::new(AccessLog::start(Arc::clone(&dir), Arc::clone(&clock)).unwrap());
        let readiness = Arc::new(Readiness { store, access_log: Arc::clone(&access_log) });
        let gate = Gate { inner: Arc::new(Never), access_log: Arc::clone(&access_log), clock, readiness };
        let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), None, false).await.unwrap();
        let address = listener.local_address().unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(gate), ServerSettings::default(), std::future::pending()));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v2/a/manifests/v1?token=secret HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        drop(stream);
        let recorded = async {
            while access_log.places().next().unwrap().kept_count() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), recorded).await.expect("it is recorded");
        server.abort();
        let name = dir.list("access").unwrap().remove(0).name;
        let text = read_bounded(dir.as_ref(), &format!("access/{name}"), 10_000).unwrap();
        let record: AccessRecord = serde_json::from_slice(text.trim_ascii_end()).unwrap();
        assert_eq!((record.event, record.status, record.complete), (Event::Pull, 499, false));
        assert_eq!(record.path, "/v2/a/manifests/v1");
    }
}
