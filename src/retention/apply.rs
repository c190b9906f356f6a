//! Takes a plan from the store's records and a plan to the journal. Nothing is unlinked here; `sweep` does that.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::plan::{Facts, ManifestFacts, RepositoryPlan, plan};
use super::rules::{RetentionRule, RuleError, WrittenRule};
use crate::limits::LISTING_ENTRIES_COUNT_MAX;
use crate::oci::name::RepositoryName;
use crate::store::{Change, CommitError, LeaseHeld, Position, PrincipalRef, Store, StoreError, Transaction};

/// What is to happen in every repository that a rule speaks of, and the rules that said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPlan {
    pub rules: Vec<WrittenRule>,
    pub repositories: Vec<RepositoryPlan>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionReport {
    pub tags_removed: u64,
    pub manifests_removed: u64,
    /// Where the journal stands; nothing where there was nothing to do.
    pub position: Option<Position>,
}

/// Why a plan was not made or not applied. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("a repository is busy")]
    Busy(#[from] LeaseHeld),
    #[error("'{0}' has changed since the plan was made: plan again and look at it again")]
    Changed(RepositoryName),
    #[error("a rule of the plan cannot be used")]
    Rule(#[from] RuleError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("the plan was not committed")]
    Commit(#[from] CommitError),
}

/// Makes a plan for all repositories that `rules` speak of. Changes nothing.
pub fn plan_all(store: &Store, rules: &[RetentionRule]) -> Result<RetentionPlan, RetentionError> {
    let mut repositories = Vec::new();
    let mut after = None;
    loop {
        let page = store.repositories(after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
        for repository in &page {
            if rules.iter().any(|rule| rule.matches(repository)) {
                repositories.extend(plan(rules, repository, &facts(store, repository)?));
            }
        }
        if page.len() < LISTING_ENTRIES_COUNT_MAX {
            break;
        }
        after = page.last().cloned();
    }
    Ok(RetentionPlan { rules: rules.iter().map(|rule| rule.written().clone()).collect(), repositories })
}

/// Does what `agreed` says, as one transaction, if every repository in it is still as it was when the plan was made.
pub fn apply(
    store: &Store,
    agreed: &RetentionPlan,
    principal: PrincipalRef,
) -> Result<RetentionReport, RetentionError> {
    let rules = agreed.rules.iter().cloned().map(RetentionRule::new).collect::<Result<Vec<_>, _>>()?;
    let acting: Vec<&RepositoryPlan> =
        agreed.repositories.iter().filter(|plan| plan.retired().next().is_some()).collect();
    let names: Vec<RepositoryName> = acting.iter().map(|plan| plan.repository.clone()).collect();
    let _lease = store.lease(&names, "retention")?;
    for agreed in &acting {
        let now = plan(&rules, &agreed.repository, &facts(store, &agreed.repository)?);
        if now.as_ref() != Some(*agreed) {
            return Err(RetentionError::Changed(agreed.repository.clone()));
        }
    }
    let mut report = RetentionReport { tags_removed: 0, manifests_removed: 0, position: None };
    if acting.is_empty() {
        return Ok(report);
    }
    let mut changes = record_of_rules(&agreed.rules, &acting);
    for plan in acting {
        for line in plan.retired() {
            let (repository, reason) = (plan.repository.clone(), line.reason.clone());
            changes.push(if let Some(tag) = line.tag.clone() {
                report.tags_removed += 1;
                // A push that moved it since the plan was made takes no lease.
                Change::RemoveTag { repository, tag, expected: Some(line.digest), reason }
            } else {
                report.manifests_removed += 1;
                Change::RemoveManifest { repository, digest: line.digest, reason }
            });
        }
    }
    report.position = Some(store.commit(Transaction::new(principal, changes))?);
    Ok(report)
}

/// One event for each rule that took part, with the values it held, so that the journal explains itself later.
fn record_of_rules(rules: &[WrittenRule], acting: &[&RepositoryPlan]) -> Vec<Change> {
    let used: BTreeSet<&str> = acting.iter().flat_map(|plan| plan.rules.iter().map(String::as_str)).collect();
    let used = rules.iter().filter(|rule| used.contains(rule.name.as_str()));
    used.map(|rule| Change::ApplyRetention {
        rule: rule.name.clone(),
        values: serde_json::to_value(rule).expect("strings, lists and numbers always serialise"),
    })
    .collect()
}

/// Reads from the store what a plan for `repository` needs to know.
fn facts(store: &Store, repository: &RepositoryName) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    let mut after = None;
    loop {
        let page = store.tags(repository, after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
        let is_last = page.len() < LISTING_ENTRIES_COUNT_MAX;
        after = page.last().map(|(tag, _)| tag.clone());
        facts.tags.extend(page);
        if is_last {
            break;
        }
    }
    let mut after = None;
    loop {
        let page = store.manifests(repository, after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
        let is_last = page.len() < LISTING_ENTRIES_COUNT_MAX;
        after = page.last().map(|manifest| manifest.digest);
        for manifest in page {
            let children = store.children(repository, &manifest.digest)?;
            facts.manifests.push(ManifestFacts {
                digest: manifest.digest,
                subject: manifest.subject,
                children: children.into_iter().map(|child| child.digest).collect(),
            });
        }
        if is_last {
            break;
        }
    }
    Ok(facts)
}
