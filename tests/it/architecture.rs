//! Keeps the shape of the source: floors, owners, purity and sizes. ARCHITECTURE.md says why; this test says where.
//!
//! Every finding names the file, the line and the rule. The rules are tried on small strings too, so that a rule which
//! can never fail is noticed.

mod source;

use postern::limits::MIB;
use postern::sys::dir::{Dir, read_bounded};
use postern::sys::dir_real::RealDir;
use source::Source;

/// The floors from the ground up, and the order within each: a module uses what stands before it.
const FLOORS: [&[&str]; 7] = [
    &["limits", "memory", "progress", "oci", "dsse", "device_id", "error_chain", "rego"],
    &["sys", "http"],
    &["verify"],
    &["store"],
    &["access", "audit", "backup", "enrolment", "admission", "bundle", "image_layout", "retention", "upstream"],
    &["ops", "registry", "api", "review"],
    &["config", "app", "cli"],
];

/// Files and folders that know no clock, no I/O, no async, no logging and no globals.
const PURE: [&str; 38] = [
    "src/limits.rs",
    "src/memory.rs",
    "src/device_id.rs",
    "src/dsse.rs",
    "src/oci/",
    "src/verify/",
    "src/access/attempts.rs",
    "src/access/authorization.rs",
    "src/access/member.rs",
    "src/access/name.rs",
    "src/access/rate.rs",
    "src/access/report.rs",
    "src/access/role.rs",
    "src/access/scope.rs",
    "src/api/query.rs",
    "src/api/request.rs",
    "src/api/route.rs",
    "src/api/view.rs",
    "src/image_layout/document.rs",
    "src/image_layout/elf.rs",
    "src/image_layout/gzip.rs",
    "src/image_layout/layer.rs",
    "src/image_layout/marker.rs",
    "src/retention/rules.rs",
    "src/retention/plan.rs",
    "src/ops/access_log/format.rs",
    "src/ops/access_log/journal_entry.rs",
    "src/ops/access_log/rfc5424.rs",
    "src/registry/challenge.rs",
    "src/registry/conditions.rs",
    "src/registry/range.rs",
    "src/review/bounded_list.rs",
    "src/review/gatekeeper.rs",
    "src/review/kubernetes.rs",
    "src/review/pod_image.rs",
    "src/review/workload.rs",
    "src/upstream/push/listing.rs",
    "src/upstream/token.rs",
];

const NOT_PURE: [&str; 17] = [
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::env",
    "std::thread",
    "std::process",
    "std::sync::OnceLock",
    "std::sync::LazyLock",
    "std::time::SystemTime",
    "std::time::Instant",
    "tokio",
    "tracing",
    "nix",
    "async",
    "static",
];

/// A foreign thing and the places that own it. The reason of an exception stands beside it.
const OWNERS: [(&str, &[&str]); 33] = [
    // clock: the boot id is a file of the kernel, not one of the store.
    ("std::fs", &["src/sys/dir_real.rs", "src/sys/clock.rs", "src/sys/kill_point.rs"]),
    ("argon2", &["src/sys/password"]),
    ("rustix", &["src/sys/dir_real.rs"]),
    ("sled", &["src/store/index"]),
    ("hyper", &["src/http/"]),
    ("hyper_util", &["src/http/"]),
    ("hyper_rustls", &["src/http/"]),
    ("hickory_resolver", &["src/http/names"]),
    ("rustls", &["src/http/"]),
    ("tokio_rustls", &["src/http/"]),
    ("socket2", &["src/http/"]),
    ("rustls_native_certs", &["src/http/"]),
    ("regorus", &["src/rego/"]),
    ("regex_automata", &["src/rego/functions"]),
    // Chains of certificates are verified where judgement is, by the library that TLS verifies its own with.
    ("rustls_pki_types", &["src/http/", "src/verify/x509/chain"]),
    ("webpki", &["src/verify/x509/chain"]),
    ("cms", &["src/verify/timestamp/token"]),
    ("sigstore_types", &["src/verify/sigstore/bundle"]),
    (
        "aws_lc_rs",
        &[
            "src/oci/hashing",
            "src/sys/certificate",
            "src/sys/cryptography",
            "src/sys/keys",
            "src/sys/mac",
            "src/sys/one_time",
            "src/sys/password",
            "src/sys/identity",
            "src/sys/random",
            "src/sys/site_key",
            "src/verify/",
            "src/http/tls",
        ],
    ),
    ("aws_lc_fips_sys", &["src/sys/cryptography"]),
    // It writes DER and has no keys: those are the module's.
    ("rcgen", &["src/sys/certificate"]),
    // One place, since the FIPS edition has no such crate.
    ("sha2", &["src/oci/hashing"]),
    ("tar", &["src/bundle/", "src/image_layout/layer", "src/admission/layer/archive"]),
    ("flate2", &["src/admission/layer/decompress"]),
    ("clap", &["src/cli/"]),
    ("std::env", &["src/config/"]),
    ("println!", &["src/cli/"]),
    ("print!", &["src/cli/"]),
    ("eprintln!", &["src/cli/"]),
    ("eprint!", &["src/cli/"]),
    ("std::process::exit", &[]),
    ("std::process::abort", &["src/app/serve/"]),
    // A program that signs, named on the command line.
    ("std::process::Command", &["src/sys/program.rs"]),
];

