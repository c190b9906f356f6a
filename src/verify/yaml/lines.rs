//! Lines of a document: how far each is indented, and what stands on it.

use super::YamlError;

/// A line, without its indentation and what follows its end.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub number: usize,
    pub indent: usize,
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// A complaint about it.
    pub fn refuse(&self, reason: &str) -> YamlError {
        YamlError { line: self.number, reason: reason.to_owned() }
    }

    /// What stands behind the dash of a list's item.
    pub fn item(&self) -> Option<&'a str> {
        match self.text.strip_prefix('-')? {
            "" => Some(""),
            rest => rest.strip_prefix(' ').map(str::trim_start),
        }
    }

    /// The key that the line begins with, and what stands behind its colon.
    pub fn key(&self) -> Result<Option<(String, &'a str)>, YamlError> {
        if self.text.starts_with(['"', '\'']) {
            let (key, rest) = super::flow::quoted(self.number, self.text)?;
            return Ok(rest.trim_start().strip_prefix(':').map(|rest| (key, rest.trim_start())));
        }
        if self.text.starts_with(['[', '{']) {
            return Ok(None);
        }
        let text = content(self.text);
        let found = text.find(": ").or_else(|| text.ends_with(':').then(|| text.len() - 1));
        let Some(at) = found else { return Ok(None) };
        let key = text[..at].trim_end();
        if key.starts_with(['&', '*', '!', '?', '|', '>', '%', '@', '`']) {
            return Err(self.refuse("anchors, aliases, tags and keys of more than a word are not read"));
        }
        Ok(Some((key.to_owned(), self.text[at + 1..].trim_start())))
    }
}

/// A line's text without a comment at its end. Quoted text may hold the sign of one.
pub fn content(text: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '#') if before.is_whitespace() => return text[..at].trim_end(),
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(letter),
            (Some(open), close) if open == close && (open == '\'' || before != '\\') => quote = None,
            _ => {}
        }
        before = letter;
    }
    text.trim_end()
}

/// The lines of one document.
pub fn lines(text: &str) -> Result<Vec<Line<'_>>, YamlError> {
    let mut lines = Vec::new();
    let mut begun = false;
    for (number, whole) in (1..).zip(text.lines()) {
        let whole = whole.trim_end_matches('\r');
        let trimmed = whole.trim_start_matches(' ');
        let line = Line { number, indent: whole.len() - trimmed.len(), text: trimmed.trim_end() };
        if trimmed.starts_with('\t') {
            return Err(line.refuse("a tab stands where lines are indented: use spaces"));
        }
        if whole.starts_with("---") || whole.starts_with("...") || whole.starts_with('%') {
            if begun || whole.trim_end() != "---" {
                return Err(line.refuse("more than one document, or a directive: give one document"));
            }
            begun = true;
            continue;
        }
        begun |= !line.text.is_empty() && !line.text.starts_with('#');
        lines.push(line);
    }
    Ok(lines)
}
