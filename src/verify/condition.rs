//! What a rule asks of an attestation's content: trees of conditions over its predicate.
//!
//! A path that leads nowhere fails its condition, whatever the operator: what is not there is neither equal nor unequal to
//! anything, and "is not one of" must not be satisfied by saying nothing.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::pattern::Pattern;
use crate::limits::{CONDITION_DEPTH_COUNT_MAX, CONDITION_VALUES_COUNT_MAX};

/// Conditions, all or any of which must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    One(Condition),
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub path: Path,
    pub operator: Operator,
    /// What the found value is compared with. Lists for the operators that take lists.
    pub values: Vec<Operand>,
    /// What a person is told where it fails.
    pub message: Option<String>,
}

/// How a found value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    NotEquals,
    /// Every value found is one of those given.
    In,
    AnyIn,
    AllIn,
    /// No value found is one of those given.
    NotIn,
    AnyNotIn,
    AllNotIn,
    GreaterThan,
    GreaterThanOrEquals,
    LessThan,
    LessThanOrEquals,
}

/// A value that was written in a policy.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A text; `*` in it stands for any text, anchored at both ends.
    Text(Pattern),
    Number(f64),
    Bool(bool),
}

/// A way into a document: names, positions, and "each of".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    written: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    At(usize),
    Each,
}

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "path '{0}' is not understood: names with dots between them, \"quoted\" where a name holds a dot, [0] and [] are"
)]
pub struct PathError(pub String);

impl Operator {
    const ALL: [(&'static str, Self); 16] = [
        ("Equals", Self::Equals),
        ("NotEquals", Self::NotEquals),
        ("In", Self::In),
        ("AnyIn", Self::AnyIn),
        ("AllIn", Self::AllIn),
        ("NotIn", Self::NotIn),
        ("AnyNotIn", Self::AnyNotIn),
        ("AllNotIn", Self::AllNotIn),
        ("GreaterThan", Self::GreaterThan),
        ("GreaterThanOrEquals", Self::GreaterThanOrEquals),
        ("LessThan", Self::LessThan),
        ("LessThanOrEquals", Self::LessThanOrEquals),
        ("DurationGreaterThan", Self::GreaterThan),
        ("DurationGreaterThanOrEquals", Self::GreaterThanOrEquals),
        ("DurationLessThan", Self::LessThan),
        ("DurationLessThanOrEquals", Self::LessThanOrEquals),
    ];

    /// The operator of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    /// Whether it compares with a list.
    pub const fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::AnyIn | Self::AllIn | Self::NotIn | Self::AnyNotIn | Self::AllNotIn)
    }
}

impl Path {
    /// Parses a path such as `buildDefinition.externalParameters."source.uri"`, `layers[0]`, `components[].name`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let error = || PathError(text.chars().take(120).collect());
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            rest = if let Some(after) = rest.strip_prefix('[') {
                let (inside, after) = after.split_once(']').ok_or_else(error)?;
                steps.push(match inside.trim() {
                    "" | "*" => Step::Each,
                    number => Step::At(number.parse().map_err(|_| error())?),
                });
                after
            } else {
                let from = if steps.is_empty() { rest } else { rest.strip_prefix('.').ok_or_else(error)? };
                let (name, after) = match from.strip_prefix('"') {
                    Some(quoted) => quoted.split_once('"').ok_or_else(error)?,
                    None => from.split_at(from.find(['.', '[']).unwrap_or(from.len())),
                };
                let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
                if name.is_empty() || (!from.starts_with('"') && !name.chars().all(plain)) {
                    return Err(error());
                }
                steps.push(Step::Name(name.to_owned()));
                after
            };
            if steps.len() > CONDITION_DEPTH_COUNT_MAX {
                return Err(error());
            }
        }
        if steps.is_empty() { Err(error()) } else { Ok(Self { written: text.trim().to_owned(), steps }) }
    }

    /// The path with these steps before it.
    #[must_use]
    pub fn under(&self, prefix: &Self) -> Self {
        let steps = prefix.steps.iter().chain(&self.steps).cloned().collect();
        Self { written: format!("{}.{}", prefix.written, self.written), steps }
    }

    /// Everything the path leads to; `None` where it leads nowhere, or one of its branches does.
    pub fn find<'a>(&self, document: &'a Value) -> Option<Vec<&'a Value>> {
        let mut found = vec![document];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                match step {
                    Step::Name(name) => next.push(value.get(name)?),
                    Step::At(index) => next.push(value.as_array()?.get(*index)?),
                    Step::Each => next.extend(value.as_array()?),
                }
                if next.len() > CONDITION_VALUES_COUNT_MAX {
                    return None;
                }
            }
            found = next;
        }
        (!found.is_empty()).then_some(found)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The text at a path, where there is exactly one.
