//! The gate at run time, with a real server and real signatures: what changes is in force for whoever is connected.

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::Clients;
use crate::crossing::activate;
use crate::crossing::appliance::{Appliance, Serving};
use crate::http::{Kept, Response, request_from};
use crate::outside::Image;
use crate::outside::signing::{self, SigningKey};
use crate::push::{ADMIT, append};

/// A server with a private project and a robot that pushes and is signed in, another that pulls, and two keys.
struct Stand {
    clients: Clients,
    /// What the robot that pulls signs in with.
    reader: String,
    release: SigningKey,
    other: SigningKey,
    serving: Serving<'static>,
    appliance: Appliance<'static>,
    folder: TempDir,
}

impl Stand {
    #[track_caller]
    fn new() -> Option<Self> {
        let clients = Clients::find(&["crane", "cosign"])?;
        let folder = TempDir::new().expect("a temporary folder can be made");
        let appliance = Appliance::set_up(folder.path(), "box", None);
        activate(&appliance, ADMIT, folder.path());
        appliance.run(["project", "add", "team-a", "--visibility", "private"]).succeeded();
        let robot = |name: &str, role: &str| {
            let report = appliance.json(["robot", "add", "team-a", name, "--role", role]);
            let text = |key: &str| report["robots"][0][key].as_str().expect("it has a name and a secret").to_owned();
            (text("login_name"), text("secret"))
        };
        let (name, secret) = robot("deploy", "reader");
        let reader = data_encoding::BASE64.encode(format!("{name}:{secret}").as_bytes());
        let (name, secret) = robot("ci", "pusher");
        let serving = appliance.serve();
        let clients = clients.trusting(serving.endpoint.authority.as_ref().expect("setup made a certificate"));
        clients.succeed("crane", ["auth", "login", serving.address(), "-u", &name, "-p", &secret]);
        let (release, other) = (SigningKey::generate(&clients, "release"), SigningKey::generate(&clients, "other"));
        Some(Self { clients, reader: format!("Basic {reader}"), release, other, serving, appliance, folder })
    }

    /// Pushes an image that may wait, and gives what its pusher sees.
    #[track_caller]
    fn push(&self, repository: &str) -> Image {
        let tagged = format!("{}/{repository}:v1", self.serving.address());
        self.clients.run("crane", append(self.folder.path(), &tagged)).succeeded();
        let digest = self.clients.succeed("crane", ["digest", &tagged]);
        let (address, tag) = (self.serving.address().to_owned(), "v1".to_owned());
        Image { address, repository: repository.to_owned(), tag, digest }
    }

    #[track_caller]
    fn activate(&self, policy: &str) {
        activate(&self.appliance, policy, self.folder.path());
    }

    /// A token for pulling, as a client gets one.
    #[track_caller]
    fn token(&self, repository: &str) -> String {
        let target = format!("/v2/token?service=postern&scope=repository:{repository}:pull");
        let credentials = [("Authorization", self.reader.as_str())];
        let answer = request_from(&self.serving.endpoint, "GET", &target, &credentials, b"");
        let answer = answer.expect("the server answers").expect_status(200).json();
        format!("Bearer {}", answer["token"].as_str().expect("it holds a token"))
    }
}

/// A policy that wants the images of `team-a` signed by all of `keys`.
fn signed(keys: &[(&str, &SigningKey)], added: &str) -> String {
    let names: Vec<_> = keys.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let mut text = format!("version = 1\n{added}");
    for (name, key) in keys {
        text.push_str(&format!("[keys.{name}]\npem = \"\"\"{}\"\"\"\n", key.public_pem()));
    }
    text.push_str(
        "[[rule]]\nname = \"team a signs\"\nrepositories = [\"team-a/**\"]\n[rule.signature]\ncount = \"all\"\n",
    );
    text.push_str(&format!("keys = [{}]\n", names.join(", ")));
    text
}

#[track_caller]
fn check(got: &Response, expected: Option<&str>) {
    let Some(rule) = expected else {
        assert_eq!(got.status, 200, "{}", got.text());
        return;
    };
    assert_eq!(got.status, 403, "{}", got.text());
    let error: Value = got.json()["errors"][0].clone();
    assert_eq!(error["code"], "DENIED");
    assert_eq!(error["detail"]["refusal"]["rule"], rule, "{error:#}");
}

/// A revocation, another policy, other trust: each is in force for the next request over a connection that is open, with a
/// token that is out, and is over as soon as it is taken back. Nothing is started anew.
#[test]
fn what_changes_denies_the_next_request_of_whoever_is_connected() {
    let Some(stand) = Stand::new() else { return };
    let image = stand.push("team-a/web");
    signing::sign_bundle(&stand.clients, &stand.release, &image);
    let good = signed(&[("release", &stand.release)], "");
    stand.activate(&good);
    let token = stand.token("team-a/web");
    let mut connection = Kept::open(&stand.serving.endpoint);
    let layer = {
        let target = format!("/v2/team-a/web/manifests/{}", image.digest);
        let manifest = connection.get(&target, &[("Authorization", &token)]).expect_status(200).json();
        manifest["layers"][0]["digest"].as_str().expect("it has a layer").to_owned()
    };
    let mut ask = |rule: Option<&str>| {
        for place in ["manifests/v1".to_owned(), format!("manifests/{}", image.digest), format!("blobs/{layer}")] {
            check(&connection.get(&format!("/v2/team-a/web/{place}"), &[("Authorization", &token)]), rule);
        }
    };
    ask(None);
    let revoked = format!("[[deny]]\ndigest = \"{}\"\nreason = \"its build host was taken over\"\n", image.digest);
    let changes = [
        (signed(&[("release", &stand.release)], &revoked), "deny-list"),
        (signed(&[("release", &stand.release), ("second", &stand.other)], ""), "team a signs"),
        (signed(&[("release", &stand.other)], ""), "team a signs"),
    ];
    for (policy, rule) in &changes {
        stand.activate(policy);
        ask(Some(rule));
        stand.activate(&good);
        ask(None);
    }
}

/// The order in which people do it: push, then sign. What is pushed into a project that enforces waits for its signature; the
/// real cosign finds it, and its signature lets it in.
#[test]
fn an_image_is_pushed_and_signed_afterwards() {
    let Some(stand) = Stand::new() else { return };
    stand.activate(&signed(&[("release", &stand.release)], ""));
    let mut connection = Kept::open(&stand.serving.endpoint);
    let mut status =
        |place: &str| connection.get(&format!("/v2/team-a/{place}"), &[("Authorization", &stand.reader)]).status;
    for (repository, sign) in
        [("web", signing::sign_bundle as fn(&Clients, &SigningKey, &Image)), ("old", signing::sign_legacy)]
    {
        let image = stand.push(&format!("team-a/{repository}"));
        let by_tag = format!("{repository}/manifests/v1");
        let by_digest = format!("{repository}/manifests/{}", image.digest);
        assert_eq!((status(&by_tag), status(&by_digest)), (404, 404));
        for command in ["verify", "sign"] {
            stand
                .appliance
                .run([command, &format!("team-a/{repository}:v1")])
                .failed_saying("waits for what a rule asks");
        }
        // By another key it waits on.
        sign(&stand.clients, &stand.other, &image);
        assert_eq!(status(&by_digest), 404);
        sign(&stand.clients, &stand.release, &image);
        assert_eq!((status(&by_tag), status(&by_digest)), (200, 200));
    }
}
