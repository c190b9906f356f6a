//! The golden bundle of each format version, as it was carried once: every later version must take it in.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::crossing::appliance::Appliance;

fn golden(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/golden/v1").join(part)
}

#[test]
fn format_1_is_read() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let identity = folder.path().join("demonstration/identity");
    std::fs::create_dir_all(&identity).expect("the folder is ours");
    for file in std::fs::read_dir(golden("receiver/identity")).expect("the golden bundle is committed").flatten() {
        std::fs::copy(file.path(), identity.join(file.file_name())).expect("the folder is ours");
    }
    let receiver = Appliance::set_up(folder.path(), "demonstration", None);
    let path = |part: &str| golden(part).display().to_string();
    let fingerprint = std::fs::read_to_string(golden("sender.fingerprint")).expect("it is committed");
    let known = ["enroll", "add", &path("sender.json"), "--role", "sender", "--fingerprint", fingerprint.trim()];
    receiver.run(known).succeeded();
    receiver.run(["policy", "activate", &path("policy.toml")]).succeeded();
    receiver.run(["bundle", "import", &path("medium")]).succeeded();
    let listed = receiver.run(["image", "list"]).succeeded().text();
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "2.0.0"] {
        assert!(listed.contains(version), "{version} is not in: {listed}");
    }
    receiver.run(["store", "check"]).succeeded();
}
