//! What the gate costs at run time: a verdict that is kept, and everything that is here judged anew after trust has changed.
//!
//! `cargo bench --bench gate -- 10000`. Every image has a signature of its own by a key, in cosign's form. The promises stand in
//! SPECIFICATION.md: 20 µs for a pull, 60 s of processor time for 10,000 images.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a measurement prints, times and makes files"
)]

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64;
use postern::access::{Access, AccessSettings};
use postern::admission::{RecheckSettings, Rechecks};
use postern::device_id::DeviceId;
use postern::dsse::{Envelope, pre_authentication_encoding};
use postern::oci::digest::Digest;
use postern::oci::manifest::Manifest;
use postern::oci::media_type::{OCI_CONFIG, OCI_EMPTY, OCI_MANIFEST};
use postern::oci::name::RepositoryName;
use postern::store::{Change, LinkVia, PrincipalRef, Store, StoreSettings, Transaction};
use postern::sys::clock::{Clock, RealClock};
use postern::sys::dir::{Create, Dir};
use postern::sys::dir_real::RealDir;
use postern::verify::evaluate::{Question, evaluate};
use postern::verify::evidence::Evidence;
use postern::verify::policy::TrustPolicy;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

const IMAGES_IN_REPOSITORY_COUNT: usize = 100;
const BATCH_COUNT: usize = 100;
const KEPT_ROUNDS_COUNT: usize = 20;
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What stands before the point in the SubjectPublicKeyInfo of a key on P-256.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn main() -> Outcome<()> {
    let count = std::env::args().skip(1).find(|argument| argument != "--bench");
    let count: usize = count.as_deref().unwrap_or("10000").parse()?;
    let path = std::env::temp_dir().join(format!("postern-gate-{}", std::process::id()));
    let measured = measure(&path, count);
    std::fs::remove_dir_all(&path)?;
    measured
}

fn measure(path: &std::path::Path, count: usize) -> Outcome<()> {
    let dir: Arc<dyn Dir> = Arc::new(RealDir::create(path)?);
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    Store::create(&dir, &clock, &DeviceId::of_public_key(b"bench"))?;
    let store = Store::open(dir, clock, &StoreSettings { reserve_bytes: 0, ..StoreSettings::default() })?;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let images = fill(&store, &key, count)?;
    println!("{count} images with a signature each below {}", path.display());

    let policy = Arc::new(Mutex::new(policy(&key, "")?));
    let (in_force, looked_at) = (Arc::clone(&policy), store.clone());
    let source = Arc::new(move || {
        // What a running server does too: it asks the store which policy is in force.
        let _ = looked_at.active_policy();
        Arc::clone(&in_force.lock().expect("nobody panics while holding it"))
    });
    let access = Access::open(store.clone(), AccessSettings::default())?;
    let settings = RecheckSettings { places_count: 8, bytes_max: None };
    let rechecks = Rechecks::new(store.clone(), access, source, settings);
    for change in ["", "# other trust\n"] {
        *policy.lock().map_err(|_| "poisoned")? = self::policy(&key, change)?;
        let (began, began_processor) = (Instant::now(), processor_time()?);
        let end = rechecks.review(&|_| {}, &|| false)?;
        println!(
            "review: {end:?} in {:?} of processor time, {:?}",
            processor_time()? - began_processor,
            began.elapsed()
        );
    }
    let some: Vec<_> = images.iter().take(1_000).collect();
    let mut took = Vec::new();
    for (repository, digest) in some.iter().cycle().take(some.len() * KEPT_ROUNDS_COUNT) {
        let began = Instant::now();
        let served = rechecks.check(repository, digest).map_err(|refused| format!("{refused:?}"))?;
        took.push(began.elapsed());
        assert!(rechecks.is_current(&served));
    }
    took.sort();
    println!(
        "a verdict that is kept: median {:?}, 99 in 100 below {:?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100]
    );
    Ok(())
}

