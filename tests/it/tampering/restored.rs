//! What the receiver's disk has lost comes back with the next set, or with one that came in before.

use postern::oci::digest::Digest;
use postern::progress::Silent;
use postern::store::{Losses, ScrubOptions, shards};

use super::world::World;

fn scrub(world: &World) -> Losses {
    let options = ScrubOptions { bytes_per_second: 0 };
    world.high.store().scrub(options, &|| false, &Silent).unwrap().losses
}

/// One byte of every file of the receiver.
fn rot_all(world: &World) -> usize {
    let all: Vec<Digest> =
        shards().flat_map(|shard| world.high.store().blobs().list(&shard).unwrap()).map(|(digest, _)| digest).collect();
    for digest in &all {
        let hex = digest.hex();
        let path = format!("blobs/sha256/{}/{hex}", &hex[..2]);
        let file = world.high.dir().open_write(&path, postern::sys::dir::Create::Existing).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, 0).unwrap();
        file.write_at(&[byte[0] ^ 4], 0).unwrap();
    }
    all.len()
}

#[test]
fn by_the_same_set_and_by_the_next_one() {
    let world = World::with_image(60_000);
    world.export(64 << 10);
    world.try_import().unwrap();
    let before = world.high.visible();
    assert!(scrub(&world).is_empty());

    let count = rot_all(&world);
    let losses = scrub(&world);
    assert_eq!(losses.lacking.len(), count);
    assert!(losses.images.iter().any(|image| image.repository.as_str() == "docker.io/library/app"));
    let report = world.try_import().unwrap();
    assert!(report.already_imported && report.restored_count == count as u64);
    assert!(scrub(&world).is_empty());
    assert_eq!(world.high.visible(), before, "nothing but bytes has changed");
    assert_eq!(world.try_import().unwrap().restored_count, 0);

    rot_all(&world);
    scrub(&world);
    for entry in world.read_names() {
        world.take_away(&entry);
    }
    world.low.forget_exports();
    let second = world.export(64 << 10);
    assert_eq!(second.sequence, 2);
    assert!(!world.try_import().unwrap().already_imported);
    assert!(scrub(&world).is_empty());
}
