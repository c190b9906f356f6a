//! Leg 5: the side without a network takes in what its policy admits, names what it refuses, and dials nobody.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::clients::Clients;
use crate::outside::signing;
use crate::outside::{Image, images};
use crate::process::{self, Ran};
use crate::trace::Trace;

use super::appliance::{Appliance, Serving};
use super::goods::{Parts, Unwelcome, digests, mirrored};
use super::{World, export};

const PATIENCE: Duration = Duration::from_secs(120);

/// Refused is not failed: what the policy admits came in, and the exit code tells that not all did.
const PARTLY_REFUSED: i32 = 3;

#[track_caller]
pub fn import<'n>(world: &World<'n>) -> Serving<'n> {
    world.high.configure(
        "[[retention]]\nname = \"newest-three\"\nrepositories = [\"**/demo/tool\"]\nkeep_semver_newest = 3\n\
         [sweep]\ngrace_seconds = 0\n",
    );
    let serving = serve_watched(world);
    let medium = world.medium.display().to_string();
    // A set comes in once: without a policy it is not touched, or it would be lost to its receiver.
    let before = export::head(&world.high);
    let ran = world.high.run(["bundle", "import", &medium]).failed_saying("no trust policy is in force");
    assert_eq!((ran.status.code(), export::head(&world.high)), (Some(PARTLY_REFUSED), before));
    activate(&world.high, &world.goods.policy(), world.folder.path());
    judged_on_the_medium(world, &medium);
    let record = world.folder.path().join("import.strace");
    let (ran, report) = world.high.json_silently(&record, ["bundle", "import", &medium]);
    assert_eq!(ran.status.code(), Some(PARTLY_REFUSED), "{}", ran.report());
    receipt_names_all(world, &report);
    receipt_goes_back(world, &report);
    for unwelcome in &world.goods.unwelcome {
        nothing_of_it_is_served(world, &serving, unwelcome);
    }
    for image in world.goods.welcome() {
        all_of_it_is_served(&serving, image, world.goods.parts(image));
    }
    clients_pull_every_platform(world, &serving);
    signatures_travelled(world, &serving);
    serving
}

/// What the import is about to say of each image can be asked before, and nothing comes in by asking.
#[track_caller]
fn judged_on_the_medium(world: &World<'_>, medium: &str) {
    let head = export::head(&world.high);
    let verify = |image: &Image| {
        let name = format!("{}:{}", mirrored(image), image.tag);
        world.high.run_json(["verify", &name, "--bundle", medium])
    };
    for image in world.goods.welcome() {
        let (ran, report) = verify(image);
        assert_eq!(
            (ran.status.code(), &report["digest"]),
            (Some(0), &Value::from(image.digest.as_str())),
            "{}",
            ran.report()
        );
    }
    for unwelcome in &world.goods.unwelcome {
        let (ran, report) = verify(&unwelcome.image);
        assert_eq!(ran.status.code(), Some(PARTLY_REFUSED), "{}", ran.report());
        assert_eq!(report["refusal"]["rule"], unwelcome.rule, "{report:#}");
    }
    world.high.run(["verify", "nobody.example/none:1", "--bundle", medium]).failed_saying("is in this set");
    assert_eq!(export::head(&world.high), head);
}

/// `postern serve` in the namespace, under a witness that stays until its end.
fn serve_watched<'n>(world: &World<'n>) -> Serving<'n> {
    let trace = Trace::to(&record_of_server(world)).expect("strace was there when the test began");
    world.high.serve_command(trace.wrap(&world.high.command(["serve"])))
}

fn record_of_server(world: &World<'_>) -> std::path::PathBuf {
    world.folder.path().join("serve.strace")
}

/// The server ends; its whole record holds no dial. The same witness does catch one: a positive control.
#[track_caller]
pub fn assert_silent(world: &World<'_>, mut serving: Serving<'_>) {
    let pid = serving.server.pid();
    let status = serving.server.terminate();
    assert!(status.success(), "it ends in order when asked: {status}");
    Trace::to(&record_of_server(world)).expect("strace is there").assert_silent(pid);

    // What the journal says is all there is: an index made anew from it shows the same.
    let listed = || (export::head(&world.high), world.high.json(["image", "list"]));
    let before = listed();
    world.high.run(["store", "rebuild"]).succeeded();
    assert_eq!(listed(), before);

    let namespace = world.high.namespace().expect("the high side has a network of its own");
    let control = Trace::to(&world.folder.path().join("control.strace")).expect("strace is there");
    let mut command = world.clients.command("crane");
    command.args(["digest", "192.0.2.1:5000/demo/app:v1"]);
    let ran = process::run(namespace.wrap(&control.wrap(&command)), PATIENCE).failed();
    assert!(!control.dials(ran.pid).is_empty(), "a dial is caught: {}", ran.report());
}

