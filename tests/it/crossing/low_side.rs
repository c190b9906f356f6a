//! Leg 3: the low side mirrors what clients ask for, and goes on when the upstream is gone.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::containerd::Containerd;
use crate::http;
use crate::outside::Image;

use super::World;
use super::appliance::Serving;
use super::goods::{UPSTREAM, mirrored};

/// No pull may wait for an upstream that is gone; generous, since two cores have to do everything here.
const AT_ONCE: Duration = Duration::from_secs(5);

#[track_caller]
pub fn mirror(world: &mut World<'_>) {
    let url = format!("http://{}", world.outside.address());
    // Every pull by tag asks the upstream, so that its death is felt by each.
    world.low.without_tls(&format!("mirror.fresh_seconds = 0\n[[upstream]]\nname = \"{UPSTREAM}\"\nurl = \"{url}\"\n"));
    let low = world.low.serve();
    nothing_is_trusted_by_default(world, &low);
    clients_pull_through(world, &low);
    nobody_else_is_dialled(world, &low);
    fetch_closures(world);
    world.outside.kill();
    pulls_go_on(world, &low);
}

/// Without a policy nothing comes in, and the answer says what is missing.
#[track_caller]
fn nothing_is_trusted_by_default(world: &World<'_>, low: &Serving<'_>) {
    let target = format!("/v2/{}/manifests/{}", mirrored(&world.goods.app), world.goods.app.tag);
    let answer = low.get(&target).expect_status(403);
    assert!(answer.text().contains("DENIED"), "{}", answer.text());
    judged_where_they_are(world);
    let policy = world.folder.path().join("low-policy.toml").display().to_string();
    // What the low side takes is the high side's to judge: everything may travel, so that it can be refused there.
    std::fs::write(&policy, "version = 1\ndefault = \"admit\"\n").expect("the folder is ours");
    world.low.run(["policy", "check", &policy]).succeeded();
    world.low.run(["policy", "activate", &policy]).succeeded();
    low.get(&target).expect_status(200);
}

/// The high side's policy can be tried on images while they are still outside; nothing is mirrored by it.
#[track_caller]
fn judged_where_they_are(world: &World<'_>) {
    let strict = world.folder.path().join("strict.toml").display().to_string();
    std::fs::write(&strict, world.goods.policy()).expect("the folder is ours");
    let verify = |image: &Image| {
        let name = format!("{}:{}", mirrored(image), image.tag);
        world.low.run_json(["verify", &name, "--upstream", "--policy", &strict])
    };
    let (ran, report) = verify(&world.goods.app);
    assert_eq!((ran.status.code(), &report["admitted"]), (Some(0), &true.into()), "{}", ran.report());
    for unwelcome in &world.goods.unwelcome {
        let (ran, report) = verify(&unwelcome.image);
        assert_eq!(
            (ran.status.code(), &report["refusal"]["rule"]),
            (Some(3), &unwelcome.rule.into()),
            "{}",
            ran.report()
        );
    }
    assert_eq!(world.low.json(["image", "list"])["images"], serde_json::json!([]));
}

/// crane and skopeo by host-prefixed name, containerd by `?ns=`: every digest is the upstream's.
#[track_caller]
fn clients_pull_through(world: &World<'_>, low: &Serving<'_>) {
    let (clients, app) = (&world.clients, &world.goods.app);
    let here = app.at(low.address(), &mirrored(app));
    assert_eq!(clients.succeed("crane", ["digest", &here.tagged()]), app.digest);
    let manifest = |image: &Image| clients.run("crane", ["manifest", &image.tagged()]).succeeded().stdout;
    assert_eq!(manifest(&here), manifest(app), "byte for byte");

    let layout = world.folder.path().join("layout").display().to_string();
    let (source, target) = (format!("docker://{}", here.tagged()), format!("oci:{layout}:v1"));
    clients.succeed("skopeo", ["copy", "--all", "--src-tls-verify=false", &source, &target]);
    let index = std::fs::read_to_string(format!("{layout}/index.json")).expect("skopeo wrote it");
    assert!(index.contains(&app.digest), "{index}");
    let parts = world.goods.parts(app);
    for digest in parts.manifests.iter().chain(&parts.blobs) {
        let path = format!("{layout}/blobs/{}", digest.replace(':', "/"));
        assert!(std::path::Path::new(&path).exists(), "skopeo got {digest}");
    }

    let node = Containerd::start(clients);
    node.mirror(UPSTREAM, &format!("http://{}", low.address()), None);
    node.pull(&format!("{UPSTREAM}/{}:{}", app.repository, app.tag), "linux/arm/v7").succeeded();
    assert!(node.content().contains(&app.digest));
    // It asked with ?ns=.
    world.low.accesses_once_written(&[&format!("\"{UPSTREAM}\""), "containerd/"], 1);
}

