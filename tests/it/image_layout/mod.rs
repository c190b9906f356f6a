//! Postern's image, made by Postern without any engine and pushed by it: into a Postern, and into a registry that is
//! not ours; then pulled for each platform by clients that are not ours either.
//!
//! The binaries are Debian's static busyboxes, real programs for all three machines. What goes wrong on the way stands in
//! `refused`.

mod refused;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::Clients;
use crate::crossing::appliance::Serving;
use crate::outside::images::PLATFORMS;
use crate::outside::signing::{self, SigningKey};
use crate::outside::{NEEDED, Outside};
use crate::process::{self, Ran};
use crate::push::{ADMIT, OPEN, appliance};

const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a layout of the three busyboxes, and who made it.
struct Made {
    folder: TempDir,
    clients: Clients,
    /// What `postern image assemble --json` said.
    report: Value,
}

/// A command of the binary under test that needs no data directory.
fn postern<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut command = crate::binary::command();
    for variable in ["POSTERN_CONFIG", "POSTERN_DATA", "POSTERN_LOG"] {
        command.env_remove(variable);
    }
    // An empty configuration, whatever this machine's own says.
    command.args(["--json", "--config", "/dev/null"]).args(arguments).current_dir("/");
    process::run(command, PATIENCE)
}

fn json(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {}", ran.report()))
}

impl Made {
    #[track_caller]
    fn new(clients: &Clients) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut made = Self { folder, clients: clients.clone(), report: Value::Null };
        made.report = json(&made.assemble("layout", &PLATFORMS).succeeded());
        made
    }

    fn assemble(&self, layout: &str, platforms: &[(&str, &str)]) -> Ran {
        let output = self.path(layout).display().to_string();
        let mut arguments =
            ["image", "assemble", "--created", "1767225600", "--output", &output].map(str::to_owned).to_vec();
        for (architecture, platform) in platforms {
            arguments.push(format!("{platform}={}", self.clients.busybox(architecture).display()));
        }
        postern(arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `postern image push` of a layout here, with more options.
    fn push(&self, layout: &str, destination: &str, options: &[&str]) -> Ran {
        let layout = self.path(layout).display().to_string();
        let arguments = ["image", "push", layout.as_str(), destination];
        postern(arguments.into_iter().chain(options.iter().copied()))
    }

    /// What was made for a platform: `digest` or `layer`.
    #[track_caller]
    fn made_for(&self, platform: &str, what: &str) -> String {
        let platforms = self.report["platforms"].as_array().expect("it lists platforms");
        let found = platforms.iter().find(|image| image["platform"] == platform).expect("it was asked for");
        found[what].as_str().expect("a digest").to_owned()
    }

    fn digest(&self) -> &str {
        self.report["digest"].as_str().expect("a digest")
    }

    /// The file of a blob of a layout.
    fn blob(&self, layout: &str, digest: &str) -> PathBuf {
        self.path(layout).join("blobs").join(digest.replace(':', "/"))
    }
}

fn authority(serving: &Serving<'_>) -> String {
    serving.endpoint.authority.as_ref().expect("setup made a certificate").display().to_string()
}

/// Sent counts of a push: blobs, then manifests.
fn sent(report: &Value) -> (u64, u64) {
    let count = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"));
    (count("blobs_sent"), count("manifests_sent"))
}

#[test]
fn equal_binaries_make_equal_layouts() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let made = Made::new(&clients);
    let mut reversed = PLATFORMS;
    reversed.reverse();
    assert_eq!(json(&made.assemble("again", &reversed).succeeded()), made.report);
    let mut compare = Command::new("diff");
    compare.arg("-r").arg(made.path("layout")).arg(made.path("again"));
    process::run(compare, PATIENCE).succeeded();
}

