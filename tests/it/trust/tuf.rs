//! Updates of trust by TUF, on the command path: a repository of our own, whole, and every attack that TUF has a name for.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use jiff::Timestamp;
use postern::sys::clock::{RELEASED, trusted_now};
use postern::verify::tuf::{Accepted, FileError, Files, Versions, update};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{Stand, private_key};
use crate::crossing::appliance::Appliance;
use crate::process::Ran;

const LATER: &str = "2099-01-01T00:00:00Z";
/// When the updates say that they were signed.
const ISSUED: &str = "2026-11-05T00:00:00Z";
const PAST: &str = "2026-01-01T00:00:00Z";
const REFUSED: Option<i32> = Some(3);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key"))
    }

    fn point(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    fn id(&self) -> String {
        sha256(self.point().as_bytes())
    }

    fn written(&self) -> Value {
        json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": self.point()}})
    }
}

/// Metadata under signatures. Nothing in it needs to be escaped, so that what is written is canonical.
fn signed(content: &Value, keys: &[&Key]) -> Vec<u8> {
    let canonical = serde_json::to_vec(content).expect("JSON");
    let sign = |key: &&Key| {
        let signature = key.0.sign(&SystemRandom::new(), &canonical).expect("a signature");
        json!({"keyid": key.id(), "sig": hex(signature.as_ref())})
    };
    let signatures: Vec<Value> = keys.iter().map(sign).collect();
    serde_json::to_vec(&json!({"signed": content, "signatures": signatures})).expect("JSON")
}

/// Whoever signs the updates.
struct Publisher {
    root: Key,
    online: Key,
    targets: Key,
    root_version: u64,
    expires: &'static str,
}

impl Publisher {
    fn new() -> Self {
        Self { root: Key::new(), online: Key::new(), targets: Key::new(), root_version: 1, expires: LATER }
    }

    fn root_json(&self, before: Option<&Key>) -> Vec<u8> {
        let role = |key: &Key| json!({"keyids": [key.id()], "threshold": 1});
        let keys: serde_json::Map<String, Value> =
            [&self.root, &self.online, &self.targets].map(|key| (key.id(), key.written())).into_iter().collect();
        let content = json!({
            "_type": "root", "spec_version": "1.0.31", "version": self.root_version, "expires": LATER,
            "consistent_snapshot": true, "keys": keys,
            "roles": {
                "root": role(&self.root), "timestamp": role(&self.online), "snapshot": role(&self.online),
                "targets": role(&self.targets),
            },
        });
        signed(&content, &before.into_iter().chain([&self.root]).collect::<Vec<_>>())
    }

    /// Writes a repository in which every role below the root has `version`.
    fn publish(&self, folder: &Path, version: u64, targets: &[(&str, &str)]) {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is ours");
            std::fs::write(path, bytes).expect("the folder is ours");
        };
        let head = |role: &str, more: (&str, Value)| json!({"_type": role, "spec_version": "1.0.31", "version": version, "expires": self.expires, more.0: more.1});
        let mut listed = serde_json::Map::new();
        for (name, text) in targets {
            write(&format!("targets/{name}"), text.as_bytes());
            listed.insert(
                (*name).to_owned(),
                json!({"length": text.len(), "hashes": {"sha256": sha256(text.as_bytes())}}),
            );
        }
        let listing =
            |bytes: &[u8]| json!({"version": version, "length": bytes.len(), "hashes": {"sha256": sha256(bytes)}});
        let targets = signed(&head("targets", ("targets", listed.into())), &[&self.targets]);
        let snapshot = head("snapshot", ("meta", json!({"targets.json": listing(&targets)})));
        let snapshot = signed(&snapshot, &[&self.online]);
        let mut timestamp = head("timestamp", ("meta", json!({"snapshot.json": listing(&snapshot)})));
        timestamp["x-issued"] = ISSUED.into();
        write(&format!("{version}.targets.json"), &targets);
        write(&format!("{version}.snapshot.json"), &snapshot);
        write("timestamp.json", &signed(&timestamp, &[&self.online]));
    }
}

/// An appliance that has accepted root 1 and version 1 of everything.
struct World {
    folder: TempDir,
    appliance: Appliance<'static>,
    publisher: Publisher,
}

