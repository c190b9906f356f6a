//! Sessions of those who manage over HTTP, and the notice before them. These are the appliance's own: Harbor has them for its
//! page alone.

use ::http::header::{AUTHORIZATION, HeaderValue};
use ::http::request::Parts;
use ::http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::{ApiError, json_answer};
use super::request::RequestError;
use super::{Answer, Api, done};
use crate::access::{Caller, SignIn};
use crate::http::Body;

/// `POST /session`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignIn {
    username: Option<String>,
    password: Option<String>,
    /// The one-time password that the authenticator shows.
    code: Option<String>,
    #[serde(default)]
    notice_acknowledged: bool,
}

/// Reads the body that begins a session.
pub fn parse_sign_in(body: &[u8]) -> Result<SignIn, RequestError> {
    let mut raw: RawSignIn = serde_json::from_slice(body)?;
    let password = match (raw.username.take(), raw.password.take()) {
        (Some(name), Some(mut text)) => {
            let password = Zeroizing::new(text.as_bytes().to_vec());
            text.zeroize();
            Some((name, password))
        }
        (None, None) => None,
        (None, Some(_)) => return Err(RequestError::Missing("username")),
        (Some(_), None) => return Err(RequestError::Missing("password")),
    };
    Ok(SignIn { password, code: raw.code, notice_acknowledged: raw.notice_acknowledged })
}

fn authorization(parts: &Parts) -> Option<&[u8]> {
    parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)
}

impl Api {
    /// What is to be read before signing in.
    pub(super) fn notice(&self) -> Response<Body> {
        json_answer(StatusCode::OK, &json!({ "notice": self.access.notice() }))
    }

    /// Begins a session; `principal` is told whose.
    pub(super) async fn session_begin(&self, body: &[u8], caller: &Caller, principal: &mut Option<String>) -> Answer {
        if !self.access.is_in_use() {
            return Err(ApiError::NoUsers);
        }
        let (begun, whose) = self.access.begin_session(parse_sign_in(body)?, caller, caller.remote).await?;
        *principal = whose.label();
        let answer = json!({
            "session": begun.secret,
            "seconds": begun.settings.session_seconds,
            "idle_seconds": begun.settings.idle_seconds,
        });
        Ok(json_answer(StatusCode::CREATED, &answer))
    }

    /// Who has this session, and how long it lasts.
    pub(super) fn session_read(&self, parts: &Parts, caller: &Caller) -> Answer {
        let left = self.access.session_left(authorization(parts)).ok_or(ApiError::NoSession)?;
        let answer = json!({ "username": caller.name, "seconds": left.seconds, "idle_seconds": left.idle_seconds });
        Ok(json_answer(StatusCode::OK, &answer))
    }

    /// Ends it.
    pub(super) fn session_end(&self, parts: &Parts) -> Answer {
        if self.access.end_session_of(authorization(parts)) { Ok(done()) } else { Err(ApiError::NoSession) }
    }
}
