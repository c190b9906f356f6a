//! What stands in the world outside: images as they should be, and one of each kind that must never come in.

use std::collections::BTreeMap;

use crate::clients::Clients;
use crate::http::{self, Endpoint};
use crate::outside::signing::{self, SigningKey};
use crate::outside::{Image, Outside};
use serde_json::Value;

/// The name under which the mirror knows the registry outside.
pub const UPSTREAM: &str = "registry.outside";

pub const GOOD_BUILDER: &str = "https://builder.example/main";
const OTHER_BUILDER: &str = "https://builder.example/main-fork";

/// The rules of the receiving side's policy, by what they ask.
pub const SIGNED_BY_APPS: &str = "apps-are-signed";
pub const SIGNED_BY_TEAM: &str = "team-is-signed";
pub const BUILT_BY_MAIN: &str = "built-by-main";

/// Whom the policy knows, and one that it does not.
pub struct Keys {
    pub apps: SigningKey,
    pub team: SigningKey,
    pub stranger: SigningKey,
}

/// Something that must be refused: where it stands, by which rule, and a part of the reason.
pub struct Unwelcome {
    pub image: Image,
    pub rule: &'static str,
    pub reason: &'static str,
}

pub struct Goods {
    pub keys: Keys,
    /// Three platforms, signed in both forms, with provenance.
    pub app: Image,
    /// Signed by the key that its repository asks for.
    pub team: Image,
    /// Five versions, oldest first, signed in alternating forms.
    pub tools: Vec<Image>,
    pub unwelcome: Vec<Unwelcome>,
    /// By the image's digest; looked up while the registry outside still lives.
    parts: BTreeMap<String, Parts>,
}

impl Goods {
    /// Pushes and signs everything.
    #[track_caller]
    pub fn push(clients: &Clients, outside: &Outside) -> Self {
        let key = |name| SigningKey::generate(clients, name);
        let keys = Keys { apps: key("apps"), team: key("team"), stranger: key("stranger") };
        let app = outside.push_multi_platform("demo/app", "v1");
        signing::sign_bundle(clients, &keys.apps, &app);
        signing::sign_legacy(clients, &keys.apps, &app);
        signing::attest_provenance(clients, &keys.apps, &app, GOOD_BUILDER);
        let team = outside.push_single("team/service", "v1");
        signing::sign_bundle(clients, &keys.team, &team);
        let tools = outside.push_semver("demo/tool");
        for (position, tool) in tools.iter().enumerate() {
            let sign = if position % 2 == 0 { signing::sign_bundle } else { signing::sign_legacy };
            sign(clients, &keys.apps, tool);
        }
        let unwelcome = push_unwelcome(clients, outside, &keys, &app);
        let mut goods = Self { keys, app, team, tools, unwelcome, parts: BTreeMap::new() };
        goods.parts = goods.all().map(|image| (image.digest.clone(), parts(image))).collect();
        goods
    }

    /// What an image is made of.
    #[track_caller]
    pub fn parts(&self, image: &Image) -> &Parts {
        self.parts.get(&image.digest).expect("every image that was pushed has its parts")
    }

    /// Everything that has a tag, welcome or not.
    pub fn all(&self) -> impl Iterator<Item = &Image> {
        self.welcome().chain(self.unwelcome.iter().map(|unwelcome| &unwelcome.image))
    }

    pub fn welcome(&self) -> impl Iterator<Item = &Image> {
        [&self.app, &self.team].into_iter().chain(&self.tools)
    }

    /// The receiving side's policy.
    pub fn policy(&self) -> String {
        let (apps, team) = (self.keys.apps.public_pem(), self.keys.team.public_pem());
        format!(
            "version = 1\ndefault = \"deny\"\n\
             [keys.apps]\npem = \"\"\"\n{apps}\"\"\"\n[keys.team]\npem = \"\"\"\n{team}\"\"\"\n\
             [[rule]]\nname = \"{SIGNED_BY_APPS}\"\nrepositories = [\"{UPSTREAM}/demo/**\"]\n\
             signature.keys = [\"apps\"]\n\
             [[rule]]\nname = \"{SIGNED_BY_TEAM}\"\nrepositories = [\"{UPSTREAM}/team/**\"]\n\
             signature.keys = [\"team\"]\n\
             [[rule]]\nname = \"{BUILT_BY_MAIN}\"\n\
             repositories = [\"{UPSTREAM}/demo/app\", \"{UPSTREAM}/demo/other-builder\"]\n\
             [[rule.attestation]]\ntype = \"https://slsa.dev/provenance/v1\"\nkeys = [\"apps\"]\n\
             builders = [\"{GOOD_BUILDER}\"]\n"
        )
    }
}

