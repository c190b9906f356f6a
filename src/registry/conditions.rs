//! `If-Match` and `If-None-Match` (RFC 9110, section 13), against the digest that stands where a request points. Pure.
//!
//! A reader that has the content already is spared it; a writer changes a tag only from what it saw there, or only where
//! nothing was.

use ::http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};

use super::error::RegistryError;
use super::etag;
use crate::oci::digest::Digest;

/// Where a tag must still point when it is changed (`Some(None)`: nowhere); `None` where that is all the same.
pub(super) type Expected = Option<Option<Digest>>;

/// What a request says about what it expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    is_match: Option<String>,
    is_none_match: Option<String>,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self { is_match: list(headers, &IF_MATCH), is_none_match: list(headers, &IF_NONE_MATCH) }
    }

    /// Whether anything is expected at all.
    const fn is_empty(&self) -> bool {
        self.is_match.is_none() && self.is_none_match.is_none()
    }

    /// Whether a change of `current` is wanted; and if so, what must still stand there when it is made.
    pub(super) fn admit_change(&self, current: Option<&Digest>) -> Result<Expected, RegistryError> {
        if self.rules_out(current) || self.has_already(current) {
            return Err(RegistryError::Precondition);
        }
        Ok((!self.is_empty()).then_some(current.copied()))
    }

    /// Whether the client means something else than `current`, by `If-Match`.
    pub(super) fn rules_out(&self, current: Option<&Digest>) -> bool {
        let Some(header) = &self.is_match else { return false };
        !current.is_some_and(|current| names(header, current, |tag| tag))
    }

    /// Whether the client has `current` already, or wants that nothing is there, by `If-None-Match`.
    pub(super) fn has_already(&self, current: Option<&Digest>) -> bool {
        let header = self.is_none_match.as_ref();
        header.zip(current).is_some_and(|(header, current)| names(header, current, |tag| tag.trim_start_matches("W/")))
    }
}

fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    headers.contains_key(name).then(|| values.join(","))
}

/// A weak validator proves nothing by `If-Match`, so `strong` says what of each counts.
fn names(header: &str, digest: &Digest, strong: fn(&str) -> &str) -> bool {
    let etag = etag(digest);
    header.split(',').map(str::trim).any(|tag| tag == "*" || strong(tag) == etag)
}

#[cfg(test)]
mod tests {
    use ::http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};

    use super::Conditions;
    use crate::oci::digest::Digest;

    #[test]
    fn what_is_expected_of_what_is_there() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let check = |name: HeaderName, value: String, current: Option<&Digest>, expected: (bool, bool)| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let conditions = Conditions::of(&headers);
            let admitted = conditions.admit_change(current);
            match expected {
                (false, false) => assert_eq!(admitted.ok(), Some(Some(current.copied()))),
                _ => assert!(admitted.is_err(), "{value}"),
            }
            assert_eq!((conditions.rules_out(current), conditions.has_already(current)), expected, "{value}");
        };
        let quoted = |digest: &Digest| format!("\"{digest}\"");
        check(IF_MATCH, quoted(&one), Some(&one), (false, false));
        check(IF_MATCH, format!("\"x\", {}", quoted(&one)), Some(&one), (false, false));
        check(IF_MATCH, quoted(&one), Some(&other), (true, false));
        check(IF_MATCH, quoted(&one), None, (true, false));
        check(IF_MATCH, format!("W/{}", quoted(&one)), Some(&one), (true, false));
        check(IF_MATCH, "*".into(), Some(&one), (false, false));
        check(IF_MATCH, "*".into(), None, (true, false));
        check(IF_NONE_MATCH, quoted(&one), Some(&one), (false, true));
        check(IF_NONE_MATCH, format!("W/{}", quoted(&one)), Some(&one), (false, true));
        check(IF_NONE_MATCH, quoted(&one), Some(&other), (false, false));
        check(IF_NONE_MATCH, "*".into(), Some(&one), (false, true));
        check(IF_NONE_MATCH, "*".into(), None, (false, false));
        check(IF_NONE_MATCH, String::new(), Some(&one), (false, false));
        assert_eq!(Conditions::of(&HeaderMap::new()).admit_change(Some(&one)).ok(), Some(None));
    }
}
