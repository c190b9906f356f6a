//! What a policy says of an image that is not in the store, and the summary of a verification as others read it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::appliance::Appliance;
use super::failure::{Failure, FailureKind};
use super::kinds::Kind as _;
use super::operation::OutsidePlace;
use super::report::JudgementReport;
use super::{bundles, mirrors};
use crate::admission::{AdmissionError, Candidate, Judgement, judge};
use crate::image_layout::LayoutContent;
use crate::oci::digest::Digest;
use crate::oci::name::{ImageReference, Reference, RepositoryName};
use crate::oci::signature_tag;
use crate::sys::clock::{Clock as _, RealClock};
use crate::sys::dir_real::RealDir;
use crate::verify::TrustPolicy;

/// Judges an image of the layout in `layout` as if it were to enter under the name and tag of `reference`, and had been
/// called `original` where it comes from.
pub fn layout(
    layout: &Path,
    name: Option<&str>,
    reference: &ImageReference,
    original: Option<&RepositoryName>,
    policy: &TrustPolicy,
) -> Result<JudgementReport, Failure> {
    let shown = layout.display();
    let dir = RealDir::open(layout).map_err(|error| {
        let kind = if error.is_not_found() { FailureKind::Usage } else { FailureKind::Failed };
        Failure::new(kind, format!("cannot open the layout '{shown}'"))
            .because(&error)
            .next("name the directory of an image layout")
    })?;
    let dir = Arc::new(dir);
    let content = LayoutContent::open(dir, name).map_err(|error| {
        Failure::new(error.kind(), format!("cannot verify an image in the layout '{shown}'"))
            .because(&error)
            .next("name an image layout, and with --name the image in it")
    })?;
    if let Reference::Digest(digest) = &reference.reference
        && *digest != content.root()
    {
        let held = content.root();
        return Err(Failure::usage(format!("the image in the layout '{shown}' is {held}, and not {digest}"))
            .next("give its digest or a tag; or name another image in the layout with --name"));
    }
    let tags = match &reference.reference {
        Reference::Tag(tag) if signature_tag::parse(tag).is_none() => vec![tag.clone()],
        _ => Vec::new(),
    };
    let candidate =
        Candidate { repository: reference.repository.clone(), original: original.cloned(), root: content.root(), tags };
    report_of(candidate.root, judge(policy, &candidate, &content, RealClock.wall()))
}

/// Judges an image that is not here yet, as if it came in: at its upstream, or in a transfer bundle.
pub fn outside(
    appliance: &Appliance,
    reference: &ImageReference,
    place: &OutsidePlace,
    policy: Option<&str>,
) -> Result<JudgementReport, Failure> {
    let policy = match policy {
        Some(text) => Arc::new(TrustPolicy::parse_with(text.as_bytes(), &appliance.policy.objects()?)?),
        None => appliance.policy.current(),
    };
    if policy.content_wanted(&reference.repository, None).is_some() {
        return Err(Failure::usage(
            "the policy asks what images hold, and no layer is read from a medium or an upstream",
        )
        .next("bring the image in, which judges it with its layers; or give a policy without such rules by --policy"));
    }
    let (digest, judged) = match place {
        OutsidePlace::Upstream => mirrors::verify(appliance, reference, policy)?,
        OutsidePlace::Bundle { medium, set } => bundles::verify(appliance, medium, set.clone(), reference, &policy)?,
    };
    report_of(digest, judged)
}

fn report_of(root: Digest, judged: Result<Judgement, AdmissionError>) -> Result<JudgementReport, Failure> {
    let report = |admitted, refusal, verdict| JudgementReport { digest: Some(root), admitted, refusal, verdict };
    match judged {
        Ok(Judgement::Admitted(image)) => Ok(report(true, None, Some(written(&image.verdict)?))),
        Ok(Judgement::Refused { refusal, verdict }) => Ok(report(false, Some(refusal), Some(written(&verdict)?))),
        Err(error) => match error.refusal() {
            Some(refusal) => Ok(report(false, Some(refusal), None)),
            None => Err(Failure::of(FailureKind::Failed, &error)),
        },
    }
}

fn written(verdict: &crate::verify::Verdict) -> Result<Value, Failure> {
    serde_json::to_value(verdict)
        .map_err(|error| Failure::failed("a verdict cannot be written as JSON").because(&error))
}

/// A verification summary (VSA, SLSA 1.0) of a judgement: an in-toto Statement, to be signed by whoever stands for it. `None`
/// where the image was refused before there was a verdict.
fn summary(judgement: &JudgementReport) -> Option<Value> {
    let verdict = judgement.verdict.as_ref()?;
    let (algorithm, hex) = verdict["target"].as_str()?.split_once(':')?;
    let digest_of = |digest: &Value| {
        let (algorithm, hex) = digest.as_str()?.split_once(':')?;
        Some(json!({algorithm: hex}))
    };
    let evidence: Vec<Value> = verdict["evidence_digests"]
        .as_array()?
        .iter()
        .filter_map(digest_of)
        .map(|digest| json!({"digest": digest}))
        .collect();
    let repository = verdict["repository"].as_str()?;
    Some(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": repository, "digest": {algorithm: hex}}],
        "predicateType": "https://slsa.dev/verification_summary/v1",
        "predicate": {
            "verifier": {"id": "https://postern.invalid/verify", "version": {"postern": env!("CARGO_PKG_VERSION")}},
            "timeVerified": verdict["time_used"],
            "resourceUri": format!("oci://{repository}@{algorithm}:{hex}"),
            "policy": {
                "uri": format!("https://postern.invalid/policy/{}", verdict["policy_digest"].as_str()?),
                "digest": digest_of(&verdict["policy_digest"])?,
            },
            "inputAttestations": evidence,
            "verificationResult": if judgement.admitted { "PASSED" } else { "FAILED" },
            // Which SLSA level a build has is not for this gate to say: its rules are the operator's own.
            "verifiedLevels": if judgement.admitted { json!([]) } else { json!(["FAILED"]) },
            "slsaVersion": "1.0",
        },
    }))
}

/// The summary of a judgement that must have one.
pub fn required_summary(judgement: &JudgementReport) -> Result<Value, Failure> {
    summary(judgement).ok_or_else(|| {
        Failure::new(FailureKind::Refused, "the image was refused before there was anything to summarise")
            .next("`postern verify --explain` says why")
    })
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::app::report::JudgementReport;
    use crate::oci::digest::Digest;
    use crate::verify::statement::Statement;

    #[test]
    fn a_summary_is_a_statement_about_the_image() {
        let image = Digest::of(b"image");
        let verdict = serde_json::json!({
            "target": image, "repository": "apps/a", "policy_digest": Digest::of(b"policy"),
            "evidence_digests": [Digest::of(b"evidence")], "time_used": "2026-01-01T00:00:00Z", "rules": [],
        });
        for (admitted, result) in [(true, "PASSED"), (false, "FAILED")] {
            let judgement =
                JudgementReport { digest: Some(image), admitted, refusal: None, verdict: Some(verdict.clone()) };
            let written = serde_json::to_vec(&summary(&judgement).unwrap()).unwrap();
            let statement = Statement::parse(&written).unwrap();
            assert_eq!(statement.subjects, [image]);
            assert_eq!(statement.predicate["verificationResult"], result);
            assert_eq!(statement.predicate["policy"]["digest"]["sha256"], Digest::of(b"policy").hex());
        }
        let never = JudgementReport { digest: None, admitted: false, refusal: None, verdict: None };
        assert!(summary(&never).is_none());
    }
}
