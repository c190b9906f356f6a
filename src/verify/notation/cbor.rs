//! As much of CBOR (RFC 8949) as COSE envelopes need: bounded, of definite length, in the shortest form, without a key twice.

use crate::limits::{CBOR_DEPTH_COUNT_MAX, CBOR_ITEMS_COUNT_MAX};

/// A value. Text and bytes stay where they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Unsigned(u64),
    /// `-1 - n`.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Value<'a>>),
    Map(Vec<(Value<'a>, Value<'a>)>),
    Tag(u64, Box<Value<'a>>),
    /// False, true, null, undefined.
    Simple(u8),
}

/// Parses one value with nothing behind it.
pub fn parse(bytes: &[u8]) -> Option<Value<'_>> {
    let mut reader = Reader { rest: bytes, items_left: CBOR_ITEMS_COUNT_MAX };
    let value = reader.value(CBOR_DEPTH_COUNT_MAX)?;
    reader.rest.is_empty().then_some(value)
}

impl<'a> Value<'a> {
    /// What a map holds under a whole number.
    pub fn at(&self, key: i64) -> Option<&Value<'a>> {
        let key = match u64::try_from(key) {
            Ok(number) => Value::Unsigned(number),
            Err(_) => Value::Negative(u64::try_from(-1 - key).ok()?),
        };
        self.find(&key)
    }

    /// What a map holds under a text.
    pub fn named(&self, key: &str) -> Option<&Value<'a>> {
        self.find(&Value::Text(key))
    }

    fn find(&self, key: &Value<'_>) -> Option<&Value<'a>> {
        match self {
            Self::Map(entries) => entries.iter().find(|(found, _)| found == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// As text.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As bytes.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// As a list.
    pub fn array(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// As a whole number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Unsigned(number) => i64::try_from(*number).ok(),
            Self::Negative(number) => i64::try_from(*number).ok().map(|number| -1 - number),
            _ => None,
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    items_left: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// Major type and number; the shortest form only, so that two writings of one value cannot differ.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = *self.take(1)?.first()?;
        let (major, small) = (first >> 5, first & 0x1f);
        let (width, at_least) = match small {
            0..=23 => return Some((major, u64::from(small))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return None,
        };
        let number = self.take(width)?.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        (number >= at_least).then_some((major, number))
    }

    fn value(&mut self, depth_left: usize) -> Option<Value<'a>> {
        let depth_left = depth_left.checked_sub(1)?;
        self.items_left = self.items_left.checked_sub(1)?;
        let (major, number) = self.head()?;
        Some(match major {
            0 => Value::Unsigned(number),
            1 => Value::Negative(number),
            2 => Value::Bytes(self.take(number)?),
            3 => Value::Text(std::str::from_utf8(self.take(number)?).ok()?),
            4 => {
                let mut items = Vec::new();
                for _ in 0..number {
                    items.push(self.value(depth_left)?);
                }
                Value::Array(items)
            }
            5 => {
                let mut entries: Vec<(Value<'a>, Value<'a>)> = Vec::new();
                for _ in 0..number {
                    let key = self.value(depth_left)?;
                    if entries.iter().any(|(earlier, _)| *earlier == key) {
                        return None;
                    }
                    entries.push((key, self.value(depth_left)?));
                }
                Value::Map(entries)
            }
            6 => Value::Tag(number, Box::new(self.value(depth_left)?)),
            _ => Value::Simple(u8::try_from(number).ok().filter(|number| (20..=23).contains(number))?),
        })
    }
}

/// Writes the head of a text or bytes, then the content.
pub fn write(major: u8, content: &[u8], out: &mut Vec<u8>) {
    let length = content.len() as u64;
    let major = major << 5;
    match length {
        0..=23 => out.push(major | content.len().to_le_bytes()[0]),
        24..=0xff => out.extend_from_slice(&[major | 24, length.to_le_bytes()[0]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&length.to_be_bytes()[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&length.to_be_bytes()[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::{Value, parse, write};

    #[test]
    fn the_shortest_form_and_no_other() {
        assert_eq!(parse(&[0x17]), Some(Value::Unsigned(23)));
        assert_eq!(parse(&[0x18, 24]), Some(Value::Unsigned(24)));
        assert_eq!(parse(&[0x18, 23]), None);
        assert_eq!(parse(&[0x38, 36]).unwrap().integer(), Some(-37));
        assert_eq!(parse(&[0x19, 0, 255]), None);
        assert_eq!(parse(&[0x5f, 0x41, 1, 0xff]), None, "indefinite length");
        assert_eq!(parse(&[0x00, 0x00]), None, "something behind it");
        assert_eq!(parse(&[0xa2, 1, 2, 1, 3]), None, "a key twice");
        assert_eq!(parse(&[0x61, 0xff]), None, "no text");
        assert_eq!(parse(&[0xf9, 0, 0]), None, "a float");
        // Numbers out of the input allocate nothing.
        assert_eq!(parse(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(parse(&[0x81; 40]), None, "too deep");
    }

    #[test]
    fn maps_are_asked_by_number_and_by_name() {
        let map = parse(&[0xa2, 0x21, 0x41, 7, 0x61, b'a', 0xc1, 0x05]).unwrap();
        assert_eq!(map.at(-2).and_then(Value::bytes), Some(&[7][..]));
        assert_eq!(map.named("a"), Some(&Value::Tag(1, Box::new(Value::Unsigned(5)))));
        assert_eq!(map.at(1), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 23, 24, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let mut out = Vec::new();
            write(2, &content, &mut out);
            assert_eq!(parse(&out).unwrap().bytes(), Some(content.as_slice()), "{length}");
        }
    }
}
