//! A key that never leaves a token: a program of the site signs with it by PKCS#11. SoftHSM stands for the token, OpenSC's
//! own tool for the program that a site would write.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{NAME, Stand};
use crate::process::{self, Ran};
use crate::skip;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "5678";

/// A token with a key of each kind.
struct Token {
    folder: PathBuf,
    tool: PathBuf,
}

impl Token {
    #[track_caller]
    fn new(folder: &Path) -> Option<Self> {
        let tool = skip::machine_tool("pkcs11-tool", "opensc")?;
        skip::machine_tool("softhsm2-util", "softhsm2")?;
        skip::machine_tool("openssl", "openssl")?;
        let token = Self { folder: folder.to_owned(), tool };
        std::fs::create_dir(folder.join("tokens")).expect("the folder is ours");
        let settings = format!("directories.tokendir = {}\n", folder.join("tokens").display());
        std::fs::write(folder.join("softhsm2.conf"), settings).expect("the folder is ours");
        token.run(&["--init-token", "--slot", "0", "--label", "site", "--so-pin", "1234"]).succeeded();
        token.run(&["--token-label", "site", "--init-pin", "--login", "--so-pin", "1234", "--pin", PIN]).succeeded();
        for (id, kind) in [("01", "EC:prime256v1"), ("02", "rsa:2048")] {
            let make =
                ["--token-label", "site", "--login", "--pin", PIN, "--keypairgen", "--key-type", kind, "--id", id];
            token.run(&make).succeeded();
        }
        Some(token)
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.tool);
        command.env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf")).args(["--module", MODULE]).args(arguments);
        process::run(command, std::time::Duration::from_secs(60))
    }

    /// The public half of a key in PEM.
    fn public_key(&self, id: &str) -> String {
        let der = self.folder.join("public.der");
        let read = ["--token-label", "site", "--read-object", "--type", "pubkey", "--id", id, "-o"];
        self.run(&[&read[..], &[&der.display().to_string()]].concat()).succeeded();
        pem::encode(&pem::Pem::new("PUBLIC KEY", std::fs::read(der).expect("the tool wrote it")))
    }

    /// What a site would write.
    fn program(&self, name: &str, before: &str, key: &str) -> String {
        let path = self.folder.join(name);
        let settings = self.folder.join("softhsm2.conf").display().to_string();
        let tool = self.tool.display().to_string();
        let script = format!(
            "#!/bin/sh\nexport SOFTHSM2_CONF={settings}\n{before}{tool} --module {MODULE} --token-label site --login --pin {PIN} \
             --sign {key}\n"
        );
        std::fs::write(&path, script).expect("the folder is ours");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
        path.display().to_string()
    }
}

#[test]
fn a_key_in_a_token_signs_and_cosign_agrees() {
    let Some(stand) = Stand::new() else { return };
    let Some(token) = Token::new(stand.folder.path()) else { return };
    // SoftHSM hashes for RSA alone; the two numbers of ECDSA come out one after the other.
    let elliptic = token.program("sign-ec", "openssl dgst -sha256 -binary | ", "--id 01 -m ECDSA");
    let rsa = token.program("sign-rsa", "", "--id 02 -m SHA256-RSA-PKCS");
    let elliptic_public = stand.write("ec.pub", &token.public_key("01"));
    let rsa_public = stand.write("rsa.pub", &token.public_key("02"));

    for (program, public) in [(&elliptic, &elliptic_public), (&rsa, &rsa_public)] {
        let sign = ["sign", NAME, "--signer", program, "--public-key", public];
        stand.cosign(public, &["verify"]).failed();
        assert_eq!(stand.appliance.json(sign)["already_there"], false);
        stand.cosign(public, &["verify"]).succeeded();
        assert_eq!(stand.appliance.json(sign)["already_there"], true);
        let summary = ["verify", NAME, "--vsa", "--sign", "--signer", program, "--public-key", public];
        let summary = stand.appliance.run(summary).succeeded().text();
        let bundle = stand.write("vsa.json", &summary);
        stand.appliance.run(["verify-bundle", "--bundle", &bundle, "--key", public, &stand.digest]).succeeded();
    }
    let predicate = stand.write("ours.json", r#"{"reviewed": true}"#);
    let kind = "https://site.example/reviewed/v1";
    let attest = ["attest", NAME, "--type", kind, "--predicate", &predicate, "--signer", &elliptic, "--public-key"];
    stand.appliance.run([&attest[..], &[&elliptic_public]].concat()).succeeded();
    stand.cosign(&elliptic_public, &["verify-attestation", "--type", kind]).succeeded();
}

#[test]
fn what_is_no_signature_by_that_key_goes_nowhere() {
    let Some(stand) = Stand::new() else { return };
    let Some(token) = Token::new(stand.folder.path()) else { return };
    let public = stand.write("ec.pub", &token.public_key("01"));
    let other = stand.write("rsa.pub", &token.public_key("02"));
    let good = token.program("good", "openssl dgst -sha256 -binary | ", "--id 01 -m ECDSA");
    let wrong_hash = token.program("wrong-hash", "openssl dgst -sha1 -binary | ", "--id 01 -m ECDSA");
    let wrong_pin = token.program("wrong-pin", "", "--id 02 -m SHA256-RSA-PKCS --pin 9999");
    for (program, public, said) in [
        (good.as_str(), &other, "no signature of what it was given"),
        (&wrong_hash, &public, "it must hash all of"),
        (&wrong_pin, &other, "ended with exit status"),
        ("/bin/true", &public, "(0 bytes)"),
        ("/nowhere/sign", &public, "cannot be started"),
    ] {
        stand.appliance.run(["sign", NAME, "--signer", program, "--public-key", public]).failed_saying(said);
    }
    // What belongs together is asked for together, and a private key is none.
    stand.appliance.run(["sign", NAME, "--signer", &good]).failed_saying("--public-key");
    stand.appliance.run(["verify", NAME, "--signer", &good, "--public-key", &public]).failed_saying("--sign");
    assert_eq!(stand.referrers(), 0);
}
