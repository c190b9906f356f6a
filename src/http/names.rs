//! Names of hosts to addresses: the machine's own hosts file and name servers, the same in every edition.
//!
//! Why not `getaddrinfo`: a static glibc cannot load the modules it wants, and musl's and glibc's answers differ. The
//! messages of DNS servers are foreign bytes; hickory-proto, memory-safe, parses them. What is read here are the two files.
//!
//! A server that is not in `resolv.conf` is never asked, whatever is missing there; nothing is asked before a dial.
//! `nsswitch.conf` is not looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ServerOrderingStrategy};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use hyper_util::client::legacy::connect::dns;
use tower_service::Service;

use crate::limits::{
    HOSTS_BYTES_MAX, NAME_ADDRESSES_COUNT_MAX, NAME_ATTEMPTS_COUNT_MAX, NAME_CACHE_COUNT_MAX, NAME_MISSING_SECONDS_MAX,
    NAME_NDOTS_COUNT_MAX, NAME_SERVERS_COUNT_MAX, RESOLV_CONF_BYTES_MAX,
};
use crate::sys::dir::{DirError, read_bounded};
use crate::sys::dir_real::RealDir;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    #[error("'{0}' is not the name of a host: check the address in the configuration")]
    Malformed(String),
    #[error("cannot resolve '{host}' since '{path}' cannot be read")]
    Read {
        host: String,
        path: PathBuf,
        #[source]
        source: DirError,
    },
    #[error("cannot resolve '{host}': '{path}' names no server; add one there, or the host to the hosts file")]
    NoServer { host: String, path: PathBuf },
    #[error("'{path}' cannot be used to resolve '{host}': correct it")]
    Configuration {
        host: String,
        path: PathBuf,
        #[source]
        source: NetError,
    },
    #[error("{servers} knows no address of '{host}': check the name, or add it to the hosts file")]
    Unknown { host: String, servers: String },
    #[error(
        "{servers} did not resolve '{host}' within {seconds} seconds: is it the right name server, and does it run?"
    )]
    Silent { host: String, servers: String, seconds: u64 },
    #[error(
        "{servers} could not resolve '{host}': ask whoever runs the name server, or add the host to the hosts file"
    )]
    Failed {
        host: String,
        servers: String,
        #[source]
        source: NetError,
    },
}

/// The resolver of outgoing connections. It reads the two files anew for each name, so that what DHCP or a person
/// changes holds for the next dial; only what their content gave is kept.
#[derive(Clone, Debug)]
pub struct Names {
    files: Arc<Files>,
    limit: Duration,
}

#[derive(Debug)]
struct Files {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// What the files said, and what was made of it.
struct Loaded {
    hosts_text: Vec<u8>,
    resolv_text: Option<Vec<u8>>,
    hosts: Hosts,
    asking: Option<Asking>,
}

#[derive(Clone)]
struct Asking {
    resolver: TokioResolver,
    search: Vec<Name>,
    servers: String,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("servers", &self.asking.as_ref().map(|asking| &asking.servers)).finish()
    }
}

impl Names {
    /// Names as this machine resolves them; an answer takes at most `limit`, however many servers and search domains.
    pub fn of_machine(limit: Duration) -> Self {
        Self::of_files(PathBuf::from("/etc/hosts"), PathBuf::from("/etc/resolv.conf"), limit)
    }

    fn of_files(hosts: PathBuf, resolv_conf: PathBuf, limit: Duration) -> Self {
        Self { files: Arc::new(Files { hosts, resolv_conf, loaded: Mutex::new(None) }), limit }
    }

    /// The addresses of a host, at least one.
    pub(super) async fn resolve(self, host: String) -> Result<Vec<IpAddr>, NameError> {
        let name = Name::from_utf8(&host).map_err(|_| NameError::Malformed(host.clone()))?;
        // RFC 6761: no server is asked, and no file can lead it elsewhere.
        if is_localhost(&host) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let (files, asked) = (Arc::clone(&self.files), host.clone());
        let loaded = tokio::task::spawn_blocking(move || files.load(&asked)).await;
        let loaded = loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let written = in_hosts(&loaded.hosts, &name);
        if !written.is_empty() {
            return Ok(written);
        }
        let Some(asking) = loaded.asking.clone() else {
            return Err(NameError::NoServer { host, path: self.files.resolv_conf.clone() });
        };
        self.ask(asking, name, host).await
    }

