//! What people do with a registry of their own, by the clients that they use, over TLS: attach and copy, sign, push for
//! several platforms, pull past a mirror that is gone, delete.

use tempfile::TempDir;

use super::{ADMIT, OPEN, append, appliance, trusting};
use crate::clients::Clients;
use crate::containerd::{self, Containerd};
use crate::crossing::appliance::{Appliance, Serving};
use crate::outside::Image;
use crate::outside::signing::{self, SigningKey};

/// A registry with one image, and clients that trust it.
struct Stand {
    clients: Clients,
    image: String,
    digest: String,
    serving: Serving<'static>,
    appliance: Appliance<'static>,
    folder: TempDir,
}

impl Stand {
    #[track_caller]
    fn with(wanted: &[&str]) -> Option<Self> {
        Self::new(wanted, OPEN, |_, _, _| {})
    }

    /// The same in a private project, with a robot whose name and secret stand where all these clients look for them.
    #[track_caller]
    fn signed_in(wanted: &[&str]) -> Option<Self> {
        Self::new(wanted, "", |appliance, clients, address| {
            appliance.run(["project", "add", "demo", "--visibility", "private"]).succeeded();
            let robot = appliance.json(["robot", "add", "demo", "ci", "--role", "maintainer"]);
            let text = |key: &str| robot["robots"][0][key].as_str().expect("it has a name and a secret").to_owned();
            let (name, secret) = (text("login_name"), text("secret"));
            clients.run("crane", append(clients.home(), &format!("{address}/demo/app:v1"))).failed_saying("401");
            clients.succeed("crane", ["auth", "login", address, "-u", &name, "-p", &secret]);
        })
    }

    #[track_caller]
    fn new(wanted: &[&str], configuration: &str, prepare: impl FnOnce(&Appliance<'_>, &Clients, &str)) -> Option<Self> {
        let clients = Clients::find(&[wanted, &["crane"]].concat())?;
        let folder = TempDir::new().expect("a temporary folder can be made");
        let appliance = appliance(folder.path(), configuration, ADMIT);
        let serving = appliance.serve();
        let clients = trusting(&clients, &serving);
        prepare(&appliance, &clients, serving.address());
        let image = format!("{}/demo/app:v1", serving.address());
        clients.run("crane", append(folder.path(), &image)).succeeded();
        let digest = clients.succeed("crane", ["digest", &image]);
        Some(Self { clients, image, digest, serving, appliance, folder })
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.serving.address())
    }

    /// What `oras discover` finds about an image.
    #[track_caller]
    fn discovered(&self, image: &str) -> Vec<(String, String)> {
        let found = self.clients.succeed("oras", ["discover", "--format", "json", image]);
        let found: serde_json::Value = serde_json::from_str(&found).expect("oras speaks JSON");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let listed = found["referrers"].as_array().expect("a list, if an empty one").iter();
        listed.map(|entry| (text(&entry["artifactType"]), text(&entry["digest"]))).collect()
    }
}

#[test]
fn oras_attaches_copies_backs_up_and_restores() {
    let Some(stand) = Stand::signed_in(&["oras"]) else { return };
    std::fs::write(stand.clients.home().join("sbom.json"), "{}").expect("the folder is ours");
    let attach = ["attach", "--artifact-type", "example/sbom", &stand.image, "sbom.json:application/json"];
    stand.clients.run("oras", attach).succeeded();
    let expected = stand.discovered(&stand.image);
    assert_eq!(expected.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["example/sbom"]);

    let (copy, restored) = (stand.reference("demo/copy:v1"), stand.reference("demo/restored:v1"));
    stand.clients.run("oras", ["cp", "-r", &stand.image, &copy]).succeeded();
    let backup = stand.folder.path().join("backup").display().to_string();
    stand.clients.run("oras", ["backup", "--include-referrers", "--output", &backup, &stand.image]).succeeded();
    stand.clients.run("oras", ["restore", "--input", &backup, &restored]).succeeded();
    for image in [&copy, &restored] {
        assert_eq!(stand.discovered(image), expected, "{image}");
        assert_eq!(stand.clients.succeed("crane", ["digest", image]), stand.digest, "{image}");
    }
}

