//! Two devices and a stick between them, in one process: the sender holds images, the receiver nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postern::admission::{Candidate, Content, ContentError, Destination, Judgement, judge};
use postern::bundle::export::{ExportError, ExportReport, export};
use postern::bundle::import::{ImportError, ImportOptions, ImportReport, import};
use postern::bundle::plan::{ExportPlan, ExportRequest, plan};
use postern::enrolment;
use postern::limits::SET_TABLE_BYTES_MAX;
use postern::oci::digest::Digest;
use postern::oci::media_type::{DSSE_ENVELOPE, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use postern::oci::name::{RepositoryName, Tag};
use postern::progress::Silent;
use postern::store::{DeviceRole, LinkVia, Position, PrincipalRef, Store, StoreSettings, Transaction};
use postern::sys::clock::{Clock, SimulatedClock};
use postern::sys::dir::{Create, Dir, read_bounded, replace};
use postern::sys::dir_real::RealDir;
use postern::sys::keys::KeyRing;
use postern::sys::medium::{Medium, SimulatedMedium};
use postern::verify::TrustPolicy;
use serde_json::json;
use tempfile::TempDir;

/// Memory where there is some: a test that imports ten thousand times must not wait for a disk.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn operator() -> PrincipalRef {
    PrincipalRef::operator("0")
}

/// A device with its store.
pub struct Side {
    directory: TempDir,
    dir: Arc<dyn Dir>,
    clock: Arc<dyn Clock>,
    store: Option<Store>,
    pub keys: KeyRing,
}

/// Everything that somebody could see of a store.
#[derive(Debug, PartialEq, Eq)]
pub struct Visible {
    head: Position,
    catalog: Vec<(RepositoryName, Vec<(Tag, Digest)>)>,
}

impl Side {
    pub fn new(name: &str) -> Self {
        let directory = directory();
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(directory.path()).unwrap());
        let now: jiff::Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(now));
        let keys = KeyRing::create(dir.as_ref(), name, now).unwrap();
        Store::create(&dir, &clock, keys.device_id()).unwrap();
        let mut side = Self { directory, dir, clock, store: None, keys };
        side.open();
        side
    }

    /// A device with keys that were kept.
    pub fn with_keys(kept: &dyn Dir) -> Self {
        let directory = directory();
        let dir: Arc<dyn Dir> = Arc::new(RealDir::open(directory.path()).unwrap());
        dir.create_dir_all("identity").unwrap();
        for entry in kept.list("identity").unwrap() {
            let path = format!("identity/{}", entry.name);
            replace(dir.as_ref(), &path, &read_bounded(kept, &path, 1 << 20).unwrap()).unwrap();
        }
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new("2026-11-24T00:00:00Z".parse().unwrap()));
        let keys = KeyRing::open(dir.as_ref()).unwrap();
        Store::create(&dir, &clock, keys.device_id()).unwrap();
        let mut side = Self { directory, dir, clock, store: None, keys };
        side.open();
        side
    }

    fn open(&mut self) {
        let store = Store::open(Arc::clone(&self.dir), Arc::clone(&self.clock), &StoreSettings::default());
        self.store = Some(store.unwrap());
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Loses the index, as a broken one is lost, and starts again.
    pub fn rebuild(&mut self) {
        self.store = None;
        std::fs::remove_dir_all(self.directory.path().join("index")).unwrap();
        std::fs::create_dir(self.directory.path().join("index")).unwrap();
        self.open();
    }

    pub fn enrol(&self, other: &Self, role: DeviceRole) {
        let file = other.keys.identity_file();
        enrolment::add(self.store(), &self.keys, file, role, other.keys.device_id(), operator()).unwrap();
    }

    pub fn visible(&self) -> Visible {
        let store = self.store();
        let repositories = store.repositories(None, 100).unwrap();
        let tags = |name: &RepositoryName| store.tags(name, None, 100).unwrap();
        let catalog = repositories.into_iter().map(|name| (name.clone(), tags(&name))).collect();
        Visible { head: store.head(), catalog }
    }

    /// How many files stand where only admitted content may stand.
    pub fn blobs_count(&self) -> usize {
        let blobs = self.store().blobs();
        postern::store::shards().map(|shard| blobs.list(&shard).unwrap().len()).sum()
    }

    /// Forgets what unfinished imports have staged, so that the next one reads everything again.
    pub fn forget_staged(&self) {
        for entry in self.dir.list("uploads").unwrap() {
            if entry.name.starts_with("import-") {
                self.dir.remove_tree(&format!("uploads/{}", entry.name)).unwrap();
            }
        }
    }

    /// Forgets sealed sets, so that the next export makes a new one.
    pub fn forget_exports(&self) {
        for entry in self.dir.list("uploads").unwrap() {
            if entry.name.starts_with("export-") {
                self.dir.remove_tree(&format!("uploads/{}", entry.name)).unwrap();
            }
        }
    }

    pub fn dir(&self) -> &dyn Dir {
        self.dir.as_ref()
    }
}

/// Content on its way into the sender's store.
#[derive(Default)]
pub struct Images {
    manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    seed: u64,
}