#[test]
fn a_postern_pushed_into_a_postern_is_pulled_for_each_platform() {
    let Some(clients) = Clients::find(&["crane", "skopeo"]) else { return };
    let made = Made::new(&clients);
    let appliance = appliance(made.folder.path(), OPEN, ADMIT);
    let serving = appliance.serve();
    let image = format!("{}/tools/postern:0.1.0", serving.address());
    let authority = authority(&serving);
    let options = ["--ca-file", authority.as_str()];
    let would = json(&made.push("layout", &image, &[options.as_slice(), &["--dry-run"]].concat()).succeeded());
    assert_eq!(serving.get("/v2/tools/postern/tags/list").status, 404);
    let report = json(&made.push("layout", &image, &options).succeeded());
    assert_eq!(report, would);
    assert_eq!(sent(&report), (6, 4));
    assert_eq!(report["digest"], made.digest());

    let inside = clients.trusting(Path::new(&authority));
    assert_eq!(inside.succeed("crane", ["digest", &image]), made.digest());
    for (architecture, platform) in PLATFORMS {
        pulled_by_crane(&made, &inside, &image, architecture, platform);
        pulled_by_skopeo(&made, &inside, &image, platform);
    }

    // Nothing but questions the second time, and the registry saw no more than they: what it logs, it logs in order.
    let count = |method: &str| appliance.accesses(&[method, "tools/postern"]).len();
    let takings = || ["POST", "PUT", "PATCH"].map(count);
    process::wait_for("every upload in the log", PATIENCE, || (takings() == [6, 10, 0]).then_some(()));
    let questions = count("HEAD");
    assert_eq!(sent(&json(&made.push("layout", &image, &options).succeeded())), (0, 0));
    process::wait_for("the second push in the log", PATIENCE, || (count("HEAD") >= questions + 10).then_some(()));
    assert_eq!(takings(), [6, 10, 0]);
    // Another tag is one more manifest, and no bytes.
    let second = json(&made.push("layout", &image.replace(":0.1.0", ":stable"), &options).succeeded());
    assert_eq!(sent(&second), (0, 1));
}

/// What crane sees of a platform, and the file where it should be, with its content and owner.
#[track_caller]
fn pulled_by_crane(made: &Made, clients: &Clients, image: &str, architecture: &str, platform: &str) {
    let manifest = clients.succeed("crane", ["manifest", "--platform", platform, image]);
    let manifest: Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
    assert_eq!(manifest["layers"][0]["digest"], made.made_for(platform, "layer"), "{platform}");
    let archive = made.path(&format!("{architecture}.tar"));
    clients.succeed("crane", ["export", "--platform", platform, image, &archive.display().to_string()]);
    let tar = |arguments: &[&str]| {
        let mut command = Command::new("tar");
        command.arg("-f").arg(&archive).args(arguments).env("TZ", "UTC").env("LC_ALL", "C");
        process::run(command, PATIENCE).succeeded()
    };
    let listing = tar(&["-t", "-v", "--numeric-owner"]).text();
    let line = |name: &str| {
        let found = listing.lines().find(|line| line.split_whitespace().last() == Some(name));
        found.unwrap_or_else(|| panic!("no {name:?} in {listing}")).to_owned()
    };
    assert!(line("usr/bin/postern").starts_with("-rwxr-xr-x 0/0"), "{listing}");
    assert!(line("var/lib/postern").starts_with("drwx------ 65532/65532"), "{listing}");
    assert_eq!(listing.lines().count(), 6, "nothing else: {listing}");
    let content = std::fs::read(made.clients.busybox(architecture)).expect("the clients are there");
    assert!(tar(&["-x", "-O", "usr/bin/postern"]).stdout == content, "{platform}: another binary");
}

#[track_caller]
fn pulled_by_skopeo(made: &Made, clients: &Clients, image: &str, platform: &str) {
    let mut parts = platform.split('/');
    let mut arguments = Vec::new();
    for option in ["--override-os", "--override-arch", "--override-variant"] {
        arguments.extend(parts.next().into_iter().flat_map(|part| [option.to_owned(), part.to_owned()]));
    }
    let folder = made.path(&format!("skopeo-{}", platform.replace('/', "-")));
    arguments.extend(["copy".to_owned(), format!("docker://{image}"), format!("dir:{}", folder.display())]);
    clients.run("skopeo", arguments).succeeded();
    let layer = made.made_for(platform, "layer");
    let hex = layer.strip_prefix("sha256:").expect("it is sha256");
    assert!(folder.join(hex).is_file(), "{platform}: skopeo pulled no layer {layer}");
}

