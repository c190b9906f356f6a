//! The real binary, driven as people drive it: by its command line alone.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::binary;
use crate::http::{self, Endpoint, Response};
use crate::netns::Namespace;
use crate::process::{self, Ran, Server};
use crate::trace::Trace;

/// More than any command here needs, even under strace on a machine that other tests share.
const PATIENCE: Duration = Duration::from_secs(120);

/// The variables that mean something to it; somebody's desk may have them set.
const VARIABLES: [&str; 6] =
    ["POSTERN_CONFIG", "POSTERN_DATA", "POSTERN_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "POSTERN_KILL_AT"];

/// One data directory and the commands on it, in a network of its own where it was given one.
pub struct Appliance<'n> {
    data: PathBuf,
    namespace: Option<&'n Namespace>,
    /// The program, as `binary` names it for this side.
    binary: fn() -> Command,
}

impl<'n> Appliance<'n> {
    /// `postern setup`, as a newcomer types it.
    #[track_caller]
    pub fn set_up(folder: &Path, name: &str, namespace: Option<&'n Namespace>) -> Self {
        Self::set_up_with(binary::command, folder, name, namespace)
    }

    /// The same as a receiver of bundles, which may be a binary for another machine.
    #[track_caller]
    pub fn set_up_high(folder: &Path, name: &str, namespace: Option<&'n Namespace>) -> Self {
        Self::set_up_with(binary::command_high, folder, name, namespace)
    }

    #[track_caller]
    fn set_up_with(binary: fn() -> Command, folder: &Path, name: &str, namespace: Option<&'n Namespace>) -> Self {
        let made = Self { data: folder.join(name), namespace, binary };
        made.run(["setup", "--name", name, "--listen", "127.0.0.1:0"]).succeeded();
        made
    }

    /// A data directory that is still to be made.
    pub fn at(data: &Path) -> Self {
        Self { data: data.to_owned(), namespace: None, binary: binary::command }
    }

    /// A copy of the whole data directory, identity and all: the same device, for a test that ruins it.
    #[track_caller]
    pub fn copied_to(&self, data: &Path) -> Self {
        let mut command = Command::new("cp");
        command.arg("-a").arg(&self.data).arg(data);
        process::run(command, PATIENCE).succeeded();
        Self { data: data.to_owned(), namespace: self.namespace, binary: self.binary }
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn namespace(&self) -> Option<&'n Namespace> {
        self.namespace
    }

    /// Adds to the configuration that setup wrote.
    #[track_caller]
    pub fn configure(&self, addition: &str) {
        let path = self.data.join("postern.toml");
        let text = std::fs::read_to_string(&path).expect("setup wrote it");
        std::fs::write(&path, format!("{text}\n{addition}")).expect("the folder is ours");
    }

    /// Puts the configuration's first lines in place of what setup wrote.
    #[track_caller]
    pub fn reconfigure(&self, text: &str) {
        std::fs::write(self.data.join("postern.toml"), text).expect("the folder is ours");
    }

    /// Plain HTTP on loopback instead of the certificate that setup made.
    #[track_caller]
    pub fn without_tls(&self, addition: &str) {
        self.reconfigure(&format!("data_dir = \".\"\nlisten.address = \"127.0.0.1:0\"\n{addition}"));
    }

