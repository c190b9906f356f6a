//! The world outside: a registry that is not ours (docker-registry), and in it images and signatures as people make them.
//!
//! Reference registry on purpose: what Postern mirrors must come from a server that Postern's authors did not write.
//! It knows no referrers API, so that signatures stand under fallback tags; our own server covers the other form.

pub mod images;
pub mod signing;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::clients::Clients;
use crate::process::Server;

/// What every test of the outside world needs.
pub const NEEDED: [&str; 3] = ["docker-registry", "crane", "cosign"];

const STARTING: Duration = Duration::from_secs(30);

/// docker-registry on loopback, plain HTTP, with a folder of its own; killed and removed when dropped.
pub struct Outside {
    clients: Clients,
    address: String,
    configuration: String,
    // Before the folder: fields are dropped in order, and the server writes there to its end.
    server: Server,
    folder: TempDir,
}

impl Outside {
    #[track_caller]
    pub fn start(clients: &Clients) -> Self {
        Self::start_with(clients, "")
    }

    /// The same with more in its configuration, such as who may come in.
    #[track_caller]
    pub fn start_with(clients: &Clients, configuration: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut server = spawn(clients, &folder, "127.0.0.1:0", configuration);
        // The kernel picks the port and the server tells it: no other process can take it in between.
        let address = server.wait_for("its address", STARTING, |server| listening_address(&server.log()));
        let configuration = configuration.to_owned();
        Self { clients: clients.clone(), address, configuration, server, folder }
    }

    /// Host and port, as it stands in an image's name.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The upstream is gone, without a word to those connected.
    #[track_caller]
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// The same registry with the same content at the same address again.
    #[track_caller]
    pub fn revive(&mut self) {
        self.server.kill();
        let answers = |server: &Server| server.log().matches("listening on").count();
        let before = answers(&self.server);
        self.server = spawn(&self.clients, &self.folder, &self.address, &self.configuration);
        self.server.wait_for("its second start", STARTING, |server| (answers(server) > before).then_some(()));
    }

    /// Every request so far, as `METHOD target status agent`: who dialled us, and for what.
    pub fn requests(&self) -> Vec<String> {
        self.server.log().lines().filter_map(request_of_line).collect()
    }
}

fn spawn(clients: &Clients, folder: &TempDir, address: &str, addition: &str) -> Server {
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let configuration = format!(
        "version: 0.1\n\
         log: {{level: info, accesslog: {{disabled: false}}}}\n\
         storage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n\
         http: {{addr: \"{address}\"}}\n{addition}",
        path("data").display(),
    );
    std::fs::write(path("configuration.yml"), configuration).expect("the folder is ours");
    let mut command = clients.command("docker-registry");
    command.arg("serve").arg(path("configuration.yml"));
    Server::spawn("docker-registry", command, &path("log"))
}

/// From `… msg="listening on 127.0.0.1:40123" …`.
fn listening_address(log: &str) -> Option<String> {
    let after = log.split("listening on ").nth(1)?;
    let end = after.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    Some(after[..end].to_owned())
}

/// From the combined log format: `host - - [time] "METHOD target HTTP/1.1" status bytes "referer" "agent"`.
fn request_of_line(line: &str) -> Option<String> {
    let mut quoted = line.split('"');
    quoted.next().filter(|start| start.contains(" - - ["))?;
    let (method_and_target, _) = quoted.next()?.rsplit_once(' ')?;
    let status = quoted.next()?.split_whitespace().next()?;
    let agent = quoted.nth(2).unwrap_or_default();
    Some(format!("{method_and_target} {status} {agent}"))
}

/// An image in some registry, known by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Host and port.
    pub address: String,
    pub repository: String,
    pub tag: String,
    pub digest: String,
}

impl Image {
    /// `host:port/repository:tag`
    pub fn tagged(&self) -> String {
        format!("{}/{}:{}", self.address, self.repository, self.tag)
    }

    /// `host:port/repository@sha256:…`; the form to sign, since a tag may move meanwhile.
    pub fn pinned(&self) -> String {
        format!("{}/{}@{}", self.address, self.repository, self.digest)
    }

    /// `sha256-…`: where referrers stand in a registry without the API for them.
    pub fn fallback_tag(&self) -> String {
        self.digest.replace(':', "-")
    }

    /// `sha256-….sig`: cosign's older place for signatures.
    pub fn signature_tag(&self) -> String {
        format!("{}.sig", self.fallback_tag())
    }

    /// The same content under another registry's name for it.
    pub fn at(&self, address: &str, repository: &str) -> Self {
        Self { address: address.to_owned(), repository: repository.to_owned(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{listening_address, request_of_line};

    #[test]
    fn the_log_tells_address_and_requests() {
        let line = r#"time="2026" level=info msg="listening on 127.0.0.1:40123" version=2.8.3"#;
        assert_eq!(listening_address(line).as_deref(), Some("127.0.0.1:40123"));
        assert_eq!(listening_address("msg=\"listening on 127.0."), None, "cut short by a write under way");
        let line =
            r#"127.0.0.1 - - [24/Nov/2026:00:01:22 +0000] "GET /v2/a/tags/list?n=1 HTTP/1.1" 200 29 "" "skopeo/1.9.3""#;
        assert_eq!(request_of_line(line).as_deref(), Some("GET /v2/a/tags/list?n=1 200 skopeo/1.9.3"));
        assert_eq!(request_of_line(r#"time="2026" level=info msg="x""#), None);
    }
}
