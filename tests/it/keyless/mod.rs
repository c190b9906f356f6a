//! A private instance made here: what it signs is admitted and cosign says the same; with anything in it changed it is not.

mod der;
mod instance;
mod time_stamps;

use std::ops::Range;
use std::path::Path;

use data_encoding::BASE64;
use jiff::Timestamp;
use postern::oci::digest::Digest;
use postern::oci::manifest::Manifest;
use postern::verify::evaluate::{Question, evaluate};
use postern::verify::evidence::{Evidence, EvidenceContent, EvidenceItem};
use postern::verify::{Outcome, TrustPolicy};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::instance::{Generation, Instance, Who};
use crate::clients::Clients;
use crate::crossing::activate;
use crate::crossing::appliance::Appliance;
use crate::http;
use crate::outside::signing::sha256;
use crate::outside::{Image, Outside};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const GENERATIONS: [Generation; 2] = [Generation::First, Generation::Second];

fn builder() -> Who {
    Who {
        issuer: "https://issuer.example".to_owned(),
        subject: "https://git.example/team/app/.ci/release.yml@refs/tags/v1".to_owned(),
    }
}

/// What cosign writes when it signs an image.
fn statement(digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").expect("a SHA-256");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "subject": [{"digest": {"sha256": hex}}], "predicate": {},
    });
    serde_json::to_vec(&statement).expect("plain JSON")
}

fn policy(instance: &Instance, who: &Who) -> String {
    format!(
        "version = 1\n[roots.own]\njson = '''{}'''\n[identities.builder]\nroot = \"own\"\nissuer = \"{}\"\nsubject = \"{}\"\n\
         [[rule]]\nname = \"signed\"\nrepositories = [\"**\"]\n[rule.signature]\nidentities = [\"builder\"]\n",
        instance.trusted_root(),
        who.issuer,
        who.subject,
    )
}

/// One image, the policy for it, and a bundle about it.
struct World {
    policy: TrustPolicy,
    image: Manifest,
    bytes: Vec<u8>,
}

impl World {
    fn new(instance: &Instance) -> Self {
        let config =
            json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}"), "size": 2});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
        let bytes = serde_json::to_vec(&manifest).expect("plain JSON");
        let image = Manifest::parse(&bytes, MANIFEST).expect("a manifest");
        let policy = policy(instance, &builder());
        Self { policy: TrustPolicy::parse(policy.as_bytes()).expect("a policy"), image, bytes }
    }

    fn admits(&self, bundle: &[u8]) -> Result<(), String> {
        let mut evidence = Evidence::default();
        let content = EvidenceContent::SigstoreBundle(bundle.to_vec());
        evidence.add(EvidenceItem { manifest: self.image.digest, digest: Digest::of(bundle), content });
        let local = "mirror.example/app".parse().expect("a name");
        let question = Question {
            local: &local,
            original: None,
            tags: &[],
            target: &self.image,
            target_bytes: &self.bytes,
            images: &[],
        };
        let now: Timestamp = "2026-11-30T00:00:00Z".parse().expect("a time");
        let verdict = evaluate(&self.policy, &question, &evidence, now);
        match verdict.outcome() {
            Outcome::Passed => Ok(()),
            _ => Err(serde_json::to_string(&verdict).expect("a verdict is JSON")),
        }
    }
}

