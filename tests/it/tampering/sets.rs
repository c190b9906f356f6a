//! Whole volumes and sets that are missing, foreign, doubled, old, or meant for somebody else.

use postern::bundle::format::canonical;
use postern::bundle::format::container::END_BYTES;
use postern::bundle::format::seal::{Seal, UnverifiedSeal, table_digest};
use postern::bundle::format::table::SetTable;
use postern::bundle::import::ImportError;
use postern::bundle::reader::VolumeError;
use postern::enrolment::{self, EnrolmentError};
use postern::error_chain::chain;
use postern::limits::SET_TABLE_BYTES_MAX;
use postern::oci::digest::Digest;
use postern::store::{DeviceRole, PrincipalRef};
use postern::sys::keys::{Purpose, RECEIPT_TYPE};

use super::forge::{build, parts, reseal};
use super::world::{Images, Side, World};

#[test]
fn the_builder_builds_what_the_product_takes() {
    let world = World::with_image(1_000);
    let file = world.export(1 << 20).volumes[0].file.clone();
    reseal(&world, &file, &world.low.keys, |_, seal| seal.sequence += 5);
    world.try_import().unwrap();
}

#[test]
fn a_missing_volume_is_named_and_the_rest_kept() {
    let world = World::with_image(60_000);
    let written = world.export(64 << 10);
    let second = &written.volumes[1].file;
    let content = world.read(second);
    world.take_away(second);
    world.refused(&["volume 2 of set", "is still missing", "run the same command again", "kept"]);
    let first = &written.volumes[0].file;
    let other = world.read(first);
    world.take_away(first);
    // What was read of the first is not asked for again.
    world.refused(&["volume 2 of set"]);
    world.put(second, &content);
    world.try_import().unwrap();
    world.put(first, &other);
}

#[test]
fn a_foreign_volume_is_not_mixed_in() {
    let world = World::with_image(60_000);
    let first = world.export(64 << 10);
    let foreign = world.read(&first.volumes[1].file);
    world.low.forget_exports();
    for volume in &first.volumes {
        world.take_away(&volume.file);
    }
    let second = world.export(64 << 10);
    assert_ne!(first.set, second.set);
    // Under its own name it is another set, and somebody must choose.
    world.put(&first.volumes[1].file, &foreign);
    world.refused(&["several sets", &first.set.short(), &second.set.short(), "--set"]);
    world.take_away(&first.volumes[1].file);
    // Under a name of this set it is refused by its head.
    let victim = &second.volumes[1].file;
    let own = world.read(victim);
    world.put(victim, &foreign);
    world.refused(&[victim, "volume.json", "another name", "bring this volume again"]);
    // So is a volume of this set under another's number.
    world.put(victim, &world.read(&second.volumes[0].file));
    world.refused(&[victim, "volume.json", "another name"]);
    // And a head whose set id was changed to fit.
    let (table, seal, body) = parts_of_foreign(&world, &foreign, &first.volumes[1].file);
    let seal_bytes = seal.sign(&world.low.keys).unwrap();
    let (_, mut bytes) = build(&seal_bytes, &seal, 2, &table.to_bytes(), &body);
    let at = find(&bytes, seal.set_id().to_string().as_bytes());
    bytes[at..at + 64].copy_from_slice(second.set.to_string().as_bytes());
    world.put(victim, &bytes);
    world.refused(&[victim, "volume.json", "its seal makes set"]);
    world.put(victim, &own);
    world.try_import().unwrap();
}

