//! Everything that is listened on: the registry, the socket for administration, and metrics where they are wanted.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::admin::guard::Guard;
use crate::app::admin::role::LocalRole;
use crate::app::appliance::Appliance;
use crate::app::failure::Failure;
use crate::config::Config;
use crate::http::listener::Listener;
use crate::http::network::Network;
use crate::http::peers::{MayConnect, Peer};
use crate::http::tls::ServerTls;
use crate::ops::access_log::{AccessLog, AccessRecord, Event};
use crate::ops::traffic::RouteClass;

pub(super) struct Listeners {
    pub(super) registry: Listener,
    pub(super) admin: Listener,
    /// Sockets of those who may less.
    pub(super) roles: Vec<(LocalRole, Listener)>,
    pub(super) metrics: Option<Listener>,
    /// Where clients connect.
    pub(super) address: SocketAddr,
}

/// Binds all of them, or none.
pub(super) async fn bind(
    appliance: &Appliance,
    tls: Option<ServerTls>,
    access_log: &Arc<AccessLog>,
) -> Result<Listeners, Failure> {
    let config = &appliance.config;
    let written = &config.effective.admin;
    let guard = Guard { socket: written.socket.as_deref(), group: written.group.as_deref() };
    let admin = bind_admin(appliance, access_log, &guard)?;
    let mut roles = Vec::new();
    for role in &written.role {
        let guard = Guard { socket: Some(&role.socket), group: Some(&role.group) };
        roles.push((role.name.into(), bind_admin(appliance, access_log, &guard)?));
    }
    let insecure_http = config.effective.listen.insecure_http;
    let metrics = bind_metrics(config, tls.clone(), insecure_http).await?;
    let registry = Listener::bind_tcp(config.listen, tls, insecure_http).await?;
    let address = registry.local_address().unwrap_or(config.listen);
    Ok(Listeners { registry: only_from(registry, &config.listen_networks), admin, roles, metrics, address })
}

fn bind_admin(appliance: &Appliance, access_log: &Arc<AccessLog>, guard: &Guard<'_>) -> Result<Listener, Failure> {
    let (log, clock) = (Arc::clone(access_log), Arc::clone(appliance.store.clock()));
    let told = move |peer: Peer| {
        log.record(AccessRecord {
            time: clock.wall(),
            event: Event::Denial,
            class: RouteClass::Admin,
            principal: Some(match peer {
                Peer::User(user) => format!("uid:{user}"),
                Peer::Address(_) | Peer::Unknown => "unknown".to_owned(),
            }),
            status: 403,
            rule: Some("admin.socket".to_owned()),
            ..AccessRecord::default()
        });
    };
    guard.bind(appliance.store.dir().as_ref(), Arc::new(told))
}

/// On loopback in the clear; elsewhere as the registry is.
async fn bind_metrics(
    config: &Config,
    tls: Option<ServerTls>,
    insecure_http: bool,
) -> Result<Option<Listener>, Failure> {
    let Some(metrics) = &config.metrics else { return Ok(None) };
    let tls = tls.filter(|_| !metrics.address.ip().is_loopback());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listener = Listener::bind_tcp(metrics.address, tls, insecure_http).await?;
    let address = listener.local_address().unwrap_or(metrics.address);
    tracing::info!(%address, scheme, "metrics and health are read here");
    Ok(Some(only_from(listener, &metrics.networks)))
}

fn only_from(listener: Listener, networks: &[Network]) -> Listener {
    if networks.is_empty() {
        return listener;
    }
    let networks = networks.to_vec();
    let may_connect: Arc<MayConnect> = Arc::new(
        move |peer| matches!(peer, Peer::Address(address) if networks.iter().any(|network| network.holds(address))),
    );
    listener.only_for(may_connect)
}
