//! The command line as scripts and people meet it: exit codes, where things are printed, and what is said on mistakes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const SUCCESS: i32 = 0;
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const DAMAGED: i32 = 4;
const NOT_NOW: i32 = 5;

fn postern(arguments: &[&str]) -> Command {
    let mut command = crate::binary::command();
    for variable in ["POSTERN_CONFIG", "POSTERN_DATA", "POSTERN_LOG", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    command.args(arguments).current_dir("/").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    postern(arguments).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends with `exit`; what it says on standard error holds all the `words`, and nothing stands on standard output.
#[track_caller]
fn complains(arguments: &[&str], exit: i32, words: &[&str]) {
    let output = run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(SUCCESS), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the folder is ours");
    path.display().to_string()
}

/// A data directory that `postern setup` made.
fn set_up(folder: &TempDir, name: &str) -> String {
    let data = folder.path().join(name).display().to_string();
    succeeds(&["setup", "--data", &data, "--name", name]);
    data
}

/// Whoever reads JSON reads mistakes as JSON too, also those for which no command could be found.
#[test]
fn mistakes_on_the_command_line_are_json_where_that_is_asked_for() {
    for (words, said) in [
        (&["--bogus", "--json", "status"][..], "unexpected argument '--bogus' found"),
        (&["verify", "--json"], "<IMAGE>"),
        (&["nosuch", "--json"], "unrecognized subcommand 'nosuch'"),
    ] {
        let output = run(words);
        let error: Value = serde_json::from_slice(&output.stderr).expect("JSON and nothing else");
        assert_eq!((output.status.code(), &error["error"]["exit"]), (Some(USAGE), &Value::from(USAGE)));
        assert!(error["error"]["chain"][0].as_str().is_some_and(|text| text.contains(said)), "{error}");
    }
}

#[test]
fn help_and_version_are_answers_and_mistakes_are_not() {
    assert!(succeeds(&["--help"]).contains("Exit codes:"));
    assert!(succeeds(&["version"]).starts_with("postern "));
    let version: Value = serde_json::from_str(&succeeds(&["version", "--verbose", "--json"])).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["details"]["architecture"].is_string());
    complains(&["servee"], USAGE, &["serve"]);
    complains(&["bundle", "export", "a:b"], USAGE, &["--receiver"]);
    complains(&["image", "show", "no-tag"], USAGE, &["NAME:TAG"]);
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line() {
    let folder = TempDir::new().unwrap();
    let file = write(folder.path(), "postern.toml", "[listen]\nadress = \"127.0.0.1:0\"\n");
    complains(
        &["config", "check", &file],
        USAGE,
        &["line 2", "listen.adress", "did you mean 'address'?", "next step", &file],
    );
    let output = run(&["--json", "config", "check", &file]);
    let error: Value = serde_json::from_slice(&output.stderr).expect("an error as JSON");
    assert_eq!(error["error"]["exit"], USAGE);
    let good = write(folder.path(), "good.toml", "[log]\nlevel = \"debug\"\n");
    assert!(succeeds(&["config", "check", &good]).contains("in order"));
    assert!(succeeds(&["config", "show", "--config", &good]).contains("level = \"debug\""));
}

#[test]
fn what_a_memory_bound_means_is_shown() {
    let folder = TempDir::new().unwrap();
    let bounds = |text: &str| -> Value {
        let file = write(folder.path(), "bounds.toml", text);
        let shown: Value = serde_json::from_str(&succeeds(&["--json", "config", "show", "--config", &file])).unwrap();
        let text = succeeds(&["config", "show", "--config", &file]);
        // What is shown is still a configuration, and the same one.
        let copy = write(folder.path(), "copy.toml", &text);
        assert_eq!(succeeds(&["config", "show", "--config", &copy]).replace("copy.toml", "bounds.toml"), text);
        let named = shown["bounds"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
        for (name, value) in named {
            assert!(text.contains(&format!("#   {name} = {value}\n")), "{name} = {value} in {text}");
        }
        shown["bounds"].clone()
    };
    let free = bounds("");
    assert_eq!((&free["worker_threads_count"], &free["connections_count_max"]), (&Value::Null, &1_024.into()));
    let bound = bounds("memory_max_bytes = 58720256\nstore.index_cache_bytes = 1048576\n");
    assert_eq!((&bound["worker_threads_count"], &bound["index_cache_bytes_max"]), (&2.into(), &1_048_576.into()));
    assert!(bound["connections_count_max"].as_u64() < Some(1_024));
}

#[test]
fn what_is_described_can_be_read_by_machines() {
    let folder = TempDir::new().unwrap();
    let defaults = write(folder.path(), "defaults.toml", &succeeds(&["config", "show", "--defaults"]));
    succeeds(&["config", "check", &defaults]);
    let schema: Value = serde_json::from_str(&succeeds(&["config", "schema"])).unwrap();
    assert!(schema["properties"]["listen"]["properties"]["address"]["description"].is_string());
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeeds(&["completions", shell]).contains("postern"), "{shell}");
    }
    let pages = folder.path().join("man").display().to_string();
    succeeds(&["man", "--out", &pages]);
    let page = std::fs::read_to_string(format!("{pages}/postern-bundle-import.1")).unwrap();
    assert!(page.contains("EXIT STATUS"), "{page}");
}

/// `postern … | head -0`: the reader went away, which is its right.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = postern(&["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(SUCCESS), ""));
}

