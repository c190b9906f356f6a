//! Which functions a module may call.
//!
//! Those are left out whose answer depends on something that was not asked about, and those that make much out of little: a
//! range of numbers, a shifted number. Where a function could do so with one of its arguments, that one must be written out
//! in the module, where whoever activates it has read it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex_automata::meta::Regex;
use regorus::{Engine, Value};

use crate::limits::{REGO_REGEX_BYTES_MAX, REGO_REGEX_KEPT_COUNT_MAX};

/// The engine's own functions that may be called, by name.
const FUNCTIONS: [&str; 56] = [
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "replace",
    "round",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.reverse",
    "substring",
    "sum",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
];
/// More of them.
const MORE: [&str; 4] = ["union", "units.parse", "units.parse_bytes", "upper"];
/// Functions of the language that the engine does not have in this form, and this program adds.
const ADDED: [&str; 4] = ["regex.match", "semver.compare", "semver.is_valid", "time.parse_rfc3339_ns"];

/// The argument, counted from nought, that must be written out.
const WRITTEN_OUT: [(&str, usize); 4] = [("concat", 0), ("regex.match", 0), ("replace", 2), ("sprintf", 0)];

/// Widest field that a text of `sprintf` may ask for, in digits of the number.
const WIDTH_DIGITS_MAX: usize = 2;

/// Every function that may be called, for the documents and for whoever mistyped one.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.into_iter().chain(MORE).chain(ADDED)
}

/// Whether a function may be called with these arguments; of each its text, where it is written out.
pub fn check(name: &str, arguments: &[Option<&str>]) -> Result<(), String> {
    if !names().any(|known| known == name) {
        let nearest = names().find(|known| strsim::damerau_levenshtein(known, name) <= 2);
        let hint = nearest.map(|nearest| format!(", did you mean '{nearest}'?")).unwrap_or_default();
        return Err(format!("function '{name}' is not one of those that are here{hint}"));
    }
    let Some((_, at)) = WRITTEN_OUT.iter().find(|(function, _)| *function == name) else { return Ok(()) };
    let Some(Some(text)) = arguments.get(*at) else {
        return Err(format!("argument {} of '{name}' must be a text that is written out", at + 1));
    };
    match name {
        "regex.match" => regex(text).map(|_| ()),
        "sprintf" if is_wide(text) => Err(format!("'{name}' has a field of more than {WIDTH_DIGITS_MAX} digits")),
        _ => Ok(()),
    }
}

fn is_wide(format: &str) -> bool {
    format.split('%').skip(1).any(|field| {
        let before_verb = field.chars().take_while(|letter| letter.is_ascii_digit() || "+-# .".contains(*letter));
        before_verb.filter(char::is_ascii_digit).count() > WIDTH_DIGITS_MAX
    })
}

/// A pattern that takes no more than a bounded memory; it takes time linear in the text.
fn regex(pattern: &str) -> Result<Regex, String> {
    let config = Regex::config().nfa_size_limit(Some(REGO_REGEX_BYTES_MAX));
    Regex::builder()
        .configure(config)
        .build(pattern)
        .map_err(|error| format!("pattern '{pattern}' cannot be used: {error}"))
}

/// The patterns of a module, made ready once: a loop asks them again and again.
#[derive(Clone, Default)]
struct Patterns(Arc<Mutex<BTreeMap<String, Regex>>>);

impl Patterns {
    fn of(&self, pattern: &str) -> Result<Regex, Complaint> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = ready.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = regex(pattern).map_err(Complaint)?;
        if ready.len() < REGO_REGEX_KEPT_COUNT_MAX {
            ready.insert(pattern.to_owned(), regex.clone());
        }
        Ok(regex)
    }
}

/// Gives the engine what it does not have itself.
pub fn add_to(engine: &mut Engine) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let ready = Patterns::default();
    engine.add_extension(
        "regex.match".to_owned(),
        2,
        Box::new(move |arguments: Vec<Value>| {
            let found = ready.of(text(&arguments, 0)?)?.is_match(text(&arguments, 1)?);
            Ok(Value::from(found))
        }),
    )?;
    engine.add_extension(
        "time.parse_rfc3339_ns".to_owned(),
        1,
        Box::new(|arguments: Vec<Value>| {
            let written = text(&arguments, 0)?;
            let time: jiff::Timestamp =
                written.parse().map_err(|_| Complaint(format!("'{written}' is no time as RFC 3339 writes one")))?;
            Ok(Value::from(time.as_nanosecond()))
        }),
    )?;
    engine.add_extension(
        "semver.is_valid".to_owned(),
        1,
        Box::new(|arguments: Vec<Value>| {
            let valid = text(&arguments, 0).is_ok_and(|text| semver::Version::parse(text).is_ok());
            Ok(Value::from(valid))
        }),
    )?;
    engine.add_extension(
        "semver.compare".to_owned(),
        2,
        Box::new(|arguments: Vec<Value>| {
            let version = |at: usize| {
                let written = text(&arguments, at)?;
                semver::Version::parse(written)
                    .map_err(|error| Complaint(format!("'{written}' is no version: {error}")))
            };
            // The precedence of versions does not look at what was built.
            let order = version(0)?.cmp_precedence(&version(1)?);
            Ok(Value::from(order as i64))
        }),
    )?;
    Ok(())
}

/// What a function has to complain of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Complaint(String);

fn text(arguments: &[Value], at: usize) -> Result<&str, Complaint> {
    match arguments.get(at) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Complaint(format!("argument {} is no text", at + 1))),
    }
}