/// Makes a policy the one that decides.
#[track_caller]
pub fn activate(side: &Appliance<'_>, policy: &str, folder: &Path) {
    let file = folder.join("policy.toml").display().to_string();
    std::fs::write(&file, policy).expect("the folder is ours");
    side.run(["policy", "check", &file]).succeeded();
    side.run(["policy", "activate", &file]).succeeded();
}

#[track_caller]
fn receipt_names_all(world: &World<'_>, report: &Value) {
    for image in world.goods.welcome() {
        let entry = entry_of(&report["admitted"], image);
        assert!(entry.is_some(), "{} is named as admitted: {report:#}", image.repository);
    }
    for Unwelcome { image, rule, reason } in &world.goods.unwelcome {
        let entry =
            entry_of(&report["refused"], image).unwrap_or_else(|| panic!("{} is named: {report:#}", image.repository));
        assert_eq!(entry["rule"], *rule, "{entry:#}");
        assert!(entry["reason"].as_str().is_some_and(|text| text.contains(reason)), "{reason:?} in {entry:#}");
    }
    let count = |key: &str| report[key].as_array().map(Vec::len);
    assert_eq!(count("admitted"), Some(world.goods.welcome().count()));
    assert_eq!(count("refused"), Some(world.goods.unwelcome.len()));
}

/// The receipt is carried back, and the sender knows the hand; with one letter changed it is nobody's.
#[track_caller]
fn receipt_goes_back(world: &World<'_>, report: &Value) {
    let set = report["set"].as_str().expect("a set has an id");
    let file = world.folder.path().join("receipt.json");
    let path = file.display().to_string();
    world.high.run(["bundle", "receipt", set, "--out", &path]).succeeded();
    let back = world.low.json(["bundle", "receipt", &path]);
    for key in ["admitted", "refused", "set", "position"] {
        assert_eq!(back["receipt"][key], report[key], "{key}");
    }
    let text = std::fs::read_to_string(&file).expect("it was written");
    // Every ECDSA signature in DER begins with this letter.
    assert!(text.contains("\"sig\":\"M"), "{text}");
    let changed = text.replacen("\"sig\":\"M", "\"sig\":\"N", 1);
    std::fs::write(&file, changed).expect("the folder is ours");
    let ran = world.low.run(["bundle", "receipt", &path]).failed();
    assert_eq!(ran.status.code(), Some(4), "damaged: {}", ran.report());
}

fn entry_of<'v>(list: &'v Value, image: &Image) -> Option<&'v Value> {
    let repository = mirrored(image);
    let entries = list.as_array()?;
    entries.iter().find(|entry| entry["repository"] == repository.as_str() && entry["digest"] == image.digest.as_str())
}

/// By tag, by digest, child by child, layer by layer, as a referrer and as a signature: nothing.
#[track_caller]
fn nothing_of_it_is_served(world: &World<'_>, serving: &Serving<'_>, unwelcome: &Unwelcome) {
    let image = &unwelcome.image;
    let repository = mirrored(image);
    let parts = world.goods.parts(image);
    let mut targets = vec![format!("manifests/{}", image.tag)];
    targets.extend(parts.manifests.iter().map(|digest| format!("manifests/{digest}")));
    // A layer that an admitted image of the same repository has is its own, whoever else uses it.
    let own = |digest: &&String| !served_with_others(world, image, digest);
    targets.extend(parts.blobs.iter().filter(own).map(|digest| format!("blobs/{digest}")));
    targets.extend([image.signature_tag(), image.fallback_tag()].map(|tag| format!("manifests/{tag}")));
    for target in targets {
        let answer = serving.get(&format!("/v2/{repository}/{target}"));
        assert!(matches!(answer.status, 403 | 404), "{repository}/{target}: {} {}", answer.status, answer.text());
    }
    for digest in &parts.manifests {
        let answer = serving.get(&format!("/v2/{repository}/referrers/{digest}"));
        let listed = answer.status == 200 && !digests(&answer.json()["manifests"]).is_empty();
        assert!(!listed, "{repository} lists referrers of {digest}: {}", answer.text());
    }
    let tags = serving.get(&format!("/v2/{repository}/tags/list"));
    assert!(tags.status == 404 || !tags.text().contains(&format!("\"{}\"", image.tag)), "{}", tags.text());
}

