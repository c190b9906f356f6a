//! The running server: the registry for clients, the socket for administration, metrics, and an end in order.
//!
//! Order of the start: store open (and recovered), socket, registry; only then is systemd told. Order of the end: no new
//! connections, requests under way get their time, the access log is written out, the store is closed. An operation that
//! is still under way then is cut off, as a power cut would; the same command goes on where it stopped.

mod filling;
mod gate;
mod listeners;
mod metrics;
mod packing;
mod panics;
mod readiness;
mod reviewing;
mod scrub;
mod signals;
mod signing;
mod surfaces;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use tokio::sync::watch;

use self::gate::Gate;
use self::listeners::Listeners;
use self::metrics::Metrics;
use self::readiness::Readiness;
use self::surfaces::Surfaces;
use super::admin::role::LocalRole;
use super::admin::server::{AdminHandler, Execute};
use super::appliance::{Appliance, OpenError};
use super::execute::execute;
use super::failure::{Failure, FailureKind};
use crate::api::Api;
use crate::config::{Config, Environment};
use crate::http::listener::Listener;
use crate::http::server::{ServerSettings, serve as serve_http};
use crate::http::tls::ServerTls;
use crate::memory::Bounds;
use crate::ops::access_log::{AccessLog, AccessLogSettings, Way};
use crate::progress::Progress;
use crate::registry::uploads::UploadSettings;
use crate::registry::{PushSettings, Registry, RegistrySettings};
use crate::review::Review;
use crate::sys::notify::{Notifier, State};

/// How long work that cannot be waited for may go on after everything else has ended.
const CUT_OFF: Duration = Duration::from_secs(1);
/// How long collectors of the access log get for what is left at the end.
const DELIVER_REST: Duration = Duration::from_secs(5);

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    NotYet,
    /// Requests under way still get their time.
    InOrder,
    /// Asked a second time: nothing is waited for.
    AtOnce,
}

impl Ending {
    const fn asked_again(self) -> Self {
        match self {
            Self::NotYet => Self::InOrder,
            Self::InOrder | Self::AtOnce => Self::AtOnce,
        }
    }
}

/// Serves until it is told to end.
pub fn serve(config: Config, environment: &Environment) -> Result<(), Failure> {
    let notifier = Notifier::new(environment.notify_socket.as_deref())
        .map_err(|error| Failure::failed("cannot reach the service manager at NOTIFY_SOCKET").because(&error))?;
    let tls = match config.tls.clone() {
        Some(files) => Some(ServerTls::load(files, config.client_certificates.clone())?),
        None => None,
    };
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().thread_name(panics::THREAD_NAME);
    threads.max_blocking_threads(config.memory.blocking_threads_count_max);
    if let Some(count) = config.memory.worker_threads_count {
        threads.worker_threads(count);
    }
    let runtime = threads.build().map_err(|error| Failure::failed("cannot start threads").because(&error))?;
    let _entered = runtime.enter();
    let appliance = Arc::new(open(config)?);
    panics::stop_the_process();
    let result = runtime.block_on(run(&appliance, tls, Arc::new(notifier), environment));
    runtime.shutdown_timeout(CUT_OFF);
    tracing::info!("ended");
    result
}

fn open(config: Config) -> Result<Appliance, Failure> {
    let data_dir = config.effective.data_dir.clone();
    Appliance::open(config).map_err(|error| match error {
        OpenError::Failed(failure) => failure,
        OpenError::InUse => Failure::new(FailureKind::NotNow, format!("another process uses '{}'", data_dir.display()))
            .next("end the other `postern serve` on this data directory, or wait for its command to end"),
    })
}

async fn run(
    appliance: &Arc<Appliance>,
    tls: Option<ServerTls>,
    notifier: Arc<Notifier>,
    environment: &Environment,
) -> Result<(), Failure> {
    let config = &appliance.config;
    let (ending, ended) = watch::channel(Ending::NotYet);
    signals::listen(ending, tls.clone())?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let access_log = start_access_log(appliance)?;
    let listeners = listeners::bind(appliance, tls, &access_log).await?;
    let address = listeners.address;

    let serving = serve_all(appliance, listeners, &access_log, &ended);
    watchdog::start(environment.watchdog_microseconds, appliance.store.clone(), Arc::clone(&notifier));
    filling::start(Arc::clone(appliance), ended.clone());
    scrub::start(Arc::clone(appliance), ended.clone());
    packing::start(Arc::clone(appliance), ended.clone());
    tracing::info!(%address, scheme, data_dir = %config.effective.data_dir.display(), "listening");
    notifier.tell(State::Status(&format!("listening on {scheme}://{address}")));
    notifier.tell(State::Ready);

    let stopping = async {
        reaches(ended.clone(), Ending::InOrder).await;
        tracing::info!("ending: requests under way are answered, new ones are not");
        notifier.tell(State::Stopping);
    };
    let served = async {
        tokio::join!(serving, stopping);
        access_log.end(DELIVER_REST).await;
        signing::sign(appliance).await;
    };
    tokio::select! {
        () = served => Ok(()),
        () = signing::by_the_hour(Arc::clone(appliance)) => Ok(()),
        () = reaches(ended.clone(), Ending::AtOnce) => {
            Err(Failure::failed("asked to end a second time: ended without waiting for requests under way"))
        }
    }
}

