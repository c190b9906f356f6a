//! Layouts that are made and read back, and those of strangers that are not what they say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::assemble::{Assembled, Binary, Particulars, assemble};
use super::elf::Machine;
use super::elf::sample::program;
use super::gzip::unframed;
use super::{Layout, LayoutError, PushPlan};
use crate::limits::{BODY_CHUNK_BYTES, IMAGE_MANIFESTS_COUNT_MAX, INDEX_DEPTH_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::progress::Silent;
use crate::sys::dir::{Create, Dir as _};
use crate::sys::dir_real::RealDir;

struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn binary(&self, platform: &str, name: &str, content: &[u8]) -> Binary {
        let dir = RealDir::open(self.folder.path()).unwrap();
        let file = dir.open_write(name, Create::Missing).unwrap();
        file.write_at(content, 0).unwrap();
        Binary { platform: platform.parse().unwrap(), file, path: name.to_owned() }
    }

    fn assemble(&self, layout: &str, binaries: &[Binary], revision: Option<&str>) -> Result<Assembled, LayoutError> {
        let particulars = Particulars {
            created: "2026-01-31T00:00:00Z".parse().unwrap(),
            release: "1.2.3".parse().unwrap(),
            revision: revision.map(str::to_owned),
        };
        assemble(&RealDir::create(&self.path(layout)).unwrap(), binaries, &particulars, &Silent)
    }

    fn three(&self) -> [Binary; 3] {
        let large = vec![7; 2 * BODY_CHUNK_BYTES + 13];
        [
            self.binary("linux/arm/v7", "armv7", &program(Machine::Arm, 1, b"arm")),
            self.binary("linux/amd64", "amd64", &program(Machine::Amd64, 1, &large)),
            self.binary("linux/arm64", "arm64", &program(Machine::Arm64, 1, b"")),
        ]
    }

    /// Puts content into a stranger's layout.
    fn put(&self, bytes: &[u8]) -> Digest {
        let dir = RealDir::create(&self.path("strange/blobs/sha256")).unwrap();
        let digest = Digest::of(bytes);
        dir.open_write(&digest.hex(), Create::Missing).unwrap().write_at(bytes, 0).unwrap();
        digest
    }

    fn document(&self, media_type: &str, content: &Value) -> Value {
        let bytes = serde_json::to_vec(content).unwrap();
        json!({"mediaType": media_type, "digest": self.put(&bytes), "size": bytes.len()})
    }

    /// An image with one layer, and something that it is about where there is such.
    fn image(&self, layer: &str, subject: Option<&Value>) -> Value {
        let layer = json!({"mediaType": OCI_LAYER_GZIP, "digest": self.put(layer.as_bytes()), "size": layer.len()});
        let config = self.document(OCI_CONFIG, &json!({}));
        let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        if let Some(subject) = subject {
            manifest["subject"] = subject.clone();
        }
        self.document(OCI_MANIFEST, &manifest)
    }

    /// Opens a stranger's layout that lists this, and plans a push of it.
    fn plan(&self, listed: &[Value], name: Option<&str>) -> Result<PushPlan, LayoutError> {
        let dir = RealDir::create(&self.path("strange")).unwrap();
        let write = |name: &str, content: &Value| {
            crate::sys::dir::replace(&dir, name, &serde_json::to_vec(content).unwrap()).unwrap();
        };
        write("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
        write("index.json", &json!({"schemaVersion": 2, "manifests": listed}));
        Layout::open(Arc::new(dir)).unwrap().plan(name)
    }
}

fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let dir = RealDir::open(folder).unwrap();
    let (mut found, mut waiting) = (BTreeMap::new(), vec![String::new()]);
    while let Some(at) = waiting.pop() {
        for entry in dir.list(&at).unwrap() {
            let path = format!("{at}{}", entry.name);
            if entry.stat.is_dir {
                waiting.push(format!("{path}/"));
            } else {
                found.insert(path.clone(), crate::sys::dir::read_bounded(&dir, &path, usize::MAX).unwrap());
            }
        }
    }
    found
}

#[test]
fn equal_input_gives_equal_bytes_whatever_its_order() {
    let world = World::new();
    let mut binaries = world.three();
    let one = world.assemble("one", &binaries, Some("abc")).unwrap();
    binaries.reverse();
    assert_eq!(world.assemble("two", &binaries, Some("abc")).unwrap(), one);
    assert_eq!(files(&world.path("one")), files(&world.path("two")));
    // Another word about it is another image, of the same layers.
    let other = world.assemble("three", &binaries, None).unwrap();
    assert_ne!(other.digest, one.digest);
    let layers = |made: &Assembled| made.platforms.iter().map(|image| image.layer).collect::<Vec<_>>();
    assert_eq!(layers(&other), layers(&one));
}

