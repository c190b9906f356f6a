//! Scalars, and collections in brackets.

use super::lines::{Line, content};
use super::{Entry, Node, Value, YamlError};
use crate::limits::YAML_DEPTH_COUNT_MAX;

/// A scalar that stands alone on the rest of a line.
pub fn scalar(line: Line<'_>, text: &str) -> Result<Value, YamlError> {
    if text.starts_with(['"', '\'']) {
        let (text, rest) = quoted(line.number, text)?;
        let rest = content(rest.trim_start());
        if !rest.is_empty() && !rest.starts_with('#') {
            return Err(line.refuse("something stands behind the closing quote"));
        }
        return Ok(Value::Scalar { text, is_quoted: true });
    }
    plain(line.number, content(text))
}

fn plain(line: usize, text: &str) -> Result<Value, YamlError> {
    let refuse = |reason: &str| Err(YamlError { line, reason: reason.to_owned() });
    if text.starts_with(['&', '*', '!', '%', '@', '`', '|', '>', ']', '}', ',']) || text.starts_with("? ") {
        return refuse("anchors, aliases, tags and other signs at the beginning of a value are not read: quote it");
    }
    if text.contains(": ") || text.ends_with(':') {
        return refuse("a colon stands within the value: quote it");
    }
    Ok(match text {
        "" | "~" | "null" => Value::Null,
        text => Value::Scalar { text: text.to_owned(), is_quoted: false },
    })
}

/// A quoted text, and what stands behind it.
pub fn quoted(line: usize, text: &str) -> Result<(String, &str), YamlError> {
    let refuse = |reason: &str| YamlError { line, reason: reason.to_owned() };
    let mut letters = text.char_indices();
    let quote = letters.next().map_or('"', |(_, quote)| quote);
    let mut out = String::new();
    while let Some((at, letter)) = letters.next() {
        match (quote, letter) {
            ('"', '\\') => {
                let escaped = letters.next().map(|(_, escaped)| escaped);
                out.push(match escaped {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(same @ ('"' | '\\' | '/')) => same,
                    _ => return Err(refuse("of escapes \\n, \\t, \\\", \\\\ and \\/ are read")),
                });
            }
            ('\'', '\'') if text[at + 1..].starts_with('\'') => {
                letters.next();
                out.push('\'');
            }
            (open, close) if open == close => return Ok((out, &text[at + 1..])),
            (_, other) => out.push(other),
        }
    }
    Err(refuse("a quote is not closed on its line"))
}

/// A collection in brackets out of these lines; `None` where it goes on below them.
pub fn parse(pieces: &[(usize, &str)], nodes_left: &mut usize) -> Result<Option<Node>, YamlError> {
    let mut cursor = Cursor { pieces, piece: 0, rest: pieces.first().map_or("", |(_, text)| text), nodes_left };
    let Some(node) = cursor.value(YAML_DEPTH_COUNT_MAX)? else { return Ok(None) };
    cursor.skip();
    match cursor.rest.is_empty() {
        true => Ok(Some(node)),
        false => Err(cursor.refuse("something stands behind the closing bracket")),
    }
}

struct Cursor<'a, 'b> {
    pieces: &'a [(usize, &'a str)],
    piece: usize,
    rest: &'a str,
    nodes_left: &'b mut usize,
}

impl Cursor<'_, '_> {
    fn line(&self) -> usize {
        self.pieces.get(self.piece).map_or(1, |(number, _)| *number)
    }

    fn refuse(&self, reason: &str) -> YamlError {
        YamlError { line: self.line(), reason: reason.to_owned() }
    }

    /// Skips spaces, comments and line ends.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.is_empty() && !self.rest.starts_with('#') {
                return;
            }
            match self.pieces.get(self.piece + 1) {
                Some((_, text)) => {
                    self.piece += 1;
                    self.rest = text;
                }
                None => {
                    self.rest = "";
                    return;
                }
            }
        }
    }

    fn take(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth_left: usize) -> Result<Option<Node>, YamlError> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(self.refuse("values are nested deeper than is read"));
        };
        match self.nodes_left.checked_sub(1) {
            Some(left) => *self.nodes_left = left,
            None => return Err(self.refuse("there are more values than are read")),
        }
        self.skip();
        let line = self.line();
        if self.take('[') {
            let mut items = Vec::new();
            loop {
                self.skip();
                if self.take(']') {
                    return Ok(Some(Node { line, value: Value::List(items) }));
                }
                let Some(item) = self.value(depth_left)? else { return Ok(None) };
                items.push(item);
                self.skip();
                if !self.take(',') && !self.rest.starts_with(']') {
                    return self.unfinished("expected a comma or a closing bracket");
                }
            }
        }
        if self.take('{') {
            return self.map(line, depth_left);
        }
        match self.word()? {
            Some((text, true)) => Ok(Some(Node { line, value: Value::Scalar { text, is_quoted: true } })),
            Some((text, false)) => Ok(Some(Node { line, value: plain(line, &text)? })),
            None => Ok(None),
        }
    }

    fn map(&mut self, line: usize, depth_left: usize) -> Result<Option<Node>, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            self.skip();
            if self.take('}') {
                return Ok(Some(Node { line, value: Value::Map(entries) }));
            }
            let at = self.line();
            let Some((key, _)) = self.word()? else { return Ok(None) };
            if key == "<<" || entries.iter().any(|earlier| earlier.key == key) {
                return Err(self.refuse(&format!("key '{key}' stands twice, or is a merge key")));
            }
            self.skip();
            if !self.take(':') {
                return self.unfinished("expected a colon behind the key");
            }
            let Some(node) = self.value(depth_left)? else { return Ok(None) };
            entries.push(Entry { line: at, key, node });
            self.skip();
            if !self.take(',') && !self.rest.starts_with('}') {
                return self.unfinished("expected a comma or a closing brace");
            }
        }
    }

    /// At the end of the lines the collection goes on below; anywhere else it is wrong.
    fn unfinished(&self, reason: &str) -> Result<Option<Node>, YamlError> {
        if self.rest.is_empty() { Ok(None) } else { Err(self.refuse(reason)) }
    }

    /// A quoted text or a plain one, up to the next sign. `None` at the end of the lines.
    fn word(&mut self) -> Result<Option<(String, bool)>, YamlError> {
        self.skip();
        if self.rest.is_empty() {
            return Ok(None);
        }
        if self.rest.starts_with(['"', '\'']) {
            let (text, rest) = quoted(self.line(), self.rest)?;
            self.rest = rest;
            return Ok(Some((text, true)));
        }
        let ends = |(at, letter): (usize, char)| match letter {
            ',' | ']' | '}' | '[' | '{' => Some(at),
            ':' if self.rest[at + 1..].starts_with(' ') || self.rest.len() == at + 1 => Some(at),
            _ => None,
        };
        let end = self.rest.char_indices().find_map(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let word = content(word).trim();
        if word.is_empty() {
            return Err(self.refuse("a value is missing"));
        }
        Ok(Some((word.to_owned(), false)))
    }
}
