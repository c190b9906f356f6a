//! The `Range` header (RFC 9110, section 14), as far as a registry needs it. Pure.
//!
//! Several ranges are several parts, one for each in the order asked: zstd:chunked pulls count on it. Ranges that together
//! ask for more than there is (they overlap), too many of them, or anything that cannot be read are answered with the whole
//! content, which the RFC allows and every client understands.

use crate::limits::RANGES_COUNT_MAX;

/// A piece of some content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub offset_bytes: u64,
    /// At least 1, and never beyond the end.
    pub len_bytes: u64,
}

/// What part of a content of known size is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    Whole,
    Part(Span),
    /// At least two.
    Parts(Vec<Span>),
    /// Well-formed ranges that touch no byte of the content.
    Unsatisfiable,
}

/// Reads the header's value for a content of `size_bytes`.
pub fn requested(header: Option<&str>, size_bytes: u64) -> Requested {
    let Some(ranges) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Requested::Whole };
    let mut spans = Vec::new();
    let mut sum_bytes = Some(0_u64);
    for (count, range) in ranges.split(',').enumerate() {
        let Some(span) = span(range, size_bytes) else { return Requested::Whole };
        if count == RANGES_COUNT_MAX {
            return Requested::Whole;
        }
        sum_bytes = sum_bytes.and_then(|sum| sum.checked_add(span.map_or(0, |span| span.len_bytes)));
        spans.extend(span);
    }
    match spans.as_slice() {
        [] => Requested::Unsatisfiable,
        [one] => Requested::Part(*one),
        _ if sum_bytes.is_none_or(|sum| sum > size_bytes) => Requested::Whole,
        _ => Requested::Parts(spans),
    }
}

/// One range: `None` where it is none, `Some(None)` where it touches no byte.
#[expect(clippy::option_option, reason = "unreadable and unsatisfiable are different answers")]
fn span(range: &str, size_bytes: u64) -> Option<Option<Span>> {
    let (first, last) = range.split_once('-')?;
    match (number(first)?, number(last)?) {
        (Bound::At(first), Bound::At(last)) if first > last => None,
        (Bound::At(first), _) if first >= size_bytes => Some(None),
        (Bound::At(first), last) => {
            let end = match last {
                Bound::At(last) => last.saturating_add(1).min(size_bytes),
                Bound::Open => size_bytes,
            };
            Some(Some(Span { offset_bytes: first, len_bytes: end - first }))
        }
        (Bound::Open, Bound::At(suffix)) => {
            let len_bytes = suffix.min(size_bytes);
            Some((len_bytes > 0).then(|| Span { offset_bytes: size_bytes - len_bytes, len_bytes }))
        }
        (Bound::Open, Bound::Open) => None,
    }
}

enum Bound {
    At(u64),
    Open,
}

/// `None` where the text is neither empty nor a number. A number too large to hold lies beyond every content.
fn number(text: &str) -> Option<Bound> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Bound::Open);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Bound::At(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::{Requested, Span, requested};
    use crate::limits::RANGES_COUNT_MAX;

    #[test]
    fn ranges() {
        let span = |(offset_bytes, len_bytes)| Span { offset_bytes, len_bytes };
        let part = |offset_bytes, len_bytes| Requested::Part(span((offset_bytes, len_bytes)));
        let parts = |spans: &[(u64, u64)]| Requested::Parts(spans.iter().copied().map(span).collect());
        let check = |header: &str, size: u64, expected: Requested| {
            assert_eq!(requested(Some(header), size), expected, "{header} of {size}");
        };
        check("bytes=0-0", 10, part(0, 1));
        check("bytes=2-5", 10, part(2, 4));
        check("bytes=2-", 10, part(2, 8));
        check("bytes=2-99", 10, part(2, 8));
        check("bytes=-3", 10, part(7, 3));
        check("bytes=-99", 10, part(0, 10));
        check("bytes= 1 - 2 ", 10, part(1, 2));
        check("bytes=0-99999999999999999999999", 10, part(0, 10));
        check("bytes=0-1,4-5", 10, parts(&[(0, 2), (4, 2)]));
        check("bytes=8-, 0-1 ,-1", 10, parts(&[(8, 2), (0, 2), (9, 1)]));
        check("bytes=4-5,10-12", 10, part(4, 2));
        for unsatisfiable in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-", "bytes=10-,-0"]
        {
            check(unsatisfiable, 10, Requested::Unsatisfiable);
        }
        check("bytes=0-", 0, Requested::Unsatisfiable);
        for whole in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=0-1,",
            "bytes=0-1,x",
            "bytes=+1-2",
            "items=0-1",
            "bytes=0-,0-",
            "bytes=0-5,5-9",
        ] {
            check(whole, 10, Requested::Whole);
        }
        assert_eq!(requested(None, 10), Requested::Whole);
        let many = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        assert!(matches!(requested(Some(&many(RANGES_COUNT_MAX)), 5_000), Requested::Parts(_)));
        check(&many(RANGES_COUNT_MAX + 1), 5_000, Requested::Whole);
        check("bytes=0-,5-", u64::MAX, Requested::Whole);
    }
}
