//! Every vector of the verification formats, each with the verdict that it must get: bundles of Sigstore in all versions,
//! Notation's envelopes, time stamps, trusted roots, TUF metadata, proofs of logs, and registries whole and tampered with.
//!
//! The vectors are no part of this project: they are looked for beside it or where `POSTERN_VECTORS` says. Each case's
//! `expect.json` is the judge, and a case nobody asks anything of is a failure.

mod documents;
mod merkle;
mod notation;
mod packages;
mod registries;
mod second_opinion;
mod sigstore;
mod tokens;
mod tuf;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// How many cases there are. Fewer means that some were not found.
const CASES_COUNT_MIN: usize = 227;

/// One case: a folder with an `expect.json`.
pub struct Case {
    /// Its path below the vectors, such as `bundles-misc/gh-custom-issuer`.
    pub name: String,
    pub folder: PathBuf,
    pub expect: Value,
    pub vectors: PathBuf,
}

/// One question that a case asks, what must come out, and what came out.
pub struct Check {
    pub what: String,
    pub expected: Expected,
    pub found: Result<(), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Pass,
    Fail,
    /// Both are right; only that a verdict comes out is asked.
    Either,
}

/// Who answers: the product, or one of two that any test of verification must catch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    Product,
    AllowsAll,
    DeniesAll,
}

impl Case {
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub fn bytes(&self, file: &str) -> Vec<u8> {
        read(&self.path(file))
    }

    pub fn text(&self, file: &str) -> String {
        String::from_utf8(self.bytes(file)).expect("text")
    }

    pub fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&self.bytes(file)).expect("JSON")
    }

    pub fn has(&self, file: &str) -> bool {
        self.path(file).is_file()
    }

    /// A file of the vectors, wherever the case is.
    pub fn shared(&self, path: &str) -> Vec<u8> {
        read(&self.vectors.join(path))
    }

    pub fn field(&self, key: &str) -> Option<&str> {
        self.expect[key].as_str()
    }

    /// `pass` or `fail` as the case's own verdict says.
    pub fn expected(&self) -> Expected {
        match self.field("expect") {
            Some(text) if text.starts_with("pass") => Expected::Pass,
            Some(text) if text.starts_with("fail") => Expected::Fail,
            Some("either") => Expected::Either,
            other => panic!("{}: verdict {other:?} is not understood", self.name),
        }
    }

    /// The only file beside `expect.json`.
    pub fn only_file(&self) -> PathBuf {
        let files = std::fs::read_dir(&self.folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut others: Vec<PathBuf> =
            files.filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "expect.json")).collect();
        assert_eq!(others.len(), 1, "{}", self.name);
        others.remove(0)
    }
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Judge {
    /// A check that the product answers with `question`, unless somebody else judges.
    pub fn ask<E: std::fmt::Display>(
        self,
        what: impl Into<String>,
        expected: Expected,
        question: impl FnOnce() -> Result<(), E>,
    ) -> Check {
        let found = match self {
            Self::Product => question().map_err(|error| error.to_string()),
            Self::AllowsAll => Ok(()),
            Self::DeniesAll => Err("denied".to_owned()),
        };
        Check { what: what.into(), expected, found }
    }
}

impl Check {
    fn agrees(&self) -> bool {
        match self.expected {
            Expected::Pass => self.found.is_ok(),
            Expected::Fail => self.found.is_err(),
            Expected::Either => true,
        }
    }
}

/// What every case asks.
fn checks(case: &Case, judge: Judge) -> Vec<Check> {
    let (group, _) = case.name.split_once('/').expect("a group");
    match group {
        "bundles-conformance" | "bundles-misc" => sigstore::bundle(case, judge),
        "keyless-private" if case.has("manifest.json") => sigstore::legacy(case, judge),
        "keyless-private" => sigstore::bundle(case, judge),
        "trusted-roots" | "trusted-root-parsing" => documents::trusted_root(case, judge),
        "x509-profile" => documents::certificate_profile(case, judge),
        "crl" => documents::revocation(case, judge),
        "rfc3161-tokens" => tokens::token(case, judge),
        "notation-envelopes" => notation::envelope(case, judge),
        "notation-timestamp" => notation::timestamp(case, judge),
        "notation-truststore" => notation::trust_store(case, judge),
        "npm" | "npm-malformed" => packages::npm(case, judge),
        "pypi" => packages::pypi(case, judge),
        "slsa-provenance" => packages::provenance(case, judge),
        "gcb-provenance" => packages::cloud_build(case, judge),
        "vsa" => packages::summary(case, judge),
        "image-layouts" => registries::layout(case, judge),
        "registry-forms" => registries::registry(case, judge),
        "tuf" => tuf::metadata(case, judge),
        other => panic!("group '{other}' appeared: nobody asks anything of it"),
    }
}

