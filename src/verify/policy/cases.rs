//! Cases for a trust policy: images, the names under which they would come in, and what the policy should say of each.
//!
//! A table of them is kept beside a policy and run before it is activated (`postern policy test --table`). The format is
//! described in `docs/policy-tests.md`. A case that expects a refusal names the rule that refuses: a refusal for another
//! reason is no success.

use super::document::{self, At, Table};
use super::error::{PolicyError, Problem};
use crate::limits::{POLICY_CASES_COUNT_MAX, POLICY_NAME_BYTES_MAX};
use crate::oci::name::{ImageReference, Reference, RepositoryName, Tag};

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cases {
    /// The policy that is tested; the one in force where none is named.
    pub policy: Option<String>,
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub line: usize,
    pub name: String,
    /// The image in the store; with a layout, what it would be called.
    pub image: ImageReference,
    /// The image layout that holds it.
    pub layout: Option<String>,
    /// What it is called in the layout.
    pub name_in_layout: Option<String>,
    /// The name under which it would come in, where that is not the image's own.
    pub local: Option<RepositoryName>,
    /// The name that it is said to have had.
    pub original: Option<RepositoryName>,
    pub expected: Expected,
}

/// What the policy should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It comes in, and this rule, where one is named, is among those that passed.
    Admitted { rule: Option<String> },
    /// This rule refuses it.
    Refused { rule: String },
}

impl Case {
    /// The tags that it is to have.
    pub fn tags(&self) -> Vec<Tag> {
        match &self.image.reference {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(_) => Vec::new(),
        }
    }
}

/// Why a text is no table of cases.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    #[error("line {line}: {problem}")]
    At { line: usize, problem: Problem },
    #[error("line {line}: not TOML: {message}")]
    Syntax { line: usize, message: String },
    #[error("it is no text, or longer than a table may be")]
    NotText,
}

impl From<PolicyError> for CasesError {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::At { line, problem } => Self::At { line, problem },
            PolicyError::Syntax { line, message } => Self::Syntax { line, message },
            PolicyError::TooLarge(_) | PolicyError::NotText => Self::NotText,
        }
    }
}

/// Parses a table.
pub fn parse(bytes: &[u8]) -> Result<Cases, CasesError> {
    Ok(read(bytes)?)
}

fn read(bytes: &[u8]) -> Result<Cases, PolicyError> {
    let (text, parsed) = document::parse(bytes)?;
    let top = Table::top(text, &parsed);
    top.allow_only(&["policy", "case"])?;
    let tables = top.tables("case", "case")?;
    if tables.is_empty() {
        return top.refuse(Problem::Missing { key: "case", table: "the table".to_owned() });
    }
    if let Some(over) = tables.get(POLICY_CASES_COUNT_MAX) {
        return over.refuse(Problem::Foreign(format!("there are more than {POLICY_CASES_COUNT_MAX} cases")));
    }
    let mut cases: Vec<Case> = Vec::with_capacity(tables.len());
    for table in &tables {
        let case = parse_case(table)?;
        if cases.iter().any(|earlier| earlier.name == case.name) {
            return table.refuse(Problem::Foreign(format!("there is already a case '{}'", case.name)));
        }
        cases.push(case);
    }
    Ok(Cases { policy: top.text("policy")?.map(|at| at.value), cases })
}

