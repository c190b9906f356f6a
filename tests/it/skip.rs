//! What happens when the machine lacks something that a test needs: a loud skip at somebody's desk, a failure in CI.
//! A test that quietly proves nothing would be worse than none.

use std::io::Write;
use std::path::PathBuf;

/// Says that a test proves nothing here, and why. The caller returns from its test.
///
/// Written past libtest's capture on purpose: what it captures of a passing test nobody ever sees.
#[track_caller]
pub fn absent(what: &str, next_step: &str) {
    let text = format!("{what}; {next_step}");
    assert!(!in_ci(), "nothing is skipped in CI: {text}");
    say(&text, std::panic::Location::caller());
}

/// The same for what the machine's kernel does not let anybody do, and no preparation can change: no failure in CI either.
#[track_caller]
pub fn impossible(what: &str, next_step: &str) {
    say(&format!("{what}; {next_step}"), std::panic::Location::caller());
}

fn say(text: &str, place: &std::panic::Location<'_>) {
    let line = format!("\nSKIPPED ({}:{}): {text}\n", place.file(), place.line());
    // One write, so that tests side by side do not mix their lines. A closed standard error is no reason to fail.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// `CI` set to anything but nothing, as every CI system does.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A tool of the machine. `/usr/sbin` is looked through as well: a person's PATH often lacks it, and `ip` lives there.
#[track_caller]
pub fn machine_tool(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        absent(&format!("no \"{name}\" on this machine"), &format!("apt-get install {package}"));
    }
    found
}
