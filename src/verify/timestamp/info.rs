//! What a time stamp says (`TSTInfo`): over which hash, and at what time.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use x509_cert::der::asn1::{AnyRef, OctetStringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::verify::scheme::Hash;

/// A time stamp's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub hash: Hash,
    pub hashed: Vec<u8>,
    pub time: Timestamp,
    pub accuracy: Duration,
}

/// Why a time stamp's content cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    #[error("its content is not what RFC 3161 says")]
    Form,
    #[error("its content is of another version than 1")]
    Version,
    #[error("it is over a hash that is not good enough (SHA-256, SHA-384 and SHA-512 are)")]
    Hash,
    #[error("its time is none")]
    Time,
    #[error("its accuracy is none")]
    Accuracy,
}

impl Info {
    /// Parses the DER of a `TSTInfo`.
    pub fn parse(der: &[u8]) -> Result<Self, InfoError> {
        let outer = AnyRef::from_der(der).map_err(|_| InfoError::Form)?;
        if outer.tag() != Tag::Sequence {
            return Err(InfoError::Form);
        }
        let mut reader = SliceReader::new(outer.value()).map_err(|_| InfoError::Form)?;
        if next::<u8>(&mut reader)? != 1 {
            return Err(InfoError::Version);
        }
        let _policy: ObjectIdentifier = next(&mut reader)?;
        let (hash, hashed) = imprint(next(&mut reader)?)?;
        let _serial: AnyRef<'_> = next(&mut reader)?;
        let time: AnyRef<'_> = next(&mut reader)?;
        if time.tag() != Tag::GeneralizedTime {
            return Err(InfoError::Time);
        }
        let time = parse_time(time.value()).ok_or(InfoError::Time)?;
        let accuracy = match reader.peek_tag() {
            Ok(Tag::Sequence) => parse_accuracy(next(&mut reader)?)?,
            _ => Duration::ZERO,
        };
        // Ordering, nonce, the authority's name: none of them changes what is believed. They must be DER all the same.
        while !reader.is_finished() {
            let _: AnyRef<'_> = next(&mut reader)?;
        }
        Ok(Self { hash, hashed, time, accuracy })
    }
}

fn next<'a, T: Decode<'a>>(reader: &mut SliceReader<'a>) -> Result<T, InfoError> {
    T::decode(reader).map_err(|_| InfoError::Form)
}

fn imprint(written: AnyRef<'_>) -> Result<(Hash, Vec<u8>), InfoError> {
    if written.tag() != Tag::Sequence {
        return Err(InfoError::Form);
    }
    let mut reader = SliceReader::new(written.value()).map_err(|_| InfoError::Form)?;
    let algorithm: AlgorithmIdentifierRef<'_> = next(&mut reader)?;
    let hashed: OctetStringRef<'_> = next(&mut reader)?;
    let hash = Hash::named(algorithm.oid).ok_or(InfoError::Hash)?;
    Ok((hash, hashed.as_bytes().to_vec()))
}

/// `YYYYMMDDhhmmss[.fraction]Z`. The crate's own type takes no fraction, and some authorities write one.
fn parse_time(written: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(written).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || fraction.len() > 9 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let number = |from: usize, to: usize| whole[from..to].parse::<i8>().ok();
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok()?;
    let year: i16 = whole[..4].parse().ok()?;
    let (month, day) = (number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    let civil = DateTime::new(year, month, day, hour, minute, second, nanoseconds).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn parse_accuracy(written: AnyRef<'_>) -> Result<Duration, InfoError> {
    let mut reader = SliceReader::new(written.value()).map_err(|_| InfoError::Accuracy)?;
    let mut accuracy = Duration::ZERO;
    while !reader.is_finished() {
        let part: AnyRef<'_> = AnyRef::decode(&mut reader).map_err(|_| InfoError::Accuracy)?;
        let number = part.value().iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        if part.value().is_empty() || part.value().len() > 4 {
            return Err(InfoError::Accuracy);
        }
        accuracy += match part.tag() {
            Tag::Integer => Duration::from_secs(number),
            Tag::ContextSpecific { number: TagNumber::N0, .. } => Duration::from_millis(number),
            Tag::ContextSpecific { number: TagNumber::N1, .. } => Duration::from_micros(number),
            _ => return Err(InfoError::Accuracy),
        };
    }
    Ok(accuracy)
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn times_with_and_without_a_fraction_and_nothing_else() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse_time(text.as_bytes()).map(|time| time.to_string()).as_deref(), expected, "{text}");
        };
        check("20240229235959Z", Some("2024-02-29T23:59:59Z"));
        check("20240229235959.5Z", Some("2024-02-29T23:59:59.5Z"));
        check("20240229235959.000000001Z", Some("2024-02-29T23:59:59.000000001Z"));
        for text in ["20240230000000Z", "20240101000000", "20240101000000+0100", "202401010000Z", "2024010100000-Z"] {
            check(text, None);
        }
        check("20240101000000.1234567890Z", None);
        check("", None);
    }
}
