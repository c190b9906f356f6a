//! Updates of trust out of a TUF repository that was carried here: a directory, or an artifact of the store that came in a
//! transfer bundle. What was accepted last is remembered in files of its own, and in the journal.
//!
//! ```text
//! trust/tuf/<name>/root.json     the root metadata that was accepted last
//! trust/tuf/<name>/state.json    {"version":1,"versions":{"root":…,"timestamp":…,"snapshot":…,"targets":…}}
//! ```
//!
//! They are no part of the index, which may be made anew at any time; of the two memories the newer one counts.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{AddedObject, UpdateOrder, UpdateReport, UpdateSource};
use crate::admission::{Content as _, Stored};
use crate::app::appliance::Appliance;
use crate::app::failure::{Failure, FailureKind};
use crate::app::images;
use crate::app::kinds::Kind;
use crate::limits::{KIB, MANIFEST_BYTES_MAX, TUF_METADATA_BYTES_MAX};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::name::{ImageReference, RepositoryName};
use crate::store::{AcceptedUpdate, Change, Store, TRUST_OBJECTS, Transaction, trust_object_path};
use crate::sys::clock::trusted_now;
use crate::sys::dir::{Dir, DirError, read_bounded, replace};
use crate::sys::dir_real::RealDir;
use crate::verify::policy::objects::check;
use crate::verify::policy::{ObjectKind, ObjectName, TrustObjects};
use crate::verify::tuf::{Accepted, FileError, Files, RootMetadata, Update, UpdateError, Versions, update};

const FOLDER: &str = "trust/tuf";
const VERSION: u32 = 1;
/// What the target of a Sigstore repository is called that is its trusted root.
const SIGSTORE_ROOT: &str = "trusted_root.json";
/// The annotation under which clients keep the name of a file that is a layer.
const TITLE: &str = "org.opencontainers.image.title";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    versions: Versions,
}

impl Kind for UpdateError {
    fn kind(&self) -> FailureKind {
        if self.is_about_files() { FailureKind::Usage } else { FailureKind::Refused }
    }
}

/// A directory that somebody named.
struct Directory(RealDir);

impl Files for Directory {
    fn read(&self, name: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
        let unread = |error: DirError| FileError::Unread(error.into());
        match self.0.stat(name).map_err(unread)? {
            None => Ok(None),
            Some(stat) if stat.len_bytes > limit_bytes as u64 => {
                Err(FileError::TooLong { bytes: stat.len_bytes, limit_bytes })
            }
            // It may have grown since: then it is not read either.
            Some(_) => read_bounded(&self.0, name, limit_bytes).map(Some).map_err(unread),
        }
    }
}

/// An artifact of the store whose layers have the names of files.
struct Artifact<'a> {
    stored: Stored<'a>,
    layers: Vec<Descriptor>,
}

impl Files for Artifact<'_> {
    fn read(&self, name: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
        let Some(layer) = self.layers.iter().find(|layer| layer.annotations.get(TITLE).is_some_and(|is| is == name))
        else {
            return Ok(None);
        };
        if layer.size > limit_bytes as u64 {
            return Err(FileError::TooLong { bytes: layer.size, limit_bytes });
        }
        let bytes = self.stored.blob(&layer.digest, limit_bytes).map_err(FileError::Unread)?;
        Ok(bytes.filter(|bytes| Digest::of(bytes) == layer.digest))
    }
}

