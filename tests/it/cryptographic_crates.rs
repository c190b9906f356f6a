//! Every crate of either edition that has to do with cryptography, by what its name says, and why it is there. A new one
//! fails here until somebody has looked at it.

use std::collections::BTreeSet;
use std::process::Command;

/// What makes a name suspicious.
const WORDS: [&str; 34] = [
    "sha",
    "md4",
    "md5",
    "blake",
    "hash",
    "aes",
    "gcm",
    "rsa",
    "25519",
    "curve",
    "ecdsa",
    "elliptic",
    "p256",
    "p384",
    "p521",
    "chacha",
    "poly1305",
    "salsa",
    "hmac",
    "kdf",
    "argon",
    "crypt",
    "cipher",
    "digest",
    "signature",
    "dsa",
    "rand",
    "tls",
    "ssl",
    "pki",
    "x509",
    "aws-lc",
    "sigstore",
    "merkle",
];

/// In both editions.
const BOTH: [(&str, &str); 17] = [
    ("aws-lc-rs", "the one cryptographic library"),
    (
        "aws-lc-sys",
        "AWS-LC itself; built but not linked in the FIPS edition, because rustls asks for it beside the module",
    ),
    ("chacha20", "as rand"),
    ("fxhash", "sled's hash tables of page numbers"),
    ("getrandom", "the kernel's randomness: seeds of hash tables, numbers of DNS questions"),
    ("hashbrown", "hash tables"),
    ("hyper-rustls", "TLS of outgoing connections, by rustls"),
    ("openssl-probe", "knows where distributions keep trusted certificates; there is no OpenSSL"),
    ("rand", "numbers and order of DNS questions; a name found protects nothing, TLS does"),
    ("rand_core", "as rand"),
    ("rustls", "TLS, by aws-lc-rs"),
    ("rustls-native-certs", "reads the machine's trusted certificates"),
    ("rustls-pki-types", "certificates and keys as types"),
    ("rustls-webpki", "chains of certificates, by aws-lc-rs"),
    ("sharded-slab", "a table of log spans"),
    ("sigstore-types", "Sigstore's messages as types"),
    ("tokio-rustls", "TLS of incoming connections, by rustls"),
];

/// In the standard edition alone.
const STANDARD: [(&str, &str); 13] = [
    ("crypto-common", "as digest"),
    ("digest", "traits of sha2 and of what reads certificates"),
    ("sha2", "digests of blobs, on processors with and without instructions for it"),
    ("sigstore-bundle", "Sigstore bundles"),
    ("sigstore-crypto", "Sigstore's signatures, by aws-lc-rs"),
    ("sigstore-merkle", "Sigstore's inclusion proofs, by aws-lc-rs"),
    ("sigstore-rekor", "Sigstore's log entries"),
    ("sigstore-trust-root", "Sigstore's trusted roots"),
    ("sigstore-tsa", "Sigstore's time stamps"),
    ("sigstore-verify", "Sigstore's verification"),
    ("spki", "keys as types"),
    ("tls_codec", "lengths in certificate transparency"),
    ("x509-cert", "certificates as types"),
];

/// In the FIPS edition alone.
const FIPS: [(&str, &str); 1] = [("aws-lc-fips-sys", "the module")];

/// Names of the crates that are compiled into a binary.
fn crates(manifest: &str, target: &str) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["tree", "--locked", "--quiet", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    let output = command.args(["--manifest-path", manifest, "--target", target]).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// All that is suspicious is known, and all that is known is there.
#[track_caller]
fn check(manifest: &str, target: &str, known: &[&[(&str, &str)]]) {
    let crates = crates(manifest, target);
    assert!(crates.contains("aws-lc-rs"), "{crates:?}");
    let known: BTreeSet<&str> = known.iter().flat_map(|part| part.iter().map(|(name, _)| *name)).collect();
    let is_suspicious = |name: &&str| WORDS.iter().any(|word| name.contains(word)) || *name == "ring";
    let found: BTreeSet<&str> = crates.iter().map(String::as_str).filter(is_suspicious).collect();
    let unknown: Vec<_> = found.difference(&known).collect();
    assert!(unknown.is_empty(), "{manifest}: look at {unknown:?} and write down why they may be here");
    let gone: Vec<_> = known.iter().filter(|name| !crates.contains(**name)).collect();
    assert!(gone.is_empty(), "{manifest}: no longer there, take off the list: {gone:?}");
}

#[test]
fn the_standard_edition_has_no_unknown_cryptography() {
    check("Cargo.toml", "x86_64-unknown-linux-musl", &[&BOTH, &STANDARD]);
}

#[test]
fn the_fips_edition_has_no_unknown_cryptography() {
    check("fips/Cargo.toml", "x86_64-unknown-linux-gnu", &[&BOTH, &FIPS]);
}
