//! What is told of a store that answers all the same, and how often the disk is read for it.

use std::time::Duration;

use super::world::{World, commit};
use crate::oci::digest::Digest;
use crate::store::{Change, Condition, ConditionKind, policy_path};
use crate::sys::dir;

fn kinds(conditions: Vec<Condition>) -> Vec<ConditionKind> {
    conditions.into_iter().map(|condition| condition.kind).collect()
}

#[test]
fn files_of_trust_are_read_for_anybody_every_ten_seconds_and_for_an_operator_each_time() {
    let world = World::new();
    let store = world.store();
    let write = |text: &[u8], name: &Digest| dir::replace(store.dir().as_ref(), &policy_path(name), text).unwrap();
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    write(b"one", &one);
    commit(store, vec![Change::ActivatePolicy { digest: one }]).unwrap();
    assert_eq!(store.recent_conditions(), []);

    write(b"changed", &one);
    world.clock.advance(Duration::from_secs(9));
    assert_eq!(store.recent_conditions(), [], "what was seen is still told");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(kinds(store.recent_conditions()), [ConditionKind::TrustDamaged]);

    write(b"one", &one);
    assert_eq!(kinds(store.recent_conditions()), [ConditionKind::TrustDamaged]);
    assert_eq!(store.conditions(), [], "an operator is told what is so now");
    assert_eq!(store.recent_conditions(), [], "and so is everybody after him");

    // Another policy has not been looked at yet.
    write(b"other", &other);
    commit(store, vec![Change::ActivatePolicy { digest: other }]).unwrap();
    write(b"changed", &other);
    assert_eq!(kinds(store.recent_conditions()), [ConditionKind::TrustDamaged]);
}
