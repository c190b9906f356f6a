//! What is not made, not sent or not taken: each with its exit code, and with nothing left behind.

use std::path::Path;

use super::{Made, authority, json, postern};
use crate::clients::Clients;
use crate::outside::images::PLATFORMS;
use crate::outside::{NEEDED, Outside};
use crate::process::Ran;
use crate::push::{ADMIT, DENY, OPEN, appliance};

const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const DAMAGED: i32 = 4;
const NOT_NOW: i32 = 5;

#[track_caller]
fn fails(ran: Ran, exit: i32, words: &[&str]) {
    let ran = words.iter().fold(ran, |ran, words| ran.failed_saying(words));
    assert_eq!(ran.status.code(), Some(exit), "{}", ran.report());
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("the layout is ours");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("the layout is ours");
}

#[test]
fn a_binary_that_would_not_run_in_the_image_is_refused() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let made = Made::new(&clients);
    let swapped = [("amd64", "linux/arm64")];
    fails(made.assemble("none", &swapped), USAGE, &["another machine than linux/arm64", "busybox"]);
    fails(made.assemble("none", &[("amd64", "linux/s390x")]), USAGE, &["linux/amd64, linux/arm64, linux/arm/v7"]);
    fails(made.assemble("none", &[PLATFORMS[0], PLATFORMS[0]]), USAGE, &["two binaries"]);
    fails(made.assemble("layout", &PLATFORMS), USAGE, &["not empty", "--output"]);
    // The type of the first program header of a 64-bit file stands where its table begins, behind 64 bytes of header.
    let dynamic = made.path("dynamic");
    std::fs::copy(clients.busybox("amd64"), &dynamic).expect("the clients are there");
    change(&dynamic, |bytes| bytes[64..68].copy_from_slice(&3_u32.to_le_bytes()));
    let output = made.path("none").display().to_string();
    let argument = format!("linux/amd64={}", dynamic.display());
    fails(postern(["image", "assemble", "--output", &output, &argument]), USAGE, &["dynamic loader", "make dist"]);
    assert_eq!(std::fs::read_dir(&output).expect("it was made").count(), 0, "nothing was written");
}

#[test]
fn a_damaged_layout_is_named_and_moves_no_tag() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let outside = Outside::start(&clients);
    let image = format!("{}/tools/postern:0.1.0", outside.address());
    let tags = || outside.clients().run("crane", ["ls", &format!("{}/tools/postern", outside.address())]).text();
    let made = Made::new(&clients);
    let layer = made.made_for("linux/arm64", "layer");
    let file = made.blob("layout", &layer);
    // Of the right length, in its last piece: only its digest tells, and the registry is never given the end.
    change(&file, |bytes| *bytes.last_mut().expect("it is not empty") ^= 1);
    fails(made.push("layout", &image, &[]), DAMAGED, &[&layer, "damaged", "next_step"]);
    let stored = format!("/v2/tools/postern/blobs/{layer}");
    assert_eq!(crate::http::get(outside.address(), &stored).status, 404);
    assert_eq!(tags(), "");
    // Too short, or not there: nothing is sent at all.
    let puts = || outside.requests().iter().filter(|line| line.starts_with("P")).count();
    let before = puts();
    change(&file, |bytes| bytes.truncate(bytes.len() - 1));
    fails(made.push("layout", &image, &[]), DAMAGED, &[&layer, "bytes long"]);
    std::fs::remove_file(&file).expect("the layout is ours");
    fails(made.push("layout", &image, &[]), DAMAGED, &[&layer, "lacks"]);
    let manifest = made.made_for("linux/amd64", "digest");
    change(&made.blob("layout", &manifest), |bytes| bytes[3] ^= 1);
    fails(made.push("layout", &image, &[]), DAMAGED, &[&manifest, "damaged"]);
    assert_eq!(puts(), before);
    fails(made.push("nowhere", &image, &[]), USAGE, &["nowhere"]);
    std::fs::create_dir(made.path("empty")).expect("the folder is ours");
    fails(made.push("empty", &image, &[]), USAGE, &["no image layout"]);
}

#[test]
fn what_the_other_side_does_not_want_is_said_in_its_words() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let made = Made::new(&clients);
    let closed = appliance(made.folder.path(), "", ADMIT);
    let serving = closed.serve();
    let (image, ca) = (format!("{}/tools/postern:0.1.0", serving.address()), authority(&serving));
    fails(made.push("layout", &image, &["--ca-file", &ca]), REFUSED, &["push.networks"]);
    // A certificate that nobody vouches for.
    fails(made.push("layout", &image, &[]), NOT_NOW, &["cannot connect", "--ca-file"]);
    drop(serving);
    fails(made.push("layout", &image, &["--ca-file", &ca]), NOT_NOW, &["cannot be reached"]);

    let folder = made.path("strict");
    std::fs::create_dir(&folder).expect("the folder is ours");
    let strict = appliance(&folder, OPEN, DENY);
    let serving = strict.serve();
    let (image, ca) = (format!("{}/tools/postern:0.1.0", serving.address()), authority(&serving));
    fails(made.push("layout", &image, &["--ca-file", &ca]), REFUSED, &["DENIED"]);
    assert_eq!(serving.get("/v2/tools/postern/manifests/0.1.0").status, 404);
}

#[test]
fn an_offline_appliance_dials_nobody() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let outside = Outside::start(&clients);
    let made = Made::new(&clients);
    let offline = appliance(made.folder.path(), "", ADMIT);
    offline.without_tls("offline = true\n");
    let layout = made.path("layout").display().to_string();
    let image = format!("{}/tools/postern:0.1.0", outside.address());
    fails(offline.run(["image", "push", &layout, &image]), NOT_NOW, &["offline"]);
    assert!(outside.requests().is_empty(), "{:?}", outside.requests());
    // The same by an appliance that mirrors this registry: it is reached as the configuration says.
    let upstream = format!("[[upstream]]\nname = \"outside\"\nurl = \"http://{}\"\n", outside.address());
    offline.without_tls(&upstream);
    let report = offline.json(["image", "push", &layout, "outside/tools/postern:0.1.0"]);
    assert_eq!(report["digest"], json(&made.push("layout", &image, &["--dry-run"]))["digest"]);
    assert_eq!(clients.succeed("crane", ["digest", &image]), made.digest());
}
