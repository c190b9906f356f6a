//! The token dance of registries: what a 401 asks for, and what a token service answers. Pure.

use serde::Deserialize;

use crate::limits::{CHALLENGE_BYTES_MAX, TOKEN_RESPONSE_BYTES_MAX};

/// What a registry wants to see before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from the service at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// A name and a password.
    Basic,
}

/// A token and how long it may be used.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub value: String,
    pub seconds: u64,
}

impl std::fmt::Debug for Token {
    /// A token is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("seconds", &self.seconds).finish_non_exhaustive()
    }
}

/// Why a token service's answer is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token service's answer is not valid JSON of its kind")]
    Json(#[source] serde_json::Error),
    #[error("the token service's answer holds no token that can stand in a header")]
    Missing,
    #[error("the token service's answer is longer than {TOKEN_RESPONSE_BYTES_MAX} bytes")]
    TooLarge,
}

/// Lifetime that the token specification gives to a token that names none.
const SECONDS_DEFAULT: u64 = 60;
/// No token is kept longer than this, whatever it claims.
const SECONDS_MAX: u64 = 3_600;

/// The challenges in one `WWW-Authenticate` header (RFC 9110, section 11.6.1), best first; schemes that are not known
/// are left out.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    if header.len() > CHALLENGE_BYTES_MAX {
        return found;
    }
    let mut scanner = Scanner { rest: header };
    while let Some(scheme) = scanner.word() {
        let parameters = scanner.parameters();
        let value = |name: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            found.insert(0, Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
        }
    }
    found
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }

    /// The next token (RFC 9110, section 5.6.2); `None` at the end, or where something stands that is none.
    fn word(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
        let len = self.rest.bytes().take_while(|byte| is_token(*byte)).count();
        let (word, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The `name=value` pairs up to the next scheme.
    fn parameters(&mut self) -> Vec<(&'a str, String)> {
        let mut parameters = Vec::new();
        loop {
            let before = self.rest;
            let Some(name) = self.word() else { return parameters };
            let Some(rest) = self.rest.trim_start().strip_prefix('=') else {
                // Not followed by '=': it is the next scheme.
                self.rest = before;
                return parameters;
            };
            self.rest = rest.trim_start();
            let value = if self.rest.starts_with('"') { self.quoted() } else { self.word().map(str::to_owned) };
            let Some(value) = value else { return parameters };
            parameters.push((name, value));
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut letters = self.rest.strip_prefix('"')?.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = self.rest.get(at + 2..).unwrap_or_default();
                    return Some(value);
                }
                '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
                _ => value.push(letter),
            }
        }
        self.rest = "";
        None
    }
}

#[derive(Deserialize)]
struct Written {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Reads a token service's answer (distribution specification, "Token Authentication Specification").
pub fn parse(answer: &[u8]) -> Result<Token, TokenError> {
    if answer.len() > TOKEN_RESPONSE_BYTES_MAX {
        return Err(TokenError::TooLarge);
    }
    let written: Written = serde_json::from_slice(answer).map_err(TokenError::Json)?;
    let value = written.token.filter(|token| !token.is_empty()).or(written.access_token).unwrap_or_default();
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Missing);
    }
    Ok(Token { value, seconds: written.expires_in.unwrap_or(SECONDS_DEFAULT).min(SECONDS_MAX) })
}

#[cfg(test)]
mod tests {
    use super::{Challenge, TokenError, challenges, parse};

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: &str| text.to_owned();
        Challenge::Bearer { realm: owned(realm), service: service.map(owned), scope: scope.map(owned) }
    }

    #[test]
    fn challenges_as_registries_write_them() {
        let check = |header: &str, expected: &[Challenge]| assert_eq!(challenges(header), expected, "{header}");
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            &[bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"))],
        );
        check(r#"Basic realm="Registry""#, &[Challenge::Basic]);
        check(r#"bearer  REALM = "https://a" , Service=s"#, &[bearer("https://a", Some("s"), None)]);
        check(r#"Basic realm="x", Bearer realm="https://a""#, &[bearer("https://a", None, None), Challenge::Basic]);
        check(r#"Negotiate, Basic realm="a \" b""#, &[Challenge::Basic]);
        for nothing in ["", ",,,", "Bearer", r#"Bearer realm="https://a"#, "=", "\"\"", "Digest a=b", "Bearer é"] {
            check(nothing, &[]);
        }
        check(&"a".repeat(100_000), &[]);
    }

    #[test]
    fn tokens() {
        let check = |answer: &str| parse(answer.as_bytes());
        let token = check(r#"{"token":"t","access_token":"a","expires_in":300}"#).unwrap();
        assert_eq!((token.value.as_str(), token.seconds), ("t", 300));
        let token = check(r#"{"access_token":"a","issued_at":"2026-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!((token.value.as_str(), token.seconds), ("a", 60));
        assert!(matches!(check(r#"{"token":""}"#), Err(TokenError::Missing)));
        assert!(matches!(check("{\"token\":\"a\\nb\"}"), Err(TokenError::Missing)));
        assert!(matches!(check("<html>"), Err(TokenError::Json(_))));
        assert!(!format!("{:?}", check(r#"{"token":"secret"}"#).unwrap()).contains("secret"));
    }
}
