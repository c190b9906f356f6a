//! Notation's envelope in JSON: one flattened JWS.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use serde_json::Value;

use super::envelope::{
    AUTHENTIC_SIGNING_TIME, Algorithm, EXPIRY, Envelope, EnvelopeError, Headers, SIGNING_SCHEME, SIGNING_TIME,
    TIMESTAMP, parse_chain, parse_payload,
};
use crate::limits::EVIDENCE_BYTES_MAX;
use crate::verify::strict_json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    payload: String,
    protected: String,
    header: Value,
    signature: String,
}

/// Parses an envelope.
pub fn parse(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return Err(EnvelopeError::TooLarge(bytes.len()));
    }
    let value = strict_json::parse(bytes).map_err(|_| EnvelopeError::Form)?;
    let written: Written = serde_json::from_value(value).map_err(|_| EnvelopeError::Form)?;
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| EnvelopeError::Form);
    let protected = strict_json::parse(&decode(&written.protected)?).map_err(|_| EnvelopeError::Form)?;
    let headers = headers(&protected)?;
    let (scheme, signing_time) = headers.check()?;
    let chain: Vec<Vec<u8>> = written.header["x5c"]
        .as_array()
        .ok_or(EnvelopeError::Header("x5c"))?
        .iter()
        .map(|one| {
            one.as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok()).ok_or(EnvelopeError::Header("x5c"))
        })
        .collect::<Result<_, _>>()?;
    let timestamp = match written.header.get(TIMESTAMP) {
        None | Some(Value::Null) => None,
        Some(token) => {
            let decoded = token.as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok());
            Some(decoded.ok_or(EnvelopeError::Header(TIMESTAMP))?)
        }
    };
    Ok(Envelope {
        scheme,
        signing_time,
        expiry: headers.expiry,
        chain: parse_chain(chain.iter().map(Vec::as_slice))?,
        target: parse_payload(&decode(&written.payload)?)?,
        timestamp,
        signature: decode(&written.signature)?,
        signed: format!("{}.{}", written.protected, written.payload).into_bytes(),
        algorithm: headers.algorithm.ok_or(EnvelopeError::Header("alg"))?,
    })
}

fn headers(protected: &Value) -> Result<Headers, EnvelopeError> {
    let entries = protected.as_object().ok_or(EnvelopeError::Form)?;
    let text = |key: &'static str| entries.get(key).and_then(Value::as_str).ok_or(EnvelopeError::Header(key));
    let time = |key: &'static str| match entries.get(key) {
        None => Ok(None),
        Some(value) => match value.as_str().and_then(|text| text.parse().ok()) {
            Some(time) => Ok(Some(time)),
            None => Err(EnvelopeError::Header(key)),
        },
    };
    let algorithm = text("alg")?;
    let critical = entries.get("crit").and_then(Value::as_array).ok_or(EnvelopeError::Header("crit"))?;
    let critical = critical.iter().map(|name| name.as_str().map(ToOwned::to_owned)).collect::<Option<_>>();
    const FORM: [&str; 3] = ["alg", "crit", "cty"];
    Ok(Headers {
        algorithm: Some(
            Algorithm::named(algorithm)
                .ok_or_else(|| EnvelopeError::Algorithm(algorithm.chars().take(40).collect()))?,
        ),
        content_type: text("cty")?.to_owned(),
        critical: critical.ok_or(EnvelopeError::Header("crit"))?,
        present: entries.keys().filter(|name| !FORM.contains(&name.as_str())).cloned().collect(),
        scheme: text(SIGNING_SCHEME)?.to_owned(),
        signing_time: time(SIGNING_TIME)?,
        authentic_signing_time: time(AUTHENTIC_SIGNING_TIME)?,
        expiry: time(EXPIRY)?,
    })
}