fn start_access_log(appliance: &Appliance) -> Result<Arc<AccessLog>, Failure> {
    let store = &appliance.store;
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let settings = AccessLogSettings { host, ..appliance.config.access_log.clone() };
    for sink in &settings.sinks {
        if let Way::Syslog(target) = &sink.way {
            target.check().map_err(|error| {
                Failure::of(FailureKind::Usage, &error).next("mend the [[access_log.sink]] table in the configuration")
            })?;
        }
    }
    Ok(Arc::new(AccessLog::start_with(Arc::clone(store.dir()), Arc::clone(store.clock()), settings)?))
}

/// Serves on every listener until the end, each with its bounds.
fn serve_all(
    appliance: &Arc<Appliance>,
    listeners: Listeners,
    access_log: &Arc<AccessLog>,
    ended: &watch::Receiver<Ending>,
) -> impl Future<Output = ()> + use<> {
    let memory = &appliance.config.memory;
    let store = appliance.store.clone();
    let traffic = |listener: &Listener| Arc::clone(listener.traffic());
    let mut counted = vec![("registry", traffic(&listeners.registry)), ("admin", traffic(&listeners.admin))];
    counted.extend(listeners.roles.iter().map(|(role, listener)| (role.name(), traffic(listener))));
    counted.extend(listeners.metrics.as_ref().map(|listener| ("metrics", traffic(listener))));

    let settings = RegistrySettings {
        piece_bytes: memory.piece_bytes,
        public_url: appliance.config.effective.access.public_url.clone(),
        ..RegistrySettings::default()
    };
    let mirror = appliance.mirror.clone();
    let (access, push) = (Arc::clone(&appliance.access), push_settings(appliance));
    let api = Api::new(store.clone(), Arc::clone(&access), Arc::clone(access_log));
    let policy = Arc::clone(&push.policy);
    let registry = Registry::new(store.clone(), mirror, Arc::clone(&access), Arc::clone(access_log), settings, push);
    let asked = appliance.config.review.clone();
    let review = Review::new(store.clone(), Arc::clone(&registry), access, Arc::clone(access_log), policy, asked);
    reviewing::start(Arc::clone(registry.rechecks()), ended.clone());
    let readiness = Arc::new(Readiness { store: store.clone(), access_log: Arc::clone(access_log) });
    let gate = Gate {
        inner: Arc::new(Surfaces { registry: Arc::clone(&registry), api, review }),
        access_log: Arc::clone(access_log),
        clock: Arc::clone(store.clock()),
        readiness: Arc::clone(&readiness),
    };
    let operated = Arc::clone(appliance);
    let execute: Arc<Execute> =
        Arc::new(move |operation, progress: &dyn Progress| execute(&operated, operation, progress));
    let operations = |role| {
        Arc::new(AdminHandler::new(
            Arc::clone(&execute),
            role,
            Arc::clone(access_log),
            Arc::clone(appliance.store.clock()),
        ))
    };
    let metrics = Metrics {
        store,
        access_log: Arc::clone(access_log),
        registry,
        readiness,
        listeners: counted,
        content: Arc::default(),
    };

    let for_clients = server_settings(memory, memory.connections_count_max);
    let for_few = server_settings(memory, memory.admin_connections_count_max);
    let end = || reaches(ended.clone(), Ending::InOrder);
    let answered = serve_http(listeners.registry, Arc::new(gate), for_clients, end());
    let operated = serve_http(listeners.admin, operations(LocalRole::Operator), for_few.clone(), end());
    let others = listeners.roles.into_iter();
    let others =
        join_all(others.map(|(role, listener)| serve_http(listener, operations(role), for_few.clone(), end())));
    let measured = listeners.metrics.map(|listener| serve_http(listener, Arc::new(metrics), for_few, end()));
    async move {
        tokio::join!(answered, operated, others, OptionFuture::from(measured));
    }
}

fn server_settings(memory: &Bounds, connections_count_max: usize) -> ServerSettings {
    ServerSettings {
        connections_count_max,
        streams_count_max: memory.streams_count_max,
        send_bytes_max: memory.piece_bytes,
        receive_bytes_max: memory.receive_bytes_max,
        ..ServerSettings::default()
    }
}

/// How much is pushed at once, judged by the policy that is in force at that moment.
fn push_settings(appliance: &Appliance) -> PushSettings {
    let policy = Arc::clone(&appliance.policy);
    let memory = &appliance.config.memory;
    let uploads = UploadSettings {
        piece_bytes: memory.piece_bytes,
        manifests_count_max: memory.gathering_count_max,
        judged_bytes_max: memory.judged_bytes_max,
        ..UploadSettings::default()
    };
    PushSettings { sparse: appliance.config.effective.push.sparse, uploads, policy: Arc::new(move || policy.current()) }
}

/// Done when the end is as far as `wanted`.
async fn reaches(mut ended: watch::Receiver<Ending>, wanted: Ending) {
    // A sender that is gone can say nothing any more: that is an end too.
    let _ = ended.wait_for(|ending| *ending >= wanted).await;
}
