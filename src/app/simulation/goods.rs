//! What is pushed, mirrored and carried, made once: contents, images of them, and sets that a sender has sealed.

use std::sync::{Arc, OnceLock};

use crate::bundle::export::export;
use crate::bundle::format::volume::SetId;
use crate::bundle::plan::{ExportRequest, plan};
use crate::enrolment;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::progress::Silent;
use crate::store::{Change, DeviceRole, LinkVia, PrincipalRef, Store, StoreSettings, Transaction};
use crate::sys::clock::{Clock, SimulatedClock};
use crate::sys::dir::Dir;
use crate::sys::dir_simulated::SimulatedDir;
use crate::sys::keys::KeyRing;
use crate::sys::medium::SimulatedMedium;
use crate::verify::{Admitted, TrustPolicy};

use super::picture::{Done, Known};

pub const SERIES: &str = "default";
const SETS_COUNT: u64 = 4;
const IMPORTED: &str = "in/x";

/// Content that travels, and the digest it has.
pub type Part = (Digest, Vec<u8>);

/// An image as a client holds it.
#[derive(Clone, Debug)]
pub struct Image {
    pub manifest: Manifest,
    pub bytes: Vec<u8>,
    pub parts: Vec<Part>,
}

/// A sealed set and what it brings.
pub struct Set {
    pub id: SetId,
    pub stick: SimulatedDir,
    pub done: Vec<Done>,
}

/// Everything that does not change.
pub struct Goods {
    /// A new store that knows the sender.
    pub base: SimulatedDir,
    pub keys: KeyRing,
    pub sender: crate::device_id::DeviceId,
    pub policy: TrustPolicy,
    pub sets: Vec<Set>,
}

pub fn settings() -> StoreSettings {
    StoreSettings { reserve_bytes: 0, ..StoreSettings::default() }
}

pub fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()))
}

fn part(content: Vec<u8>) -> Part {
    (Digest::of(&content), content)
}

/// Layer `number`: some are shorter than a sector, some longer than a page.
pub fn layer(number: u64) -> Part {
    let length = [1, 600, 5_000, 13_000][usize::try_from(number % 4).unwrap()];
    part(
        format!("layer {number}, ").into_bytes().into_iter().cycle().take(length).chain(number.to_le_bytes()).collect(),
    )
}

/// The image of these layers.
pub fn image(layers: &[u64]) -> Image {
    let mut parts = vec![part(b"{}".to_vec())];
    parts.extend(layers.iter().map(|number| layer(*number)));
    let entry = |media_type: &str, part: &Part| {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#, part.0, part.1.len())
    };
    let listed: Vec<String> =
        parts[1..].iter().map(|layer| entry("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    let config = entry(OCI_CONFIG, &parts[0]);
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{}]}}"#,
        listed.join(",")
    );
    let manifest = Manifest::parse(text.as_bytes(), OCI_MANIFEST).unwrap();
    Image { manifest, bytes: text.into_bytes(), parts }
}

/// The index of these images.
pub fn index(children: &[Image]) -> Image {
    let listed: Vec<String> = children
        .iter()
        .map(|child| {
            let Manifest { digest, size, .. } = &child.manifest;
            format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{size}}}"#)
        })
        .collect();
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, listed.join(","));
    let manifest = Manifest::parse(text.as_bytes(), OCI_INDEX).unwrap();
    Image { manifest, bytes: text.into_bytes(), parts: Vec::new() }
}

impl Image {
    pub fn known(&self, sparse: bool) -> Known {
        let of = |kind| self.manifest.edges().filter(move |edge| edge.kind == kind).map(|edge| edge.digest).collect();
        Known { sparse, blobs: of(EdgeKind::Blob), children: of(EdgeKind::Manifest) }
    }

    pub fn publish(&self, repository: &'static str, sparse: bool) -> (Change, Done) {
        let name = repository.parse().unwrap();
        let manifest = Admitted::for_test(&name, self.manifest.clone());
        let change = Change::Publish { repository: name, manifest, sparse, origin: None };
        (change, Done::Published { repository, digest: self.manifest.digest, known: self.known(sparse) })
    }

