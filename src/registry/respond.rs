//! The only place where errors of the modules become answers of the distribution API.
//!
//! The text is for a person and says what to do next. It never holds paths, hosts or internals: those stand in the log
//! line with the same request id.

use ::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RANGE, RETRY_AFTER, WARNING,
};
use ::http::{Response, StatusCode};
use serde::Serialize;

use super::error::{DeleteError, PushError, RegistryError};
use super::route::RouteError;
use crate::access::{Denial, IdentifyError};
use crate::http::Body;
use crate::limits::WARNING_BYTES_MAX;
use crate::oci::error_code::ErrorCode;
use crate::oci::name::NameError;
use crate::upstream::MirrorError;
use crate::verify::Refusal;

/// Says that this is a registry, since before the specification.
pub(super) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// The digest of what is answered.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The registry that the answer stands for (distribution specification, "Registry proxying").
pub(super) const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// Which filters a list of referrers went through.
pub(super) const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Ties an answer to the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Serialize)]
struct ErrorBody<'a> {
    errors: [ErrorEntry<'a>; 1],
}

#[derive(Serialize)]
struct ErrorEntry<'a> {
    code: &'static str,
    message: &'a str,
    detail: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a Refusal>,
}

/// What a failure looks like from outside.
struct Outside {
    code: ErrorCode,
    /// Where it differs from the code's own.
    status: Option<u16>,
    message: String,
    retry_after_seconds: Option<u64>,
}

impl Outside {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, status: None, message: message.into(), retry_after_seconds: None }
    }

    const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Something of ours failed; the log says what.
    fn internal(request_id: &str) -> Self {
        Self::new(
            ErrorCode::Unavailable,
            format!("the appliance cannot answer this now; its log says why, under request id {request_id}"),
        )
    }
}