impl World {
    #[track_caller]
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let appliance = Appliance::set_up(folder.path(), "box", None);
        let publisher = Publisher::new();
        let world = Self { folder, appliance, publisher };
        let first = world.place("first");
        world.publisher.publish(&first, 1, &[("key/release.pem", &private_key().1)]);
        std::fs::write(first.join("pinned.json"), world.publisher.root_json(None)).expect("the folder is ours");
        world.appliance.run(["trust", "add", "--tuf", &shown(&first), "--name", "site"]).failed_saying("--root FILE");
        let pinned = shown(&first.join("pinned.json"));
        world.appliance.run(["trust", "add", "--tuf", &shown(&first), "--name", "site", "--root", &pinned]).succeeded();
        world
    }

    /// A folder, made now.
    fn place(&self, name: &str) -> PathBuf {
        let place = self.folder.path().join(name);
        std::fs::create_dir_all(&place).expect("the folder is ours");
        place
    }

    #[track_caller]
    fn update(&self, place: &Path, more: &[&str]) -> Ran {
        let place = shown(place);
        let fixed = ["trust", "add", "--tuf", &place, "--name", "site"];
        self.appliance.run(fixed.into_iter().chain(more.iter().copied()))
    }

    /// Refused as refused, for this reason, and nothing is there that was not there before.
    #[track_caller]
    fn refuses(&self, place: &Path, reason: &str) {
        let objects = || std::fs::read_dir(self.appliance.data().join("trust/objects")).expect("it is there").count();
        let before = objects();
        let ran = self.update(place, &[]).failed_saying(reason);
        assert_eq!(ran.status.code(), REFUSED, "{}", ran.report());
        assert_eq!(objects(), before);
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn an_update_walks_from_root_to_root_and_brings_new_versions() {
    let mut world = World::new();
    let old = std::mem::replace(&mut world.publisher.root, Key::new());
    world.publisher.root_version = 2;
    let second = world.place("second");
    let (key, root) = (private_key().1, include_str!("../../../src/verify/sigstore/roots/public-good.json"));
    world.publisher.publish(&second, 2, &[("key/release.pem", &key), ("trusted_root.json", root), ("notes.txt", "x")]);
    // A root that the one before has not signed leads nowhere; neither does one that skips another.
    std::fs::write(second.join("2.root.json"), world.publisher.root_json(None)).unwrap();
    world.refuses(&second, "0 keys of the role 'root' have signed");
    std::fs::write(second.join("2.root.json"), world.publisher.root_json(Some(&old))).unwrap();
    world.publisher.root_version = 4;
    std::fs::write(second.join("root.json"), world.publisher.root_json(None)).unwrap();
    world.refuses(&second, "3.root.json");
    std::fs::remove_file(second.join("root.json")).unwrap();
    let report: Value = serde_json::from_str(&world.update(&second, &["--json"]).succeeded().text()).unwrap();
    assert_eq!((&report["before"]["root"], &report["versions"]["root"]), (&json!(1), &json!(2)));
    assert_eq!(report["ignored"], json!(["notes.txt"]));
    let objects = world.appliance.json(["trust", "list"]);
    let names: Vec<String> = objects["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|known| format!("{}@{}", known["object"].as_str().unwrap(), known["version"]))
        .collect();
    assert_eq!(names, ["key/release@1", "key/release@2", "root/site@1"]);
    // What was signed out there says how late it is at least.
    assert_eq!(world.appliance.json(["trust", "time", "show"])["floor"], ISSUED);
    // Again it is the same; and the first root is nobody's any more.
    let again: Value = serde_json::from_str(&world.update(&second, &["--json"]).succeeded().text()).unwrap();
    assert!(again["objects"].as_array().unwrap().iter().all(|added| added["already_there"] == true));
    let other_root = shown(&world.place("first").join("pinned.json"));
    world.update(&second, &["--root", &other_root]).failed_saying("has a root already");
}

/// Rollback: what was accepted is not undone by what is older, whatever is done to the memory of it.
#[test]
fn rollback() {
    let world = World::new();
    let (first, second) = (world.place("first"), world.place("second"));
    world.publisher.publish(&second, 2, &[]);
    world.update(&second, &[]).succeeded();
    world.refuses(&first, "version 1 is older than version 2");
    world.appliance.run(["store", "rebuild"]).succeeded();
    world.refuses(&first, "version 1 is older than version 2");
    std::fs::remove_file(world.appliance.data().join("trust/tuf/site/state.json")).unwrap();
    world.refuses(&first, "version 1 is older than version 2");
}

/// A restore brings the journal and not the memory beside it: the root that the journal names is found in the update, or asked
/// for, and no other is taken for it, whatever its number.
#[test]
fn a_lost_root_is_only_replaced_by_itself() {
    let world = World::new();
    let (second, pinned) = (world.place("second"), world.place("first").join("pinned.json"));
    let root = std::fs::read(&pinned).unwrap();
    world.publisher.publish(&second, 2, &[]);
    let lose = || std::fs::remove_dir_all(world.appliance.data().join("trust/tuf")).unwrap();
    lose();
    let wanted = format!("give root 1 of sha256:{}", sha256(&root));
    world.update(&second, &[]).failed_saying(&wanted);
    let foreign = world.folder.path().join("foreign.json");
    for root_version in [1, 2] {
        std::fs::write(&foreign, Publisher { root_version, ..Publisher::new() }.root_json(None)).unwrap();
        let refused = world.update(&second, &["--root", &shown(&foreign)]).failed_saying(&wanted);
        assert_eq!(refused.status.code(), REFUSED, "{}", refused.report());
    }
    let beside = second.join("1.root.json");
    std::fs::write(&beside, Publisher::new().root_json(None)).unwrap();
    world.update(&second, &[]).failed_saying(&wanted);
    std::fs::write(&beside, &root).unwrap();
    world.update(&second, &[]).succeeded();
    std::fs::remove_file(&beside).unwrap();
    lose();
    world.update(&second, &["--root", &shown(&pinned)]).succeeded();
    // Nor is it exchanged where it lies.
    std::fs::write(world.appliance.data().join("trust/tuf/site/root.json"), Publisher::new().root_json(None)).unwrap();
    world.refuses(&second, "is not root 1");
}

/// Whoever signs updates goes on with nothing that was begun by hand.
#[test]
fn an_update_goes_on_with_its_own_objects_alone() {
    let world = World::new();
    let own = world.folder.path().join("own.pem");
    std::fs::write(&own, private_key().1).unwrap();
    world.appliance.run(["trust", "add", "key/site", &shown(&own)]).succeeded();
    let second = world.place("second");
    world.publisher.publish(&second, 2, &[("key/site.pem", &private_key().1)]);
    world.refuses(&second, "would go on with 'key/site'");
}

/// Freeze: what is never renewed ends. Somebody may take it all the same, and has then said why.
#[test]
fn freeze() {
    let mut world = World::new();
    let second = world.place("second");
    world.publisher.expires = PAST;
    world.publisher.publish(&second, 2, &[("key/release.pem", &private_key().1)]);
    world.refuses(&second, "expired at 2026-01-01");
    let reason = "the courier was ill";
    let taken = world.update(&second, &["--accept-expired", reason, "--json"]).succeeded().text();
    let taken: Value = serde_json::from_str(&taken).unwrap();
    let roles: Vec<_> = taken["expired"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["timestamp", "snapshot", "targets"]);
    let out = world.folder.path().join("journal");
    world.appliance.run(["audit", "export", "--out", &shown(&out)]).succeeded();
    let mut kept = false;
    for entry in std::fs::read_dir(world.appliance.data().join("journal")).unwrap().flatten() {
        kept |= String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).contains(reason);
    }
    assert!(kept, "the reason stands in the journal");
    // Nothing else is let through by it.
    world.publisher.publish(&second, 1, &[]);
    world.update(&second, &["--accept-expired", reason]).failed_saying("is older than version 2");
}

/// Fast-forward: whoever held the online key has used up its versions. Another key, in the next root, begins anew.
#[test]
fn fast_forward() {
    let mut world = World::new();
    let second = world.place("second");
    world.publisher.publish(&second, 9_007_199_254_740_991, &[]);
    world.update(&second, &[]).succeeded();
    let third = world.place("third");
    world.publisher.publish(&third, 2, &[]);
    world.refuses(&third, "is older than version 9007199254740991");
    world.publisher.online = Key::new();
    world.publisher.root_version = 2;
    world.publisher.publish(&third, 2, &[]);
    std::fs::write(third.join("2.root.json"), world.publisher.root_json(None)).unwrap();
    world.update(&third, &[]).succeeded();
    // From here on versions rise again.
    world.publisher.publish(&second, 1, &[]);
    world.refuses(&second, "is older than version 2");
}

/// Mix-and-match: each file is genuine, and they do not belong together.
#[test]
fn mix_and_match() {
    let world = World::new();
    let (second, third) = (world.place("second"), world.place("third"));
    world.publisher.publish(&second, 2, &[("key/release.pem", &private_key().1)]);
    world.publisher.publish(&third, 3, &[("key/release.pem", &private_key().1)]);
    let copy = |from: &Path, name: &str, to: &Path, as_name: &str| {
        std::fs::create_dir_all(to).unwrap();
        std::fs::copy(from.join(name), to.join(as_name)).unwrap();
    };
    copy(&second, "2.snapshot.json", &third, "3.snapshot.json");
    world.refuses(&third, "is not what the metadata above it names");
    world.publisher.publish(&third, 3, &[("key/release.pem", &private_key().1)]);
    copy(&second, "2.targets.json", &third, "3.targets.json");
    world.refuses(&third, "is not what the metadata above it names");
    world.publisher.publish(&third, 3, &[("key/release.pem", &private_key().1)]);
    copy(&second, "targets/key/release.pem", &third, "targets/key/release.pem");
    world.refuses(&third, "is not what the metadata above it names");
    // The same version with another content, as a key that is used twice would make it.
    world.publisher.publish(&third, 3, &[("key/release.pem", &private_key().1)]);
    let stranger = Publisher::new();
    stranger.publish(&third, 3, &[]);
    world.refuses(&third, "0 keys of the role 'timestamp' have signed");
}

/// Endless data: a file longer than may be is not read, whatever it is called.
#[test]
fn endless_data() {
    let world = World::new();
    let second = world.place("second");
    let key = private_key().1;
    let endless = |name: &str| {
        let file = std::fs::File::options().create(true).write(true).truncate(false).open(second.join(name)).unwrap();
        // Sparse: nothing of it is on the disk.
        file.set_len(1 << 40).unwrap();
    };
    for name in ["timestamp.json", "2.snapshot.json", "2.targets.json", "2.root.json", "targets/key/release.pem"] {
        world.publisher.publish(&second, 2, &[("key/release.pem", &key)]);
        endless(name);
        world.refuses(&second, "the most is");
        std::fs::remove_file(second.join(name)).unwrap();
    }
    assert_eq!(world.appliance.json(["trust", "list"])["objects"].as_array().map(Vec::len), Some(1));
    world.publisher.publish(&second, 2, &[("key/release.pem", &key)]);
    world.update(&second, &[]).succeeded();
}

/// A directory, read as the command reads it.
struct Directory(PathBuf);

impl Files for Directory {
    fn read(&self, name: &str, _limit_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
        Ok(std::fs::read(self.0.join(name)).ok())
    }
}

/// With no clock at all, what had expired when this release was made is refused, and what has not is taken; a clock that has
/// run away takes nothing.
#[test]
fn expired_roots_and_clocks_that_are_wrong() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    let mut publisher = Publisher::new();
    let accepted = Accepted { root: publisher.root_json(None), versions: Versions::default() };
    let at = |wall: &str| {
        let now = trusted_now(time(wall), RELEASED);
        update(&accepted, &Directory(folder.path().to_owned()), now, false).map_err(|error| error.is_expiry())
    };
    publisher.publish(folder.path(), 1, &[]);
    assert!(at("1970-01-01T00:00:00Z").is_ok());
    assert!(at("2026-12-01T00:00:00Z").is_ok());
    assert!(at("2099-06-01T00:00:00Z").unwrap_err(), "it is past its time then");
    publisher.expires = PAST;
    publisher.publish(folder.path(), 2, &[]);
    assert!(at("1970-01-01T00:00:00Z").unwrap_err(), "a clock at 1970 makes nothing fresh again");
}

