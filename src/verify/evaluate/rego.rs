//! A module of Rego asked about one image. What it is shown has been verified: it sees no signature that does not count.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Question;
use super::part::{Miss, Part, shown};
use crate::oci::name::{RepositoryName, Tag};
use crate::rego::Answer;
use crate::verify::content::ImageContent;
use crate::verify::examine::{About, Finding, Maker, Says};
use crate::verify::policy::SignedName;
use crate::verify::policy::attestor::AttestorKind;
use crate::verify::policy::rego_rule::RegoRule;
use crate::verify::strict_json;
use crate::verify::verdict::{Action, Check, CheckResult, Outcome};

/// The version of what a module is shown.
const INPUT_VERSION: u64 = 1;

/// Asks the module. What cannot be shown to it as it is to others is not shown: the image is refused.
pub fn judge(
    rule: &RegoRule,
    names: &[&RepositoryName],
    question: &Question<'_>,
    findings: &[Finding],
    now: Timestamp,
) -> Part {
    let answer = input(names, question, findings, now).and_then(|input| rule.module.ask(&input));
    let (outcome, reason, next_step) = match answer {
        Ok(Answer::Allowed) => (Outcome::Passed, "its module of Rego allows it".to_owned(), None),
        Ok(Answer::Denied(reasons)) if reasons.is_empty() => {
            let reason = "its module of Rego does not allow it".to_owned();
            (Outcome::Failed, reason, Some("look into the module what it asks for"))
        }
        Ok(Answer::Denied(reasons)) => {
            let reason = format!("its module of Rego denies it: {}", shown(&reasons.join("; ")));
            (Outcome::Failed, reason, Some("look into the module what it asks for"))
        }
        Err(reason) => {
            let reason = format!("its module of Rego has no answer: {}", shown(&reason));
            (Outcome::Failed, reason, Some("mend the module, or what it looks at"))
        }
    };
    let checks = vec![CheckResult {
        check: Check::Rego,
        action: Action::Enforced,
        outcome,
        reason: reason.clone(),
        evidence_digest: Some(question.target.digest),
    }];
    match outcome {
        Outcome::Passed => Part::passed(reason, checks),
        Outcome::Failed => Part::failed(Miss { tells: u8::MAX, reason, next_step }, checks),
    }
}

/// All that a module is shown. A field that is not known is not there, so that whatever asks for it is undefined.
fn input(
    names: &[&RepositoryName],
    question: &Question<'_>,
    findings: &[Finding],
    now: Timestamp,
) -> Result<Value, String> {
    let manifest =
        strict_json::parse(question.target_bytes).map_err(|error| format!("the manifest cannot be read: {error}"))?;
    let platforms = question.images.iter().map(platform).collect::<Result<Vec<Value>, String>>()?;
    if platforms.is_empty() {
        return Err("nothing of the image is here that could be looked into".to_owned());
    }
    let mut image = json!({
        "repository": question.local.to_string(),
        "names": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tags": question.tags.iter().map(Tag::to_string).collect::<Vec<_>>(),
        "digest": question.target.digest.to_string(),
        "media_type": question.target.media_type,
        "manifest": manifest,
        "platforms": platforms,
    });
    if let Some(original) = question.original {
        image["original"] = json!(original.to_string());
    }
    let (mut signatures, mut attestations) = (Vec::new(), Vec::new());
    let believed = findings.iter().filter(|finding| finding.about == About::Target);
    for (finding, maker) in believed.filter_map(|finding| Some((finding, finding.maker.as_ref().ok()?))) {
        // Whoever the policy has no name for vouches for nothing.
        if maker.names.is_empty() {
            continue;
        }
        let mut said = made_by(finding, maker);
        match &finding.says {
            Some(Says::Signature) => signatures.push(Value::Object(said)),
            Some(Says::Attestation(attestation)) => {
                said.insert("predicate_type".to_owned(), json!(attestation.predicate_type));
                said.insert("predicate".to_owned(), attestation.predicate.clone());
                attestations.push(Value::Object(said));
            }
            None => {}
        }
    }
    Ok(json!({
        "version": INPUT_VERSION,
        "time": now.to_string(),
        "time_ns": i64::try_from(now.as_nanosecond()).map_err(|_| "the time cannot be written".to_owned())?,
        "image": image,
        "signatures": signatures,
        "attestations": attestations,
    }))
}

fn made_by(finding: &Finding, maker: &Maker) -> Map<String, Value> {
    let named = |kind: AttestorKind| -> Vec<&str> {
        maker.names.iter().filter(|name| name.kind == kind).map(|name| name.name.as_str()).collect()
    };
    let mut said = Map::new();
    said.insert("document".to_owned(), json!(finding.document.to_string()));
    said.insert("signer".to_owned(), json!(maker.principal));
    said.insert("keys".to_owned(), json!(named(AttestorKind::Key)));
    said.insert("identities".to_owned(), json!(named(AttestorKind::Identity)));
    said.insert("notation".to_owned(), json!(named(AttestorKind::Notation)));
    if let Some(time) = maker.proved_time {
        said.insert("proved_time".to_owned(), json!(time.to_string()));
    }
    if let Some(name) = finding.signed_name.as_ref().map(SignedName::to_string) {
        said.insert("signed_name".to_owned(), json!(name));
    }
    said
}

/// One image of those that want to come in. One whose config cannot be read is shown to nobody: what a module does not find
/// in it, it would take for not being there.
fn platform(image: &ImageContent) -> Result<Value, String> {
    let config = image.config.as_ref().map_err(|reason| format!("image '{}': {reason}", image.manifest))?;
    let mut platform = json!({
        "digest": image.manifest.to_string(),
        "platform": config.platform,
        "user": config.user,
        "labels": config.labels,
    });
    if let Some(created) = config.base_created {
        platform["base_created"] = json!(created.to_string());
    }
    Ok(platform)
}
