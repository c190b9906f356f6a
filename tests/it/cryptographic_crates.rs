//! Every crate of either edition that has to do with cryptography stands in `dist/cryptography.list` with a reason. A new one
//! fails here until somebody has looked at it.

use std::collections::BTreeSet;
use std::process::Command;

const LIST: &str = include_str!("../../dist/cryptography.list");

/// Whether a name sounds of cryptography, by the words at the head of the list.
fn is_suspicious(name: &str) -> bool {
    let words = LIST.lines().filter_map(|line| line.strip_prefix('~')).flat_map(str::split_whitespace);
    let holds = |word: &str| word.strip_prefix('=').map_or_else(|| name.contains(word), |whole| name == whole);
    words.into_iter().any(holds)
}

/// Names on the list for an edition.
fn known(edition: &str) -> BTreeSet<&'static str> {
    let lines = LIST.lines().filter(|line| !line.starts_with(['#', '~']));
    let fields = lines.map(|line| {
        let mut fields = line.split_whitespace();
        let (name, of) = (fields.next().expect("a crate"), fields.next().expect("an edition"));
        assert!(["both", "standard", "fips"].contains(&of), "{line}");
        assert!(fields.next().is_some(), "{name} has no reason");
        (name, of)
    });
    fields.filter(|(_, of)| *of == "both" || *of == edition).map(|(name, _)| name).collect()
}

/// Names of the crates that are compiled into a binary.
fn crates(manifest: &str, target: &str) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["tree", "--locked", "--quiet", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    let output = command.args(["--manifest-path", manifest, "--target", target]).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// All that is suspicious is known, and all that is known is there.
#[track_caller]
fn check(edition: &str, manifest: &str, target: &str) {
    let (crates, known) = (crates(manifest, target), known(edition));
    assert!(crates.contains("aws-lc-rs"), "{crates:?}");
    let found: BTreeSet<&str> = crates.iter().map(String::as_str).filter(|name| is_suspicious(name)).collect();
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(unknown.is_empty(), "{manifest}: look at {unknown:?} and write down why they may be here");
    let gone: Vec<_> = known.iter().filter(|name| !crates.contains(**name)).collect();
    assert!(gone.is_empty(), "{manifest}: no longer there, take off the list: {gone:?}");
}

#[test]
fn names_that_sound_of_it_are_told_from_others() {
    for name in ["ring", "md5", "ed25519-dalek", "aes-gcm", "aws-lc-sys"] {
        assert!(is_suspicious(name), "{name}");
    }
    for name in ["tokio", "tracing", "stringprep"] {
        assert!(!is_suspicious(name), "{name}");
    }
}

#[test]
fn the_standard_edition_has_no_unknown_cryptography() {
    check("standard", "Cargo.toml", "x86_64-unknown-linux-musl");
}

#[test]
fn the_fips_edition_has_no_unknown_cryptography() {
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        check("fips", "fips/Cargo.toml", target);
    }
}
