//! An update of trust out of a TUF repository that came as files: root by root from the one that was accepted last, then time
//! stamp, snapshot and targets, none of them older than what was accepted before, each naming the next.
//!
//! Every file is read with a bound. Delegations are not followed: what counts is what the top-level targets name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Metadata, Role, RootMetadata, TufError};
use crate::limits::{TRUST_OBJECT_BYTES_MAX, TUF_METADATA_BYTES_MAX, TUF_ROOTS_COUNT_MAX, TUF_TARGETS_COUNT_MAX};

/// Why a file of the repository was not read; that it is absent is no error.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("it is {bytes} bytes long, the most is {limit_bytes}")]
    TooLong { bytes: u64, limit_bytes: usize },
    #[error(transparent)]
    Unread(Box<dyn std::error::Error + Send + Sync>),
}

/// The files of a repository, wherever they lie.
pub trait Files {
    /// A file of at most `limit_bytes`. One that is longer is an error and is not read.
    fn read(&self, name: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>, FileError>;
}

/// The newest version of each role that was ever accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub root: u64,
    pub timestamp: u64,
    pub snapshot: u64,
    pub targets: u64,
}

impl Versions {
    /// What is known from two memories: the newer root's, and of the same root whatever either has seen.
    pub fn newest(self, other: Self) -> Self {
        match self.root.cmp(&other.root) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal => Self {
                root: self.root,
                timestamp: self.timestamp.max(other.timestamp),
                snapshot: self.snapshot.max(other.snapshot),
                targets: self.targets.max(other.targets),
            },
        }
    }
}

/// Where trust stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The root metadata that was accepted last.
    pub root: Vec<u8>,
    pub versions: Versions,
}

/// Metadata that is past its time, and was taken because somebody said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    pub role: String,
    pub expires: Timestamp,
}

/// What an update brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub accepted: Accepted,
    /// Name and content of every target.
    pub targets: Vec<(String, Vec<u8>)>,
    /// What was past its time.
    pub expired: Vec<Expired>,
    /// When the time stamp was signed, where it says so.
    pub issued: Option<Timestamp>,
}

/// Why an update is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("'{name}' of the update cannot be read")]
    Unread { name: String, source: FileError },
    #[error("'{0}' of the update is not there")]
    Missing(String),
    #[error("'{name}' of the update is not believed")]
    Metadata {
        name: String,
        #[source]
        source: TufError,
    },
    #[error("the root of the update is version {found}, and '{next}.root.json', which leads there, is not there")]
    Gap { next: u64, found: u64 },
    #[error("more than {TUF_ROOTS_COUNT_MAX} roots follow one another in the update")]
    TooManyRoots,
    #[error("the update names more than {TUF_TARGETS_COUNT_MAX} targets")]
    TooManyTargets,
    #[error("target '{0}' of the update is longer than {TRUST_OBJECT_BYTES_MAX} bytes")]
    TargetTooLarge(String),
}

impl UpdateError {
    /// Whether nothing but its time speaks against it.
    pub const fn is_expiry(&self) -> bool {
        matches!(self, Self::Metadata { source: TufError::Expired(_), .. })
    }

    /// Whether it says nothing about the update: files are lacking, or cannot be read.
    pub const fn is_about_files(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Unread { source: FileError::Unread(_), .. })
    }
}

/// Walks from what was accepted to what the files hold. With `take_expired`, metadata that is past its time is taken and
/// named; nothing else is let through by it.
pub fn update(
    accepted: &Accepted,
    files: &dyn Files,
    now: Timestamp,
    take_expired: bool,
) -> Result<Update, UpdateError> {
    let mut walk = Walk { files, now, take_expired, expired: Vec::new() };
    let first = RootMetadata::pinned(&accepted.root).map_err(in_file("root.json"))?;
    let (root, root_bytes) = walk.newest_root(&first, &accepted.root)?;
    let known = |role: Role, version: u64, others: &[Role]| {
        let kept = others.iter().chain([&role]).all(|role| first.has_same_keys(&root, *role));
        kept.then_some(version)
    };
    let before = accepted.versions;
    let known_timestamp = known(Role::Timestamp, before.timestamp, &[]);
    let known_snapshot = known(Role::Snapshot, before.snapshot, &[Role::Timestamp]);
    let known_targets = known(Role::Targets, before.targets, &[Role::Snapshot, Role::Timestamp]);

    let bytes = walk.required("timestamp.json", TUF_METADATA_BYTES_MAX)?;
    let timestamp = walk.metadata(&root, "timestamp.json", &bytes, Role::Timestamp, known_timestamp)?;
    let (name, bytes) = walk.listed(&timestamp, "snapshot.json")?;
    let snapshot = walk.metadata(&root, &name, &bytes, Role::Snapshot, known_snapshot)?;
    let (name, bytes) = walk.listed(&snapshot, "targets.json")?;
    let targets = walk.metadata(&root, &name, &bytes, Role::Targets, known_targets)?;

    let versions = Versions {
        root: root.version(),
        timestamp: timestamp.version,
        snapshot: snapshot.version,
        targets: targets.version,
    };
    Ok(Update {
        accepted: Accepted { root: root_bytes, versions },
        targets: walk.targets(&targets)?,
        expired: walk.expired,
        issued: timestamp.issued(),
    })
}

