//! What modules say, what is refused of them, and that every evaluation ends.

use serde_json::json;

use super::{Answer, Module, ModuleError};
use crate::limits::REGO_STATEMENTS_COUNT_MAX;

fn module(body: &str) -> Result<Module, ModuleError> {
    Module::parse(&format!("package postern\n{body}"))
}

fn answer(body: &str, input: &serde_json::Value) -> Result<Answer, String> {
    module(body).unwrap_or_else(|error| panic!("{body}: {error}")).ask(input)
}

#[test]
fn what_it_allows_and_denies() {
    let denied = |reasons: &[&str]| Ok(Answer::Denied(reasons.iter().map(ToString::to_string).collect()));
    for (body, expected) in [
        ("allow := true", Ok(Answer::Allowed)),
        ("default allow := false\nallow if input.a == 1", Ok(Answer::Allowed)),
        ("default allow := false\nallow if input.a == 2", denied(&[])),
        ("allow if input.missing", denied(&[])),
        // What is not true is nothing.
        ("allow := 1", denied(&[])),
        ("allow := \"true\"", denied(&[])),
        ("allow contains 1", denied(&[])),
        ("allow := true\ndeny contains \"b\" if input.a == 1\ndeny contains \"a\"", denied(&["a", "b"])),
        ("allow := true\ndeny contains \"b\" if input.a == 2", Ok(Answer::Allowed)),
        ("allow := true\ndeny contains {\"n\": 1} if input.a == 1", denied(&["{\n  \"n\": 1\n}"])),
        ("allow := true\ndeny := true", denied(&["true"])),
        ("allow := true\ndeny := false", Ok(Answer::Allowed)),
        ("allow := true\ndeny := [] if input.a == 1", Ok(Answer::Allowed)),
        ("allow := true\ndeny[x] := 1 if { some x in input.none }", Ok(Answer::Allowed)),
        ("allow := true\ndeny := [0] if input.a == 1", denied(&["[\n  0\n]"])),
        ("allow := true\ndeny := \"no\" if input.a == 1", denied(&["no"])),
    ] {
        assert_eq!(answer(body, &json!({"a": 1})), expected, "{body}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_line() {
    let long = format!("allow := \"{}\"", "a".repeat(2_000));
    let many = format!("allow := true\n{}", "a := 1\n".repeat(300));
    let chain: String = (0..20).map(|at| format!("a{} if a{at}\n", at + 1)).collect();
    let nested = format!("allow := {}1{}", "[".repeat(40), "]".repeat(40));
    let mut wrong = Vec::new();
    let calls = format!("allow := {}1{}", "count(".repeat(40), ")".repeat(40));
    for (body, line, reason) in [
        ("allow if {", 2, "expecting expression"),
        ("deny contains 1", 1, "no rule 'allow'"),
        ("allow if x", 2, "unsafe"),
        ("allow if {\n  http.send({})\n}", 3, "function 'http.send'"),
        ("allow if startswit(input.a, \"b\")", 2, "did you mean 'startswith'?"),
        ("allow if rand.intn(\"a\", 2) == 1", 2, "function 'rand.intn'"),
        ("allow if time.now_ns() > 1", 2, "function 'time.now_ns'"),
        ("allow if numbers.range(1, 9) == []", 2, "function 'numbers.range'"),
        ("allow if bits.lsh(1, 9) == 1", 2, "function 'bits.lsh'"),
        ("allow if print(1)", 2, "function 'print'"),
        ("allow if opa.runtime().env.X", 2, "function 'opa.runtime'"),
        ("allow if input.f(1)", 2, "function 'input.f'"),
        ("f(x) if x\nallow if data.postern.f(1)", 3, "function 'data.postern.f'"),
        ("allow if data.postern.x\nx := 1", 2, "no 'data'"),
        ("allow if input.x with input as 1", 2, "'with' is not honoured"),
        ("f(x) if f(x)\nallow if f(1)", 2, "leads back to itself"),
        ("f(x) if g(x)\ng(x) if f(x)\nallow if f(1)", 2, "leads back to itself"),
        ("f(x) if a\na if f(1)\nallow if f(1)", 2, "leads back to itself"),
        ("import data.x\nallow if x", 2, "only rego.v1"),
        ("import input.x\nallow if x", 2, "only rego.v1"),
        ("allow if regex.match(\"(\", input.a)", 2, "cannot be used"),
        ("allow if regex.match(input.a, \"b\")", 2, "argument 1 of 'regex.match' must be a text that is written out"),
        ("allow if regex.match(\"a{1000}{1000}\", \"b\")", 2, "cannot be used"),
        ("allow if sprintf(input.a, []) == \"b\"", 2, "argument 1 of 'sprintf'"),
        ("allow if sprintf(\"%100000d\", [1]) == \"b\"", 2, "digits"),
        ("allow if replace(input.a, \"b\", input.c) == \"\"", 2, "argument 3 of 'replace'"),
        ("allow := 1\nallow := 2", 3, "conflict"),
        ("allow if startswith(1, \"a\")", 2, "string"),
        (long.as_str(), 2, "column"),
        (many.as_str(), 1, "more than 256 rules"),
        (chain.as_str(), 18, "leads over more than 16"),
        (nested.as_str(), 2, "brackets are nested deeper than 8"),
        (calls.as_str(), 1, "nested deeper than is read"),
        ("# [[[[[[[[[[[\nx := `[[[[[[\n[[[[`\ny := \"[[[[[[\\\"[[[\"\nallow := [[[[[[[[[1]]]]]]]]]", 6, "brackets"),
    ] {
        let error = module(body).map(|_| ()).expect_err(body);
        wrong.extend((!error.reason.contains(reason) || error.line != line).then(|| format!("{body}: {error}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
    let error = Module::parse("package other\nallow := true").unwrap_err();
    assert_eq!((error.line, error.reason.as_str()), (1, "its package is not 'postern'"));
    assert!(
        Module::parse(&format!("package postern\n#{}", "#\n".repeat(40_000))).unwrap_err().reason.contains("bytes")
    );
    assert!(Module::parse("").is_err());
}

#[test]
fn functions_that_are_added() {
    for (body, expected) in [
        ("allow if regex.match(`^v[0-9]+$`, input.version)", true),
        ("allow if regex.match(\"^[0-9]+$\", input.version)", false),
        ("allow if time.parse_rfc3339_ns(input.time) == 1000000000", true),
        ("allow if semver.compare(\"1.2.0\", \"1.10.0\") == -1", true),
        ("allow if semver.compare(\"1.2.0+a\", \"1.2.0\") == 0", true),
        ("allow if semver.is_valid(\"1.2\")", false),
        ("allow if not semver.is_valid(input.version)", true),
    ] {
        let answer = answer(body, &json!({"version": "v1", "time": "1970-01-01T00:00:01Z"})).unwrap();
        assert_eq!(answer == Answer::Allowed, expected, "{body}");
    }
    // What a function cannot take is no answer at all, also behind a 'not'.
    for body in [
        "allow if not time.parse_rfc3339_ns(input.version) > 1",
        "allow if not semver.compare(input.version, \"1.0.0\") == 1",
        "allow if not startswith(input.number, \"a\")",
        "allow if not to_number(input.version) == 1",
    ] {
        let answer = answer(body, &json!({"version": "v1", "number": 1}));
        assert!(answer.is_err(), "{body}: {answer:?}");
    }
}

#[test]
fn an_evaluation_has_an_end() {
    let list: Vec<usize> = (0..300).collect();
    let cube =
        "allow if {\n some a in input\n some b in input\n some c in input\n some d in input\n a + b + c + d < 0\n}";
    let error = answer(cube, &json!(list)).unwrap_err();
    assert!(error.contains("more than 1000000 steps"), "{error}");
    // It does not depend on what was asked before.
    let pair = "allow if {\n some a in input\n some b in input\n a + b == 598\n}";
    let module = module(pair).unwrap();
    for _ in 0..20 {
        assert_eq!(module.ask(&json!(list)), Ok(Answer::Allowed));
    }
}

#[test]
fn the_deepest_module_has_room() {
    let deep = |inner: &str| format!("{}{inner}{}", "(".repeat(20), ")".repeat(20));
    let mut text = String::from("allow if f0(input.a)\n");
    for at in 0..14 {
        text.push_str(&format!("f{at}(x) := y if y := {}\n", deep(&format!("f{}(x)", at + 1))));
    }
    text.push_str("f14(x) := x\n");
    assert_eq!(answer(&text, &json!({"a": 1})), Ok(Answer::Allowed));
    // Each of these is a loop around the rest.
    let loops = |count: usize| format!("allow if {{\n{}}}\n", "some x in input.a\n".repeat(count));
    let distinct = |count: usize| -> String {
        let loops: String = (0..count).map(|at| format!("some x{at} in input.a\n")).collect();
        format!("allow if {{\n{loops}}}\n")
    };
    assert_eq!(answer(&distinct(REGO_STATEMENTS_COUNT_MAX), &json!({"a": [1]})), Ok(Answer::Allowed));
    assert!(module(&distinct(REGO_STATEMENTS_COUNT_MAX + 1)).unwrap_err().reason.contains("more than 512 statements"));
    assert!(module(&loops(2)).is_err(), "one name for two things");
    let nested: String = (0..100).fold("1".to_owned(), |inner, _| format!("[{inner}]"));
    let input: serde_json::Value = serde_json::from_str(&nested).unwrap();
    assert_eq!(answer("allow if input == input", &input), Ok(Answer::Allowed));
}
