//! From rules and facts to a plan with a reason on every line. Pure.
//!
//! A signature or attestation is nothing in itself: whatever points at an image, by `subject` or by a cosign tag, stays
//! and goes with it. A manifest goes only when nothing that stays reaches it: no tag, no index, and no manifest that was
//! never tagged (somebody may pin its digest, so such a one is a root of its own).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rules::RetentionRule;
use crate::oci::digest::Digest;
use crate::oci::name::{RepositoryName, Tag};
use crate::oci::signature_tag;

/// What is known of one repository.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub tags: Vec<(Tag, Digest)>,
    pub manifests: Vec<ManifestFacts>,
}

/// What is known of one manifest.
#[derive(Clone, Debug)]
pub struct ManifestFacts {
    pub digest: Digest,
    pub subject: Option<Digest>,
    /// Manifests that it lists, when it is an index.
    pub children: Vec<Digest>,
}

/// What is to happen in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryPlan {
    pub repository: RepositoryName,
    /// The rules that speak of it.
    pub rules: Vec<String>,
    /// Tags first, then the manifests that the retired ones led to, parents before children.
    pub lines: Vec<PlanLine>,
}

/// One decision and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLine {
    pub action: Action,
    /// The tag, or nothing where the line is about a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    pub digest: Digest,
    pub reason: String,
}

/// What happens to a tag or manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Keep,
    Retire,
}

impl RepositoryPlan {
    /// The lines that change something.
    pub fn retired(&self) -> impl Iterator<Item = &PlanLine> {
        self.lines.iter().filter(|line| line.action == Action::Retire)
    }
}

/// The plan for one repository; `None` where no rule speaks of it.
pub fn plan(rules: &[RetentionRule], repository: &RepositoryName, facts: &Facts) -> Option<RepositoryPlan> {
    let rules: Vec<&RetentionRule> = rules.iter().filter(|rule| rule.matches(repository)).collect();
    if rules.is_empty() {
        return None;
    }
    let graph = Graph::new(facts);
    let mut lines = judge_ordinary_tags(&rules, facts);
    let led_to = graph.reach(lines.iter().filter(|line| line.action == Action::Retire).map(|line| (line.digest, "")));
    let held = graph.reach(roots(facts, &lines, &led_to));
    lines.extend(judge_signature_tags(facts, &graph, &led_to, &held));
    lines.extend(judge_manifests(&graph, &led_to, &held));
    Some(RepositoryPlan {
        repository: repository.clone(),
        rules: rules.iter().map(|rule| rule.name().to_owned()).collect(),
        lines,
    })
}

/// A tag stays when any rule keeps it.
fn judge_ordinary_tags(rules: &[&RetentionRule], facts: &Facts) -> Vec<PlanLine> {
    let ordinary: Vec<&(Tag, Digest)> =
        facts.tags.iter().filter(|(tag, _)| signature_tag::parse(tag).is_none()).collect();
    let verdicts: Vec<_> = rules.iter().map(|rule| rule.judge(ordinary.iter().map(|(tag, _)| tag))).collect();
    let mut lines = Vec::new();
    for (tag, digest) in ordinary {
        let said: Vec<_> = verdicts.iter().filter_map(|verdicts| verdicts.get(tag)).collect();
        let keep = said.iter().find(|verdict| verdict.keep);
        if let Some(verdict) = keep.or(said.last()) {
            let action = if verdict.keep { Action::Keep } else { Action::Retire };
            lines.push(PlanLine { action, tag: Some(tag.clone()), digest: *digest, reason: verdict.reason.clone() });
        }
    }
    lines
}

/// What stays for its own sake: kept tags, signatures of what is not here, and manifests that no retired tag leads to.
fn roots(facts: &Facts, lines: &[PlanLine], led_to: &BTreeMap<Digest, String>) -> Vec<(Digest, String)> {
    let here: BTreeSet<Digest> = facts.manifests.iter().map(|manifest| manifest.digest).collect();
    let kept = lines.iter().filter(|line| line.action == Action::Keep);
    let mut roots: Vec<(Digest, String)> =
        kept.filter_map(|line| Some((line.digest, format!("tag '{}'", line.tag.as_ref()?.as_str())))).collect();
    for (tag, digest) in &facts.tags {
        if signature_tag::parse(tag).is_some_and(|(subject, _)| !here.contains(&subject)) {
            roots.push((*digest, format!("tag '{}'", tag.as_str())));
        }
    }
    let aside = facts.manifests.iter().filter(|manifest| !led_to.contains_key(&manifest.digest));
    roots.extend(aside.map(|manifest| (manifest.digest, format!("manifest {}", manifest.digest))));
    roots
}

