//! What a store that was told so much must show, without any of how.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::store::Store;
use crate::sys::clock::RELEASED;

/// Where images are put: by pushes, by a mirror, by imports.
pub const REPOSITORIES: [&str; 4] = ["push/a", "push/b", "mirror/c", "in/x"];

/// One change that a commit makes.
#[derive(Clone, Debug)]
pub enum Done {
    Published { repository: &'static str, digest: Digest, known: Known },
    Linked { repository: &'static str, digest: Digest },
    Tagged { repository: &'static str, tag: String, digest: Digest },
    Untagged { repository: &'static str, tag: String },
    Removed { repository: &'static str, digest: Digest },
    Imported(u64),
    Policy(Digest),
    Floor(Timestamp),
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub sparse: bool,
    pub blobs: Vec<Digest>,
    pub children: Vec<Digest>,
}

type Tags = BTreeMap<(&'static str, String), Digest>;

/// Everything that was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub tags: Tags,
    pub manifests: BTreeMap<(&'static str, Digest), Known>,
    /// Blobs that a repository holds and that one of its manifests points at.
    pub links: BTreeSet<(&'static str, Digest)>,
    pub imported: u64,
    pub policy: Option<Digest>,
    pub floor: Timestamp,
}

/// What can be compared with a store as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    tags: Tags,
    /// And whether it is sparse.
    manifests: BTreeMap<(&'static str, Digest), bool>,
    imported: u64,
    policy: Option<Digest>,
    floor: Timestamp,
}

impl Picture {
    pub fn apply(&mut self, all: &[Done]) {
        for done in all.iter().cloned() {
            match done {
                Done::Published { repository, digest, known } => {
                    if !known.sparse {
                        self.links.extend(known.blobs.iter().map(|blob| (repository, *blob)));
                    }
                    self.manifests.insert((repository, digest), known);
                }
                Done::Linked { repository, digest } => {
                    self.links.insert((repository, digest));
                    self.forget_unneeded_links();
                }
                Done::Tagged { repository, tag, digest } => {
                    self.tags.insert((repository, tag), digest);
                }
                Done::Untagged { repository, tag } => {
                    self.tags.remove(&(repository, tag));
                }
                Done::Removed { repository, digest } => {
                    self.manifests.remove(&(repository, digest));
                    self.forget_unneeded_links();
                }
                Done::Imported(sequence) => self.imported = sequence,
                Done::Policy(digest) => self.policy = Some(digest),
                Done::Floor(floor) => self.floor = floor,
            }
        }
    }

    /// Nothing promises that a blob stays which no manifest of its repository points at.
    fn forget_unneeded_links(&mut self) {
        let pointed_at: BTreeSet<_> = self
            .manifests
            .iter()
            .flat_map(|((repository, _), known)| known.blobs.iter().map(|blob| (*repository, *blob)))
            .collect();
        self.links.retain(|link| pointed_at.contains(link));
    }

    /// Content that must be there, and what may be there beside it when nothing is on its way.
    pub fn needed(&self) -> BTreeSet<Digest> {
        self.manifests.keys().map(|(_, digest)| *digest).chain(self.links.iter().map(|(_, digest)| *digest)).collect()
    }

    pub fn seen(&self) -> Seen {
        Seen {
            tags: self.tags.clone(),
            manifests: self.manifests.iter().map(|(key, known)| (*key, known.sparse)).collect(),
            imported: self.imported,
            policy: self.policy,
            floor: self.floor.max(RELEASED),
        }
    }
}

fn differences<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    shown: &BTreeMap<K, V>,
    known: &BTreeMap<K, V>,
) -> String {
    let of = |these: &BTreeMap<K, V>, those: &BTreeMap<K, V>| -> Vec<String> {
        let differ = these.iter().filter(|(key, value)| those.get(key) != Some(value));
        differ.map(|(key, value)| format!("{key:?} = {value:?}")).collect()
    };
    format!("shown {:?}, known {:?}", of(shown, known), of(known, shown))
}

impl Seen {
    /// How this differs from what was acknowledged.
    pub fn beside(&self, known: &Self) -> String {
        let rest = |seen: &Self| format!("set {}, policy {:?}, floor {}", seen.imported, seen.policy, seen.floor);
        format!(
            "tags: {}; manifests: {}; shown {}, known {}",
            differences(&self.tags, &known.tags),
            differences(&self.manifests, &known.manifests),
            rest(self),
            rest(known)
        )
    }

    /// What a store shows.
    pub fn of(store: &Store, sender: &DeviceId) -> Result<Self, String> {
        let failed = |error: crate::store::StoreError| format!("cannot be read: {error}");
        let (mut tags, mut manifests) = (BTreeMap::new(), BTreeMap::new());
        for repository in REPOSITORIES {
            let name = repository.parse().unwrap();
            for (tag, digest) in store.tags(&name, None, 1000).map_err(failed)? {
                tags.insert((repository, tag.as_str().to_owned()), digest);
            }
            for record in store.manifests(&name, None, 1000).map_err(failed)? {
                manifests.insert((repository, record.digest), record.sparse);
            }
        }
        Ok(Self {
            tags,
            manifests,
            imported: store.high_water(sender, super::goods::SERIES).map_err(failed)?,
            policy: store.active_policy().map_err(failed)?,
            floor: store.time_floor(),
        })
    }
}