pub fn text_at(document: &Value, path: &str) -> Option<String> {
    match Path::parse(path).ok()?.find(document)?.as_slice() {
        [only] => only.as_str().map(ToOwned::to_owned),
        _ => None,
    }
}

impl Tree {
    /// Whether the document satisfies it; else the first reason why not.
    pub fn check(&self, document: &Value) -> Result<(), String> {
        match self {
            Self::All(parts) => parts.iter().try_for_each(|part| part.check(document)),
            Self::Any(parts) => {
                let mut first = None;
                for part in parts {
                    match part.check(document) {
                        Ok(()) => return Ok(()),
                        Err(reason) => first = first.or(Some(reason)),
                    }
                }
                Err(first.unwrap_or_else(|| "none of no conditions holds".to_owned()))
            }
            Self::One(condition) => condition.check(document),
        }
    }
}

impl Condition {
    /// Whether the document satisfies it.
    pub fn check(&self, document: &Value) -> Result<(), String> {
        let Some(found) = self.path.find(document) else {
            return Err(self.refusal("nothing"));
        };
        // A list stands for its values where the operator asks about values.
        let values: Vec<&Value> = match found.as_slice() {
            [Value::Array(items)] if self.operator.takes_list() => items.iter().collect(),
            _ => found,
        };
        let is_in = |value: &&Value| self.values.iter().any(|operand| operand.equals(value));
        let not_in = |value: &&Value| !is_in(value);
        let ordered = |wanted: &[Ordering]| {
            let within = |value: &&Value| {
                self.values.iter().all(|operand| operand.compare(value).is_some_and(|order| wanted.contains(&order)))
            };
            values.iter().all(within)
        };
        let holds = !values.is_empty()
            && match self.operator {
                Operator::Equals | Operator::In | Operator::AllIn => values.iter().all(is_in),
                Operator::AnyIn => values.iter().any(is_in),
                Operator::NotEquals | Operator::NotIn | Operator::AllNotIn => values.iter().all(not_in),
                Operator::AnyNotIn => values.iter().any(not_in),
                Operator::GreaterThan => ordered(&[Ordering::Greater]),
                Operator::GreaterThanOrEquals => ordered(&[Ordering::Greater, Ordering::Equal]),
                Operator::LessThan => ordered(&[Ordering::Less]),
                Operator::LessThanOrEquals => ordered(&[Ordering::Less, Ordering::Equal]),
            };
        if holds {
            return Ok(());
        }
        const SHOWN_COUNT_MAX: usize = 3;
        let shown: Vec<String> = values.iter().take(SHOWN_COUNT_MAX).map(|value| shown(value)).collect();
        Err(self.refusal(&shown.join(", ")))
    }

    fn refusal(&self, found: &str) -> String {
        let wanted: Vec<String> = self.values.iter().take(5).map(ToString::to_string).collect();
        let told = self.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
        format!("'{}' holds {found}, wanted is {:?} {}{told}", self.path, self.operator, wanted.join(", "))
    }
}

