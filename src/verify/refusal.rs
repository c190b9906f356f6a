//! What a person is told when something may not come in. It always names the rule.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The rule that was not satisfied, why, and what can be done about it.
///
/// Safe for the network: it holds names out of the policy and facts about the image, never paths or hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule's name in the policy, or one of the names in [`super::rule_names`].
    pub rule: String,
    /// One sentence without a full stop.
    pub reason: String,
    /// What would change the outcome, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule '{}': {}", self.rule, self.reason)
    }
}

impl std::error::Error for Refusal {}
