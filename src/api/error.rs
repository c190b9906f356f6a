//! Why a request of the API is not carried out, and the only place where that becomes an answer.

use ::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use ::http::{Response, StatusCode};
use serde_json::json;

use super::request::RequestError;
use super::route::RouteError;
use crate::access::change::ChangeError;
use crate::access::{AccessError, DocumentError, IdentifyError};
use crate::admission::AdmissionError;
use crate::http::Body;
use crate::http::body::BodyError;
use crate::limits::API_BODY_BYTES_MAX;
use crate::registry::challenge;
use crate::store::StoreError;

/// A request that fails.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("sign in with the name and the password of a user (Basic), or with a certificate")]
    SignIn,
    #[error("nobody can sign in yet: add a user at the machine with `postern user add NAME --grant 'admin:*'`")]
    NoUsers,
    #[error(transparent)]
    Failed(#[from] IdentifyError),
    #[error("there is no session: this was asked with something else")]
    NoSession,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("there is no such {0}, or none that you may see")]
    NotFound(&'static str),
    #[error("{0}")]
    Conflict(String),
    #[error(
        "project '{0}' has repositories: delete these first, or remove it at the machine with `postern project remove`"
    )]
    HasRepositories(String),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("a body is sent as 'Content-Type: application/json'")]
    ContentType,
    #[error("the body is longer than {API_BODY_BYTES_MAX} bytes, the most that is taken here")]
    TooLarge,
    #[error("the body broke off")]
    Body(#[source] BodyError),
    #[error("the body did not come in time")]
    Stalled,
    #[error("so many days cannot be counted: ask for fewer, or for -1")]
    Days,
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("what speaks of an image cannot be read")]
    Described(#[source] AdmissionError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("the answer was not finished")]
    Interrupted,
}

/// What a failure looks like from outside: status and Harbor's word for it.
const fn outside(error: &ApiError) -> (StatusCode, &'static str) {
    match error {
        ApiError::Route(RouteError::NoSuchPath) | ApiError::NotFound(_) | ApiError::NoSession => {
            (StatusCode::NOT_FOUND, "NOT_FOUND")
        }
        ApiError::Route(RouteError::Method(_)) => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        ApiError::Route(RouteError::TooLong) => (StatusCode::URI_TOO_LONG, "BAD_REQUEST"),
        ApiError::Route(RouteError::Number(_) | RouteError::Query(_)) | ApiError::Request(_) | ApiError::Days => {
            (StatusCode::BAD_REQUEST, "BAD_REQUEST")
        }
        ApiError::Failed(IdentifyError::Wait { .. } | IdentifyError::Locked { .. }) => {
            (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS")
        }
        ApiError::Failed(
            IdentifyError::NoticeUnread | IdentifyError::SecondFactorMissing | IdentifyError::OnlyPeople,
        ) => (StatusCode::FORBIDDEN, "FORBIDDEN"),
        ApiError::SignIn | ApiError::NoUsers | ApiError::Failed(_) => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        ApiError::Forbidden(_) => (StatusCode::FORBIDDEN, "FORBIDDEN"),
        ApiError::Conflict(_) => (StatusCode::CONFLICT, "CONFLICT"),
        ApiError::HasRepositories(_) => (StatusCode::PRECONDITION_FAILED, "PRECONDITION"),
        ApiError::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE"),
        ApiError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST"),
        ApiError::Body(_) => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        ApiError::Stalled => (StatusCode::REQUEST_TIMEOUT, "BAD_REQUEST"),
        ApiError::Access(error) => outside_access(error),
        ApiError::Described(_) | ApiError::Store(_) | ApiError::Interrupted => {
            (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
        }
    }
}

const fn outside_access(error: &AccessError) -> (StatusCode, &'static str) {
    match error {
        AccessError::Change(error) => match error {
            ChangeError::NoProject(_)
            | ChangeError::NoUser(_)
            | ChangeError::NoRobot(_)
            | ChangeError::NoGrant { .. }
            | ChangeError::NoCertificate(_)
            | ChangeError::NoSecondFactor(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            ChangeError::HasRobots { .. } => (StatusCode::PRECONDITION_FAILED, "PRECONDITION"),
            ChangeError::RobotRole | ChangeError::CertificateName(_) => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            ChangeError::ProjectThere(_)
            | ChangeError::UserThere(_)
            | ChangeError::RobotThere(_)
            | ChangeError::Owner(_)
            | ChangeError::OwnsProject { .. } => (StatusCode::CONFLICT, "CONFLICT"),
        },
        AccessError::Document(
            DocumentError::TooMany { .. }
            | DocumentError::NameTwice(_)
            | DocumentError::Description(_)
            | DocumentError::RobotRole(_),
        ) => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    }
}

/// The answer to a request that failed.
pub(super) fn failure(error: &ApiError, request_id: &str) -> Response<Body> {
    let (status, code) = outside(error);
    let is_internal = status == StatusCode::SERVICE_UNAVAILABLE;
    let message = if is_internal {
        let cause = crate::error_chain::chain(error);
        tracing::warn!(request_id, error = cause, "a request of the API failed");
        format!("the appliance cannot do this now; its log says why, under request id {request_id}")
    } else {
        error.to_string()
    };
    let mut response = json_answer(status, &json!({ "errors": [{ "code": code, "message": message }] }));
    let headers = response.headers_mut();
    match error {
        ApiError::Failed(IdentifyError::Wait { seconds } | IdentifyError::Locked { seconds }) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        ApiError::Route(RouteError::Method(methods)) => {
            if let Ok(value) = HeaderValue::try_from(methods.join(", ")) {
                headers.insert(ALLOW, value);
            }
        }
        _ => {}
    }
    if status == StatusCode::UNAUTHORIZED {
        for challenge in challenge::challenges(None, None) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
    }
    response
}

/// An answer in JSON.
pub(super) fn json_answer(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    let mut response = Response::new(Body::full(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
