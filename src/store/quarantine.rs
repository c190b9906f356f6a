//! Content whose bytes the disk has changed: taken out of `blobs/`, kept aside, and which images lack it.
//!
//! ```text
//! quarantine/<algorithm>-<hex>       what stood under that name and does not hash to it
//! ```
//!
//! No event says so: what the appliance should hold is what it was, and only the bytes are gone. They count as absent, so
//! the next upload, download or import of the same content puts them in their place again, and the file here goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::blobs::{Blobs, hash};
use super::check::expected_file;
use super::layout;
use super::rows::{BLOBS, MANIFESTS, scan_prefix, split_repository};
use super::sequencer::Sequencer;
use super::{Store, StoreError};
use crate::limits::{LACKING_COUNT_MAX, LISTING_ENTRIES_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::name::{RepositoryName, Tag};
use crate::sys::dir::{DirError, parent};
use crate::sys::kill_point::kill_point;

/// Content that should be here and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    pub digest: Digest,
    pub size_bytes: u64,
    /// Whether its changed bytes are in quarantine; else there is no file at all.
    pub quarantined: bool,
    /// Where it is held, as a manifest or as a blob.
    pub held_by: Vec<Holder>,
}

/// A repository that holds some content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub repository: RepositoryName,
    pub is_manifest: bool,
}

/// An image that cannot be pulled whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HurtImage {
    pub repository: RepositoryName,
    /// The manifest that nothing else lists.
    pub digest: Digest,
    pub tags: Vec<Tag>,
}

/// What is lacking, and what that hurts: what a repair bundle must carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// The first; more than a thousand are not listed.
    pub lacking: Vec<Lacking>,
    pub images: Vec<HurtImage>,
}

impl Losses {
    /// Whether everything is here.
    pub fn is_empty(&self) -> bool {
        self.lacking.is_empty()
    }
}

/// The file of some content in quarantine.
pub(super) fn path(digest: &Digest) -> String {
    format!("{}/{}-{}", layout::QUARANTINE, digest.algorithm().name(), digest.hex())
}

fn digest_of(file_name: &str) -> Option<Digest> {
    file_name.replacen('-', ":", 1).parse().ok()
}

impl Store {
    /// What is in quarantine.
    pub fn quarantined(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let entries = self.dir().list(layout::QUARANTINE)?;
        Ok(entries.iter().filter_map(|entry| digest_of(&entry.name)).collect())
    }

    /// Takes content out of the way whose bytes do not hash to its name; whether that was so.
    pub(super) fn quarantine(&self, digest: Digest) -> Result<bool, StoreError> {
        self.alone(move |sequencer| quarantine(sequencer, &digest))?
    }

    /// Everything that some repository holds and that has no file of its length, and the images that need it.
    pub fn losses(&self) -> Result<Losses, StoreError> {
        let quarantined = self.quarantined()?;
        let mut lacking = self.lacking()?;
        for loss in lacking.values_mut() {
            loss.quarantined = quarantined.contains(&loss.digest);
        }
        let mut images = BTreeSet::new();
        for loss in lacking.values() {
            for holder in &loss.held_by {
                images.extend(self.hurt_in(&holder.repository, &loss.digest)?);
            }
        }
        Ok(Losses { lacking: lacking.into_values().collect(), images: images.into_iter().collect() })
    }

