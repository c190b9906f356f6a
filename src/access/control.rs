//! The document in force, and how it is replaced.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use super::attempts::{AttemptSettings, Attempts};
use super::change::{self, ChangeError, Changed};
use super::decide::{Caller, Denial, Subject, UndeclaredRules, decide};
use super::document::{AccessDocument, DocumentError, User};
use super::identify::Verified;
use super::name::ProjectName;
use super::project::Enforcement;
use super::rate::{Counted, RateSettings, Rates, TooOften};
use super::role::Action;
use super::session::{SessionSettings, Sessions};
use super::sign_in::counted_as;
use crate::limits::{ACCESS_DOCUMENT_BYTES_MAX, LISTING_ENTRIES_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::store::{
    ACCESS_DOCUMENTS, Change, CommitError, PrincipalRef, Store, StoreError, Transaction, access_path, kill_point,
};
use crate::sys::clock::trusted_now;
use crate::sys::dir::{self, DirError};
use crate::sys::mac::MacKey;
use crate::sys::password::KeptPassword;

/// How access is controlled, beyond what the document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    pub undeclared: UndeclaredRules,
    pub attempts: AttemptSettings,
    pub rates: RateSettings,
    /// How long a token holds.
    pub token_seconds: u32,
    pub sessions: SessionSettings,
    /// What those who manage over HTTP have to read before they sign in.
    pub notice: Option<String>,
    /// Whether people without a second factor or a certificate manage nothing over HTTP.
    pub second_factor_required: bool,
}

impl Default for AttemptSettings {
    fn default() -> Self {
        Self { lockout_failures_count: 0, lockout_seconds: 900 }
    }
}

/// Why the document was not read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("cannot use the document of projects and accounts")]
    Dir(#[from] DirError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("the document of projects and accounts was changed on the disk")]
    Altered,
    #[error("the document of projects and accounts cannot be read, so nobody is allowed anything")]
    Unreadable,
    #[error("the document of projects and accounts can be read, so it is not replaced")]
    Readable,
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    #[error("cannot keep the change")]
    Commit(#[from] CommitError),
}

/// A document with the ways into it.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) digest: Option<Digest>,
    pub(super) document: AccessDocument,
    /// Whom a name to sign in with stands for.
    pub(super) logins: HashMap<String, Subject>,
    /// Whom a name in a certificate stands for.
    pub(super) certificates: HashMap<String, Subject>,
    /// Whether what should be in force cannot be read, so that nothing is allowed.
    is_closed: bool,
}

impl Directory {
    fn new(digest: Option<Digest>, document: AccessDocument) -> Self {
        let users = document.users.iter().map(|(id, user)| (user.name.to_string(), Subject::User(id.clone())));
        let robots = document.robots.iter().map(|(id, robot)| (robot.login_name(), Subject::Robot(id.clone())));
        let logins = users.chain(robots).collect();
        let of_user = |(id, user): (&String, &User)| {
            let subject = Subject::User(id.clone());
            user.certificates.iter().map(|name| (name.clone(), subject.clone())).collect::<Vec<_>>()
        };
        let certificates = document.users.iter().flat_map(of_user).collect();
        Self { digest, document, logins, certificates, is_closed: false }
    }

    fn closed(digest: Option<Digest>) -> Self {
        Self { is_closed: true, ..Self::new(digest, AccessDocument::empty()) }
    }
}

