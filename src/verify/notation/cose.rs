//! Notation's envelope in CBOR: one COSE_Sign1.

use jiff::Timestamp;

use super::cbor::{self, Value};
use super::envelope::{
    AUTHENTIC_SIGNING_TIME, Algorithm, EXPIRY, Envelope, EnvelopeError, Headers, SIGNING_SCHEME, SIGNING_TIME,
    TIMESTAMP, parse_chain, parse_payload,
};
use crate::limits::EVIDENCE_BYTES_MAX;

const TAG_SIGN1: u64 = 18;
const TAG_EPOCH: u64 = 1;
const TAG_DATE_TEXT: u64 = 0;
const ALGORITHM: i64 = 1;
const CRITICAL: i64 = 2;
const CONTENT_TYPE: i64 = 3;
const X5CHAIN: i64 = 33;

/// Parses an envelope.
pub fn parse(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return Err(EnvelopeError::TooLarge(bytes.len()));
    }
    let outer = cbor::parse(bytes).ok_or(EnvelopeError::Form)?;
    let Value::Tag(TAG_SIGN1, inner) = &outer else { return Err(EnvelopeError::Form) };
    let Some([Value::Bytes(protected), unprotected @ Value::Map(_), Value::Bytes(payload), Value::Bytes(signature)]) =
        inner.array()
    else {
        return Err(EnvelopeError::Form);
    };
    let headers = headers(&cbor::parse(protected).ok_or(EnvelopeError::Form)?)?;
    let (scheme, signing_time) = headers.check()?;
    let chain: Vec<&[u8]> = match unprotected.at(X5CHAIN) {
        Some(Value::Bytes(only)) => vec![only],
        Some(Value::Array(all)) => {
            all.iter().map(Value::bytes).collect::<Option<_>>().ok_or(EnvelopeError::Header("x5chain"))?
        }
        _ => return Err(EnvelopeError::Header("x5chain")),
    };
    let timestamp = match unprotected.named(TIMESTAMP) {
        None => None,
        Some(token) => Some(token.bytes().ok_or(EnvelopeError::Header(TIMESTAMP))?.to_vec()),
    };
    Ok(Envelope {
        scheme,
        signing_time,
        expiry: headers.expiry,
        chain: parse_chain(chain.into_iter())?,
        target: parse_payload(payload)?,
        timestamp,
        signature: signature.to_vec(),
        signed: signed_bytes(protected, payload),
        algorithm: headers.algorithm.ok_or(EnvelopeError::Header("alg"))?,
    })
}

/// COSE's `Sig_structure`: the words "Signature1", the protected headers, nothing, and the payload.
pub fn signed_bytes(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut signed = vec![0x84];
    cbor::write(3, b"Signature1", &mut signed);
    cbor::write(2, protected, &mut signed);
    cbor::write(2, b"", &mut signed);
    cbor::write(2, payload, &mut signed);
    signed
}

fn headers(protected: &Value<'_>) -> Result<Headers, EnvelopeError> {
    let Value::Map(entries) = protected else { return Err(EnvelopeError::Form) };
    let algorithm = protected.at(ALGORITHM).and_then(Value::integer).ok_or(EnvelopeError::Header("alg"))?;
    let critical = protected.at(CRITICAL).and_then(Value::array).ok_or(EnvelopeError::Header("crit"))?;
    let content_type = protected.at(CONTENT_TYPE).and_then(Value::text).ok_or(EnvelopeError::Header("cty"))?;
    let scheme = protected.named(SIGNING_SCHEME).and_then(Value::text);
    let time = |key: &'static str| match protected.named(key) {
        None => Ok(None),
        Some(value) => parse_time(value).map(Some).ok_or(EnvelopeError::Header(key)),
    };
    // Headers with a number are COSE's own; any that is not one of these three is none that Notation writes.
    let foreign = |(key, _): &(Value<'_>, Value<'_>)| match key.integer() {
        Some(number) => ![ALGORITHM, CRITICAL, CONTENT_TYPE].contains(&number),
        None => key.text().is_none(),
    };
    if entries.iter().any(foreign) {
        return Err(EnvelopeError::Form);
    }
    Ok(Headers {
        algorithm: Some(
            Algorithm::numbered(algorithm).ok_or_else(|| EnvelopeError::Algorithm(format!("{algorithm}")))?,
        ),
        content_type: content_type.to_owned(),
        critical: critical
            .iter()
            .map(|name| name.text().map(ToOwned::to_owned))
            .collect::<Option<_>>()
            .ok_or(EnvelopeError::Header("crit"))?,
        present: entries.iter().filter_map(|(key, _)| key.text()).map(ToOwned::to_owned).collect(),
        scheme: scheme.ok_or(EnvelopeError::Header(SIGNING_SCHEME))?.to_owned(),
        signing_time: time(SIGNING_TIME)?,
        authentic_signing_time: time(AUTHENTIC_SIGNING_TIME)?,
        expiry: time(EXPIRY)?,
    })
}

fn parse_time(value: &Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Tag(TAG_EPOCH, inner) => Timestamp::from_second(inner.integer()?).ok(),
        Value::Tag(TAG_DATE_TEXT, inner) => inner.text()?.parse().ok(),
        _ => None,
    }
}
