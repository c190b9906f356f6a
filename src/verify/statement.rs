//! in-toto Statements: what an attestation says, and about what.
//!
//! Parsed again from the very bytes whose signature was verified, never from a copy.

use serde_json::Value;

use super::strict_json;
use crate::limits::{EVIDENCE_BYTES_MAX, STATEMENT_SUBJECTS_COUNT_MAX};
use crate::oci::digest::{Algorithm, Digest};

/// The payload type of a DSSE envelope that holds a Statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The predicate by which cosign 3 writes a signature. Any other predicate is an attestation.
pub const COSIGN_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// The type of a Statement as it is written today.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
const STATEMENT_TYPES: [&str; 2] = ["https://in-toto.io/Statement/v0.1", STATEMENT_V1];

/// A Statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it speaks of. A subject without a SHA-256 or SHA-512 digest matches nothing and is left out.
    pub subjects: Vec<Digest>,
    pub predicate_type: String,
    /// `Null` where there is none.
    pub predicate: Value,
}

/// Why bytes are not a Statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error("statement is {0} bytes long, the most is {EVIDENCE_BYTES_MAX} (evidence-limit)")]
    TooLarge(usize),
    #[error("statement is not JSON, or a key stands twice in it")]
    Json(#[source] serde_json::Error),
    #[error("statement's '_type' is '{0}', which is neither Statement v0.1 nor v1")]
    Type(String),
    #[error("statement's '{0}' is missing or of the wrong type")]
    Field(&'static str),
    #[error("statement names {0} subjects, the most is {STATEMENT_SUBJECTS_COUNT_MAX} (evidence-limit)")]
    TooManySubjects(usize),
}

impl Statement {
    /// Parses the payload of an envelope.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        if payload.len() > EVIDENCE_BYTES_MAX {
            return Err(StatementError::TooLarge(payload.len()));
        }
        let mut value = strict_json::parse(payload).map_err(StatementError::Json)?;
        let text = |key: &'static str| value.get(key).and_then(Value::as_str).ok_or(StatementError::Field(key));
        let kind = text("_type")?;
        if !STATEMENT_TYPES.contains(&kind) {
            return Err(StatementError::Type(kind.chars().take(120).collect()));
        }
        let predicate_type = text("predicateType")?.to_owned();
        let written = value.get("subject").and_then(Value::as_array).ok_or(StatementError::Field("subject"))?;
        if written.len() > STATEMENT_SUBJECTS_COUNT_MAX {
            return Err(StatementError::TooManySubjects(written.len()));
        }
        let subjects = written.iter().flat_map(digests_of).collect();
        let predicate = value.get_mut("predicate").map(Value::take).unwrap_or_default();
        Ok(Self { subjects, predicate_type, predicate })
    }
}

/// A subject's digests, of which each names it fully.
fn digests_of(subject: &Value) -> impl Iterator<Item = Digest> {
    [Algorithm::Sha256, Algorithm::Sha512].into_iter().filter_map(|algorithm| {
        let hex = subject.get("digest")?.get(algorithm.name())?.as_str()?;
        format!("{}:{hex}", algorithm.name()).parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::{Statement, StatementError};
    use crate::oci::digest::Digest;
    use crate::verify::test_keys::signature_statement;

    #[test]
    fn reads_subjects_with_a_usable_digest() {
        let digest = Digest::of(b"x");
        let mut written = signature_statement(&digest);
        let subjects = written["subject"].as_array_mut().unwrap();
        subjects.push(serde_json::json!({"name": "no digest"}));
        subjects.push(serde_json::json!({"digest": {"sha256": digest.hex().to_uppercase()}}));
        let statement = Statement::parse(&serde_json::to_vec(&written).unwrap()).unwrap();
        assert_eq!(statement.subjects, [digest]);
        assert_eq!(statement.predicate_type, super::COSIGN_SIGNATURE);
    }

    #[test]
    fn refuses_what_is_not_a_statement() {
        let check = |text: &str| Statement::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(check("[]"), StatementError::Field("_type")));
        assert!(matches!(check(r#"{"_type":"https://in-toto.io/Statement/v2"}"#), StatementError::Type(_)));
        assert!(matches!(
            check(r#"{"_type":"https://in-toto.io/Statement/v1"}"#),
            StatementError::Field("predicateType")
        ));
        let twice =
            r#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"a","predicateType":"b","subject":[]}"#;
        assert!(matches!(check(twice), StatementError::Json(_)));
    }
}