#[test]
fn a_foreign_registry_takes_it_too() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let made = Made::new(&clients);
    let outside = Outside::start(&clients);
    let image = format!("{}/tools/postern:0.1.0", outside.address());
    // What went over before, by a push that was for one platform only, does not go again.
    made.assemble("part", &PLATFORMS[..1]).succeeded();
    assert_eq!(sent(&json(&made.push("part", &image, &[]).succeeded())), (2, 2));
    assert_eq!(sent(&json(&made.push("layout", &image, &[]).succeeded())), (4, 3));
    assert_eq!(clients.succeed("crane", ["digest", &image]), made.digest());
    clients.succeed("crane", ["validate", "--remote", &image]);
    let ours = || outside.requests().into_iter().filter(|line| line.contains("postern/")).collect::<Vec<_>>();
    let before = ours().len();
    assert_eq!(sent(&json(&made.push("layout", &image, &[]).succeeded())), (0, 0));
    let questions = ours().split_off(before);
    assert!(questions.iter().all(|line| line.starts_with("HEAD ") || line.starts_with("GET ")), "{questions:?}");
    assert!(questions.len() >= 10, "{questions:?}");
}

#[test]
fn credentials_are_given_to_a_registry_that_asks() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let made = Made::new(&clients);
    let (users, password) = (made.path("users"), made.path("password").display().to_string());
    // The user `robot` with the password `secret`, as bcrypt hashes it at its lowest cost.
    let hash = "robot:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
    std::fs::write(&users, hash).expect("the folder is ours");
    let access = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", users.display());
    let outside = Outside::start_with(&clients, &access);
    let image = format!("{}/tools/postern:0.1.0", outside.address());
    made.push("layout", &image, &[]).failed_saying("--password-file");
    let options = ["--username", "robot", "--password-file", password.as_str()];
    std::fs::write(&password, "wrong\n").expect("the folder is ours");
    let refused = made.push("layout", &image, &options).failed_saying("wants other credentials");
    assert!(!refused.report().contains("wrong"), "a password is never shown");
    std::fs::write(&password, "secret\n").expect("the folder is ours");
    assert_eq!(sent(&json(&made.push("layout", &image, &options).succeeded())), (6, 4));
}

/// A layout that skopeo wrote, of an image that crane built: nothing in it is as ours.
#[test]
fn the_layout_of_a_stranger_is_pushed_as_it_is() {
    let Some(clients) = Clients::find(&[NEEDED.as_slice(), &["skopeo"]].concat()) else { return };
    let outside = Outside::start(&clients);
    let original = outside.push_multi_platform("demo/app", "v1");
    let made = Made::new(&clients);
    let layout = format!("oci:{}:v1", made.path("strange").display());
    let source = format!("docker://{}", original.tagged());
    clients.run("skopeo", ["copy", "--all", "--src-tls-verify=false", &source, &layout]).succeeded();
    let copy = format!("{}/demo/copy:v9", outside.address());
    let report = json(&made.push("strange", &copy, &["--name", "v1"]).succeeded());
    assert_eq!(report["digest"], original.digest);
    assert_eq!(clients.succeed("crane", ["digest", &copy]), original.digest);
    clients.succeed("crane", ["validate", "--remote", &copy]);
}