/// A name that is not configured is unknown, whether or not somebody would answer there.
#[track_caller]
fn nobody_else_is_dialled(world: &World<'_>, low: &Serving<'_>) {
    let trap = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    trap.set_nonblocking(true).expect("a listener can be polled");
    let namespace = trap.local_addr().expect("it is bound").to_string();
    let path = format!("{}/manifests/v1", world.goods.app.repository);
    for target in [
        format!("/v2/{path}?ns={namespace}"),
        format!("/v2/{path}?ns=registry.elsewhere"),
        format!("/v2/{path}"),
        format!("/v2/registry.elsewhere/{path}"),
        format!("/v2/localhost/{path}"),
    ] {
        let answer = low.get(&target).expect_status(404);
        assert!(answer.text().contains("UNKNOWN"), "{target}: {}", answer.text());
    }
    let node = Containerd::start(&world.clients);
    node.mirror(&namespace, &format!("http://{}", low.address()), None);
    node.pull(&format!("{namespace}/{}:v1", world.goods.app.repository), "linux/amd64").failed();
    // It did ask.
    world.low.accesses_once_written(&[&format!("\"{namespace}\""), "containerd/"], 1);
    let dialled = trap.accept().map(|(_, peer)| peer).expect_err("nobody was to be dialled");
    assert_eq!(dialled.kind(), std::io::ErrorKind::WouldBlock);
}

/// Everything that belongs to each image, asked for by name: platforms, layers, signatures, attestations.
#[track_caller]
fn fetch_closures(world: &World<'_>) {
    let references: Vec<_> = world.goods.all().map(reference).collect();
    let mut arguments = vec!["mirror".to_owned(), "fetch".to_owned()];
    arguments.extend(references);
    world.low.run(arguments).succeeded();
}

/// The name of an image at either side.
pub fn reference(image: &Image) -> String {
    format!("{}:{}", mirrored(image), image.tag)
}

#[track_caller]
fn pulls_go_on(world: &World<'_>, low: &Serving<'_>) {
    for image in world.goods.all() {
        let repository = mirrored(image);
        let start = Instant::now();
        let answer = low.get(&format!("/v2/{repository}/manifests/{}", image.tag)).expect_status(200);
        assert!(start.elapsed() < AT_ONCE, "{repository} waited {:?}", start.elapsed());
        assert_eq!(answer.header("docker-content-digest"), Some(image.digest.as_str()));
        assert!(answer.header("warning").is_some(), "an answer that may be old says so: {:?}", answer.headers);
    }
    let app = world.goods.app.at(low.address(), &mirrored(&world.goods.app));
    let tar = world.folder.path().join("app.tar").display().to_string();
    world.clients.succeed("crane", ["pull", "--platform", "linux/arm64", &app.tagged(), &tar]);
    let layout = world.folder.path().join("layout-after").display().to_string();
    let (source, target) = (format!("docker://{}", app.tagged()), format!("oci:{layout}:v1"));
    world.clients.succeed("skopeo", ["copy", "--all", "--src-tls-verify=false", &source, &target]);
    let missing = http::get(low.address(), &format!("/v2/{UPSTREAM}/demo/never/manifests/v1"));
    assert!(matches!(missing.status, 404 | 502..=504), "{}: {}", missing.status, missing.text());
}
