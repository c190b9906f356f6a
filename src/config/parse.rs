//! Text to [`ConfigFile`], with the line and the nearest known name for whatever does not fit.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::document::{self, Key, Kind};
use super::file::ConfigFile;
use super::problem::Problem;

/// A file that fits the definition, and on which line each of its keys stands.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    pub file: ConfigFile,
    pub lines: Lines,
}

/// Line of each key that was written, by its path such as `upstream[0].url`.
#[derive(Clone, Debug, Default)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// The line of `key`, or of the nearest table around it.
    pub fn of(&self, key: &str) -> Option<usize> {
        let mut path = key;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Whether the key was written at all.
    pub fn holds(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// Reads a configuration; all unknown keys are named at once.
pub fn parse(text: &str) -> Result<Parsed, Vec<Problem>> {
    let table = DeTable::parse(text).map_err(|error| vec![not_toml(text, &error)])?;
    let mut walk = Walk { text, lines: Lines::default(), problems: Vec::new() };
    walk.table(table.get_ref(), Some(document::keys()), "");
    if !walk.problems.is_empty() {
        return Err(walk.problems);
    }
    let lines = walk.lines;
    match toml::from_str(text) {
        Ok(file) => Ok(Parsed { file, lines }),
        Err(error) => Err(vec![wrong_type(text, &lines, &error)]),
    }
}

fn line_of(text: &str, offset_bytes: usize) -> usize {
    1 + text.as_bytes().iter().take(offset_bytes).filter(|byte| **byte == b'\n').count()
}

fn not_toml(text: &str, error: &toml::de::Error) -> Problem {
    Problem {
        line: error.span().map(|span| line_of(text, span.start)),
        key: String::new(),
        problem: format!("not valid TOML: {}", error.message()),
        next_step: "mend this line; texts stand in double quotes".to_owned(),
    }
}

fn wrong_type(text: &str, lines: &Lines, error: &toml::de::Error) -> Problem {
    let line = error.span().map(|span| line_of(text, span.start));
    // The last key that begins on the line: of `[listen]` and `listen.address` on two lines, the one that is meant.
    let key = line.and_then(|line| lines.0.iter().filter(|(_, at)| **at == line).map(|(key, _)| key).next_back());
    let key = key.cloned().unwrap_or_default();
    Problem {
        line,
        problem: error.message().trim().to_owned(),
        next_step: match find(document::keys(), &key) {
            Some(Key { choices, .. }) if !choices.is_empty() => format!("write one of: {}", choices.join(", ")),
            Some(Key { kind: Kind::Value { type_name }, .. }) => format!("write a {type_name}"),
            _ => "`postern config show --defaults` shows how each key is written".to_owned(),
        },
        key,
    }
}

/// The definition of a key by its path, list positions left out.
fn find<'a>(keys: &'a [Key], path: &str) -> Option<&'a Key> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let first = first.split('[').next().unwrap_or(first);
    let key = keys.iter().find(|key| key.name == first)?;
    match (rest, &key.kind) {
        (None, _) => Some(key),
        (Some(rest), Kind::Table(inner) | Kind::Tables(inner)) => find(inner, rest),
        (Some(_), Kind::Value { .. }) => None,
    }
}

struct Walk<'t> {
    text: &'t str,
    lines: Lines,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, known: Option<&[Key]>, prefix: &str) {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            let line = line_of(self.text, name.span().start);
            let key = known.and_then(|known| known.iter().find(|key| key.name == *name.get_ref()));
            self.lines.0.insert(path.clone(), line);
            match (key, known) {
                (None, Some(known)) => self.problems.push(unknown(line, &path, name.get_ref(), known)),
                (key, _) => self.value(value.get_ref(), key.map(|key| &key.kind), &path),
            }
        }
    }

    fn value(&mut self, value: &DeValue<'_>, kind: Option<&Kind>, path: &str) {
        let inner = match kind {
            Some(Kind::Table(inner) | Kind::Tables(inner)) => Some(inner.as_slice()),
            _ => None,
        };
        if let Some(table) = value.as_table() {
            self.table(table, inner, &format!("{path}."));
        }
        for (position, item) in value.as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}[{position}]");
            if item.get_ref().is_table() {
                self.lines.0.insert(path.clone(), line_of(self.text, item.span().start));
            }
            self.value(item.get_ref(), kind, &path);
        }
    }
}

fn unknown(line: usize, path: &str, name: &str, known: &[Key]) -> Problem {
    let next_step = match nearest(name, known.iter().map(|key| key.name.as_str())) {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => format!("known here: {}", known.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    Problem { line: Some(line), key: path.to_owned(), problem: "no such key".to_owned(), next_step }
}

/// The known name that `name` was probably meant to be.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, line: usize, key: &str, words: &str| {
            let problems = parse(text).unwrap_err();
            let problem = &problems[0];
            assert_eq!((problem.line, problem.key.as_str()), (Some(line), key), "{problem}");
            assert!(problem.to_string().contains(words), "{problem}");
        };
        check("[listen]\nadress = \"x\"", 2, "listen.adress", "did you mean 'address'?");
        check("ofline = true", 1, "ofline", "did you mean 'offline'?");
        check("\n[[upstream]]\nname = \"a\"\nurll = \"b\"", 4, "upstream[0].urll", "did you mean 'url'?");
        check(
            "[[upstream]]\nname = \"a\"\n[[upstream]]\nzzzzzzzz = 1",
            4,
            "upstream[1].zzzzzzzz",
            "known here: name, url, namespaces",
        );
        check("[listen]\naddress = 5", 2, "listen.address", "write a text");
        check("offline = \"yes\"", 1, "offline", "write a true or false");
        check("[log]\nformat = \"pretty\"", 2, "log.format", "write one of: auto, human, json");
        check("[sweep]\n\ngrace_seconds = -1", 3, "sweep.grace_seconds", "write a number");
        check("a = = 1", 1, "", "not valid TOML");
        check("offline = true\noffline = false", 2, "", "not valid TOML");
        check("[[upstream]]\nname = [\"a\"]\n", 2, "upstream[0].name", "write a text");
        check("upstream = 1", 1, "upstream", "");
    }

    #[test]
    fn all_unknown_keys_are_named_at_once() {
        assert_eq!(parse("a = 1\nb = 2\n[tls]\nc = 3").unwrap_err().len(), 3);
    }

    #[test]
    fn lines_of_keys_and_of_tables_around_them() {
        let parsed = parse("[listen]\naddress = \"a\"\n[[upstream]]\nname = \"n\"\n").unwrap();
        assert_eq!(parsed.lines.of("listen.address"), Some(2));
        assert_eq!(parsed.lines.of("upstream[0].name"), Some(4));
        assert_eq!(parsed.lines.of("upstream[0].url"), Some(3));
        assert_eq!(parsed.lines.of("tls.key"), None);
        assert!(!parsed.lines.holds("upstream[0].url"));
    }
}
