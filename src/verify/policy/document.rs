//! A TOML document read key by key, so that every complaint has a line and an unknown key is never passed over.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{PolicyError, Problem, nearest};
use crate::limits::{POLICY_BYTES_MAX, POLICY_LIST_COUNT_MAX};

/// Something and the line on which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub line: usize,
    pub value: T,
}

/// Lists of texts, each with its name.
pub type NamedLists = Vec<(String, At<Vec<String>>)>;

/// A value that is no list and no table.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

impl<T> At<T> {
    /// A complaint about this place.
    pub fn refuse<U>(&self, problem: Problem) -> Result<U, PolicyError> {
        Err(PolicyError::At { line: self.line, problem })
    }
}

/// One table of the document, with the name by which a person knows it.
pub struct Table<'a> {
    text: &'a str,
    /// Such as `rule 'base images', signature`.
    pub name: String,
    pub line: usize,
    entries: &'a DeTable<'a>,
}

/// Parses the whole document.
pub fn parse(bytes: &[u8]) -> Result<(&str, Spanned<DeTable<'_>>), PolicyError> {
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::NotText)?;
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        PolicyError::Syntax { line, message: error.message().to_owned() }
    })?;
    Ok((text, document))
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

impl<'a> Table<'a> {
    /// The document itself.
    pub fn top(text: &'a str, document: &'a Spanned<DeTable<'a>>) -> Self {
        Self { text, name: "the policy".to_owned(), line: 1, entries: document.get_ref() }
    }

    fn line_of(&self, value: &Spanned<DeValue<'_>>) -> usize {
        line_of(self.text, value.span().start)
    }

    fn wrong_type<T>(&self, key: &str, wanted: &'static str, found: &Spanned<DeValue<'_>>) -> Result<T, PolicyError> {
        let problem =
            Problem::WrongType { key: key.to_owned(), table: self.name.clone(), wanted, found: kind(found.get_ref()) };
        Err(PolicyError::At { line: self.line_of(found), problem })
    }

    /// A complaint about the table as a whole.
    pub fn refuse<T>(&self, problem: Problem) -> Result<T, PolicyError> {
        Err(PolicyError::At { line: self.line, problem })
    }

