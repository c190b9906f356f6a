//! The outcome of an evaluation: each rule, what it looked at and why it passed or not.
//!
//! Made by [`mod@super::evaluate`] alone. It can be written down, but never read back: an old verdict opens nothing.

use jiff::Timestamp;
use serde::Serialize;

use super::refusal::Refusal;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;

/// Passed or not. There is nothing in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
}

/// What was checked. The first two are the Notary Project's words for it; `Condition` is what a rule asks of an
/// attestation beyond being genuine, `Content` what it asks of the image itself, `Rego` what a module of Rego says. Timestamps, expiry and revocation are not listed because a bare key has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The evidence is readable, whole, and speaks of the digest in question.
    Integrity,
    /// A key that the rule names made it.
    Authenticity,
    /// What the attestation says satisfies the rule.
    Condition,
    /// What the image itself holds satisfies the rule.
    Content,
    /// A module of Rego allows it.
    Rego,
}

/// What a failed check leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The rule counts on it.
    Enforced,
    /// Written down for whoever reads the verdict; other evidence satisfied the rule.
    Logged,
}

/// One check of one piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    pub check: Check,
    pub action: Action,
    pub outcome: Outcome,
    pub reason: String,
    /// Digest of the document that was checked; none where there was no document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_digest: Option<Digest>,
}

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleVerdict {
    pub rule: String,
    pub outcome: Outcome,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    pub checks: Vec<CheckResult>,
}

/// The outcome for one manifest in one repository under one policy at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) target: Digest,
    pub(super) repository: RepositoryName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) original: Option<RepositoryName>,
    pub(super) rules: Vec<RuleVerdict>,
    pub(super) policy_digest: Digest,
    pub(super) evidence_digests: Vec<Digest>,
    pub(super) time_used: Timestamp,
    /// The latest time that the evidence has proved: a log or a time stamp authority signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proved_time: Option<Timestamp>,
}

impl Verdict {
    /// Whether every rule passed.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The manifest that was judged.
    pub const fn target(&self) -> &Digest {
        &self.target
    }

    /// The name under which it is to be served here.
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// Every rule that had a say, in the policy's order.
    pub fn rules(&self) -> &[RuleVerdict] {
        &self.rules
    }

    /// Which policy decided: the SHA-256 of its file.
    pub const fn policy_digest(&self) -> &Digest {
        &self.policy_digest
    }

    /// Every document that was looked at.
    pub fn evidence_digests(&self) -> &[Digest] {
        &self.evidence_digests
    }

    /// The time that counted as now.
    pub const fn time_used(&self) -> Timestamp {
        self.time_used
    }

    /// The latest time that logs or time stamp authorities have signed in what was believed; none where nothing says when.
    /// It is foreign time: it has certainly been that late somewhere.
    pub const fn proved_time(&self) -> Option<Timestamp> {
        self.proved_time
    }

    /// The first rule that failed, as it is told to a person; `None` where all passed.
    pub fn refusal(&self) -> Option<Refusal> {
        self.rules.iter().find(|rule| rule.outcome == Outcome::Failed).map(|rule| Refusal {
            rule: rule.rule.clone(),
            reason: rule.reason.clone(),
            next_step: rule.next_step.clone(),
        })
    }
}
