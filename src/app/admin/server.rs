//! The server's side of the administration socket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use serde_json::Value;

use super::{Message, OPERATIONS, SOCKET};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::http::body::{self, BodySender};
use crate::http::listener::Listener;
use crate::http::server::{Handler, RequestInfo};
use crate::http::{Body, Incoming};
use crate::limits::ADMIN_REQUEST_BYTES_MAX;
use crate::progress::Progress;
use crate::sys::clock::{Clock, RealClock};
use crate::sys::dir::Dir;
use crate::sys::socket_path::SocketPath;

/// Carries out operations; may block.
pub type Execute = dyn Fn(Operation, &dyn Progress) -> Result<Value, Failure> + Send + Sync;

/// Progress is told this often at the most, whatever the work reports.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
const REQUEST_SECONDS_MAX: u64 = 30;
/// Lines that wait for a reader that does not read; then progress is told to nobody, and only the outcome waits.
const LINES_COUNT_MAX: usize = 16;

/// Binds the socket, for its owner only.
pub fn bind(dir: &dyn Dir) -> Result<Listener, Failure> {
    let listener = Listener::bind_unix(dir, SOCKET)?;
    if let Some(path) = dir.real_path(SOCKET) {
        let failed = |error: std::io::Error| Failure::failed("cannot guard the administration socket").because(&error);
        let path = SocketPath::new(&path).map_err(failed)?;
        let owner_only = Mode::S_IRUSR | Mode::S_IWUSR;
        fchmodat(AT_FDCWD, path.as_path(), owner_only, FchmodatFlags::FollowSymlink)
            .map_err(|error| failed(error.into()))?;
    }
    Ok(listener)
}

/// Answers on the socket.
pub struct AdminHandler {
    execute: Arc<Execute>,
}

impl AdminHandler {
    /// A handler that has operations carried out by `execute`.
    pub fn new(execute: Arc<Execute>) -> Self {
        Self { execute }
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
        let operation = match self.operation(request).await {
            Ok(operation) => operation,
            Err(failure) => {
                let mut line = serde_json::to_vec(&Message::Error(failure)).unwrap_or_default();
                line.push(b'\n');
                return answer(StatusCode::BAD_REQUEST, Body::full(line));
            }
        };
        let (sender, body) = Body::channel(LINES_COUNT_MAX);
        let execute = Arc::clone(&self.execute);
        tokio::task::spawn_blocking(move || {
            let span = tracing::info_span!("operation", kind = operation.name(), request_id = %info.request_id);
            let _entered = span.enter();
            tracing::info!("begins");
            let progress = Told { sender: sender.clone(), last: Mutex::new((String::new(), Duration::ZERO)) };
            let message = match execute(operation, &progress) {
                Ok(outcome) => {
                    tracing::info!("done");
                    Message::Outcome(outcome)
                }
                Err(failure) => {
                    tracing::warn!(kind = ?failure.kind, chain = ?failure.chain, "failed");
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
