//! Kyverno's `ClusterPolicy` with `verifyImages`, read as a trust policy.
//!
//! What such a file says about images is taken; what it says about Kubernetes is either known to change nothing here, or
//! refused with its line. Nothing is passed over: a field that is not known, an operator, a form of identity that is not
//! verified here, all refuse the file. `docs/kyverno.md` has the whole mapping.

mod attestation;
mod attestor;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use globset::{GlobBuilder, GlobSetBuilder};

use self::attestor::Attestors;
use super::error::PolicyError;
use super::fields::{self, Fields, refuse};
use super::scope::Scopes;
use super::trust::Trust;
use super::{DefaultAction, Rule, SignatureRule, TrustPolicy};
use crate::limits::POLICY_RULES_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::verify::sigstore::TrustedRoot;
use crate::verify::yaml::{self, Node};

/// The root that stands for the address of a transparency log; `None` where none here does. Nothing is ever dialled.
pub type Roots<'a> = &'a dyn Fn(&str) -> Option<Arc<TrustedRoot>>;

/// The log of the public-good instance.
const PUBLIC_GOOD: &str = "https://rekor.sigstore.dev";

/// The roots that this release brings.
pub fn bundled_roots(address: &str) -> Option<Arc<TrustedRoot>> {
    if address != PUBLIC_GOOD {
        return None;
    }
    TrustedRoot::public_good().ok().map(Arc::new)
}

/// Whether a policy file is one of Kubernetes' documents and not TOML.
pub fn is_kubernetes_document(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.find(|line| *line != "---").is_some_and(|line| line.starts_with("apiVersion:") || line.starts_with("kind:"))
}

/// Parses a `ClusterPolicy`. An image for which it has no rule is denied, as with every policy here.
pub fn parse(bytes: &[u8], roots: Roots<'_>) -> Result<TrustPolicy, PolicyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::NotText)?;
    let document = yaml::parse(text).or_else(|error| refuse(error.line, &error.reason))?;
    let top = Fields::of(&document, "the document")?;
    top.allow_only(&["apiVersion", "kind", "metadata", "spec"])?;
    top.expect("apiVersion", &["kyverno.io/v1", "kyverno.io/v2beta1"])?;
    top.expect("kind", &["ClusterPolicy"])?;
    let metadata = Fields::of(top.required("metadata")?, "metadata")?;
    metadata.allow_only(&["name", "annotations", "labels"])?;
    let policy_name = metadata.text("name")?;
    let spec = Fields::of(top.required("spec")?, "spec")?;
    // Those without a meaning here say when and how Kyverno itself acts.
    spec.allow_only(&[
        "validationFailureAction",
        "rules",
        "background",
        "webhookTimeoutSeconds",
        "webhookConfiguration",
        "failurePolicy",
    ])?;
    enforces(&spec, "validationFailureAction")?;
    let mut trust = Trust::default();
    let mut rules = Vec::new();
    for rule in spec.list("rules")? {
        let rule = Fields::of(rule, "a rule")?;
        rule.allow_only(&["name", "match", "verifyImages"])?;
        let name = format!("{policy_name}/{}", rule.text("name")?);
        check_match(rule.required("match")?)?;
        let images = rule.list("verifyImages")?;
        for (number, entry) in (1..).zip(images) {
            let name = if images.len() == 1 { name.clone() } else { format!("{name} {number}") };
            if rules.len() == POLICY_RULES_COUNT_MAX {
                return refuse(entry.line, "there are more rules than are read");
            }
            rules.push(verify_images(entry, name, &mut trust, roots)?);
        }
    }
    if rules.is_empty() {
        return refuse(spec.line, "the policy verifies no images: a rule needs 'verifyImages'");
    }
    Ok(TrustPolicy::of(Digest::of(bytes), DefaultAction::Deny, trust, rules))
}