fn served_with_others(world: &World<'_>, image: &Image, digest: &str) -> bool {
    let mut neighbours = world.goods.welcome().filter(|other| other.repository == image.repository);
    neighbours.any(|other| world.goods.parts(other).blobs.iter().any(|blob| blob == digest))
}

/// Every manifest by digest and every blob, the tag pointing where it did outside.
#[track_caller]
pub fn all_of_it_is_served(serving: &Serving<'_>, image: &Image, parts: &Parts) {
    let repository = mirrored(image);
    let tagged = serving.get(&format!("/v2/{repository}/manifests/{}", image.tag)).expect_status(200);
    assert_eq!(tagged.header("docker-content-digest"), Some(image.digest.as_str()));
    let manifests = parts.manifests.iter().map(|digest| ("manifests", digest));
    for (kind, digest) in manifests.chain(parts.blobs.iter().map(|digest| ("blobs", digest))) {
        let answer = serving.get(&format!("/v2/{repository}/{kind}/{digest}")).expect_status(200);
        assert_eq!(&signing::sha256(&answer.body), digest, "{repository}/{kind}");
    }
}

#[track_caller]
fn clients_pull_every_platform(world: &World<'_>, serving: &Serving<'_>) {
    let clients = inside(world, serving);
    let app = world.goods.app.at(serving.address(), &mirrored(&world.goods.app));
    let target = |name: &str| world.folder.path().join(name).display().to_string();
    for (architecture, platform) in images::PLATFORMS {
        let tar = target(&format!("high-{architecture}.tar"));
        run(world, &clients, "crane", &["pull", "--platform", platform, &app.tagged(), &tar]).succeeded();
        run(world, &clients, "podman", &["pull", "--platform", platform, &app.tagged()]).succeeded();
    }
    let (source, layout) = (format!("docker://{}", app.tagged()), format!("oci:{}:v1", target("high-layout")));
    run(world, &clients, "skopeo", &["copy", "--all", &source, &layout]).succeeded();
    let tags = run(world, &clients, "crane", &["ls", &format!("{}/{}", app.address, app.repository)]).succeeded();
    assert!(tags.text().lines().any(|tag| tag == "v1"), "{}", tags.report());
}

/// cosign, asked on the high side, in both forms; by another key it says no.
#[track_caller]
fn signatures_travelled(world: &World<'_>, serving: &Serving<'_>) {
    let verify = |image: &Image, key: &signing::SigningKey, options: &[&str]| {
        let pinned = image.at(serving.address(), &mirrored(image)).pinned();
        cosign(world, serving, &pinned, key, options)
    };
    let (keys, app) = (&world.goods.keys, &world.goods.app);
    verify(app, &keys.apps, &[]).succeeded();
    verify(app, &keys.apps, &["--new-bundle-format=false"]).succeeded();
    verify(&world.goods.team, &keys.team, &[]).succeeded();
    verify(app, &keys.stranger, &[]).failed_saying("could not verify envelope");
}

/// `cosign verify` in the high side's network.
#[track_caller]
pub fn cosign(
    world: &World<'_>,
    serving: &Serving<'_>,
    pinned: &str,
    key: &signing::SigningKey,
    options: &[&str],
) -> Ran {
    let key = key.public.display().to_string();
    let arguments = ["verify", "--insecure-ignore-tlog", "--key", &key];
    let arguments: Vec<_> = arguments.into_iter().chain(options.iter().copied()).chain([pinned]).collect();
    run(world, &inside(world, serving), "cosign", &arguments)
}

/// Clients that trust the high side's certificate.
pub fn inside(world: &World<'_>, serving: &Serving<'_>) -> Clients {
    let authority = serving.endpoint.authority.as_ref().expect("the high side speaks TLS, as setup left it");
    world.clients.trusting(authority)
}

/// Runs a client in the high side's network.
#[track_caller]
pub fn run(world: &World<'_>, clients: &Clients, name: &str, arguments: &[&str]) -> Ran {
    let namespace = world.high.namespace().expect("the high side has a network of its own");
    let mut command = clients.command(name);
    command.args(arguments);
    process::run(namespace.wrap(&command), PATIENCE)
}
