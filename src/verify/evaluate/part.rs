//! What became of one part of a rule (its signature, or one of its attestations), and the words that both share.

use crate::oci::digest::Digest;
use crate::verify::examine::{About, Doubt, Finding, Maker};
use crate::verify::policy::attestor::{AttestorKind, AttestorMember, AttestorSet};
use crate::verify::verdict::{Action, Check, CheckResult, Outcome};

/// One part of a rule, judged.
pub struct Part {
    pub outcome: Outcome,
    pub reason: String,
    pub next_step: Option<String>,
    checks: Vec<CheckResult>,
}

/// Why one piece of evidence does not satisfy a part, and how much that tells: a refusal shows the greatest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    pub tells: u8,
    pub reason: String,
    pub next_step: Option<&'static str>,
}

impl Part {
    /// A part that evidence satisfies.
    pub const fn passed(reason: String, checks: Vec<CheckResult>) -> Self {
        Self { outcome: Outcome::Passed, reason, next_step: None, checks }
    }

    /// A part that nothing satisfies.
    pub fn failed(miss: Miss, checks: Vec<CheckResult>) -> Self {
        let next_step = miss.next_step.map(ToOwned::to_owned);
        Self { outcome: Outcome::Failed, reason: miss.reason, next_step, checks }
    }

    /// The checks, those that counted first. A failed check of a part that passed is only written down.
    pub fn into_checks(self) -> Vec<CheckResult> {
        let part = self.outcome;
        let mut checks = self.checks;
        for check in &mut checks {
            let excused = part == Outcome::Passed && check.outcome == Outcome::Failed;
            check.action = if excused { Action::Logged } else { Action::Enforced };
        }
        checks.sort_by_key(|check| check.outcome == Outcome::Failed);
        checks
    }
}

/// A check of `finding`.
pub fn check(finding: &Finding, check: Check, result: Result<String, String>) -> CheckResult {
    let (outcome, reason) = match result {
        Ok(reason) => (Outcome::Passed, reason),
        Err(reason) => (Outcome::Failed, reason),
    };
    CheckResult { check, action: Action::Enforced, outcome, reason, evidence_digest: Some(finding.document) }
}

/// Whether the evidence is whole and speaks of this image; who made it.
pub fn integrity(finding: &Finding) -> Result<&Maker, String> {
    match (&finding.maker, &finding.about) {
        (Err(doubt), _) => Err(doubt_text(doubt)),
        (Ok(_), About::Another(digest)) => Err(format!("it is about {}", another(*digest))),
        (Ok(maker), About::Target) => Ok(maker),
    }
}

/// What held of a maker's checks only because the level does not count it.
pub fn logged<'a>(finding: &'a Finding, maker: &'a Maker) -> impl Iterator<Item = CheckResult> + 'a {
    maker.logged.iter().map(|reason| check(finding, Check::Integrity, Err(format!("not enforced: {}", shown(reason)))))
}

/// A doubt in words.
pub fn doubt_text(doubt: &Doubt) -> String {
    shown(&doubt.to_string())
}

/// Another image in words.
pub fn another(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "no image that has a digest".to_owned(), |digest| format!("another image, '{digest}'"))
}

/// Names for a person: `key 'a'`, `2 of the keys 'a', 'b', 'c'`, or `one of key 'a', identity 'b'`.
pub fn wanted(set: &AttestorSet) -> String {
    if let ([only], 1) = (set.members.as_slice(), set.count) {
        return member(only);
    }
    let keys: Option<Vec<&str>> = set
        .members
        .iter()
        .map(|member| match member {
            AttestorMember::One(name) if name.kind == AttestorKind::Key => Some(name.name.as_str()),
            _ => None,
        })
        .collect();
    let count = match set.count {
        1 => "one".to_owned(),
        count => count.to_string(),
    };
    match keys {
        Some(keys) => format!("{count} of the keys {}", quoted(keys)),
        None => {
            const SHOWN_COUNT_MAX: usize = 5;
            let shown: Vec<String> = set.members.iter().take(SHOWN_COUNT_MAX).map(member).collect();
            format!("{count} of {}", shown.join(", "))
        }
    }
}

fn member(member: &AttestorMember) -> String {
    match member {
        AttestorMember::One(name) => format!("{} '{}'", name.kind.word(), name.name),
        AttestorMember::Set(set) => format!("({})", wanted(set)),
    }
}

/// A list for a person. Long lists are cut: a refusal is a sentence.
pub fn quoted<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    const SHOWN_COUNT_MAX: usize = 5;
    let mut texts: Vec<String> = items.into_iter().map(|item| format!("'{item}'")).collect();
    if texts.len() > SHOWN_COUNT_MAX {
        let left_over = texts.len() - SHOWN_COUNT_MAX;
        texts.truncate(SHOWN_COUNT_MAX);
        texts.push(format!("and {left_over} more"));
    }
    texts.join(", ")
}

/// Text out of somebody else's document as it may stand in a sentence.
pub fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    text.chars().take(CHARACTERS_MAX).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