/// Takes an update: verified as a whole first, its files and the memory of it durable next, the journal last.
pub fn take(appliance: &Appliance, order: &UpdateOrder) -> Result<UpdateReport, Failure> {
    // A name is one of objects too: the trusted root of the repository is called so.
    let name = ObjectName::new(ObjectKind::Root, &order.name)?;
    let store = &appliance.store;
    let dir = store.dir().as_ref();
    let files = files(store, &order.from)?;
    let accepted = accepted(store, order, files.as_ref())?;
    let now = trusted_now(store.clock().wall(), store.time_floor());
    let take_expired = order.accept_expired.is_some();
    let brought = update(&accepted, files.as_ref(), now, take_expired);
    let brought = brought.map_err(|error| {
        let expired = error.is_expiry();
        let failure = Failure::from(error);
        match expired {
            true => failure.next(
                "bring a newer update; or take this one all the same, journalled with your reason: --accept-expired REASON",
            ),
            false => failure.next("nothing was changed; get the update again from its source"),
        }
    })?;
    let (objects, ignored) = objects(&name, &brought)?;
    only_its_own(store, &order.name, &objects)?;
    let mut changes = vec![Change::AcceptTrustUpdate {
        name: order.name.clone(),
        versions: brought.accepted.versions,
        root: Digest::of(&brought.accepted.root),
        expired: brought.expired.clone(),
        reason: order.accept_expired.clone(),
    }];
    if let Some(at) = brought.issued {
        changes.push(Change::RaiseTimeFloor { at, source: format!("update of trust '{}'", order.name) });
    }
    dir.create_dir_all(TRUST_OBJECTS)?;
    for (object, text) in &objects {
        let digest = Digest::of(text.as_bytes());
        replace(dir, &trust_object_path(&digest), text.as_bytes())?;
        let source = format!("{}targets {}", source_of(&order.name), brought.accepted.versions.targets);
        changes.push(Change::AddTrustObject { object: object.clone(), digest, source });
    }
    let before = store.head().sequence;
    remember(dir, &order.name, &brought.accepted)?;
    store.commit(Transaction::new(Appliance::operator(), changes))?;
    tracing::info!(name = order.name, versions = ?brought.accepted.versions, "update of trust accepted");
    let records = super::objects::records(store)?;
    let objects = objects.into_iter().filter_map(|(object, _)| {
        let record = records.iter().rfind(|record| record.object == object)?;
        Some(AddedObject { object, version: record.version, already_there: record.sequence <= before })
    });
    Ok(UpdateReport {
        name: order.name.clone(),
        before: accepted.versions,
        versions: brought.accepted.versions,
        objects: objects.collect(),
        ignored,
        expired: brought.expired,
    })
}

/// How a version says that an update of this repository brought it.
fn source_of(name: &str) -> String {
    format!("update '{name}', ")
}

/// Whoever signs one repository's updates goes on with no object that somebody else has begun.
fn only_its_own(store: &Store, name: &str, objects: &[Named]) -> Result<(), Failure> {
    let records = super::objects::records(store)?;
    for (object, text) in objects {
        let Some(newest) = records.iter().rfind(|record| record.object == *object) else { continue };
        if !newest.source.starts_with(&source_of(name)) && newest.digest != Digest::of(text.as_bytes()) {
            let what = format!("the update of '{name}' would go on with '{object}', which came from {}", newest.source);
            return Err(Failure::new(FailureKind::Refused, what).next(
                "nothing was changed; have it called otherwise there, or add it by hand with `postern trust add`",
            ));
        }
    }
    Ok(())
}

fn files<'a>(store: &'a Store, from: &'a UpdateSource) -> Result<Box<dyn Files + 'a>, Failure> {
    Ok(match from {
        UpdateSource::Directory(path) => Box::new(open(path)?),
        UpdateSource::Image(image) => Box::new(artifact(store, &image.repository, image)?),
    })
}

fn open(path: &Path) -> Result<Directory, Failure> {
    RealDir::open(path).map(Directory).map_err(|error| {
        Failure::of(FailureKind::Usage, &error).next("name the directory of the repository, with timestamp.json in it")
    })
}

fn artifact<'a>(
    store: &'a Store,
    repository: &'a RepositoryName,
    image: &ImageReference,
) -> Result<Artifact<'a>, Failure> {
    let record = images::found(store, image)?;
    let damaged = || {
        Failure::new(FailureKind::Damaged, format!("the manifest of '{image}' cannot be read"))
            .next("`postern store check` tells more")
    };
    let bytes = store.blobs().read(&record.digest, MANIFEST_BYTES_MAX)?.ok_or_else(damaged)?;
    let manifest = Manifest::parse_with(&bytes, &record.media_type, record.digest.algorithm())
        .map_err(|error| damaged().because(&error))?;
    Ok(Artifact { stored: Stored { store, repository }, layers: manifest.parts })
}

fn state_path(name: &str) -> String {
    format!("{FOLDER}/{name}/state.json")
}

fn root_path(name: &str) -> String {
    format!("{FOLDER}/{name}/root.json")
}

fn read(dir: &dyn Dir, path: &str, limit_bytes: usize) -> Result<Option<Vec<u8>>, DirError> {
    match read_bounded(dir, path, limit_bytes) {
        Err(error) if error.is_not_found() => Ok(None),
        read => read.map(Some),
    }
}