    /// Refuses every key that is not in `known`.
    pub fn allow_only(&self, known: &[&str]) -> Result<(), PolicyError> {
        for (key, _) in self.entries {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let line = line_of(self.text, key.span().start);
                let nearest = nearest(name, known.iter().copied());
                let problem = Problem::UnknownKey { key: shortened(name), table: self.name.clone(), nearest };
                return Err(PolicyError::At { line, problem });
            }
        }
        Ok(())
    }

    /// A text that may be left out.
    pub fn text(&self, key: &str) -> Result<Option<At<String>>, PolicyError> {
        let Some(found) = self.entries.get(key) else {
            return Ok(None);
        };
        match found.get_ref() {
            DeValue::String(value) => Ok(Some(At { line: self.line_of(found), value: value.clone().into_owned() })),
            _ => self.wrong_type(key, "a string", found),
        }
    }

    /// A text that must be there.
    pub fn required_text(&self, key: &'static str) -> Result<At<String>, PolicyError> {
        match self.text(key)? {
            Some(text) => Ok(text),
            None => self.refuse(Problem::Missing { key, table: self.name.clone() }),
        }
    }

    /// A whole number that may be left out.
    pub fn integer(&self, key: &str) -> Result<Option<At<i64>>, PolicyError> {
        let Some(found) = self.entries.get(key) else {
            return Ok(None);
        };
        let parsed = match found.get_ref() {
            DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix()).ok(),
            _ => None,
        };
        match parsed {
            Some(value) => Ok(Some(At { line: self.line_of(found), value })),
            None => self.wrong_type(key, "a whole number", found),
        }
    }

    /// Something that is demanded with `true`; `false` says the same as nothing.
    pub fn demanded(&self, key: &str) -> Result<bool, PolicyError> {
        match self.entries.get(key).map(|found| (found, found.get_ref())) {
            None => Ok(false),
            Some((_, DeValue::Boolean(value))) => Ok(*value),
            Some((found, _)) => self.wrong_type(key, "true or false", found),
        }
    }

    /// One value that may be left out.
    pub fn scalar(&self, key: &str) -> Result<Option<At<Scalar>>, PolicyError> {
        let Some(found) = self.entries.get(key) else {
            return Ok(None);
        };
        match scalar(found.get_ref()) {
            Some(value) => Ok(Some(At { line: self.line_of(found), value })),
            None => self.wrong_type(key, "one value", found),
        }
    }

    /// One value or a list of them, and the line.
    pub fn scalars(&self, key: &'static str) -> Result<Option<(Vec<Scalar>, usize)>, PolicyError> {
        let Some(found) = self.entries.get(key) else {
            return Ok(None);
        };
        let line = self.line_of(found);
        let values = match found.get_ref() {
            DeValue::Array(items) => {
                if items.len() > POLICY_LIST_COUNT_MAX {
                    let problem = Problem::TooManyValues { key, table: self.name.clone() };
                    return Err(PolicyError::At { line, problem });
                }
                items.iter().map(|item| scalar(item.get_ref())).collect()
            }
            other => scalar(other).map(|only| vec![only]),
        };
        match values {
            Some(values) => Ok(Some((values, line))),
            None => self.wrong_type(key, "a value, or a list of values", found),
        }
    }

    /// Every entry of a table that has names of its own as keys and texts as values.
    pub fn all_texts(&self) -> Result<Vec<(String, At<String>)>, PolicyError> {
        let mut texts = Vec::new();
        for (key, _) in self.entries {
            let name: &str = key.get_ref();
            if let Some(text) = self.text(name)? {
                texts.push((name.to_owned(), text));
            }
        }
        Ok(texts)
    }

    /// Every entry of a table that has names of its own as keys, and a text or several as values.
    pub fn all_lists(&self) -> Result<NamedLists, PolicyError> {
        let mut lists = Vec::new();
        for (key, found) in self.entries {
            let name: &str = key.get_ref();
            let text = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
                DeValue::String(text) => Ok(text.clone().into_owned()),
                _ => self.wrong_type(name, "a string, or a list of strings", found),
            };
            let value: Vec<String> = match found.get_ref() {
                DeValue::Array(items) => items.iter().map(text).collect::<Result<_, _>>()?,
                _ => vec![text(found)?],
            };
            let list = At { line: self.line_of(found), value };
            if list.value.is_empty() || list.value.len() > POLICY_LIST_COUNT_MAX {
                let reason = format!("'{}' in {} is empty, or names more than are read", shortened(name), self.name);
                return list.refuse(Problem::Foreign(reason));
            }
            lists.push((name.to_owned(), list));
        }
        Ok(lists)
    }

    /// A text of several lines that must be there, with the line on which it begins.
    pub fn required_block(&self, key: &'static str) -> Result<At<String>, PolicyError> {
        let mut block = self.required_text(key)?;
        let written = self.entries.get(key).and_then(|found| self.text.get(found.span()));
        let opens = |quotes: &str| {
            written.and_then(|text| text.strip_prefix(quotes)).is_some_and(|rest| rest.starts_with(['\n', '\r']))
        };
        if opens("'''") || opens("\"\"\"") {
            block.line += 1;
        }
        Ok(block)
    }

    /// Refuses the first of these lists that is there.
    pub fn required_if_there(&self, keys: &[&'static str]) -> Result<(), PolicyError> {
        match keys.iter().find(|key| self.entries.contains_key(**key)) {
            Some(key) => self.refuse(Problem::Empty { key, table: self.name.clone() }),
            None => Ok(()),
        }
    }

    /// A list of texts, in order and without repetition; empty when it is left out.
    pub fn texts(&self, key: &'static str) -> Result<Vec<At<String>>, PolicyError> {
        let Some(found) = self.entries.get(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Array(items) = found.get_ref() else {
            return self.wrong_type(key, "a list of strings", found);
        };
        let mut texts: Vec<At<String>> = Vec::new();
        for item in items.iter() {
            let DeValue::String(value) = item.get_ref() else {
                return self.wrong_type(key, "a list of strings", item);
            };
            let text = At { line: self.line_of(item), value: value.clone().into_owned() };
            if texts.iter().any(|earlier| earlier.value == text.value) {
                let problem = Problem::Twice { value: shortened(&text.value), key, table: self.name.clone() };
                return text.refuse(problem);
            }
            if texts.len() == POLICY_LIST_COUNT_MAX {
                return text.refuse(Problem::TooManyValues { key, table: self.name.clone() });
            }
            texts.push(text);
        }
        Ok(texts)
    }

    /// A list of texts with at least one in it.
    pub fn required_texts(&self, key: &'static str) -> Result<Vec<At<String>>, PolicyError> {
        let texts = self.texts(key)?;
        if texts.is_empty() {
            let table = self.name.clone();
            let there = self.entries.contains_key(key);
            return self.refuse(if there { Problem::Empty { key, table } } else { Problem::Missing { key, table } });
        }
        Ok(texts)
    }

    /// A table inside, to be called `name`.
    pub fn table(&self, key: &str, name: &str) -> Result<Option<Self>, PolicyError> {
        let Some(found) = self.entries.get(key) else {
            return Ok(None);
        };
        self.inner(key, name, found).map(Some)
    }

    /// Every entry of a table that has names of its own as keys.
    pub fn named_tables(&self, prefix: &str) -> Result<Vec<(String, Self)>, PolicyError> {
        let mut tables = Vec::new();
        for (key, found) in self.entries {
            let name: &str = key.get_ref();
            tables.push((name.to_owned(), self.inner(name, &format!("{prefix} '{}'", shortened(name)), found)?));
        }
        Ok(tables)
    }

    /// A list of tables (`[[key]]`), each to be called `name` and its number.
    pub fn tables(&self, key: &str, name: &str) -> Result<Vec<Self>, PolicyError> {
        let Some(found) = self.entries.get(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Array(items) = found.get_ref() else {
            return self.wrong_type(key, "a list of tables ([[ ]])", found);
        };
        items.iter().zip(1..).map(|(item, number)| self.inner(key, &format!("{name} {number}"), item)).collect()
    }

    fn inner(&self, key: &str, name: &str, found: &'a Spanned<DeValue<'a>>) -> Result<Self, PolicyError> {
        match found.get_ref() {
            DeValue::Table(entries) => {
                Ok(Self { text: self.text, name: name.to_owned(), line: self.line_of(found), entries })
            }
            _ => self.wrong_type(key, "a table", found),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<Scalar> {
    match value {
        DeValue::String(text) => Some(Scalar::Text(text.clone().into_owned())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Scalar::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().ok().filter(|number: &f64| number.is_finite()).map(Scalar::Float)
        }
        DeValue::Boolean(value) => Some(Scalar::Bool(*value)),
        DeValue::Datetime(time) => Some(Scalar::Text(time.to_string())),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date without quotes",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Foreign text as it may stand in a message: short, and without control characters.
pub fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    let mut short = String::new();
    for letter in text.chars().take(CHARACTERS_MAX) {
        if letter.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(short, "{}", letter.escape_default());
        } else {
            short.push(letter);
        }
    }
    short
}
