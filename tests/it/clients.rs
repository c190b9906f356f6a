//! The real clients, as `tests/clients/fetch` lays them down: found, isolated from the person's own settings, run.
//!
//! All of them take a private authority the same way, by `SSL_CERT_FILE`, so that no test needs an option of each
//! client for it (`Clients::trusting`). Loopback addresses are tried by plain HTTP by crane and cosign on their own;
//! skopeo and podman want `--src-tls-verify=false` and `--tls-verify=false`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Ran};
use crate::skip;

/// More than any client needs here, on a machine that two other test binaries share.
const PATIENCE: Duration = Duration::from_secs(120);

/// What of the caller's environment a client may see. Everything else is removed: a proxy, a credential helper or a
/// container engine's setting at somebody's desk would decide what a test proves.
const KEPT: [&str; 2] = ["TERM", "SYSTEMROOT"];

/// These change mounts and owners, which only root can.
const NEEDS_ROOT: [&str; 3] = ["podman", "buildah", "containerd"];

/// The clients with a home of their own. Clones share the home.
#[derive(Clone)]
pub struct Clients {
    tree: PathBuf,
    home: Arc<TempDir>,
    authority: Option<PathBuf>,
}

impl Clients {
    /// All the `wanted`, or a skip that names the first that is not there.
    #[track_caller]
    pub fn find(wanted: &[&str]) -> Option<Self> {
        let tree = tree();
        for name in wanted {
            if !tree.join("bin").join(name).is_file() {
                skip::absent(&format!("the client \"{name}\" is not here"), "run tests/clients/fetch");
                return None;
            }
            if NEEDS_ROOT.contains(name) && !skip::is_root() {
                skip::absent(&format!("the client \"{name}\" works for root only"), "run the tests as root");
                return None;
            }
        }
        let home = TempDir::new().expect("a temporary folder can be made");
        for folder in ["tmp", "run"] {
            std::fs::create_dir(home.path().join(folder)).expect("a new folder is empty");
        }
        let found = Self { tree, home: Arc::new(home), authority: None };
        found.name(wanted);
        Some(found)
    }

    /// Says what ran. Captured: it shows with a failure, or with `--nocapture`.
    #[expect(clippy::disallowed_macros, reason = "a test's own output, which libtest keeps with the test")]
    fn name(&self, wanted: &[&str]) {
        let named: Vec<_> = wanted.iter().map(|name| format!("{name} {}", self.version(name))).collect();
        println!("with {}", named.join(", "));
    }

    /// The same clients with the same home, trusting servers whose chain ends in this PEM certificate, and no others.
    pub fn trusting(&self, certificate: &Path) -> Self {
        Self { authority: Some(certificate.to_owned()), ..self.clone() }
    }

    /// Where the clients keep what they keep; gone when the last clone is dropped.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A client's command line, to be wrapped (`Namespace::wrap`, `Trace::wrap`) and run by `process::run`.
    pub fn command(&self, name: &str) -> Command {
        let bin = self.tree.join("bin");
        let mut command = Command::new(bin.join(name));
        for (key, _) in std::env::vars_os() {
            if !KEPT.iter().any(|kept| key == *kept) {
                command.env_remove(key);
            }
        }
        let home = self.home();
        command
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()))
            .env("LC_ALL", "C")
            .env("HOME", home)
            .env("TMPDIR", home.join("tmp"))
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("TUF_ROOT", home.join("tuf"))
            // Set and empty: cosign would else ask a terminal for it.
            .env("COSIGN_PASSWORD", "")
            .current_dir(home);
        if let Some(certificate) = &self.authority {
            command.env("SSL_CERT_FILE", certificate);
        }
        command
    }

    /// Runs a client to its end, whatever that is.
    #[track_caller]
    pub fn run<Argument: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = Argument>) -> Ran {
        let mut command = self.command(name);
        command.args(arguments);
        process::run(command, PATIENCE)
    }

    /// Runs a client that must succeed; gives its standard output, trimmed.
    #[track_caller]
    pub fn succeed<Argument: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = Argument>) -> String {
        self.run(name, arguments).succeeded().text()
    }

    /// A client's version as Debian counts it, for the test to name what it ran.
    pub fn version(&self, name: &str) -> String {
        let versions = std::fs::read_to_string(self.tree.join("versions")).unwrap_or_default();
        let found = versions.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or("of unknown version").to_owned()
    }

    /// The static busybox for a Debian architecture: `amd64`, `arm64` or `armhf`.
    pub fn busybox(&self, architecture: &str) -> PathBuf {
        self.tree.join("busybox").join(architecture).join("busybox")
    }
}

/// `POSTERN_CLIENTS` names the folder of the programs, as in a tree unpacked elsewhere; its siblings are used too.
fn tree() -> PathBuf {
    match std::env::var_os("POSTERN_CLIENTS") {
        Some(bin) => Path::new(&bin).parent().expect("POSTERN_CLIENTS names a folder called bin").to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients"),
    }
}