/// A signature that stands beside its image in a layout goes along, and is found where it is looked for: in the registry's
/// own list, or under a tag where it has none.
#[test]
fn a_signature_in_the_layout_goes_along() {
    let Some(clients) = Clients::find(&[NEEDED.as_slice(), &["oras"]].concat()) else { return };
    let outside = Outside::start(&clients);
    let original = outside.push_multi_platform("demo/app", "v1");
    let key = SigningKey::generate(&clients, "signer");
    signing::sign_bundle(&clients, &key, &original);
    let made = Made::new(&clients);
    let layout = format!("{}:v1", made.path("signed").display());
    clients.succeed("oras", ["cp", "-r", "--from-plain-http", &original.tagged(), "--to-oci-layout", &layout]);

    let appliance = appliance(made.folder.path(), OPEN, ADMIT);
    let serving = appliance.serve();
    let copy = original.at(serving.address(), "demo/copy");
    let authority = authority(&serving);
    let push = |destination: &str, options: &[&str]| {
        let options = [&["--name", "v1"], options].concat();
        json(&made.push("signed", destination, &options).succeeded())
    };
    let report = push(&copy.tagged(), &["--ca-file", &authority]);
    assert_eq!((report["digest"].as_str(), report["referrers_tagged"].as_u64()), (Some(&*original.digest), Some(0)));
    let referrers = serving.get(&format!("/v2/demo/copy/referrers/{}", original.digest)).expect_status(200).json();
    assert_eq!(referrers["manifests"].as_array().map(Vec::len), Some(1), "{referrers}");
    let inside = clients.trusting(Path::new(&authority));
    signing::cosign_verify(&inside, &key, &copy.pinned()).succeeded();
    assert_eq!(sent(&push(&copy.tagged(), &["--ca-file", &authority])), (0, 0));

    // docker-registry lists none by itself: there a tag does, beside what others put into it.
    let elsewhere = original.at(outside.address(), "demo/elsewhere");
    let pushed = push(&elsewhere.tagged(), &[]);
    assert_eq!(pushed["referrers_tagged"], 1);
    signing::cosign_verify(&clients, &key, &elsewhere.pinned()).succeeded();
    let again = push(&elsewhere.tagged(), &[]);
    assert_eq!((sent(&again), &again["referrers_tagged"]), ((0, 0), &0.into()));
    let other = SigningKey::generate(&clients, "other");
    signing::sign_bundle(&clients, &other, &elsewhere);
    for key in [&key, &other] {
        signing::cosign_verify(&clients, key, &elsewhere.pinned()).succeeded();
    }
}

/// An engine's own view of what it would run.
#[test]
fn an_engine_knows_how_to_run_it() {
    let Some(clients) = Clients::find(&["podman"]) else { return };
    let made = Made::new(&clients);
    let appliance = appliance(made.folder.path(), OPEN, ADMIT);
    let serving = appliance.serve();
    let image = format!("{}/tools/postern:0.1.0", serving.address());
    made.push("layout", &image, &["--ca-file", &authority(&serving)]).succeeded();
    let inside = clients.trusting(Path::new(&authority(&serving)));
    inside.succeed("podman", ["pull", "--platform", "linux/arm/v7", &image]);
    let seen: Value = serde_json::from_str(&inside.succeed("podman", ["image", "inspect", &image])).expect("JSON");
    let (seen, config) = (&seen[0], &seen[0]["Config"]);
    assert_eq!((&seen["Architecture"], &seen["Os"]), (&"arm".into(), &"linux".into()), "{seen}");
    assert_eq!(config["User"], "65532:65532", "{seen}");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/bin/postern", "--data", "/var/lib/postern"]), "{seen}");
    assert_eq!(config["Cmd"], serde_json::json!(["serve"]), "{seen}");
    assert!(config["Volumes"]["/var/lib/postern"].is_object(), "{seen}");
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"), "{seen}");
}

/// `make image` on binaries that are there already; the script itself, which nobody else would try.
#[test]
fn the_script_makes_the_image_of_ready_binaries() {
    let Some(clients) = Clients::find(&["crane"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let version = env!("CARGO_PKG_VERSION");
    let script = || {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("image/build"));
        command.arg(folder.path()).env("POSTERN", crate::binary::path()).env("SOURCE_DATE_EPOCH", "1767225600");
        process::run(command, PATIENCE)
    };
    script().failed_saying("does not hold all three");
    let triples = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "armv7-unknown-linux-musleabihf"];
    for ((architecture, _), triple) in PLATFORMS.iter().zip(triples) {
        let binary = folder.path().join(format!("postern-{version}-{triple}"));
        std::fs::copy(clients.busybox(architecture), binary).expect("the clients are there");
    }
    // Twice: what stands there from before is in nobody's way.
    let made = script().succeeded().text();
    assert_eq!(script().succeeded().text(), made);
    let layout = folder.path().join(format!("postern-{version}.oci"));
    let index = std::fs::read(layout.join("index.json")).expect("it was made");
    let index: Value = serde_json::from_slice(&index).expect("it is JSON");
    let image = index["manifests"][0]["digest"].as_str().expect("it names the image");
    assert!(made.contains(image), "{made}");
    let image = std::fs::read_to_string(layout.join("blobs").join(image.replace(':', "/"))).expect("it was made");
    for expected in ["\"v7\"", "2026-01-01T00:00:00Z", version] {
        assert!(image.contains(expected), "{expected} in {image}");
    }
}