    /// A command line, not yet run and not yet anywhere.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = (self.binary)();
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.arg("--data").arg(&self.data).args(arguments).current_dir("/");
        command
    }

    /// Runs a command to its end, whatever that is.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        process::run(self.placed(self.command(arguments)), PATIENCE)
    }

    /// Runs a command with `--json`; gives what ran and its result, whatever its exit code.
    #[track_caller]
    pub fn run_json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> (Ran, Value) {
        let mut command = self.command(["--json"]);
        command.args(arguments);
        let ran = process::run(self.placed(command), PATIENCE);
        let result = serde_json::from_slice(&ran.stdout).unwrap_or(Value::Null);
        (ran, result)
    }

    /// Runs a command with `--json` that must succeed; gives its result.
    #[track_caller]
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Value {
        let (ran, result) = self.run_json(arguments);
        let ran = ran.succeeded();
        assert!(!result.is_null(), "no JSON: {}", ran.report());
        result
    }

    /// The same for a command that has more to do than others.
    #[track_caller]
    pub fn json_within<A: AsRef<OsStr>>(&self, patience: Duration, arguments: impl IntoIterator<Item = A>) -> Value {
        let mut command = self.command(["--json"]);
        command.args(arguments);
        let ran = process::run(self.placed(command), patience).succeeded();
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {}", ran.report()))
    }

    /// Runs a command with a witness for every dial; it must have made none.
    #[track_caller]
    pub fn json_silently<A: AsRef<OsStr>>(
        &self,
        record: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> (Ran, Value) {
        let trace = Trace::to(record).expect("strace was there when the test began");
        let mut command = self.command(["--json"]);
        command.args(arguments);
        let ran = process::run(self.placed(trace.wrap(&command)), PATIENCE);
        trace.assert_silent(ran.pid);
        let result = serde_json::from_slice(&ran.stdout).unwrap_or(Value::Null);
        (ran, result)
    }

    /// `postern serve`, ready to be asked.
    #[track_caller]
    pub fn serve(&self) -> Serving<'n> {
        self.serve_command(self.command(["serve"]))
    }

    /// The same from a command line that was changed (an environment, a witness).
    #[track_caller]
    pub fn serve_command(&self, command: Command) -> Serving<'n> {
        let log = self.data.with_extension("log");
        let before = std::fs::metadata(&log).map_or(0, |log| log.len());
        let mut server = Server::spawn("postern", self.placed(command), &log);
        let address = server.wait_for("its address", PATIENCE, |server| {
            let log = server.log();
            listening_address(log.get(usize::try_from(before).ok()?..)?)
        });
        let authority = self.authority();
        Serving { server, endpoint: Endpoint { address, authority }, namespace: self.namespace }
    }

    /// The certificate that clients are to trust, where the configuration has one.
    pub fn authority(&self) -> Option<PathBuf> {
        let configuration = std::fs::read_to_string(self.data.join("postern.toml")).unwrap_or_default();
        let has_one = configuration.lines().any(|line| line.trim_start().starts_with("certificate ="));
        has_one.then(|| self.data.join("tls/server.pem"))
    }

    /// Every line of its access log that holds all the `words`.
    pub fn accesses(&self, words: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.data.join("access")).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            found.extend(text.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned));
        }
        found
    }

    /// The same, once there are `count_min`: a record is written a moment after its answer, and what was not written when
    /// a server is killed is lost.
    #[track_caller]
    pub fn accesses_once_written(&self, words: &[&str], count_min: usize) -> Vec<String> {
        process::wait_for(&format!("{count_min} records of {words:?}"), PATIENCE, || {
            let found = self.accesses(words);
            (found.len() >= count_min).then_some(found)
        })
    }

    /// Nothing in a data directory is for others, and the keys are for nobody but the owner.
    #[track_caller]
    pub fn assert_keys_are_private(&self) {
        let entries = std::fs::read_dir(self.data.join("identity")).expect("setup made it");
        for entry in entries.flatten() {
            let mode = entry.metadata().expect("it is there").permissions().mode();
            let key = entry.path().extension().is_some_and(|extension| extension == "key");
            assert!(!key || mode & 0o077 == 0, "{} has mode {mode:o}", entry.path().display());
        }
    }

    fn placed(&self, command: Command) -> Command {
        match self.namespace {
            Some(namespace) => namespace.wrap(&command),
            None => command,
        }
    }
}

/// A running server; killed when dropped.
pub struct Serving<'n> {
    pub server: Server,
    pub endpoint: Endpoint,
    namespace: Option<&'n Namespace>,
}

impl Serving<'_> {
    /// Host and port.
    pub fn address(&self) -> &str {
        &self.endpoint.address
    }

    /// GET `target`, from where the server is.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        let get = || http::get_from(&self.endpoint, target);
        match self.namespace {
            Some(namespace) => namespace.inside(get),
            None => get(),
        }
    }
}

/// From the log line that says where it listens, human or JSON.
fn listening_address(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("listening"))?;
    let after = &line[line.find("127.0.0.1:")?..];
    let end = after.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    (!after[..end].ends_with(":0")).then(|| after[..end].to_owned())
}
