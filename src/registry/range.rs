//! The `Range` header (RFC 9110, section 14), as far as a registry needs it. Pure.
//!
//! One range is answered with 206. Several, or anything that cannot be read, are answered with the whole content, which
//! the RFC allows and every client understands; a 206 with only the first range would break zstd:chunked pulls.

/// What part of a content of known size is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    Whole,
    Part {
        offset_bytes: u64,
        /// At least 1, and never beyond the end.
        len_bytes: u64,
    },
    /// One well-formed range that touches no byte of the content.
    Unsatisfiable,
}

/// Reads the header's value for a content of `size_bytes`.
pub fn requested(header: Option<&str>, size_bytes: u64) -> Requested {
    let Some(ranges) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Requested::Whole };
    let Some((first, last)) = ranges.trim().split_once('-') else { return Requested::Whole };
    // A comma anywhere leaves something that is no number, so several ranges end here too.
    match (number(first), number(last)) {
        (Some(Bound::At(first)), Some(Bound::At(last))) if first > last => Requested::Whole,
        (Some(Bound::At(first)), Some(last)) => {
            if first >= size_bytes {
                return Requested::Unsatisfiable;
            }
            let end = match last {
                Bound::At(last) => last.saturating_add(1).min(size_bytes),
                Bound::Open => size_bytes,
            };
            Requested::Part { offset_bytes: first, len_bytes: end - first }
        }
        (Some(Bound::Open), Some(Bound::At(suffix))) => {
            let len_bytes = suffix.min(size_bytes);
            if len_bytes == 0 {
                return Requested::Unsatisfiable;
            }
            Requested::Part { offset_bytes: size_bytes - len_bytes, len_bytes }
        }
        _ => Requested::Whole,
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
    use super::{Requested, requested};

    #[test]
    fn ranges() {
        let part = |offset_bytes, len_bytes| Requested::Part { offset_bytes, len_bytes };
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
        for unsatisfiable in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            check(unsatisfiable, 10, Requested::Unsatisfiable);
        }
        check("bytes=0-", 0, Requested::Unsatisfiable);
        for whole in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=0-1,4-5", "bytes=+1-2", "items=0-1"]
        {
            check(whole, 10, Requested::Whole);
        }
        assert_eq!(requested(None, 10), Requested::Whole);
    }
}
