//! Binary Authorization's policy in YAML, as Google Cloud exports it, read as rules of a trust policy.
//!
//! Its attestors are names in a cloud. Whose keys they stand for is said in TOML around it, so that one file and its digest
//! hold all that decides. What says less than it seems to (trial runs, rules for clusters that a registry does not know,
//! images that only the cloud can list) is refused with its line. `docs/binary-authorization.md` has the whole mapping.

mod admission_rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use self::admission_rule::AdmissionRule;
use super::document::{At, Table, shortened};
use super::error::{PolicyError, Problem, nearest};
use super::fields::{Fields, refuse};
use super::rule::Rule;
use super::scope::{Scope, Scopes};
use super::trust::Trust;
use super::{DefaultAction, TrustPolicy};
use crate::oci::digest::Digest;
use crate::verify::yaml;

/// What such a document begins with.
const FIELDS: [&str; 11] = [
    "name",
    "description",
    "etag",
    "updateTime",
    "globalPolicyEvaluationMode",
    "admissionWhitelistPatterns",
    "defaultAdmissionRule",
    "clusterAdmissionRules",
    "kubernetesNamespaceAdmissionRules",
    "kubernetesServiceAccountAdmissionRules",
    "istioServiceIdentityAdmissionRules",
];

/// Rules about what a registry does not know.
const RULES_ELSEWHERE: [&str; 3] = [
    "kubernetesNamespaceAdmissionRules",
    "kubernetesServiceAccountAdmissionRules",
    "istioServiceIdentityAdmissionRules",
];

/// `[binary_authorization]`, as it is written.
#[derive(Debug)]
pub struct WrittenBinaryAuthorization {
    /// The document, and the line on which it begins.
    policy: At<String>,
    /// The cluster whose rule counts.
    cluster: Option<At<String>>,
    /// Names of keys for each attestor.
    attestors: Vec<(String, At<Vec<String>>)>,
}

/// Reads `[binary_authorization]`.
pub fn read(top: &Table<'_>) -> Result<Option<WrittenBinaryAuthorization>, PolicyError> {
    let Some(table) = top.table("binary_authorization", "binary_authorization")? else { return Ok(None) };
    table.allow_only(&["policy", "cluster", "attestors"])?;
    if let Some(default) = top.text("default")? {
        let reason = "'default' stands beside [binary_authorization], whose defaultAdmissionRule says it".to_owned();
        return default.refuse(Problem::Foreign(reason));
    }
    let attestors = match table.table("attestors", "binary_authorization, attestors")? {
        Some(attestors) => attestors.all_lists()?,
        None => Vec::new(),
    };
    let policy = table.required_block("policy")?;
    Ok(Some(WrittenBinaryAuthorization { policy, cluster: table.text("cluster")?, attestors }))
}

/// Whether a policy file is such a document by itself.
pub fn is_document(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.find(|line| *line != "---").and_then(|line| line.split_once(':'));
    first.is_some_and(|(key, _)| FIELDS.contains(&key))
}

/// Parses a document that stands by itself: it can name no attestors, for nobody says whose keys they are.
pub fn parse(bytes: &[u8]) -> Result<TrustPolicy, PolicyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::NotText)?;
    let rules = Document { attestors: None, cluster: None }.rules(text)?;
    Ok(TrustPolicy::of(Digest::of(bytes), DefaultAction::Deny, Trust::default(), rules))
}

/// The rules of `[binary_authorization]`, whose lines are those of the whole file.
pub fn rules(written: &WrittenBinaryAuthorization, trust: &Trust) -> Result<Vec<Rule>, PolicyError> {
    let mut attestors = BTreeMap::new();
    for (name, keys) in &written.attestors {
        for key in &keys.value {
            if !trust.keys.contains_key(key) {
                let nearest = nearest(key, trust.keys.keys().map(String::as_str));
                let table = format!("attestor '{}'", shortened(name));
                return keys.refuse(Problem::NoSuchKey { name: shortened(key), table, nearest });
            }
        }
        attestors.insert(name.as_str(), keys.value.as_slice());
    }
    let cluster = written.cluster.as_ref().map(|cluster| cluster.value.as_str());
    let document = Document { attestors: Some(attestors), cluster };
    document.rules(&written.policy.value).map_err(|error| match error {
        PolicyError::At { line, problem } => PolicyError::At { line: written.policy.line + line - 1, problem },
        other => other,
    })
}

struct Document<'a> {
    /// The keys of each attestor; `None` where nobody says whose they are.
    attestors: Option<BTreeMap<&'a str, &'a [String]>>,
    cluster: Option<&'a str>,
}

