//! Patterns for values in attestations: a whole string in which `*` stands for any text.
//!
//! Always anchored at both ends: a pattern that matched a prefix would accept `https://builder.example.evil.test`.

use std::fmt;

/// A pattern. Without `*` it matches exactly itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern as it was written.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole of `value` matches. Linear in the value for each piece of the pattern.
    pub fn matches(&self, value: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return self.0 == value;
        };
        let Some(mut value) = value.strip_prefix(first) else {
            return false;
        };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for piece in middle.split('*') {
            match value.find(piece) {
                Some(at) => value = &value[at + piece.len()..],
                None => return false,
            }
        }
        value.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn matches_the_whole_value() {
        let check = |pattern: &str, value: &str, expected: bool| {
            assert_eq!(Pattern::new(pattern).matches(value), expected, "{pattern} on {value}");
        };
        check("https://b/x", "https://b/x", true);
        check("https://b/x", "https://b/x2", false);
        check("https://b/x", "xhttps://b/x", false);
        check("https://b/*@v1", "https://b/a/c@v1", true);
        check("https://b/*@v1", "https://b/a/c@v12", false);
        check("*", "", true);
        check("a*a", "a", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("a**c", "ac", true);
        check("[a]?", "a!", false);
        check("ä*", "äö", true);
    }
}
