//! What a module may look like: the engine's own tree of it is walked before it is ever evaluated.
//!
//! The engine follows a function that calls itself until the stack is full, and a full stack ends the process. So nothing
//! may lead back to itself, and what leads to something else does so over a bounded number of steps. Functions that are not
//! on the list, other data and replaced input (`with`) are refused with their line: what cannot be honoured is not loaded.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{ALLOW, DENY, ModuleError, PACKAGE, functions};
use crate::limits::{REGO_DEPTH_COUNT_MAX, REGO_NESTING_COUNT_MAX, REGO_RULES_COUNT_MAX, REGO_STATEMENTS_COUNT_MAX};

/// What of a module is known without evaluating it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whether it has a rule `deny`.
    pub denies: bool,
}

/// Refuses a text whose brackets are nested too deep. The engine reads what is in brackets twice, to know a list from a
/// comprehension, and so what is in two pairs four times, and in twenty pairs a million times.
pub fn check_nesting(text: &str) -> Result<(), ModuleError> {
    let (mut depth, mut line) = (0_usize, 1);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => line += 1,
            '#' => line += usize::from(letters.by_ref().any(|letter| letter == '\n')),
            '`' => {
                line += letters.by_ref().take_while(|letter| *letter != '`').filter(|letter| *letter == '\n').count()
            }
            '"' => {
                let mut escaped = false;
                for letter in letters.by_ref() {
                    match letter {
                        '"' | '\n' if !escaped => break,
                        _ => escaped = letter == '\\' && !escaped,
                    }
                }
            }
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > REGO_NESTING_COUNT_MAX {
            return refused(line, &format!("brackets are nested deeper than {REGO_NESTING_COUNT_MAX}"));
        }
    }
    Ok(())
}

/// Checks the tree of one module, as the engine writes it.
pub fn check(tree: &str) -> Result<Shape, ModuleError> {
    let modules: Value = serde_json::from_str(tree).map_err(|_| refusal(1, "it is nested deeper than is read"))?;
    let module = &modules[0]["ast"];
    package(&module["package"])?;
    for import in array(&module["imports"]) {
        let path = path(&import["refr"]);
        if path != ["rego", "v1"] && !path.starts_with(&["future", "keywords"]) {
            return refused(line(import), "only rego.v1 is imported: there is nothing else");
        }
    }
    if module["target"].is_string() {
        return refused(1, "__target__ has no meaning here");
    }
    if module["num_statements"].as_u64().is_none_or(|count| count > REGO_STATEMENTS_COUNT_MAX as u64) {
        return refused(1, &format!("it has more than {REGO_STATEMENTS_COUNT_MAX} statements"));
    }
    let rules = rules(array(&module["rules"]))?;
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name).collect();
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in &rules {
        let mut walk = Walk { names: &names, used: uses.entry(rule.name).or_default() };
        rule.parts.iter().try_for_each(|part| walk.look(part))?;
    }
    for rule in &rules {
        depth(rule, &uses)?;
    }
    if !names.contains(ALLOW) {
        return refused(1, &format!("it has no rule '{ALLOW}', so that nothing would come in"));
    }
    Ok(Shape { denies: names.contains(DENY) })
}

fn package(package: &Value) -> Result<(), ModuleError> {
    if path(&package["refr"]) != [PACKAGE] {
        return refused(line(package), &format!("its package is not '{PACKAGE}'"));
    }
    Ok(())
}

/// One rule or function, or one of several bodies of it.
struct Rule<'a> {
    name: &'a str,
    line: usize,
    /// All of it but its own name.
    parts: Vec<&'a Value>,
}

fn rules(written: &[Value]) -> Result<Vec<Rule<'_>>, ModuleError> {
    if written.len() > REGO_RULES_COUNT_MAX {
        return refused(1, &format!("it has more than {REGO_RULES_COUNT_MAX} rules"));
    }
    written.iter().map(rule).collect()
}