impl Document<'_> {
    fn rules(&self, text: &str) -> Result<Vec<Rule>, PolicyError> {
        let document = yaml::parse(text).or_else(|error| refuse(error.line, &error.reason))?;
        let top = Fields::of(&document, "the document")?;
        top.allow_only(&FIELDS)?;
        if top.optional_text("globalPolicyEvaluationMode")?.is_some_and(|mode| mode != "DISABLE") {
            let reason = "which images Google counts as its own is not known here: write DISABLE, and name those that are \
                          meant under admissionWhitelistPatterns";
            return top.refuse_at("globalPolicyEvaluationMode", reason);
        }
        for key in RULES_ELSEWHERE {
            if !top.optional_map(key)?.is_empty() {
                return top
                    .refuse_at(key, "a registry knows no namespaces, accounts and services: only images and names");
            }
        }
        let (name, node) = match self.cluster_rule(&top)? {
            Some(found) => found,
            None => ("defaultAdmissionRule".to_owned(), top.required("defaultAdmissionRule")?),
        };
        // The default is read in any case: what is written must be right.
        AdmissionRule::parse(top.required("defaultAdmissionRule")?, self.attestors.as_ref())?;
        let AdmissionRule { outright, signature } = AdmissionRule::parse(node, self.attestors.as_ref())?;
        let mut rules = Vec::new();
        if let Some(patterns) = exempt(&top)? {
            let scopes = Scopes::Closest(Scope::Exempt(patterns));
            let name = "admissionWhitelistPatterns".to_owned();
            let outright = Some(DefaultAction::Admit);
            rules.push(Rule {
                name,
                scopes,
                outright,
                signature: None,
                attestations: Vec::new(),
                content: None,
                rego: None,
            });
        }
        let scopes = Scopes::Closest(Scope::Everything);
        rules.push(Rule { name, scopes, outright, signature, attestations: Vec::new(), content: None, rego: None });
        Ok(rules)
    }

    /// The rule of the cluster that is meant, if there is one for it.
    fn cluster_rule<'b>(&self, top: &Fields<'b>) -> Result<Option<(String, &'b yaml::Node)>, PolicyError> {
        let clusters = top.optional_map("clusterAdmissionRules")?;
        let Some(cluster) = self.cluster else {
            return match clusters.first() {
                None => Ok(None),
                Some(first) => {
                    let reason = format!(
                        "a registry does not know which cluster asks: say which one this is for, as 'cluster = \"{}\"' in \
                         [binary_authorization]",
                        shortened(&first.key)
                    );
                    refuse(first.line, &reason)
                }
            };
        };
        for entry in clusters {
            AdmissionRule::parse(&entry.node, self.attestors.as_ref())?;
        }
        let found = clusters.iter().find(|entry| entry.key == cluster);
        Ok(found.map(|entry| (format!("clusterAdmissionRules {}", shortened(&entry.key)), &entry.node)))
    }
}

/// The images that are asked for nothing. A pattern ends in `*` or, behind a slash, in `**`, which crosses slashes.
fn exempt(top: &Fields<'_>) -> Result<Option<GlobSet>, PolicyError> {
    let listed = top.optional_list("admissionWhitelistPatterns")?;
    let mut set = GlobSetBuilder::new();
    for node in listed {
        let fields = Fields::of(node, "a pattern")?;
        fields.allow_only(&["namePattern"])?;
        let written = fields.text("namePattern")?;
        let pattern = match written.strip_suffix(":*") {
            Some(repository) if !repository.contains('*') => repository,
            _ => written,
        };
        let stem = pattern.strip_suffix("/**").or_else(|| pattern.strip_suffix('*')).unwrap_or(pattern);
        if stem.contains([':', '@']) {
            let reason = "a tag or a digest stands in it, and an exemption here is one of a whole repository";
            return fields.refuse_at("namePattern", reason);
        }
        if pattern == written && stem == pattern {
            let reason = "an exemption here is one of a whole repository, and this is one of an image without a tag: write \
                          ':*' behind it where all of its tags are meant";
            return fields.refuse_at("namePattern", reason);
        }
        let is_known = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._-/".contains(letter);
        if !stem.chars().all(is_known) {
            return fields.refuse_at("namePattern", "'*' stands at its end, or '**' behind a slash, and nowhere else");
        }
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.or_else(|error| fields.refuse_at("namePattern", &error.kind().to_string()))?);
    }
    let set = set.build().or_else(|error| refuse(top.line, &error.kind().to_string()))?;
    Ok(Some(set).filter(|_| !listed.is_empty()))
}