/// The answer to a request that failed.
pub(super) fn failure(error: &RegistryError, request_id: &str) -> Response<Body> {
    let outside = outside(error, request_id);
    let refusal = match error {
        RegistryError::Refused(refusal) => Some(refusal),
        _ => None,
    };
    let body = ErrorBody {
        errors: [ErrorEntry {
            code: outside.code.text(),
            message: &outside.message,
            detail: Detail { request_id, refusal },
        }],
    };
    let mut response = json(&body);
    let status = outside.status.unwrap_or_else(|| outside.code.status());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = outside.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let RegistryError::Push(PushError::OutOfOrder { offset_bytes }) = error {
        response.headers_mut().insert(RANGE, upload_range(*offset_bytes));
    }
    if let RegistryError::Range { size_bytes } = error
        && let Ok(value) = HeaderValue::try_from(format!("bytes */{size_bytes}"))
    {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

fn outside(error: &RegistryError, request_id: &str) -> Outside {
    let message = error.to_string();
    match error {
        RegistryError::Route(error) => outside_route(error, message),
        RegistryError::NamespaceUnknown(_) | RegistryError::RepositoryUnknown(_) => {
            Outside::new(ErrorCode::NameUnknown, message)
        }
        RegistryError::ManifestUnknown => Outside::new(ErrorCode::ManifestUnknown, message),
        RegistryError::BlobUnknown | RegistryError::BlobLeftBehind => Outside::new(ErrorCode::BlobUnknown, message),
        RegistryError::Refused(refusal) => {
            let next_step = refusal.next_step.as_ref().map(|step| format!("; {step}")).unwrap_or_default();
            Outside::new(ErrorCode::Denied, format!("{refusal}{next_step}"))
        }
        RegistryError::Denied(denial) => outside_denied(denial, message),
        RegistryError::TooOften(often) => {
            Outside::new(ErrorCode::TooManyRequests, message).retry_after(often.retry_after_seconds)
        }
        RegistryError::Precondition => Outside::new(ErrorCode::PreconditionFailed, message),
        RegistryError::Range { .. } => Outside::new(ErrorCode::RangeInvalid, message),
        RegistryError::Push(error) => outside_push(error, message, request_id),
        RegistryError::Delete(error) => outside_delete(error, message, request_id),
        RegistryError::Mirror(error) => outside_mirror(error, message, request_id),
        RegistryError::Store(_)
        | RegistryError::Blob(_)
        | RegistryError::Damaged(_)
        | RegistryError::Unjudged(_)
        | RegistryError::Interrupted => Outside::internal(request_id),
    }
}

fn outside_denied(denial: &Denial, message: String) -> Outside {
    match denial {
        Denial::Failed { error: IdentifyError::Wait { seconds } | IdentifyError::Locked { seconds }, .. } => {
            Outside::new(ErrorCode::TooManyRequests, message).retry_after(*seconds)
        }
        Denial::SignIn { .. } | Denial::Failed { .. } | Denial::Scope { .. } => {
            Outside::new(ErrorCode::Unauthorized, message)
        }
        Denial::NobodyHere { .. } | Denial::NoRight { .. } | Denial::NotHosted { .. } => {
            Outside::new(ErrorCode::Denied, message)
        }
        Denial::Closed => Outside::new(ErrorCode::Unavailable, message).retry_after(RETRY_AFTER_SECONDS),
    }
}

fn outside_route(error: &RouteError, message: String) -> Outside {
    match error {
        RouteError::NoSuchPath => Outside::new(ErrorCode::Unsupported, message).with_status(404),
        RouteError::Method => Outside::new(ErrorCode::Unsupported, message),
        RouteError::NoDigest | RouteError::Algorithm(_) => Outside::new(ErrorCode::DigestInvalid, message),
        RouteError::Grant => Outside::new(ErrorCode::Unsupported, message).with_status(400),
        RouteError::TooManyTags => Outside::new(ErrorCode::TagInvalid, message).with_status(414),
        RouteError::TooLong => Outside::new(ErrorCode::Unsupported, message).with_status(414),
        RouteError::Name(_) => Outside::new(ErrorCode::NameInvalid, message),
        RouteError::Reference(NameError::Digest(_)) => Outside::new(ErrorCode::DigestInvalid, message),
        RouteError::Reference(_) => Outside::new(ErrorCode::TagInvalid, message),
        RouteError::Count(_) => Outside::new(ErrorCode::Unsupported, message).with_status(400),
    }
}

fn outside_push(error: &PushError, message: String, request_id: &str) -> Outside {
    match error {
        PushError::Mirrored(_) | PushError::SpeaksOfNothing | PushError::MixedTags | PushError::StandsFor { .. } => {
            Outside::new(ErrorCode::Denied, message)
        }
        PushError::TooManyReferrers(_) => Outside::new(ErrorCode::Denied, message),
        PushError::SessionUnknown => Outside::new(ErrorCode::BlobUploadUnknown, message),
        PushError::SessionBusy => Outside::new(ErrorCode::BlobUploadInvalid, message).with_status(409),
        PushError::OutOfOrder { .. } => Outside::new(ErrorCode::BlobUploadInvalid, message).with_status(416),
        PushError::ContentRange | PushError::Body(_) => Outside::new(ErrorCode::BlobUploadInvalid, message),
        PushError::Stalled => Outside::new(ErrorCode::BlobUploadInvalid, message).with_status(408),
        PushError::TooLarge { .. } => Outside::new(ErrorCode::SizeInvalid, message).with_status(413),
        PushError::TooMany => Outside::new(ErrorCode::TooManyRequests, message).retry_after(BUSY_SECONDS),
        PushError::Digest { .. } | PushError::ManifestDigest(_) => Outside::new(ErrorCode::DigestInvalid, message),
        PushError::Manifest(_) | PushError::EdgeSize { .. } => Outside::new(ErrorCode::ManifestInvalid, message),
        PushError::ManifestTooLarge => Outside::new(ErrorCode::ManifestInvalid, message).with_status(413),
        PushError::EdgeUnknown(_) => Outside::new(ErrorCode::ManifestBlobUnknown, message),
        PushError::Quota { .. } | PushError::TagsQuota { .. } => Outside::new(ErrorCode::Denied, message),
        PushError::Swept(_) => Outside::new(ErrorCode::Unavailable, message).retry_after(BUSY_SECONDS),
        PushError::Full => Outside::new(ErrorCode::Unavailable, message).with_status(507),
        PushError::Admission(_) | PushError::Commit(_) => Outside::internal(request_id),
    }
}

/// The specification has 202, 404 and 405 for deletions; clients read 405 as "this stays".
fn outside_delete(error: &DeleteError, message: String, request_id: &str) -> Outside {
    match error {
        DeleteError::Mirrored(_) | DeleteError::Needed { .. } => Outside::new(ErrorCode::Unsupported, message),
        DeleteError::Busy(_) => Outside::new(ErrorCode::Unavailable, message).retry_after(BUSY_SECONDS),
        DeleteError::Commit(_) => Outside::internal(request_id),
    }
}

/// Seconds after which a client that found no room tries again.
const BUSY_SECONDS: u64 = 5;

/// Seconds after which an upstream that gave no number is asked again.
const RETRY_AFTER_SECONDS: u64 = 30;

fn outside_mirror(error: &MirrorError, message: String, request_id: &str) -> Outside {
    match error {
        MirrorError::NoUpstream(_) => Outside::new(ErrorCode::NameUnknown, message),
        MirrorError::NotFound { .. } | MirrorError::Offline => Outside::new(ErrorCode::ManifestUnknown, message),
        MirrorError::Refused(_) | MirrorError::Denied { .. } => Outside::new(ErrorCode::Denied, message),
        MirrorError::RateLimited { retry_after_seconds, .. } => Outside::new(ErrorCode::TooManyRequests, message)
            .retry_after(retry_after_seconds.unwrap_or(RETRY_AFTER_SECONDS)),
        MirrorError::Unreachable { .. } | MirrorError::Silent { .. } => {
            Outside::new(ErrorCode::Unavailable, message).retry_after(RETRY_AFTER_SECONDS)
        }
        MirrorError::Status { .. }
        | MirrorError::Token { .. }
        | MirrorError::TokenService { .. }
        | MirrorError::Body { .. }
        | MirrorError::Manifest { .. }
        | MirrorError::WrongContent { .. }
        | MirrorError::WrongSize { .. }
        | MirrorError::Memory { .. }
        | MirrorError::TooMuch { .. } => Outside::new(ErrorCode::Unavailable, message).with_status(502),
        MirrorError::Settings { .. }
        | MirrorError::Password { .. }
        | MirrorError::Admission(_)
        | MirrorError::Store(_)
        | MirrorError::Commit(_)
        | MirrorError::Blob(_)
        | MirrorError::Interrupted => Outside::internal(request_id),
    }
}

/// How much of an upload is here, as the distribution specification writes it: the end is inclusive, and `0-0` stands
/// for nothing too.
pub(super) fn upload_range(offset_bytes: u64) -> HeaderValue {
    let text = format!("0-{}", offset_bytes.saturating_sub(1));
    HeaderValue::try_from(text).expect("digits and a dash are a header")
}

/// An answer that is one JSON document.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    typed(serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec()), HeaderValue::from_static("application/json"))
}

/// An answer that is these bytes.
pub(super) fn typed(bytes: Vec<u8>, content_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    *response.body_mut() = Body::full(bytes);
    response
}

/// Adds a warning that reaches the person at the client (distribution specification, "Warnings").
pub(super) fn warn(response: &mut Response<Body>, text: &str) {
    let readable = text.chars().map(|letter| match letter {
        '"' | '\\' => '\'',
        letter if letter.is_ascii() && !letter.is_ascii_control() => letter,
        _ => '?',
    });
    let text: String = readable.take(WARNING_BYTES_MAX / 4).collect();
    if let Ok(value) = HeaderValue::try_from(format!("299 - \"{text}\"")) {
        response.headers_mut().append(WARNING, value);
    }
}

#[cfg(test)]
mod tests {
    use ::http::Response;
    use ::http::header::{RETRY_AFTER, WARNING};
    use http_body_util::BodyExt as _;

    use super::{failure, warn};
    use crate::access::{Action, Denial, IdentifyError};
    use crate::http::Body;
    use crate::oci::digest::Digest;
    use crate::registry::error::{DeleteError, PushError, RegistryError};
    use crate::registry::route::RouteError;
    use crate::store::StoreError;
    use crate::upstream::MirrorError;
    use crate::verify::Refusal;

    #[tokio::test]
    async fn errors_as_clients_see_them() {
        let check = async |error: RegistryError, status: u16, code: &str, part: &str| {
            let response = failure(&error, "id7");
            assert_eq!(response.status(), status, "{error}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(value["errors"][0]["code"], code, "{error}");
            let message = value["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains(part), "{message}");
        };
        let mirror = |error: MirrorError| RegistryError::from(std::sync::Arc::new(error));
        let refusal =
            Refusal { rule: "signed".into(), reason: "no signature".into(), next_step: Some("sign it".into()) };
        check(RegistryError::Refused(refusal.clone()), 403, "DENIED", "rule 'signed': no signature; sign it").await;
        check(mirror(MirrorError::Refused(refusal)), 403, "DENIED", "rule 'signed'").await;
        let nobody = |action| Denial::NobodyHere { action };
        check(nobody(Action::Push).into(), 403, "DENIED", "push.networks").await;
        check(nobody(Action::Pull).into(), 403, "DENIED", "access.anonymous_networks").await;
        let (repository, action) = (String::from("a/b"), Action::Push);
        check(Denial::SignIn { repository, action }.into(), 401, "UNAUTHORIZED", "sign in to push 'a/b'").await;
        let wait = |error| Denial::Failed { error, repository: String::new(), action };
        check(wait(IdentifyError::Wrong).into(), 401, "UNAUTHORIZED", "wrong").await;
        check(wait(IdentifyError::Wait { seconds: 7 }).into(), 429, "TOOMANYREQUESTS", "7 s").await;
        check(Denial::Closed.into(), 503, "UNAVAILABLE", "operator").await;
        check(PushError::OutOfOrder { offset_bytes: 3 }.into(), 416, "BLOB_UPLOAD_INVALID", "3").await;
        let needed = DeleteError::Needed { digest: Digest::of(b"a"), parent: Digest::of(b"b") };
        check(needed.into(), 405, "UNSUPPORTED", "delete that first").await;
        check(DeleteError::Mirrored("up.example/a".parse().unwrap()).into(), 405, "UNSUPPORTED", "upstream").await;
        check(DeleteError::Busy("an import").into(), 503, "UNAVAILABLE", "an import").await;
        check(RouteError::NoSuchPath.into(), 404, "UNSUPPORTED", "/v2/").await;
        check(RegistryError::ManifestUnknown, 404, "MANIFEST_UNKNOWN", "not here").await;
        check(RegistryError::Range { size_bytes: 3 }, 416, "RANGE_INVALID", "3 bytes").await;
        check(mirror(MirrorError::Offline), 404, "MANIFEST_UNKNOWN", "offline").await;
        check(mirror(MirrorError::Status { upstream: "u".into(), status: 500 }), 502, "UNAVAILABLE", "'u'").await;
        check(StoreError::Stopped.into(), 503, "UNAVAILABLE", "id7").await;
        let limited = MirrorError::RateLimited { upstream: "u".into(), retry_after_seconds: Some(9) };
        assert_eq!(failure(&mirror(limited), "").headers()[RETRY_AFTER], "9");
    }

    #[test]
    fn a_warning_is_one_quoted_string() {
        let mut response = Response::new(Body::empty());
        warn(&mut response, "it is \"old\"\r\nx: ü");
        assert_eq!(response.headers()[WARNING], "299 - \"it is 'old'??x: ?\"");
    }
}