fn rule(written: &Value) -> Result<Rule<'_>, ModuleError> {
    let (head, body) = match (&written["Spec"], &written["Default"]) {
        (Value::Object(rule), _) => {
            let head = rule["head"].as_object().and_then(|head| head.values().next()).unwrap_or(&Value::Null);
            (head, rule.get("bodies"))
        }
        (_, default) => (default, None),
    };
    let name = path(&head["refr"]);
    let Some(name) = name.first().copied() else { return refused(line(head), "it has a rule without a name") };
    let parts = head.as_object().into_iter().flatten().filter(|(key, _)| *key != "refr").map(|(_, part)| part);
    // What stands behind the name in a head, as in `deny[reason]`.
    let behind = head["refr"].as_object().and_then(|refr| refr.get("RefBrack")).map(|brackets| &brackets["index"]);
    Ok(Rule { name, line: line(head), parts: parts.chain(behind).chain(body).collect() })
}

/// Looks at everything in a rule.
struct Walk<'a, 'b> {
    names: &'b BTreeSet<&'a str>,
    used: &'b mut BTreeSet<&'a str>,
}

impl<'a> Walk<'a, '_> {
    fn look(&mut self, part: &'a Value) -> Result<(), ModuleError> {
        match part {
            Value::Array(items) => items.iter().try_for_each(|item| self.look(item)),
            Value::Object(fields) => {
                if let Some(call) = fields.get("Call") {
                    self.call(call)?;
                }
                if let Some(variable) = fields.get("Var") {
                    self.variable(variable)?;
                }
                if fields.get("with_mods").is_some_and(|with| !array(with).is_empty()) {
                    return refused(line(part), "'with' is not honoured: a module is asked about what is there");
                }
                fields.values().try_for_each(|field| self.look(field))
            }
            _ => Ok(()),
        }
    }

    fn call(&self, call: &Value) -> Result<(), ModuleError> {
        let name = path(&call["fcn"]);
        if let [own] = name.as_slice()
            && self.names.contains(own)
        {
            return Ok(());
        }
        let arguments: Vec<Option<&str>> = array(&call["params"]).iter().map(literal).collect();
        functions::check(&name.join("."), &arguments).map_err(|reason| refusal(line(call), &reason))
    }

    fn variable(&mut self, variable: &'a Value) -> Result<(), ModuleError> {
        let name = variable["value"].as_str().unwrap_or_default();
        if name == "data" {
            return refused(line(variable), "there is no 'data': a rule of the module is called by its name alone");
        }
        if let Some(name) = self.names.get(name) {
            self.used.insert(name);
        }
        Ok(())
    }
}

/// The text of an argument that is written out.
fn literal(argument: &Value) -> Option<&str> {
    let fields = argument.as_object()?;
    fields.get("String").or_else(|| fields.get("RawString"))?["value"].as_str()
}

/// Refuses a rule that leads to itself, or over too many others.
fn depth(rule: &Rule<'_>, uses: &BTreeMap<&str, BTreeSet<&str>>) -> Result<(), ModuleError> {
    let mut reached: BTreeSet<&str> = BTreeSet::from([rule.name]);
    for _ in 0..REGO_DEPTH_COUNT_MAX {
        reached = reached.iter().filter_map(|name| uses.get(name)).flatten().copied().collect();
        if reached.is_empty() {
            return Ok(());
        }
        if reached.contains(rule.name) {
            return refused(
                rule.line,
                &format!("'{}' leads back to itself; a variable of its name counts too", rule.name),
            );
        }
    }
    refused(rule.line, &format!("'{}' leads over more than {REGO_DEPTH_COUNT_MAX} other rules", rule.name))
}

/// The names that a reference is made of; empty where it is something else.
fn path(reference: &Value) -> Vec<&str> {
    let (mut names, mut at) = (Vec::new(), reference);
    loop {
        if let Some(name) = at["Var"]["value"].as_str() {
            names.push(name);
            names.reverse();
            return names;
        }
        at = match (&at["RefDot"], &at["RefBrack"]) {
            (Value::Object(dot), _) => {
                names.push(dot["field"][1].as_str().unwrap_or_default());
                &dot["refr"]
            }
            // A rule may have brackets in its head; a function may not, and its name here is none that is known.
            (_, Value::Object(brackets)) => {
                names.push("[]");
                &brackets["refr"]
            }
            _ => return Vec::new(),
        };
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn line(part: &Value) -> usize {
    part["span"]["line"].as_u64().and_then(|line| usize::try_from(line).ok()).unwrap_or(1)
}

fn refusal(line: usize, reason: &str) -> ModuleError {
    ModuleError { line, reason: reason.to_owned() }
}

fn refused<T>(line: usize, reason: &str) -> Result<T, ModuleError> {
    Err(refusal(line, reason))
}
