//! The receipt: what the receiver of a set signs about it. It goes back to the sender, closes the transfer, and tells an
//! auditor what came in, under which policy, and what was refused and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::format::canonical::{self, CanonicalError};
use super::format::volume::SetId;
use crate::device_id::DeviceId;
use crate::dsse::{Envelope, EnvelopeError};
use crate::enrolment::{self, EnrolmentError};
use crate::limits::RECEIPT_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::{RepositoryName, Tag};
use crate::store::{DeviceRole, Position, Store};
use crate::sys::dir::{DirError, read_bounded, replace};
use crate::sys::identity::SUITE;
use crate::sys::keys::{IDENTITY_DIR, Identity, KeyError, KeyRing, Purpose, RECEIPT_TYPE, StatementError};
use crate::verify::{Outcome, Refusal, Verdict, rule_names};

const RECEIPT_VERSION: u32 = 1;
/// Where receipts are kept.
pub const RECEIPTS_DIR: &str = "identity/receipts";
const _: () = assert!(IDENTITY_DIR.len() < RECEIPTS_DIR.len());

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    version: u32,
    suite: String,
    pub set: SetId,
    pub sender: DeviceId,
    pub receiver: DeviceId,
    pub series: String,
    pub sequence: u64,
    /// How many volumes the set has.
    pub volumes: u16,
    pub table_digest: Digest,
    /// The policy that judged.
    pub policy_digest: Digest,
    pub admitted: Vec<AdmittedEntry>,
    pub refused: Vec<RefusedEntry>,
    /// The receiver's journal right after the import.
    pub position: Position,
    /// The time that counted as now at the receiver.
    pub time: Timestamp,
}

/// An image that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmittedEntry {
    pub repository: RepositoryName,
    pub tags: Vec<Tag>,
    pub digest: Digest,
    /// Manifests that came in with it, itself included.
    pub manifests: u64,
    /// Every rule that passed, with its reason.
    pub rules: Vec<RuleSummary>,
    pub evidence_digests: Vec<Digest>,
    /// The rule that refuses it, where its project does not enforce the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unenforced: Option<RuleSummary>,
}

/// What one rule said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSummary {
    pub rule: String,
    pub reason: String,
}

/// An image that did not come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedEntry {
    pub repository: RepositoryName,
    pub tags: Vec<Tag>,
    pub digest: Digest,
    pub rule: String,
    pub reason: String,
    pub next_step: Option<String>,
}