fn processor_time() -> Outcome<Duration> {
    Ok(nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn policy(key: &EcdsaKeyPair, added: &str) -> Outcome<Arc<TrustPolicy>> {
    let der = [&SPKI_PREFIX, key.public_key().as_ref()].concat();
    let text = format!(
        "version = 1\n{added}[keys.release]\npem = \"\"\"-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n\"\"\"\n\
         [[rule]]\nname = \"signed\"\nrepositories = [\"**\"]\n[rule.signature]\nkeys = [\"release\"]\n",
        BASE64.encode(&der)
    );
    Ok(Arc::new(TrustPolicy::parse(text.as_bytes())?))
}

/// Content without its durability, which is not what is measured.
fn put(store: &Store, content: &[u8]) -> Outcome<Digest> {
    let digest = Digest::of(content);
    let hex = digest.hex();
    store.dir().open_write(&format!("blobs/sha256/{}/{hex}", &hex[..2]), Create::Missing)?.write_at(content, 0)?;
    Ok(digest)
}

fn fill(store: &Store, key: &EcdsaKeyPair, count: usize) -> Outcome<Vec<(RepositoryName, Digest)>> {
    let mut images = Vec::with_capacity(count);
    for first in (0..count).step_by(BATCH_COUNT) {
        let mut changes = Vec::new();
        for number in first..count.min(first + BATCH_COUNT) {
            let name: RepositoryName = format!("team/service-{}", number / IMAGES_IN_REPOSITORY_COUNT).parse()?;
            let config = blob(store, &name, OCI_CONFIG, format!("{{\"number\":{number}}}").as_bytes(), &mut changes)?;
            let body = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []});
            let digest = manifest(store, &name, &body, &mut changes)?;
            let empty = blob(store, &name, OCI_EMPTY, b"{}", &mut changes)?;
            let bundle = blob(store, &name, BUNDLE, &bundle(key, &digest)?, &mut changes)?;
            let subject = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 2});
            let body = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": BUNDLE, "config": empty,
                "layers": [bundle], "subject": subject});
            manifest(store, &name, &body, &mut changes)?;
            images.push((name, digest));
        }
        store.commit(Transaction::new(PrincipalRef::system("bench"), changes))?;
    }
    Ok(images)
}

fn blob(
    store: &Store,
    name: &RepositoryName,
    media_type: &str,
    content: &[u8],
    changes: &mut Vec<Change>,
) -> Outcome<Value> {
    let digest = put(store, content)?;
    let (repository, size_bytes) = (name.clone(), content.len() as u64);
    changes.push(Change::LinkBlob { repository, digest, size_bytes, via: LinkVia::Import });
    Ok(json!({"mediaType": media_type, "digest": digest, "size": size_bytes}))
}

fn manifest(store: &Store, name: &RepositoryName, body: &Value, changes: &mut Vec<Change>) -> Outcome<Digest> {
    let bytes = serde_json::to_vec(body)?;
    put(store, &bytes)?;
    let target = Manifest::parse(&bytes, OCI_MANIFEST)?;
    let digest = target.digest;
    let policy = TrustPolicy::parse(b"version = 1\ndefault = \"admit\"\n")?;
    let question =
        Question { local: name, original: None, tags: &[], target: &target, target_bytes: &bytes, images: &[] };
    let verdict = Arc::new(evaluate(&policy, &question, &Evidence::default(), jiff::Timestamp::UNIX_EPOCH));
    let manifest = verdict.admit(target)?;
    changes.push(Change::Publish { repository: name.clone(), manifest, sparse: false, origin: None });
    Ok(digest)
}

/// What `cosign sign` makes with a key.
fn bundle(key: &EcdsaKeyPair, subject: &Digest) -> Outcome<Vec<u8>> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": subject.hex()}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {},
    });
    let (payload, payload_type) = (serde_json::to_vec(&statement)?, "application/vnd.in-toto+json".to_owned());
    let signed = pre_authentication_encoding(&payload_type, &payload);
    let signature = key.sign(&SystemRandom::new(), &signed)?.as_ref().to_vec();
    let envelope: Value =
        serde_json::from_slice(&Envelope { payload_type, payload, key_id: None, signature }.to_json())?;
    Ok(serde_json::to_vec(&json!({
        "mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "bench"}}, "dsseEnvelope": envelope,
    }))?)
}
