//! Operations on backups: taking one, restoring from one, trying that a restore works.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::appliance::Appliance;
use super::failure::{Failure, FailureKind};
use super::kinds::Kind;
use super::setup::{SetupOrder, set_up};
use crate::backup::{
    self, BackupReport, BackupState, CONTENT, CopyError, RestoreError, RestoreOrder, RestoreReport, TakeError,
    TakeOptions, TakeReport,
};
use crate::limits::LISTING_ENTRIES_COUNT_MAX;
use crate::oci::name::RepositoryName;
use crate::progress::Progress;
use crate::store::{ConfirmError, Losses, Position, Restored, Store, StoreSettings, VERSION_FILE};
use crate::sys::clock::{Clock, RealClock};
use crate::sys::dir::{Dir, read_bounded, replace};
use crate::sys::dir_layered::LayeredDir;
use crate::sys::dir_real::RealDir;
use crate::sys::identity::Identity;
use crate::sys::keys::KeyRing;
use crate::sys::random;

/// A backup, and where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackedUp {
    pub to: PathBuf,
    #[serde(flatten)]
    pub taken: TakeReport,
}

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct RestoreCommand {
    pub from: PathBuf,
    pub data_dir: PathBuf,
    /// The `identity/` of the lost appliance, kept elsewhere. Without it the new one is another device.
    pub keys: Option<PathBuf>,
    /// Takes the keys of another device than the one that was backed up.
    pub adopt_keys: bool,
    /// Data directory of a damaged store whose marks must not be forgotten.
    pub survivor: Option<PathBuf>,
    pub content_later: bool,
}

/// A restored data directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestoredReport {
    pub data_dir: PathBuf,
    pub seconds: f64,
    /// Whether it is the same device as before.
    pub same_device: bool,
    pub fingerprint: String,
    #[serde(flatten)]
    pub restore: RestoreReport,
}

/// The new epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Confirmed {
    pub position: Position,
}

/// How a restore went that was only tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrillReport {
    pub from: PathBuf,
    pub position: Position,
    pub taken: jiff::Timestamp,
    /// From nothing to a store that answers, with its content still in the backup.
    pub seconds_to_answer: f64,
    /// Hashing all of the content, where that was asked for.
    pub seconds_to_hash: Option<f64>,
    pub repositories_count: u64,
    pub tags_count: u64,
    pub files_count: u64,
    pub content_bytes: u64,
    #[serde(flatten)]
    pub losses: Losses,
    pub damaged_count: u64,
    /// Other files that are not what was copied into the backup.
    pub changed: Vec<String>,
    /// What is missing of the journal.
    pub journal_missing: Option<String>,
}

impl DrillReport {
    /// Whether a restore would bring back all that was backed up.
    pub fn is_sound(&self) -> bool {
        self.losses.is_empty() && self.damaged_count == 0 && self.changed.is_empty() && self.journal_missing.is_none()
    }
}

impl Kind for CopyError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::From(error) | Self::To(error) => error.kind(),
        }
    }
}

impl Kind for TakeError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Other => FailureKind::Usage,
            Self::Store(error) => error.kind(),
            Self::Checkpoint(error) => error.kind(),
            Self::Key(error) => error.kind(),
            Self::Copy(error) => error.kind(),
            Self::Dir(error) => error.kind(),
        }
    }
}

impl Kind for RestoreError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NoBackup | Self::Occupied => FailureKind::Usage,
            Self::Copy(error) => error.kind(),
            Self::Dir(error) => error.kind(),
            Self::Key(error) => error.kind(),
            Self::Journal(error) | Self::Survivor(error) => error.kind(),
        }
    }
}