#[test]
fn what_was_assembled_is_what_the_image_specification_says() {
    let world = World::new();
    let made = world.assemble("one", &world.three(), Some("abc")).unwrap();
    let files = files(&world.path("one"));
    let json = |digest: &str| -> Value {
        serde_json::from_slice(&files[&format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap())]).unwrap()
    };
    for (path, bytes) in &files {
        if let Some(hex) = path.strip_prefix("blobs/sha256/") {
            assert_eq!(Digest::of(bytes).hex(), hex);
        }
    }
    // Three platforms of three documents, an index, and the two files of the layout itself.
    assert_eq!(files.len(), 12, "{:?}", files.keys());
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    assert_eq!(index["manifests"][0]["digest"], made.digest.to_string());
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
    let image = json(&made.digest.to_string());
    let platforms: Vec<&Value> =
        image["manifests"].as_array().unwrap().iter().map(|child| &child["platform"]).collect();
    let arm = json!({"architecture": "arm", "os": "linux", "variant": "v7"});
    assert_eq!(
        platforms,
        [&json!({"architecture": "amd64", "os": "linux"}), &arm, &json!({"architecture": "arm64", "os": "linux"})]
    );
    let manifest = json(image["manifests"][1]["digest"].as_str().unwrap());
    let config = json(manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(config["variant"], "v7");
    assert_eq!(config["created"], "2026-01-31T00:00:00Z");
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let archive = unframed(&files[&format!("blobs/sha256/{layer}")]);
    assert_eq!(config["rootfs"]["diff_ids"][0], Digest::of(&archive).to_string());
    let expected = json!({
        "User": "65532:65532",
        "ExposedPorts": {"5000/tcp": {}},
        "Entrypoint": ["/usr/bin/postern", "--data", "/var/lib/postern"],
        "Cmd": ["serve"],
        "Volumes": {"/var/lib/postern": {}},
        "WorkingDir": "/",
        "Labels": manifest["annotations"],
    });
    assert_eq!(config["config"], expected);
    assert_eq!(manifest["annotations"]["org.opencontainers.image.revision"], "abc");
}

