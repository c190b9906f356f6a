//! Whom an appliance trusts and what it says itself: signing, versioned trust, updates, and keyless images of an instance of
//! our own.

mod objects;
mod sign;
mod token;
mod tuf;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use tempfile::TempDir;

use crate::clients::Clients;
use crate::crossing::appliance::{Appliance, Serving};
use crate::process::Ran;
use crate::push::{ADMIT, OPEN, append, appliance};

/// A running appliance with one image, and cosign beside it.
pub struct Stand {
    pub folder: TempDir,
    pub appliance: Appliance<'static>,
    pub serving: Serving<'static>,
    pub clients: Clients,
    /// As cosign names it.
    pub image: String,
    pub digest: String,
}

pub const NAME: &str = "demo/app:v1";

impl Stand {
    #[track_caller]
    pub fn new() -> Option<Self> {
        let clients = Clients::find(&["crane", "cosign"])?;
        let folder = TempDir::new().expect("a temporary folder can be made");
        let appliance = appliance(folder.path(), OPEN, ADMIT);
        let serving = appliance.serve();
        let clients = clients.trusting(serving.endpoint.authority.as_ref().expect("setup made a certificate"));
        let tagged = format!("{}/{NAME}", serving.address());
        clients.run("crane", append(folder.path(), &tagged)).succeeded();
        let digest = clients.succeed("crane", ["digest", &tagged]);
        let image = format!("{}/demo/app@{digest}", serving.address());
        Some(Self { folder, appliance, serving, clients, image, digest })
    }

    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("the folder is ours");
        path.display().to_string()
    }

    /// The site's public key in a file.
    #[track_caller]
    pub fn public_key(&self) -> String {
        let pem = self.appliance.run(["key", "export-public"]).succeeded().text();
        self.write("site.pub", &pem)
    }

    #[track_caller]
    pub fn cosign(&self, key: &str, command: &[&str]) -> Ran {
        let fixed = ["--insecure-ignore-tlog", "--key", key, &self.image];
        self.clients.run("cosign", command.iter().chain(&fixed))
    }

    pub fn referrers(&self) -> usize {
        let target = format!("/v2/demo/app/referrers/{}", self.digest);
        self.serving.get(&target).json()["manifests"].as_array().map_or(0, Vec::len)
    }
}

/// A new key of P-384 and its public half, both in PEM.
pub fn private_key() -> (String, String) {
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).expect("a key");
    let pem = |tag, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
    let public = key.public_key().as_der().expect("it has one");
    (pem("PRIVATE KEY", key.to_pkcs8v1().expect("it is ours").as_ref()), pem("PUBLIC KEY", public.as_ref()))
}
