//! What somebody should know of a store that answers all the same. Looked at when it is asked for; it changes nothing.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::locked;
use super::{Store, layout, reserve, snapshot};
use crate::limits::{POLICY_BYTES_MAX, TRUST_OBJECT_BYTES_MAX};
use crate::oci::digest::Digest;
use crate::sys::dir::read_bounded;
use crate::verify::policy::ObjectKind;

/// For how long anybody who asks is told what the last look at the files of trust found: they may be many and large.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub kind: ConditionKind,
    /// Where and why, and what to do. For operators: it may hold paths.
    pub detail: String,
}

/// What is not as it should be, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// Nothing can be changed.
    ReadOnly,
    /// The last pass over the journal found what no power cut explains.
    JournalDamaged,
    /// What is kept aside for a full disk is not there.
    ReserveGivenUp,
    /// The policy in force, or what it refers to, is not what was put into force.
    TrustDamaged,
}

impl ConditionKind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::ReadOnly, Self::JournalDamaged, Self::ReserveGivenUp, Self::TrustDamaged];

    /// The word, as it stands in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::JournalDamaged => "journal_damaged",
            Self::ReserveGivenUp => "reserve_given_up",
            Self::TrustDamaged => "trust_damaged",
        }
    }

    /// What it means to anybody, without a word about the inside.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ReadOnly => "pulls are answered and nothing is changed",
            Self::JournalDamaged => "all is served, and the record of changes has a hole",
            Self::ReserveGivenUp => "the disk is or was full",
            Self::TrustDamaged => "what says whom to trust was changed on the disk, and without it nothing is let in",
        }
    }
}

/// Damage that a pass over the journal has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalDamage {
    /// Where it is, and what.
    pub what: String,
    /// The last sound event before it.
    pub after_sequence: u64,
}

/// What the last look at the files of policy and objects found.
#[derive(Debug, Default)]
pub struct LastLook(Mutex<Option<Look>>);

#[derive(Debug)]
struct Look {
    /// When, by the clock that only runs.
    at: Duration,
    in_force: Vec<Named>,
    changed: Option<String>,
}

/// A file that counts, and the digest that it is to have.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    what: String,
    path: String,
    digest: Digest,
}

impl Store {
    /// Everything that is not as it should be; empty in a healthy store. Reads what is trusted, every byte of it.
    pub fn conditions(&self) -> Vec<Condition> {
        self.conditions_with(Duration::ZERO)
    }

    /// The same, with what was found of the files of trust some seconds ago: for questions that anybody may ask, as
    /// often as he likes.
    pub fn recent_conditions(&self) -> Vec<Condition> {
        self.conditions_with(LOOK_AGAIN_AFTER)
    }

    fn conditions_with(&self, age_max: Duration) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let mut add = |kind, detail| conditions.push(Condition { kind, detail });
        if let Some(reason) = self.read_only() {
            add(ConditionKind::ReadOnly, reason);
        }
        let state = &self.shared.state;
        if let Some(damage) = locked(&state.journal_damage).clone() {
            add(ConditionKind::JournalDamaged, self.explain(&damage));
        }
        let (wanted_bytes, has_bytes) = (state.settings.reserve_bytes, reserve::len_bytes(state.dir.as_ref()));
        if has_bytes < wanted_bytes {
            let detail = format!(
                "of the {wanted_bytes} bytes kept aside for a full disk {has_bytes} are there: retire and sweep, or add space; \
                 they are taken again when there is room"
            );
            add(ConditionKind::ReserveGivenUp, detail);
        }
        if let Some(what) = self.changed_trust(age_max) {
            let detail = format!(
                "{what} is not what was put into force, or cannot be read: from the next start on nothing is let in or served; \
                 activate it again from its source"
            );
            add(ConditionKind::TrustDamaged, detail);
        }
        conditions
    }

    /// What counts of policy and objects and is no longer as it was when it began to.
    fn changed_trust(&self, age_max: Duration) -> Option<String> {
        let in_force = self.trust_in_force()?;
        let now = self.clock().running();
        let mut last = locked(&self.shared.state.last_look.0);
        if let Some(look) = &*last
            && now.saturating_sub(look.at) < age_max
            && look.in_force == in_force
        {
            return look.changed.clone();
        }
        let is_whole = |file: &&Named| {
            read_bounded(self.dir().as_ref(), &file.path, TRUST_OBJECT_BYTES_MAX.max(POLICY_BYTES_MAX))
                .is_ok_and(|bytes| Digest::of(&bytes) == file.digest)
        };
        let changed = in_force.iter().find(|file| !is_whole(file)).map(|file| format!("the file of {}", file.what));
        *last = Some(Look { at: now, in_force, changed: changed.clone() });
        changed
    }

    /// The files that count; none where the index cannot say, which is told elsewhere.
    fn trust_in_force(&self) -> Option<Vec<Named>> {
        let named = |what, path, digest| Named { what, path, digest };
        let policy = self.active_policy().ok()?;
        let policy = policy.map(|digest| named(format!("policy '{digest}'"), layout::policy_path(&digest), digest));
        let objects = self.active_objects().ok()?;
        let others = objects
            .iter()
            .filter(|known| known.object.kind() != ObjectKind::Policy)
            .map(|known| named(format!("'{}'", known.object), layout::trust_object_path(&known.digest), known.digest));
        Some(policy.into_iter().chain(others).collect())
    }

    /// Whether a new index could be made in spite of the damage.
    pub(super) fn is_below_a_snapshot(&self, damage: &JournalDamage) -> bool {
        damage.after_sequence < snapshot::newest_sequence(self.dir().as_ref())
    }

    fn explain(&self, damage: &JournalDamage) -> String {
        let JournalDamage { what, after_sequence } = damage;
        let consequence = if self.is_below_a_snapshot(damage) {
            "a snapshot stands above it, so nothing that is served depends on it, and no audit can prove what stood there: \
             take the segment from a backup or from a copy of 'postern audit export'"
        } else {
            "no snapshot stands above it: if the index is lost too, what came after it is lost. Run 'postern backup' now, \
             which writes a snapshot, and look at the disk"
        };
        format!("the journal is damaged behind event {after_sequence}, in {what}; {consequence}")
    }
}

#[cfg(test)]
mod tests {
    use super::ConditionKind;

    #[test]
    fn the_words_are_those_of_the_json() {
        for kind in ConditionKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
