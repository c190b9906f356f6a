//! Content rules: images of one to three layers, and every way to satisfy a rule or to miss it.

use serde_json::{Value, json};

use super::World;
use crate::admission::layer::LayerError;
use crate::admission::{Candidate, Judgement, judge};
use crate::oci::digest::Digest;
use crate::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::verify::TrustPolicy;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const NOW: &str = "2026-11-30T00:00:00Z";

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

impl World {
    fn rule(&mut self, content: &str) {
        let text = format!(
            "version = 1\n[[rule]]\nname = \"fit\"\nrepositories = [\"apps/**\", \"strict/*\"]\n[rule.content]\n{content}\n"
        );
        self.policy = TrustPolicy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn built(&mut self, config: &Value, layers: &[&[(&str, &[u8])]]) -> Digest {
        let config = self.put_blob(OCI_CONFIG, &serde_json::to_vec(config).unwrap());
        let layers: Vec<Value> = layers.iter().map(|files| self.put_blob(LAYER, &archive(files))).collect();
        self.manifest(OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    /// Why it is refused; nothing where it comes in.
    fn refusal(&self, root: Digest) -> Option<String> {
        let candidate = Candidate { repository: "apps/a".parse().unwrap(), original: None, root, tags: Vec::new() };
        match judge(&self.policy, &candidate, self, NOW.parse().unwrap()).unwrap() {
            Judgement::Admitted(_) => None,
            Judgement::Refused { refusal, .. } => {
                assert_eq!(refusal.rule, "fit");
                Some(refusal.reason)
            }
        }
    }

    #[track_caller]
    fn check(&mut self, config: &Value, layers: &[&[(&str, &[u8])]], expected: Option<&str>) {
        let root = self.built(config, layers);
        let reason = self.refusal(root);
        match expected {
            None => assert_eq!(reason, None),
            Some(text) => assert!(reason.as_ref().is_some_and(|reason| reason.contains(text)), "{reason:?}: {text}"),
        }
    }
}

fn user(user: &str) -> Value {
    json!({"os": "linux", "architecture": "amd64", "config": {"User": user}})
}

#[test]
fn who_runs_it_is_not_root_under_any_name() {
    let mut world = World::new();
    world.rule("non_root = true");
    let users: &[(&str, &[u8])] = &[("etc/passwd", b"root:x:0:0:::\napp:x:1000:1000:::\ntoor:x:0:0:::\n")];
    world.check(&user("65532"), &[], None);
    world.check(&user("1000:0"), &[], None);
    world.check(&user(""), &[], Some("linux/amd64: it says no user, and so runs as root"));
    world.check(&json!({}), &[], Some("it says no user"));
    world.check(&user("0"), &[], Some("user 0, which is root"));
    world.check(&user("00:5"), &[], Some("user 0, which is root"));
    world.check(&user("root"), &[], Some("as user 'root'"));
    world.check(&user("app"), &[users], None);
    world.check(&user("toor"), &[users], Some("another name for root"));
    world.check(&user("ghost"), &[users], Some("no number in its etc/passwd"));
    world.check(&user("app"), &[], Some("no number in its etc/passwd"));
    world.check(&user("app"), &[users, &[("etc/passwd", b"app:x:0:0:::\n")]], Some("another name for root"));
    world.check(&user("app"), &[users, &[("etc/.wh.passwd", b"")]], Some("no number in its etc/passwd"));
    world.check(&user("app"), &[&[("etc/passwd", b"app:x:0:0:::\n")], users], None);
    for unclear in ["-0", "+0", "+5", " app", "4294967296", "\u{e4}pp"] {
        world.check(&user(unclear), &[users], Some("neither a number nor a name"));
    }
    world.check(&user(&"a".repeat(1_001)), &[users], Some("user is longer than is read"));
    // One line that runtimes read in two ways, and nothing is known of anybody.
    let short: &[(&str, &[u8])] = &[("etc/passwd", b"app:x:1000:1000:::\n app:x:0\n")];
    world.check(&user("app"), &[short], Some("no number in its etc/passwd"));
    // What is there instead of the directory leads nobody knows where.
    world.check(&user("app"), &[users, &[("etc", b"")]], Some("no number in its etc/passwd"));
}

/// A runtime that goes by the media type and one that goes by the first bytes must unpack the same.
#[test]
fn a_layer_is_packed_as_its_media_type_says() {
    let mut world = World::new();
    world.rule("no_shell = true");
    let plain = archive(&[("srv/a", b"x")]);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, &plain).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    let mut check = |media_type: &str, bytes: &[u8], expected: Option<&str>| {
        let (config, layer) = (world.put_blob(OCI_CONFIG, b"{}"), world.put_blob(media_type, bytes));
        let root = world.manifest(OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}));
        let reason = world.refusal(root);
        match expected {
            None => assert_eq!(reason, None, "{media_type}"),
            Some(text) => assert!(reason.as_ref().is_some_and(|reason| reason.contains(text)), "{reason:?}: {text}"),
        }
    };
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    for (media_type, bytes) in
        [(LAYER, &plain), (&format!("{LAYER}+gzip"), &gzip), (docker, &gzip), (&format!("{LAYER}+zstd"), &zstd)]
    {
        check(media_type, bytes, None);
    }
    check(LAYER, &gzip, Some("it is packed with nothing, and it is with gzip"));
    check(&format!("{LAYER}+gzip"), &plain, Some("packed with gzip, and it is with nothing"));
    check(docker, &zstd, Some("packed with gzip, and it is with zstd"));
    check(&format!("{LAYER}+zstd"), &gzip, Some("packed with zstd, and it is with gzip"));
    for other in [
        "application/octet-stream",
        &format!("{LAYER}+encrypted"),
        &format!("{LAYER}+gzip; a=b"),
        &format!("{LAYER}+gzip+zstd"),
    ] {
        check(other, &gzip, Some("is none of an archive"));
    }
}

