//! The two editions have a manifest each: they must not drift apart, and the pair that was validated must stay pinned.

use toml::{Table, Value};

/// What only one edition has: argon2 because the module has no such function and PBKDF2 instead, sha2 because the module
/// hashes in the other one, and the module itself.
const STANDARD_ONLY: [&str; 2] = ["argon2", "sha2"];
const FIPS_ONLY: [&str; 1] = ["aws-lc-fips-sys"];

fn read(path: &str) -> Table {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("a manifest reads").parse().expect("a manifest is TOML")
}

/// Names and wanted versions of the dependencies, without those of one edition alone.
fn dependencies(manifest: &Table) -> Vec<(&str, &str)> {
    let all = manifest["dependencies"].as_table().expect("a table").iter();
    let shared = all.filter(|(name, _)| {
        !STANDARD_ONLY.contains(&name.as_str()) && !FIPS_ONLY.contains(&name.as_str()) && *name != "aws-lc-rs"
    });
    shared
        .map(|(name, wanted)| {
            let version = wanted.get("version").unwrap_or(wanted);
            (name.as_str(), version.as_str().expect("a version"))
        })
        .collect()
}

fn locked(lock: &Table, name: &str) -> Option<String> {
    let packages = lock["package"].as_array().expect("packages");
    let found = packages.iter().find(|package| package["name"].as_str() == Some(name))?;
    found["version"].as_str().map(str::to_owned)
}

#[test]
fn the_editions_ask_for_the_same() {
    let (standard, fips) = (read("Cargo.toml"), read("fips/Cargo.toml"));
    for key in ["version", "edition", "rust-version", "license"] {
        assert_eq!(standard["package"][key], fips["package"][key], "{key}");
    }
    assert_eq!(dependencies(&standard), dependencies(&fips));
    let has = |manifest: &Table, name: &str| manifest["dependencies"].get(name).is_some();
    assert!(FIPS_ONLY.iter().all(|name| has(&fips, name) && !has(&standard, name)));
    assert!(!STANDARD_ONLY.iter().any(|name| has(&fips, name)));
    assert_eq!(fips["features"]["default"], Value::from(vec!["fips"]));
}

#[test]
fn the_validated_pair_is_pinned() {
    let lock = read("fips/Cargo.lock");
    assert_eq!(locked(&lock, "aws-lc-fips-sys").as_deref(), Some("0.13.11"));
    assert_eq!(locked(&lock, "aws-lc-rs").as_deref(), Some("1.17.1"));
    // A lock file also names optional crates that nothing turns on (ring, of rustls); `dist/fips-check` reads the binary.
    for absent in ["sha2", "openssl-sys", "argon2"] {
        assert_eq!(locked(&lock, absent), None, "{absent}");
    }
}
