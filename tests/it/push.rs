//! Pushes by real clients over TLS: taken from the networks that are named, judged by the policy, and nothing else.

mod broken_off;
mod clients;
// Without the feature there is no binary that can be told where to die.
#[cfg(feature = "killpoints")]
mod kill;
mod together;
pub mod wire;

use std::path::Path;

use tempfile::TempDir;

use crate::clients::Clients;
use crate::crossing::activate;
use crate::crossing::appliance::{Appliance, Serving};
use crate::outside::signing;

/// Loopback may push.
pub const OPEN: &str = "[push]\nnetworks = [\"127.0.0.0/8\"]\n";
pub const ADMIT: &str = "version = 1\ndefault = \"admit\"\n";
pub const DENY: &str = "version = 1\ndefault = \"deny\"\n";
/// Larger than one piece, so that it comes in several.
const LAYER_BYTES: usize = 3 * 1024 * 1024 + 17;

/// An appliance with something added to its configuration, and a policy in force.
#[track_caller]
pub fn appliance(folder: &Path, configuration: &str, policy: &str) -> Appliance<'static> {
    let appliance = Appliance::set_up(folder, "box", None);
    appliance.configure(configuration);
    activate(&appliance, policy, folder);
    appliance
}

/// A tar archive with one file, and the arguments that push it as an image.
pub fn append(folder: &Path, image: &str) -> [String; 5] {
    let byte = |position| u8::try_from(position * 31 % 251).expect("a remainder below 251");
    let content: Vec<u8> = (0..LAYER_BYTES).map(byte).collect();
    std::fs::write(folder.join("content"), content).expect("the folder is ours");
    let layer = folder.join("layer.tar").display().to_string();
    let mut tar = std::process::Command::new("tar");
    tar.arg("-C").arg(folder).args(["--mtime=@0", "-cf", &layer, "content"]);
    crate::process::run(tar, std::time::Duration::from_secs(30)).succeeded();
    ["append", "-f", &layer, "-t", image].map(str::to_owned)
}

fn trusting(clients: &Clients, serving: &Serving<'_>) -> Clients {
    clients.trusting(serving.endpoint.authority.as_ref().expect("setup made a certificate"))
}

#[test]
fn what_crane_pushes_comes_back_and_survives_a_restart() {
    let Some(clients) = Clients::find(&["crane", "skopeo"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), OPEN, ADMIT);
    let serving = appliance.serve();
    let crane = trusting(&clients, &serving);
    let image = format!("{}/demo/app:v1", serving.address());
    crane.run("crane", append(folder.path(), &image)).succeeded();
    let digest = crane.succeed("crane", ["digest", &image]);
    // Again, and under another tag: nothing is refused because it is there already.
    crane.run("crane", append(folder.path(), &image)).succeeded();
    crane.succeed("crane", ["tag", &image, "v2"]);
    let layout = format!("oci:{}:v1", folder.path().join("layout").display());
    crane.run("skopeo", ["copy", &format!("docker://{image}"), &layout]).succeeded();
    // And back by another client, into another repository.
    let second = format!("docker://{}/demo/second:v1", serving.address());
    crane.run("skopeo", ["copy", "--preserve-digests", &layout, &second]).succeeded();
    drop(serving);

    let serving = appliance.serve();
    let crane = trusting(&clients, &serving);
    // skopeo turned Docker's form into OCI's on the way into the layout; from there it came back byte for byte.
    let index = std::fs::read(folder.path().join("layout/index.json")).expect("skopeo wrote it");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("it is JSON");
    let copied = index["manifests"][0]["digest"].as_str().expect("it names the image");
    for (name, expected) in [("demo/app:v1", digest.as_str()), ("demo/app:v2", &digest), ("demo/second:v1", copied)] {
        assert_eq!(crane.succeed("crane", ["digest", &format!("{}/{name}", serving.address())]), expected, "{name}");
    }
    let manifest = serving.get(&format!("/v2/demo/app/manifests/{digest}")).expect_status(200).json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("it has a layer");
    let answer = serving.get(&format!("/v2/demo/app/blobs/{layer}")).expect_status(200);
    assert_eq!(signing::sha256(&answer.body), layer);
    // Knowing a digest opens nothing elsewhere.
    assert_eq!(serving.get(&format!("/v2/demo/other/blobs/{layer}")).status, 404);
}

#[test]
fn nobody_may_push_until_a_network_is_named() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), "", ADMIT);
    let serving = appliance.serve();
    let image = format!("{}/demo/app:v1", serving.address());
    trusting(&clients, &serving).run("crane", append(folder.path(), &image)).failed_saying("push.networks");
    assert_eq!(serving.get("/v2/demo/app/tags/list").status, 404);
}

#[test]
fn what_the_policy_refuses_is_not_there_afterwards() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), OPEN, DENY);
    let serving = appliance.serve();
    let image = format!("{}/demo/app:v1", serving.address());
    trusting(&clients, &serving).run("crane", append(folder.path(), &image)).failed_saying("DENIED");
    assert_eq!(serving.get("/v2/demo/app/manifests/v1").status, 404);
}
