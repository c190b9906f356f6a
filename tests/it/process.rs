//! Processes of a test: commands that end by themselves, and servers that are waited for, signalled and ended.
//!
//! Never a fixed sleep: a condition and a deadline. Never a signal by name: only to a process started here, by its id.
//! A process that fails shows what it said, since a test that only says "exit status 1" is debugged by guessing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Short enough not to be felt, long enough to leave two cores to those who are waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long a server may take to end once it was asked to.
pub const ENDING: Duration = Duration::from_secs(20);

/// How much of a log a panic shows: the end is where the reason stands.
const SHOWN_BYTES: usize = 4 * 1024;

/// Calls `probe` until it gives something, and panics with `what` at the deadline.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The same command, run through another that takes it as its last arguments (`ip netns exec`, `strace`).
///
/// Environment and folder are carried over; redirections are not, and are set by whoever starts the result. A
/// command on which `env_clear` was called loses that here: remove variables one by one instead.
pub fn prefixed(program: &Path, leading: &[OsString], inner: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(leading).arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    if let Some(folder) = inner.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

/// What a command that ended did and said.
#[derive(Debug)]
pub struct Ran {
    pub pid: u32,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    line: String,
}

impl Ran {
    /// Standard output as text, without the white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Standard error as text.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "should have succeeded: {}", self.report());
        self
    }

    #[track_caller]
    pub fn failed(self) -> Self {
        assert!(!self.status.success(), "should have failed: {}", self.report());
        self
    }

    /// Failed, and for the reason that the test is about: a refusal proves nothing if it was a misspelt option.
    #[track_caller]
    pub fn failed_saying(self, words: &str) -> Self {
        let ran = self.failed();
        let said = format!("{}{}", ran.text(), ran.complaint());
        assert!(said.contains(words), "should have said {words:?}: {}", ran.report());
        ran
    }

    pub fn report(&self) -> String {
        let (stdout, stderr) = (tail(&self.stdout), tail(&self.stderr));
        format!("{}\n{}\n--- standard output\n{stdout}\n--- standard error\n{stderr}\n---", self.line, self.status)
    }
}

/// Runs a command to its end. One that is not done at `limit` is killed and is a panic with what it had said.
///
/// Output goes to files, not pipes: a grandchild that holds a pipe open would keep us waiting for its end.
#[track_caller]
pub fn run(mut command: Command, limit: Duration) -> Ran {
    let line = shown(&command);
    let mut stdout = tempfile::tempfile().expect("a temporary file can be made");
    let mut stderr = tempfile::tempfile().expect("a temporary file can be made");
    command.stdin(Stdio::null()).stdout(duplicate(&stdout)).stderr(duplicate(&stderr));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("could not start {line}: {error}"));
    let pid = child.id();
    let ended = exited_within(&mut child, limit);
    let status = ended.unwrap_or_else(|| {
        signal(&child, Signal::SIGKILL);
        child.wait().expect("a child of ours can be waited for")
    });
    let ran = Ran { pid, status, stdout: contents(&mut stdout), stderr: contents(&mut stderr), line };
    assert!(ended.is_some(), "killed after {limit:?}: {}", ran.report());
    ran
}

