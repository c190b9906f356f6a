//! Bearer tokens: JSON Web Tokens (RFC 7519) with HMAC-SHA-256, which this process alone makes and reads. Pure but for the
//! key.
//!
//! The key is made when the process starts and never leaves it, so a restart, and with it a restore, makes every token
//! void; clients then ask for another. A token only says who asked and for what: rights are looked up for each request.

use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::scope::Scope;
use crate::limits::AUTHORIZATION_BYTES_MAX;
use crate::sys::mac::MacKey;

/// The only header there is; a token with any other is not ours. So there is no algorithm to be confused about.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// How far the clock may have gone back since a token was made, and how long past its end it is taken.
pub const SKEW_SECONDS: i64 = 60;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    #[serde(rename = "iss")]
    pub issuer: String,
    #[serde(rename = "aud")]
    pub audience: String,
    /// Kind and id of the account (`user:…`, `robot:…`), or `anonymous`.
    #[serde(rename = "sub")]
    pub subject: String,
    #[serde(rename = "iat")]
    pub issued_seconds: i64,
    #[serde(rename = "nbf")]
    pub not_before_seconds: i64,
    #[serde(rename = "exp")]
    pub expires_seconds: i64,
    #[serde(rename = "jti")]
    pub id: String,
    /// Stands for the password or secret that it was given for: another one, and the token is void.
    #[serde(rename = "cred")]
    pub credential: String,
    pub access: Vec<Scope>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token was not made here, or before this server started: ask for another")]
    Foreign,
    #[error("the token has expired: ask for another")]
    Expired,
    #[error("the token was made later than it is now, so the clock was put back: ask for another")]
    Early,
}

/// The token that says `claims`.
pub fn issue(key: &MacKey, claims: &Claims) -> String {
    let payload = serde_json::to_vec(claims).unwrap_or_default();
    let message = format!("{}.{}", BASE64URL_NOPAD.encode(HEADER.as_bytes()), BASE64URL_NOPAD.encode(&payload));
    let tag = key.tag(message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(&tag))
}

/// What a token says, if it was made with `key` and holds at `now`.
pub fn verify(key: &MacKey, text: &str, now: Timestamp) -> Result<Claims, TokenError> {
    if text.len() > AUTHORIZATION_BYTES_MAX {
        return Err(TokenError::Foreign);
    }
    let (message, tag) = text.rsplit_once('.').ok_or(TokenError::Foreign)?;
    let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).map_err(|_| TokenError::Foreign)?;
    if !key.verify(message.as_bytes(), &tag) {
        return Err(TokenError::Foreign);
    }
    // From here on the text is our own.
    let (_, payload) = message.split_once('.').ok_or(TokenError::Foreign)?;
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| TokenError::Foreign)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Foreign)?;
    let skew = SignedDuration::from_secs(SKEW_SECONDS);
    let (earliest, latest) = (now.saturating_sub(skew), now.saturating_add(skew));
    let (Ok(earliest), Ok(latest)) = (earliest, latest) else { return Err(TokenError::Expired) };
    if claims.expires_seconds <= earliest.as_second() {
        return Err(TokenError::Expired);
    }
    if claims.not_before_seconds > latest.as_second() {
        return Err(TokenError::Early);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::{Claims, SKEW_SECONDS, TokenError, issue, verify};
    use crate::sys::mac::MacKey;

    fn claims() -> Claims {
        Claims {
            issuer: "postern".to_owned(),
            audience: "postern".to_owned(),
            subject: "user:1".to_owned(),
            issued_seconds: 1_000_000,
            not_before_seconds: 1_000_000,
            expires_seconds: 1_000_300,
            id: "1".to_owned(),
            credential: "c".to_owned(),
            access: super::super::scope::parse("repository:a/b:pull"),
        }
    }

    #[test]
    fn a_token_holds_from_its_making_to_its_end_with_a_bounded_skew() {
        let key = MacKey::generate();
        let token = issue(&key, &claims());
        let at = |second| verify(&key, &token, jiff::Timestamp::from_second(second).unwrap());
        assert_eq!(at(1_000_000).unwrap(), claims());
        assert_eq!(at(1_000_000 - SKEW_SECONDS).unwrap(), claims());
        assert_eq!(at(1_000_000 - SKEW_SECONDS - 1), Err(TokenError::Early));
        assert_eq!(at(1_000_299 + SKEW_SECONDS).unwrap(), claims());
        assert_eq!(at(1_000_300 + SKEW_SECONDS), Err(TokenError::Expired));
        assert_eq!(at(0), Err(TokenError::Early));
    }

    #[test]
    fn every_changed_letter_makes_it_foreign() {
        let key = MacKey::generate();
        let token = issue(&key, &claims());
        let now = jiff::Timestamp::from_second(1_000_000).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(verify(&key, &text, now), Err(TokenError::Foreign), "letter {at}");
        }
        assert_eq!(verify(&MacKey::generate(), &token, now), Err(TokenError::Foreign));
        // WHY: the classic forgeries: no algorithm, no signature, another header.
        let body = token.split('.').nth(1).unwrap();
        for forged in [format!("eyJhbGciOiJub25lIn0.{body}."), format!("{body}."), String::new(), ".".repeat(9_000)] {
            assert_eq!(verify(&key, &forged, now), Err(TokenError::Foreign));
        }
    }
}