/// A layer whose bytes cannot be looked into ends the looking, and what is left satisfies no rule.
#[test]
fn behind_an_image_that_cannot_be_looked_into_nothing_is_read() {
    let mut world = World::new();
    world.rule("no_shell = true");
    let images: Vec<Digest> =
        [b"1", b"2", b"3"].map(|content| world.built(&json!({}), &[&[("srv/a", &content[..])]])).to_vec();
    let children: Vec<Value> = images.iter().map(|image| world.listed(image)).collect();
    let root = world.manifest(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": children}));
    let layer = |content: &[u8]| Digest::of(&archive(&[("srv/a", content)]));
    world.blobs.insert(layer(b"2"), b"other bytes".to_vec());
    let (media_type, bytes) = world.manifests[&root].clone();
    let manifest = crate::oci::manifest::Manifest::parse(&bytes, &media_type).unwrap();
    let wanted = world.policy.content_wanted(&"apps/a".parse().unwrap(), None).unwrap();
    let seen = crate::admission::inspect::inspect(&world, &manifest, &wanted).unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen[0].files.is_ok() && seen[2].config.is_err());
    assert!(seen[1].files.as_ref().unwrap_err().contains(&LayerError::Corrupt.to_string()));
    assert!(seen[2].files.as_ref().unwrap_err().contains("an image beside it cannot be"));
}

#[test]
fn labels_are_there_and_match() {
    let mut world = World::new();
    world.rule("labels = { team = \"payments\", \"org.opencontainers.image.source\" = \"https://git.example/*\" }");
    let labels = |labels: Value| json!({"config": {"Labels": labels}});
    let source = "org.opencontainers.image.source";
    world.check(&labels(json!({"team": "payments", source: "https://git.example/a"})), &[], None);
    world.check(&labels(json!({"team": "payments"})), &[], Some("it has no label 'org.opencontainers.image.source'"));
    world.check(
        &labels(json!({"team": "payment", source: "https://git.example/a"})),
        &[],
        Some("wanted is 'payments'"),
    );
    world.check(&labels(json!({"team": "payments", source: "https://git.example.evil/a"})), &[], Some("label"));
    world.check(&json!({}), &[], Some("it has no label"));
}

