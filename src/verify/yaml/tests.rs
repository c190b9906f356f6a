//! What is read, and what is refused with its line.

use serde_json::{Value as Json, json};

use super::{Node, Value, parse};

fn as_json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar { text, .. } => json!(text),
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), as_json(&entry.node))).collect(),
    }
}

#[track_caller]
fn check(text: &str, expected: Json) {
    assert_eq!(as_json(&parse(text).unwrap_or_else(|error| panic!("{error}"))), expected, "{text}");
}

#[track_caller]
fn refused(text: &str, line: usize, reason: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(error.line, line, "{error}: {text}");
    assert!(error.reason.contains(reason), "{error}");
}

#[test]
fn collections_in_blocks_and_in_brackets() {
    check("", Json::Null);
    check("---\n# nothing\na: 1 # one\nb:\n  c: x y\n", json!({"a": "1", "b": {"c": "x y"}}));
    check(
        "a:\n- 1\n-   b: 2\n    c: 3\n- - x\n  - y\nd: {e: [1, 'two', \"three: 3\"], f: {}}\n",
        json!({
            "a": ["1", {"b": "2", "c": "3"}, ["x", "y"]], "d": {"e": ["1", "two", "three: 3"], "f": {}},
        }),
    );
    check("a: [\n  1, # one\n  {b: 2},\n]\nc: d", json!({"a": ["1", {"b": "2"}], "c": "d"}));
    check("a:\nb: ~\n-c: '-'\n", json!({"a": null, "b": null, "-c": "-"}));
    check(
        "url: https://x.example/a#b\nkey: \"{{ a.b }}\"\n",
        json!({"url": "https://x.example/a#b", "key": "{{ a.b }}"}),
    );
    check("- a: 1\n  b:\n    - c\n- d\n", json!([{"a": "1", "b": ["c"]}, "d"]));
}

#[test]
fn blocks_of_text_keep_their_lines() {
    let text = "key: |-\n  -----BEGIN\n    x\n\n  -----END\nnext: |\n  a\nfold: >-\n  b\n  c\n";
    check(text, json!({"key": "-----BEGIN\n  x\n\n-----END", "next": "a\n", "fold": "b c"}));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    refused("a: 1\na: 2", 2, "'a' stands twice");
    refused("a: {b: 1, b: 2}", 1, "'b' stands twice");
    refused("a: &x 1", 1, "anchors");
    refused("b: *x", 1, "anchors");
    refused("a: !!str 1", 1, "tags");
    refused("<<: {}", 1, "merge");
    refused("a: 1\n---\nb: 2", 2, "one document");
    refused("a:\n\tb: 1", 2, "tab");
    refused("a: b: c", 1, "colon");
    refused("a: \"x", 1, "not closed");
    refused("a: 'x' y", 1, "behind the closing quote");
    refused("a: [1, 2", 1, "not closed");
    refused("a: [1 2]]", 1, "behind the closing bracket");
    refused("a: 1\n  b: 2", 2, "indentation");
    refused("a:\n  b: 1\n c: 2", 3, "indentation");
    refused("a: |2\n  x", 1, "block scalars");
    refused(&"[".repeat(200), 1, "deeper");
    refused(&format!("a: [{}]", "1,".repeat(20_000)), 1, "more values");
}