    async fn ask(&self, asking: Asking, name: Name, host: String) -> Result<Vec<IpAddr>, NameError> {
        let seconds = self.limit.as_secs();
        let found = tokio::time::timeout(self.limit, asking.look_up(name)).await;
        let servers = asking.servers;
        match found {
            Err(_) | Ok(Err(NetError::Timeout)) => Err(NameError::Silent { host, servers, seconds }),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => Err(NameError::Unknown { host, servers }),
            Ok(Err(source)) => Err(NameError::Failed { host, servers, source }),
            Ok(Ok(addresses)) if addresses.is_empty() => Err(NameError::Unknown { host, servers }),
            Ok(Ok(addresses)) => Ok(addresses),
        }
    }
}

impl Asking {
    /// Tries the name and what the search domains make of it. Only a server's word that there is no such name leads to
    /// the next: after silence, another name's absence would hide that the server is the trouble.
    async fn look_up(&self, name: Name) -> Result<Vec<IpAddr>, NetError> {
        let mut absent = NetError::NoConnections;
        for candidate in candidates(&name, &self.search, self.resolver.options().ndots) {
            match self.resolver.lookup_ip(candidate).await {
                Ok(answer) => return Ok(answer.iter().take(NAME_ADDRESSES_COUNT_MAX).collect()),
                Err(error @ NetError::Dns(DnsError::NoRecordsFound(_))) => absent = error,
                Err(error) => return Err(error),
            }
        }
        Err(absent)
    }
}

/// The full names that a written one may mean, in the order of resolv.conf(5).
fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut whole = name.clone();
    whole.set_fqdn(true);
    if name.is_fqdn() {
        return vec![whole];
    }
    let mut found: Vec<Name> = search
        .iter()
        .filter_map(|domain| name.clone().append_domain(domain).ok())
        .map(|mut found| {
            found.set_fqdn(true);
            found
        })
        .collect();
    let at = if usize::from(name.num_labels()) > ndots { 0 } else { found.len() };
    found.insert(at, whole);
    found
}

impl Service<dns::Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameError;
    type Future = BoxFuture<'static, Result<Self::Response, NameError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), NameError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        let addresses = self.clone().resolve(name.as_str().to_owned());
        // The connector puts the port in.
        addresses.map(|found| found.map(with_ports)).boxed()
    }
}

fn with_ports(addresses: Vec<IpAddr>) -> std::vec::IntoIter<SocketAddr> {
    addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter()
}

impl Files {
    /// What the files say now.
    fn load(&self, host: &str) -> Result<Arc<Loaded>, NameError> {
        let read = |path: &PathBuf, limit_bytes| {
            read_if_there(path, limit_bytes).map_err(|source| NameError::Read {
                host: host.to_owned(),
                path: path.clone(),
                source,
            })
        };
        let hosts_text = read(&self.hosts, HOSTS_BYTES_MAX)?.unwrap_or_default();
        let resolv_text = read(&self.resolv_conf, RESOLV_CONF_BYTES_MAX)?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) =
            loaded.as_ref().filter(|last| last.hosts_text == hosts_text && last.resolv_text == resolv_text)
        {
            return Ok(Arc::clone(last));
        }
        let mut hosts = Hosts::default();
        // A line that is not text ends the reading of the file, as it would for any resolver; those before it count.
        if let Err(error) = hosts.read_hosts_conf(hosts_text.as_slice()) {
            tracing::warn!(path = %self.hosts.display(), %error, "the hosts file is read in part");
        }
        let asking = resolv_text.as_deref().map_or(Ok(None), asking).map_err(|source| NameError::Configuration {
            host: host.to_owned(),
            path: self.resolv_conf.clone(),
            source,
        })?;
        let made = Arc::new(Loaded { hosts_text, resolv_text, hosts, asking });
        *loaded = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// Both files are often links, into `/run` above all: they are followed.
fn read_if_there(path: &Path, limit_bytes: usize) -> Result<Option<Vec<u8>>, DirError> {
    let failed = |source| DirError { operation: "open", path: path.display().to_string(), source };
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let (Some(folder), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err(failed(std::io::ErrorKind::InvalidInput.into()));
    };
    read_bounded(&RealDir::open(folder)?, name, limit_bytes).map(Some)
}

/// The resolver that a `resolv.conf` describes; `None` when it names no server. The library's own default servers are
/// those of a company on the Internet: it is never built without a configuration.
fn asking(text: &[u8]) -> Result<Option<Asking>, NetError> {
    let names_server = text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii().starts_with(b"nameserver"));
    if !names_server {
        return Ok(None);
    }
    let (written, mut options) = parse_resolv_conf(text)?;
    let servers: Vec<_> = written.name_servers().iter().take(NAME_SERVERS_COUNT_MAX).cloned().collect();
    let shown = servers.iter().map(|server| format!("'{}'", server.ip)).collect::<Vec<_>>().join(" or ");
    // resolv.conf(5): what `search` says replaces the domain.
    let mut search = written.search().to_vec();
    if search.is_empty() {
        search.extend(written.domain().cloned());
    }
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    options.ndots = options.ndots.min(NAME_NDOTS_COUNT_MAX);
    options.attempts = options.attempts.clamp(1, NAME_ATTEMPTS_COUNT_MAX);
    options.timeout = options.timeout.max(Duration::from_secs(1));
    // All at once: one that is silent costs no time when another knows the answer.
    options.num_concurrent_reqs = NAME_SERVERS_COUNT_MAX;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = NAME_CACHE_COUNT_MAX;
    options.negative_max_ttl = Some(Duration::from_secs(NAME_MISSING_SECONDS_MAX));
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    Ok(Some(Asking { resolver: builder.build()?, search, servers: format!("name server {shown}") }))
}

