//! From method, path and query to what is asked for. Pure.

use ::http::Method;
use percent_encoding::percent_decode_str;

/// Seconds that a review has where the request names none; also the most: an API server waits no longer than 30.
const SECONDS_MAX: u64 = 30;
const SECONDS_DEFAULT: u64 = 10;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /admission/validate`
    Validate,
    /// `POST /admission/mutate`
    Mutate,
    /// `POST /gatekeeper/validate`
    Gatekeeper,
    /// `GET /verify?image=…`
    Verify { image: String },
}

/// Why nothing is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error(
        "there is nothing here: reviews are /admission/validate, /admission/mutate, /gatekeeper/validate and /verify?image=…"
    )]
    Unknown,
    #[error("this is asked with {0}")]
    Method(&'static str),
    #[error("name the image, once: /verify?image=registry.example/apps/web:2.1.0")]
    NoImage,
}

/// Whether a path is answered here.
pub fn is_mine(path: &str) -> bool {
    path == "/verify" || path.starts_with("/admission/") || path.starts_with("/gatekeeper/")
}

/// What is asked for, and in how many seconds it must be answered.
pub fn route(method: &Method, path: &str, query: Option<&str>) -> Result<(Endpoint, u64), RouteError> {
    let query = query.unwrap_or_default();
    let (wanted, allowed) = match path {
        "/verify" => (&Method::GET, "GET"),
        "/admission/validate" | "/admission/mutate" | "/gatekeeper/validate" => (&Method::POST, "POST"),
        _ => return Err(RouteError::Unknown),
    };
    if method != wanted {
        return Err(RouteError::Method(allowed));
    }
    let endpoint = match path {
        "/admission/validate" => Endpoint::Validate,
        "/admission/mutate" => Endpoint::Mutate,
        "/gatekeeper/validate" => Endpoint::Gatekeeper,
        _ => {
            let mut named = values(query, "image");
            match (named.next(), named.next()) {
                (Some(image), None) => Endpoint::Verify { image: image? },
                _ => return Err(RouteError::NoImage),
            }
        }
    };
    Ok((endpoint, seconds(query)))
}

fn values<'a>(query: &'a str, wanted: &'a str) -> impl Iterator<Item = Result<String, RouteError>> + 'a {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(key, _)| *key == wanted).map(|(_, value)| {
        let decoded = percent_decode_str(value).decode_utf8().map_err(|_| RouteError::NoImage)?;
        Ok(decoded.into_owned())
    })
}

/// An API server says how long it waits (`timeout=10s`); the answer must be there a little before.
fn seconds(query: &str) -> u64 {
    let written = values(query, "timeout").next().and_then(Result::ok);
    let seconds = written.and_then(|text| text.strip_suffix('s')?.parse::<u64>().ok()).unwrap_or(SECONDS_DEFAULT);
    seconds.clamp(2, SECONDS_MAX) - 1
}

#[cfg(test)]
mod tests {
    use ::http::Method;

    use super::{Endpoint, RouteError, is_mine, route};

    #[test]
    fn what_is_asked_for() {
        let check =
            |method: &Method, path: &str, query: Option<&str>, expected: Result<(Endpoint, u64), RouteError>| {
                assert_eq!(route(method, path, query), expected, "{method} {path} {query:?}");
                assert!(is_mine(path));
            };
        let verify = |image: &str| Endpoint::Verify { image: image.to_owned() };
        check(&Method::POST, "/admission/validate", Some("timeout=5s"), Ok((Endpoint::Validate, 4)));
        check(&Method::POST, "/admission/mutate", None, Ok((Endpoint::Mutate, 9)));
        check(&Method::POST, "/gatekeeper/validate", Some("timeout=900s"), Ok((Endpoint::Gatekeeper, 29)));
        check(&Method::POST, "/admission/validate", Some("timeout=0s"), Ok((Endpoint::Validate, 1)));
        check(&Method::POST, "/admission/validate", Some("timeout=500ms"), Ok((Endpoint::Validate, 9)));
        check(&Method::GET, "/verify", Some("image=a%2Fb%3A1%40x"), Ok((verify("a/b:1@x"), 9)));
        check(&Method::GET, "/verify", Some("image=a&image=b"), Err(RouteError::NoImage));
        check(&Method::GET, "/verify", Some("image=%FF"), Err(RouteError::NoImage));
        check(&Method::GET, "/verify", None, Err(RouteError::NoImage));
        check(&Method::POST, "/verify", Some("image=a"), Err(RouteError::Method("GET")));
        check(&Method::GET, "/admission/validate", None, Err(RouteError::Method("POST")));
        check(&Method::POST, "/admission/other", None, Err(RouteError::Unknown));
        assert!(!is_mine("/v2/") && !is_mine("/verify/x") && !is_mine("/admission"));
    }
}