/// What was accepted last of this repository, or the root that somebody has brought for the beginning.
fn accepted(store: &Store, order: &UpdateOrder, files: &dyn Files) -> Result<Accepted, Failure> {
    let dir = store.dir().as_ref();
    let in_journal = store.accepted_update(&order.name)?.unwrap_or_default();
    let known = read(dir, &root_path(&order.name), TUF_METADATA_BYTES_MAX)?;
    let brought = order.root.as_ref().map(|text| text.clone().into_bytes());
    let is_lost = known.is_none();
    let root = match (known, brought) {
        (Some(known), None) => known,
        (Some(known), Some(brought)) if known == brought => known,
        (Some(_), Some(_)) => {
            return Err(Failure::usage(format!("'{}' has a root already, and roots follow one another", order.name))
                .next("leave out --root; or begin another repository with another --name"));
        }
        (None, Some(brought)) => brought,
        // After a restore the journal knows which it was, and repositories keep their old roots.
        (None, None) => recorded_root(&in_journal, files).ok_or_else(|| no_root(&order.name, &in_journal))?,
    };
    let version = RootMetadata::pinned(&root)
        .map_err(|error| Failure::of(FailureKind::Refused, &error).next("give root metadata of TUF, signed by itself"))?
        .version();
    let versions = remembered(dir, &order.name)?.newest(in_journal.versions);
    // A file may be ahead of the journal, when the power went between the two. What somebody brings may not.
    let recorded = in_journal.root.filter(|_| is_lost || version == in_journal.versions.root);
    if version < versions.root || recorded.is_some_and(|recorded| recorded != Digest::of(&root)) {
        let what =
            format!("root {version} of '{}' is not root {}, which was accepted before", order.name, versions.root);
        return Err(Failure::new(FailureKind::Refused, what).next(give_root(&in_journal)));
    }
    Ok(Accepted { root, versions })
}

/// The root that the journal names, where the update holds it.
fn recorded_root(in_journal: &AcceptedUpdate, files: &dyn Files) -> Option<Vec<u8>> {
    let digest = in_journal.root?;
    let name = format!("{}.root.json", in_journal.versions.root);
    let bytes = files.read(&name, TUF_METADATA_BYTES_MAX).ok().flatten()?;
    (Digest::of(&bytes) == digest).then_some(bytes)
}

fn no_root(name: &str, in_journal: &AcceptedUpdate) -> Failure {
    match in_journal.root {
        None => Failure::usage(format!("no root of '{name}' was ever accepted here"))
            .next("give the root metadata that you have compared with its source: --root FILE"),
        Some(_) => Failure::usage(format!("the root of '{name}' that was accepted last is no longer here"))
            .next(give_root(in_journal)),
    }
}

fn give_root(in_journal: &AcceptedUpdate) -> String {
    match in_journal.root {
        None => "give the root that was accepted last: --root FILE".to_owned(),
        Some(digest) => format!("give root {} of {digest}: --root FILE", in_journal.versions.root),
    }
}

/// What stands in the files beside the store.
fn remembered(dir: &dyn Dir, name: &str) -> Result<Versions, Failure> {
    let damaged = |what: &str| {
        Failure::new(FailureKind::Damaged, format!("what was accepted of '{name}' {what}"))
            .next(format!("restore '{FOLDER}/{name}' from a backup, or begin another repository with another --name"))
    };
    let Some(bytes) = read(dir, &state_path(name), KIB)? else { return Ok(Versions::default()) };
    let state: State = serde_json::from_slice(&bytes).map_err(|error| damaged("cannot be read").because(&error))?;
    match state.version {
        VERSION => Ok(state.versions),
        _ => Err(damaged("was written by a newer version")),
    }
}

fn remember(dir: &dyn Dir, name: &str, accepted: &Accepted) -> Result<(), Failure> {
    dir.create_dir_all(&format!("{FOLDER}/{name}"))?;
    replace(dir, &root_path(name), &accepted.root)?;
    let state = State { version: VERSION, versions: accepted.versions };
    let bytes = serde_json::to_vec(&state).expect("numbers always serialise");
    replace(dir, &state_path(name), &bytes)?;
    dir.sync_dir(FOLDER)?;
    Ok(dir.sync_dir("trust")?)
}

/// An object and its text.
type Named = (ObjectName, String);

/// Targets as objects, and the names of those that are none.
fn objects(name: &ObjectName, brought: &Update) -> Result<(Vec<Named>, Vec<String>), Failure> {
    let (mut objects, mut ignored) = (Vec::new(), Vec::new());
    for (target, bytes) in &brought.targets {
        let stem = target.rsplit_once('.').map_or(target.as_str(), |(stem, _)| stem);
        let object = if target == SIGSTORE_ROOT { Some(name.clone()) } else { stem.parse::<ObjectName>().ok() };
        let (Some(object), Ok(text)) = (object, std::str::from_utf8(bytes)) else {
            ignored.push(target.clone());
            continue;
        };
        if object.kind() != ObjectKind::Policy {
            check(object.kind(), text, &TrustObjects::default()).map_err(|reason| {
                Failure::new(
                    FailureKind::Refused,
                    format!("target '{target}' of the update cannot be '{object}': {reason}"),
                )
                .next("nothing was changed; tell whoever signs the updates")
            })?;
        }
        objects.push((object, text.to_owned()));
    }
    Ok((objects, ignored))
}
