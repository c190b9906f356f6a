//! What must work, so that the refusals beside this file mean something.

use postern::bundle::export::ExportError;
use postern::bundle::format::volume::FileName;
use postern::bundle::import::{ImportError, ImportOptions, import};
use postern::bundle::inspect::inspect;
use postern::bundle::receipt;
use postern::limits::SET_TABLE_BYTES_MAX;
use postern::oci::digest::Digest;
use postern::progress::Progress;
use postern::store::{DeviceRole, PrincipalRef, Store};
use postern::sys::dir::Create;
use postern::verify::TrustPolicy;

use super::world::{Images, Side, World, whole_text};

const APP: &str = "docker.io/library/app";

fn tags(store: &Store, repository: &str) -> Vec<String> {
    let tags = store.tags(&repository.parse().unwrap(), None, 100).unwrap();
    tags.into_iter().map(|(tag, _)| tag.to_string()).collect()
}

#[test]
fn a_set_crosses_and_its_receipt_comes_back() {
    let world = World::with_image(50_000);
    let plan = world.plan(&world.request(&["docker.io/library/app:v1"], 32 << 10));
    assert_eq!(plan.images[0].platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!((plan.images[0].evidence.other, plan.missing.len()), (1, 0));
    assert!(plan.images[0].refusal.is_none());
    let written = world.export(32 << 10);
    assert!(written.volumes.len() >= 3 && written.safe_to_remove, "{written:?}");
    let bytes: u64 = written.volumes.iter().map(|volume| volume.bytes).sum();
    assert!(bytes <= plan.volumes_bytes_max, "{bytes} of {}", plan.volumes_bytes_max);
    assert!(written.volumes.iter().all(|volume| volume.bytes <= 32 << 10 && FileName::parse(&volume.file).is_some()));

    let inspection = inspect(world.high.store(), &world.medium, SET_TABLE_BYTES_MAX).unwrap();
    let summary = inspection.sets[0].summary.as_ref().unwrap();
    assert_eq!((summary.sender_name.as_deref(), summary.images.len()), (Some("low"), 1));

    let writes = world.medium.writes_count();
    let report = world.try_import().unwrap();
    assert_eq!(world.medium.writes_count(), writes, "an import writes to no medium");
    assert_eq!((report.receipt.admitted.len(), report.receipt.refused.len()), (1, 0));
    assert_eq!(report.receipt.admitted[0].manifests, 4);
    assert_eq!(report.receipt.position, world.high.store().head());
    assert_eq!(tags(world.high.store(), APP), ["v1"]);
    let repository = APP.parse().unwrap();
    let root = world.high.store().resolve(&repository, &"v1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(world.high.store().referrers(&repository, &root).unwrap().len(), 1);
    assert!(world.high.dir().list("uploads").unwrap().is_empty(), "nothing stays staged");

    let read = receipt::read(world.low.store(), &world.low.keys, &report.receipt_file).unwrap();
    assert_eq!(read, report.receipt);
    let stranger = Side::new("stranger");
    let error = receipt::read(stranger.store(), &stranger.keys, &report.receipt_file).unwrap_err();
    assert!(error.to_string().contains("not enrolled"), "{error}");
    let mut changed = report.receipt_file;
    let at = changed.len() / 2;
    changed[at] ^= 1;
    assert!(receipt::read(world.low.store(), &world.low.keys, &changed).is_err());
}

#[test]
fn a_second_import_answers_with_the_same_receipt() {
    let mut world = World::with_image(1_000);
    world.export(1 << 20);
    let first = world.try_import().unwrap();
    let before = world.high.visible();
    for rebuilt in [false, true] {
        if rebuilt {
            world.high.rebuild();
        }
        let again = world.try_import().unwrap();
        assert!(again.already_imported);
        assert_eq!(again.receipt_file, first.receipt_file);
        assert_eq!(world.high.visible(), before);
    }
}

#[test]
fn volumes_come_one_by_one_and_what_was_read_is_kept() {
    let mut world = World::with_image(50_000);
    let written = world.export(32 << 10);
    let volumes: Vec<(String, Vec<u8>)> =
        written.volumes.iter().map(|volume| (volume.file.clone(), world.read(&volume.file))).collect();
    let count = volumes.len();
    let mut read = 0;
    for (nth, (file, content)) in volumes.iter().enumerate().rev() {
        world.empty_stick();
        world.put(file, content);
        if nth == 0 {
            let report = world.try_import().unwrap();
            assert_eq!(report.volumes_read, [1]);
            read += report.bytes_read;
            break;
        }
        let text = world.refused(&["still missing", "run the same command again", "volume"]);
        assert!(text.contains(&format!(" {nth} ")) || count - nth == count - 1, "{text}");
        let Err(ImportError::VolumesMissing { volumes, bytes_read, .. }) = world.try_import() else { panic!() };
        assert_eq!(volumes.len(), nth);
        assert!(bytes_read < content.len() as u64, "heads are read again, chunks are not");
        read += content.len() as u64;
    }
    let all: u64 = volumes.iter().map(|(_, content)| content.len() as u64).sum();
    assert!(read <= all, "{read} of {all}");
    assert_eq!(tags(world.high.store(), APP), ["v1"]);
}

#[test]
fn a_pulled_stick_costs_less_than_a_volume() {
    let world = World::with_image(100_000);
    let written = world.export(64 << 10);
    let largest = written.volumes.iter().map(|volume| volume.bytes).max().unwrap();
    let total: u64 = written.volumes.iter().map(|volume| volume.bytes).sum();
    let before = world.high.visible();
    let mut pulls = 0;
    let mut read = 0;
    let heads = 20_000 * written.volumes.len() as u64;
    loop {
        let begun = world.medium.bytes_read();
        world.medium.yank_after(heads + largest / 2);
        let outcome = world.try_import();
        world.medium.yank_after(u64::MAX);
        read += world.medium.bytes_read() - begun;
        match outcome {
            Ok(_) => break,
            Err(error) => {
                let text = whole_text(&error);
                assert!(text.contains("put the medium back") && text.contains("volume '"), "{text}");
                assert_eq!(world.high.visible(), before);
            }
        }
        pulls += 1;
        assert!(pulls < 100, "no way forward");
    }
    assert!(pulls > 0, "the stick was never pulled");
    assert!(read < total + pulls * (largest + heads), "{read} bytes read of {total} in {pulls} pulls");
    assert_eq!(tags(world.high.store(), APP), ["v1"]);
}

#[test]
fn what_is_here_already_is_not_read_again() {
    let world = World::with_image(100_000);
    world.export(1 << 20);
    let first = world.try_import().unwrap();
    let mut images = Images::default();
    let one = images.image("amd64", 100_000);
    let other = images.index(&[("amd64", one)]);
    images.publish(&world.low, APP, "v2", other);
    world.take_away(&format!("postern-{}-001of001.tar", first.set.short()));
    world.try_export(&world.request(&["docker.io/library/app:v2"], 1 << 20)).unwrap();
    let second = world.try_import().unwrap();
    assert!(second.bytes_read < 20_000, "{} bytes read", second.bytes_read);
    assert_eq!(tags(world.high.store(), APP), ["v1", "v2"]);
}

const ONE_RULE: &str = r#"
version = 1
default = "admit"

[keys.nobody]
pem = """
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""

[[rule]]
name = "signed"
repositories = ["apps/**"]
[rule.signature]
keys = ["nobody"]
"#;

#[test]
fn refused_images_stay_out_and_are_named() {
    let mut world = World::with_image(20_000);
    let mut images = Images::default();
    let unsigned = images.image("riscv64", 30_000);
    images.publish(&world.low, "apps/unsigned", "v1", unsigned);
    world.policy = TrustPolicy::parse(ONE_RULE.as_bytes()).unwrap();
    let request = world.request(&["docker.io/library/app:v1", "apps/unsigned:v1"], 1 << 20);
    let planned = world.plan(&request);
    let refusals: Vec<_> =
        planned.images.iter().map(|image| image.refusal.as_ref().map(|refusal| &*refusal.rule)).collect();
    assert_eq!(refusals, [None, Some("signed")]);
    world.try_export(&request).unwrap();
    let report = world.try_import().unwrap();
    assert_eq!(report.receipt.admitted.len(), 1);
    assert_eq!(report.receipt.refused[0].rule, "signed");
    assert_eq!(report.receipt.refused[0].repository.as_str(), "apps/unsigned");
    let store = world.high.store();
    assert!(!store.blobs().has(&unsigned), "bytes of a refused image never enter");
    assert_eq!(tags(store, "apps/unsigned"), [""; 0]);
    let repository = "apps/unsigned".parse().unwrap();
    assert!(store.manifest(&repository, &unsigned).unwrap().is_none());
    for reference in ["v1", &unsigned.to_string()] {
        let refusal = store.refusal(&repository, &reference.parse().unwrap()).unwrap().unwrap();
        assert_eq!(refusal.refusal.rule, "signed");
    }
}

/// A project that does not enforce lets in what a rule refuses, and the receipt says so. What was refused before comes in
/// with the same stick.
#[test]
fn what_a_project_does_not_enforce_comes_in_and_the_receipt_says_so() {
    let mut world = World::with_image(50_000);
    let mut images = Images::default();
    let unsigned = images.image("riscv64", 30_000);
    images.publish(&world.low, "apps/unsigned", "v1", unsigned);
    world.policy = TrustPolicy::parse(ONE_RULE.as_bytes()).unwrap();
    world.try_export(&world.request(&["docker.io/library/app:v1", "apps/unsigned:v1"], 1 << 20)).unwrap();
    assert_eq!(world.try_import().unwrap().receipt.refused.len(), 1);
    world.unenforced = ["other".to_owned()].into();
    assert!(world.try_import().unwrap().already_imported);
    world.unenforced = ["apps".to_owned()].into();
    let report = world.try_import().unwrap();
    assert!(!report.already_imported && report.receipt.refused.is_empty());
    let unenforced: Vec<_> = report.receipt.admitted.iter().map(|entry| entry.unenforced.as_ref()).collect();
    assert!(unenforced[0].is_some_and(|rule| rule.rule == "signed") && unenforced[1].is_none(), "{unenforced:?}");
    let store = world.high.store();
    assert_eq!(tags(store, "apps/unsigned"), ["v1"]);
    assert!(store.refusal(&"apps/unsigned".parse().unwrap(), &"v1".parse().unwrap()).unwrap().is_none());
    assert!(world.try_import().unwrap().already_imported);

    // The deny list is above every project.
    let mut world = World::with_image(50_000);
    images.publish(&world.low, "apps/unsigned", "v1", unsigned);
    let denied = format!("{ONE_RULE}\n[[deny]]\ndigest = \"{unsigned}\"\nreason = \"bad\"\n");
    world.policy = TrustPolicy::parse(denied.as_bytes()).unwrap();
    world.unenforced = ["apps".to_owned()].into();
    world.try_export(&world.request(&["apps/unsigned:v1"], 1 << 20)).unwrap();
    assert_eq!(world.try_import().unwrap().receipt.refused[0].rule, "deny-list");
    assert!(world.try_import().unwrap().already_imported);
}

/// A policy that was wrong on the day must not cost a second trip: the same stick is judged again, but only while it is
/// the newest of its series, and the second receipt takes the place of the first.
#[test]
fn what_one_policy_refused_is_judged_again_under_the_next() {
    let mut world = World::with_image(50_000);
    world.export(1 << 20);
    let refuse_all = TrustPolicy::embedded();
    let admit_all = std::mem::replace(&mut world.policy, refuse_all);
    let first = world.try_import().unwrap();
    assert_eq!((first.receipt.admitted.len(), first.receipt.refused.len()), (0, 1));
    assert!(world.try_import().unwrap().already_imported, "the same policy says the same");
    world.policy = admit_all;
    let second = world.try_import().unwrap();
    assert!(!second.already_imported);
    assert_eq!((second.receipt.admitted.len(), second.receipt.refused.len()), (1, 0));
    assert_eq!(tags(world.high.store(), APP), ["v1"]);
    let repository = APP.parse().unwrap();
    assert!(world.high.store().refusal(&repository, &"v1".parse().unwrap()).unwrap().is_none());
    let again = world.try_import().unwrap();
    assert!(again.already_imported);
    assert_eq!(again.receipt_file, second.receipt_file);

    // Once a newer set came in, the refused one is never judged again: that would be a way back.
    let admit_all = std::mem::replace(&mut world.policy, TrustPolicy::embedded());
    let [older, newer] = ["linux/arm64", "linux/amd64"].map(|platform| {
        world.empty_stick();
        let mut request = world.request(&["docker.io/library/app:v1"], 1 << 20);
        request.platforms = Some(vec![platform.to_owned()]);
        let volume = world.try_export(&request).unwrap().volumes.remove(0).file;
        world.try_import().unwrap();
        (world.read(&volume), volume)
    });
    assert_ne!(older.1, newer.1);
    world.empty_stick();
    world.put(&older.1, &older.0);
    world.policy = admit_all;
    let head = world.high.store().head();
    assert!(world.try_import().unwrap().already_imported);
    assert_eq!(world.high.store().head(), head);
}

/// A set judged again brings in what was refused, and nothing else: a tag that moved since stays where it is.
#[test]
fn a_set_judged_again_moves_no_tag_back() {
    let mut world = World::with_image(20_000);
    let mut images = Images::default();
    let unsigned = images.image("riscv64", 30_000);
    images.publish(&world.low, "apps/unsigned", "v1", unsigned);
    let admit_all = std::mem::replace(&mut world.policy, TrustPolicy::parse(ONE_RULE.as_bytes()).unwrap());
    let request = world.request(&["docker.io/library/app:v1", "apps/unsigned:v1"], 1 << 20);
    let volume = world.try_export(&request).unwrap().volumes.remove(0).file;
    let stick = world.read(&volume);
    world.try_import().unwrap();

    let newer = images.image("s390x", 1_000);
    images.publish(&world.low, "docker.io/library/app", "v1", newer);
    world.empty_stick();
    let mut hotfix = world.request(&["docker.io/library/app:v1"], 1 << 20);
    hotfix.series = "hotfix".to_owned();
    world.try_export(&hotfix).unwrap();
    world.try_import().unwrap();

    world.empty_stick();
    world.put(&volume, &stick);
    world.policy = admit_all;
    let report = world.try_import().unwrap();
    assert!(!report.already_imported);
    assert_eq!((report.receipt.admitted.len(), report.receipt.refused.len()), (2, 0));
    let store = world.high.store();
    assert_eq!(tags(store, "apps/unsigned"), ["v1"]);
    let resolved = store.resolve(&APP.parse().unwrap(), &"v1".parse().unwrap()).unwrap();
    assert_eq!(resolved, Some(newer));
}

#[test]
fn an_interrupted_export_goes_on_with_the_same_set() {
    let world = World::with_image(100_000);
    let request = world.request(&["docker.io/library/app:v1"], 64 << 10);
    world.medium.yank_after(150_000);
    let error = world.try_export(&request).unwrap_err();
    assert!(whole_text(&error).contains("run the same command again"), "{error}");
    world.medium.yank_after(u64::MAX);
    let second = world.try_export(&request).unwrap();
    assert!(second.resumed && second.sequence == 1);
    let third = world.try_export(&request).unwrap();
    assert_eq!((third.set, third.bytes_written), (second.set, 0));
    world.try_import().unwrap();
}

#[test]
fn an_export_asks_for_room_and_trusts_no_stick() {
    let world = World::with_image(100_000);
    let request = world.request(&["docker.io/library/app:v1"], 64 << 10);
    world.medium.set_free_bytes(100_000);
    assert!(!world.plan(&request).medium.unwrap().fits);
    let error = whole_text(&world.try_export(&request).unwrap_err());
    assert!(error.contains("100000 bytes free") && error.contains("make room"), "{error}");
    assert_eq!(world.medium.writes_count(), 0);
    world.medium.set_free_bytes(u64::MAX);
    world.medium.lie_about(".partial", 20_000);
    let error = whole_text(&world.try_export(&request).unwrap_err());
    assert!(error.contains("did not keep what was written"), "{error}");
    world.medium.set_read_only(true);
    let error = whole_text(&world.try_export(&request).unwrap_err());
    assert!(error.contains("in place and writable"), "{error}");
}

#[test]
fn an_export_needs_everything_and_an_enrolled_receiver() {
    let world = World::with_image(1_000);
    let stranger = Side::new("stranger");
    let mut request = world.request(&["docker.io/library/app:v1"], 1 << 20);
    request.receiver = stranger.keys.device_id().clone();
    let plan = postern::bundle::plan::plan(world.low.store(), &request, &world.policy, None);
    assert!(plan.unwrap_err().to_string().contains("not enrolled as a receiver"));
    world.low.enrol(&stranger, DeviceRole::Sender);
    assert!(postern::bundle::plan::plan(world.low.store(), &request, &world.policy, None).is_err(), "wrong role");
    let request = world.request(&["docker.io/library/app:v2"], 1 << 20);
    let plan = postern::bundle::plan::plan(world.low.store(), &request, &world.policy, None);
    assert!(plan.unwrap_err().to_string().contains("postern mirror fetch docker.io/library/app:v2"));
}

#[test]
fn some_platforms_travel_and_the_index_keeps_its_digest() {
    let world = World::with_image(50_000);
    let mut request = world.request(&["docker.io/library/app:v1"], 1 << 20);
    request.platforms = Some(vec!["linux/arm64".to_owned()]);
    let plan = world.plan(&request);
    assert_eq!(plan.images[0].platforms, ["linux/arm64"]);
    assert!(plan.content_bytes < 60_000);
    world.try_export(&request).unwrap();
    world.try_import().unwrap();
    let repository = APP.parse().unwrap();
    let tag = "v1".parse().unwrap();
    let root = |store: &Store| store.resolve(&repository, &tag).unwrap().unwrap();
    assert_eq!(root(world.high.store()), root(world.low.store()));
    assert!(world.high.store().manifest(&repository, &root(world.high.store())).unwrap().unwrap().sparse);
    request.platforms = Some(vec!["windows/amd64".to_owned()]);
    assert!(postern::bundle::plan::plan(world.low.store(), &request, &world.policy, None).is_err());
}

#[test]
fn an_image_travels_without_the_layers_that_are_fetched_from_elsewhere() {
    let world = World::new();
    let mut images = Images::default();
    let image = images.image_with_a_layer_elsewhere("amd64", b"from elsewhere");
    let index = images.index(&[("amd64", image)]);
    images.publish(&world.low, APP, "v1", index);
    let request = world.request(&["docker.io/library/app:v1"], 1 << 20);
    let plan = world.plan(&request);
    let layer = Digest::of(b"from elsewhere");
    assert_eq!((plan.missing.len(), plan.elsewhere.len(), plan.elsewhere[0].digest), (0, 1, layer));
    world.try_export(&request).unwrap();
    let report = world.try_import().unwrap();
    assert_eq!((report.receipt.admitted.len(), report.receipt.refused.len()), (1, 0));
    let repository = APP.parse().unwrap();
    let sparse = |digest| world.high.store().manifest(&repository, digest).unwrap().unwrap().sparse;
    assert!(sparse(&image) && !sparse(&index));
    assert!(!world.high.store().blob_link(&repository, &layer).unwrap().unwrap().present);
    // A layer of any other kind is waited for.
    let mut images = Images::default();
    let image = images.image("amd64", 1_000);
    images.forget_blobs();
    images.publish(&world.low, APP, "v2", image);
    let error = world.try_export(&world.request(&["docker.io/library/app:v2"], 1 << 20)).unwrap_err();
    assert!(matches!(error, ExportError::Missing { .. }), "{error}");
}

/// Whoever may push to one repository knows the digest of another one's layer and calls it non-distributable. Carried over in
/// one set, it would be linked to both.
#[test]
fn a_layer_that_stays_behind_is_not_had_from_another_image() {
    let world = World::new();
    let mut images = Images::default();
    let private = images.image_with("amd64", b"of one repository alone");
    images.publish(&world.low, "private/app", "v1", private);
    let mut images = Images::default();
    let thief = images.image_with_a_layer_elsewhere("amd64", b"of one repository alone");
    images.publish(&world.low, "public/app", "v1", thief);
    let error = world.try_export(&world.request(&["private/app:v1", "public/app:v1"], 1 << 20)).unwrap_err();
    assert!(matches!(error, ExportError::Missing { .. }), "{error}");
    for name in ["private/app:v1", "public/app:v1"] {
        world.try_export(&world.request(&[name], 1 << 20)).unwrap();
    }
}

/// The power fails between the commit and the receipt: the next run of the same command writes it.
#[test]
fn a_receipt_that_was_not_written_is_written_by_the_next_run() {
    let world = World::with_image(1_000);
    world.export(1 << 20);
    let receipts = world.high.dir().open_write("identity/receipts", Create::New).unwrap();
    let error = whole_text(&world.try_import().unwrap_err());
    assert!(error.contains("was committed") && error.contains("run the same command again"), "{error}");
    drop(receipts);
    assert_eq!(tags(world.high.store(), APP), ["v1"]);
    world.high.dir().remove("identity/receipts").unwrap();
    let head = world.high.store().head();
    let report = world.try_import().unwrap();
    assert!(report.already_imported);
    assert_eq!((report.receipt.admitted.len(), &report.receipt.position), (1, &head));
    assert_eq!(world.high.store().head(), head, "nothing is committed twice");
    assert!(world.high.dir().list("uploads").unwrap().is_empty());
}

/// A process that dies while it reads.
struct DiesAt(u64);

impl Progress for DiesAt {
    fn step(&self, what: &str, done: u64, _total: u64) {
        assert!(what != "reading" || done < self.0, "dies here");
    }
}

#[test]
fn an_import_that_dies_while_reading_goes_on_where_it_was() {
    let world = World::with_image(200_000);
    let written = world.export(256 << 10);
    let options = ImportOptions {
        set: None,
        principal: PrincipalRef::operator("0"),
        table_bytes_max: SET_TABLE_BYTES_MAX,
        judged_bytes_max: None,
        unenforced: std::collections::BTreeSet::new(),
    };
    let before = world.high.visible();
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (store, keys) = (world.high.store(), &world.high.keys);
        import(store, keys, &world.policy, &world.medium, &options, &DiesAt(300_000))
    }));
    assert!(died.is_err());
    assert_eq!(world.high.visible(), before);
    let report = world.try_import().unwrap();
    let (all, largest) =
        written.volumes.iter().fold((0, 0), |(all, largest), volume| (all + volume.bytes, volume.bytes.max(largest)));
    assert!(report.bytes_read + 300_000 < all + largest, "{} of {all} read again", report.bytes_read);
    assert_eq!(tags(world.high.store(), APP), ["v1"]);
}

/// What lies in its layers is asked of an image that comes on a stick, while nothing of it is in the store yet.
#[test]
fn content_rules_are_asked_of_what_crosses() {
    let mut world = World::new();
    let mut images = Images::default();
    let layer = |path: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(0);
        header.set_cksum();
        [header.as_bytes().as_slice(), &[0; 1024]].concat()
    };
    let good = images.image_with("amd64", &layer("srv/app"));
    let bad = images.image_with("amd64", &layer("bin/sh"));
    images.publish(&world.low, "apps/good", "v1", good);
    images.publish(&world.low, "apps/bad", "v1", bad);
    let request = world.request(&["apps/good:v1", "apps/bad:v1"], 1 << 20);
    world.try_export(&request).unwrap();
    let text = "version = 1\n[[rule]]\nname = \"fit\"\nrepositories = [\"apps/*\"]\n[rule.content]\nno_shell = true\n";
    world.policy = TrustPolicy::parse(text.as_bytes()).unwrap();
    let refusals: Vec<Option<String>> = world
        .plan(&request)
        .images
        .iter()
        .map(|image| image.refusal.as_ref().map(|refusal| format!("{} {refusal}", image.repository)))
        .collect();
    assert!(refusals.iter().flatten().all(|text| text.starts_with("apps/bad rule 'fit'")), "{refusals:?}");
    assert_eq!((refusals.len(), refusals.iter().flatten().count()), (2, 1), "{refusals:?}");
    let report = world.try_import().unwrap();
    assert_eq!((report.receipt.admitted.len(), report.receipt.refused.len()), (1, 1));
    assert_eq!(report.receipt.refused[0].rule, "fit");
    assert_eq!(tags(world.high.store(), "apps/good"), ["v1"]);
    assert_eq!(tags(world.high.store(), "apps/bad"), Vec::<String>::new());
}
