//! JSON with the line of each value, for policies that people write: a complaint must say where.
//!
//! Read into the same nodes as YAML, so that one reader of fields serves both. Strict: no key twice, nothing behind the end,
//! and what is text is what the standard says.

use super::yaml::{Entry, Node, Value, YamlError};
use crate::limits::{YAML_BYTES_MAX, YAML_DEPTH_COUNT_MAX, YAML_NODES_COUNT_MAX};

/// Parses one document.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let mut cursor = Cursor { rest: text, line: 1, nodes_left: YAML_NODES_COUNT_MAX };
    if text.len() > YAML_BYTES_MAX {
        return Err(cursor.refuse(&format!("it is longer than {YAML_BYTES_MAX} bytes")));
    }
    let node = cursor.value(YAML_DEPTH_COUNT_MAX)?;
    cursor.skip();
    match cursor.rest.is_empty() {
        true => Ok(node),
        false => Err(cursor.refuse("something stands behind the end of the document")),
    }
}

struct Cursor<'a> {
    rest: &'a str,
    line: usize,
    nodes_left: usize,
}

impl<'a> Cursor<'a> {
    fn refuse(&self, reason: &str) -> YamlError {
        YamlError { line: self.line, reason: format!("not JSON that is read here: {reason}") }
    }

    /// Goes past white space, and counts its lines.
    fn skip(&mut self) {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let skipped = &self.rest[..self.rest.len() - rest.len()];
        self.line += skipped.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
    }

    fn take(&mut self, sign: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth_left: usize) -> Result<Node, YamlError> {
        self.skip();
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(self.refuse("values are nested deeper than is read"));
        };
        self.nodes_left =
            self.nodes_left.checked_sub(1).ok_or_else(|| self.refuse("there are more values than are read"))?;
        let line = self.line;
        let value = if self.take('{') {
            self.object(depth_left)?
        } else if self.take('[') {
            self.list(depth_left)?
        } else if self.rest.starts_with('"') {
            Value::Scalar { text: self.string()?, is_quoted: true }
        } else {
            self.word()?
        };
        Ok(Node { line, value })
    }

    fn object(&mut self, depth_left: usize) -> Result<Value, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        if self.take('}') {
            return Ok(Value::Map(entries));
        }
        loop {
            self.skip();
            let line = self.line;
            let key = self.string()?;
            if entries.iter().any(|earlier| earlier.key == key) {
                return Err(self.refuse(&format!("key '{key}' stands twice")));
            }
            if !self.take(':') {
                return Err(self.refuse("expected a colon behind the key"));
            }
            entries.push(Entry { line, key, node: self.value(depth_left)? });
            if self.take('}') {
                return Ok(Value::Map(entries));
            }
            if !self.take(',') {
                return Err(self.refuse("expected a comma or a closing brace"));
            }
        }
    }

    fn list(&mut self, depth_left: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        if self.take(']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth_left)?);
            if self.take(']') {
                return Ok(Value::List(items));
            }
            if !self.take(',') {
                return Err(self.refuse("expected a comma or a closing bracket"));
            }
        }
    }

    /// A text in quotes; what stands between them is for the library to read.
    fn string(&mut self) -> Result<String, YamlError> {
        let Some(inner) = self.rest.strip_prefix('"') else { return Err(self.refuse("expected a text in quotes")) };
        let mut is_escaped = false;
        let end = inner.bytes().position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        });
        let Some(end) = end else { return Err(self.refuse("a quote is not closed")) };
        let (quoted, rest) = self.rest.split_at(end + 2);
        let text = serde_json::from_str(quoted).map_err(|_| self.refuse("a text holds what none may hold"))?;
        self.rest = rest;
        Ok(text)
    }

    /// A number, true, false or null.
    fn word(&mut self) -> Result<Value, YamlError> {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '+' | '.');
        let end = self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if !matches!(word, "null" | "true" | "false") && serde_json::from_str::<serde_json::Number>(word).is_err() {
            return Err(self.refuse("expected a value"));
        }
        self.rest = rest;
        Ok(match word {
            "null" => Value::Null,
            word => Value::Scalar { text: word.to_owned(), is_quoted: false },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::parse;
    use crate::verify::yaml::{Node, Value};

    fn as_json(node: &Node) -> Json {
        match &node.value {
            Value::Null => Json::Null,
            Value::Scalar { text, is_quoted: true } => json!(text),
            Value::Scalar { text, is_quoted: false } => serde_json::from_str(text).unwrap(),
            Value::List(items) => items.iter().map(as_json).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), as_json(&entry.node))).collect(),
        }
    }

    #[test]
    fn reads_what_the_library_reads() {
        for text in [
            "{}",
            " [ ] ",
            "{\"a\": [1, -2.5e3, true, false, null, \"x\\\"\\u00e9\\\\\"],\n\t\"b\": {\"c\": {}}}",
            "\"\\\\\"",
            "0",
        ] {
            assert_eq!(as_json(&parse(text).unwrap()), serde_json::from_str::<Json>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_line() {
        let check = |text: &str, line: usize, reason: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.line == line && error.reason.contains(reason), "{text}: {error}");
            assert!(reason == "twice" || serde_json::from_str::<Json>(text).is_err() || text.len() > 200, "{text}");
        };
        check("", 1, "expected a value");
        check("{\n\"a\": 1,\n\"a\": 2}", 3, "twice");
        check("{\"a\": 1}\n\nx", 3, "behind the end");
        check("[1,\n2", 2, "comma or a closing bracket");
        check("[1,]", 1, "expected a value");
        check("{\"a\" 1}", 1, "colon");
        check("{a: 1}", 1, "in quotes");
        check("{\"a\": 'x'}", 1, "expected a value");
        check("\"x", 1, "not closed");
        check("\"\n\"", 1, "none may hold");
        check("\"\\x\"", 1, "none may hold");
        check("01", 1, "expected a value");
        check("NaN", 1, "expected a value");
        check("tru", 1, "expected a value");
        check(&"[".repeat(500), 1, "deeper");
        check(&format!("[{}1]", "1,".repeat(20_000)), 1, "more values");
    }
}