#[test]
fn notation_signs_lists_and_verifies() {
    let Some(stand) = Stand::signed_in(&["notation"]) else { return };
    let notation = |arguments: &[&str]| stand.clients.succeed("notation", arguments);
    notation(&["cert", "generate-test", "--default", "box.test"]);
    let image = stand.reference(&format!("demo/app@{}", stand.digest));
    assert_eq!(notation(&["list", &image]).lines().count(), 1, "nothing but what it asks about");
    notation(&["sign", &image]);
    let listed = notation(&["list", &image]);
    assert!(listed.contains("application/vnd.cncf.notary.signature"), "{listed}");
    let policy = r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"trustStores":["ca:box.test"],
        "signatureVerification":{"level":"strict","override":{"revocation":"skip"}},"trustedIdentities":["*"]}]}"#;
    let place = stand.clients.home().join("policy.json");
    std::fs::write(&place, policy).expect("the folder is ours");
    notation(&["policy", "import", &place.display().to_string()]);
    notation(&["verify", &image]);
}

/// Both forms of cosign: bundles found by `subject`, and the tags of before.
#[test]
fn cosign_signs_attests_and_shows() {
    let Some(stand) = Stand::signed_in(&["cosign"]) else { return };
    let key = SigningKey::generate(&stand.clients, "release");
    let image = Image {
        address: stand.serving.address().to_owned(),
        repository: "demo/app".to_owned(),
        tag: "v1".to_owned(),
        digest: stand.digest.clone(),
    };
    signing::sign_bundle(&stand.clients, &key, &image);
    signing::sign_legacy(&stand.clients, &key, &image);
    signing::attest_provenance(&stand.clients, &key, &image, "https://builder.example");
    let reference = image.pinned();
    signing::cosign_verify(&stand.clients, &key, &reference).succeeded();
    signing::cosign_verify_legacy(&stand.clients, &key, &reference).succeeded();
    signing::cosign_verify_provenance(&stand.clients, &key, &reference).succeeded();
    let tree = stand.clients.succeed("cosign", ["tree", &reference]);
    for part in [
        ".sig",
        "https://slsa.dev/provenance/v1 artifacts via OCI referrer",
        "cosign/sign/v1 artifacts via OCI referrer",
    ] {
        assert!(tree.contains(part), "{part}: {tree}");
    }
    // The tags of cosign hold nothing but evidence about what is here.
    let foreign = stand.reference(&format!("demo/app:sha256-{}.sig", "0".repeat(64)));
    stand.clients.run("crane", append(stand.folder.path(), &foreign)).failed_saying("DENIED");
}

#[test]
fn podman_and_buildah_push_for_two_platforms() {
    let Some(stand) = Stand::signed_in(&["podman", "buildah", "skopeo"]) else { return };
    let clients = &stand.clients;
    let settings = clients.home().join(".config/containers");
    std::fs::create_dir_all(&settings).expect("the folder is ours");
    let anything = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    std::fs::write(settings.join("policy.json"), anything).expect("the folder is ours");

    // Out of layers that are there already.
    let layer = stand.folder.path().join("layer.tar").display().to_string();
    clients.succeed("podman", ["manifest", "create", "several"]);
    for platform in ["amd64", "arm64"] {
        let name = stand.reference(&format!("demo/several:{platform}"));
        clients.succeed("podman", ["import", "--arch", platform, &layer, &name]);
        clients.succeed("podman", ["manifest", "add", "several", &format!("containers-storage:{name}")]);
    }
    let joined = stand.reference("demo/several:v1");
    clients.run("podman", ["manifest", "push", "--all", "several", &format!("docker://{joined}")]).succeeded();

    // Built, as in a pipeline.
    let context = clients.home().join("context");
    std::fs::create_dir(&context).expect("the folder is ours");
    std::fs::write(context.join("Containerfile"), "FROM scratch\nCOPY Containerfile /\n").expect("the folder is ours");
    let context = context.display().to_string();
    let build = ["build", "--platform", "linux/amd64,linux/arm64", "--manifest", "built", &context];
    clients.run("buildah", build).succeeded();
    let built = stand.reference("demo/built:v1");
    clients.run("buildah", ["manifest", "push", "--all", "built", &format!("docker://{built}")]).succeeded();

    clients.run("podman", ["rmi", "--all", "--force"]).succeeded();
    for image in [&joined, &built] {
        clients.run("podman", ["pull", "--platform", "linux/arm64", image]).succeeded();
        let index = clients.succeed("skopeo", ["inspect", "--raw", &format!("docker://{image}")]);
        let index: serde_json::Value = serde_json::from_str(&index).expect("an index is JSON");
        let parts = index["manifests"].as_array().expect("it is an index").iter();
        let mut platforms: Vec<_> =
            parts.map(|part| part["platform"]["architecture"].as_str().unwrap_or("?")).collect();
        platforms.sort_unstable();
        assert_eq!(platforms, ["amd64", "arm64"], "{image}");
    }
}

