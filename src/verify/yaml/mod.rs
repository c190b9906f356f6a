//! As much of YAML as policies of other tools are written in, with lines, and nothing that could be read in two ways.
//!
//! Block and flow collections, plain and quoted scalars on one line, and literal blocks. Anchors, aliases, tags, merge keys,
//! several documents, tabs and keys that stand twice are refused by name: two readers must not see two policies.

mod flow;
mod lines;

use std::fmt;

use self::lines::{Line, content, lines};
use crate::limits::{YAML_BYTES_MAX, YAML_DEPTH_COUNT_MAX, YAML_NODES_COUNT_MAX};

/// A value and the line on which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub line: usize,
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    /// A scalar, and whether it was quoted: what is quoted is text, whatever it looks like.
    Scalar {
        text: String,
        is_quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    pub key: String,
    pub node: Node,
}

/// Why a text is not YAML that is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for YamlError {}

/// Parses one document.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > YAML_BYTES_MAX {
        return Err(YamlError { line: 1, reason: format!("it is longer than {YAML_BYTES_MAX} bytes") });
    }
    let mut parser = Parser { lines: lines(text)?, at: 0, nodes_left: YAML_NODES_COUNT_MAX };
    let Some(first) = parser.next_line() else {
        return Ok(Node { line: 1, value: Value::Null });
    };
    let node = parser.block(first.indent, YAML_DEPTH_COUNT_MAX)?;
    match parser.next_line() {
        Some(line) => Err(line.refuse("this line does not belong to what stands before it; look at its indentation")),
        None => Ok(node),
    }
}

struct Parser<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
    nodes_left: usize,
}

impl<'a> Parser<'a> {
    /// The next line with anything on it.
    fn next_line(&mut self) -> Option<Line<'a>> {
        while let Some(line) = self.lines.get(self.at) {
            if !line.text.is_empty() && !line.text.starts_with('#') {
                return Some(*line);
            }
            self.at += 1;
        }
        None
    }

    fn count(&mut self, line: Line<'_>) -> Result<(), YamlError> {
        match self.nodes_left.checked_sub(1) {
            Some(left) => {
                self.nodes_left = left;
                Ok(())
            }
            None => Err(line.refuse("there are more values than are read")),
        }
    }

    /// A block collection or a scalar, which begins on the next line at `indent`.
    fn block(&mut self, indent: usize, depth_left: usize) -> Result<Node, YamlError> {
        let Some(line) = self.next_line() else { return Ok(Node { line: 1, value: Value::Null }) };
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(line.refuse("values are nested deeper than is read"));
        };
        self.count(line)?;
        if line.item().is_some() {
            return self.list(indent, depth_left);
        }
        if line.key()?.is_some() {
            return self.map(indent, depth_left);
        }
        self.at += 1;
        self.inline(line, line.text)
    }

    fn list(&mut self, indent: usize, depth_left: usize) -> Result<Node, YamlError> {
        let first = self.next_line().map_or(1, |line| line.number);
        let mut items = Vec::new();
        while let Some(line) = self.next_line().filter(|line| line.indent == indent) {
            let Some(rest) = line.item() else { break };
            self.count(line)?;
            if content(rest).is_empty() {
                self.at += 1;
                items.push(self.below(line, indent, depth_left)?);
                continue;
            }
            // What stands behind the dash is a block of its own, indented to where it begins.
            let inner = line.text.len() - rest.len();
            self.lines[self.at] = Line { indent: indent + inner, text: rest, ..line };
            items.push(self.block(indent + inner, depth_left)?);
        }
        Ok(Node { line: first, value: Value::List(items) })
    }

    fn map(&mut self, indent: usize, depth_left: usize) -> Result<Node, YamlError> {
        let first = self.next_line().map_or(1, |line| line.number);
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(line) = self.next_line().filter(|line| line.indent == indent) {
            if line.item().is_some() {
                break;
            }
            let Some((key, rest)) = line.key()? else {
                return Err(line.refuse("expected a key and a colon"));
            };
            if key == "<<" {
                return Err(line.refuse("merge keys are not read: write out what is meant"));
            }
            if entries.iter().any(|earlier| earlier.key == key) {
                return Err(line.refuse(&format!("key '{key}' stands twice")));
            }
            self.count(line)?;
            self.at += 1;
            let node = if content(rest).is_empty() {
                self.below(line, indent, depth_left)?
            } else if rest.starts_with(['|', '>']) {
                self.literal(line, rest, indent)?
            } else {
                self.inline(line, rest)?
            };
            entries.push(Entry { line: line.number, key, node });
        }
        Ok(Node { line: first, value: Value::Map(entries) })
    }

    /// What stands on the lines below a key or a dash: deeper, or a list at the key's own indentation; or nothing.
    fn below(&mut self, parent: Line<'_>, indent: usize, depth_left: usize) -> Result<Node, YamlError> {
        match self.next_line() {
            Some(next) if next.indent > indent => self.block(next.indent, depth_left),
            Some(next) if next.indent == indent && next.item().is_some() && parent.item().is_none() => {
                self.list(indent, depth_left)
            }
            _ => Ok(Node { line: parent.number, value: Value::Null }),
        }
    }

    /// A scalar or a flow collection that begins on this line; a flow collection may go on below.
    fn inline(&mut self, line: Line<'a>, text: &'a str) -> Result<Node, YamlError> {
        if !text.starts_with(['[', '{']) {
            return Ok(Node { line: line.number, value: flow::scalar(line, text)? });
        }
        let mut pieces = vec![(line.number, text)];
        loop {
            match flow::parse(&pieces, &mut self.nodes_left)? {
                Some(node) => return Ok(node),
                None => match self.lines.get(self.at) {
                    Some(next) => {
                        pieces.push((next.number, next.text));
                        self.at += 1;
                    }
                    None => return Err(line.refuse("a bracket is not closed")),
                },
            }
        }
    }

    /// A literal block (`|`), or a folded one (`>`), with `-` where its last line end does not count.
    fn literal(&mut self, line: Line<'_>, head: &str, indent: usize) -> Result<Node, YamlError> {
        let (is_folded, keeps_end) = match content(head) {
            "|" => (false, true),
            "|-" => (false, false),
            ">" => (true, true),
            ">-" => (true, false),
            _ => return Err(line.refuse("of block scalars |, |-, > and >- are read")),
        };
        let mut collected: Vec<String> = Vec::new();
        let mut inner = None;
        while let Some(next) = self.lines.get(self.at) {
            if next.text.is_empty() {
                collected.push(String::new());
                self.at += 1;
                continue;
            }
            if next.indent <= indent {
                break;
            }
            let inner = *inner.get_or_insert(next.indent);
            if next.indent < inner {
                return Err(next.refuse("this line of the block stands before the others"));
            }
            collected.push(format!("{}{}", " ".repeat(next.indent - inner), next.text));
            self.at += 1;
        }
        while collected.last().is_some_and(String::is_empty) {
            collected.pop();
        }
        let mut text = collected.join(if is_folded { " " } else { "\n" });
        if keeps_end && !text.is_empty() {
            text.push('\n');
        }
        Ok(Node { line: line.number, value: Value::Scalar { text, is_quoted: true } })
    }
}

#[cfg(test)]
mod tests;
