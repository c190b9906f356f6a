//! Checks a journal, in a store or in a copy, with nothing but the files: checksums, chain, checkpoints, signatures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Checkpoint};
use crate::device_id::DeviceId;
use crate::error_chain::chain;
use crate::limits::{AUDIT_PROBLEMS_COUNT_MAX, IDENTITY_BYTES_MAX};
use crate::store::{Position, StoreError, walk_journal};
use crate::sys::dir::{Dir, DirError, read_bounded};
use crate::sys::keys::{IDENTITY_FILE, Identity, IdentityError};

/// Why nothing can be said at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("there is no identity file beside the journal: copy '{IDENTITY_FILE}' of the appliance too")]
    IdentityMissing,
    #[error("the identity file beside the journal is not sound")]
    Identity(#[from] IdentityError),
    #[error("the journal is of device '{}', not of '{}'", .actual.fingerprint(), .expected.fingerprint())]
    OtherDevice { expected: DeviceId, actual: DeviceId },
    #[error("the journal cannot be read")]
    Store(#[from] StoreError),
    #[error("a file beside the journal cannot be read")]
    Dir(#[from] DirError),
}

/// What was proved, and what was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    pub device: DeviceId,
    pub fingerprint: String,
    pub device_name: String,
    pub segments_count: u64,
    pub events_count: u64,
    /// The last event whose chain holds.
    pub last: Option<Position>,
    pub checkpoints_count: u64,
    /// The newest checkpoint that the journal agrees with.
    pub signed_up_to: Option<Checkpoint>,
    /// Events behind it: their chain holds, and nobody has signed it yet.
    pub unsigned_events_count: u64,
    /// What does not hold; more than a hundred are not listed.
    pub problems: Vec<String>,
}

impl VerifyReport {
    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, text: String) {
        if self.problems.len() < AUDIT_PROBLEMS_COUNT_MAX {
            self.problems.push(text);
        }
    }
}

/// Checks the journal below `dir`. With `expected`, it must be of that device; the identity file alone only says whose it
/// claims to be.
pub fn verify(dir: &dyn Dir, expected: Option<&DeviceId>) -> Result<VerifyReport, VerifyError> {
    let identity = match read_bounded(dir, IDENTITY_FILE, IDENTITY_BYTES_MAX) {
        Err(error) if error.is_not_found() => return Err(VerifyError::IdentityMissing),
        bytes => Identity::parse_and_verify(&bytes?)?,
    };
    if let Some(expected) = expected.filter(|expected| **expected != identity.device_id) {
        return Err(VerifyError::OtherDevice { expected: expected.clone(), actual: identity.device_id });
    }
    let mut report = VerifyReport {
        fingerprint: identity.device_id.fingerprint(),
        device: identity.device_id.clone(),
        device_name: identity.name.clone(),
        segments_count: 0,
        events_count: 0,
        last: None,
        checkpoints_count: 0,
        signed_up_to: None,
        unsigned_events_count: 0,
        problems: Vec::new(),
    };
    let mut signed = checkpoints(dir, &identity, &mut report)?;
    let mut differing = Vec::new();
    let walk = walk_journal(dir, &mut |position| {
        for (path, checkpoint) in signed.remove(&position.sequence).unwrap_or_default() {
            if checkpoint.position == *position {
                report.signed_up_to = Some(checkpoint);
            } else {
                differing.push(path);
            }
        }
    })?;
    report.segments_count = walk.segments.len() as u64;
    report.events_count = walk.events_count;
    for path in differing {
        report.problem(format!(
            "'{path}' was signed over another event than the one that stands there: history was changed"
        ));
    }
    if let Some(damage) = walk.damage {
        report.problem(format!("the journal is damaged in {damage}"));
    }
    let reached = walk.last.as_ref().map_or(0, |position| position.sequence);
    if let Some((sequence, _)) = signed.iter().next_back() {
        report.problem(format!(
            "event {sequence} was signed, and the journal ends at event {reached}: events are missing"
        ));
    }
    let up_to = report.signed_up_to.as_ref().map_or(0, |checkpoint| checkpoint.position.sequence);
    report.unsigned_events_count = reached.saturating_sub(up_to);
    report.last = walk.last;
    Ok(report)
}

type Signed = BTreeMap<u64, Vec<(String, Checkpoint)>>;

/// The checkpoints whose signatures hold, by the sequence of their event.
fn checkpoints(dir: &dyn Dir, identity: &Identity, report: &mut VerifyReport) -> Result<Signed, DirError> {
    let mut signed = Signed::new();
    for path in checkpoint::paths(dir)? {
        match checkpoint::read(dir, &path, identity) {
            Ok(checkpoint) => {
                report.checkpoints_count += 1;
                signed.entry(checkpoint.position.sequence).or_default().push((path, checkpoint));
            }
            Err(error) => report.problem(format!("'{path}': {}", chain(&error))),
        }
    }
    Ok(signed)
}
