//! The kernel's calls fail, one after the other, under the real binary: a clear answer, read-only after a failed sync, and
//! never a lie.
//!
//! ```text
//! POSTERN_TEST_CALLS=all    every call of the work in turn, and not a sample of them (make test-calls); or one call by its name
//! POSTERN_TEST_BINARY       under another binary, such as the static one
//! ```

use std::ffi::OsString;
use std::path::Path;

use tempfile::TempDir;

use super::workload::{Book, appliance};
use crate::crossing::appliance::{Appliance, Serving};
use crate::process;
use crate::skip;

/// Calls that fail, how, and at which of them, where not all are asked for. It is counted for each thread by itself, as strace
/// does: a call fails once in each of those that come so far.
const SAMPLE: [(&str, &str, &[u32]); 8] = [
    ("fsync", "EIO", &[1, 3, 8]),
    ("fsync", "ENOSPC", &[2, 5]),
    ("fdatasync", "EIO", &[1, 2, 4, 9, 14]),
    ("fdatasync", "ENOSPC", &[3, 6]),
    ("pwrite64", "ENOSPC", &[1, 3, 7, 12, 20]),
    ("pwrite64", "EIO", &[2, 5, 9, 16, 25]),
    ("rename", "EIO", &[1, 2, 4]),
    ("rename", "ENOSPC", &[1, 3]),
];
/// Every call by which something gets onto a disk.
const CALLS: [&str; 4] = ["fsync", "fdatasync", "pwrite64", "rename"];
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];
/// More of one call than the work makes: where a campaign over all of them would not end.
const TIMES_MAX: u32 = 2_000;
const PUSHES_COUNT: usize = 6;

/// What a campaign has come to.
struct Campaign<'a> {
    strace: &'a Path,
    folder: &'a Path,
    appliance: Appliance<'static>,
    book: Book,
    injected_count: u32,
    read_only_count: u32,
}

impl Campaign<'_> {
    /// One failure under a server at work, and a look afterwards; whether the work came so far.
    fn fail(&mut self, call: &str, error: &str, time: u32) -> bool {
        let what = format!("{call} number {time} fails with {error}");
        // Attached to the running server, so that it is work that fails and not the start.
        let serving = self.appliance.serve();
        let log_before = serving.server.log().len();
        let record = self.folder.join("record");
        let mut tracer = self.attach(&serving, &format!("inject={call}:error={error}:when={time}"), call, &record);
        let acknowledged = (0..PUSHES_COUNT).filter(|_| self.book.push(&serving.endpoint)).count();
        let injected = std::fs::read_to_string(&record).unwrap_or_default().contains("INJECTED");
        let log = serving.server.log();
        let told = log.get(log_before..).unwrap_or_default().contains("cannot");
        assert!(acknowledged < PUSHES_COUNT || told || !injected, "{what}: nobody noticed");
        self.injected_count += u32::from(injected);
        let status = self.appliance.json(["status"]);
        if let Some(reason) = status["read_only"].as_str() {
            self.read_only_count += 1;
            assert!(!reason.is_empty());
            assert!(!self.book.push(&serving.endpoint), "{what}: read-only, and takes changes");
        }
        drop(serving);
        tracer.terminate();
        let serving = self.appliance.serve();
        self.book.check(&serving);
        assert!(self.book.push(&serving.endpoint), "{what}: it goes on after a restart");
        injected
    }

    fn attach(&self, serving: &Serving<'_>, inject: &str, call: &str, record: &Path) -> process::Server {
        let pid = serving.server.pid().to_string();
        let mut command = std::process::Command::new(self.strace);
        let fixed = ["-f", "-q", "-e", &format!("trace={call}"), "-e", inject, "-p", &pid, "-o"].map(OsString::from);
        command.args(fixed).arg(record);
        let tracer = process::Server::spawn("strace", command, &self.folder.join("strace.log"));
        process::wait_for("the tracer", std::time::Duration::from_secs(20), || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")).then_some(())
        });
        tracer
    }
}

#[test]
fn each_call_in_turn() {
    let Some(strace) = skip::machine_tool("strace", "strace") else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path());
    let mut serving = appliance.serve();
    let mut book = Book::default();
    assert!(book.push(&serving.endpoint), "undisturbed");
    serving.server.terminate();
    drop(serving);
    let (strace, folder) = (strace.as_path(), folder.path());
    let mut campaign = Campaign { strace, folder, appliance, book, injected_count: 0, read_only_count: 0 };
    let asked = std::env::var("POSTERN_TEST_CALLS").unwrap_or_default();
    if asked.is_empty() {
        for (call, error, times) in SAMPLE {
            for time in times {
                campaign.fail(call, error, *time);
            }
        }
    } else {
        let calls = CALLS.iter().filter(|call| asked == "all" || asked == **call);
        for (call, error) in calls.flat_map(|call| ERRORS.map(|error| (call, error))) {
            // The first that does not take place is behind the last one of the busiest thread.
            let count = (1..TIMES_MAX).take_while(|time| campaign.fail(call, error, *time)).count();
            say(&format!("{call}, {error}: {count} failed, one after the other"));
        }
    }
    campaign.appliance.run(["store", "check"]).succeeded();
    let wanted_count = if asked.is_empty() { 15 } else { 1 };
    assert!(campaign.injected_count > wanted_count, "{} failures took place", campaign.injected_count);
    let syncs_fail = asked.is_empty() || asked == "all" || asked == "fdatasync";
    assert!(!syncs_fail || campaign.read_only_count > 0, "a failed sync of the journal makes it read-only");
}

#[expect(clippy::disallowed_macros, reason = "how much was tried is for whoever runs it")]
fn say(text: &str) {
    println!("{text}");
}