/// Fields whose bytes are base64 of something that is signed or signs.
const FIELDS: [(&str, &[Generation]); 9] = [
    ("/verificationMaterial/certificate/rawBytes", &GENERATIONS),
    ("/dsseEnvelope/payload", &GENERATIONS),
    ("/dsseEnvelope/signatures/0/sig", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/canonicalizedBody", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/logId/keyId", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/inclusionProof/hashes/0", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/inclusionProof/hashes/2", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/inclusionPromise/signedEntryTimestamp", &[Generation::First]),
    ("/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp", &[Generation::Second]),
];

/// Numbers and texts, each with another value.
const VALUES: [(&str, &str, &[Generation]); 8] = [
    ("/verificationMaterial/tlogEntries/0/logIndex", "3", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/integratedTime", "1793534406", &[Generation::First]),
    ("/verificationMaterial/tlogEntries/0/kindVersion/kind", "intoto", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/kindVersion/version", "0.0.9", &GENERATIONS),
    ("/verificationMaterial/tlogEntries/0/inclusionProof/logIndex", "3", &[Generation::First]),
    ("/verificationMaterial/tlogEntries/0/inclusionProof/treeSize", "6", &[Generation::First]),
    (
        "/verificationMaterial/tlogEntries/0/inclusionProof/rootHash",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        &[Generation::First],
    ),
    ("/dsseEnvelope/payloadType", "application/json", &GENERATIONS),
];

/// Every byte of a small field, some of a large one: never none of a part of it.
fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(if length > 400 { 5 } else { 1 })
}

#[test]
fn whatever_is_changed_in_a_bundle_it_is_refused() {
    let instance = Instance::new();
    let world = World::new(&instance);
    for generation in GENERATIONS {
        let bundle = instance.sign(&builder(), &statement(&world.image.digest.to_string()), generation);
        let text = |bundle: &Value| bundle.to_string().into_bytes();
        world.admits(&text(&bundle)).unwrap_or_else(|verdict| panic!("{generation:?}: {verdict}"));
        let mut tried_count = 0;
        let mut refused = |changed: &Value, what: &str| {
            tried_count += 1;
            assert!(world.admits(&text(changed)).is_err(), "{generation:?}: {what} was changed and it is admitted");
        };
        for (pointer, _) in FIELDS.iter().filter(|(_, of)| of.contains(&generation)) {
            let whole = bundle.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}"));
            let whole = BASE64.decode(whole.as_bytes()).expect("base64");
            let free = if pointer.ends_with("signedTimestamp") { unsigned(&instance, &whole) } else { Vec::new() };
            for place in places(whole.len()).filter(|place| !free.iter().any(|range| range.contains(place))) {
                let mut bytes = whole.clone();
                bytes[place] ^= 0x01;
                let mut changed = bundle.clone();
                *changed.pointer_mut(pointer).expect("it is there") = json!(BASE64.encode(&bytes));
                refused(&changed, &format!("byte {place} of {pointer}"));
            }
        }
        for (pointer, value, _) in VALUES.iter().filter(|(_, _, of)| of.contains(&generation)) {
            let mut changed = bundle.clone();
            *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = json!(value);
            refused(&changed, pointer);
        }
        let checkpoint = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope";
        let note = bundle.pointer(checkpoint).and_then(Value::as_str).expect("a note");
        let signed_bytes = note.find("\n\n").expect("a note has two parts") + 1;
        let line_at = note.rfind(' ').expect("a signature stands behind a name") + 1;
        for place in (0..signed_bytes).chain(line_at..note.len() - 1) {
            let mut bytes = note.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'B' { b'C' } else { b'B' };
            let mut changed = bundle.clone();
            let note = String::from_utf8(bytes).expect("one letter for another");
            *changed.pointer_mut(checkpoint).expect("it is there") = json!(note);
            refused(&changed, &format!("byte {place} of the checkpoint"));
        }
        assert!(tried_count > 700, "{tried_count}");
    }
}

/// What nobody has signed of a time stamp, as CMS has it: its beginning, with numbers of versions and lists of algorithms; the
/// name of the signature's algorithm, which follows from the key; and the copy of the maker's certificate, which is not looked at where
/// the root names it.
fn unsigned(instance: &Instance, stamp: &[u8]) -> Vec<Range<usize>> {
    let find = |wanted: &[u8]| stamp.windows(wanted.len()).position(|window| window == wanted);
    let content = find(&der::oid("1.2.840.113549.1.9.16.1.4")).expect("it has a content");
    let certificate = instance.time_signer();
    let certificate_at = find(certificate).expect("it carries its maker's certificate");
    let algorithm = der::oid("1.2.840.10045.4.3.2");
    let algorithm_at = stamp.windows(algorithm.len()).rposition(|window| window == algorithm).expect("it names one");
    vec![0..content, certificate_at..certificate_at + certificate.len(), algorithm_at..algorithm_at + algorithm.len()]
}

/// A bundle of another instance, of another person and about another image is none.
#[test]
fn who_else_signs_is_refused() {
    let (instance, other) = (Instance::new(), Instance::new());
    let world = World::new(&instance);
    let about = world.image.digest.to_string();
    for generation in GENERATIONS {
        let refused = |bundle: Value| assert!(world.admits(bundle.to_string().as_bytes()).is_err(), "{generation:?}");
        refused(other.sign(&builder(), &statement(&about), generation));
        refused(instance.sign(&builder(), &statement(&sha256(b"another")), generation));
        let whole = builder();
        for subject in [format!("{}x", whole.subject), format!("x{}", whole.subject), "https://git.example/".to_owned()]
        {
            refused(instance.sign(&Who { subject, ..whole.clone() }, &statement(&about), generation));
        }
        let issuer = format!("{}/", whole.issuer);
        refused(instance.sign(&Who { issuer, ..whole.clone() }, &statement(&about), generation));
    }
}

/// Attaches a bundle to an image as cosign does.
#[track_caller]
fn attach(image: &Image, bundle: &Value) {
    let blob = |bytes: &[u8]| {
        let digest = sha256(bytes);
        let target = format!("/v2/{}/blobs/uploads/", image.repository);
        let begun = http::request(&image.address, "POST", &target, &[], &[]).expect("it answers").expect_status(202);
        let at = begun.header("location").expect("a place to send to").to_owned();
        let at = at.split_once("/v2/").map_or(at.clone(), |(_, path)| format!("/v2/{path}"));
        let joint = if at.contains('?') { '&' } else { '?' };
        let target = format!("{at}{joint}digest={digest}");
        http::request(&image.address, "PUT", &target, &[("Content-Type", "application/octet-stream")], bytes)
            .expect("it answers")
            .expect_status(201);
        json!({"digest": digest, "size": bytes.len()})
    };
    let typed = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = json!(kind);
        descriptor
    };
    let config = typed(blob(b"{}"), "application/vnd.oci.empty.v1+json");
    let layer = typed(blob(bundle.to_string().as_bytes()), BUNDLE);
    let target = format!("/v2/{}/manifests/{}", image.repository, image.digest);
    let accept = [("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json")];
    let subject = http::request(&image.address, "GET", &target, &accept, &[]).expect("it answers").expect_status(200);
    let kind = subject.header("content-type").expect("a manifest has a type").to_owned();
    let subject = json!({"mediaType": kind, "digest": image.digest, "size": subject.body.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": config,
        "layers": [layer], "subject": subject});
    let bytes = serde_json::to_vec(&manifest).expect("plain JSON");
    let put = |reference: &str, kind: &str, bytes: &[u8]| {
        let target = format!("/v2/{}/manifests/{reference}", image.repository);
        http::request(&image.address, "PUT", &target, &[("Content-Type", kind)], bytes)
            .expect("it answers")
            .expect_status(201);
    };
    put(&sha256(&bytes), MANIFEST, &bytes);
    let listed = json!({"mediaType": MANIFEST, "artifactType": BUNDLE, "digest": sha256(&bytes), "size": bytes.len()});
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [listed]});
    let index = serde_json::to_vec(&index).expect("plain JSON");
    put(&image.fallback_tag(), "application/vnd.oci.image.index.v1+json", &index);
}

