//! The server as its surroundings meet it: a service manager, signals, a second server, and commands that find it there.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::process::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);

struct Serving {
    child: Child,
    manager: UnixDatagram,
    data: String,
}

impl Serving {
    /// `postern serve`, until it says that it is ready.
    #[track_caller]
    fn start(folder: &TempDir, extra: &[&str]) -> Self {
        let data = folder.path().join("data").display().to_string();
        let setup = command(&["setup", "--data", &data, "--name", "box"]).output().expect("the binary starts");
        assert!(setup.status.success(), "{setup:?}");
        let socket = folder.path().join("notify");
        let manager = UnixDatagram::bind(&socket).expect("the folder is ours");
        manager.set_nonblocking(true).expect("a socket can be polled");
        let configuration = format!("{data}/postern.toml");
        std::fs::write(&configuration, "data_dir = \".\"\nlisten.address = \"127.0.0.1:0\"\n")
            .expect("the folder is ours");
        let log = std::fs::File::create(folder.path().join("log")).expect("the folder is ours");
        let mut serve = command(&["serve", "--data", &data]);
        serve.args(extra).env("NOTIFY_SOCKET", &socket).stderr(log);
        let mut serving = Self { child: serve.spawn().expect("the binary starts"), manager, data };
        serving.hears("READY=1");
        serving
    }

    /// Waits until the service manager was told this.
    #[track_caller]
    fn hears(&mut self, words: &str) {
        wait_for(words, PATIENCE, || {
            let mut buffer = [0; 300];
            while let Ok(count) = self.manager.recv(&mut buffer) {
                if String::from_utf8_lossy(&buffer[..count]).contains(words) {
                    return Some(());
                }
            }
            assert!(
                self.child.try_wait().expect("a child of ours can be asked for").is_none(),
                "it ended before it said {words}"
            );
            None
        });
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits pid_t"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        wait_for("its end", PATIENCE, || self.child.try_wait().expect("a child of ours can be asked for")).code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = crate::binary::command();
    command.args(arguments).current_dir("/").stdin(Stdio::null());
    command
}

fn address(log: &Path) -> String {
    let log = std::fs::read_to_string(log).expect("it was made");
    let line = log.lines().find(|line| line.contains("listening")).expect("it says where it listens");
    let line: Value = serde_json::from_str(line).expect("JSON where there is no terminal");
    line["address"].as_str().expect("an address").to_owned()
}

#[test]
fn it_tells_the_service_manager_and_ends_in_order() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let mut serving = Serving::start(&folder, &[]);
    let answer = http::get(&address(&folder.path().join("log")), "/healthz");
    assert_eq!(answer.status, 200);
    serving.signal(nix::sys::signal::Signal::SIGHUP);
    serving.signal(nix::sys::signal::Signal::SIGTERM);
    serving.hears("STOPPING=1");
    assert_eq!(serving.ends(), Some(0));
}

#[test]
fn commands_find_the_server_and_say_the_same() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let mut serving = Serving::start(&folder, &[]);
    let data = serving.data.clone();
    let status = || {
        let output = command(&["--json", "status", "--data", &data]).output().expect("the binary starts");
        assert!(output.status.success(), "{output:?}");
        let mut status: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        for changing in ["running_seconds", "free_bytes"] {
            status[changing] = Value::Null;
        }
        status
    };
    let through_the_socket = status();
    let second = command(&["serve", "--data", &data]).output().expect("the binary starts");
    assert_eq!(second.status.code(), Some(5), "{second:?}");
    let wrong = command(&["image", "show", "a/b:c", "--data", &data]).output().expect("the binary starts");
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    serving.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(serving.ends(), Some(0));
    assert_eq!(status(), through_the_socket);
}

#[test]
fn signs_of_life_come_while_the_store_answers() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let data = folder.path().join("data").display().to_string();
    assert!(command(&["setup", "--data", &data]).output().expect("the binary starts").status.success());
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("the folder is ours");
    manager.set_nonblocking(true).expect("a socket can be polled");
    let mut serve = command(&["serve", "--data", &data, "--listen", "127.0.0.1:0"]);
    serve.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
    let child = serve.stderr(Stdio::null()).spawn().expect("the binary starts");
    let mut serving = Serving { child, manager, data };
    for _ in 0..3 {
        serving.hears("WATCHDOG=1");
    }
}
