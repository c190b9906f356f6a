//! Fields of an object in YAML or JSON, read by name, so that every complaint has a line and no unknown field is passed
//! over.

use crate::verify::policy::document::shortened;
use crate::verify::policy::error::{PolicyError, Problem, nearest};
use crate::verify::yaml::{Entry, Node, Value};

/// A complaint about a line.
pub fn refuse<T>(line: usize, reason: &str) -> Result<T, PolicyError> {
    Err(PolicyError::At { line, problem: Problem::Foreign(reason.to_owned()) })
}

/// A scalar's text.
pub fn scalar<'a>(node: &'a Node, what: &str) -> Result<&'a str, PolicyError> {
    match &node.value {
        Value::Scalar { text, .. } => Ok(text),
        _ => refuse(node.line, &format!("{what} is no single value")),
    }
}

/// An object.
pub struct Fields<'a> {
    what: &'a str,
    pub line: usize,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which a person knows as `what`.
    pub fn of(node: &'a Node, what: &'a str) -> Result<Self, PolicyError> {
        match &node.value {
            Value::Map(entries) => Ok(Self { what, line: node.line, entries }),
            _ => refuse(node.line, &format!("{what} is no object with fields")),
        }
    }

    /// Refuses every field that is not in `known`.
    pub fn allow_only(&self, known: &[&str]) -> Result<(), PolicyError> {
        match self.entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            None => Ok(()),
            Some(entry) => {
                let hint = nearest(&entry.key, known.iter().copied());
                let hint = hint.map(|name| format!(", did you mean '{name}'?")).unwrap_or_default();
                let key = shortened(&entry.key);
                refuse(entry.line, &format!("field '{key}' in {} is not understood here{hint}", self.what))
            }
        }
    }

    /// Every field with its name.
    pub const fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    fn find(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// A complaint about one field.
    pub fn refuse_at<T>(&self, key: &str, reason: &str) -> Result<T, PolicyError> {
        refuse(self.find(key).map_or(self.line, |entry| entry.line), &format!("'{key}': {reason}"))
    }

    /// A field that may be left out.
    pub fn optional(&self, key: &str) -> Option<&'a Node> {
        self.find(key).map(|entry| &entry.node)
    }

    /// A field that must be there.
    pub fn required(&self, key: &str) -> Result<&'a Node, PolicyError> {
        match self.optional(key) {
            Some(node) => Ok(node),
            None => refuse(self.line, &format!("'{key}' is missing in {}", self.what)),
        }
    }

    /// A text that must be there.
    pub fn text(&self, key: &str) -> Result<&'a str, PolicyError> {
        scalar(self.required(key)?, key)
    }

    /// A text that may be left out.
    pub fn optional_text(&self, key: &str) -> Result<Option<&'a str>, PolicyError> {
        self.optional(key).map(|node| scalar(node, key)).transpose()
    }

    /// A text that must be one of these.
    pub fn expect(&self, key: &str, values: &[&str]) -> Result<(), PolicyError> {
        match self.text(key)? {
            text if values.contains(&text) => Ok(()),
            text => {
                let reason = format!("'{}' is not read here, expected {}", shortened(text), values.join(" or "));
                self.refuse_at(key, &reason)
            }
        }
    }

    /// A list with something in it.
    pub fn list(&self, key: &str) -> Result<&'a [Node], PolicyError> {
        Self::list_of(self.required(key)?, key)
    }

    /// The entries of an object that may be left out.
    pub fn optional_map(&self, key: &str) -> Result<&'a [Entry], PolicyError> {
        match self.optional(key).map(|node| (node.line, &node.value)) {
            None | Some((_, Value::Null)) => Ok(&[]),
            Some((_, Value::Map(entries))) => Ok(entries),
            Some((line, _)) => refuse(line, &format!("'{key}' is no object with fields")),
        }
    }

    /// A node that must be a list with something in it.
    pub fn list_of(node: &'a Node, what: &str) -> Result<&'a [Node], PolicyError> {
        match &node.value {
            Value::List(items) if !items.is_empty() => Ok(items),
            _ => refuse(node.line, &format!("'{what}' is no list, or an empty one")),
        }
    }

    /// A list that may be left out.
    pub fn optional_list(&self, key: &str) -> Result<&'a [Node], PolicyError> {
        match self.optional(key) {
            None => Ok(&[]),
            Some(_) => self.list(key),
        }
    }
}