impl Images {
    fn blob(&mut self, content: Vec<u8>) -> (Digest, usize) {
        let digest = Digest::of(&content);
        let size = content.len();
        self.blobs.insert(digest, content);
        (digest, size)
    }

    fn manifest(&mut self, media_type: &str, value: &serde_json::Value) -> Digest {
        let bytes = serde_json::to_vec(value).unwrap();
        let digest = Digest::of(&bytes);
        self.manifests.insert(digest, (media_type.to_owned(), bytes));
        digest
    }

    /// Bytes that do not compress, other ones each time.
    fn noise(&mut self, length: usize) -> Vec<u8> {
        self.seed += 1;
        let mut state = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    /// An image for one platform with one layer of `layer_bytes`.
    pub fn image(&mut self, architecture: &str, layer_bytes: usize) -> Digest {
        let noise = self.noise(layer_bytes);
        let layer = self.blob(noise);
        self.image_of(architecture, "application/vnd.oci.image.layer.v1.tar", layer)
    }

    /// An image whose one layer, `content`, is fetched from elsewhere and is not here.
    pub fn image_with_a_layer_elsewhere(&mut self, architecture: &str, content: &[u8]) -> Digest {
        let layer = (Digest::of(content), content.len());
        self.image_of(architecture, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", layer)
    }

    /// An image whose one layer, `content`, is here.
    pub fn image_with(&mut self, architecture: &str, content: &[u8]) -> Digest {
        let layer = self.blob(content.to_vec());
        self.image_of(architecture, "application/vnd.oci.image.layer.v1.tar", layer)
    }

    fn image_of(&mut self, architecture: &str, layer_type: &str, (layer, layer_bytes): (Digest, usize)) -> Digest {
        let config = json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let (config, config_bytes) = self.blob(serde_json::to_vec(&config).unwrap());
        self.manifest(
            OCI_MANIFEST,
            &json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": config, "size": config_bytes},
                "layers": [{"mediaType": layer_type, "digest": layer, "size": layer_bytes}]}),
        )
    }

    pub fn index(&mut self, children: &[(&str, Digest)]) -> Digest {
        let children: Vec<_> = children
            .iter()
            .map(|(architecture, digest)| {
                json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": self.manifests[digest].1.len(),
                    "platform": {"architecture": architecture, "os": "linux"}})
            })
            .collect();
        self.manifest(OCI_INDEX, &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}))
    }

    /// Leaves the manifests alone.
    pub fn forget_blobs(&mut self) {
        self.blobs.clear();
    }

    /// Something said about `subject`.
    pub fn statement(&mut self, subject: Digest) -> Digest {
        let (empty, empty_bytes) = self.blob(b"{}".to_vec());
        let (layer, layer_bytes) = self.blob(format!("{{\"about\":\"{subject}\"}}").into_bytes());
        let size = self.manifests[&subject].1.len();
        self.manifest(
            OCI_MANIFEST,
            &json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.note",
                "config": {"mediaType": OCI_EMPTY, "digest": empty, "size": empty_bytes},
                "layers": [{"mediaType": DSSE_ENVELOPE, "digest": layer, "size": layer_bytes}],
                "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": size}}),
        )
    }

    /// Puts an image and what belongs to it into a store, as a mirror does.
    pub fn publish(&self, side: &Side, repository: &str, tag: &str, root: Digest) {
        let store = side.store();
        for content in self.manifests.values().map(|(_, bytes)| bytes).chain(self.blobs.values()) {
            store.blobs().put(content).unwrap();
        }
        let candidate = Candidate {
            repository: repository.parse().unwrap(),
            original: None,
            root,
            tags: vec![tag.parse().unwrap()],
        };
        let Judgement::Admitted(image) = judge(&admit_all(), &candidate, self, side.clock.wall()).unwrap() else {
            panic!("refused")
        };
        let present = |digest: &Digest| self.blobs.contains_key(digest);
        let destination = Destination { via: LinkVia::Mirror, origin: None, present: &present };
        store.commit(Transaction::new(operator(), image.changes(&destination))).unwrap();
    }
}

impl Content for Images {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        Ok(self.manifests.get(digest).cloned())
    }

    fn tag(&self, _tag: &Tag) -> Result<Option<Digest>, ContentError> {
        Ok(None)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        let named = subject.to_string();
        let about = |bytes: &[u8]| {
            serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["subject"]["digest"].as_str() == Some(&named)
        };
        Ok(self.manifests.iter().filter(|(_, (_, bytes))| about(bytes)).map(|(digest, _)| *digest).collect())
    }

    fn blob(&self, digest: &Digest, _limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        Ok(self.blobs.get(digest).cloned())
    }
}

pub fn admit_all() -> TrustPolicy {
    TrustPolicy::parse(b"version = 1\ndefault = \"admit\"\n").unwrap()
}

/// Both devices, each known to the other, and the stick.
pub struct World {
    pub low: Side,
    pub high: Side,
    stick: TempDir,
    pub medium: SimulatedMedium,
    pub policy: TrustPolicy,
    /// Projects of the receiver that do not enforce it.
    pub unenforced: BTreeSet<String>,
}