const FILE_LINES_MAX: usize = 800;
const FILE_LINES_MEDIAN_MAX: usize = 200;
const MAIN_LINES_MAX: usize = 30;

fn sources() -> Vec<Source> {
    let top = RealDir::open(env!("CARGO_MANIFEST_DIR").as_ref()).expect("the repository is there");
    let (mut folders, mut sources) = (vec!["src".to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in top.list(&folder).expect("a folder lists") {
            let path = format!("{folder}/{}", entry.name);
            if entry.stat.is_dir {
                folders.push(path);
            } else if path.ends_with(".rs") {
                let bytes = read_bounded(&top, &path, MIB).expect("a source file reads");
                sources.push(Source::new(&path, &String::from_utf8(bytes).expect("source is UTF-8")));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The files that are compiled for tests only.
fn test_files(sources: &[Source]) -> Vec<String> {
    let mut files = Vec::new();
    for source in sources {
        let folder = match source.path.strip_suffix("/mod.rs") {
            Some(folder) => folder.to_owned(),
            None => source.path.trim_end_matches(".rs").to_owned(),
        };
        for name in source.test_modules() {
            files.extend([format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]);
        }
    }
    files
}

fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{} findings against the rule \"{rule}\":\n{}", findings.len(), findings.join("\n"));
}

/// Applies a rule to every file that is not made of tests.
fn check_code(rule: &str, find: impl Fn(&Source) -> Vec<String>) {
    let all = sources();
    let tests = test_files(&all);
    let findings: Vec<String> = all
        .iter()
        .filter(|source| !tests.iter().any(|test| source.path.starts_with(test.as_str())))
        .flat_map(find)
        .collect();
    assert_none(rule, &findings);
}

fn rank(module: &str) -> Option<usize> {
    FLOORS.iter().flat_map(|floor| floor.iter()).position(|name| *name == module)
}

/// Whether `path` is `owned` or lies below it.
fn is_below(path: &str, owned: &str) -> bool {
    path.strip_prefix(owned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn upward_uses(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let own = rank(source.module()).unwrap_or(usize::MAX);
    for mention in source.mentions() {
        let hops = mention.path.split("::").take_while(|segment| *segment == "super").count();
        if hops > 0 && hops >= source.depth() {
            findings
                .push(format!("{}:{}: '{}' leaves the module, write crate::", source.path, mention.line, mention.path));
        }
        let Some(target) = mention.path.strip_prefix("crate::").and_then(|rest| rest.split("::").next()) else {
            continue;
        };
        match rank(target) {
            None if source.module() != "lib" => {
                findings.push(format!("{}:{}: '{target}' stands on no floor", source.path, mention.line));
            }
            Some(rank) if rank > own => findings.push(format!(
                "{}:{}: '{}' uses '{target}', which stands above it",
                source.path,
                mention.line,
                source.module()
            )),
            _ => {}
        }
    }
    findings
}

fn foreign_uses(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for mention in source.mentions() {
        for (owned, owners) in OWNERS {
            if is_below(&mention.path, owned) && !owners.iter().any(|owner| source.path.starts_with(owner)) {
                findings
                    .push(format!("{}:{}: '{}' belongs to {owners:?} alone", source.path, mention.line, mention.path));
            }
        }
    }
    findings
}

fn impurities(source: &Source) -> Vec<String> {
    if !PURE.iter().any(|pure| source.path.starts_with(pure)) {
        return Vec::new();
    }
    let is_impure = |path: &str| {
        let upper = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next());
        upper.is_some_and(|module| FLOORS[1].contains(&module) || FLOORS[3].contains(&module))
            || path.ends_with("Timestamp::now")
            || NOT_PURE.iter().any(|impure| is_below(path, impure))
    };
    let mentions = source.mentions().into_iter().filter(|mention| is_impure(&mention.path));
    mentions.map(|mention| format!("{}:{}: '{}' in a pure module", source.path, mention.line, mention.path)).collect()
}

fn bad_habits(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let mut report = |line: usize, what: &str| findings.push(format!("{}:{line}: {what}", source.path));
    for (index, line) in source.text.lines().enumerate() {
        let is_use = line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
        if is_use && line.trim_end().ends_with("::*;") {
            report(index + 1, "a glob import");
        }
        for left_over in ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", "#[allow(", "#![allow("] {
            if line.contains(left_over) {
                report(index + 1, left_over);
            }
        }
    }
    let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if ["util", "utils", "common", "helper", "helpers", "misc"].contains(&stem) {
        report(1, "a file name that says nothing");
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        report(lines, "a file too long to read");
    }
    if source.path == "src/main.rs" && lines > MAIN_LINES_MAX {
        report(lines, "main is a sentence, not a chapter");
    }
    if source.path != "src/main.rs" && !source.text.starts_with("//!") {
        report(1, "a module opens with what it is for");
    }
    findings
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    check_code("floors", upward_uses);
}

#[test]
fn the_map_in_lib_rs_is_the_map_of_the_floors() {
    let lib = sources().into_iter().find(|source| source.path == "src/lib.rs").expect("lib.rs is there");
    let mut listed: Vec<Vec<String>> = Vec::new();
    for line in lib.text.lines() {
        if line.starts_with("// Floor ") {
            listed.push(Vec::new());
        } else if let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            listed.last_mut().expect("a floor is named before its modules").push(module.to_owned());
        }
    }
    let sorted = |floor: &[&str]| {
        let mut floor: Vec<String> = floor.iter().map(ToString::to_string).collect();
        floor.sort();
        floor
    };
    assert_eq!(listed, FLOORS.map(sorted), "src/lib.rs and FLOORS differ");
}

#[test]
fn a_foreign_thing_has_one_owner() {
    check_code("owners", foreign_uses);
}

#[test]
fn sigstore_is_kept_behind_one_file() {
    let all = sources();
    let uses = |source: &&Source| source.mentions().iter().any(|mention| mention.path.starts_with("sigstore_"));
    let files: Vec<&str> = all.iter().filter(uses).map(|source| source.path.as_str()).collect();
    assert!(
        files.len() <= 1 && files.iter().all(|file| file.starts_with("src/verify/")),
        "sigstore is used by {files:?}"
    );
}

#[test]
fn pure_modules_are_pure() {
    check_code("purity", impurities);
}

#[test]
fn files_are_short_named_and_finished() {
    let findings: Vec<String> = sources().iter().flat_map(bad_habits).collect();
    assert_none("habits and sizes", &findings);
}

#[test]
fn half_of_the_files_fit_on_a_few_screens() {
    let mut lines: Vec<usize> = sources().iter().map(|source| source.text.lines().count()).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median < FILE_LINES_MEDIAN_MAX, "the median file has {median} lines");
}

#[test]
fn each_rule_can_fail() {
    let check = |rule: fn(&Source) -> Vec<String>, path: &str, text: &str, expected: usize| {
        let findings = rule(&Source::new(path, text));
        assert_eq!(findings.len(), expected, "{path}: {text}: {findings:?}");
    };
    check(upward_uses, "src/oci/a.rs", "use crate::{limits::X, store::Y};", 1);
    check(upward_uses, "src/oci/a.rs", "fn f() { crate::store::g() }", 1);
    check(upward_uses, "src/oci/a.rs", "use super::super::store::Y;", 1);
    check(upward_uses, "src/oci/a.rs", "use super::b; #[cfg(test)] mod tests { use crate::store::Y; }", 0);
    check(upward_uses, "src/store/a.rs", "use crate::unheard_of::Y;", 1);
    check(foreign_uses, "src/oci/a.rs", "use std::{fs, io};", 1);
    check(foreign_uses, "src/oci/a.rs", "fn f() { println!(\"x\"); std::process::exit(1) }", 2);
    check(foreign_uses, "src/store/index/pages.rs", "use sled::Db;", 0);
    check(foreign_uses, "src/store/journal.rs", "use sled::Db; // sled\n", 1);
    check(impurities, "src/verify/a.rs", "use crate::sys::clock::Clock; async fn f() { jiff::Timestamp::now() }", 3);
    check(impurities, "src/store/a.rs", "use tracing::info;", 0);
    check(bad_habits, "src/a/util.rs", "//! x\nuse super::*;\nfn f() { todo!() }", 3);
    check(bad_habits, "src/a/long.rs", &format!("//! x\n{}", "x\n".repeat(FILE_LINES_MAX)), 1);
    check(bad_habits, "src/a/b.rs", "fn f() {}", 1);
}