fn in_file(name: &str) -> impl Fn(TufError) -> UpdateError {
    let name = super::shortened(name);
    move |source| UpdateError::Metadata { name: name.clone(), source }
}

struct Walk<'a> {
    files: &'a dyn Files,
    now: Timestamp,
    take_expired: bool,
    expired: Vec<Expired>,
}

impl Walk<'_> {
    fn read(&self, name: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>, UpdateError> {
        let unread = |source| UpdateError::Unread { name: name.to_owned(), source };
        self.files.read(name, limit_bytes).map_err(unread)
    }

    fn required(&self, name: &str, limit_bytes: usize) -> Result<Vec<u8>, UpdateError> {
        self.read(name, limit_bytes)?.ok_or_else(|| UpdateError::Missing(name.to_owned()))
    }

    /// Root by root. Those on the way may be past their time; the newest may not.
    fn newest_root(&mut self, first: &RootMetadata, bytes: &[u8]) -> Result<(RootMetadata, Vec<u8>), UpdateError> {
        let (mut root, mut newest) = (first.clone(), bytes.to_vec());
        for _ in 0..TUF_ROOTS_COUNT_MAX {
            let next = root.version().saturating_add(1);
            let numbered = format!("{next}.root.json");
            let (name, bytes) = match self.read(&numbered, TUF_METADATA_BYTES_MAX)? {
                Some(bytes) => (numbered, bytes),
                None => match self.unnumbered_root(&root)? {
                    Some(bytes) => ("root.json".to_owned(), bytes),
                    None => {
                        self.check_expiry(Role::Root, root.expires(), "root.json")?;
                        return Ok((root, newest));
                    }
                },
            };
            root = root.next(&bytes).map_err(in_file(&name))?;
            newest = bytes;
        }
        Err(UpdateError::TooManyRoots)
    }

    /// `root.json` where it is the next one. An older one, or the same, leads nowhere; a later one needs those between.
    fn unnumbered_root(&self, root: &RootMetadata) -> Result<Option<Vec<u8>>, UpdateError> {
        let Some(bytes) = self.read("root.json", TUF_METADATA_BYTES_MAX)? else { return Ok(None) };
        let found = RootMetadata::pinned(&bytes).map_err(in_file("root.json"))?.version();
        let next = root.version().saturating_add(1);
        match found.cmp(&next) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => Ok(Some(bytes)),
            std::cmp::Ordering::Greater => Err(UpdateError::Gap { next, found }),
        }
    }

    fn check_expiry(&mut self, role: Role, expires: Timestamp, name: &str) -> Result<(), UpdateError> {
        if self.now <= expires {
            return Ok(());
        }
        if !self.take_expired {
            return Err(in_file(name)(TufError::Expired(expires)));
        }
        self.expired.push(Expired { role: role.name().to_owned(), expires });
        Ok(())
    }

    fn metadata(
        &mut self,
        root: &RootMetadata,
        name: &str,
        bytes: &[u8],
        role: Role,
        known: Option<u64>,
    ) -> Result<Metadata, UpdateError> {
        // Expiry is looked at here, so that what is taken all the same is named.
        let metadata = root.verify_metadata(bytes, role, known, Timestamp::MIN).map_err(in_file(name))?;
        self.check_expiry(role, metadata.expires, name)?;
        Ok(metadata)
    }

    /// The metadata that `above` names, under either of the names that repositories give it.
    fn listed(&self, above: &Metadata, name: &str) -> Result<(String, Vec<u8>), UpdateError> {
        let version = above.listed_version(name).ok_or_else(|| in_file(name)(TufError::Field("meta")))?;
        let numbered = format!("{version}.{name}");
        let (found, bytes) = match self.read(&numbered, TUF_METADATA_BYTES_MAX)? {
            Some(bytes) => (numbered, bytes),
            None => (name.to_owned(), self.required(name, TUF_METADATA_BYTES_MAX)?),
        };
        above.check_listed(name, &bytes).map_err(in_file(&found))?;
        Ok((found, bytes))
    }

    fn targets(&self, targets: &Metadata) -> Result<Vec<(String, Vec<u8>)>, UpdateError> {
        let mut found = Vec::new();
        for name in targets.targets() {
            if found.len() == TUF_TARGETS_COUNT_MAX {
                return Err(UpdateError::TooManyTargets);
            }
            let (length, hash) = targets.target(name).ok_or_else(|| in_file(name)(TufError::Field("targets")))?;
            let length = usize::try_from(length).ok().filter(|length| *length <= TRUST_OBJECT_BYTES_MAX);
            let length = length.ok_or_else(|| UpdateError::TargetTooLarge(super::shortened(name)))?;
            // Names are below `targets/` and lead nowhere else.
            if name.split('/').any(|part| part.is_empty() || part == ".." || part == ".") {
                return Err(in_file(name)(TufError::Field("targets")));
            }
            let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
            let folder = if folder.is_empty() { "targets".to_owned() } else { format!("targets/{folder}") };
            let hashed = hash.map(|hash| format!("{folder}/{hash}.{file}"));
            let bytes = match hashed.map(|hashed| self.read(&hashed, length)).transpose()?.flatten() {
                Some(bytes) => bytes,
                None => self.required(&format!("{folder}/{file}"), length)?,
            };
            targets.check_target(name, &bytes).map_err(in_file(name))?;
            found.push((name.to_owned(), bytes));
        }
        Ok(found)
    }
}