/// Why bytes are not a receipt to go by.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    #[error("receipt is not a signed envelope: take the file that the import wrote")]
    Envelope(#[source] EnvelopeError),
    #[error("receipt's statement is not readable by this version")]
    Statement(#[source] CanonicalError),
    #[error("receipt has version {version} and suite '{suite}', this version reads {RECEIPT_VERSION} and '{SUITE}'")]
    Version { version: u32, suite: String },
    #[error(
        "receipt names device '{}', which is not enrolled here as a receiver: enrol it with 'postern enroll add --role \
         receiver'",
        .0.fingerprint()
    )]
    UnknownReceiver(DeviceId),
    #[error("receipt is not by the device that it names: it was changed, or made by somebody else")]
    Signature(#[source] StatementError),
    #[error("the receiver cannot be looked up")]
    Enrolment(#[from] EnrolmentError),
    #[error("receipt cannot be signed")]
    Key(#[from] KeyError),
    #[error("receipt cannot be kept")]
    Dir(#[from] DirError),
}

/// A receipt and the signed file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    pub receipt: Receipt,
    pub file: Vec<u8>,
}

/// What the seal and the policy say about a set, for its receipt.
pub(super) struct Circumstances {
    pub set: SetId,
    pub sender: DeviceId,
    pub receiver: DeviceId,
    pub series: String,
    pub sequence: u64,
    pub volumes: u16,
    pub table_digest: Digest,
    pub policy_digest: Digest,
    pub time: Timestamp,
}

impl Receipt {
    pub(super) fn new(about: Circumstances, position: Position) -> Self {
        Self {
            version: RECEIPT_VERSION,
            suite: SUITE.to_owned(),
            set: about.set,
            sender: about.sender,
            receiver: about.receiver,
            series: about.series,
            sequence: about.sequence,
            volumes: about.volumes,
            table_digest: about.table_digest,
            policy_digest: about.policy_digest,
            admitted: Vec::new(),
            refused: Vec::new(),
            position,
            time: about.time,
        }
    }

    fn parse_statement(statement: &[u8]) -> Result<Self, ReceiptError> {
        let receipt: Self = canonical::parse(statement, RECEIPT_BYTES_MAX).map_err(ReceiptError::Statement)?;
        if receipt.version != RECEIPT_VERSION || receipt.suite != SUITE {
            let suite = receipt.suite.chars().take(40).collect();
            return Err(ReceiptError::Version { version: receipt.version, suite });
        }
        Ok(receipt)
    }

    /// The text of a receipt that is not signed yet.
    pub(super) fn to_draft(&self) -> Vec<u8> {
        canonical::to_bytes(self)
    }

    /// Reads [`Receipt::to_draft`] back; `None` where a crash has torn it.
    pub(super) fn parse_draft(draft: &[u8]) -> Option<Self> {
        Self::parse_statement(draft).ok()
    }

    /// The receiver that a receipt names, before anything is proved.
    pub fn claimed_receiver(file: &[u8]) -> Result<DeviceId, ReceiptError> {
        let envelope = Envelope::parse(file, RECEIPT_BYTES_MAX).map_err(ReceiptError::Envelope)?;
        Ok(Self::parse_statement(&envelope.payload)?.receiver)
    }

    /// Parses a receipt that `receiver` has signed.
    pub fn parse_and_verify(file: &[u8], receiver: &Identity) -> Result<Self, ReceiptError> {
        let envelope = Envelope::parse(file, RECEIPT_BYTES_MAX).map_err(ReceiptError::Envelope)?;
        let statement = receiver.verify(Purpose::Receipt, &envelope, RECEIPT_TYPE).map_err(ReceiptError::Signature)?;
        let receipt = Self::parse_statement(statement)?;
        if receipt.receiver != receiver.device_id {
            return Err(ReceiptError::UnknownReceiver(receipt.receiver));
        }
        Ok(receipt)
    }

    /// Signs and keeps it.
    pub(super) fn keep(self, store: &Store, keys: &KeyRing) -> Result<SignedReceipt, ReceiptError> {
        let file = keys.sign(Purpose::Receipt, RECEIPT_TYPE, canonical::to_bytes(&self))?.to_json();
        let dir = store.dir().as_ref();
        dir.create_dir_all(RECEIPTS_DIR)?;
        replace(dir, &path(&self.set), &file)?;
        dir.sync_dir(IDENTITY_DIR)?;
        Ok(SignedReceipt { receipt: self, file })
    }

    /// The receipt that this device has kept for a set.
    pub fn kept(store: &Store, keys: &KeyRing, set: &SetId) -> Result<Option<SignedReceipt>, ReceiptError> {
        if store.dir().stat(&path(set))?.is_none() {
            return Ok(None);
        }
        let file = read_bounded(store.dir().as_ref(), &path(set), RECEIPT_BYTES_MAX)?;
        let receipt = Self::parse_and_verify(&file, keys.identity())?;
        Ok(Some(SignedReceipt { receipt, file }))
    }
}

/// Where the receipt of a set is kept.
pub fn path(set: &SetId) -> String {
    format!("{RECEIPTS_DIR}/{set}.json")
}

/// Reads a receipt that came back from a receiver enrolled here, or one of this device's own.
pub fn read(store: &Store, keys: &KeyRing, file: &[u8]) -> Result<Receipt, ReceiptError> {
    let claimed = Receipt::claimed_receiver(file)?;
    if claimed == *keys.device_id() {
        return Receipt::parse_and_verify(file, keys.identity());
    }
    let receiver = enrolment::find(store, &claimed, DeviceRole::Receiver)?;
    Receipt::parse_and_verify(file, &receiver.ok_or(ReceiptError::UnknownReceiver(claimed))?)
}

impl RuleSummary {
    /// What the first rule that refuses said.
    pub(super) fn of_refusal(verdict: &Verdict) -> Option<Self> {
        verdict.refusal().map(|refusal| Self { rule: refusal.rule, reason: refusal.reason })
    }

    /// What every rule of a verdict said.
    pub(super) fn of(verdict: &Verdict) -> Vec<Self> {
        let passed = verdict.rules().iter().filter(|rule| rule.outcome == Outcome::Passed);
        passed.map(|rule| Self { rule: rule.rule.clone(), reason: rule.reason.clone() }).collect()
    }
}

impl RefusedEntry {
    /// Whether a rule of the policy refused it, and not the deny list or damage.
    pub(super) fn is_by_policy(&self) -> bool {
        !rule_names::ABOVE_PROJECTS.contains(&&*self.rule)
    }

    pub(super) fn new(repository: RepositoryName, tags: Vec<Tag>, digest: Digest, refusal: &Refusal) -> Self {
        let Refusal { rule, reason, next_step } = refusal.clone();
        Self { repository, tags, digest, rule, reason, next_step }
    }
}
