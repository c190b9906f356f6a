//! `postern policy test --table`: a policy tried on images at hand, before it is in force.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Context, ExitStatus};
use crate::app::failure::{Failure, FailureKind};
use crate::app::operation::Operation;
use crate::app::report::JudgementReport;
use crate::app::verify as verification;
use crate::limits::POLICY_BYTES_MAX;
use crate::oci::name::ImageReference;
use crate::verify::policy::cases::{self, Case, Expected};

/// What became of one case.
#[derive(Debug, Serialize)]
struct Outcome {
    name: String,
    as_expected: bool,
    expected: String,
    found: String,
    judgement: JudgementReport,
}

/// Every case, in the order of the table.
#[derive(Debug, Serialize)]
struct Outcomes {
    all_as_expected: bool,
    cases: Vec<Outcome>,
}

/// Runs the cases of the table in `file`.
pub fn run(context: &Context, file: Option<&Path>) -> Result<ExitStatus, Failure> {
    let Some(file) = file else {
        return Err(Failure::usage("neither an image nor a table of cases was named")
            .next("name an image of the store, or a table with --table"));
    };
    let text = context.read_text(file, POLICY_BYTES_MAX)?;
    let table = cases::parse(text.as_bytes()).map_err(|error| {
        Failure::new(FailureKind::Usage, format!("the cases in '{}' cannot be used", file.display())).because(&error)
    })?;
    // What a table names lies beside it, wherever it is run from.
    let beside = |name: &str| file.parent().map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    let policy = match &table.policy {
        None => None,
        Some(name) => {
            let text = context.read_text(&beside(name), POLICY_BYTES_MAX)?;
            context.parse_policy(&text)?.map_err(|error| {
                Failure::new(FailureKind::Usage, format!("policy '{name}' cannot be used")).because(&error)
            })?;
            Some(text)
        }
    };
    let cases = table.cases.iter().map(|case| {
        let judgement = judge(context, case, policy.clone(), &beside)
            .map_err(|failure| failure.next(format!("look at case '{}' in '{}'", case.name, file.display())))?;
        Ok(outcome(case, judgement))
    });
    let cases = cases.collect::<Result<Vec<_>, Failure>>()?;
    let outcomes = Outcomes { all_as_expected: cases.iter().all(|case| case.as_expected), cases };
    context.output.result(&outcomes, || outcomes.to_string())?;
    Ok(if outcomes.all_as_expected { ExitStatus::Success } else { ExitStatus::Refused })
}

fn judge(
    context: &Context,
    case: &Case,
    policy: Option<String>,
    beside: &dyn Fn(&str) -> PathBuf,
) -> Result<JudgementReport, Failure> {
    let Some(layout) = &case.layout else {
        let reference = case.image.clone();
        let (local, original) = (case.local.clone(), case.original.clone());
        return context.report(Operation::PolicyTest { reference, policy, local, original });
    };
    let policy = match policy {
        Some(text) => text,
        None => context.policy_in_force()?,
    };
    let repository = case.local.clone().unwrap_or_else(|| case.image.repository.clone());
    let reference = ImageReference { repository, reference: case.image.reference.clone() };
    let name = case.name_in_layout.as_deref();
    verification::layout(&beside(layout), name, &reference, case.original.as_ref(), &context.parse_policy(&policy)??)
}

fn outcome(case: &Case, judgement: JudgementReport) -> Outcome {
    let refused_by = judgement.refusal.as_ref().map(|refusal| refusal.rule.as_str());
    let expected = match &case.expected {
        Expected::Admitted { rule: None } => "admitted".to_owned(),
        Expected::Admitted { rule: Some(rule) } => format!("admitted, and rule '{rule}' among those that pass"),
        Expected::Refused { rule } => format!("rule '{rule}' refuses it"),
    };
    let as_expected = match &case.expected {
        Expected::Admitted { rule } => {
            judgement.admitted && rule.as_ref().is_none_or(|rule| passed(&judgement).any(|passed| passed == rule))
        }
        Expected::Refused { rule } => refused_by == Some(rule),
    };
    let found = match &judgement.refusal {
        None if as_expected => "admitted".to_owned(),
        None => format!("admitted by {}", quoted(passed(&judgement))),
        Some(refusal) if as_expected => format!("rule '{}' refuses it", refusal.rule),
        Some(refusal) => format!("{refusal}"),
    };
    Outcome { name: case.name.clone(), as_expected, expected, found, judgement }
}

fn passed(judgement: &JudgementReport) -> impl Iterator<Item = &str> {
    let rules = judgement.verdict.as_ref().and_then(|verdict| verdict["rules"].as_array()).into_iter().flatten();
    rules.filter(|rule| rule["outcome"] == "passed").filter_map(|rule| rule["rule"].as_str())
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Outcome { name, as_expected, expected, found, .. } in &self.cases {
            match as_expected {
                true => writeln!(f, "as expected  {name}: {found}")?,
                false => writeln!(f, "OTHERWISE    {name}: expected was {expected}, found is {found}")?,
            }
        }
        let count = self.cases.len();
        match self.cases.iter().filter(|case| !case.as_expected).count() {
            0 => writeln!(f, "{count} cases, all as expected"),
            others => writeln!(f, "{count} cases, {others} otherwise than expected"),
        }
    }
}
