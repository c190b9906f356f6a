//! containerd as a node has it, as small as it gets: no CRI, nothing is run. Its `ctr` pulls through `hosts.toml`, and
//! that is how the mirror gets to see `?ns=`.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::clients::Clients;
use crate::process::{Ran, Server};

/// What `Clients::find` has to be asked for.
pub const NEEDED: [&str; 2] = ["containerd", "ctr"];

/// A daemon of its own for each test; killed and removed when dropped.
pub struct Containerd {
    clients: Clients,
    _server: Server,
    folder: TempDir,
}

impl Containerd {
    #[track_caller]
    pub fn start(clients: &Clients) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let configuration = format!(
            "version = 3\nroot = \"{}\"\nstate = \"{}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \
             \"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\", \"io.containerd.internal.v1.tracing\"]\n\
             [grpc]\naddress = \"{}\"\n[ttrpc]\naddress = \"{}\"\n",
            path("root"),
            path("state"),
            path("socket"),
            path("socket.ttrpc"),
        );
        std::fs::write(path("configuration.toml"), configuration).expect("the folder is ours");
        let mut command = clients.command("containerd");
        command.arg("--config").arg(path("configuration.toml"));
        let mut server = Server::spawn("containerd", command, Path::new(&path("log")));
        server.wait_for_log("successfully booted", Duration::from_secs(30));
        Self { clients: clients.clone(), _server: server, folder }
    }

    /// Says that images named `namespace/…` come from `mirror` (scheme, host, port) and from nowhere else: without
    /// `server`, ctr would go on to the real upstream after the mirror's 404.
    #[track_caller]
    pub fn mirror(&self, namespace: &str, mirror: &str, authority: Option<&Path>) {
        let authority = authority.map(|path| format!("ca = \"{}\"\n", path.display())).unwrap_or_default();
        let hosts = format!(
            "server = \"{mirror}\"\n{authority}[host.\"{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{authority}"
        );
        self.hosts(namespace, &hosts);
    }

    /// The `hosts.toml` of a namespace.
    #[track_caller]
    pub fn hosts(&self, namespace: &str, text: &str) {
        let folder = self.folder.path().join("hosts").join(namespace);
        std::fs::create_dir_all(&folder).expect("the folder is ours");
        std::fs::write(folder.join("hosts.toml"), text).expect("the folder is ours");
    }

    /// Pushes what it holds under `held` to `reference`.
    #[track_caller]
    pub fn push(&self, held: &str, reference: &str) -> Ran {
        let hosts = self.folder.path().join("hosts").display().to_string();
        self.ctr(["images", "tag", held, reference]).succeeded();
        self.ctr(["images", "push", "--hosts-dir", &hosts, reference])
    }

    /// Pulls and unpacks one platform, so that every digest down to the unpacked layer is checked by containerd.
    #[track_caller]
    pub fn pull(&self, reference: &str, platform: &str) -> Ran {
        let hosts = self.folder.path().join("hosts").display().to_string();
        let options = ["--hosts-dir", &hosts, "--local", "--snapshotter", "native", "--platform", platform];
        self.ctr(["images", "pull"].into_iter().chain(options).chain([reference]))
    }

    /// The digests it holds.
    #[track_caller]
    pub fn content(&self) -> Vec<String> {
        self.ctr(["content", "ls", "-q"]).succeeded().text().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn ctr<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        let socket = self.folder.path().join("socket").display().to_string();
        let arguments = arguments.into_iter().map(str::to_owned);
        self.clients.run("ctr", ["--address".to_owned(), socket].into_iter().chain(arguments))
    }
}
