//! The `Authorization` header (RFC 9110 section 11.6.2): Basic (RFC 7617) and Bearer (RFC 6750). Pure.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::limits::{AUTHORIZATION_BYTES_MAX, PASSWORD_BYTES_MAX};

/// What a client says of itself. Never printed.
pub enum Credentials {
    Basic { name: String, password: Zeroizing<Vec<u8>> },
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(withheld)",
            Self::Bearer(_) => "Bearer(withheld)",
        })
    }
}

/// Why a header holds no credentials. It is never repeated: it may be somebody's password for another registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    #[error("the Authorization header is longer than {AUTHORIZATION_BYTES_MAX} bytes")]
    TooLong,
    #[error("the Authorization header is neither 'Basic' nor 'Bearer'")]
    Scheme,
    #[error("the credentials in the Authorization header are not 'name:password' in base 64")]
    Basic,
    #[error("the token in the Authorization header is none")]
    Bearer,
}

/// Reads the header.
pub fn parse(header: &[u8]) -> Result<Credentials, AuthorizationError> {
    if header.len() > AUTHORIZATION_BYTES_MAX {
        return Err(AuthorizationError::TooLong);
    }
    let text = std::str::from_utf8(header).map_err(|_| AuthorizationError::Scheme)?;
    let (scheme, rest) = text.trim().split_once(' ').ok_or(AuthorizationError::Scheme)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        return basic(rest);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthorizationError::Scheme);
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if rest.is_empty() || !rest.bytes().all(is_token) {
        return Err(AuthorizationError::Bearer);
    }
    Ok(Credentials::Bearer(rest.to_owned()))
}

fn basic(text: &str) -> Result<Credentials, AuthorizationError> {
    let decoded = Zeroizing::new(BASE64.decode(text.as_bytes()).map_err(|_| AuthorizationError::Basic)?);
    let at = decoded.iter().position(|byte| *byte == b':').ok_or(AuthorizationError::Basic)?;
    let (name, password) = decoded.split_at(at);
    let name = std::str::from_utf8(name).map_err(|_| AuthorizationError::Basic)?;
    let password = password.get(1..).unwrap_or_default();
    if name.is_empty() || name.chars().any(char::is_control) || password.len() > PASSWORD_BYTES_MAX {
        return Err(AuthorizationError::Basic);
    }
    Ok(Credentials::Basic { name: name.to_owned(), password: Zeroizing::new(password.to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::{AuthorizationError, Credentials, parse};

    #[test]
    fn basic_and_bearer_are_read() {
        let check = |header: &str, name: &str, password: &str| match parse(header.as_bytes()).unwrap() {
            Credentials::Basic { name: found, password: given } => {
                assert_eq!((found.as_str(), given.as_slice()), (name, password.as_bytes()), "{header}");
            }
            Credentials::Bearer(token) => assert_eq!(("bearer", token.as_str()), (name, password), "{header}"),
        };
        check("Basic YW5uYTpwOnc=", "anna", "p:w");
        check("basic  YW5uYTo=", "anna", "");
        check("BEARER a.b-c_d", "bearer", "a.b-c_d");
    }

    #[test]
    fn what_holds_no_credentials() {
        let check = |header: &str, error| assert_eq!(parse(header.as_bytes()).unwrap_err(), error, "{header}");
        check("", AuthorizationError::Scheme);
        check("Negotiate abc", AuthorizationError::Scheme);
        check("Basic", AuthorizationError::Scheme);
        check("Basic !!!", AuthorizationError::Basic);
        check("Basic YW5uYQ==", AuthorizationError::Basic);
        check("Basic OnB3", AuthorizationError::Basic);
        check("Bearer a b", AuthorizationError::Bearer);
        check("Bearer a\u{7f}", AuthorizationError::Bearer);
        check(&format!("Bearer {}", "a".repeat(9_000)), AuthorizationError::TooLong);
        assert_eq!(format!("{:?}", parse(b"Bearer abc").unwrap()), "Bearer(withheld)");
    }
}
