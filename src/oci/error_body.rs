//! What a registry says when it refuses (distribution specification, "Error Codes"): foreign text, to be shown to a
//! person and understood by nobody else.

use serde::Deserialize;

use crate::limits::{ERROR_BODY_BYTES_MAX, ERROR_TEXT_BYTES_MAX};

#[derive(Deserialize)]
struct Written {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Codes and messages on one line, without anything that could steer a terminal; `None` where the answer has none.
pub fn text(answer: &[u8]) -> Option<String> {
    if answer.len() > ERROR_BODY_BYTES_MAX {
        return None;
    }
    let written: Written = serde_json::from_slice(answer).ok()?;
    let lines: Vec<String> = written.errors.iter().map(line).filter(|line| !line.is_empty()).collect();
    let mut text = String::new();
    for letter in lines.join("; ").chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if text.len() + letter.len_utf8() > ERROR_TEXT_BYTES_MAX {
            break;
        }
        text.push(letter);
    }
    (!text.is_empty()).then_some(text)
}

fn line(entry: &Entry) -> String {
    match (entry.code.trim(), entry.message.trim()) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::limits::ERROR_TEXT_BYTES_MAX;

    #[test]
    fn what_registries_say() {
        let check = |answer: &str, expected: Option<&str>| assert_eq!(text(answer.as_bytes()).as_deref(), expected);
        check(r#"{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}}]}"#, Some("DENIED: no"));
        check(r#"{"errors":[{"code":"A"},{"message":"b\u001b[31m\n"}]}"#, Some("A; b [31m"));
        for nothing in ["", "<html>", "{}", r#"{"errors":[]}"#, r#"{"errors":[{}]}"#, r#"{"errors":[{"code":1}]}"#] {
            check(nothing, None);
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_letter() {
        let answer = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "ä".repeat(5_000));
        let shown = text(answer.as_bytes()).unwrap();
        assert!(shown.len() <= ERROR_TEXT_BYTES_MAX && shown.len() > ERROR_TEXT_BYTES_MAX - 2, "{}", shown.len());
    }
}
