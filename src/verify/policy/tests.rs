//! Policies that are read, and policies that are refused with the line and the reason.

use super::{DefaultAction, PolicyError, TrustPolicy};
use crate::limits::POLICY_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::verify::test_keys::TestKey;

/// Ten lines: the keys `release` and `build`.
fn keys() -> String {
    let key = |name: &str| format!("[keys.{name}]\npem = \"\"\"\n{}\"\"\"\n", TestKey::p256().public_pem());
    format!("{}{}", key("release"), key("build"))
}

fn rule(body: &str) -> String {
    format!("version = 1\n{}\n{body}", keys())
}

#[track_caller]
fn refused(text: &str, line: usize, expected: &str) {
    let error = TrustPolicy::parse(text.as_bytes()).unwrap_err();
    let found = match &error {
        PolicyError::At { line, .. } | PolicyError::Syntax { line, .. } => *line,
        _ => 0,
    };
    assert_eq!(found, line, "{error}");
    assert!(error.to_string().contains(expected), "'{error}' does not say '{expected}'");
}

#[test]
fn the_embedded_policy_denies() {
    let policy = TrustPolicy::embedded();
    assert_eq!(policy.default(), DefaultAction::Deny);
    assert!(policy.rules().is_empty());
}

#[test]
fn a_whole_policy_is_read() {
    let text = rule(
        r#"[[rule]]
name = "apps"
repositories = ["apps/**", "docker.io/library/*"]
[rule.signature]
keys = ["release", "build"]
count = 2
[[rule.attestation]]
type = "https://slsa.dev/provenance/v1"
keys = ["build"]
builders = ["https://ci.example/*"]
build_types = ["https://ci.example/type@v1"]
[[rule.attestation]]
type = "https://cyclonedx.org/bom"
keys = ["build"]
"#,
    );
    let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    assert_eq!(policy.digest(), &Digest::of(text.as_bytes()));
    assert_eq!(policy.keys().len(), 2);
    let [only] = policy.rules() else { panic!("one rule") };
    assert_eq!(only.signature.as_ref().unwrap().attestors.count, 2);
    assert_eq!(only.attestations.len(), 2);
    let matches = |name: &str| !policy.applicable(&[&name.parse().unwrap()]).is_empty();
    for (name, expected) in [
        ("apps/a", true),
        ("apps/a/b", true),
        ("apps", false),
        ("docker.io/library/nginx", true),
        ("docker.io/library/a/b", false),
        ("x/docker.io/library/nginx", false),
        ("docker.io/library/nginx-evil", true),
        ("docker.io/library", false),
    ] {
        assert_eq!(matches(name), expected, "{name}");
    }
}

#[test]
fn what_could_be_misread_is_refused_with_its_line() {
    refused("", 1, "'version' is missing");
    refused("version = 2", 1, "this release reads version 1");
    refused("version = \"1\"", 1, "a whole number");
    refused("version = 1\ndefault = \"audit\"", 2, "\"deny\" or \"admit\"");
    refused("version = 1\nversion = 1", 2, "not TOML");
    refused("version = 1\n[[rules]]\nname = \"x\"", 2, "did you mean 'rule'?");
    refused("version = 1\nfoo = 1", 2, "unknown key 'foo'");
    refused("version = 1\n[keys.a]\npem = \"\"", 3, "not a PEM public key");
    refused("version = 1\n[keys.a]\npam = \"\"", 3, "did you mean 'pem'?");
    refused("version = 1\n[[rule]]\nrepositories = [\"a\"]", 2, "'name' is missing");
    refused("version = 1\n[[rule]]\nname = \"x\"\nrepositories = [\"a\"]", 2, "rule 'x' asks for nothing");
}