impl Kind for ConfirmError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Nothing => FailureKind::Usage,
            Self::Filling(_) | Self::ReadOnly(_) => FailureKind::NotNow,
            Self::Commit(error) => error.kind(),
            Self::Dir(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

fn open(path: &Path, next: &str) -> Result<RealDir, Failure> {
    RealDir::open(path).map_err(|error| Failure::of(FailureKind::Usage, &error).next(next))
}

fn seconds_since(began: std::time::Duration) -> f64 {
    RealClock.running().saturating_sub(began).as_secs_f64()
}

/// Brings a backup to where the store is now.
pub fn back_up(appliance: &Appliance, to: &Path, reread: bool, progress: &dyn Progress) -> Result<BackedUp, Failure> {
    let dir = RealDir::create(to)
        .map_err(|error| Failure::of(error.kind(), &error).next("mount the medium and name a directory on it"))?;
    let taken = backup::take(&appliance.store, &appliance.keys, &dir, TakeOptions { reread }, progress)?;
    Ok(BackedUp { to: to.to_owned(), taken })
}

/// Reads a backup from its first byte to its last.
pub fn verify(from: &Path, progress: &dyn Progress) -> Result<BackupReport, Failure> {
    let dir = open(from, "name the directory that `postern backup` has written")?;
    Ok(backup::verify(&dir, progress)?)
}

/// Makes a data directory out of a backup.
pub fn restore(order: &RestoreCommand, progress: &dyn Progress) -> Result<RestoredReport, Failure> {
    let began = RealClock.running();
    let from = open(&order.from, "name the directory that `postern backup` has written")?;
    let to = RealDir::create(&order.data_dir)
        .map_err(|error| Failure::of(error.kind(), &error).next("choose an empty directory with --data"))?;
    let survivor =
        order.survivor.as_deref().map(|path| open(path, "name the data directory that is damaged")).transpose()?;
    let state = BackupState::read(&from)?.ok_or(RestoreError::NoBackup)?;
    // Before anything is written: the keys of a store that is there would be replaced and lost.
    if to.stat(VERSION_FILE)?.is_some() {
        return Err(RestoreError::Occupied.into());
    }
    if let Some(keys) = &order.keys {
        let keys = open(keys, "name the directory with the device's keys")?;
        check_keys(&keys, &state, order.adopt_keys)?;
        take_keys(&keys, &to)?;
    }
    let keys = order.keys.as_ref().map(|_| KeyRing::open(&to)).transpose()?;
    let restore_order = RestoreOrder {
        backup: &from,
        backup_path: &order.from.display().to_string(),
        keys: keys.as_ref(),
        survivor: survivor.as_ref().map(|dir| dir as &dyn Dir),
        content_later: order.content_later,
    };
    let restore = backup::restore(&to, &restore_order, progress)?;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 5000));
    let set = set_up(&SetupOrder { data_dir: order.data_dir.clone(), name: None, listen })?;
    Ok(RestoredReport {
        data_dir: order.data_dir.clone(),
        seconds: seconds_since(began),
        same_device: set.device_id == state.device.to_string(),
        fingerprint: set.fingerprint,
        restore,
    })
}

/// What every copy of `identity/` holds.
const DEVICE_KEY: &str = "device.pk8";
const IDENTITY: &str = "identity.json";

/// Keys of another device would sign what the lost one has seen, and open nothing that was sealed for it.
fn check_keys(keys: &dyn Dir, state: &BackupState, adopt: bool) -> Result<(), Failure> {
    let none = || {
        Failure::usage("the directory with the device's keys holds none")
            .next("name the copy of identity/ of the lost data directory; without --keys it becomes another device")
    };
    if keys.stat(DEVICE_KEY)?.is_none() {
        return Err(none());
    }
    let bytes = match read_bounded(keys, IDENTITY, crate::limits::IDENTITY_BYTES_MAX) {
        Err(error) if error.is_not_found() => return Err(none()),
        bytes => bytes?,
    };
    let is = Identity::parse_and_verify(&bytes)?.device_id;
    if is == state.device || adopt {
        return Ok(());
    }
    let (is, was) = (is.fingerprint(), state.device.fingerprint());
    Err(Failure::usage(format!("the keys are those of device '{is}', the backup is that of device '{was}'")).next(
        "name the identity/ of the lost appliance; leave --keys out for new keys, or restore with --adopt-keys to become that other device",
    ))
}

fn take_keys(from: &dyn Dir, to: &dyn Dir) -> Result<(), Failure> {
    to.create_dir_all("identity")?;
    for entry in from.list("")?.iter().filter(|entry| !entry.stat.is_dir) {
        let bytes = read_bounded(from, &entry.name, crate::limits::IDENTITY_BYTES_MAX)?;
        replace(to, &format!("identity/{}", entry.name), &bytes)?;
    }
    Ok(())
}

