//! `GET` and `POST /v2/token`: from a name and a password to a token (the registries' token protocol; OAuth 2.0 for `POST`,
//! RFC 6749 section 4.3).
//!
//! Whoever asks without credentials gets a token that says so: clients that were asked to sign in, and cannot, go on with it
//! to what is open to anyone. A wrong password gets none.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CACHE_CONTROL, HeaderValue};
use ::http::{Method, Response};
use futures_util::StreamExt as _;
use serde_json::json;
use zeroize::Zeroizing;

use super::challenge::SERVICE;
use super::error::{PushError, RegistryError};
use super::respond;
use super::route::RouteError;
use super::uploads::Pieces;
use super::{Asked, Noted, Registry};
use crate::access::scope::{self, Scope};
use crate::access::{Action, Caller, Denial};
use crate::http::Body;
use crate::limits::{SCOPES_COUNT_MAX, TOKEN_FORM_BYTES_MAX};

/// Time for the whole form.
const FORM_SECONDS_MAX: u64 = 30;

/// What a token is asked for with, in a query or a form.
#[derive(Default)]
struct Asking {
    service: Option<String>,
    scopes: Vec<Scope>,
    grant_type: Option<String>,
    name: Option<String>,
    password: Option<Zeroizing<String>>,
}

impl Asking {
    fn parse(text: &[u8]) -> Self {
        let mut asking = Self::default();
        for (key, value) in form_urlencoded::parse(text) {
            match key.as_ref() {
                "service" => asking.service = Some(value.into_owned()),
                "scope" => {
                    let left = SCOPES_COUNT_MAX.saturating_sub(asking.scopes.len());
                    asking.scopes.extend(scope::parse(&value).into_iter().take(left));
                }
                "grant_type" => asking.grant_type = Some(value.into_owned()),
                "username" => asking.name = Some(value.into_owned()),
                "password" => asking.password = Some(Zeroizing::new(value.into_owned())),
                _ => {}
            }
        }
        asking
    }
}

impl Registry {
    pub(super) async fn token(
        self: &Arc<Self>,
        method: &Method,
        query: Option<&str>,
        pieces: Pieces,
        asked: &Asked,
        noted: &mut Noted,
    ) -> Result<Response<Body>, RegistryError> {
        let failed = |error| Denial::Failed { error, repository: String::new(), action: Action::Pull };
        let (asking, caller) = match *method {
            Method::GET => {
                let caller = asked.caller.as_ref().clone();
                // A token makes no token: its end would mean nothing.
                let caller = if caller.scopes.is_some() { Caller::anonymous(caller.remote) } else { caller };
                (Asking::parse(query.unwrap_or_default().as_bytes()), caller)
            }
            Method::POST => {
                let form = form(pieces).await?;
                let asking = Asking::parse(&form);
                let (name, password) = match (&asking.grant_type, &asking.name, &asking.password) {
                    (Some(grant), Some(name), Some(password)) if grant == "password" => (name, password),
                    _ => return Err(RouteError::Grant.into()),
                };
                let password = Zeroizing::new(password.as_bytes().to_vec());
                let identified = self.access.password(name.clone(), password, asked.caller.remote).await;
                (asking, identified.map_err(failed)?)
            }
            _ => return Err(RouteError::Method.into()),
        };
        if let Some(error) = caller.failed {
            return Err(failed(error).into());
        }
        noted.principal = caller.label();
        let scopes = self.granted(&caller, asking.scopes);
        let words: Vec<_> = scopes.iter().map(Scope::to_string).collect();
        let login = self.access.log_in(&caller, asking.service.as_deref().unwrap_or(SERVICE), scopes);
        let mut response = respond::json(&json!({
            "token": login.token,
            "access_token": login.token,
            "token_type": "Bearer",
            "expires_in": login.seconds,
            "issued_at": login.issued.to_string(),
            "scope": words.join(" "),
        }));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// What of the scopes the caller has a right to today. Rights that come later need another token; rights that go are
    /// missed at once, because they are looked up for each request.
    fn granted(&self, caller: &Caller, scopes: Vec<Scope>) -> Vec<Scope> {
        let narrowed = |scope: Scope| {
            let Ok(repository) = scope.name.parse() else { return Some(scope) };
            let may = |action: &Action| self.access.decide(caller, &repository, *action).is_ok();
            let actions: Vec<_> = scope.actions.iter().copied().filter(may).collect();
            (!actions.is_empty()).then_some(Scope { actions, ..scope })
        };
        scopes.into_iter().filter_map(narrowed).collect()
    }
}

async fn form(mut pieces: Pieces) -> Result<Zeroizing<Vec<u8>>, RegistryError> {
    let received = tokio::time::timeout(Duration::from_secs(FORM_SECONDS_MAX), async {
        let mut form = Zeroizing::new(Vec::new());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(PushError::Body)?;
            if form.len() + piece.len() > TOKEN_FORM_BYTES_MAX {
                return Err(RegistryError::from(RouteError::Grant));
            }
            form.extend_from_slice(&piece);
        }
        Ok(form)
    });
    received.await.map_err(|_| PushError::Stalled)?
}