/// Who may do what on one appliance.
#[derive(Debug)]
pub struct Access {
    pub(super) store: Store,
    pub(super) settings: AccessSettings,
    current: RwLock<Arc<Directory>>,
    /// One change at a time, each on what the last one left.
    changing: Mutex<()>,
    pub(super) token_key: MacKey,
    /// Names and passwords that were verified a moment ago, under a tag that only this process can make.
    pub(super) verified: Mutex<HashMap<[u8; 32], Verified>>,
    pub(super) attempts: Mutex<Attempts>,
    rates: Mutex<Rates>,
    pub(super) sessions: Mutex<Sessions>,
    /// The step of the last one-time password that a user was let in with.
    pub(super) codes_taken: Mutex<HashMap<String, u64>>,
    /// Compared with where there is no such account, so that it takes as long.
    pub(super) decoy: OnceLock<Option<KeptPassword>>,
    /// Derivations take memory: one at a time.
    pub(super) deriving: tokio::sync::Semaphore,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Access {
    /// Reads the document in force. Where it cannot be read nothing is allowed, until an operator restores it.
    pub fn open(store: Store, settings: AccessSettings) -> Result<Arc<Self>, StoreError> {
        let digest = store.active_access()?;
        let directory = read(&store, digest).unwrap_or_else(|error| {
            let cause = crate::error_chain::chain(&error);
            tracing::error!(error = cause, "projects and accounts cannot be read: nobody is allowed anything");
            Directory::closed(digest)
        });
        remove_others(&store, digest);
        Ok(Arc::new(Self {
            current: RwLock::new(Arc::new(directory)),
            changing: Mutex::default(),
            token_key: MacKey::generate(),
            verified: Mutex::default(),
            attempts: Mutex::new(Attempts::new(settings.attempts)),
            rates: Mutex::new(Rates::new(settings.rates)),
            sessions: Mutex::new(Sessions::new(settings.sessions)),
            codes_taken: Mutex::default(),
            decoy: OnceLock::new(),
            deriving: tokio::sync::Semaphore::new(1),
            store,
            settings,
        }))
    }

    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time that ends what has an end. It never goes back behind what was signed: a dead battery of the clock does not wake
    /// an account that has expired.
    pub fn now(&self) -> Timestamp {
        trusted_now(self.store.clock().wall(), self.store.time_floor())
    }

    /// Whether the document in force could be read. Whoever shows or changes it asks first: one that could not looks empty.
    pub fn check_readable(&self) -> Result<(), AccessError> {
        if self.directory().is_closed { Err(AccessError::Unreadable) } else { Ok(()) }
    }

    /// Looks at the document in force.
    pub fn look<T>(&self, look: impl FnOnce(&AccessDocument) -> T) -> T {
        look(&self.directory().document)
    }

    /// Whether access is controlled by accounts and projects, and not only by networks.
    pub fn is_in_use(&self) -> bool {
        let directory = self.directory();
        directory.is_closed || directory.document.is_in_use()
    }

    /// Whether `caller` may do `action` in `repository`, now.
    pub fn decide(&self, caller: &Caller, repository: &RepositoryName, action: Action) -> Result<(), Denial> {
        let directory = self.directory();
        if directory.is_closed {
            return Err(Denial::Closed);
        }
        decide(&directory.document, &self.settings.undeclared, caller, repository, action, self.now())
    }

    /// What becomes of an image of `repository` that the trust policy refuses.
    pub fn enforcement(&self, repository: &RepositoryName) -> Enforcement {
        let project = ProjectName::text_of(repository);
        self.look(|document| document.projects.get(project).map(|project| project.enforcement)).unwrap_or_default()
    }

    /// The projects, by name, that do not enforce the trust policy.
    pub fn unenforced_projects(&self) -> BTreeSet<String> {
        self.look(|document| {
            let projects = document.projects.iter().filter(|(_, project)| !project.enforcement.enforces());
            projects.map(|(name, _)| name.to_string()).collect()
        })
    }

    /// Whether the account itself may do it, whatever its token was asked for: for what is only shown or not shown.
    pub fn has_right(&self, caller: &Caller, repository: &RepositoryName, action: Action) -> bool {
        let whole = Caller { scopes: None, ..caller.clone() };
        self.decide(&whole, repository, action).is_ok()
    }

    /// Takes one pull of a manifest from what the project, the account and the address may have in a minute.
    pub fn count_pull(&self, caller: &Caller, repository: &RepositoryName) -> Result<(), TooOften> {
        let mut counted = vec![Counted::Project(ProjectName::text_of(repository).to_owned())];
        if let Subject::User(id) | Subject::Robot(id) = &caller.subject {
            counted.push(Counted::Account(id.clone()));
        }
        counted.extend(caller.remote.map(Counted::Address));
        locked(&self.rates).take(&counted, self.store.clock().running())
    }

    /// Forgets the failed attempts of an account; whether there were any.
    pub fn unlock(&self, name: &str) -> bool {
        let mut attempts = locked(&self.attempts);
        let (by_password, by_code) = (attempts.unlock(name), attempts.unlock(&counted_as(name)));
        by_password || by_code
    }

    /// Replaces the document by what `change` makes of it: the new file first, the journal next, and then for everyone at
    /// once. What the change took away is gone with the next request.
    pub fn change<T>(
        &self,
        principal: PrincipalRef,
        change: impl FnOnce(&mut AccessDocument) -> Result<Changed<T>, ChangeError>,
    ) -> Result<T, AccessError> {
        let _one = locked(&self.changing);
        self.check_readable()?;
        let before = self.directory();
        let mut document = before.document.clone();
        let changed = change(&mut document)?;
        if document == before.document {
            return Ok(changed.outcome);
        }
        self.replace(principal, before.digest, document, changed)
    }

    /// Puts a new document in the place of one that cannot be read, and of no other: without accounts, and with everything
    /// that the store holds in private projects, because nobody knows any more what was open.
    pub fn begin_anew(&self, principal: PrincipalRef, dry_run: bool) -> Result<Vec<ProjectName>, AccessError> {
        let _one = locked(&self.changing);
        let before = self.directory();
        if !before.is_closed {
            return Err(AccessError::Readable);
        }
        let mut document = AccessDocument::empty();
        let mut after = None;
        loop {
            let page = self.store.repositories(after.as_ref(), LISTING_ENTRIES_COUNT_MAX)?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            let names = page.iter().filter_map(|repository| ProjectName::text_of(repository).parse().ok());
            change::add_private(&mut document, names, self.now());
        }
        let names: Vec<_> = document.projects.keys().cloned().collect();
        if dry_run {
            return Ok(names);
        }
        let changed = change::anew(&document, names);
        self.replace(principal, before.digest, document, changed)
    }

    fn replace<T>(
        &self,
        principal: PrincipalRef,
        expected: Option<Digest>,
        document: AccessDocument,
        changed: Changed<T>,
    ) -> Result<T, AccessError> {
        let bytes = document.to_json()?;
        let digest = Digest::of(&bytes);
        let dir = self.store.dir();
        dir.create_dir_all(ACCESS_DOCUMENTS)?;
        dir::replace(dir.as_ref(), &access_path(&digest), &bytes)?;
        kill_point("access.written");
        let Changed { act, object, values, takes_away: only_removes, outcome } = changed;
        let change = Change::ChangeAccess { digest, expected, act, object, values, only_removes };
        self.store.commit(Transaction::new(principal, vec![change]))?;
        kill_point("access.committed");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Directory::new(Some(digest), document));
        locked(&self.verified).clear();
        remove_others(&self.store, Some(digest));
        Ok(outcome)
    }
}

