//! A judgement in words: which rule passed, which did not, and what was looked at.

use serde::Deserialize;

use crate::app::report::JudgementReport;

/// The part of a verdict that is shown. A verdict itself can be written down but never read back.
#[derive(Deserialize)]
struct Shown {
    rules: Vec<ShownRule>,
    policy_digest: String,
}

#[derive(Deserialize)]
struct ShownRule {
    rule: String,
    outcome: String,
    reason: String,
    #[serde(default)]
    next_step: Option<String>,
    checks: Vec<ShownCheck>,
}

#[derive(Deserialize)]
struct ShownCheck {
    check: String,
    outcome: String,
    reason: String,
}

/// The judgement in one line, and what can be done about it.
pub fn line(judgement: &JudgementReport) -> String {
    match &judgement.refusal {
        None => "admitted\n".to_owned(),
        Some(refusal) => {
            let next = refusal.next_step.as_ref().map(|next| format!("next step: {next}\n")).unwrap_or_default();
            format!("refused: {refusal}\n{next}")
        }
    }
}

/// The judgement, a line for each rule and each check.
pub fn text(judgement: &JudgementReport) -> String {
    let mut text = match &judgement.refusal {
        None => "admitted\n".to_owned(),
        Some(refusal) => format!("refused: {refusal}\n"),
    };
    let verdict = judgement.verdict.as_ref().and_then(|verdict| Shown::deserialize(verdict).ok());
    let Some(verdict) = verdict else { return text };
    for rule in &verdict.rules {
        text.push_str(&format!("  rule '{}' {}: {}\n", rule.rule, rule.outcome, rule.reason));
        for check in &rule.checks {
            text.push_str(&format!("    {} {}: {}\n", check.check, check.outcome, check.reason));
        }
        if let Some(next_step) = &rule.next_step {
            text.push_str(&format!("    next step: {next_step}\n"));
        }
    }
    text.push_str(&format!("  policy {}\n", verdict.policy_digest));
    text
}
