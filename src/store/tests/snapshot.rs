//! Making the index anew takes as long as what came after a snapshot, and damage below one hides nothing.

use super::world::{World, commit, image, repository, whole};
use crate::progress::Silent;
use crate::store::{CheckDepth, CommitError, ConditionKind, ScrubOptions, Store, StoreSettings, walk_journal};
use crate::sys::dir::{Create, Dir, read_bounded};

fn publish(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let image = image(world.store(), &[&format!("layer {number}")], None);
        commit(world.store(), whole("a", &image, Some(&format!("v{number}")))).unwrap();
    }
}

fn tags_count(world: &World) -> usize {
    world.store().tags(&repository("a"), None, 100).unwrap().len()
}

fn lose_index(dir: &dyn Dir) {
    dir.remove_tree("index").unwrap();
    dir.create_dir_all("index").unwrap();
}

fn spoil(dir: &dyn Dir, path: &str, at: u64) {
    dir.open_write(path, Create::Existing).unwrap().write_at(b"?!", at).unwrap();
}

/// A store with four events below a snapshot, in a sealed segment, and two above it.
fn world() -> (World, String, String) {
    let mut world = World::new();
    publish(&world, 0..4);
    let report = world.store().snapshot().unwrap();
    assert_eq!(report.position, world.store().head());
    publish(&world, 4..6);
    world.close();
    let dir = world.dir();
    let names: Vec<String> =
        dir.list("journal").unwrap().into_iter().map(|entry| format!("journal/{}", entry.name)).collect();
    let [below, above] = names.try_into().unwrap();
    (world, below, above)
}

#[test]
fn an_index_is_made_from_the_snapshot_and_is_what_the_journal_makes_of_it() {
    let (mut world, _, _) = world();
    lose_index(world.dir().as_ref());
    world.reopen();
    assert_eq!((tags_count(&world), world.store().read_only()), (6, None));
    assert!(world.store().check(CheckDepth::Full, &Silent).unwrap().is_sound());
    publish(&world, 6..7);
    assert_eq!(world.store().rebuild(&Silent).unwrap().head, world.store().head());
}

#[test]
fn damage_below_a_snapshot_stops_nothing_and_is_told() {
    let (mut world, below, _) = world();
    let dir = world.dir();
    spoil(dir.as_ref(), &below, 2 * 4096 + 60);
    lose_index(dir.as_ref());
    world.reopen();
    assert_eq!((tags_count(&world), world.store().read_only()), (6, None));
    publish(&world, 6..7);
    let options = ScrubOptions { bytes_per_second: 0 };
    let told = world.store().scrub(options, &|| false, &Silent).unwrap().journal_damage.unwrap();
    assert!(told.contains(&below), "{told}");
    world.store().rebuild(&Silent).unwrap();
    assert_eq!(tags_count(&world), 7);
    // Gone altogether, it is no other.
    world.close();
    dir.remove(&below).unwrap();
    lose_index(dir.as_ref());
    world.reopen();
    assert_eq!((tags_count(&world), world.store().read_only()), (7, None));
}

#[test]
fn damage_above_a_snapshot_is_told_for_as_long_as_it_is_there_and_put_below_one() {
    let (mut world, _, above) = world();
    let dir = world.dir();
    let sound = read_bounded(dir.as_ref(), &above, 4 << 20).unwrap();
    spoil(dir.as_ref(), &above, 4096 + 60);
    world.reopen();
    let scrub = |store: &Store| store.scrub(ScrubOptions { bytes_per_second: 0 }, &|| false, &Silent).unwrap();
    assert_eq!(world.store().conditions(), [], "nobody has looked");
    assert!(scrub(world.store()).journal_damage.is_some());
    world.reopen();
    let [told] = world.store().conditions().try_into().unwrap();
    assert_eq!(told.kind, ConditionKind::JournalDamaged);
    assert!(told.detail.contains(&above) && told.detail.contains("a snapshot stands above it"), "{told:?}");
    world.close();
    // What the index knew is in the snapshot now.
    lose_index(dir.as_ref());
    world.reopen();
    assert_eq!((tags_count(&world), world.store().read_only()), (6, None));
    dir.open_write(&above, Create::Existing).unwrap().write_at(&sound, 0).unwrap();
    assert!(scrub(world.store()).is_sound());
    assert_eq!(world.store().conditions(), []);
}

#[test]
fn a_reserve_that_was_given_up_is_told_until_it_is_there_again() {
    let mut world = World::new();
    world.close();
    let settings = StoreSettings { reserve_bytes: 2 << 20, ..StoreSettings::default() };
    let open = || Store::open(world.dir(), world.clock(), &settings).unwrap();
    let store = open();
    assert_eq!(store.conditions(), []);
    store.dir().remove("reserve").unwrap();
    let [told] = store.conditions().try_into().unwrap();
    assert_eq!(told.kind, ConditionKind::ReserveGivenUp);
    drop(store);
    assert_eq!(open().conditions(), []);
}

#[test]
fn damage_above_a_snapshot_is_named_and_everything_before_it_is_served() {
    let (mut world, _, above) = world();
    let dir = world.dir();
    spoil(dir.as_ref(), &above, 4096 + 60);
    lose_index(dir.as_ref());
    world.reopen();
    assert_eq!(tags_count(&world), 4);
    let reason = world.store().read_only().unwrap();
    let last = world.store().head().sequence;
    for word in [above.as_str(), "byte 4096", &format!("after event {last} is lost"), "postern restore"] {
        assert!(reason.contains(word), "{word} in {reason}");
    }
    assert!(matches!(commit(world.store(), vec![]), Err(CommitError::ReadOnly { .. })));
}

#[test]
fn a_snapshot_that_is_not_whole_is_passed_over() {
    let (mut world, _, _) = world();
    world.reopen();
    world.store().snapshot().unwrap();
    world.close();
    let dir = world.dir();
    let names = dir.list("snapshots").unwrap();
    assert_eq!(names.len(), 2);
    for broken in names.iter().rev() {
        let path = format!("snapshots/{}", broken.name);
        spoil(dir.as_ref(), &path, broken.stat.len_bytes / 2);
        lose_index(dir.as_ref());
        world.reopen();
        assert_eq!((tags_count(&world), world.store().read_only()), (6, None), "{path}");
        world.close();
    }
}

#[test]
fn a_sealed_segment_never_changes_again_and_a_walk_sees_every_event() {
    let (mut world, below, above) = world();
    let dir = world.dir();
    let before = read_bounded(dir.as_ref(), &below, 4 << 20).unwrap();
    world.reopen();
    world.store().seal_segment().unwrap();
    let empty = world.store().seal_segment().unwrap();
    assert_eq!(dir.list("journal").unwrap().len(), 3, "an empty segment is not ended");
    world.reopen();
    assert_eq!(world.store().head(), empty);
    publish(&world, 6..8);
    let mut seen = Vec::new();
    let walk = walk_journal(dir.as_ref(), &mut |position| seen.push(position.sequence)).unwrap();
    assert_eq!((walk.segments.len(), walk.damage.clone(), walk.is_torn), (3, None, false));
    assert_eq!((walk.events_count, seen.len() as u64), (empty.sequence + 6, empty.sequence + 6));
    assert_eq!(walk.last, Some(world.store().head()));
    assert_eq!(read_bounded(dir.as_ref(), &below, 4 << 20).unwrap(), before);
    assert!(dir.stat(&above).unwrap().is_some());
}