    pub fn links(&self, repository: &'static str, via: LinkVia) -> Vec<Change> {
        self.parts.iter().map(|part| link(repository, part, via)).collect()
    }
}

pub fn link(repository: &'static str, (digest, content): &Part, via: LinkVia) -> Change {
    Change::LinkBlob { repository: repository.parse().unwrap(), digest: *digest, size_bytes: content.len() as u64, via }
}

pub fn tagged(repository: &'static str, tag: &str, digest: Digest) -> (Change, Done) {
    let change = Change::MoveTag {
        repository: repository.parse().unwrap(),
        tag: tag.parse().unwrap(),
        target: digest,
        expected: None,
    };
    (change, Done::Tagged { repository, tag: tag.to_owned(), digest })
}

/// Made once: keys are slow.
pub fn goods() -> &'static Goods {
    static GOODS: OnceLock<Goods> = OnceLock::new();
    GOODS.get_or_init(make)
}

fn make() -> Goods {
    let (low_dir, low_keys) = device("low");
    let (base, keys) = device("high");
    let (low, high) = (open(&low_dir), open(&base));
    let operator = || PrincipalRef::operator("0");
    let (low_id, high_id) = (low_keys.device_id(), keys.device_id());
    enrolment::add(&low, &low_keys, keys.identity_file(), DeviceRole::Receiver, high_id, operator()).unwrap();
    enrolment::add(&high, &keys, low_keys.identity_file(), DeviceRole::Sender, low_id, operator()).unwrap();
    drop(high);
    let policy = TrustPolicy::parse(b"version = 1\ndefault = \"admit\"\n").unwrap();
    let sets = (1..=SETS_COUNT).map(|number| seal_set(&low, &low_keys, high_id, &policy, number)).collect();
    Goods { base, sender: low_id.clone(), keys, policy, sets }
}

fn device(name: &str) -> (SimulatedDir, KeyRing) {
    let dir = SimulatedDir::default();
    let clock: Arc<dyn Clock> = clock();
    let keys = KeyRing::create(&dir, name, clock.wall()).unwrap();
    let shared: Arc<dyn Dir> = Arc::new(dir.clone());
    Store::create(&shared, &clock, keys.device_id()).unwrap();
    (dir, keys)
}

fn open(dir: &SimulatedDir) -> Store {
    Store::open(Arc::new(dir.clone()), clock(), &settings()).unwrap()
}

/// A set of two images that share a layer with the one before.
fn seal_set(
    low: &Store,
    keys: &KeyRing,
    receiver: &crate::device_id::DeviceId,
    policy: &TrustPolicy,
    number: u64,
) -> Set {
    let images = [image(&[number, 90]), image(&[number + 1])];
    let (mut changes, mut done) = (Vec::new(), Vec::new());
    for (image, tag) in images.iter().zip(["v1".to_owned(), format!("set-{number}")]) {
        for (_, content) in &image.parts {
            low.blobs().put(content).unwrap();
        }
        low.blobs().put(&image.bytes).unwrap();
        changes.extend(image.links(IMPORTED, LinkVia::Upload));
        let (publish, published) = image.publish(IMPORTED, false);
        let (tag, tagged) = tagged(IMPORTED, &tag, image.manifest.digest);
        changes.extend([publish, tag]);
        done.extend([published, tagged]);
    }
    low.commit(Transaction::new(PrincipalRef::system("test"), changes)).unwrap();
    done.push(Done::Imported(number));
    let request = ExportRequest {
        references: ["v1", &format!("set-{number}")].map(|tag| format!("{IMPORTED}:{tag}").parse().unwrap()).to_vec(),
        platforms: None,
        receiver: receiver.clone(),
        series: SERIES.to_owned(),
        volume_bytes_max: 32 << 10,
    };
    let stick = SimulatedDir::default();
    let medium = SimulatedMedium::new(Arc::new(stick.clone()));
    let plan = plan(low, &request, policy, Some(&medium)).unwrap();
    let report = export(low, keys, &plan, &medium, PrincipalRef::operator("0"), &Silent).unwrap();
    Set { id: report.set, stick, done }
}
