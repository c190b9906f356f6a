//! `WWW-Authenticate`: how a client signs in (RFC 9110 section 11.6.1, and the registries' token protocol). Pure.
//!
//! Both schemes are offered, Bearer first, in headers of their own: clients take the first that they know.

use ::http::header::HeaderValue;

use crate::access::{Denial, IdentifyError, scope};
use crate::oci::name::RepositoryName;

/// Where tokens are given out, under the address that the client used.
pub const TOKEN_PATH: &str = "/v2/token";

/// Names this registry in tokens and challenges.
pub const SERVICE: &str = "postern";

/// The address of the registry as this client sees it: scheme and host. None where the `Host` header is none, and then only
/// Basic is offered.
pub fn base_address(host: Option<&str>, is_secure: bool) -> Option<String> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let host = host.filter(|host| !host.is_empty() && host.len() <= 255 && host.bytes().all(is_host))?;
    Some(format!("{}://{host}", if is_secure { "https" } else { "http" }))
}

/// The challenges of an answer with status 401.
pub fn challenges(base: Option<&str>, denial: Option<&Denial>) -> Vec<HeaderValue> {
    let scope = denial.and_then(wanted).map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
    let error = match denial {
        Some(Denial::Scope { .. }) => ",error=\"insufficient_scope\"",
        Some(Denial::Failed { error: IdentifyError::Token(_), .. }) => ",error=\"invalid_token\"",
        _ => "",
    };
    let bearer = base.map(|base| format!("Bearer realm=\"{base}{TOKEN_PATH}\",service=\"{SERVICE}\"{scope}{error}"));
    let basic = format!("Basic realm=\"{SERVICE}\"");
    bearer.into_iter().chain([basic]).filter_map(|text| HeaderValue::try_from(text).ok()).collect()
}

fn wanted(denial: &Denial) -> Option<String> {
    match denial {
        Denial::SignIn { repository, action }
        | Denial::Scope { repository, action }
        | Denial::Failed { repository, action, .. } => {
            repository.parse::<RepositoryName>().ok().map(|repository| scope::wanted(&repository, *action))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{base_address, challenges};
    use crate::access::{Action, Denial};

    #[test]
    fn a_challenge_names_where_and_what_for() {
        let base = base_address(Some("registry.example:5000"), true).unwrap();
        let denial = Denial::Scope { repository: "a/b".to_owned(), action: Action::Push };
        let texts = challenges(Some(&base), Some(&denial));
        assert_eq!(
            texts[0],
            "Bearer realm=\"https://registry.example:5000/v2/token\",service=\"postern\",scope=\"repository:a/b:pull,push\",error=\"insufficient_scope\""
        );
        assert_eq!(texts[1], "Basic realm=\"postern\"");
        assert_eq!(challenges(None, None), ["Basic realm=\"postern\""]);
    }

    #[test]
    fn a_host_that_could_break_out_of_the_header_is_none() {
        for host in ["", "a\"b", "a b", "a/b", "a,b", "ä", &"a".repeat(256)] {
            assert_eq!(base_address(Some(host), true), None, "{host}");
        }
        assert_eq!(base_address(Some("[::1]:5000"), false).unwrap(), "http://[::1]:5000");
    }
}