/// The first mirror is gone, the second has the image below a path of its own (`override_path`), and the registry that it is
/// named after does not exist.
#[test]
fn ctr_pushes_and_pulls_past_a_dead_mirror() {
    let Some(stand) = Stand::with(&containerd::NEEDED) else { return };
    let containerd = Containerd::start(&stand.clients);
    let authority = stand.serving.endpoint.authority.clone().expect("setup made a certificate");
    let address = stand.serving.address();
    containerd.mirror(address, &format!("https://{address}"), Some(&authority));
    containerd.pull(&stand.image, "linux/amd64").succeeded();
    let pushed = stand.reference("gone.example_5000/team/app:v1");
    containerd.push(&stand.image, &pushed).succeeded();
    assert_eq!(stand.clients.succeed("crane", ["digest", &pushed]), stand.digest);
    let hosts = format!(
        "server = \"https://127.0.0.1:1\"\n[host.\"https://127.0.0.1:1\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
         [host.\"https://{address}/v2/team\"]\ncapabilities = [\"pull\", \"resolve\"]\noverride_path = true\nca = \"{}\"\n",
        authority.display()
    );
    containerd.hosts("gone.example:5000", &hosts);
    containerd.pull("gone.example:5000/app:v1", "linux/amd64").succeeded();
    assert!(containerd.content().contains(&stand.digest));
}

#[test]
fn clients_delete_what_they_pushed() {
    let Some(stand) = Stand::with(&["skopeo", "oras"]) else { return };
    let clients = &stand.clients;
    for tag in ["v2", "v3"] {
        clients.succeed("crane", ["tag", &stand.image, tag]);
    }
    let other = stand.reference("demo/other:v1");
    clients.succeed("crane", ["copy", &stand.image, &other]);
    let manifest = clients.succeed("crane", ["manifest", &stand.image]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("it has a layer");
    let blob = stand.reference(&format!("demo/app@{layer}"));
    clients.run("oras", ["blob", "delete", "--force", &blob]).failed_saying("without an account");
    let report = stand.appliance.json(["user", "add", "cleaner", "--grant", "maintainer:*"]);
    let password = report["users"][0]["password"].as_str().expect("a password is made");
    clients.succeed("crane", ["auth", "login", stand.serving.address(), "-u", "cleaner", "-p", password]);
    clients.run("oras", ["blob", "delete", "--force", &blob]).failed_saying("needed by");
    // A tag alone, as crane does it; then the image with all its tags, as skopeo does it.
    clients.succeed("crane", ["delete", &stand.reference("demo/app:v2")]);
    assert_eq!(clients.succeed("crane", ["ls", &stand.reference("demo/app")]), "v1\nv3");
    clients.succeed("skopeo", ["delete", &format!("docker://{}", stand.reference("demo/app:v3"))]);
    assert_eq!(stand.serving.get("/v2/demo/app/manifests/v1").status, 404);
    clients.succeed("oras", ["blob", "delete", "--force", &blob]);
    clients.succeed("oras", ["manifest", "delete", "--force", &stand.reference(&format!("demo/app@{}", stand.digest))]);
    assert_eq!(clients.succeed("crane", ["digest", &other]), stand.digest, "the other repository keeps its own");
    stand.clients.run("crane", append(stand.folder.path(), &stand.image)).succeeded();
    assert_eq!(clients.succeed("crane", ["digest", &stand.image]), stand.digest);
}