#[test]
fn what_a_rule_names_must_exist() {
    let at = |body: &str| 1 + rule("").lines().count() + body.lines().count();
    let head = "[[rule]]\nname = \"x\"\nrepositories = [\"a\"]\n";
    let check = |body: &str, expected: &str| {
        let text = format!("{head}{body}");
        refused(&rule(&text), at(&text) - 1, expected);
    };
    check("[rule.signature]\nkeys = [\"relaese\"]", "did you mean 'release'?");
    check("[[rule.attestation]]\ntype = \"t\"\nkeys = [\"zzz\"]", "names key 'zzz', which is not under [keys]");
    check("[rule.signature]\nkeys = [\"release\", \"release\"]", "stands twice");
    check("[rule.signature]\nkeys = [\"release\"]\ncount = 2", "expected 1 to 1");
    check("[rule.signature]\nkeys = [\"release\"]\ncount = 0", "expected 1 to 1");
    check("[rule.signature]\nkeys = [\"release\"]\ncuont = 1", "did you mean 'count'?");
    check("[[rule.attestation]]\nkeys = [\"build\"]\ntype = \"t\"\nbuilders = [\"b\"]", "SLSA provenance");
    check(
        "[[rule.attestation]]\nkeys = [\"build\"]\ntype = \"https://sigstore.dev/cosign/sign/v1\"",
        "ask for it with [rule.signature]",
    );
    refused(
        &rule("[[rule]]\nname = \"x\"\nrepositories = [\"a[\"]\n[rule.signature]\nkeys = [\"release\"]"),
        at("\n\n"),
        "pattern 'a['",
    );
    // What no repository can be called is a rule that speaks of nothing, and leaves images to the default.
    for pattern in ["", "/a/**", "a/", "a//b", "https://a/b", "a.example:5000/b/**", "a/b:1.0", "A/b", "a @sha256:00"] {
        let rule = rule(&format!(
            "[[rule]]\nname = \"x\"\nrepositories = [\"{pattern}\"]\n[rule.signature]\nkeys = [\"release\"]"
        ));
        refused(&rule, at("\n\n"), "no repository has such a name");
    }
    let empty = "[[rule]]\nname = \"x\"\nrepositories = [\"a\"]\n[rule.signature]\nkeys = []";
    refused(&rule(empty), at("\n\n\n"), "'keys' in rule 'x', signature is empty");
    let reserved = "[[rule]]\nname = \"default\"\nrepositories = [\"a\"]\n[rule.signature]\nkeys = [\"release\"]";
    refused(&rule(reserved), at("\n"), "reserved");
}

#[test]
fn one_key_under_two_names_is_refused() {
    let pem = TestKey::p256().public_pem();
    let text = format!("version = 1\n[keys.a]\npem = \"\"\"\n{pem}\"\"\"\n[keys.b]\npem = \"\"\"{pem}\"\"\"");
    assert!(TrustPolicy::parse(text.as_bytes()).unwrap_err().to_string().contains("'b' is the same key as 'a'"));
}

#[test]
fn size_and_text_are_bounded() {
    let large = vec![b'#'; POLICY_BYTES_MAX + 1];
    assert!(matches!(TrustPolicy::parse(&large), Err(PolicyError::TooLarge(_))));
    assert!(matches!(TrustPolicy::parse(b"\xff"), Err(PolicyError::NotText)));
    let deep = format!("version = 1\na = {}", "[".repeat(100_000));
    assert!(TrustPolicy::parse(deep.as_bytes()).is_err());
    let many: String = (0..=crate::limits::POLICY_RULES_COUNT_MAX)
        .map(|number| {
            format!("[[rule]]\nname = \"{number}\"\nrepositories = [\"a\"]\n[rule.signature]\nkeys = [\"release\"]\n")
        })
        .collect();
    assert!(TrustPolicy::parse(rule(&many).as_bytes()).unwrap_err().to_string().contains("more than 1000 rules"));
}

