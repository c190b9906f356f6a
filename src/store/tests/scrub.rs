//! What a disk has changed is found, taken out of the way, and put back.

use std::cell::Cell;

use super::world::{World, commit, image, index, move_tag, publish, repository, tag, whole};
use crate::oci::digest::Digest;
use crate::progress::Silent;
use crate::store::{ScrubOptions, ScrubReport, Store, layout};
use crate::sys::dir::{Create, Dir};

const FAST: ScrubOptions = ScrubOptions { bytes_per_second: 0 };

fn scrub(store: &Store) -> ScrubReport {
    store.scrub(FAST, &|| false, &Silent).unwrap()
}

/// One bit of some content, on the disk.
fn rot(dir: &dyn Dir, digest: &Digest) {
    let file = dir.open_write(&layout::blob_path(digest), Create::Existing).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 0).unwrap();
    file.write_at(&[byte[0] ^ 1], 0).unwrap();
}

#[test]
fn changed_content_is_taken_out_of_the_way_and_named_with_the_images_that_need_it() {
    let world = World::new();
    let store = world.store();
    let child = image(store, &["layer", "shared"], None);
    let (root, other) = (index(store, &[&child]), image(store, &["other"], None));
    let mut changes = whole("app/web", &child, None);
    changes.extend([publish("app/web", &root), move_tag("app/web", "v1", &root.digest)]);
    changes.extend(whole("app/other", &other, Some("v1")));
    commit(store, changes).unwrap();
    assert!(scrub(store).is_sound());

    let layer = Digest::of(b"layer");
    rot(store.dir().as_ref(), &layer);
    let report = scrub(store);
    assert_eq!((report.quarantined.as_slice(), report.passes, report.finished), ([layer].as_slice(), 2, true));
    assert!(!store.blobs().has(&layer), "changed bytes are served to nobody");
    let losses = store.losses().unwrap();
    assert_eq!(losses, report.losses);
    let [lacking] = losses.lacking.as_slice() else { panic!("{losses:?}") };
    assert!(lacking.quarantined && lacking.size_bytes == 5 && lacking.held_by.len() == 1);
    let [hurt] = losses.images.as_slice() else { panic!("{losses:?}") };
    assert_eq!((hurt.digest, hurt.tags.as_slice()), (root.digest, [tag("v1")].as_slice()));
    assert_eq!(hurt.repository, repository("app/web"));

    store.blobs().put(b"layer").unwrap();
    assert!(store.losses().unwrap().is_empty());
    let report = scrub(store);
    assert!(report.is_sound() && report.cleared_count == 1);
    assert!(store.quarantined().unwrap().is_empty());
}

#[test]
fn a_manifest_hurts_its_own_image_and_a_file_that_is_gone_is_lacking_too() {
    let world = World::new();
    let store = world.store();
    let image = image(store, &["layer"], None);
    commit(store, whole("a", &image, Some("v1"))).unwrap();
    rot(store.dir().as_ref(), &image.digest);
    store.dir().remove(&layout::blob_path(&Digest::of(b"layer"))).unwrap();
    let report = scrub(store);
    assert_eq!(report.quarantined, [image.digest]);
    let how: Vec<_> = report.losses.lacking.iter().map(|lacking| (lacking.digest, lacking.quarantined)).collect();
    assert!(how.contains(&(image.digest, true)) && how.contains(&(Digest::of(b"layer"), false)));
    assert_eq!(report.losses.images.len(), 1);
}

#[test]
fn a_pass_goes_on_where_it_was_stopped_also_after_a_restart() {
    let mut world = World::new();
    let contents: Vec<String> = (0..300).map(|number| format!("content {number}")).collect();
    for content in &contents {
        world.store().blobs().put(content.as_bytes()).unwrap();
    }
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 200
    };
    let first = world.store().scrub(FAST, &stop, &Silent).unwrap();
    assert!(!first.finished && first.passes == 0 && first.files_count == 200);
    assert_eq!(world.store().next_scrub_in_seconds(1000), 0, "what was begun is due");
    world.reopen();
    let second = scrub(world.store());
    assert!(second.finished && second.resumed && second.passes == 1);
    let both = first.files_count + second.files_count;
    assert!((300..320).contains(&both), "{both} files were read of 300");
    assert_eq!(world.store().next_scrub_in_seconds(1000), 1000);
    world.clock.advance(std::time::Duration::from_secs(400));
    assert_eq!(world.store().next_scrub_in_seconds(1000), 600);
}

#[test]
fn damage_in_the_journal_is_found_by_a_scrub() {
    let world = World::new();
    let store = world.store();
    for number in 0..3 {
        let image = image(store, &[&format!("layer {number}")], None);
        commit(store, whole("a", &image, None)).unwrap();
    }
    assert_eq!(scrub(store).journal_damage, None);
    let name = store.dir().list("journal").unwrap()[0].name.clone();
    let file = store.dir().open_write(&format!("journal/{name}"), Create::Existing).unwrap();
    file.write_at(b"?", 2 * 4096 + 100).unwrap();
    let damage = scrub(store).journal_damage.unwrap();
    assert!(damage.contains(&name) && damage.contains("8192"), "{damage}");
}
