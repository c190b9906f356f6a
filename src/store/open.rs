//! Making and opening a store: the version file, the lock, the directories.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, RwLock, mpsc};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use super::blobs::Blobs;
use super::condition::LastLook;
use super::error::StoreError;
use super::event::{self, Body, EventHead, EventTime};
use super::journal::{FileJournal, Group, Journal};
use super::lease::Leases;
use super::record::Position;
use super::rows::{CONDEMNED, CondemnedRow, Overlay, scan_prefix, time_floor};
use super::scan::{self, ScanError, Start};
use super::sequencer::Sequencer;
use super::staged;
use super::state::{RepositoryChanges, Running, Staging, State};
use super::transaction::{Cause, PrincipalRef};
use super::{Shared, Store, StoreSettings, layout, recover, reserve, running, version};
use crate::device_id::DeviceId;
use crate::limits::DISK_FREE_BYTES_MIN;
use crate::oci::digest::Digest;
use crate::sys::clock::Clock;
use crate::sys::dir::{Create, Dir, DirError};
use crate::sys::random;

const WRITER: &str = concat!("postern ", env!("CARGO_PKG_VERSION"));
const COMMANDS_WAITING_COUNT_MAX: usize = 1024;

/// The lock of a data directory, held as long as this lives. None in a simulation.
pub type Lock = Option<Flock<std::os::fd::OwnedFd>>;

fn lock(dir: &dyn Dir) -> Result<Lock, StoreError> {
    let Some(path) = dir.real_path(layout::LOCK) else { return Ok(None) };
    let failed = |errno: Errno| {
        StoreError::Dir(DirError { operation: "lock", path: layout::LOCK.to_owned(), source: errno.into() })
    };
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let file = nix::fcntl::open(AsRef::<Path>::as_ref(&path), flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(StoreError::Locked),
        Err((_, errno)) => Err(failed(errno)),
    }
}

impl Store {
    /// Makes a new, empty store for `device`. A second attempt after a power cut goes on where the first one ended.
    pub fn create(dir: &Arc<dyn Dir>, clock: &Arc<dyn Clock>, device: &DeviceId) -> Result<(), StoreError> {
        let _lock = lock(dir.as_ref())?;
        if dir.stat(layout::VERSION)?.is_some() {
            return Err(StoreError::Exists);
        }
        for path in layout::DIRECTORIES {
            dir.create_dir_all(path)?;
        }
        for shard in layout::shards() {
            dir.create_dir_all(&shard.path())?;
        }
        for path in ["blobs/sha256", "blobs/sha512", layout::BLOBS, "trust", ""] {
            dir.sync_dir(path)?;
        }
        clear_unfinished_journal(dir.as_ref())?;
        begin_journal(dir, clock.as_ref(), device)?;
        version::write(dir.as_ref(), version::FIRST)
    }

    /// Opens the store in `dir` for this process alone, and recovers what a power cut has left.
    pub fn open(dir: Arc<dyn Dir>, clock: Arc<dyn Clock>, settings: &StoreSettings) -> Result<Self, StoreError> {
        let format = version::check(dir.as_ref())?;
        let lock = lock(dir.as_ref())?;
        let unclean = dir.stat(layout::INDEX_DIRTY)?.is_some();
        if !unclean {
            dir.open_write(layout::INDEX_DIRTY, Create::Missing)?;
            dir.sync_dir("")?;
        }
        clear_uploads(dir.as_ref())?;
        // To come up, the index needs room too; without it nothing could be retired, and the disk would stay full.
        if dir.free_bytes()? < DISK_FREE_BYTES_MIN {
            reserve::release(dir.as_ref());
        }
        let recovered = recover::recover(&dir, settings, unclean)?;
        if let Err(error) = reserve::restore(dir.as_ref(), settings.reserve_bytes) {
            tracing::warn!(%error, "the reserve could not be filled");
        }
        let counted = running::load(dir.as_ref()).max(last_condemned(&recovered)?);
        let restored = super::restored::Restored::read(dir.as_ref())?.map(|restored| restored.reason());
        let state = Arc::new(State {
            blobs: Arc::new(Blobs::new(Arc::clone(&dir))),
            running: Running::resume(Arc::clone(&clock), counted),
            boot_id: clock.boot_id(),
            overlay: RwLock::new(Overlay::default()),
            time_floor: Mutex::new(time_floor(&recovered.index)?),
            index: RwLock::new(Arc::new(recovered.index)),
            head: Mutex::new(recovered.head),
            changes: RepositoryChanges::default(),
            staging: Staging::default(),
            files_held: AtomicU64::new(0),
            format: AtomicU32::new(format),
            read_only: Mutex::new(recovered.read_only.or(restored)),
            journal_damage: Mutex::new(super::scrub::noted_damage(dir.as_ref())),
            last_look: LastLook::default(),
            settings: settings.clone(),
            dir,
            clock,
        });
        staged::note_all(&state)?;
        let journal = recovered.journal.map(|journal| Box::new(journal) as Box<dyn Journal>);
        let sequencer = Sequencer::new(Arc::clone(&state), journal);
        let (sender, receiver) = mpsc::sync_channel(COMMANDS_WAITING_COUNT_MAX);
        let thread = std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(move || sequencer.work(&receiver))
            .map_err(|source| DirError { operation: "start the sequencer of", path: String::new(), source })?;
        let shared =
            Shared { state, commands: Some(sender), thread: Some(thread), leases: Leases::default(), _lock: lock };
        Ok(Self { shared: Arc::new(shared) })
    }
}