#[test]
fn set_up_makes_everything_once() {
    let folder = TempDir::new().unwrap();
    let data = set_up(&folder, "low");
    let first: Value = serde_json::from_str(&succeeds(&["--json", "enroll", "show", "--data", &data])).unwrap();
    let configuration = std::fs::read_to_string(format!("{data}/postern.toml")).unwrap();
    assert!(succeeds(&["setup", "--data", &data]).contains("nothing was changed"));
    let second: Value = serde_json::from_str(&succeeds(&["--json", "enroll", "show", "--data", &data])).unwrap();
    assert_eq!(first, second);
    assert_eq!(configuration, std::fs::read_to_string(format!("{data}/postern.toml")).unwrap());
    complains(&["setup", "--data", &data, "--name", "other"], USAGE, &["low", "next step"]);
    assert!(succeeds(&["config", "check", "--data", &data]).contains("in order"));
    let status: Value = serde_json::from_str(&succeeds(&["--json", "status", "--data", &data])).unwrap();
    assert_eq!((&status["name"], &status["read_only"]), (&Value::from("low"), &Value::Null));
}

#[test]
fn a_data_directory_that_is_none_is_said() {
    let folder = TempDir::new().unwrap();
    let empty = folder.path().display().to_string();
    complains(&["status", "--data", &empty], USAGE, &["postern setup"]);
    complains(&["status", "--data", "/nonexistent/postern"], USAGE, &["postern setup", "--data"]);
}

#[test]
fn nobody_is_enrolled_without_a_word_about_the_fingerprint() {
    let folder = TempDir::new().unwrap();
    let (low, high) = (set_up(&folder, "low"), set_up(&folder, "high"));
    let file = folder.path().join("low.json").display().to_string();
    succeeds(&["enroll", "show", "--data", &low, "--out", &file]);
    let shown: Value = serde_json::from_str(&succeeds(&["--json", "enroll", "show", "--data", &low])).unwrap();
    let fingerprint = shown["fingerprint"].as_str().unwrap();
    let add = ["enroll", "add", &file, "--role", "sender", "--data", &high];
    complains(&add, USAGE, &[fingerprint, "next step", "--fingerprint"]);
    let another: Value = serde_json::from_str(&succeeds(&["--json", "enroll", "show", "--data", &high])).unwrap();
    let mistaken = another["fingerprint"].as_str().unwrap();
    complains(&[&add[..], &["--fingerprint", mistaken]].concat(), REFUSED, &[fingerprint]);
    assert!(succeeds(&[&add[..], &["--fingerprint", fingerprint]].concat()).contains("enrolled as sender"));
    assert!(succeeds(&["enroll", "list", "--data", &high]).contains(fingerprint));
    assert!(succeeds(&["enroll", "remove", "low", "--dry-run", "--data", &high]).contains("would be"));
    assert!(succeeds(&["enroll", "remove", "low", "--data", &high]).contains(fingerprint));
    assert!(!succeeds(&["enroll", "list", "--data", &high]).contains(fingerprint));
    let broken = write(folder.path(), "broken.json", "{}");
    complains(&["enroll", "add", &broken, "--role", "sender", "--data", &high], DAMAGED, &["identity file"]);
}