/// What the hosts file says of a name. When it says anything, no server is asked, not even for the other family.
fn in_hosts(hosts: &Hosts, name: &Name) -> Vec<IpAddr> {
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|found| found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
        .take(NAME_ADDRESSES_COUNT_MAX)
        .collect()
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Name, NameError, Names, asking, candidates};
    use crate::error_chain;
    use crate::sys::dir::replace;
    use crate::sys::dir_real::RealDir;

    fn names(folder: &Path) -> Names {
        Names::of_files(folder.join("hosts"), folder.join("resolv.conf"), Duration::from_secs(5))
    }

    async fn resolve(names: &Names, host: &str) -> Result<String, NameError> {
        let found = names.clone().resolve(host.to_owned()).await?;
        Ok(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[tokio::test]
    async fn the_hosts_file_is_read_each_time_and_needs_no_server() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temporary.path()).unwrap();
        let names = names(temporary.path());
        replace(&dir, "hosts", b"192.0.2.7 Registry.Test other # x\n2001:db8::7 registry.test\nnonsense\n").unwrap();
        assert_eq!(resolve(&names, "registry.test").await.unwrap(), "192.0.2.7 2001:db8::7");
        assert_eq!(resolve(&names, "OTHER").await.unwrap(), "192.0.2.7");
        replace(&dir, "hosts", b"192.0.2.8 registry.test\n127.9.9.9 a.localhost\n").unwrap();
        assert_eq!(resolve(&names, "registry.test").await.unwrap(), "192.0.2.8");
        for local in ["localhost", "LocalHost.", "a.localhost"] {
            assert_eq!(resolve(&names, local).await.unwrap(), "127.0.0.1 ::1", "{local}");
        }
    }

    #[tokio::test]
    async fn without_a_server_the_error_says_what_to_do() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temporary.path()).unwrap();
        let names = names(temporary.path());
        for text in [None, Some(""), Some("# nameserver 192.0.2.1\nsearch corp.test\n")] {
            if let Some(text) = text {
                replace(&dir, "resolv.conf", text.as_bytes()).unwrap();
            }
            let said = resolve(&names, "registry.test").await.unwrap_err().to_string();
            assert!(said.contains("names no server; add one there") && said.contains("registry.test"), "{said}");
        }
        replace(&dir, "resolv.conf", b"nameserver not-an-address\n").unwrap();
        let error = resolve(&names, "registry.test").await.unwrap_err();
        assert!(matches!(error, NameError::Configuration { .. }), "{}", error_chain::chain(&error));
        let error = resolve(&names, &"a".repeat(64)).await.unwrap_err();
        assert!(matches!(error, NameError::Malformed(_)), "{error}");
    }

    #[tokio::test]
    async fn only_written_servers_are_asked_and_numbers_are_bounded() {
        let text = "domain a.test\nsearch b.test c.test\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n\
                    options ndots:99 attempts:99 timeout:3\n";
        let made = asking(text.as_bytes()).unwrap().unwrap();
        assert_eq!(made.servers, "name server '192.0.2.1' or '2001:db8::1'");
        let options = made.resolver.options();
        assert_eq!((options.ndots, options.attempts, options.timeout.as_secs()), (15, 5, 3));
        let check = |name: &str, expected: &str| {
            let found = candidates(&Name::from_ascii(name).unwrap(), &made.search, 1);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), expected, "{name}");
        };
        check("host", "host.b.test. host.c.test. host.");
        check("a.host", "a.host. a.host.b.test. a.host.c.test.");
        check("host.", "host.");
        let four = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        assert!(!asking(four.as_bytes()).unwrap().unwrap().servers.contains("192.0.2.4"));
    }
}