/// The vectors, and a folder that holds what had to be unpacked.
fn vectors() -> Option<(PathBuf, tempfile::TempDir)> {
    let named = std::env::var_os("POSTERN_VECTORS").map(PathBuf::from);
    let path = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    if !path.join("bundles-conformance").is_dir() {
        let line =
            "\nSKIPPED (tests/it/every_vector): no vectors beside the project; set POSTERN_VECTORS to their folder\n";
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    }
    // Packed, since signed metadata must stay byte for byte.
    let unpacked = tempfile::tempdir().expect("a folder");
    let status = std::process::Command::new("tar")
        .arg("xzf")
        .arg(path.join("tuf.tar.gz"))
        .arg("-C")
        .arg(unpacked.path())
        .status()
        .expect("tar runs");
    assert!(status.success(), "tuf.tar.gz does not unpack");
    Some((path, unpacked))
}

fn cases(vectors: &Path, unpacked: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for top in [vectors, unpacked] {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder lists") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name == "expect.json") {
                    let name = folder.strip_prefix(top).expect("below").to_string_lossy().into_owned();
                    let expect = serde_json::from_slice(&read(&path)).expect("JSON");
                    cases.push(Case { name, folder: folder.clone(), expect, vectors: vectors.to_owned() });
                }
            }
        }
    }
    cases.sort_by(|left, right| left.name.cmp(&right.name));
    cases
}

/// What came out of a whole run.
struct Report {
    table: String,
    sums: String,
    cases: usize,
    checks: usize,
    disagreements: Vec<String>,
}

fn run(judge: Judge) -> Option<Report> {
    let (vectors, unpacked) = vectors()?;
    let mut report =
        Report { table: String::new(), sums: String::new(), cases: 0, checks: 0, disagreements: Vec::new() };
    let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in cases(&vectors, unpacked.path()) {
        let checks = checks(&case, judge);
        assert!(!checks.is_empty(), "{}: nothing was asked", case.name);
        report.cases += 1;
        let group = groups.entry(case.name.split('/').next().unwrap_or_default().to_owned()).or_default();
        group.0 += 1;
        for check in checks {
            report.checks += 1;
            group.1 += 1;
            let found = check.found.as_ref().map_or_else(|reason| format!("fail: {reason}"), |()| "pass".to_owned());
            let mark = if check.agrees() { " " } else { "!" };
            let line = format!("{mark} {:<80} {:<40} {:?} {found}\n", case.name, check.what, check.expected);
            if !check.agrees() {
                report.disagreements.push(line.clone());
            }
            report.table += &line;
        }
    }
    for (group, (cases, checks)) in groups {
        report.sums += &format!("  {group:<24} {cases:>4} cases {checks:>4} checks\n");
    }
    Some(report)
}

#[test]
fn every_vector_gets_its_verdict() {
    let Some(report) = run(Judge::Product) else { return };
    // Every check to a file, the sums past libtest's capture: somebody should see how many there were.
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("vectors.txt"), &report.table).expect("a file");
    let line = format!(
        "\n{}{} cases of vectors, {} checks, {} disagreements (each in target/tmp/vectors.txt)\n",
        report.sums,
        report.cases,
        report.checks,
        report.disagreements.len()
    );
    let _ = std::io::stderr().write_all(line.as_bytes());
    assert!(report.disagreements.is_empty(), "disagreements:\n{}", report.disagreements.concat());
    assert!(report.cases >= CASES_COUNT_MIN, "only {} cases were found", report.cases);
}

/// A run that such a verifier passes would prove nothing.
#[test]
fn a_verifier_that_allows_or_denies_everything_is_noticed() {
    for judge in [Judge::AllowsAll, Judge::DeniesAll] {
        let Some(report) = run(judge) else { return };
        assert!(report.cases >= CASES_COUNT_MIN);
        let noticed = report.disagreements.len();
        assert!(noticed > 60, "only {noticed} of {} checks notice", report.checks);
    }
}