/// One of each kind. The kinds are those of the verification design's pitfalls.
fn push_unwelcome(clients: &Clients, outside: &Outside, keys: &Keys, app: &Image) -> Vec<Unwelcome> {
    let refused = |image: &Image, rule, reason| Unwelcome { image: image.clone(), rule, reason };
    let unsigned = outside.push_multi_platform("demo/unsigned", "v1");
    // In a repository that serves others: nothing of it may be reachable through them.
    let beside = outside.push_single("demo/app", "unsigned");
    let stranger = outside.push_single("demo/stranger", "v1");
    signing::sign_bundle(clients, &keys.stranger, &stranger);
    signing::sign_legacy(clients, &keys.stranger, &stranger);
    let copied_legacy = outside.push_single("demo/copied-legacy", "v1");
    signing::copy_legacy_signature(clients, app, &copied_legacy);
    let copied_bundle = outside.push_single("demo/copied-bundle", "v1");
    signing::copy_bundle_signatures(clients, app, &copied_bundle);
    let attested = outside.push_single("demo/only-attested", "v1");
    signing::attest_provenance(clients, &keys.apps, &attested, GOOD_BUILDER);
    let misplaced = outside.push_single("demo/of-the-team", "v1");
    signing::sign_bundle(clients, &keys.team, &misplaced);
    let built = outside.push_single("demo/other-builder", "v1");
    signing::sign_bundle(clients, &keys.apps, &built);
    signing::attest_provenance(clients, &keys.apps, &built, OTHER_BUILDER);
    vec![
        refused(&unsigned, SIGNED_BY_APPS, "not signed"),
        refused(&beside, SIGNED_BY_APPS, "not signed"),
        refused(&stranger, SIGNED_BY_APPS, "wrong key"),
        refused(&copied_legacy, SIGNED_BY_APPS, "copied from elsewhere"),
        refused(&copied_bundle, SIGNED_BY_APPS, "copied from elsewhere"),
        refused(&attested, SIGNED_BY_APPS, "where a signature is asked"),
        refused(&misplaced, SIGNED_BY_APPS, "which this rule does not trust"),
        refused(&built, BUILT_BY_MAIN, "wrong builder"),
    ]
}

/// The repository that holds a copy of `image` on both sides.
pub fn mirrored(image: &Image) -> String {
    format!("{UPSTREAM}/{}", image.repository)
}

/// Everything that an image is made of, as paths below `/v2/<repository>/`: manifests and children, then blobs.
#[track_caller]
pub fn parts(image: &Image) -> Parts {
    let mut parts = Parts::default();
    collect(image, &image.digest, &mut parts);
    parts
}

#[derive(Debug, Default)]
pub struct Parts {
    /// The root first.
    pub manifests: Vec<String>,
    pub blobs: Vec<String>,
}

fn collect(image: &Image, digest: &str, parts: &mut Parts) {
    let target = format!("/v2/{}/manifests/{digest}", image.repository);
    let content = http::get_from(&Endpoint { address: image.address.clone(), authority: None }, &target)
        .expect_status(200)
        .json();
    parts.manifests.push(digest.to_owned());
    for child in digests(&content["manifests"]) {
        collect(image, &child, parts);
    }
    parts.blobs.extend(digests(&content["layers"]));
    parts.blobs.extend(content["config"]["digest"].as_str().map(str::to_owned));
}

/// The digests in a list of descriptors.
pub fn digests(descriptors: &Value) -> Vec<String> {
    let listed = descriptors.as_array().map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned)).collect()
}
