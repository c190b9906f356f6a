//! A network namespace with loopback and nothing else: the air gap, made of the kernel. What works inside needs nobody.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::process;
use crate::skip;

const PATIENCE: Duration = Duration::from_secs(20);

/// Ours are recognised by it, and nobody else's are touched.
const PREFIX: &str = "postern-test-";

/// Removed when dropped. Whoever runs inside must have ended by then: declare the namespace first.
pub struct Namespace {
    ip: PathBuf,
    name: String,
}

impl Namespace {
    /// An empty namespace, or a skip: only root can make one.
    #[track_caller]
    pub fn empty() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let ip = skip::machine_tool("ip", "iproute2")?;
        if !skip::is_root() {
            skip::absent("a network namespace can be made by root only", "run the tests as root");
            return None;
        }
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let namespace = Self { ip, name };
        namespace.remove_orphans();
        namespace.ip(&["netns", "add", &namespace.name]);
        namespace.ip(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        Some(namespace)
    }

    /// The same command, inside. The process started is the command's own: its id is the command's.
    pub fn wrap(&self, command: &Command) -> Command {
        let leading = ["netns", "exec", &self.name].map(OsString::from);
        process::prefixed(&self.ip, &leading, command)
    }

    /// Runs a part of the test itself inside, on a thread of its own: a direct request to a server in the namespace
    /// needs no client program. Only what opens sockets in `action` is affected; threads it starts are inside too.
    #[track_caller]
    pub fn inside<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(format!("/run/netns/{}", self.name)).expect("ip keeps the namespace's handle there");
        let outcome = std::thread::scope(|scope| {
            let inner = scope.spawn(|| {
                setns(&handle, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace it made");
                action()
            });
            inner.join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    #[track_caller]
    fn ip(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.ip);
        command.args(arguments);
        process::run(command, PATIENCE).succeeded().text()
    }

    /// A test process that was killed could not remove its own. Its id is in the name, and the process is gone.
    fn remove_orphans(&self) {
        for line in self.ip(&["netns", "list"]).lines() {
            let Some(name) = line.split_whitespace().next() else { continue };
            let Some(owner) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
            if !PathBuf::from("/proc").join(owner).exists() {
                self.delete(name);
            }
        }
    }

    /// Two processes may remove the same orphan: that it is gone already is no error.
    fn delete(&self, name: &str) {
        let mut command = Command::new(&self.ip);
        command.args(["netns", "delete", name]);
        process::run(command, PATIENCE);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.delete(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::Namespace;
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn loopback_works_inside_and_is_another_than_ours() {
        let Some(namespace) = Namespace::empty() else { return };
        let outer = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
        let address = outer.local_addr().expect("it is bound");
        namespace.inside(|| {
            TcpStream::connect(address).expect_err("our listener is not reachable from inside");
            let inner = TcpListener::bind("127.0.0.1:0").expect("loopback is up inside");
            TcpStream::connect(inner.local_addr().expect("it is bound")).expect("loopback works inside");
        });
        TcpStream::connect(address).expect("the rest of the test stayed outside");
    }

    #[test]
    fn nothing_outside_is_reached() {
        let Some(namespace) = Namespace::empty() else { return };
        let mut command = Command::new("/bin/bash");
        // Reserved for documents: nobody answers there, and no packet could leave the namespace.
        command.args(["-c", "exec 3<>/dev/tcp/192.0.2.1/9"]);
        crate::process::run(namespace.wrap(&command), Duration::from_secs(20)).failed_saying("unreachable");
    }
}
