//! Registries outside: the only module that opens an outbound connection, and only to a registry that is configured, or
//! that a command names to be pushed to; to the token service that it names, and without credentials to where it
//! redirects or wants uploads to go.
//!
//! What the mirror fetches becomes visible only through [`crate::admission`] and [`Store::commit`]. When an upstream is slow,
//! silent or gone, what is on the disk is served at once, with a warning.

mod admit;
mod blob;
mod connection;
mod error;
mod evidence;
mod fetch_all;
mod flight;
mod gather;
mod gathered;
pub mod push;
mod recent;
mod resolve;
mod restore;
mod settings;
mod source;
pub mod token;
mod verify;

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

pub use blob::Download;
pub use error::{MirrorError, SharedError};
pub use fetch_all::FetchReport;
pub use resolve::Found;
pub use settings::{Credentials, MirrorSettings, UpstreamSettings};

use self::blob::Downloads;
use self::flight::Flights;
use self::recent::Recent;
use self::source::Upstream;
use crate::access::{Access, Enforcement};
use crate::oci::digest::Digest;
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::store::Store;
use crate::verify::{Refusal, TrustPolicy};

/// Where the trust policy in force comes from, each time it is needed.
pub type PolicySource = Arc<dyn Fn() -> Arc<TrustPolicy> + Send + Sync>;

/// All upstreams, and what is being fetched from them.
pub struct Mirror {
    store: Store,
    settings: MirrorSettings,
    policy: PolicySource,
    access: Arc<Access>,
    upstreams: Vec<Upstream>,
    /// What each tag was at its upstream, lately.
    latest: Recent<(RepositoryName, Tag), Digest>,
    /// What which policy refused, lately, and how its project took that.
    refused: Recent<(RepositoryName, Reference), ((Digest, Enforcement), Refusal)>,
    /// Manifests whose evidence was looked for, lately.
    looked_for: Recent<(RepositoryName, Digest), ()>,
    comparisons: Arc<Flights<(RepositoryName, Tag), Option<Digest>>>,
    fetches: Arc<Flights<(RepositoryName, Reference), Digest>>,
    looks: Arc<Flights<(RepositoryName, Digest), ()>>,
    downloads: Downloads,
    download_places: Semaphore,
    /// Held from the first byte that is gathered for an image until it was judged.
    gathering_places: Semaphore,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

impl Mirror {
    /// A mirror of `upstreams` into `store`. It opens no connection before it is asked for something.
    pub fn new(
        store: Store,
        upstreams: Vec<UpstreamSettings>,
        policy: PolicySource,
        access: Arc<Access>,
        settings: MirrorSettings,
    ) -> Result<Arc<Self>, MirrorError> {
        let clock = Arc::clone(store.clock());
        let upstreams = upstreams
            .into_iter()
            .map(|upstream| Upstream::new(upstream, &settings, &clock))
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(Self {
            latest: Recent::new(Arc::clone(&clock), settings.tag_fresh_seconds),
            refused: Recent::new(Arc::clone(&clock), settings.refused_seconds),
            looked_for: Recent::new(clock, settings.tag_fresh_seconds),
            comparisons: Arc::default(),
            fetches: Arc::default(),
            looks: Arc::default(),
            downloads: Downloads::default(),
            download_places: Semaphore::new(settings.downloads_count_max.max(1)),
            gathering_places: Semaphore::new(settings.gathering_count_max.max(1)),
            store,
            settings,
            policy,
            access,
            upstreams,
        }))
    }

    /// Whether an upstream stands behind this repository.
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        self.upstream_of(repository).is_ok()
    }

    /// The first component of the repositories of the upstream that a client means by `ns=namespace`.
    pub fn upstream_name(&self, namespace: &str) -> Option<String> {
        self.upstreams.iter().find(|upstream| upstream.is_meant_by(namespace)).map(|upstream| upstream.name.clone())
    }

    /// The upstream of a repository, and the repository's name there.
    fn upstream_of<'a>(&'a self, repository: &'a RepositoryName) -> Result<(&'a Upstream, &'a str), MirrorError> {
        let (first, rest) = repository.split_first();
        let upstream = self.upstreams.iter().find(|upstream| upstream.name == first);
        upstream.zip(rest).ok_or_else(|| MirrorError::NoUpstream(first.to_owned()))
    }
}

/// Runs what may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MirrorError> + Send + 'static,
) -> Result<T, MirrorError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| MirrorError::Interrupted)?
}