/// The archive's own format, byte by byte, beside what `tar` says of it in the integration test.
#[test]
fn the_layer_holds_the_binary_and_a_place_for_its_data() {
    let world = World::new();
    let content = program(Machine::Amd64, 1, &[9; 1_000]);
    let made = world.assemble("one", &[world.binary("linux/amd64", "b", &content)], None).unwrap();
    let stored = &files(&world.path("one"))[&format!("blobs/sha256/{}", made.platforms[0].layer.hex())];
    assert_eq!(stored.len() as u64, made.platforms[0].layer_bytes);
    let layer = unframed(stored);
    let (mut at, mut entries) = (0, Vec::new());
    while layer[at] != 0 {
        let text = |from: usize, len: usize| {
            let field = &layer[at + from..at + from + len];
            String::from_utf8(field.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
        };
        let octal = |from, len| u64::from_str_radix(text(from, len).trim(), 8).unwrap();
        assert_eq!((octal(136, 12), octal(108, 8)), (0, octal(116, 8)), "no time, and one owner");
        entries.push((text(0, 100), octal(100, 8), octal(108, 8)));
        let size = usize::try_from(octal(124, 12)).unwrap();
        if size > 0 {
            assert_eq!(layer[at + 512..at + 512 + size], content);
        }
        at += 512 + size.div_ceil(512) * 512;
    }
    assert_eq!(layer[at..], [0; 1024]);
    let expected = [
        ("usr/", 0o755, 0),
        ("usr/bin/", 0o755, 0),
        ("usr/bin/postern", 0o755, 0),
        ("var/", 0o755, 0),
        ("var/lib/", 0o755, 0),
        ("var/lib/postern/", 0o700, 65_532),
    ];
    assert_eq!(entries, expected.map(|(name, mode, owner)| (name.to_owned(), mode, owner)));
}

#[test]
fn nothing_is_written_for_a_binary_that_is_not_what_it_should_be() {
    let world = World::new();
    let check = |binaries: &[Binary], expected: &str| {
        let error = world.assemble("none", binaries, None).unwrap_err();
        let text = crate::error_chain::chain(&error);
        assert!(text.contains(expected), "{text}");
        assert!(files(&world.path("none")).is_empty());
    };
    let amd64 = program(Machine::Amd64, 1, b"");
    let good = world.binary("linux/amd64", "good", &amd64);
    check(&[], "no platform");
    check(&[good.clone(), world.binary("linux/riscv64", "r", &amd64)], "none of the platforms");
    check(&[good.clone(), good.clone()], "two binaries");
    check(&[good.clone(), world.binary("linux/arm64", "other", &amd64)], "another machine");
    check(&[world.binary("linux/amd64", "dynamic", &program(Machine::Amd64, 3, b""))], "dynamic loader");
    check(&[world.binary("linux/amd64", "script", b"#!/bin/sh\n")], "no ELF file");
    check(&[world.binary("linux/amd64", "cut", &amd64[..100])], "cut off");
    check(&[world.binary("linux/amd64", "empty", b"")], "no ELF file");
    world.assemble("full", std::slice::from_ref(&good), None).unwrap();
    assert!(matches!(world.assemble("full", &[good], None), Err(LayoutError::NotEmpty)));
}

#[test]
fn a_plan_lists_everything_once_and_children_first() {
    let world = World::new();
    let made = world.assemble("one", &world.three(), None).unwrap();
    let layout = Layout::open(Arc::new(RealDir::open(&world.path("one")).unwrap())).unwrap();
    let plan = layout.plan(None).unwrap();
    assert_eq!(plan, layout.plan(Some("1.2.3")).unwrap());
    assert_eq!(plan.image.digest, made.digest);
    let children: Vec<Digest> = plan.children.iter().map(|child| child.digest).collect();
    assert_eq!(children, made.platforms.iter().map(|image| image.digest).collect::<Vec<_>>());
    assert_eq!((plan.blobs.len(), plan.referrers.len()), (6, 0));
    assert!(matches!(layout.plan(Some("other")), Err(LayoutError::NoSuchImage(_))));
}

#[test]
fn what_speaks_of_an_image_goes_along_and_what_does_not_stays() {
    let world = World::new();
    let (image, other) = (world.image("one", None), world.image("two", None));
    let signature = world.image("signature", Some(&image));
    let of_it = world.image("of the signature", Some(&signature));
    let foreign = world.image("foreign", Some(&other));
    // The one that speaks of a signature stands before it.
    let listed = [of_it.clone(), named(image.clone(), "a"), signature.clone(), foreign, named(other, "b")];
    let plan = world.plan(&listed, Some("a")).unwrap();
    let referrers: Vec<String> = plan.referrers.iter().map(|manifest| manifest.digest.to_string()).collect();
    assert_eq!(referrers, [signature["digest"].as_str().unwrap(), of_it["digest"].as_str().unwrap()]);
    // Three layers, and the config that all of them share.
    assert_eq!(plan.blobs.len(), 4);
    let error = world.plan(&listed, None).unwrap_err().to_string();
    assert!(error.contains("2 images: a, b"), "{error}");
}

#[test]
fn a_layout_that_is_not_what_it_says_is_refused_by_name() {
    let world = World::new();
    let image = world.image("layer", None);
    let check = |listed: &[Value], expected: &str| {
        let error = world.plan(listed, None).unwrap_err();
        let text = crate::error_chain::chain(&error);
        assert!(text.contains(expected), "{expected:?} in {text}");
    };
    check(&[], "no image");
    check(&[json!({"mediaType": OCI_LAYER_GZIP, "digest": world.put(b"x"), "size": 1})], "no image");
    let absent = Digest::of(b"absent");
    check(&[json!({"mediaType": OCI_MANIFEST, "digest": absent, "size": 6})], &format!("lacks '{absent}'"));
    let mut wrong_size = image.clone();
    wrong_size["size"] = json!(5);
    check(&[wrong_size], "and should be 5");
    let mut huge = image;
    huge["size"] = json!(u64::MAX);
    check(&[huge], "bytes of manifests");
    let child = json!({"mediaType": OCI_MANIFEST, "digest": absent, "size": 6, "platform": {"os": "linux", "architecture": "s390x"}});
    let index = world.document(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": [child]}));
    check(&[index], &format!("lacks '{absent}', the image for linux/s390x"));
    let no_layer = json!({"mediaType": OCI_LAYER_GZIP, "digest": absent, "size": 0});
    let config = world.document(OCI_CONFIG, &json!({}));
    let manifest = world.document(OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [no_layer]}));
    check(&[manifest], "is damaged");
    check(&[world.document(OCI_MANIFEST, &json!({"schemaVersion": 1}))], "schema 1");
}

#[test]
fn a_manifest_that_was_changed_is_refused_by_name() {
    let world = World::new();
    let image = world.image("layer", None);
    let digest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    let dir = RealDir::open(&world.path("strange/blobs/sha256")).unwrap();
    dir.open_write(&digest.hex(), Create::Existing).unwrap().write_at(b" ", 1).unwrap();
    let error = world.plan(&[image], None).unwrap_err();
    assert!(matches!(&error, LayoutError::Content { expected, .. } if *expected == digest), "{error}");
}

#[test]
fn neither_depth_nor_number_is_without_a_bound() {
    let world = World::new();
    let mut image = world.image("layer", None);
    for _ in 0..=INDEX_DEPTH_COUNT_MAX {
        image = world.document(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": [image]}));
    }
    let error = world.plan(&[image], None).unwrap_err();
    assert!(matches!(error, LayoutError::TooMuch { what: "levels of index in index", .. }), "{error}");
    let image = world.image("layer", None);
    let error = world.plan(&vec![image; IMAGE_MANIFESTS_COUNT_MAX + 1], None).unwrap_err();
    assert!(matches!(error, LayoutError::TooMuch { what: "manifests", .. }), "{error}");
}

#[test]
fn only_a_layout_is_opened() {
    let world = World::new();
    let dir = RealDir::create(&world.path("other")).unwrap();
    assert!(matches!(Layout::open(Arc::new(dir.clone())), Err(LayoutError::NoLayout)));
    crate::sys::dir::replace(&dir, "oci-layout", b"{\"imageLayoutVersion\":\"9\"}").unwrap();
    assert!(matches!(Layout::open(Arc::new(dir)), Err(LayoutError::Marker(_))));
}