/// The same test holds for both editions: what the binary says of itself decides what must happen.
#[test]
fn required_fips_is_there_or_nothing_is_opened() {
    let folder = TempDir::new().unwrap();
    let data = set_up(&folder, "box");
    let path = format!("{data}/postern.toml");
    let configuration = std::fs::read_to_string(&path).unwrap();
    let with = |mode: &str| std::fs::write(&path, format!("fips = \"{mode}\"\n{configuration}")).unwrap();
    let version: Value = serde_json::from_str(&succeeds(&["version", "--verbose", "--json"])).unwrap();
    with("required");
    if version["details"]["fips"] == true {
        assert!(version["details"]["statement"].as_str().unwrap().contains("#5314"));
        succeeds(&["store", "check", "--data", &data]);
    } else {
        complains(
            &["store", "check", "--data", &data],
            REFUSED,
            &["fips = \"required\"", "no FIPS module", "FIPS edition"],
        );
        complains(&["serve", "--data", &data], REFUSED, &["no FIPS module"]);
    }
    with("preferred");
    succeeds(&["store", "check", "--data", &data]);
    with("perhaps");
    complains(&["store", "check", "--data", &data], USAGE, &["fips", "required", "preferred", "off"]);
}

/// The example of the documentation, as it stands there.
#[test]
fn a_policy_is_tried_on_a_table_of_cases() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy-tests");
    let table = std::fs::read_to_string(example.join("cases.toml")).expect("the example is there");
    let page = include_str!("../../docs/policy-tests.md");
    assert!(page.contains(&format!("```toml\n{table}```")), "the page shows another table than the example's");
    let cases = example.join("cases.toml").display().to_string();
    let said = succeeds(&["policy", "test", "--table", &cases]);
    assert!(page.contains(&format!("cases.toml\n{said}```")), "the page says something else than: {said}");
    // What comes out otherwise is an exit code of its own, and each case says what was found.
    let folder = tempfile::tempdir().expect("a folder");
    let absolute = |name: &str| format!("\"{}\"", example.join(name).display());
    let moved = ["trust.toml", "app.oci", "lab.oci"]
        .iter()
        .fold(table, |text, name| text.replace(&format!("\"{name}\""), &absolute(name)));
    let otherwise = |from: &str, to: &str, expected: &str| {
        assert!(moved.contains(from), "{from}");
        let file = write(folder.path(), "cases.toml", &moved.replacen(from, to, 1));
        let output = run(&["policy", "test", "--table", &file]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(REFUSED), "{said}{}", text(&output.stderr));
        assert!(said.contains(expected) && said.contains("5 cases, 1 otherwise"), "{said}");
    };
    otherwise(
        "rule = \"default\"",
        "rule = \"team images\"",
        "expected was rule 'team images' refuses it, found is rule 'default'",
    );
    otherwise("original = \"registry.example/team/app\"\n", "", "found is admitted by 'lab images'");
    otherwise(
        "expected = \"admitted\"\nrule = \"team images\"",
        "expected = \"refused\"\nrule = \"x\"",
        "found is admitted by",
    );
    otherwise("rule = \"team images\"\n", "rule = \"lab images\"\n", "rule 'lab images' among those that pass");
    let file = write(folder.path(), "cases.toml", &moved);
    let json: Value = serde_json::from_str(&succeeds(&["policy", "test", "--table", &file, "--json"])).expect("JSON");
    assert_eq!((&json["all_as_expected"], json["cases"].as_array().map(Vec::len)), (&Value::Bool(true), Some(5)));
    let file = write(folder.path(), "wrong.toml", &moved.replace("expected =", "expectet ="));
    complains(&["policy", "test", "--table", &file], USAGE, &["line 8", "did you mean 'expected'?"]);
    complains(&["policy", "test"], USAGE, &["--table"]);
    // Images of the store are meant where a case names no layout.
    let data = set_up(&folder, "low");
    let stored = "[[case]]\nname = \"a\"\nimage = \"a/b:1\"\nexpected = \"admitted\"\n";
    let file = write(folder.path(), "stored.toml", stored);
    complains(&["policy", "test", "--table", &file, "--data", &data], USAGE, &["'a/b:1' is not here", "case 'a'"]);
}