/// A process that serves until it is told to end; killed when dropped.
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Server {
    /// Starts `command` with both its outputs appended to the file `log`.
    #[track_caller]
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Self {
        let line = shown(&command);
        let output = File::options().create(true).append(true).open(log).expect("the log's folder exists");
        command.stdin(Stdio::null()).stdout(duplicate(&output)).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("could not start {name}: {line}: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned(), ended: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a condition that only a running server can fulfil; its death ends the wait at once.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, limit: Duration, mut probe: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = probe(self) {
                return value;
            }
            if let Some(status) = self.poll() {
                panic!("{} ended ({status}) before: {what}\n{}", self.name, tail(self.log().as_bytes()));
            }
            let late = start.elapsed() >= limit;
            assert!(!late, "{} within {limit:?} not: {what}\n{}", self.name, tail(self.log().as_bytes()));
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until its log holds `words`.
    #[track_caller]
    pub fn wait_for_log(&mut self, words: &str, limit: Duration) {
        self.wait_for(&format!("{words:?} in its log"), limit, |server| server.log().contains(words).then_some(()));
    }

    /// Whether it has ended, and how. Never waits.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours can be asked for");
        }
        self.ended
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        if self.ended.is_none() {
            self.ended = exited_within(&mut self.child, limit);
        }
        self.ended.unwrap_or_else(|| {
            panic!("{} still runs after {limit:?}\n{}", self.name, tail(self.log().as_bytes()));
        })
    }

    /// SIGTERM, as systemd does, and waits for the end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        if self.poll().is_none() {
            signal(&self.child, Signal::SIGTERM);
        }
        self.wait_end(ENDING)
    }

    /// SIGKILL, as a power cut does, and waits for the end.
    #[track_caller]
    pub fn kill(&mut self) -> ExitStatus {
        if self.poll().is_none() {
            signal(&self.child, Signal::SIGKILL);
        }
        self.wait_end(ENDING)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal(&self.child, Signal::SIGKILL);
            // Reaped, so that its id can never mean another process to us.
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            #[expect(clippy::disallowed_macros, reason = "captured with the failing test's own output")]
            {
                eprintln!("--- end of the log of {}\n{}\n---", self.name, tail(self.log().as_bytes()));
            }
        }
    }
}

/// The child has not been waited for, so its id is still its own.
fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).expect("a process id fits pid_t");
    // Fails only if it ended just now, which is what was wanted.
    let _ = kill(Pid::from_raw(id), signal);
}

fn exited_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        let ended = child.try_wait().expect("a child of ours can be waited for");
        if ended.is_some() || start.elapsed() >= limit {
            return ended;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn duplicate(file: &File) -> Stdio {
    Stdio::from(file.try_clone().expect("a file handle can be duplicated"))
}

fn contents(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read back");
    bytes
}

fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(SHOWN_BYTES);
    // docker-registry and others may have been truncated under way, which leaves NULs.
    String::from_utf8_lossy(&bytes[start..]).replace('\0', "").trim_end().to_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Server, run};
    use std::process::Command;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", script]);
        command
    }

    /// What `action` panics with, as a test's reader sees it.
    fn complaint(action: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(action).expect_err("it should panic");
        panic.downcast::<String>().map_or_else(|_| String::new(), |text| *text)
    }

    #[test]
    fn a_failure_shows_what_was_said() {
        let text = complaint(|| drop(run(shell("echo out; echo err >&2; exit 7"), SOON).succeeded()));
        for part in ["out", "err", "exit status: 7", "/bin/bash"] {
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
    }

    #[test]
    fn a_command_that_hangs_is_killed_and_shown() {
        let text = complaint(|| drop(run(shell("echo begun; exec sleep 600"), Duration::from_millis(300))));
        assert!(text.contains("killed after 300ms") && text.contains("begun"), "{text}");
    }

    #[test]
    fn a_server_is_waited_for_and_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do read -t 1 <> <(:); done";
        let mut server = Server::spawn("example", shell(script), &folder.path().join("log"));
        server.wait_for_log("ready", SOON);
        assert_eq!(server.terminate().code(), Some(3));
        assert!(server.log().contains("bye"));
    }

    #[test]
    fn a_server_that_dies_ends_the_wait_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let log = folder.path().join("log");
        let text = complaint(|| {
            let mut server = Server::spawn("example", shell("echo no room; exit 4"), &log);
            server.wait_for_log("ready", Duration::from_secs(3600));
        });
        assert!(text.contains("example ended (exit status: 4)") && text.contains("no room"), "{text}");
    }

    #[test]
    fn dropping_a_server_ends_it() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server = Server::spawn("example", shell("exec sleep 600"), &folder.path().join("log"));
        let process = format!("/proc/{}", server.pid());
        assert!(std::path::Path::new(&process).exists());
        drop(server);
        assert!(!std::path::Path::new(&process).exists());
    }
}
