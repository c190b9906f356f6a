//! Rules: which tags of a repository stay. Pure.
//!
//! A rule only ever retires *versions*: tags that read as semantic versions, with or without a `v`. Any other tag stays,
//! because nothing about a name like `stable` says that a newer one replaced it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::oci::name::{RepositoryName, Tag};

/// A rule as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenRule {
    /// What the rule is called in plans and in the journal.
    pub name: String,
    /// Repositories it speaks of: `*` stays within one path component, `**` crosses them.
    pub repositories: Vec<String>,
    /// How many of the newest semantic versions stay; all of them where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_semver_newest: Option<u32>,
    /// Tags that stay whatever their version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_tags: Vec<String>,
}

/// A rule that can be asked.
#[derive(Clone, Debug)]
pub struct RetentionRule {
    written: WrittenRule,
    repositories: GlobSet,
    keep_tags: GlobSet,
}

/// Why a written rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    #[error("retention rule has no name")]
    NoName,
    #[error("retention rule '{0}' names no repositories: write repositories = [\"**\"] for all")]
    NoRepositories(String),
    #[error("retention rule '{rule}' would keep no version at all: keep_semver_newest is at least 1")]
    KeepsNothing { rule: String },
    #[error("retention rule '{rule}' holds the pattern '{pattern}', which cannot be read")]
    Pattern {
        rule: String,
        pattern: String,
        #[source]
        source: globset::Error,
    },
}

/// What a rule says of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagVerdict {
    pub keep: bool,
    pub reason: String,
}

impl RetentionRule {
    /// Checks a written rule.
    pub fn new(written: WrittenRule) -> Result<Self, RuleError> {
        if written.name.is_empty() {
            return Err(RuleError::NoName);
        }
        if written.repositories.is_empty() {
            return Err(RuleError::NoRepositories(written.name));
        }
        if written.keep_semver_newest == Some(0) {
            return Err(RuleError::KeepsNothing { rule: written.name });
        }
        let repositories = globs(&written.name, &written.repositories)?;
        let keep_tags = globs(&written.name, &written.keep_tags)?;
        Ok(Self { written, repositories, keep_tags })
    }

    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.written.name
    }

    /// The rule as it was written, for the journal.
    pub const fn written(&self) -> &WrittenRule {
        &self.written
    }

    /// Whether the rule speaks of this repository.
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        self.repositories.is_match(repository.as_str())
    }

    /// What the rule says of each of a repository's tags.
    pub fn judge<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) -> BTreeMap<&'a Tag, TagVerdict> {
        let versions: BTreeMap<&Tag, Option<Version>> = tags.into_iter().map(|tag| (tag, version(tag))).collect();
        let newest_first: BTreeSet<Reverse<&Version>> = versions.values().flatten().map(Reverse).collect();
        let place = |version: &Version| newest_first.range(..Reverse(version)).count() + 1;
        versions.iter().map(|(tag, version)| (*tag, self.judge_tag(tag, version.as_ref().map(place)))).collect()
    }

    /// `place` counts from 1, the newest version; a tag that is no version has none.
    fn judge_tag(&self, tag: &Tag, place: Option<usize>) -> TagVerdict {
        let rule = self.name();
        let (keep, reason) = match (place, self.written.keep_semver_newest) {
            _ if self.keep_tags.is_match(tag.as_str()) => (true, format!("rule '{rule}' keeps tags of this name")),
            (None, _) => (true, "not a semantic version, and only versions are retired".to_owned()),
            (Some(_), None) => (true, format!("rule '{rule}' keeps every version")),
            (Some(place), Some(count)) if place <= count as usize => {
                (true, format!("rule '{rule}' keeps the newest {count}, this is number {place}"))
            }
            (Some(place), Some(count)) => {
                (false, format!("rule '{rule}' keeps the newest {count}, this is number {place}"))
            }
        };
        TagVerdict { keep, reason }
    }
}

/// The semantic version that a tag names. `1.2` is a moving name, not a version.
fn version(tag: &Tag) -> Option<Version> {
    let text = tag.as_str();
    Version::parse(text.strip_prefix(['v', 'V']).unwrap_or(text)).ok()
}

fn globs(rule: &str, patterns: &[String]) -> Result<GlobSet, RuleError> {
    let wrong =
        |pattern: &str, source| RuleError::Pattern { rule: rule.to_owned(), pattern: pattern.to_owned(), source };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|source| wrong(pattern, source))?);
    }
    set.build().map_err(|source| wrong(&patterns.join(" "), source))
}

#[cfg(test)]
mod tests {
    use super::{RetentionRule, RuleError, WrittenRule};
    use crate::oci::name::Tag;

    fn rule(newest: Option<u32>, keep_tags: &[&str]) -> Result<RetentionRule, RuleError> {
        RetentionRule::new(WrittenRule {
            name: "few".into(),
            repositories: vec!["team/*".into()],
            keep_semver_newest: newest,
            keep_tags: keep_tags.iter().map(ToString::to_string).collect(),
        })
    }

    /// `tags` is what there is, `kept` what stays.
    fn check(newest: u32, keep_tags: &[&str], tags: &str, kept: &str) {
        let tags: Vec<Tag> = tags.split(' ').map(|tag| tag.parse().unwrap()).collect();
        let verdicts = rule(Some(newest), keep_tags).unwrap().judge(&tags);
        let found: Vec<&str> = tags.iter().filter(|tag| verdicts[tag].keep).map(Tag::as_str).collect();
        assert_eq!(found.join(" "), kept);
    }

    #[test]
    fn versions_are_ordered_as_semver_orders_them() {
        check(3, &[], "1.0.0 1.10.0 1.9.0 1.2.0 2.0.0", "1.10.0 1.9.0 2.0.0");
        check(2, &[], "v1.0.0 1.1.0 v1.2.0", "1.1.0 v1.2.0");
        check(2, &[], "2.0.0-rc.1 2.0.0-rc.10 2.0.0-rc.9 2.0.0", "2.0.0-rc.10 2.0.0");
    }

    #[test]
    fn two_names_of_one_version_go_or_stay_together() {
        check(1, &[], "1.0.0 v1.0.0 2.0.0 v2.0.0", "2.0.0 v2.0.0");
    }

    #[test]
    fn what_is_no_version_stays() {
        check(1, &[], "1.0.0 2.0.0 latest 1.2 v3 2026.01.01", "2.0.0 latest 1.2 v3 2026.01.01");
        check(1, &["1.0.*"], "1.0.0 1.0.1 1.1.0 2.0.0", "1.0.0 1.0.1 2.0.0");
    }

    #[test]
    fn a_star_stays_within_a_component() {
        let rule = rule(None, &[]).unwrap();
        assert!(rule.matches(&"team/app".parse().unwrap()));
        assert!(!rule.matches(&"team/app/part".parse().unwrap()));
        assert!(!rule.matches(&"x/team/app".parse().unwrap()));
    }

    #[test]
    fn refuses_rules_that_mean_nothing() {
        assert!(matches!(rule(Some(0), &[]), Err(RuleError::KeepsNothing { .. })));
        assert!(matches!(rule(None, &["["]), Err(RuleError::Pattern { .. })));
    }
}