/// The example that people copy must be a policy.
#[test]
fn the_documented_example_is_a_policy() {
    let text = include_str!("../../../docs/trust-policy.md");
    let (_, after) = text.split_once("```toml\n").expect("a TOML block");
    let (example, _) = after.split_once("```").expect("the end of the block");
    let policy = TrustPolicy::parse(example.as_bytes()).unwrap();
    assert_eq!(policy.keys().len(), 3);
    assert_eq!(policy.default(), DefaultAction::Deny);
    let matching = |name: &str| {
        let name = name.parse().unwrap();
        policy.applicable(&[&name]).iter().map(|found| found.rule.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(matching("registry.example/team/production/api"), ["team images", "production"]);
    assert_eq!(matching("registry.example/team/api"), ["team images"]);
    assert!(matching("registry.example/other").is_empty());
    // The other examples are policies too.
    let examples: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    let fit = TrustPolicy::parse(examples[2].as_bytes()).unwrap();
    assert!(fit.content_wanted(&"prod/a".parse().unwrap(), None).is_some_and(|wanted| wanted.files && wanted.users));
    assert!(fit.content_wanted(&"test/a".parse().unwrap(), None).is_none());
    assert!(fit.content_wanted(&"test/a".parse().unwrap(), Some(&"prod/a".parse().unwrap())).is_some());
    assert_eq!(TrustPolicy::parse(examples[1].as_bytes()).unwrap().identities().len(), 1);
}

const TRUST: &str = r#"
[roots.public]
builtin = "public-good"
[identities.release]
root = "public"
issuer = "https://token.actions.githubusercontent.com"
subject = "https://github.com/team/app/.github/workflows/release.yml@refs/tags/*"
[identities.release.claims]
runner_environment = "github-hosted"
[roots.private-repositories]
builtin = "github"
"#;

#[test]
fn identities_sets_and_conditions_are_read() {
    let text = rule(&format!(
        r#"{TRUST}
[[rule]]
name = "apps"
repositories = ["apps/**"]
[rule.signature]
identities = ["release"]
count = "all"
[[rule.signature.set]]
keys = ["release", "build"]
count = "any"
[[rule.attestation]]
type = "https://slsa.dev/provenance/v1"
identities = ["release"]
[rule.attestation.conditions]
all = [
  {{ path = "buildDefinition.buildType", operator = "Equals", value = "https://ci.example/*" }},
  {{ any = [
    {{ path = "runDetails.metadata.took", operator = "LessThan", value = "1h" }},
    {{ path = "count", operator = "In", value = [1, 2], message = "at most two" }},
  ] }},
]
"#
    ));
    let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    let [only] = policy.rules() else { panic!("one rule") };
    let set = &only.signature.as_ref().unwrap().attestors;
    assert_eq!((set.count, set.members.len(), set.names().len()), (2, 2, 3));
    assert!(only.attestations[0].conditions.is_some());
    assert_eq!(policy.identities().len(), 1);
}

#[test]
fn what_names_a_signer_wrongly_is_refused() {
    let check = |body: &str, expected: &str| {
        let text = rule(&format!("{TRUST}{body}"));
        let error = TrustPolicy::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "'{error}' does not say '{expected}'");
    };
    let head = "[[rule]]\nname = \"x\"\nrepositories = [\"a\"]\n";
    let identity = "[identities.a]\nissuer = \"i\"\nsubject = \"s\"\nroot =";
    check(&format!("{identity} \"publik\""), "there is no 'publik' under [roots], did you mean 'public'?");
    check(&format!("{identity} \"public\"\nclaims = {{ runner = \"x\" }}"), "no certificate carries a claim 'runner'");
    check("[roots.x]\nbuiltin = \"other\"", "\"public-good\" and \"github\" come with this release");
    check("[roots.x]\njson = \"{}\"", "trusted root");
    check("[roots.x]", "give one");
    check("[stores.x]\nkind = \"ca\"\ncertificates = \"\"", "holds no certificate");
    check("[stores.x]\nkind = \"root\"\ncertificates = \"\"", "expected \"ca\"");
    check("[notation.x]\nstores = [\"y\"]\nidentities = [\"*\"]", "there is no 'y' under [stores]");
    check("[notation.x]\nlevel = \"audit\"\nstores = [\"y\"]\nidentities = [\"*\"]", "audit and skip admits nothing");
    check(&format!("{head}[rule.signature]\nidentities = [\"relase\"]"), "did you mean 'release'?");
    check(&format!("{head}[rule.signature]\ncount = 1"), "names nobody");
    check(&format!("{head}[rule.signature]\nidentities = [\"release\"]\ncount = \"some\""), "\"all\" or \"any\"");
    let twice = "[rule.signature]\nkeys = [\"release\"]\ncount = \"all\"\n[[rule.signature.set]]\nkeys = [\"release\"]";
    check(&format!("{head}{twice}"), "'release' stands twice");
    let condition =
        |text: &str| format!("{head}[[rule.attestation]]\ntype = \"t\"\nkeys = [\"build\"]\nconditions = {text}");
    check(&condition("{ path = \"a\", operator = \"Equal\", value = 1 }"), "did you mean 'Equals'?");
    check(&condition("{ path = \"{{ a }}\", operator = \"Equals\", value = 1 }"), "is not understood");
    check(&condition("{ path = \"a\", operator = \"Equals\" }"), "'value' is missing");
    check(&condition("{ path = \"a\", operator = \"Equals\", value = [1, 2] }"), "compares with one value");
    check(&condition("{ path = \"a\", all = [] , operator = \"In\", values = [] }"), "unknown key 'values'");
    check("[[deny]]\nreason = \"x\"", "exactly one of");
    check("[[deny]]\nreason = \"x\"\ndigest = \"sha256:1\"", "not lower-case hexadecimal");
}