fn parts_of_foreign(world: &World, content: &[u8], name: &str) -> (SetTable, Seal, Vec<u8>) {
    world.put(name, content);
    let parts = parts(world, name);
    world.take_away(name);
    parts
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

#[test]
fn a_doubled_volume_is_named() {
    let world = World::with_image(60_000);
    let written = world.export(64 << 10);
    let file = &written.volumes[1].file;
    let copy = file.to_uppercase();
    world.put(&copy, &world.read(file));
    world.refused(&[file, &copy, "volume 2", "take away"]);
    world.take_away(&copy);
    let more = file.replace("of00", "of01");
    world.put(&more, &world.read(file));
    world.refused(&[&more, "disagree", "take away"]);
}

#[test]
fn names_in_upper_case_are_read_too() {
    let world = World::with_image(1_000);
    let file = world.export(1 << 20).volumes[0].file.clone();
    let content = world.read(&file);
    world.take_away(&file);
    world.put(&file.to_uppercase(), &content);
    world.try_import().unwrap();
}

#[test]
fn a_set_sealed_by_an_unknown_device() {
    let world = World::with_image(1_000);
    let stranger = Side::new("stranger");
    let file = world.export(1 << 20).volumes[0].file.clone();
    let forged = reseal(&world, &file, &stranger.keys, |_, _| ());
    let fingerprint = stranger.keys.device_id().fingerprint();
    world.refused(&[&forged, "seal.json", &fingerprint, "not enrolled", "--role sender"]);
    // Known, but only as a receiver.
    world.high.enrol(&stranger, DeviceRole::Receiver);
    world.refused(&[&fingerprint, "not enrolled here as a sender"]);
}

#[test]
fn a_seal_in_the_name_of_another() {
    let world = World::with_image(1_000);
    let stranger = Side::new("stranger");
    let file = world.export(1 << 20).volumes[0].file.clone();
    let (table, seal, body) = parts(&world, &file);
    for (purpose, payload_type) in
        [(Purpose::Seal, postern::sys::keys::SEAL_TYPE), (Purpose::Device, postern::sys::keys::SEAL_TYPE)]
    {
        let envelope = stranger.keys.sign(purpose, payload_type, canonical::to_bytes(&seal)).unwrap();
        let (name, bytes) = build(&envelope.to_json(), &seal, 1, &table.to_bytes(), &body);
        world.put(&name, &bytes);
        world.refused(&[&name, "seal.json", "not by the sender", "seal key"]);
    }
    // The sender's own key for another purpose, and another type of statement.
    for (purpose, payload_type) in [(Purpose::Receipt, postern::sys::keys::SEAL_TYPE), (Purpose::Seal, RECEIPT_TYPE)] {
        let envelope = world.low.keys.sign(purpose, payload_type, canonical::to_bytes(&seal)).unwrap();
        let (name, bytes) = build(&envelope.to_json(), &seal, 1, &table.to_bytes(), &body);
        assert!(UnverifiedSeal::parse(&envelope.to_json()).is_ok());
        world.put(&name, &bytes);
        world.refused(&[&name, "seal.json", "not by the sender"]);
    }
}

#[test]
fn a_set_for_another_receiver() {
    let world = World::with_image(1_000);
    let other = Side::new("other");
    world.low.enrol(&other, DeviceRole::Receiver);
    let mut request = world.request(&["docker.io/library/app:v1"], 1 << 20);
    request.receiver = other.keys.device_id().clone();
    let file = world.try_export(&request).unwrap().volumes[0].file.clone();
    let (own, others) = (world.high.keys.device_id().fingerprint(), other.keys.device_id().fingerprint());
    world.refused(&[&file, "seal.json", &own, &others, "carry it there"]);
}

#[test]
fn an_older_sequence_also_after_a_rebuild() {
    let mut world = World::with_image(1_000);
    let first = world.export(1 << 20);
    let content = world.read(&first.volumes[0].file);
    world.take_away(&first.volumes[0].file);
    world.low.forget_exports();
    let second = world.export(1 << 20);
    assert_eq!((first.sequence, second.sequence), (1, 2));
    world.try_import().unwrap();
    world.take_away(&second.volumes[0].file);
    world.put(&first.volumes[0].file, &content);
    for rebuilt in [false, true] {
        if rebuilt {
            world.high.rebuild();
        }
        world.refused(&[
            "sequence 1",
            "2 was imported already",
            "seal.json",
            "export a new set",
            &first.set.to_string(),
        ]);
    }
}

#[test]
fn tables_that_lie_under_a_good_seal() {
    let check = |words: &[&str], change: &dyn Fn(&mut SetTable)| {
        let world = World::with_image(1_000);
        let file = world.export(1 << 20).volumes[0].file.clone();
        reseal(&world, &file, &world.low.keys, |table, _| change(table));
        world.refused(words);
    };
    // Content that does not hash to its digest, however well its chunks are sealed.
    check(&["does not hash to its digest", "export a new set"], &|table| {
        let blob = table.blobs.last_mut().unwrap();
        let mut raw = blob.digest.raw().to_vec();
        *raw.last_mut().unwrap() ^= 1;
        blob.digest = Digest::from_raw(blob.digest.algorithm(), &raw).unwrap();
    });
    check(&["set.json", "contradicts itself", "postern-"], &|table| table.volumes[0].chunks += 1);
    check(&["set.json", "contradicts itself"], &|table| table.images[0].tags.push("a".parse().unwrap()));
    check(&["goes on after its end", "postern-"], &|table| {
        // One chunk fewer than the file holds.
        let last = table.blobs.pop().unwrap();
        table.volumes[0].chunks -= u32::try_from(last.chunks.len()).unwrap();
    });
    check(&["chunks/", "sealed table"], &|table| table.blobs[0].chunks[0].sha256.0[0] ^= 1);
    check(&["unpacks to", "chunks/"], &|table| table.blobs[0].size -= 1);
}

#[test]
fn an_image_without_all_its_parts_is_refused_not_served() {
    let world = World::with_image(1_000);
    let file = world.export(1 << 20).volumes[0].file.clone();
    let (table, _, body) = parts(&world, &file);
    // Leave the last blob out, with its chunk.
    let stored = u64::from(table.blobs.last().unwrap().chunks[0].stored);
    let entry = usize::try_from(postern::bundle::format::container::entry_bytes(stored)).unwrap();
    let end = usize::try_from(END_BYTES).unwrap();
    let body = [&body[..body.len() - end - entry], &body[body.len() - end..]].concat();
    let (mut table, mut seal) = (table, parts(&world, &file).1);
    table.blobs.pop();
    table.volumes[0].chunks -= 1;
    let table = table.to_bytes();
    seal.table = table_digest(&table);
    let (name, bytes) = build(&seal.sign(&world.low.keys).unwrap(), &seal, 1, &table, &body);
    world.take_away(&file);
    world.put(&name, &bytes);
    let report = world.try_import().unwrap();
    assert_eq!((report.receipt.admitted.len(), report.receipt.refused.len()), (0, 1));
    assert!(report.receipt.refused[0].reason.contains("does not carry"), "{:?}", report.receipt.refused);
    assert!(world.high.store().repositories(None, 10).unwrap().is_empty());
}

#[test]
fn an_empty_stick_and_a_set_that_is_not_there() {
    let world = World::with_image(1_000);
    world.refused(&["no volume of a transfer bundle", "simulated medium"]);
    let options = postern::bundle::import::ImportOptions {
        set: Some("abcdef012345".to_owned()),
        principal: PrincipalRef::operator("0"),
        table_bytes_max: SET_TABLE_BYTES_MAX,
        judged_bytes_max: None,
        unenforced: std::collections::BTreeSet::new(),
    };
    world.export(1 << 20);
    let (store, keys) = (world.high.store(), &world.high.keys);
    let silent = postern::progress::Silent;
    let error = postern::bundle::import::import(store, keys, &world.policy, &world.medium, &options, &silent);
    assert!(matches!(error, Err(ImportError::SetNotHere { .. })));
}

#[test]
fn two_images_that_share_content_carry_it_once() {
    let world = World::new();
    let mut images = Images::default();
    let image = images.image("amd64", 50_000);
    images.publish(&world.low, "apps/one", "v1", image);
    images.publish(&world.low, "apps/two", "v1", image);
    let request = world.request(&["apps/one:v1", "apps/two:v1"], 1 << 20);
    assert!(world.plan(&request).content_bytes < 60_000);
    world.try_export(&request).unwrap();
    world.try_import().unwrap();
    assert_eq!(world.high.store().repositories(None, 10).unwrap().len(), 2);
}

#[test]
fn a_device_is_known_by_the_fingerprint_that_was_confirmed_and_only_until_it_is_removed() {
    let world = World::with_image(1_000);
    world.export(1 << 20);
    let (store, keys) = (world.high.store(), &world.high.keys);
    let operator = || PrincipalRef::operator("0");
    let (file, own) = (world.low.keys.identity_file(), keys.device_id());
    let wrong = enrolment::add(store, keys, file, DeviceRole::Sender, own, operator());
    assert!(wrong.unwrap_err().to_string().contains("compare it again"));
    let itself = enrolment::add(store, keys, keys.identity_file(), DeviceRole::Sender, own, operator());
    assert!(matches!(itself, Err(EnrolmentError::Itself)));
    assert_eq!(enrolment::list(store).unwrap().len(), 1);
    enrolment::remove(store, world.low.keys.device_id(), operator()).unwrap();
    world.refused(&["not enrolled here as a sender"]);
    let again = enrolment::remove(store, world.low.keys.device_id(), operator());
    assert!(matches!(again, Err(EnrolmentError::Unknown(_))));
}

#[test]
fn a_table_that_memory_has_no_room_for_is_not_read_and_is_no_damage() {
    let world = World::with_image(1_000);
    world.export(1 << 20);
    let (store, keys, silent) = (world.high.store(), &world.high.keys, postern::progress::Silent);
    let mut options = postern::bundle::import::ImportOptions {
        set: None,
        principal: PrincipalRef::operator("0"),
        table_bytes_max: 100,
        judged_bytes_max: None,
        unenforced: std::collections::BTreeSet::new(),
    };
    let before = store.head();
    let error = postern::bundle::import::import(store, keys, &world.policy, &world.medium, &options, &silent);
    let Err(ImportError::Volume(VolumeError::TableTooLarge { bytes, limit_bytes: 100, .. })) = error else {
        panic!("{error:?}");
    };
    assert_eq!(store.head(), before);
    options.table_bytes_max = usize::try_from(bytes).expect("a small table");
    // Nor is an image refused for what memory has no room for: a receipt of that could not be taken back.
    options.judged_bytes_max = Some(100);
    let error = postern::bundle::import::import(store, keys, &world.policy, &world.medium, &options, &silent);
    let text = chain(&error.expect_err("an image of more than 100 bytes"));
    assert!(text.contains("memory_max_bytes"), "{text}");
    assert_eq!(store.head(), before);
    options.judged_bytes_max = Some(100_000);
    let report = postern::bundle::import::import(store, keys, &world.policy, &world.medium, &options, &silent);
    assert_eq!(report.expect("exactly as large as there is room").receipt.admitted.len(), 1);
}