#[test]
fn key_files_go_into_a_policy_json_and_it_is_a_policy_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let trust = include_str!("../../docs/policy-tests/trust.toml");
    let pem = trust.split("\"\"\"\n").nth(1).expect("a key");
    let key = write(folder.path(), "key.pem", pem);
    let policy = serde_json::json!({"default": [{"type": "sigstoreSigned", "keyPath": key}]}).to_string();
    let policy = write(folder.path(), "policy.json", &policy);
    complains(&["policy", "check", &policy], USAGE, &["'keyPath': a file", "postern policy inline"]);
    let whole = write(folder.path(), "whole.json", &succeeds(&["policy", "inline", &policy]));
    assert!(succeeds(&["policy", "check", &whole]).contains("rules default"));
    let open = write(folder.path(), "open.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
    let output = run(&["policy", "lint", &open]);
    assert_eq!(output.status.code(), Some(REFUSED));
    assert!(text(&output.stdout).contains("rule 'default': whatever no other scope names comes in unverified"));
}

#[test]
fn a_policy_is_checked_before_it_is_in_force() {
    let folder = TempDir::new().unwrap();
    let data = set_up(&folder, "box");
    let wrong = write(folder.path(), "wrong.toml", "version = 1\ndefault = \"deny\"\nrules = 1\n");
    complains(&["policy", "activate", &wrong, "--data", &data], USAGE, &["rules", "line 3"]);
    assert!(succeeds(&["policy", "show", "--data", &data]).contains("nothing is trusted"));
    let right = write(folder.path(), "right.toml", "version = 1\ndefault = \"admit\"\n");
    succeeds(&["policy", "check", &right]);
    succeeds(&["policy", "activate", &right, "--data", &data]);
    assert_eq!(succeeds(&["policy", "show", "--data", &data]), "version = 1\ndefault = \"admit\"\n");
}

#[test]
fn what_is_missing_on_a_medium_can_be_brought_later() {
    let folder = TempDir::new().unwrap();
    let data = set_up(&folder, "box");
    let medium = folder.path().join("stick");
    std::fs::create_dir(&medium).unwrap();
    let medium = medium.display().to_string();
    complains(&["bundle", "import", &medium, "--data", &data], REFUSED, &["no trust policy", "policy activate"]);
    let policy = write(folder.path(), "policy.toml", "version = 1\ndefault = \"deny\"\n");
    succeeds(&["policy", "activate", &policy, "--data", &data]);
    complains(&["bundle", "import", &medium, "--data", &data], NOT_NOW, &["next step"]);
    complains(&["bundle", "import", "/nonexistent/stick", "--data", &data], NOT_NOW, &["next step"]);
    assert!(succeeds(&["bundle", "inspect", &medium, "--data", &data]).contains("no volume"));
    assert!(succeeds(&["bundle", "receipt", "--data", &data]).contains("no receipt"));
    assert!(succeeds(&["image", "list", "--data", &data]).contains("no image"));
    complains(&["image", "show", "a/b:c", "--data", &data], USAGE, &["'a/b:c' is not here"]);
    complains(&["retention", "plan", "--data", &data], USAGE, &["[[retention]]"]);
    assert!(succeeds(&["sweep", "--dry-run", "--data", &data]).contains("would be"));
}

#[test]
fn a_store_is_checked_and_its_index_made_anew() {
    let folder = TempDir::new().unwrap();
    let data = set_up(&folder, "box");
    let head = |data: &str| {
        let status: Value = serde_json::from_str(&succeeds(&["--json", "status", "--data", data])).unwrap();
        status["head"].clone()
    };
    let before = head(&data);
    assert!(succeeds(&["store", "check", "--data", &data]).contains("in order"));
    assert!(succeeds(&["store", "rebuild", "--data", &data]).contains("made anew"));
    succeeds(&["store", "check", "--fast", "--data", &data]);
    assert_eq!(head(&data), before);
}
