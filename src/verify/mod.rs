//! Verification and trust policy. Pure: policy, evidence and time come in, a verdict goes out.
//!
//! Never here: a clock, I/O, async, logging, a global. [`admitted::Admitted`] is the only thing that opens the store,
//! and a [`verdict::Verdict`] that passed is the only thing that makes one.

pub mod admitted;
pub mod artifact;
pub mod condition;
pub mod content;
pub mod cosign_legacy;
pub mod evaluate;
pub mod evidence;
mod examine;
pub mod identity_rule;
pub mod key;
pub mod located_json;
mod maker;
pub mod notation;
pub mod pattern;
pub mod policy;
pub mod refusal;
pub mod scheme;
pub mod sigstore;
pub mod slsa;
pub mod statement;
pub mod strict_json;
#[cfg(test)]
pub(crate) mod test_keys;
pub mod timestamp;
pub mod tuf;
pub mod verdict;
pub mod x509;
pub mod yaml;

pub use admitted::{Admitted, NotCovered, check_companion, has_artifact_config};
pub use evaluate::{Question, evaluate};
pub use evidence::{Evidence, EvidenceContent, EvidenceItem, NotationForm};
pub use policy::{Denial, Denied, PolicyError, TrustPolicy};
pub use refusal::Refusal;
pub use verdict::{Action, Check, CheckResult, Outcome, RuleVerdict, Verdict};

/// Rules that no policy file names, but that a verdict can.
pub mod rule_names {
    /// No rule of the policy matches, and its default is to deny.
    pub const DEFAULT: &str = "default";
    /// The deny list names it.
    pub const DENY_LIST: &str = "deny-list";
    /// There is more evidence than is looked at.
    pub const EVIDENCE_LIMIT: &str = "evidence-limit";
    /// What was offered is not what was judged.
    pub const INTEGRITY: &str = "integrity";
    /// The policy in force cannot be read.
    pub const POLICY_UNREADABLE: &str = "policy-unreadable";
    /// All of them: no rule of a policy may be called so.
    pub const ALL: [&str; 5] = [DEFAULT, DENY_LIST, EVIDENCE_LIMIT, INTEGRITY, POLICY_UNREADABLE];
    /// Those that no project lets pass, whatever it does with rules.
    pub const ABOVE_PROJECTS: [&str; 3] = [DENY_LIST, INTEGRITY, POLICY_UNREADABLE];
}
