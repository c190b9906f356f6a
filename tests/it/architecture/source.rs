//! Reads Rust source just well enough to ask what it uses: comments, literals and test code fall away, and what is left
//! becomes the full paths that it mentions, with their lines. No crate is needed for that much.

/// One source file of the library, as the rules see it.
pub struct Source {
    /// Path from the top of the repository, such as `src/store/mod.rs`.
    pub path: String,
    /// The text as written.
    pub text: String,
    tokens: Vec<Token>,
}

/// A path, keyword or macro that the code mentions.
#[derive(Debug, PartialEq, Eq)]
pub struct Mention {
    pub line: usize,
    /// `std::fs::read`, `crate::oci`, `println!`, or `x::*` for a glob import; keywords stand alone.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), tokens: without_tests(&tokenise(text)) }
    }

    /// The top-level module this file belongs to; empty for `lib.rs` and `main.rs`.
    pub fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        match inside.split_once('/') {
            Some((module, _)) => module,
            None => inside.trim_end_matches(".rs"),
        }
    }

    /// How many times `super::` leads from this file to the crate's root.
    pub fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        inside.split('/').count()
    }

    /// All that the code mentions, test code left out.
    pub fn mentions(&self) -> Vec<Mention> {
        mentions(&self.tokens)
    }

    /// Names of modules that are declared for tests only (`#[cfg(test)] mod x;`), so that their files count as tests.
    pub fn test_modules(&self) -> Vec<String> {
        let tokens = tokenise(&self.text);
        let mut names = Vec::new();
        for (at, _) in tokens.iter().enumerate().filter(|(at, _)| is_test_attribute(&tokens, *at)) {
            let end = end_of_item(&tokens, at);
            if let [.., keyword, name, semicolon] = &tokens[at..end]
                && keyword.text == "mod"
                && semicolon.text == ";"
            {
                names.push(name.text.clone());
            }
        }
        names
    }
}

/// Splits source into words and single punctuation marks (`::` is one), dropping comments and literals.
fn tokenise(text: &str) -> Vec<Token> {
    let letters: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < letters.len() {
        let end = skip_silent(&letters, at);
        if end > at {
            line += letters[at..end].iter().filter(|letter| **letter == '\n').count();
            at = end;
            continue;
        }
        let end = match letters[at] {
            ':' if letters.get(at + 1) == Some(&':') => at + 2,
            letter if is_word(letter) => (at..letters.len()).find(|at| !is_word(letters[*at])).unwrap_or(letters.len()),
            _ => at + 1,
        };
        tokens.push(Token { line, text: letters[at..end].iter().collect() });
        at = end;
    }
    tokens
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where the white space, comment or literal that begins at `at` ends; `at` itself when something audible stands there.
fn skip_silent(letters: &[char], at: usize) -> usize {
    let starts =
        |text: &str| text.chars().enumerate().all(|(offset, letter)| letters.get(at + offset) == Some(&letter));
    if letters[at].is_whitespace() {
        return at + 1;
    }
    if starts("//") {
        return (at..letters.len()).find(|at| letters[*at] == '\n').unwrap_or(letters.len());
    }
    if starts("/*") {
        return skip_block_comment(letters, at);
    }
    let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| starts(prefix)).map_or(0, str::len);
    let raw = prefix > 0 && letters[at + prefix - 1] == 'r';
    let hashes = letters[at + prefix..].iter().take_while(|letter| **letter == '#').count();
    if letters.get(at + prefix + hashes) == Some(&'"') && (raw || hashes == 0) {
        return skip_string(letters, at + prefix + hashes + 1, raw.then_some(hashes));
    }
    let quote = at + usize::from(starts("b'"));
    if letters[quote] == '\'' {
        return skip_quote(letters, quote);
    }
    at
}

