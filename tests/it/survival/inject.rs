//! The kernel's calls fail, one after the other, under the real binary: a clear answer, read-only after a failed sync, and
//! never a lie.

use std::ffi::OsString;

use tempfile::TempDir;

use super::workload::{Book, appliance};
use crate::process;
use crate::skip;

/// Calls that fail, how, and at which of them. Each failure happens once.
const INJECTED: [(&str, &str, &[u32]); 6] = [
    ("fsync", "EIO", &[1, 2, 3, 5, 8]),
    ("fdatasync", "EIO", &[1, 2, 3, 4, 6, 9, 14]),
    ("pwrite64", "ENOSPC", &[1, 3, 7, 12, 20]),
    ("pwrite64", "EIO", &[2, 5, 9, 16, 25]),
    ("rename", "EIO", &[1, 2, 4]),
    ("rename", "ENOSPC", &[1, 3]),
];
const PUSHES_COUNT: usize = 6;

#[test]
fn each_call_in_turn() {
    let Some(strace) = skip::machine_tool("strace", "strace") else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path());
    let (mut book, mut became_read_only, mut injected_count) = (Book::default(), 0, 0);
    let mut serving = appliance.serve();
    assert!(book.push(&serving.endpoint), "undisturbed");
    serving.server.terminate();
    drop(serving);
    for (call, error, times) in INJECTED {
        for time in times {
            let what = format!("{call} number {time} fails with {error}");
            // Attached to the running server, so that it is work that fails and not the start.
            let serving = appliance.serve();
            let log_before = serving.server.log().len();
            let pid = serving.server.pid().to_string();
            let record = folder.path().join("record");
            let mut command = std::process::Command::new(&strace);
            let inject = format!("inject={call}:error={error}:when={time}");
            let fixed =
                ["-f", "-q", "-e", &format!("trace={call}"), "-e", &inject, "-p", &pid, "-o"].map(OsString::from);
            command.args(fixed).arg(&record);
            let mut tracer = process::Server::spawn("strace", command, &folder.path().join("strace.log"));
            process::wait_for("the tracer", std::time::Duration::from_secs(20), || {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")).then_some(())
            });
            let acknowledged = (0..PUSHES_COUNT).filter(|_| book.push(&serving.endpoint)).count();
            let injected = std::fs::read_to_string(&record).unwrap_or_default().contains("INJECTED");
            let log = serving.server.log();
            let told = log.get(log_before..).unwrap_or_default().contains("cannot");
            assert!(acknowledged < PUSHES_COUNT || told || !injected, "{what}: nobody noticed");
            injected_count += u32::from(injected);
            let status = appliance.json(["status"]);
            if let Some(reason) = status["read_only"].as_str() {
                became_read_only += 1;
                assert!(!reason.is_empty());
                assert!(!book.push(&serving.endpoint), "{what}: read-only, and takes changes");
            }
            drop(serving);
            tracer.terminate();
            let serving = appliance.serve();
            book.check(&serving);
            assert!(book.push(&serving.endpoint), "{what}: it goes on after a restart");
        }
    }
    appliance.run(["store", "check"]).succeeded();
    assert!(injected_count > 15, "{injected_count} failures took place");
    assert!(became_read_only > 0, "a failed sync of the journal makes it read-only");
}
