//! Trusted time: raised by what is signed, a step at a time, and by nothing else.

use jiff::Timestamp;

use super::world::{World, commit};
use crate::limits::KIB;
use crate::progress::Silent;
use crate::store::{Change, CommitError, Conflict, Store};
use crate::sys::clock::{RELEASED, trusted_now};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn raise(store: &Store, to: &str) {
    commit(store, vec![Change::RaiseTimeFloor { at: at(to), source: "a log".to_owned() }]).unwrap();
}

fn set(store: &Store, to: &str) {
    let (expected, reason) = (store.time_floor(), "looked at a clock".to_owned());
    commit(store, vec![Change::SetTimeFloor { at: at(to), expected, reason }]).unwrap();
}

/// What counts as now.
fn now(world: &World) -> Timestamp {
    trusted_now(world.clock().wall(), world.store().time_floor())
}

/// A box without a battery: it neither opens nor bricks anything.
#[test]
fn a_clock_at_1970_is_not_believed() {
    let world = World::new();
    world.clock.set_wall(Timestamp::UNIX_EPOCH);
    assert_eq!(now(&world), RELEASED);
    raise(world.store(), "2026-12-24T00:00:00Z");
    assert_eq!(now(&world), at("2026-12-24T00:00:00Z"));
}

#[test]
fn a_clock_that_jumps_to_2099_and_back_leaves_nothing_behind() {
    let mut world = World::new();
    world.clock.set_wall(at("2099-06-01T00:00:00Z"));
    assert_eq!(now(&world), at("2099-06-01T00:00:00Z"), "as long as the clock says so");
    // The journal is written meanwhile; its own time raises nothing.
    raise(world.store(), "2026-12-01T00:00:00Z");
    world.reopen();
    world.clock.set_wall(at("2026-12-02T00:00:00Z"));
    assert_eq!(world.store().time_floor(), at("2026-12-01T00:00:00Z"));
    assert_eq!(now(&world), at("2026-12-02T00:00:00Z"));
}

#[test]
fn a_long_step_waits_for_an_operator_and_is_noted_once() {
    let mut world = World::new();
    raise(world.store(), "2027-11-01T00:00:00Z");
    assert_eq!(world.store().time_floor(), at("2027-11-01T00:00:00Z"), "a year is no long step");
    let before = world.store().head().sequence;
    raise(world.store(), "2099-01-01T00:00:00Z");
    raise(world.store(), "2099-01-01T00:00:00Z");
    raise(world.store(), "2098-01-01T00:00:00Z");
    assert_eq!(world.store().head().sequence, before + 1);
    for _ in 0..2 {
        assert_eq!(world.store().time_floor(), at("2027-11-01T00:00:00Z"));
        let waiting = world.store().time_waiting().unwrap();
        assert_eq!(waiting, Some((at("2099-01-01T00:00:00Z"), "a log".to_owned())));
        world.reopen();
    }
    // What is within a step is taken meanwhile, and the step goes on waiting.
    raise(world.store(), "2027-12-01T00:00:00Z");
    assert!(world.store().time_waiting().unwrap().is_some());
    set(world.store(), "2099-01-01T00:00:00Z");
    assert_eq!((world.store().time_floor(), world.store().time_waiting().unwrap()), (at("2099-01-01T00:00:00Z"), None));
}

#[test]
fn only_an_operator_lowers_it_and_every_index_knows_that() {
    let mut world = World::new();
    raise(world.store(), "2027-11-01T00:00:00Z");
    raise(world.store(), "2026-12-01T00:00:00Z");
    assert_eq!(world.store().time_floor(), at("2027-11-01T00:00:00Z"), "never by itself");
    set(world.store(), "2026-12-01T00:00:00Z");
    let reason = "r".repeat(64 * KIB);
    let long = Change::SetTimeFloor { at: RELEASED, expected: world.store().time_floor(), reason };
    assert!(matches!(commit(world.store(), vec![long]), Err(CommitError::Conflict(Conflict::TooLong { .. }))));
    let late = Change::SetTimeFloor { at: RELEASED, expected: RELEASED, reason: String::new() };
    assert!(matches!(commit(world.store(), vec![late]), Err(CommitError::Conflict(Conflict::TimeMoved(_)))));
    assert_eq!(world.store().time_floor(), at("2026-12-01T00:00:00Z"));
    world.store().rebuild(&Silent).unwrap();
    world.reopen();
    assert_eq!(world.store().time_floor(), at("2026-12-01T00:00:00Z"));
}