fn skip_block_comment(letters: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < letters.len() {
        match (letters[at], letters.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// `at` is behind the opening quote; a raw string ends with as many hashes as it began with.
fn skip_string(letters: &[char], mut at: usize, raw_hashes: Option<usize>) -> usize {
    while at < letters.len() {
        match (letters[at], raw_hashes) {
            ('\\', None) => at += 2,
            ('"', None) => return at + 1,
            ('"', Some(hashes)) if letters[at + 1..].iter().take(hashes).filter(|l| **l == '#').count() == hashes => {
                return at + 1 + hashes;
            }
            _ => at += 1,
        }
    }
    letters.len()
}

/// A character literal, or a lifetime.
fn skip_quote(letters: &[char], at: usize) -> usize {
    match (letters.get(at + 1), letters.get(at + 2)) {
        (Some('\\'), _) => (at + 3..letters.len()).find(|at| letters[*at] == '\'').map_or(letters.len(), |end| end + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => (at + 1..letters.len()).find(|at| !is_word(letters[*at])).unwrap_or(letters.len()),
    }
}

/// Whether `#[cfg(test)]`, or a `cfg(all(test, …))`, begins at `at`.
fn is_test_attribute(tokens: &[Token], at: usize) -> bool {
    let begins = |wanted: &[&str]| {
        tokens.len() >= at + wanted.len()
            && wanted.iter().zip(&tokens[at..]).all(|(wanted, token)| *wanted == token.text)
    };
    begins(&["#", "[", "cfg", "(", "test"]) || begins(&["#", "[", "cfg", "(", "all", "(", "test"])
}

/// The end of the item whose attributes begin at `at`: behind its `;`, or behind the brace that closes it.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| token.text == "#") {
        at = behind_brackets(tokens, at + 1);
    }
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" | "," => return at + 1,
            "{" => return behind_brackets(tokens, at),
            "(" | "[" => at = behind_brackets(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// Behind the bracket that closes the one at `at`.
fn behind_brackets(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if is_test_attribute(tokens, at) {
            at = end_of_item(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn mentions(tokens: &[Token]) -> Vec<Mention> {
    let (mut found, mut at) = (Vec::new(), 0);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    while at < tokens.len() {
        // `use<'a, T>` in a bound imports nothing.
        if text(at) == "use" && text(at + 1) != "<" {
            at = expand_use(tokens, at + 1, "", &mut found);
            continue;
        }
        let (start, mut path) = (at, String::new());
        while text(at).starts_with(is_word) {
            path.push_str(text(at));
            at += 1;
            if text(at) != "::" || !text(at + 1).starts_with(is_word) {
                break;
            }
            path.push_str("::");
            at += 1;
        }
        if path.is_empty() {
            at += 1;
            continue;
        }
        if text(at) == "!" && text(at + 1) != "=" {
            path.push('!');
        }
        found.push(Mention { line: tokens[start].line, path });
    }
    found
}

/// Writes out one branch of a `use` tree; returns where it ends.
fn expand_use(tokens: &[Token], mut at: usize, prefix: &str, found: &mut Vec<Mention>) -> usize {
    let (mut path, mut line) = (prefix.to_owned(), 0);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = expand_use(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            "as" => at += 1,
            text => {
                path.push_str(text);
                line = token.line;
            }
        }
        at += 1;
    }
    if line > 0 {
        found.push(Mention { line, path });
    }
    at
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = Source::new("src/a/b.rs", text).mentions().into_iter().map(|m| m.path).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn writes_out_what_is_mentioned() {
        check("use std::{fs, io::{self, Read as _}};", &["std::fs", "std::io::self", "std::io::Read"]);
        check("use crate::oci::*;", &["crate::oci::*"]);
        check("x::y(1); println!(a); a != b", &["x::y", "1", "println!", "a", "a", "b"]);
        check("Vec::<crate::a::B>::new()", &["Vec", "crate::a::B", "new"]);
        check("fn f() -> impl F + use<T> { a; }", &["fn", "f", "impl", "F", "use", "T", "a"]);
    }

    #[test]
    fn comments_literals_and_tests_are_silent() {
        check("/* a /* b */ c */ // d\n e", &["e"]);
        check(r##"f("sled::open \" x", r#"a"b"#, b'\'', 'x', b"y")"##, &["f"]);
        check("fn f<'a>(x: &'a str)", &["fn", "f", "x", "str"]);
        check("#[cfg(test)]\nmod tests { use sled::open; }\nlast", &["last"]);
        check("#[cfg(test)] #[path = \"x\"] mod tests; last", &["last"]);
    }

    #[test]
    fn lines_modules_and_depths_are_right() {
        let source = Source::new("src/a/b.rs", "\n\n\"x\ny\" std::fs::read");
        assert_eq!(source.mentions()[0].line, 4);
        assert_eq!((source.module(), source.depth()), ("a", 2));
        assert_eq!(Source::new("src/a/mod.rs", "").depth(), 1);
        assert_eq!(Source::new("src/a.rs", "").module(), "a");
        assert_eq!(Source::new("src/a/mod.rs", "#[cfg(test)]\nmod sample;").test_modules(), ["sample"]);
    }
}