    fn lacking(&self) -> Result<BTreeMap<Digest, Lacking>, StoreError> {
        let blobs = self.blobs();
        self.shared.state.look(|rows| {
            let mut lacking: BTreeMap<Digest, Lacking> = BTreeMap::new();
            for collection in [BLOBS, MANIFESTS] {
                let mut outcome = Ok(());
                scan_prefix(rows, &[collection], &[collection], &mut |key, value| {
                    let (digest, size_bytes) = match expected_file(collection, key, value) {
                        Ok(Some(expected)) => expected,
                        Ok(None) => return ControlFlow::Continue(()),
                        Err(error) => {
                            outcome = Err(error);
                            return ControlFlow::Break(());
                        }
                    };
                    let known = lacking.contains_key(&digest);
                    let is_here = !known && matches!(blobs.stat(&digest), Ok(Some(bytes)) if bytes == size_bytes);
                    if !is_here
                        && (known || lacking.len() < LACKING_COUNT_MAX)
                        && let Some((repository, _)) = split_repository(key)
                    {
                        let holder = Holder { repository, is_manifest: collection == MANIFESTS };
                        let loss = || Lacking { digest, size_bytes, quarantined: false, held_by: Vec::new() };
                        lacking.entry(digest).or_insert_with(loss).held_by.push(holder);
                    }
                    ControlFlow::Continue(())
                })?;
                outcome?;
            }
            Ok(lacking)
        })
    }

    /// The manifests of a repository that need some content and that nothing else there lists.
    fn hurt_in(&self, repository: &RepositoryName, digest: &Digest) -> Result<Vec<HurtImage>, StoreError> {
        let (mut hurt, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![*digest]);
        while let Some(digest) = open.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let parents = self.parents(repository, &digest)?;
            let tags = self.tags_of(repository, &digest, LISTING_ENTRIES_COUNT_MAX)?;
            let is_manifest = self.manifest(repository, &digest)?.is_some();
            if is_manifest && (parents.is_empty() || !tags.is_empty()) {
                hurt.push(HurtImage { repository: repository.clone(), digest, tags });
            }
            open.extend(parents);
        }
        Ok(hurt)
    }

    /// Forgets changed bytes of content that is here again, or that nobody holds any more.
    pub(super) fn clear_quarantine(&self) -> Result<u64, StoreError> {
        let mut cleared = 0;
        let quarantined = self.quarantined()?;
        let all: BTreeMap<Digest, u64> = quarantined.iter().map(|digest| (*digest, 0)).collect();
        let unowned = self.shared.state.look(|rows| super::reach::unowned(rows, all))?;
        for digest in quarantined {
            if self.blobs().has(&digest) || unowned.contains_key(&digest) {
                self.dir().remove(&path(&digest))?;
                cleared += 1;
            }
        }
        Ok(cleared)
    }
}

/// Here, because no commit can link it meanwhile. It is moved first and looked at then: a sound file may have taken the
/// place of the changed one since somebody looked.
fn quarantine(sequencer: &mut Sequencer, digest: &Digest) -> Result<bool, StoreError> {
    let dir = sequencer.state.dir.as_ref();
    let (from, to) = (layout::blob_path(digest), path(digest));
    match dir.rename(&from, &to) {
        Err(error) if error.is_not_found() => return Ok(false),
        renamed => renamed?,
    }
    if is_sound(dir, &to, digest) {
        dir.rename(&to, &from)?;
        dir.sync_dir(parent(&from))?;
        return Ok(false);
    }
    kill_point("scrub-quarantined");
    dir.sync_dir(layout::QUARANTINE)?;
    dir.sync_dir(parent(&from))?;
    tracing::error!(%digest, "content was changed by the disk and is in quarantine; 'postern store repair' says what is hurt");
    Ok(true)
}

fn is_sound(dir: &dyn crate::sys::dir::Dir, path: &str, digest: &Digest) -> bool {
    let hashed = dir.open(path).map(|file| {
        file.drop_cache();
        hash(file.as_ref(), digest.algorithm())
    });
    matches!(hashed, Ok(Ok((actual, _))) if actual == *digest)
}

impl Blobs {
    /// Whether a file still hashes to its name, read from the device; none where it is gone. A file that cannot be read is
    /// not sound.
    pub(super) fn is_sound(&self, digest: &Digest) -> Result<Option<(bool, u64)>, DirError> {
        let Ok(Some(file)) = self.open(digest) else { return Ok(None) };
        file.drop_cache();
        Ok(Some(match hash(file.as_ref(), digest.algorithm()) {
            Ok((actual, bytes)) => (actual == *digest, bytes),
            Err(_) => (false, 0),
        }))
    }
}