/// What a later layer takes away is not there; what it puts back is.
#[test]
fn what_lies_in_the_layers_counts_as_a_runtime_sees_it() {
    let mut world = World::new();
    world.rule("no_shell = true\nno_package_manager = true\nforbidden_paths = [\"/root/**\"]");
    let config = json!({"os": "linux", "architecture": "arm64"});
    let base: &[(&str, &[u8])] = &[("bin/sh", b"x"), ("usr/bin/apt", b"x"), ("root/.ssh/id", b"x"), ("srv/app", b"x")];
    world.check(&config, &[&[("srv/app", b"x")]], None);
    world.check(&config, &[base], Some("linux/arm64: there is a shell in it: 'bin/sh'"));
    let no_shell: &[(&str, &[u8])] = &[("bin/.wh.sh", b"")];
    let no_manager: &[(&str, &[u8])] = &[("usr/.wh.bin", b"")];
    let emptied: &[(&str, &[u8])] = &[("root/.wh..wh..opq", b"")];
    world.check(&config, &[base, no_shell], Some("a package manager in it: 'usr/bin/apt'"));
    world.check(&config, &[base, no_shell, no_manager], Some("a forbidden path in it: 'root/.ssh/id'"));
    world.check(&config, &[base, no_shell, no_manager, emptied], None);
    // Taken away below, or before it was there, is not taken away.
    world.check(&config, &[no_shell, no_manager, emptied, base], Some("shell"));
    world.check(&config, &[base, no_shell, no_manager, emptied, &[("bin/sh", b"x")]], Some("shell"));
    world.check(&config, &[base, no_manager, emptied, &[("bin/.wh.shx", b"")]], Some("shell"));
    world.check(&config, &[base, no_shell, no_manager, &[("roo/.wh..wh..opq", b"")]], Some("forbidden"));
    // A mark at the root, and one on what the layer itself brings.
    world.check(&config, &[base, &[(".wh..wh..opq", b"")]], Some("shell"));
    world.check(&config, &[base, no_manager, emptied, &[(".wh.bin", b""), ("bin/x", b"")]], Some("shell"));
    world.check(&config, &[base, no_manager, emptied, &[("bin/x", b""), (".wh.bin", b"")]], Some("shell"));
    world.check(&config, &[base, no_manager, emptied, &[(".wh.bin", b"")], &[("bin/x", b"")]], None);
}

#[test]
fn sizes_have_budgets_by_number_and_by_runtime() {
    let mut world = World::new();
    let large = vec![0; 1024 * 1024];
    let files: &[(&str, &[u8])] = &[("a", &large), ("b", b"")];
    let labelled = |runtime: &str| json!({"config": {"Labels": {"runtime": runtime}}});
    world.rule("size_mebibytes_max = 2");
    world.check(&json!({}), &[files, files], None);
    // What is taken away again is carried all the same.
    world.check(
        &json!({}),
        &[files, files, &[("c", b"x"), (".wh.a", b"")]],
        Some("it is 3 MiB unpacked, and at the most 2 MiB"),
    );
    world.rule("size_budget = \"go\"");
    world.check(&json!({}), &[files], None);
    world.check(&json!({}), &[files; 51], Some("at the most 50 MiB"));
    world.rule("size_budget_label = \"runtime\"");
    world.check(&labelled("python"), &[files; 51], None);
    world.check(&labelled("rust"), &[files; 51], Some("at the most 50 MiB are allowed for 'rust'"));
    world.check(&labelled("cobol"), &[files], Some("for which there is no size budget"));
    world.check(&json!({}), &[files], Some("it has no label 'runtime'"));
}

#[test]
fn a_base_grows_old() {
    let mut world = World::new();
    world.rule("base_age_days_max = 30");
    let made = |base: &str| json!({"created": NOW, "history": [{"created": base}, {"created": NOW}]});
    world.check(&made("2026-11-01T00:00:00Z"), &[], None);
    world.check(&made("2026-10-31T00:00:00Z"), &[], None);
    world.check(&made("2026-10-30T00:00:00Z"), &[], Some("31 days ago, and at the most 30 are allowed"));
    world.check(&made("1970-01-01T00:00:00Z"), &[], Some("days ago"));
    world.check(&made("2026-11-30T12:00:00Z"), &[], None);
    world.check(&made("2027-01-01T00:00:00Z"), &[], Some("lies ahead of now"));
    world.check(&made("yesterday"), &[], Some("does not say when"));
    world.check(&json!({}), &[], Some("does not say when"));
}

/// What is not here, or is not what the manifest names, satisfies nothing, and the refusal names it.
#[test]
fn what_cannot_be_looked_into_satisfies_nothing() {
    let mut world = World::new();
    world.rule("no_shell = true");
    let root = world.built(&json!({}), &[&[("a", b"1")]]);
    assert_eq!(world.refusal(root), None);
    let root = world.built(&json!({}), &[&[("b", b"2")]]);
    let layer = Digest::of(&archive(&[("b", b"2")]));
    let bytes = world.blobs.remove(&layer).unwrap();
    let reason = world.refusal(root).unwrap();
    assert!(reason.contains(&format!("layer '{layer}' is not here")), "{reason}");
    world.blobs.insert(layer, archive(&[("c", b"3")]));
    let reason = world.refusal(root).unwrap();
    assert!(reason.contains(&LayerError::Corrupt.to_string()), "{reason}");
    world.blobs.insert(layer, bytes);
    assert_eq!(world.refusal(root), None);
    // A config that is missing or another one.
    world.rule("labels = { a = \"*\" }");
    let root = world.built(&json!({"config": {"Labels": {"a": "b"}}}), &[]);
    assert_eq!(world.refusal(root), None);
    let config = Digest::of(br#"{"config":{"Labels":{"a":"b"}}}"#);
    world.blobs.insert(config, br#"{"config":{"Labels":{"a":"c"}}}"#.to_vec()).unwrap();
    assert!(world.refusal(root).unwrap().contains("does not hash"));
    world.blobs.remove(&config);
    assert!(world.refusal(root).unwrap().contains(&format!("config '{config}' is not here")));
    // Something that is no image.
    world.rule("no_shell = true");
    let config = world.put_blob("application/vnd.cncf.helm.config.v1+json", b"{}");
    let chart = world.put_blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"chart");
    let root = world.manifest(OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [chart]}));
    assert!(world.refusal(root).unwrap().contains("cannot be looked into"));
}

