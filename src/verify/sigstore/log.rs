//! Transparency logs: the promise to log an entry, and the proof that it was logged.

use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;

use super::bundle::{EntryKind, InclusionProof, LogEntry};
use super::checkpoint::{Checkpoint, CheckpointError};
use super::merkle::{ProofError, leaf_hash, verify_inclusion};
use super::trusted_root::{Log, TrustedRoot};

/// Why an entry is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("the log is not one of the trusted root's, or its key is of a kind that is not known here")]
    UnknownLog,
    #[error("the log's key was not valid at {0}")]
    KeyNotValid(Timestamp),
    #[error("the log's promise is not signed by its key")]
    Promise,
    #[error("the checkpoint cannot be read: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("no signature on the checkpoint is the log's")]
    CheckpointSignature,
    #[error("the proof of inclusion speaks of another tree than its checkpoint")]
    OtherTree,
    #[error("the proof of inclusion proves nothing: {0}")]
    Inclusion(#[from] ProofError),
}

/// The trusted log to which an entry says to belong.
pub fn log_of<'a>(root: &'a TrustedRoot, entry: &LogEntry) -> Result<&'a Log, LogError> {
    root.logs.iter().find(|log| log.id == entry.log_id.as_slice()).ok_or(LogError::UnknownLog)
}

/// Whether the log's key was valid at every one of `times`.
pub fn verify_span(log: &Log, times: &[Timestamp]) -> Result<(), LogError> {
    match times.iter().find(|time| !log.span.contains(**time)) {
        Some(time) => Err(LogError::KeyNotValid(*time)),
        None => Ok(()),
    }
}

/// Verifies the promise, which is what makes the entry's time authentic.
pub fn verify_promise(log: &Log, entry: &LogEntry, promise: &[u8]) -> Result<(), LogError> {
    let key = log.key.as_ref().ok_or(LogError::UnknownLog)?;
    // The log signs canonical JSON: keys in order, no spaces, and no value that would need escaping.
    let signed = format!(
        r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}}"#,
        BASE64.encode(&entry.body),
        entry.integrated_time.map_or(0, Timestamp::as_second),
        HEXLOWER.encode(&entry.log_id),
        entry.log_index,
    );
    if key.verifies(signed.as_bytes(), promise) { Ok(()) } else { Err(LogError::Promise) }
}

/// Verifies that the log holds the entry.
pub fn verify_proof(log: &Log, entry: &LogEntry, proof: &InclusionProof) -> Result<(), LogError> {
    let checkpoint = Checkpoint::parse(&proof.checkpoint)?;
    let key = log.key.as_ref().ok_or(LogError::UnknownLog)?;
    // Four bytes may collide with another log's or a witness's: each signature that has them is tried.
    let by_log = checkpoint
        .signatures
        .iter()
        .filter(|signature| signature.key_hint == log.id[..4])
        .any(|signature| key.verifies(checkpoint.signed, &signature.signature));
    if !by_log {
        return Err(LogError::CheckpointSignature);
    }
    // The second generation of logs says size and root in the checkpoint alone.
    let index = if entry.kind == EntryKind::HashedRekord2 {
        entry.log_index
    } else {
        if proof.tree_size != checkpoint.tree.size || proof.root != checkpoint.tree.root {
            return Err(LogError::OtherTree);
        }
        proof.log_index
    };
    let leaf = leaf_hash(&entry.body);
    Ok(verify_inclusion(&leaf, index, checkpoint.tree.size, &proof.hashes, &checkpoint.tree.root)?)
}
