//! One value, one text: what is read must be exactly what would be written.
//!
//! A reader that writes the value anew and compares needs no rules about blanks, key order, escapes or numbers, and no
//! byte of a document is without meaning.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not a canonical document.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    #[error("document is {actual} bytes long, the most is {limit}")]
    TooLarge { actual: usize, limit: usize },
    #[error("document is not valid JSON of its kind")]
    Json(#[source] serde_json::Error),
    #[error("document is not in its canonical form")]
    NotCanonical,
}

/// The one text of `value`.
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("documents of a bundle hold only strings, numbers and lists of such")
}

/// Reads a value and insists on its one text.
pub fn parse<T: Serialize + DeserializeOwned>(bytes: &[u8], limit_bytes: usize) -> Result<T, CanonicalError> {
    if bytes.len() > limit_bytes {
        return Err(CanonicalError::TooLarge { actual: bytes.len(), limit: limit_bytes });
    }
    let value: T = serde_json::from_slice(bytes).map_err(CanonicalError::Json)?;
    // Compared while it is written, so that a large table is not held twice.
    let mut comparison = Comparison { rest: bytes };
    let equal = serde_json::to_writer(&mut comparison, &value).is_ok() && comparison.rest.is_empty();
    if equal { Ok(value) } else { Err(CanonicalError::NotCanonical) }
}

struct Comparison<'a> {
    rest: &'a [u8],
}

impl io::Write for Comparison<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.rest = self.rest.strip_prefix(piece).ok_or(io::ErrorKind::InvalidData)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CanonicalError, parse, to_bytes};

    #[test]
    fn takes_one_text_only() {
        let good = to_bytes(&vec![1_u32, 20]);
        assert_eq!(parse::<Vec<u32>>(&good, 100).unwrap(), [1, 20]);
        for other in ["[1, 20]", "[1,20]\n", " [1,20]"] {
            assert!(matches!(parse::<Vec<u32>>(other.as_bytes(), 100), Err(CanonicalError::NotCanonical)), "{other}");
        }
        assert!(matches!(parse::<Vec<u32>>(b"[1,20]", 3), Err(CanonicalError::TooLarge { .. })));
        assert!(matches!(parse::<Vec<u32>>(b"[1,", 100), Err(CanonicalError::Json(_))));
    }
}