fn shown(value: &Value) -> String {
    const LETTERS_MAX: usize = 120;
    let text = match value {
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    };
    text.chars().take(LETTERS_MAX).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

impl Operand {
    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(pattern), Value::String(text)) => pattern.matches(text),
            (Self::Number(number), Value::Number(found)) => found.as_f64() == Some(*number),
            (Self::Bool(wanted), Value::Bool(found)) => wanted == found,
            _ => false,
        }
    }

    /// How `value` stands to this one; `None` where they are not of one kind that has an order.
    fn compare(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(number), Value::Number(found)) => found.as_f64()?.partial_cmp(number),
            (Self::Text(wanted), Value::String(found)) => match (quantity(&wanted.to_string())?, quantity(found)?) {
                (Quantity::Number(wanted), Quantity::Number(found)) => found.partial_cmp(&wanted),
                (Quantity::Duration(wanted), Quantity::Duration(found)) => Some(found.cmp(&wanted)),
                (Quantity::Time(wanted), Quantity::Time(found)) => Some(found.cmp(&wanted)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(pattern) => write!(f, "'{pattern}'"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

enum Quantity {
    Number(f64),
    Duration(Duration),
    Time(Timestamp),
}

/// A number, a duration such as `1h30m`, or a time.
fn quantity(text: &str) -> Option<Quantity> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(Quantity::Number(number));
    }
    if let Ok(time) = text.parse() {
        return Some(Quantity::Time(time));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let (number, after) = rest.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let unit_end = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "d" => Duration::from_secs(86_400),
            _ => return None,
        };
        sum = sum.checked_add(unit.checked_mul(number)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(Quantity::Duration(sum))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Condition, Operand, Operator, Path, Tree};
    use crate::verify::pattern::Pattern;

    fn text(value: &str) -> Operand {
        Operand::Text(Pattern::new(value))
    }

    fn condition(path: &str, operator: &str, values: Vec<Operand>) -> Condition {
        let operator = Operator::named(operator).unwrap();
        Condition { path: Path::parse(path).unwrap(), operator, values, message: None }
    }

    fn document() -> Value {
        json!({
            "buildType": "https://ci.example/container@v1",
            "levels": ["a", "b"],
            "empty": [],
            "count": 3,
            "scanned": "2026-11-01T00:00:00Z",
            "took": "1h30m",
            "a.b": {"c": true},
            "components": [{"name": "x", "license": "MIT"}, {"name": "y"}],
        })
    }

    #[track_caller]
    fn check(path: &str, operator: &str, values: Vec<Operand>, expected: bool) {
        let found = condition(path, operator, values).check(&document());
        assert_eq!(found.is_ok(), expected, "{path} {operator}: {found:?}");
    }

    #[test]
    fn each_operator_says_what_its_name_says() {
        check("buildType", "Equals", vec![text("https://ci.example/container@v1")], true);
        check("buildType", "Equals", vec![text("https://ci.example/*")], true);
        check("buildType", "Equals", vec![text("ci.example")], false);
        check("buildType", "NotEquals", vec![text("other")], true);
        check("buildType", "In", vec![text("x"), text("https://*")], true);
        check("levels", "AnyIn", vec![text("b"), text("c")], true);
        check("levels", "AllIn", vec![text("b"), text("c")], false);
        check("levels", "AllIn", vec![text("a"), text("b")], true);
        check("levels", "NotIn", vec![text("b")], false);
        check("levels", "AnyNotIn", vec![text("b")], true);
        check("levels", "AllNotIn", vec![text("c")], true);
        check("count", "GreaterThan", vec![Operand::Number(2.0)], true);
        check("count", "GreaterThan", vec![Operand::Number(3.0)], false);
        check("count", "LessThanOrEquals", vec![Operand::Number(3.0)], true);
        check("scanned", "GreaterThan", vec![text("2026-10-01T00:00:00Z")], true);
        check("took", "LessThan", vec![text("2h")], true);
        check("took", "GreaterThanOrEquals", vec![text("5400s")], true);
        check("took", "LessThan", vec![text("7")], false);
        check("\"a.b\".c", "Equals", vec![Operand::Bool(true)], true);
        check("\"a.b\".c", "Equals", vec![text("true")], false);
        check("components[].name", "AllIn", vec![text("x"), text("y")], true);
        check("components[0].license", "Equals", vec![text("MIT")], true);
    }

    #[test]
    fn a_missing_path_fails_under_every_operator() {
        for operator in Operator::names() {
            for path in ["absent", "buildType.more", "levels[9]", "empty[]", "components[].license", "count[]"] {
                check(path, operator, vec![text("x"), text("*")], false);
            }
            check("empty", operator, vec![text("x")], operator == "NotEquals");
        }
    }

    #[test]
    fn trees_join_conditions() {
        let one = |value: &str| Tree::One(condition("buildType", "Equals", vec![text(value)]));
        let (good, bad) = (one("https://*"), one("x"));
        let holds = |tree: Tree| tree.check(&document()).is_ok();
        assert!(holds(Tree::All(vec![good.clone(), good.clone()])));
        assert!(!holds(Tree::All(vec![good.clone(), bad.clone()])));
        assert!(holds(Tree::Any(vec![bad.clone(), good.clone()])));
        assert!(!holds(Tree::Any(vec![bad.clone(), bad.clone()])));
        assert!(!holds(Tree::Any(Vec::new())));
        assert!(holds(Tree::All(vec![Tree::Any(vec![bad, good.clone()]), good])));
    }

    #[test]
    fn paths_that_could_mean_something_else_are_refused() {
        for bad in ["", ".a", "a.", "a..b", "a[", "a[x]", "a b", "{{ a }}", "a | b", "\"a", "length(a)"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
