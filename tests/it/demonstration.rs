//! `make run` as a newcomer sees it, with the binary under test and in a folder of its own: the sample bundle crosses
//! from a stand-in registry over a low side to a high side, which is left serving.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::http::{self, Endpoint};
use crate::netns::Namespace;
use crate::process;

const PATIENCE: Duration = Duration::from_secs(120);

/// One of its scripts. The ports are fixed, so it runs where nobody else has any.
fn script(name: &str, folder: &TempDir, namespace: &Namespace) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/demonstration").join(name));
    command
        .env("POSTERN_DEMONSTRATION_DIR", folder.path().join("run"))
        .env("POSTERN_DEMONSTRATION_BINARY", crate::binary::path());
    namespace.wrap(&command)
}

/// Ends what it leaves running, also when the test fails.
struct Stop<'a>(&'a TempDir, &'a Namespace);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        process::run(script("stop", self.0, self.1), PATIENCE);
    }
}

#[test]
fn make_run_leaves_a_high_side_that_serves() {
    let Some(namespace) = Namespace::empty() else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let _stop = Stop(&folder, &namespace);
    let said = process::run(script("run", &folder, &namespace), PATIENCE).succeeded().text();
    assert!(said.contains("5 admitted") && said.contains("Type next"), "{said}");
    let authority = folder.path().join("run/high/tls/server.pem");
    let endpoint = Endpoint { address: "127.0.0.1:5543".to_owned(), authority: Some(authority) };
    let tags = namespace.inside(|| http::get_from(&endpoint, "/v2/outside/sample/hello/tags/list")).expect_status(200);
    assert!(tags.text().contains("\"2.0.0\""), "{}", tags.text());
}