impl World {
    pub fn new() -> Self {
        let (low, high) = (Side::new("low"), Side::new("high"));
        low.enrol(&high, DeviceRole::Receiver);
        high.enrol(&low, DeviceRole::Sender);
        let (stick, medium) = stick();
        Self { low, high, stick, medium, policy: admit_all(), unenforced: BTreeSet::new() }
    }

    /// An image of two platforms with something said about it, large enough for several small volumes.
    pub fn with_image(layer_bytes: usize) -> Self {
        let world = Self::new();
        let mut images = Images::default();
        let (one, other) = (images.image("amd64", layer_bytes), images.image("arm64", layer_bytes));
        let index = images.index(&[("amd64", one), ("arm64", other)]);
        images.statement(index);
        images.publish(&world.low, "docker.io/library/app", "v1", index);
        world
    }

    /// A world whose receiver has kept keys and knows the sender of `identity_file`; its own sender plays no part.
    pub fn with_receiver(kept: &dyn Dir, identity_file: &[u8]) -> Self {
        let high = Side::with_keys(kept);
        let sender = enrolment::preview(identity_file).unwrap().device_id;
        enrolment::add(high.store(), &high.keys, identity_file, DeviceRole::Sender, &sender, operator()).unwrap();
        let (stick, medium) = stick();
        Self { low: Side::new("bystander"), high, stick, medium, policy: admit_all(), unenforced: BTreeSet::new() }
    }

    /// Takes the stick out and puts an empty one in.
    pub fn empty_stick(&mut self) {
        (self.stick, self.medium) = stick();
    }

    pub fn request(&self, references: &[&str], volume_bytes_max: u64) -> ExportRequest {
        ExportRequest {
            references: references.iter().map(|text| text.parse().unwrap()).collect(),
            platforms: None,
            receiver: self.high.keys.device_id().clone(),
            series: "default".to_owned(),
            volume_bytes_max,
        }
    }

    pub fn plan(&self, request: &ExportRequest) -> ExportPlan {
        plan(self.low.store(), request, &self.policy, Some(&self.medium)).unwrap()
    }

    pub fn try_export(&self, request: &ExportRequest) -> Result<ExportReport, ExportError> {
        export(self.low.store(), &self.low.keys, &self.plan(request), &self.medium, operator(), &Silent)
    }

    /// Exports the image of [`World::with_image`].
    #[track_caller]
    pub fn export(&self, volume_bytes_max: u64) -> ExportReport {
        self.try_export(&self.request(&["docker.io/library/app:v1"], volume_bytes_max)).unwrap()
    }

    pub fn try_import(&self) -> Result<ImportReport, ImportError> {
        let options = ImportOptions {
            set: None,
            principal: operator(),
            table_bytes_max: SET_TABLE_BYTES_MAX,
            judged_bytes_max: None,
            unenforced: self.unenforced.clone(),
        };
        import(self.high.store(), &self.high.keys, &self.policy, &self.medium, &options, &Silent)
    }

    /// Imports, expects a refusal whose whole text holds every one of `words`, and that nothing became visible.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) -> String {
        let blobs = self.high.blobs_count();
        let text = self.refused_at_a_glance(words);
        assert_eq!(self.high.blobs_count(), blobs, "{text}");
        text
    }

    /// The same without counting the files of the store, for a test that does it ten thousand times.
    #[track_caller]
    pub fn refused_at_a_glance(&self, words: &[&str]) -> String {
        let (before, writes) = (self.high.visible(), self.medium.writes_count());
        let text = whole_text(&self.try_import().expect_err("imported"));
        for word in words {
            assert!(text.contains(word), "'{word}' is not in: {text}");
        }
        assert_eq!(self.high.visible(), before, "{text}");
        assert_eq!(self.medium.writes_count(), writes, "an import writes to no medium");
        text
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        read_bounded(&RealDir::open(self.stick.path()).unwrap(), file, 1 << 30).unwrap()
    }

    /// The names of all files on the stick.
    pub fn read_names(&self) -> Vec<String> {
        let entries = RealDir::open(self.stick.path()).unwrap().list("").unwrap();
        entries.into_iter().filter(|entry| !entry.stat.is_dir).map(|entry| entry.name).collect()
    }

    /// Puts a file on the stick by other means than the product.
    pub fn put(&self, file: &str, content: &[u8]) {
        let dir = RealDir::open(self.stick.path()).unwrap();
        let file = dir.open_write(file, Create::Missing).unwrap();
        file.set_len(0).unwrap();
        file.write_at(content, 0).unwrap();
    }

    pub fn take_away(&self, file: &str) {
        RealDir::open(self.stick.path()).unwrap().remove(file).unwrap();
    }
}

fn stick() -> (TempDir, SimulatedMedium) {
    let stick = directory();
    let medium = SimulatedMedium::new(Arc::new(RealDir::open(stick.path()).unwrap()));
    assert!(medium.free_bytes().unwrap() > 0);
    (stick, medium)
}

/// An error with all its causes, as the command line prints it.
pub fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
