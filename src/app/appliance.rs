//! Everything that acts on one data directory, opened once.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::{Failure, FailureKind};
use super::{backups, mirrors, policy, trust};
use crate::access::Access;
use crate::config::Config;
use crate::config::file::FipsMode;
use crate::oci::digest::Digest;
use crate::store::{PrincipalRef, Store, StoreError, StoreSettings};
use crate::sys::clock::{Clock, RealClock};
use crate::sys::cryptography::Cryptography;
use crate::sys::dir::Dir;
use crate::sys::dir_real::RealDir;
use crate::sys::keys::KeyRing;
use crate::upstream::Mirror;
use crate::verify::TrustPolicy;
use crate::verify::policy::TrustObjects;

/// Why an appliance was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds the data directory.
    InUse,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for OpenError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// An open data directory and what belongs to it.
#[derive(Debug)]
pub struct Appliance {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) keys: KeyRing,
    pub(super) policy: Arc<ActivePolicy>,
    pub(super) mirror: Option<Arc<Mirror>>,
    pub(super) access: Arc<Access>,
}

impl Appliance {
    /// Opens the data directory that `config` names, for this process alone.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        check_fips(config.effective.fips)?;
        let dir: Arc<dyn Dir> = Arc::new(open_data_dir(&config.effective.data_dir)?);
        let dir = backups::with_backup_behind(dir)?;
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let keys = KeyRing::open(dir.as_ref())?;
        let settings = StoreSettings {
            index_cache_bytes: config.bounds().index_cache_bytes_max,
            reserve_bytes: config.effective.store.reserve_bytes,
            time_step_seconds_max: config.effective.trusted_time.step_seconds_max(),
        };
        let store = match Store::open(dir, clock, &settings) {
            Err(StoreError::Locked) => return Err(OpenError::InUse),
            opened => opened?,
        };
        let policy = Arc::new(ActivePolicy::new(store.clone()));
        let access = Access::open(store.clone(), config.access.clone())?;
        let mirror = mirrors::mirror(&config, &store, &policy, &access)?;
        Ok(Self { config, store, keys, policy, mirror, access })
    }

    /// Who acts when somebody uses the command line or the socket: both belong to the user that this process runs as.
    pub(super) fn operator() -> PrincipalRef {
        PrincipalRef::operator(&nix::unistd::geteuid().to_string())
    }
}

/// Before anything is opened: what must be done by the validated module is not begun without it.
pub(super) fn check_fips(mode: FipsMode) -> Result<(), Failure> {
    if mode == FipsMode::Off {
        return Ok(());
    }
    match Cryptography::linked().require_fips() {
        Ok(()) => Ok(()),
        Err(error) if mode == FipsMode::Preferred => {
            tracing::warn!(%error, "FIPS cryptography is preferred and not there");
            Ok(())
        }
        Err(error) => Err(Failure::new(FailureKind::Refused, "the configuration says fips = \"required\"")
            .because(&error)
            .next("run the FIPS edition, or set fips = \"preferred\"; `postern version --verbose` says what this is")),
    }
}

fn open_data_dir(path: &Path) -> Result<RealDir, Failure> {
    RealDir::open(path).map_err(|error| {
        let kind = if error.is_not_found() { FailureKind::Usage } else { FailureKind::Failed };
        Failure::of(kind, &error)
            .next("make a data directory with `postern setup --data DIR`, or name another with --data")
    })
}

/// The trust policy in force, with the objects of trust that count. It is read anew whenever either became another.
#[derive(Debug)]
pub struct ActivePolicy {
    store: Store,
    read: Mutex<Option<Read>>,
}

/// What was read, and of what.
#[derive(Debug)]
struct Read {
    file: Digest,
    trust_sequence: u64,
    policy: Arc<TrustPolicy>,
}

impl ActivePolicy {
    fn new(store: Store) -> Self {
        Self { store, read: Mutex::new(None) }
    }

    /// The policy. Where none is active, or the active one cannot be read, nothing is trusted.
    pub fn current(&self) -> Arc<TrustPolicy> {
        self.read_current().unwrap_or_else(|failure| {
            tracing::error!(chain = ?failure.chain, "the active trust policy cannot be read: nothing is admitted");
            Arc::new(TrustPolicy::unreadable())
        })
    }

    fn read_current(&self) -> Result<Arc<TrustPolicy>, Failure> {
        let Some(active) = self.store.active_policy()? else { return Ok(Arc::new(TrustPolicy::embedded())) };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // Before what counts is read: what changes meanwhile is read again next time.
        let trust_sequence = self.store.trust_sequence()?;
        if let Some(Read { policy, .. }) =
            read.as_ref().filter(|read| (read.file, read.trust_sequence) == (active, trust_sequence))
        {
            return Ok(Arc::clone(policy));
        }
        let bytes = policy::file(&self.store, &active)?;
        let policy = Arc::new(TrustPolicy::parse_with(&bytes, &self.objects()?)?);
        *read = Some(Read { file: active, trust_sequence, policy: Arc::clone(&policy) });
        Ok(policy)
    }

    /// The objects of trust that count.
    pub(super) fn objects(&self) -> Result<TrustObjects, Failure> {
        trust::load(&self.store, &self.store.active_objects()?)
    }
}