#[test]
fn every_platform_counts_and_statements_are_none() {
    let mut world = World::new();
    world.rule("no_shell = true");
    let good = world.built(&json!({"os": "linux", "architecture": "amd64"}), &[&[("srv/a", b"x")]]);
    let bad = world.built(&json!({"os": "linux", "architecture": "arm64"}), &[&[("bin/sh", b"x")]]);
    let statement = |world: &mut World, layers: &[&str]| {
        let config = world.put_blob(OCI_CONFIG, b"{}");
        let layers: Vec<Value> = layers.iter().map(|kind| world.put_blob(kind, b"{}")).collect();
        let body = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let digest = world.manifest(OCI_MANIFEST, &body);
        let mut listed = world.listed(&digest);
        listed["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        listed
    };
    let index = |world: &mut World, children: Vec<Value>| {
        world.manifest(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": children}))
    };
    let statements = statement(&mut world, &["application/vnd.in-toto+json"]);
    let listed = [good, bad].map(|digest| world.listed(&digest));
    let root = index(&mut world, vec![listed[0].clone(), statements.clone()]);
    assert_eq!(world.refusal(root), None);
    let root = index(&mut world, vec![listed[0].clone(), listed[1].clone(), statements.clone()]);
    assert!(world.refusal(root).unwrap().starts_with("linux/arm64: there is a shell"));
    // What is called a statement and holds a layer is an image.
    let disguised = statement(&mut world, &["application/vnd.in-toto+json", LAYER]);
    let root = index(&mut world, vec![listed[0].clone(), disguised]);
    assert!(world.refusal(root).unwrap().contains("cannot be looked into"));
    // So is what is called one and is no document, or is not here.
    let config = world.put_blob(OCI_CONFIG, b"{}");
    for bytes in [archive(&[("bin/sh", b"x")]), b"{} {}".to_vec()] {
        let layer = world.put_blob("application/vnd.in-toto+json", &bytes);
        let body = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        let disguised = world.manifest(OCI_MANIFEST, &body);
        let children = vec![listed[0].clone(), world.listed(&disguised)];
        let root = index(&mut world, children);
        assert!(world.refusal(root).unwrap().contains("cannot be looked into"));
        world.blobs.remove(&Digest::of(&bytes));
        assert!(world.refusal(root).is_some());
    }
    // An index of which no image is here is not let in for what it lacks.
    world.manifests.remove(&bad);
    let root = index(&mut world, vec![listed[1].clone(), statements]);
    assert!(world.refusal(root).unwrap().contains("nothing of it is here"));
}

#[test]
fn what_a_content_rule_says_wrongly_is_refused_with_its_line() {
    let check = |content: &str, line: usize, reason: &str| {
        let text = format!("version = 1\n[[rule]]\nname = \"r\"\nrepositories = [\"a\"]\n[rule.content]\n{content}\n");
        let error = TrustPolicy::parse(text.as_bytes()).expect_err(content).to_string();
        assert!(error.contains(&format!("line {line}: ")) && error.contains(reason), "{error}: {reason}");
    };
    check("", 5, "asks for nothing");
    check("non_root = false", 5, "asks for nothing");
    check("non_root = 1", 6, "expected true or false");
    check("no_shel = true", 6, "did you mean 'no_shell'?");
    check("forbidden_paths = []", 5, "is empty");
    check("forbidden_paths = [\"/root/\"]", 6, "write '/**' behind a directory");
    check("forbidden_paths = [\"[\"]", 6, "is not valid");
    check("size_budget = \"pyton\"", 6, "did you mean 'python'?");
    check("size_budget = \"cobol\"", 6, "there are budgets for go, rust");
    check("size_budget = \"go\"\nsize_mebibytes_max = 3", 5, "more than one of");
    check("size_mebibytes_max = 0", 6, "expected 1 to");
    check("base_age_days_max = -1", 6, "expected 1 to");
    check("labels = { a = 1 }", 6, "expected a string");
}