fn enforces(fields: &Fields<'_>, key: &'static str) -> Result<(), PolicyError> {
    match fields.optional_text(key)? {
        None => Ok(()),
        Some(text) if text.eq_ignore_ascii_case("enforce") => Ok(()),
        Some(_) => fields.refuse_at(key, "only Enforce is taken: what audits would let everything in"),
    }
}

/// Pods are what images run in; anything narrower is about namespaces and names that a registry does not know.
fn check_match(node: &Node) -> Result<(), PolicyError> {
    let fields = Fields::of(node, "match")?;
    fields.allow_only(&["any", "all"])?;
    let mut pods = false;
    for key in ["any", "all"] {
        for one in fields.optional_list(key)? {
            let one = Fields::of(one, "match")?;
            one.allow_only(&["resources"])?;
            let resources = Fields::of(one.required("resources")?, "resources")?;
            resources.allow_only(&["kinds"])?;
            for kind in resources.list("kinds")? {
                pods |= fields::scalar(kind, "a kind")? == "Pod";
            }
        }
    }
    if pods { Ok(()) } else { refuse(node.line, "the rule is not about Pods, so it says nothing about images") }
}

fn verify_images(node: &Node, name: String, trust: &mut Trust, roots: Roots<'_>) -> Result<Rule, PolicyError> {
    let fields = Fields::of(node, "verifyImages")?;
    fields.allow_only(&[
        "imageReferences",
        "attestors",
        "attestations",
        "type",
        "failureAction",
        "mutateDigest",
        "verifyDigest",
        "required",
        "useCache",
    ])?;
    enforces(&fields, "failureAction")?;
    if let Some(kind) = fields.optional_text("type")?
        && !["Cosign", "SigstoreBundle"].contains(&kind)
    {
        return fields.refuse_at("type", "of types Cosign and SigstoreBundle are read; Notary's are written in TOML");
    }
    for key in ["mutateDigest", "verifyDigest", "required", "useCache"] {
        // A digest is always what is judged, and always required: only that can be said.
        let means_less = matches!(key, "verifyDigest" | "required") && fields.optional_text(key)? == Some("false");
        if means_less {
            return fields.refuse_at(key, "false would let images in that were not verified");
        }
    }
    let mut attestors = Attestors { rule: &name, trust, roots };
    let set = match fields.optional_list("attestors")? {
        [] => None,
        listed => Some(attestors.all_of(listed)?),
    };
    let mut attestations = Vec::new();
    for attestation in fields.optional_list("attestations")? {
        attestations.push(attestation::parse(attestation, set.as_ref(), &mut attestors)?);
    }
    if set.is_none() && attestations.is_empty() {
        return refuse(node.line, "nobody is named who must have signed: give 'attestors' or 'attestations'");
    }
    Ok(Rule {
        scopes: scopes(&fields)?,
        outright: None,
        signature: set.map(|attestors| SignatureRule { attestors, identity: None }),
        attestations,
        content: None,
        rego: None,
        name,
    })
}

/// References in which `*` stands for any text. A tag in one would let other tags of the image through.
fn scopes(fields: &Fields<'_>) -> Result<Scopes, PolicyError> {
    let mut set = GlobSetBuilder::new();
    for node in fields.list("imageReferences")? {
        let written = fields::scalar(node, "an image reference")?;
        if written.contains(['[', ']', '{', '}', '!', '\\', '@']) {
            return refuse(node.line, "of patterns in image references * and ? are read, and no digests");
        }
        let last = written.rsplit('/').next().unwrap_or(written);
        let repository = match last.split_once(':') {
            Some((_, "*")) => written.strip_suffix(":*").unwrap_or(written),
            Some(_) => return refuse(node.line, "a tag stands in the image reference: a rule is about all tags"),
            None => written,
        };
        let glob = GlobBuilder::new(repository).literal_separator(false).build();
        set.add(glob.or_else(|error| refuse(node.line, &error.kind().to_string()))?);
    }
    let patterns = set.build().or_else(|error| refuse(fields.line, &error.kind().to_string()))?;
    Ok(Scopes::Patterns(patterns))
}