/// As it crosses the gap: an artifact, pushed here as it would be imported.
#[test]
fn an_update_is_taken_out_of_an_artifact_of_the_store() {
    let Some(clients) = crate::clients::Clients::find(&["oras"]) else { return };
    let Some(stand) = Stand::new() else { return };
    let clients = clients.trusting(stand.serving.endpoint.authority.as_ref().expect("setup made a certificate"));
    let publisher = Publisher::new();
    publisher.publish(clients.home(), 1, &[("key/release.pem", &private_key().1)]);
    let root = stand.write("root.json", &String::from_utf8(publisher.root_json(None)).expect("JSON"));
    let place = format!("{}/trust/update:1", stand.serving.address());
    let files = ["timestamp.json", "1.snapshot.json", "1.targets.json", "targets/key/release.pem"];
    clients.succeed("oras", ["push", &place].into_iter().chain(files));
    let update = ["trust", "add", "--tuf-image", "trust/update:1", "--name", "site"];
    let taken = stand.appliance.json(update.into_iter().chain(["--root", &root]));
    assert_eq!((&taken["versions"]["targets"], &taken["objects"][0]["object"]), (&json!(1), &json!("key/release")));
    clients.succeed("oras", ["push", &place].into_iter().chain(files.into_iter().take(3)));
    let lacking = stand.appliance.run(update).failed_saying("'targets/key/release.pem' of the update is not there");
    assert_eq!(lacking.status.code(), Some(2), "{}", lacking.report());
}
