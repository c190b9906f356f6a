//! `postern sign` and `postern attest` beside cosign, which must agree with every word.

use serde_json::Value;
use tempfile::TempDir;

use super::{NAME, Stand, private_key};
use crate::crossing::activate;
use crate::push::{ADMIT, OPEN, appliance};

#[test]
fn cosign_agrees_with_what_the_site_signs_and_attests() {
    let Some(stand) = Stand::new() else { return };
    stand.appliance.run(["key", "show"]).failed_saying("postern key create");
    let signed = stand.appliance.json(["sign", NAME]);
    assert_eq!(
        (&signed["digest"], &signed["already_there"]),
        (&Value::from(stand.digest.as_str()), &Value::from(false))
    );
    let public = stand.public_key();
    stand.cosign(&public, &["verify"]).succeeded();
    let predicate =
        stand.write("scan.json", r#"{"scanner": {"result": []}, "metadata": {"scanStartedOn": "2026-11-01T10:00:00Z", "scanFinishedOn": "2026-11-01T10:00:05Z"}}"#);
    stand.cosign(&public, &["verify-attestation", "--type", "vuln"]).failed();
    let attest = ["attest", NAME, "--type", "vuln", "--predicate", &predicate];
    assert_eq!(stand.appliance.json(attest)["predicate_type"], "https://cosign.sigstore.dev/attestation/vuln/v1");
    stand.cosign(&public, &["verify-attestation", "--type", "vuln"]).succeeded();
    stand.cosign(&public, &["verify-attestation", "--type", "slsaprovenance1"]).failed();

    // Again, nothing is done; and nobody else's key opens it.
    for again in [stand.appliance.json(["sign", NAME]), stand.appliance.json(attest)] {
        assert_eq!(again["already_there"], true);
    }
    assert_eq!(stand.referrers(), 2);
    let other = stand.clients.home().join("other");
    stand.clients.succeed("cosign", ["generate-key-pair", "--output-key-prefix", &other.display().to_string()]);
    stand.cosign(&format!("{}.pub", other.display()), &["verify"]).failed();

    // With a key from a file: P-384, whose hash follows it.
    let (private, public) = private_key();
    let private = stand.write("release.pem", &private);
    let by_file = stand.appliance.json(["sign", NAME, "--key", &private]);
    assert_ne!(by_file["key"], signed["key"]);
    assert_eq!(stand.appliance.json(["sign", NAME, "--key", &private])["already_there"], true);
    let by_file = stand.write("release.pub", &public);
    stand.cosign(&by_file, &["verify", "--signature-digest-algorithm", "sha384"]).succeeded();
    let cosign_key = stand.write(
        "cosign.key",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAA==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    );
    stand.appliance.run(["sign", NAME, "--key", &cosign_key]).failed_saying("password");
    let to_sign = ["attest", NAME, "--type", "https://sigstore.dev/cosign/sign/v1", "--predicate", &predicate];
    stand.appliance.run(to_sign).failed_saying("`postern sign` makes a signature");
}

#[test]
fn a_policy_that_asks_for_the_site_is_satisfied_by_signing_and_no_other_is() {
    let Some(stand) = Stand::new() else { return };
    stand.appliance.json(["key", "create"]);
    let rule = |pem: &str| {
        format!(
            "version = 1\n[keys.site]\npem = '''\n{pem}'''\n[[rule]]\nname = \"ours\"\nrepositories = [\"demo/**\"]\n\
             [rule.signature]\nkeys = [\"site\"]\n"
        )
    };
    let other = stand.clients.home().join("other");
    stand.clients.succeed("cosign", ["generate-key-pair", "--output-key-prefix", &other.display().to_string()]);
    let foreign = std::fs::read_to_string(other.with_extension("pub")).expect("cosign wrote it");
    activate(&stand.appliance, &rule(&foreign), stand.folder.path());
    let refused = stand.appliance.run(["sign", NAME]).failed_saying("rule 'ours'");
    assert_eq!(refused.status.code(), Some(3), "{}", refused.report());
    assert_eq!(stand.referrers(), 0);

    let own = std::fs::read_to_string(stand.public_key()).expect("it was just written");
    activate(&stand.appliance, &rule(&own), stand.folder.path());
    stand.appliance.run(["verify", NAME]).failed_saying("not signed");
    stand.appliance.json(["sign", NAME]);
    stand.appliance.run(["verify", NAME]).succeeded();

    // What was judged is summarised under the same key, and can be checked anywhere.
    let summary = stand.appliance.run(["verify", NAME, "--vsa", "--sign"]).succeeded().text();
    let bundle = stand.write("vsa.json", &summary);
    let check =
        |image: &str| stand.appliance.run(["verify-bundle", "--bundle", &bundle, "--key", &stand.public_key(), image]);
    check(&stand.digest).succeeded();
    assert_eq!(check(&format!("sha256:{}", "0".repeat(64))).status.code(), Some(3));
}

/// As systemd hands it over (`LoadCredential=site-key:…`): the server signs with it, and makes none of its own.
#[test]
fn a_key_that_the_service_manager_hands_over_comes_first() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let appliance = appliance(folder.path(), OPEN, ADMIT);
    let credentials = folder.path().join("credentials");
    std::fs::create_dir(&credentials).expect("the folder is ours");
    std::fs::write(credentials.join("site-key"), private_key().0).expect("the folder is ours");
    let mut command = appliance.command(["serve"]);
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    let _serving = appliance.serve_command(command);
    let shown = appliance.json(["key", "create"]);
    assert_eq!((&shown["from_credential"], &shown["created"]), (&Value::from(true), &Value::from(false)));
    assert!(!appliance.data().join("identity/site.pk8").exists());
}
