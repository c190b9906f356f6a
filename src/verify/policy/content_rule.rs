//! What a rule asks of an image's own content: its user, its labels, what lies in it, its size and its age.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::document::{At, Table, shortened};
use super::error::{PolicyError, Problem, nearest};
use super::rule::Rule;
use crate::oci::digest::Digest;
use crate::verify::content::Wanted;
use crate::verify::pattern::Pattern;

/// What is asked; every part that is there must hold, of every platform.
#[derive(Clone, Debug, Default)]
pub struct ContentRule {
    pub non_root: bool,
    pub labels: Vec<(String, Pattern)>,
    pub no_shell: bool,
    pub no_package_manager: bool,
    /// Patterns over whole paths, and the patterns as they were written.
    pub forbidden: Option<(GlobSet, Vec<String>)>,
    pub size: Option<SizeRule>,
    pub base_age_days_max: Option<i64>,
}

/// How large the unpacked layers may be together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeRule {
    MebibytesMax(u64),
    /// What the table says of the runtime that this label names.
    Label(String),
}

/// Budgets by runtime, in MiB.
const BUDGETS: [(&str, u64); 7] = [
    ("go", 50),
    ("rust", 50),
    ("python", 250),
    ("node", 300),
    ("java-graalvm", 150),
    ("java-jvm", 400),
    ("dotnet", 250),
];

/// The budget of a runtime in MiB.
pub fn budget(runtime: &str) -> Option<u64> {
    BUDGETS.iter().find(|(name, _)| *name == runtime).map(|(_, mebibytes)| *mebibytes)
}

/// The runtimes that have one.
pub fn runtimes() -> impl Iterator<Item = &'static str> {
    BUDGETS.iter().map(|(name, _)| *name)
}

impl ContentRule {
    /// Whether it cannot be judged without looking into layers.
    fn needs_files(&self) -> bool {
        self.no_shell || self.no_package_manager || self.forbidden.is_some() || self.size.is_some()
    }

    fn asks_nothing(&self) -> bool {
        !self.needs_files() && !self.non_root && self.labels.is_empty() && self.base_age_days_max.is_none()
    }
}

/// What these rules want to know of an image; `None` where none of them asks about content. A module of Rego is shown the
/// configs, and no layers.
pub fn wanted<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<Wanted> {
    let asking: Vec<&Rule> = rules.filter(|rule| rule.content.is_some() || rule.rego.is_some()).collect();
    if asking.is_empty() {
        return None;
    }
    let rules: Vec<&ContentRule> = asking.iter().filter_map(|rule| rule.content.as_ref()).collect();
    let mut patterns: Vec<&str> = rules
        .iter()
        .filter_map(|rule| rule.forbidden.as_ref())
        .flat_map(|(_, patterns)| patterns.iter().map(String::as_str))
        .collect();
    patterns.sort_unstable();
    patterns.dedup();
    let mut set = GlobSetBuilder::new();
    for pattern in &patterns {
        set.add(
            GlobBuilder::new(pattern).literal_separator(true).build().expect("it was built when the policy was read"),
        );
    }
    Some(Wanted {
        files: rules.iter().any(|rule| rule.needs_files()),
        users: rules.iter().any(|rule| rule.non_root),
        forbidden: set.build().expect("each of them was built when the policy was read"),
        digest: Digest::of(patterns.join("\n").as_bytes()),
    })
}

/// Parses `[rule.content]`.
pub fn parse(table: &Table<'_>) -> Result<ContentRule, PolicyError> {
    table.allow_only(&[
        "non_root",
        "labels",
        "no_shell",
        "no_package_manager",
        "forbidden_paths",
        "size_mebibytes_max",
        "size_budget",
        "size_budget_label",
        "base_age_days_max",
    ])?;
    let labels = match table.table("labels", &format!("{}, labels", table.name))? {
        Some(labels) => labels.all_texts()?.into_iter().map(|(key, at)| (key, Pattern::new(&at.value))).collect(),
        None => Vec::new(),
    };
    let forbidden = match table.texts("forbidden_paths")? {
        paths if paths.is_empty() => {
            table.required_if_there(&["forbidden_paths"])?;
            None
        }
        paths => Some(forbidden(&paths)?),
    };
    let rule = ContentRule {
        non_root: table.demanded("non_root")?,
        labels,
        no_shell: table.demanded("no_shell")?,
        no_package_manager: table.demanded("no_package_manager")?,
        forbidden,
        size: size(table)?,
        base_age_days_max: number(table, "base_age_days_max")?.map(|at| at.value),
    };
    if rule.asks_nothing() {
        return table.refuse(Problem::Foreign(format!("{} asks for nothing", table.name)));
    }
    Ok(rule)
}

fn number(table: &Table<'_>, key: &'static str) -> Result<Option<At<i64>>, PolicyError> {
    match table.integer(key)? {
        Some(at) if !(1..=1_000_000).contains(&at.value) => {
            let reason = "expected 1 to 1000000".to_owned();
            at.refuse(Problem::Value { key, value: at.value.to_string(), reason })
        }
        other => Ok(other),
    }
}

fn size(table: &Table<'_>) -> Result<Option<SizeRule>, PolicyError> {
    let mebibytes = number(table, "size_mebibytes_max")?;
    match (mebibytes, table.text("size_budget")?, table.text("size_budget_label")?) {
        (None, None, None) => Ok(None),
        (Some(at), None, None) => Ok(Some(SizeRule::MebibytesMax(at.value.unsigned_abs()))),
        (None, Some(runtime), None) => match budget(&runtime.value) {
            Some(mebibytes) => Ok(Some(SizeRule::MebibytesMax(mebibytes))),
            None => {
                let nearest = nearest(&runtime.value, runtimes());
                let reason = match nearest {
                    Some(name) => format!("there is no budget for it, did you mean '{name}'?"),
                    None => format!("there are budgets for {}", runtimes().collect::<Vec<_>>().join(", ")),
                };
                runtime.refuse(Problem::Value { key: "size_budget", value: shortened(&runtime.value), reason })
            }
        },
        (None, None, Some(label)) => Ok(Some(SizeRule::Label(label.value))),
        _ => table.refuse(Problem::Foreign(format!(
            "{} has more than one of 'size_mebibytes_max', 'size_budget' and 'size_budget_label'",
            table.name
        ))),
    }
}

/// Whole paths from the image's root; `*` stays within one component and `**` crosses.
fn forbidden(paths: &[At<String>]) -> Result<(GlobSet, Vec<String>), PolicyError> {
    let (mut set, mut written) = (GlobSetBuilder::new(), Vec::new());
    for path in paths {
        let pattern = path.value.strip_prefix('/').unwrap_or(&path.value);
        let refuse = |message: String| Problem::Pattern { pattern: shortened(&path.value), message };
        if pattern.split('/').any(|part| part == "." || part == "..") {
            return path.refuse(refuse("a path from the image's root has no '.' and no '..' in it".to_owned()));
        }
        if pattern.is_empty() || pattern.ends_with('/') {
            return path.refuse(refuse("a path of a file is expected: write '/**' behind a directory".to_owned()));
        }
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.or_else(|error| path.refuse(refuse(error.kind().to_string())))?);
        written.push(pattern.to_owned());
    }
    let line = paths.first().map_or(1, |first| first.line);
    let set = set.build().or_else(|error| {
        let problem = Problem::Pattern { pattern: "forbidden_paths".to_owned(), message: error.kind().to_string() };
        At { line, value: () }.refuse(problem)
    })?;
    Ok((set, written))
}
