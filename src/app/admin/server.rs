//! The server's side of the administration socket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::Value;

use super::role::LocalRole;
use super::{Message, OPERATIONS};
use crate::app::failure::{Failure, FailureKind};
use crate::app::operation::Operation;
use crate::http::body::{self, BodySender};
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::limits::ADMIN_REQUEST_BYTES_MAX;
use crate::ops::access_log::{AccessLog, AccessRecord, Event};
use crate::ops::traffic::RouteClass;
use crate::progress::Progress;
use crate::sys::clock::{Clock, RealClock};

/// Carries out operations; may block.
pub type Execute = dyn Fn(Operation, &dyn Progress) -> Result<Value, Failure> + Send + Sync;

/// Progress is told this often at the most, whatever the work reports.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
const REQUEST_SECONDS_MAX: u64 = 30;
/// Lines that wait for a reader that does not read; then progress is told to nobody, and only the outcome waits.
const LINES_COUNT_MAX: usize = 16;

/// Answers on the socket.
pub struct AdminHandler {
    execute: Arc<Execute>,
    /// Who is on the other side.
    role: LocalRole,
    access_log: Arc<AccessLog>,
    clock: Arc<dyn Clock>,
}

/// Who asked for an operation, and when: what the access log is told when it has ended.
struct Act {
    access_log: Arc<AccessLog>,
    clock: Arc<dyn Clock>,
    info: RequestInfo,
    began: Duration,
}

impl Act {
    /// Keeps how it ended. Where there is no room for the record it is carried out all the same: the console always works.
    fn ended(self, operation: Option<&'static str>, status: StatusCode, failure: Option<FailureKind>) {
        let lasted = self.clock.running().saturating_sub(self.began).as_micros();
        self.access_log.record(AccessRecord {
            time: self.clock.wall(),
            event: if status == StatusCode::FORBIDDEN { Event::Denial } else { Event::Admin },
            class: RouteClass::Admin,
            request_id: self.info.request_id,
            principal: self.info.peer_uid.map(|uid| format!("uid:{uid}")),
            operation: operation.map(str::to_owned),
            outcome: Some(failure.map_or("ok", FailureKind::name).to_owned()),
            method: Method::POST.as_str().to_owned(),
            path: OPERATIONS.to_owned(),
            status: status.as_u16(),
            complete: true,
            duration_us: u64::try_from(lasted).unwrap_or(u64::MAX),
            ..AccessRecord::default()
        });
    }
}

impl AdminHandler {
    /// A handler that has those operations carried out by `execute` that `role` may ask for, and each of them recorded.
    pub fn new(execute: Arc<Execute>, role: LocalRole, access_log: Arc<AccessLog>, clock: Arc<dyn Clock>) -> Self {
        Self { execute, role, access_log, clock }
    }

    fn not_for_this_role(&self) -> Failure {
        Failure::new(FailureKind::Refused, format!("this is not for the role of {}", self.role.name()))
            .next("ask an operator; docs/listeners.md says what each role may")
    }

    async fn operation(&self, request: Request<Incoming>) -> Result<Operation, Failure> {
        if request.method() != Method::POST || request.uri().path() != OPERATIONS {
            return Err(Failure::usage(format!("only POST {OPERATIONS} is answered here")));
        }
        let idle = Duration::from_secs(REQUEST_SECONDS_MAX);
        let bytes = body::collect(request.into_body(), ADMIN_REQUEST_BYTES_MAX, idle)
            .await
            .map_err(|error| Failure::usage("the operation was not received").because(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::usage("the operation cannot be read")
                .because(&error)
                .next("use the same version of postern as the server")
        })
    }
}

impl Handler for AdminHandler {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, info: RequestInfo) -> Response<Body> {
        let act = Act {
            access_log: Arc::clone(&self.access_log),
            clock: Arc::clone(&self.clock),
            began: self.clock.running(),
            info: info.clone(),
        };
        let operation = match self.operation(request).await {
            Ok(operation) if self.role.may(&operation) => operation,
            Ok(operation) => {
                let failure = self.not_for_this_role();
                act.ended(Some(operation.name()), StatusCode::FORBIDDEN, Some(failure.kind));
                return refusal(StatusCode::FORBIDDEN, failure);
            }
            Err(failure) => {
                act.ended(None, StatusCode::BAD_REQUEST, Some(failure.kind));
                return refusal(StatusCode::BAD_REQUEST, failure);
            }
        };
        let (sender, body) = Body::channel(LINES_COUNT_MAX);
        let execute = Arc::clone(&self.execute);
        tokio::task::spawn_blocking(move || {
            let span = tracing::info_span!("operation", kind = operation.name(), request_id = %info.request_id);
            let _entered = span.enter();
            tracing::info!("begins");
            let progress = Told { sender: sender.clone(), last: Mutex::new((String::new(), Duration::ZERO)) };
            let name = operation.name();
            let message = match execute(operation, &progress) {
                Ok(outcome) => {
                    tracing::info!("done");
                    act.ended(Some(name), StatusCode::OK, None);
                    Message::Outcome(outcome)
                }
                Err(failure) => {
                    tracing::warn!(kind = ?failure.kind, chain = ?failure.chain, "failed");
                    act.ended(Some(name), StatusCode::OK, Some(failure.kind));
                    Message::Error(failure)
                }
            };
            if sender.send_json_line_blocking(&message).is_err() {
                tracing::debug!("nobody waited for the outcome");
            }
        });
        answer(StatusCode::OK, body)
    }
}

fn refusal(status: StatusCode, failure: Failure) -> Response<Body> {
    let mut line = serde_json::to_vec(&Message::Error(failure)).unwrap_or_default();
    line.push(b'\n');
    answer(status, Body::full(line))
}

fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// Tells the other side of the socket. That it went away does not stop the work: the next command finds it done.
struct Told {
    sender: BodySender,
    /// What was told last, and when.
    last: Mutex<(String, Duration)>,
}

impl Progress for Told {
    fn step(&self, what: &str, done: u64, total: u64) {
        let now = RealClock.running();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 == what && now.saturating_sub(last.1) < PROGRESS_EVERY {
            return;
        }
        *last = (what.to_owned(), now);
        drop(last);
        // Offered, not sent: work that is asynchronous reports here as well, and may not block.
        self.sender.offer_json_line(&Message::Progress { what: what.to_owned(), done, total });
    }
}