fn parse_case(table: &Table<'_>) -> Result<Case, PolicyError> {
    table.allow_only(&["name", "image", "layout", "name_in_layout", "local", "original", "expected", "rule"])?;
    let name = table.required_text("name")?;
    if name.value.len() > POLICY_NAME_BYTES_MAX || name.value.is_empty() || name.value.chars().any(char::is_control) {
        return name.refuse(Problem::Name(document::shortened(&name.value)));
    }
    let rule = table.text("rule")?.map(|at| at.value);
    let expected = table.required_text("expected")?;
    let expected = match (expected.value.as_str(), rule) {
        ("admitted", rule) => Expected::Admitted { rule },
        ("refused", Some(rule)) => Expected::Refused { rule },
        ("refused", None) => return table.refuse(Problem::Missing { key: "rule", table: table.name.clone() }),
        (other, _) => {
            let reason = "expected \"admitted\" or \"refused\"".to_owned();
            return expected.refuse(Problem::Value { key: "expected", value: document::shortened(other), reason });
        }
    };
    let layout = table.text("layout")?;
    let name_in_layout = table.text("name_in_layout")?;
    if let Some(name) = name_in_layout.as_ref().filter(|_| layout.is_none()) {
        return name.refuse(Problem::Foreign("'name_in_layout' stands without 'layout'".to_owned()));
    }
    Ok(Case {
        line: table.line,
        name: name.value,
        image: parsed(&table.required_text("image")?, "image")?,
        layout: layout.map(|at| at.value),
        name_in_layout: name_in_layout.map(|at| at.value),
        local: table.text("local")?.map(|name| parsed(&name, "local")).transpose()?,
        original: table.text("original")?.map(|name| parsed(&name, "original")).transpose()?,
        expected,
    })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &At<String>,
    key: &'static str,
) -> Result<T, PolicyError> {
    text.value.parse().or_else(|error: T::Err| {
        text.refuse(Problem::Value { key, value: document::shortened(&text.value), reason: error.to_string() })
    })
}

#[cfg(test)]
mod tests {
    use super::{Case, CasesError, Expected, parse};

    const CASE: &str = "\n[[case]]\nname = \"a\"\nimage = \"apps/a:1\"\nexpected = \"admitted\"\n";

    #[test]
    fn a_table_is_read() {
        let text = format!(
            "policy = \"trust.toml\"{CASE}[[case]]\nname = \"b\"\nimage = \"apps/a@sha256:{}\"\nlayout = \"x\"\n\
             name_in_layout = \"n\"\nlocal = \"l/m\"\noriginal = \"o/p\"\nexpected = \"refused\"\nrule = \"r\"\n",
            "0".repeat(64)
        );
        let cases = parse(text.as_bytes()).unwrap();
        assert_eq!(cases.policy.as_deref(), Some("trust.toml"));
        let [first, second] = cases.cases.as_slice() else { panic!("two cases") };
        assert_eq!((first.line, first.tags().len(), &first.expected), (2, 1, &Expected::Admitted { rule: None }));
        let Case { layout, name_in_layout, local, original, expected, .. } = second;
        assert_eq!((layout.as_deref(), name_in_layout.as_deref()), (Some("x"), Some("n")));
        assert_eq!((local.as_ref().unwrap().as_str(), original.as_ref().unwrap().as_str()), ("l/m", "o/p"));
        assert_eq!((second.tags().len(), expected), (0, &Expected::Refused { rule: "r".to_owned() }));
    }

    #[test]
    fn what_could_be_misread_is_refused_with_its_line() {
        let check = |from: &str, to: &str, line: usize, reason: &str| {
            assert!(CASE.contains(from), "{from}");
            let error = parse(CASE.replacen(from, to, 1).as_bytes()).unwrap_err();
            let found = match &error {
                CasesError::At { line, .. } | CasesError::Syntax { line, .. } => *line,
                CasesError::NotText => 0,
            };
            assert!(found == line && error.to_string().contains(reason), "{error}");
        };
        check("[[case]]", "[[cases]]", 2, "did you mean 'case'?");
        check("name = \"a\"\n", "", 2, "'name' is missing");
        check("name = \"a\"", "name = \"\"", 3, "is empty");
        check("apps/a:1", "apps/a", 4, "names no tag and no digest");
        check("apps/a:1", "Apps/a:1", 4, "is not valid");
        check("admitted", "admit", 5, "expected \"admitted\" or \"refused\"");
        check("admitted", "refused", 2, "'rule' is missing");
        check("expected =", "name_in_layout = \"x\"\nexpected =", 5, "without 'layout'");
        check("expected =", "local = \"A\"\nexpected =", 5, "is not valid");
        check("expected =", "orginal = \"a\"\nexpected =", 5, "did you mean 'original'?");
        check(CASE, "", 1, "'case' is missing");
        check(CASE, &format!("{CASE}{CASE}"), 7, "already a case 'a'");
    }
}
