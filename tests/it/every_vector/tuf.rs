//! TUF metadata: the real history of Sigstore's root, walked as it must be and as it must not be.

use jiff::Timestamp;
use postern::verify::tuf::{Metadata, Role, RootMetadata, TufError};

use super::{Case, Check, Expected, Judge};

/// Before any of the newest metadata expires.
fn now() -> Timestamp {
    "2026-08-25T00:00:00Z".parse().expect("a time")
}

fn root(case: &Case, version: u64) -> Vec<u8> {
    case.bytes(&format!("root_history/{version}.root.json"))
}

fn walk(case: &Case, versions: impl IntoIterator<Item = u64>) -> Result<RootMetadata, TufError> {
    let mut versions = versions.into_iter();
    let first = RootMetadata::pinned(&root(case, versions.next().expect("a first")))?;
    versions.try_fold(first, |root_now, version| root_now.next(&root(case, version)))
}

pub fn metadata(case: &Case, judge: Judge) -> Vec<Check> {
    match case.name.as_str() {
        "tuf/sigstore-prod-metadata" => history(case, judge),
        "tuf/sigstore-prod-targets" => targets(case, judge),
        _ => {
            let expected = if case.field("expect") == Some("input") { Expected::Pass } else { case.expected() };
            let bytes = super::read(&case.only_file());
            vec![judge.ask("root", expected, || RootMetadata::pinned(&bytes).map(|_| ()))]
        }
    }
}

fn history(case: &Case, judge: Judge) -> Vec<Check> {
    let mut checks = vec![
        judge.ask("1 to 15", Expected::Pass, || walk(case, 1..=15).and_then(|root| root.check_expiry(now()))),
        judge.ask("skipping one", Expected::Fail, || walk(case, [1, 3]).map(|_| ())),
        judge.ask("in another order", Expected::Fail, || walk(case, [1, 2, 4, 3]).map(|_| ())),
        judge.ask("backwards", Expected::Fail, || walk(case, [1, 2, 3, 2]).map(|_| ())),
        judge.ask("the same again", Expected::Fail, || walk(case, [1, 2, 2]).map(|_| ())),
        judge.ask("the newest, too late", Expected::Fail, || {
            walk(case, 1..=15).and_then(|root| root.check_expiry("2030-01-01T00:00:00Z".parse().expect("a time")))
        }),
    ];
    for (from, to) in [("\"version\": 2", "\"version\": 3"), ("\"threshold\": 3", "\"threshold\": 1")] {
        let text = String::from_utf8(root(case, 2)).expect("text");
        let edited =
            [from.to_owned(), from.replace(": ", ":")].iter().fold(text.clone(), |text, from| text.replace(from, to));
        assert_ne!(text, edited, "{from}");
        checks.push(judge.ask(format!("edited: {to}"), Expected::Fail, || {
            RootMetadata::pinned(&root(case, 1)).and_then(|root| root.next(edited.as_bytes())).map(|_| ())
        }));
    }
    let below = |role: Role, known: Option<u64>| {
        let newest = walk(case, 1..=15)?;
        newest.verify_metadata(&case.bytes(&format!("{}.json", role.name())), role, known, now())
    };
    for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        checks.push(judge.ask(role.name(), Expected::Pass, || below(role, None).map(|_| ())));
        checks.push(
            judge.ask(format!("{}, turned back", role.name()), Expected::Fail, || {
                below(role, Some(u64::MAX)).map(|_| ())
            }),
        );
    }
    checks.push(judge.ask("targets as a snapshot", Expected::Fail, || {
        walk(case, 1..=15)?.verify_metadata(&case.bytes("targets.json"), Role::Snapshot, None, now()).map(|_| ())
    }));
    let listed = |role: Role, name: &str, file: &str| {
        below(role, None).and_then(|metadata: Metadata| metadata.check_listed(name, &case.bytes(file)))
    };
    checks.push(
        judge.ask("snapshot listed", Expected::Pass, || listed(Role::Timestamp, "snapshot.json", "snapshot.json")),
    );
    checks.push(judge.ask("targets listed", Expected::Pass, || listed(Role::Snapshot, "targets.json", "targets.json")));
    checks
        .push(judge.ask("another listed", Expected::Fail, || listed(Role::Snapshot, "targets.json", "timestamp.json")));
    checks
}

fn targets(case: &Case, judge: Judge) -> Vec<Check> {
    let beside = |file: &str| super::read(&case.folder.join("../sigstore-prod-metadata").join(file));
    let metadata = || {
        let mut root = RootMetadata::pinned(&beside("root_history/1.root.json"))?;
        for version in 2..=15 {
            root = root.next(&beside(&format!("root_history/{version}.root.json")))?;
        }
        root.verify_metadata(&beside("targets.json"), Role::Targets, None, now())
    };
    let names: Vec<String> = metadata().map(|found| found.targets().map(str::to_owned).collect()).unwrap_or_default();
    let mut checks: Vec<Check> = names
        .iter()
        .flat_map(|name| {
            let bytes = case.bytes(name);
            let changed = [bytes.as_slice(), b" "].concat();
            let good = judge.ask(name.clone(), Expected::Pass, || metadata()?.check_target(name, &bytes));
            [good, judge.ask(format!("{name}, changed"), Expected::Fail, || metadata()?.check_target(name, &changed))]
        })
        .collect();
    checks.push(judge.ask("not listed", Expected::Fail, || metadata()?.check_target("other.pub", b"")));
    checks.push(judge.ask(
        "eleven targets",
        Expected::Pass,
        || if names.len() == 11 { Ok(()) } else { Err(names.len()) },
    ));
    checks
}