fn judge_signature_tags(
    facts: &Facts,
    graph: &Graph<'_>,
    led_to: &BTreeMap<Digest, String>,
    held: &BTreeMap<Digest, String>,
) -> Vec<PlanLine> {
    let mut lines = Vec::new();
    for (tag, digest) in &facts.tags {
        let Some((subject, _)) = signature_tag::parse(tag) else { continue };
        let goes = led_to.contains_key(&subject) && !held.contains_key(&subject);
        let (action, reason) = match goes {
            true => (Action::Retire, format!("follows {subject}, which goes")),
            false if graph.children.contains_key(&subject) => (Action::Keep, format!("follows {subject}, which stays")),
            false => (Action::Keep, format!("follows {subject}, which is not here")),
        };
        lines.push(PlanLine { action, tag: Some(tag.clone()), digest: *digest, reason });
    }
    lines
}

fn judge_manifests(
    graph: &Graph<'_>,
    led_to: &BTreeMap<Digest, String>,
    held: &BTreeMap<Digest, String>,
) -> Vec<PlanLine> {
    let mut lines = Vec::new();
    for digest in graph.parents_first(led_to) {
        let (action, reason) = match held.get(&digest) {
            Some(holder) => (Action::Keep, format!("still needed by {holder}")),
            None => (Action::Retire, "only retired tags led to it".to_owned()),
        };
        lines.push(PlanLine { action, tag: None, digest, reason });
    }
    lines
}

/// Who lists whom, and who follows whom.
struct Graph<'a> {
    children: BTreeMap<Digest, &'a [Digest]>,
    followers: BTreeMap<Digest, BTreeSet<Digest>>,
}

impl<'a> Graph<'a> {
    fn new(facts: &'a Facts) -> Self {
        let children = facts.manifests.iter().map(|manifest| (manifest.digest, manifest.children.as_slice())).collect();
        let mut followers: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        for manifest in &facts.manifests {
            if let Some(subject) = manifest.subject {
                followers.entry(subject).or_default().insert(manifest.digest);
            }
        }
        for (tag, digest) in &facts.tags {
            if let Some((subject, _)) = signature_tag::parse(tag) {
                followers.entry(subject).or_default().insert(*digest);
            }
        }
        Self { children, followers }
    }

    fn next(&self, digest: &Digest) -> impl Iterator<Item = Digest> {
        let children = self.children.get(digest).copied().unwrap_or_default();
        children.iter().chain(self.followers.get(digest).into_iter().flatten()).copied()
    }

    /// Everything here that the roots lead to, each with the root that was first to lead there.
    fn reach<S: Into<String>>(&self, roots: impl IntoIterator<Item = (Digest, S)>) -> BTreeMap<Digest, String> {
        let mut reached = BTreeMap::new();
        for (root, holder) in roots {
            let holder = holder.into();
            let mut waiting = vec![root];
            while let Some(digest) = waiting.pop() {
                if self.children.contains_key(&digest) && !reached.contains_key(&digest) {
                    reached.insert(digest, holder.clone());
                    waiting.extend(self.next(&digest));
                }
            }
        }
        reached
    }

    /// The given manifests, each before all that it leads to. Digests leave no room for a ring of indexes, but `subject`
    /// is not checked against one, so what cannot be ordered comes last.
    fn parents_first(&self, manifests: &BTreeMap<Digest, String>) -> Vec<Digest> {
        let mut led_by: BTreeMap<Digest, usize> = manifests.keys().map(|digest| (*digest, 0)).collect();
        for next in manifests.keys().flat_map(|digest| self.next(digest)) {
            led_by.entry(next).and_modify(|count| *count += 1);
        }
        let mut ready: Vec<Digest> =
            led_by.iter().filter(|(_, count)| **count == 0).map(|(digest, _)| *digest).collect();
        let mut ordered = Vec::with_capacity(manifests.len());
        while let Some(digest) = ready.pop() {
            led_by.remove(&digest);
            ordered.push(digest);
            for next in self.next(&digest) {
                if let Some(count) = led_by.get_mut(&next) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        led_by.remove(&next);
                        ready.push(next);
                    }
                }
            }
        }
        ordered.extend(led_by.into_keys());
        ordered
    }
}

#[cfg(test)]
mod tests;