/// Allows changes again on what was restored, in a new epoch.
pub fn confirm(appliance: &Appliance) -> Result<Confirmed, Failure> {
    Ok(Confirmed { position: appliance.store.confirm_restore(Appliance::operator())? })
}

/// The directory to open a store in: with the backup behind it, as long as content is still there alone.
pub(super) fn with_backup_behind(own: Arc<dyn Dir>) -> Result<Arc<dyn Dir>, Failure> {
    let Some(restored) = Restored::read(own.as_ref())?.filter(|restored| restored.filling) else { return Ok(own) };
    let backup = open(Path::new(&restored.from), "mount the backup again: content is still to be copied out of it")?;
    Ok(Arc::new(LayeredDir::new(own, Arc::new(backup), CONTENT)))
}

/// Copies what is still in the backup alone, until `stop` says so.
pub(super) fn fill(appliance: &Appliance, stop: &dyn Fn() -> bool) -> Result<(), Failure> {
    let data_dir = &appliance.config.effective.data_dir;
    let own: Arc<dyn Dir> = Arc::new(open(data_dir, "look at the data directory")?);
    let Some(restored) = Restored::read(own.as_ref())?.filter(|restored| restored.filling) else { return Ok(()) };
    let backup = open(Path::new(&restored.from), "mount the backup again")?;
    backup::fill(&own, &backup, stop)?;
    Ok(())
}

/// Tries a restore: into a scratch directory beside the backup's files, with the content read where it is.
pub fn drill(from: &Path, hash_all: bool, progress: &dyn Progress) -> Result<DrillReport, Failure> {
    let backup: Arc<dyn Dir> = Arc::new(open(from, "name the directory that `postern backup` has written")?);
    let state = BackupState::read(backup.as_ref())?.ok_or(RestoreError::NoBackup)?;
    let scratch = format!("drill-{}", random::identifier());
    let began = RealClock.running();
    let tried = (|| -> Result<DrillReport, Failure> {
        let own: Arc<dyn Dir> = Arc::new(RealDir::create(&from.join(&scratch))?);
        let backup_path = from.display().to_string();
        let order = RestoreOrder {
            backup: backup.as_ref(),
            backup_path: &backup_path,
            keys: None,
            survivor: None,
            content_later: true,
        };
        let restored = backup::restore(own.as_ref(), &order, progress)?;
        let dir: Arc<dyn Dir> = Arc::new(LayeredDir::new(own, Arc::clone(&backup), CONTENT));
        let settings = StoreSettings { reserve_bytes: 0, ..StoreSettings::default() };
        let store = Store::open(dir, Arc::new(RealClock), &settings)?;
        let (repositories_count, tags_count) = count(&store)?;
        let seconds_to_answer = seconds_since(began);
        let losses = store.losses()?;
        let (seconds_to_hash, damaged_count) = if hash_all { hash(&store, progress)? } else { (None, 0) };
        Ok(DrillReport {
            from: from.to_owned(),
            position: store.head(),
            taken: state.taken,
            seconds_to_answer,
            seconds_to_hash,
            repositories_count,
            tags_count,
            files_count: state.files_count,
            content_bytes: state.content_bytes,
            losses,
            damaged_count: damaged_count + restored.damaged_count,
            changed: restored.changed,
            journal_missing: restored.journal_missing,
        })
    })();
    backup.remove_tree(&scratch)?;
    tried
}

fn hash(store: &Store, progress: &dyn Progress) -> Result<(Option<f64>, u64), Failure> {
    let began = RealClock.running();
    let report = store.check(crate::store::CheckDepth::Full, progress)?;
    let damaged = report.findings.iter().filter(|finding| finding.what.contains("hashes to")).count();
    Ok((Some(seconds_since(began)), damaged as u64))
}

fn count(store: &Store) -> Result<(u64, u64), Failure> {
    let (mut repositories, mut tags) = (0, 0);
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = store.repositories(after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
        for repository in &page {
            let mut last = None;
            loop {
                let found = store.tags(repository, last.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
                tags += found.len() as u64;
                if found.len() < LISTING_ENTRIES_COUNT_MAX {
                    break;
                }
                last = found.last().map(|(tag, _)| tag.clone());
            }
        }
        repositories += page.len() as u64;
        if page.len() < LISTING_ENTRIES_COUNT_MAX {
            return Ok((repositories, tags));
        }
        after = page.last().cloned();
    }
}