/// Without a version file a journal is either the rest of an unfinished attempt to make a store, which holds one event,
/// or a real one whose version file was lost; that one is left alone.
fn clear_unfinished_journal(dir: &dyn Dir) -> Result<(), StoreError> {
    let scanned = scan::scan::<StoreError>(dir, &Start::Beginning, &mut |_, _| Ok(()));
    match scanned {
        Ok(scanned) if scanned.position.as_ref().is_some_and(|position| position.sequence > 1) => {
            Err(StoreError::Exists)
        }
        // Damage between frames is that of a journal that was in use; an unfinished one only ends too early.
        Ok(scanned) if scanned.damage.is_some() && scan::segments(dir)?.len() > 1 => Err(StoreError::Exists),
        Err(ScanError::Event(_)) => Err(StoreError::Exists),
        Err(ScanError::Missing) => Ok(()),
        Err(ScanError::Dir(error)) => Err(error.into()),
        _ => {
            for name in scan::segments(dir)? {
                dir.remove(&super::journal::segment_path(&name))?;
            }
            Ok(dir.sync_dir(layout::JOURNAL)?)
        }
    }
}

fn begin_journal(dir: &Arc<dyn Dir>, clock: &dyn Clock, device: &DeviceId) -> Result<(), StoreError> {
    let journal_id = random::identifier();
    let epoch = 1;
    let mut journal = FileJournal::create(dir, &journal_id, epoch)?;
    let body = Body::JournalCreated { device_id: device.clone() };
    let head = EventHead {
        version: event::ENVELOPE_VERSION,
        hash: event::HASH.to_owned(),
        journal: journal_id.clone(),
        epoch,
        sequence: 1,
        previous: None,
        kind_version: event::KIND_VERSION,
        critical: true,
        time: EventTime { wall: clock.wall(), source: "system".to_owned(), floor: jiff::Timestamp::UNIX_EPOCH },
        boot: clock.boot_id(),
        running_seconds: 0,
        principal: PrincipalRef::system("setup"),
        on_behalf_of: None,
        request_id: None,
        cause: Cause::default(),
        policy: None,
        trust: None,
        writer: WRITER.to_owned(),
    };
    let mut payload = event::encode(&head, &body);
    let hash = Digest::of(&payload);
    payload.push(b'\n');
    let last = Position { journal_id, epoch, sequence: 1, hash };
    journal.append(&Group { after: None, first_sequence: 1, event_count: 1, payload, last })?;
    Ok(())
}

/// Removes content that was on its way in when the last run ended. Staged imports are theirs to resume.
fn clear_uploads(dir: &dyn Dir) -> Result<(), DirError> {
    for entry in dir.list(layout::UPLOADS)? {
        if !entry.stat.is_dir && entry.name.starts_with(layout::UPLOAD_PREFIX) {
            dir.remove(&format!("{}/{}", layout::UPLOADS, entry.name))?;
        }
    }
    Ok(())
}

/// The latest running time that the index knows of: a lost file must not make a grace longer than it is.
fn last_condemned(recovered: &recover::Recovered) -> Result<u64, StoreError> {
    let mut last = 0;
    scan_prefix(&recovered.index, &[CONDEMNED], &[CONDEMNED], &mut |_, value| {
        last = CondemnedRow::decode(value).map_or(last, |row| last.max(row.since_running_seconds));
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(last)
}