fn read(store: &Store, digest: Option<Digest>) -> Result<Directory, AccessError> {
    let Some(digest) = digest else { return Ok(Directory::new(None, AccessDocument::empty())) };
    let bytes = dir::read_bounded(store.dir().as_ref(), &access_path(&digest), ACCESS_DOCUMENT_BYTES_MAX)?;
    if Digest::of(&bytes) != digest {
        return Err(AccessError::Altered);
    }
    Ok(Directory::new(Some(digest), AccessDocument::parse(&bytes)?))
}

/// Removes documents that are not in force: names and hashes that were given up are not kept. One that stays behind does no
/// harm, and goes the next time.
fn remove_others(store: &Store, digest: Option<Digest>) {
    let own = digest.map(|digest| access_path(&digest));
    let entries = store.dir().list(ACCESS_DOCUMENTS).unwrap_or_default();
    let paths = entries.into_iter().map(|entry| format!("{ACCESS_DOCUMENTS}/{}", entry.name));
    for path in paths.filter(|path| Some(path) != own.as_ref()) {
        if let Err(error) = store.dir().remove(&path) {
            tracing::warn!(error = crate::error_chain::chain(&error), "an old document of accounts stays");
        }
    }
}

/// For how long a verified name and password are taken without deriving again.
pub(super) const VERIFIED_FOR: Duration = Duration::from_secs(300);
