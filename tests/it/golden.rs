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
    damage_is_said_before_anything_comes_in(&receiver, folder.path());
    receiver.run(["bundle", "import", &path("medium")]).succeeded();
    let listed = receiver.run(["image", "list"]).succeeded().text();
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "2.0.0"] {
        assert!(listed.contains(version), "{version} is not in: {listed}");
    }
    receiver.run(["store", "check"]).succeeded();
}

/// One byte of every chunk is another: asked about an image, the medium is called damaged as an import would call it.
fn damage_is_said_before_anything_comes_in(receiver: &Appliance<'_>, folder: &Path) {
    const DAMAGED: Option<i32> = Some(4);
    let medium = golden("medium").display().to_string();
    let inspected = receiver.json(["bundle", "inspect", &medium]);
    let image = &inspected["sets"][0]["summary"]["images"][0];
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let name = format!("{}:{}", text(&image["repository"]), text(&image["tags"][0]));
    receiver.run(["verify", &name, "--bundle", &medium]).succeeded();
    let bad = folder.join("bad");
    std::fs::create_dir_all(&bad).expect("the folder is ours");
    for file in std::fs::read_dir(golden("medium")).expect("the golden bundle is committed").flatten() {
        let mut bytes = std::fs::read(file.path()).expect("it is committed");
        let chunks: Vec<usize> =
            (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"chunks/")).collect();
        assert!(!chunks.is_empty());
        for at in chunks {
            bytes[at + 512] ^= 1;
        }
        std::fs::write(bad.join(file.file_name()), bytes).expect("the folder is ours");
    }
    let ran =
        receiver.run(["verify", &name, "--bundle", &bad.display().to_string()]).failed_saying("is damaged at byte");
    assert!(ran.status.code() == DAMAGED && ran.complaint().contains("next step"), "{}", ran.report());
}