/// From a registry outside, through a mirror that demands an identity: admitted for whom it names, refused for others; and
/// cosign, with the same root, comes to the same.
#[test]
fn a_keyless_image_is_mirrored_and_cosign_agrees() {
    let Some(clients) = Clients::find(&["docker-registry", "crane", "cosign"]) else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let outside = Outside::start(&clients);
    let instance = Instance::new();
    let root = folder.path().join("trusted_root.json");
    std::fs::write(&root, instance.trusted_root().to_string()).expect("the folder is ours");
    let low = Appliance::set_up(folder.path(), "low", None);
    low.without_tls(&format!("[[upstream]]\nname = \"up.example\"\nurl = \"http://{}\"\n", outside.address()));
    activate(&low, &policy(&instance, &builder()), folder.path());
    let serving = low.serve();

    let stranger = Who { subject: "https://git.example/stranger/app".to_owned(), ..builder() };
    for (generation, who, is_admitted) in [
        (Generation::First, builder(), true),
        (Generation::Second, builder(), true),
        (Generation::First, stranger, false),
    ] {
        let repository = format!("team/app-{generation:?}-{is_admitted}").to_ascii_lowercase();
        let image = outside.push_single(&repository, "v1");
        let signed = instance.sign(&who, &statement(&image.digest), generation);
        attach(&image, &signed);
        let answer = serving.get(&format!("/v2/up.example/{repository}/manifests/v1"));
        let expected = if is_admitted { 200 } else { 403 };
        assert_eq!(answer.status, expected, "{generation:?} {}: {}", who.subject, answer.text());
        assert_eq!(
            cosign(&clients, &image, &root, generation),
            is_admitted,
            "cosign on {generation:?} {}",
            who.subject
        );
    }
}

/// Whether cosign, with this trusted root and nothing else, takes the image for the builder's.
fn cosign(clients: &Clients, image: &Image, root: &Path, generation: Generation) -> bool {
    let (root, who, pinned) = (root.display().to_string(), builder(), image.pinned());
    let mut arguments = vec!["verify", "--trusted-root", &root, "--certificate-identity", &who.subject];
    arguments.extend(["--certificate-oidc-issuer", &who.issuer]);
    if generation == Generation::Second {
        arguments.push("--use-signed-timestamps");
    }
    arguments.push(&pinned);
    let ran = clients.run("cosign", arguments);
    // Said in the output of a failing test, and nowhere else.
    if !ran.status.success() {
        let _ = std::io::Write::write_all(&mut std::io::stdout(), ran.report().as_bytes());
    }
    ran.status.success()
}
