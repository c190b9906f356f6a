//! What a configuration means: paths made absolute, addresses parsed, and what cannot work refused.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::file::{ConfigFile, Metrics, Retention, SecondFactor, Upstream};
use super::parse::{Lines, Parsed};
use super::problem::Problem;
use crate::access::attempts::AttemptSettings;
use crate::access::rate::RateSettings;
use crate::access::session::SessionSettings;
use crate::access::{AccessSettings, UndeclaredRules};
use crate::http::network::{Network, NetworkError};
use crate::http::tls::{ClientCertificates, TlsFiles};
use crate::limits::NOTICE_BYTES_MAX;
use crate::memory::{Bounds, MEMORY_MAX_BYTES_MIN};
use crate::oci::name::RepositoryName;
use crate::ops::access_log::AccessLogSettings;
use crate::retention::rules::{RetentionRule, RuleError, WrittenRule};
use crate::review::ReviewSettings;
use crate::review::pod_image::PodImage;

/// The configuration as the program sees it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it came from.
    pub source: Option<PathBuf>,
    /// Every key with the value that holds: paths absolute, the command line's wishes in it.
    pub effective: ConfigFile,
    pub listen: SocketAddr,
    /// Whose machines may connect; none where all may.
    pub listen_networks: Vec<Network>,
    /// Where metrics are read.
    pub metrics: Option<MetricsListen>,
    pub access_log: AccessLogSettings,
    pub tls: Option<TlsFiles>,
    /// Which certificates of clients are taken.
    pub client_certificates: Option<ClientCertificates>,
    pub retention: Vec<RetentionRule>,
    /// What `memory_max_bytes` means for each part.
    pub memory: Bounds,
    /// How access is controlled.
    pub access: AccessSettings,
    /// Who is told whether an image may be used.
    pub review: ReviewSettings,
    /// Where the service manager hands over what is secret. No file says it: the environment does.
    pub credentials: Option<PathBuf>,
}

/// A listener for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsListen {
    pub address: SocketAddr,
    pub networks: Vec<Network>,
}

impl Config {
    /// The bounds that hold, where the file asks for less than the memory would allow as well.
    pub fn bounds(&self) -> Bounds {
        let index_cache_bytes_max = self.memory.index_cache_bytes_max.min(self.effective.store.index_cache_bytes);
        Bounds { index_cache_bytes_max, ..self.memory.clone() }
    }
}

/// What wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub data_dir: Option<PathBuf>,
    pub listen: Option<String>,
    pub insecure_http: bool,
}

/// Checks what was written and says all that is wrong with it.
pub fn resolve(parsed: &Parsed, source: Option<&Path>, overrides: &Overrides) -> Result<Config, Vec<Problem>> {
    let mut check = Check { lines: &parsed.lines, problems: Vec::new() };
    let base = source.and_then(Path::parent).unwrap_or(Path::new("/"));
    let effective = effective(&parsed.file, base, overrides);
    let listen = check.listen(&effective.listen.address, overrides.listen.is_some());
    let tls = check.tls(&effective);
    let client_certificates = check.client_certificates(&effective);
    let has_way = tls.is_some() || effective.listen.insecure_http;
    check.plain_http("listen.address", listen, has_way);
    let metrics = check.metrics(&effective.listen.metrics, has_way);
    let listen_networks = check.networks("listen.networks", &effective.listen.networks);
    let access_log = check.access_log(&effective.access_log);
    check.upstreams(&effective.upstream);
    let retention = check.retention(&effective.retention);
    let memory = check.memory(effective.memory_max_bytes);
    let access = check.access(&effective);
    let review = check.review(&effective);
    match (listen, memory, check.problems.is_empty()) {
        (Some(listen), Some(memory), true) => {
            let source = source.map(Path::to_owned);
            Ok(Config {
                source,
                effective,
                listen,
                listen_networks,
                metrics,
                access_log,
                tls,
                client_certificates,
                retention,
                memory,
                access,
                review,
                credentials: None,
            })
        }
        _ => Err(check.problems),
    }
}

/// What was written, with the command line's wishes and with absolute paths.
fn effective(file: &ConfigFile, base: &Path, overrides: &Overrides) -> ConfigFile {
    let mut file = file.clone();
    file.data_dir = overrides.data_dir.clone().unwrap_or_else(|| from(base, &file.data_dir));
    if let Some(address) = &overrides.listen {
        file.listen.address.clone_from(address);
    }
    file.listen.insecure_http |= overrides.insecure_http;
    let logins = file.upstream.iter_mut().flat_map(|upstream| [&mut upstream.ca_file, &mut upstream.password_file]);
    let sinks = file.access_log.sink.iter_mut();
    let sinks = sinks.flat_map(|sink| [&mut sink.ca_file, &mut sink.certificate, &mut sink.key]);
    for role in &mut file.admin.role {
        role.socket = from(base, &role.socket);
    }
    for path in &mut file.tls.client_crl_files {
        *path = from(base, path);
    }
    let own = [&mut file.tls.certificate, &mut file.tls.key, &mut file.tls.client_ca_file, &mut file.admin.socket];
    for path in own.into_iter().chain(logins).chain(sinks).flatten() {
        *path = from(base, path);
    }
    file
}

/// `path` as seen from `base`, without `.` in it.
fn from(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().collect()
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

pub(super) struct Check<'p> {
    lines: &'p Lines,
    problems: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn report(&mut self, key: &str, problem: impl Into<String>, next_step: impl Into<String>) {
        let line = self.lines.of(key);
        self.problems.push(Problem { line, key: key.to_owned(), problem: problem.into(), next_step: next_step.into() });
    }

    fn listen(&mut self, address: &str, from_command_line: bool) -> Option<SocketAddr> {
        self.address(if from_command_line { "--listen" } else { "listen.address" }, address)
    }

    fn address(&mut self, key: &str, address: &str) -> Option<SocketAddr> {
        let parsed = address.parse().ok();
        if parsed.is_none() {
            self.report(
                key,
                format!("'{address}' is not an address with a port"),
                "write IP:PORT, such as 0.0.0.0:443 or [::1]:5000",
            );
        }
        parsed
    }

    /// Without a certificate, only loopback is listened on unless somebody asked for more.
    fn plain_http(&mut self, key: &str, address: Option<SocketAddr>, has_way: bool) {
        if let Some(address) = address.filter(|address| !has_way && !is_loopback(address.ip())) {
            self.report(
                key,
                format!("'{address}' can be reached from other machines, and there is no TLS certificate"),
                "set tls.certificate and tls.key, or allow plain HTTP with listen.insecure_http = true (--insecure-http)",
            );
        }
    }

    fn metrics(&mut self, written: &Metrics, has_way: bool) -> Option<MetricsListen> {
        let networks = self.networks("listen.metrics.networks", &written.networks);
        let address = self.address("listen.metrics.address", written.address.as_ref()?);
        self.plain_http("listen.metrics.address", address, has_way);
        Some(MetricsListen { address: address?, networks })
    }

    fn memory(&mut self, memory_max_bytes: Option<u64>) -> Option<Bounds> {
        let bounds = Bounds::of(memory_max_bytes);
        if let (Some(asked), None) = (memory_max_bytes, &bounds) {
            self.report(
                "memory_max_bytes",
                format!("{asked} bytes are too few to work in"),
                format!("write {MEMORY_MAX_BYTES_MIN} or more, or leave the key out"),
            );
        }
        bounds
    }

    fn tls(&mut self, file: &ConfigFile) -> Option<TlsFiles> {
        match (&file.tls.certificate, &file.tls.key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
            (Some(_), None) => {
                self.report("tls.certificate", "a certificate without its key", "set tls.key as well");
                None
            }
            (None, Some(_)) => {
                self.report("tls.key", "a key without its certificate", "set tls.certificate as well");
                None
            }
            (None, None) => None,
        }
    }

    fn client_certificates(&mut self, file: &ConfigFile) -> Option<ClientCertificates> {
        let tls = &file.tls;
        let Some(ca_file) = tls.client_ca_file.clone() else {
            let written = [
                ("tls.client_crl_files", !tls.client_crl_files.is_empty()),
                ("tls.client_certificate_required", tls.client_certificate_required),
            ];
            for (key, _) in written.into_iter().filter(|(_, is_written)| *is_written) {
                self.report(key, "no authority issues certificates of clients", "set tls.client_ca_file as well");
            }
            return None;
        };
        if tls.certificate.is_none() {
            self.report(
                "tls.client_ca_file",
                "without TLS no client shows a certificate",
                "set tls.certificate and tls.key",
            );
        }
        let (crl_files, required) = (tls.client_crl_files.clone(), tls.client_certificate_required);
        Some(ClientCertificates { ca_file, crl_files, required })
    }

    fn upstreams(&mut self, upstreams: &[Upstream]) {
        let mut names = BTreeSet::new();
        for (position, upstream) in upstreams.iter().enumerate() {
            let key = |name: &str| format!("upstream[{position}].{name}");
            if !is_upstream_name(&upstream.name) {
                self.report(
                    &key("name"),
                    format!("'{}' cannot be the first part of a repository's name", upstream.name),
                    "write the registry's host in lower case with '_' before a port, such as registry.example or localhost_5000",
                );
            } else if !names.insert(upstream.name.as_str()) {
                self.report(&key("name"), format!("'{}' is there twice", upstream.name), "give each its own name");
            }
            if !is_http_url(&upstream.url) {
                self.report(
                    &key("url"),
                    format!("'{}' is not the address of a registry", upstream.url),
                    "write https://host[:port], or http:// for a registry without TLS",
                );
            }
            if upstream.username.is_some() != upstream.password_file.is_some() {
                let written = if upstream.username.is_some() { "username" } else { "password_file" };
                self.report(&key(written), "a login needs both", "set username and password_file, or neither");
            }
        }
    }

    fn access(&mut self, file: &ConfigFile) -> AccessSettings {
        let access = &file.access;
        let undeclared = UndeclaredRules {
            pull_networks: self.networks("access.anonymous_networks", &access.anonymous_networks),
            push_networks: self.networks("push.networks", &file.push.networks),
        };
        if !(60..=86_400).contains(&access.token_seconds) {
            self.report(
                "access.token_seconds",
                format!("{} seconds are too few or too many", access.token_seconds),
                "write 60 to 86400; 300 is usual",
            );
        }
        if let Some(url) = access.public_url.as_ref().filter(|url| !is_http_url(url) || url.ends_with('/')) {
            self.report(
                "access.public_url",
                format!("'{url}' is not the address of a registry"),
                "write https://host[:port], without a slash at the end",
            );
        }
        if access.notice.as_ref().is_some_and(|text| text.trim().is_empty() || text.len() > NOTICE_BYTES_MAX) {
            let what = format!("a notice is empty, or longer than {NOTICE_BYTES_MAX} bytes");
            self.report("access.notice", what, "write what people have to read, or leave it out");
        }
        let sessions =
            SessionSettings { session_seconds: access.session_seconds, idle_seconds: access.session_idle_seconds };
        if !(60..=86_400).contains(&sessions.session_seconds) {
            let what = format!("{} seconds are too few or too many", sessions.session_seconds);
            self.report("access.session_seconds", what, "write 60 to 86400; 28800 is usual");
        } else if !(60..=sessions.session_seconds).contains(&sessions.idle_seconds) {
            let what = format!("{} seconds are too few, or more than a session lasts", sessions.idle_seconds);
            self.report("access.session_idle_seconds", what, "write 60 to access.session_seconds; 900 is usual");
        }
        AccessSettings {
            undeclared,
            attempts: AttemptSettings {
                lockout_failures_count: access.lockout_failures_count,
                lockout_seconds: access.lockout_seconds,
            },
            rates: RateSettings {
                project_per_minute: access.project_pulls_per_minute,
                account_per_minute: access.account_pulls_per_minute,
                address_per_minute: access.address_pulls_per_minute,
            },
            token_seconds: access.token_seconds,
            sessions,
            notice: access.notice.clone(),
            second_factor_required: access.second_factor == SecondFactor::Required,
        }
    }

    fn review(&mut self, file: &ConfigFile) -> ReviewSettings {
        let review = &file.review;
        for name in &review.registry_names {
            // Read back as the beginning of an image's name: what would not be found there is no name of a registry.
            let is_read = |image: PodImage| image.registry == name.to_ascii_lowercase() && image.path.as_str() == "a";
            if !format!("{name}/a").parse().is_ok_and(is_read) {
                self.report(
                    "review.registry_names",
                    format!("'{name}' is not how an image's name begins"),
                    "write host or host:port, such as registry.example:5000",
                );
            }
        }
        let networks = self.networks("review.networks", &review.networks);
        ReviewSettings { networks, registry_names: review.registry_names.clone() }
    }

    fn networks(&mut self, key: &str, written: &[String]) -> Vec<Network> {
        let mut networks = Vec::new();
        for text in written {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(error) => self.report(
                    key,
                    NetworkError::to_string(&error),
                    "write address/bits, such as 10.1.0.0/16 or ::1/128",
                ),
            }
        }
        networks
    }

    fn retention(&mut self, rules: &[Retention]) -> Vec<RetentionRule> {
        let mut names = BTreeSet::new();
        let mut usable = Vec::new();
        for (position, rule) in rules.iter().enumerate() {
            let key = |name: &str| format!("retention[{position}].{name}");
            if !rule.name.is_empty() && !names.insert(rule.name.as_str()) {
                self.report(&key("name"), format!("'{}' is there twice", rule.name), "give each rule its own name");
            }
            match RetentionRule::new(written_rule(rule)) {
                Ok(rule) => usable.push(rule),
                Err(error) => {
                    let (name, next_step) = match &error {
                        RuleError::NoName => ("name", "name it: the name stands beside each line of a plan"),
                        RuleError::NoRepositories(_) => ("repositories", "write globs, such as [\"**\"] for all"),
                        RuleError::KeepsNothing { .. } => ("keep_semver_newest", "write 1 or more"),
                        RuleError::Pattern { pattern, .. } if rule.keep_tags.contains(pattern) => {
                            ("keep_tags", "mend the pattern")
                        }
                        RuleError::Pattern { .. } => ("repositories", "mend the pattern"),
                    };
                    self.report(&key(name), error.to_string(), next_step);
                }
            }
        }
        usable
    }
}

fn written_rule(rule: &Retention) -> WrittenRule {
    WrittenRule {
        name: rule.name.clone(),
        repositories: rule.repositories.clone(),
        keep_semver_newest: rule.keep_semver_newest,
        keep_tags: rule.keep_tags.clone(),
    }
}

/// A name that can be the first part of a repository's name.
fn is_upstream_name(name: &str) -> bool {
    !name.contains('/') && name.parse::<RepositoryName>().is_ok()
}

fn is_http_url(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
            && url.query().is_none()
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::Overrides;
    use crate::config::load::from_text;

    #[test]
    fn what_cannot_work_is_refused() {
        let check = |text: &str, line: Option<usize>, key: &str| {
            let error = from_text(Some(Path::new("/etc/p.toml")), text, &Overrides::default()).unwrap_err();
            let found: Vec<_> = error.problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
            assert_eq!(found, [(line, key)], "{error}");
        };
        check("[listen]\naddress = \"0.0.0.0:5000\"", Some(2), "listen.address");
        check("[listen]\naddress = \"[::]:5000\"", Some(2), "listen.address");
        check("[listen]\naddress = \"localhost\"", Some(2), "listen.address");
        check("memory_max_bytes = 50331647", Some(1), "memory_max_bytes");
        check("[tls]\ncertificate = \"a\"", Some(2), "tls.certificate");
        check("[tls]\nkey = \"a\"", Some(2), "tls.key");
        check("[tls]\nclient_crl_files = [\"a\"]", Some(2), "tls.client_crl_files");
        check("[tls]\nclient_certificate_required = true", Some(2), "tls.client_certificate_required");
        check("[tls]\nclient_ca_file = \"a\"", Some(2), "tls.client_ca_file");
        check("[push]\nnetworks = [\"10.0.0.1/8\"]", Some(2), "push.networks");
        check("[review]\nnetworks = [\"10.0.0.1/8\"]", Some(2), "review.networks");
        for name in ["https://registry.example", "registry", "registry.example/apps", ""] {
            check(&format!("[review]\nregistry_names = [\"{name}\"]"), Some(2), "review.registry_names");
        }
        check("[access]\nanonymous_networks = [\"all\"]", Some(2), "access.anonymous_networks");
        check("[access]\ntoken_seconds = 5", Some(2), "access.token_seconds");
        check("[access]\npublic_url = \"https://a/\"", Some(2), "access.public_url");
        check("[listen]\nnetworks = [\"10.0.0.0/33\"]", Some(2), "listen.networks");
        check("[listen.metrics]\naddress = \"9100\"", Some(2), "listen.metrics.address");
        check("[listen.metrics]\naddress = \"10.0.0.1:9100\"", Some(2), "listen.metrics.address");
        check("[listen.metrics]\nnetworks = [\"x\"]", Some(2), "listen.metrics.networks");
        check("[[upstream]]\nname = \"A/b\"\nurl = \"https://a\"", Some(2), "upstream[0].name");
        check("[[upstream]]\nurl = \"https://a\"", Some(1), "upstream[0].name");
        check("[[upstream]]\nname = \"a\"\nurl = \"a\"", Some(3), "upstream[0].url");
        check("[[upstream]]\nname = \"a\"\nurl = \"ftp://a\"", Some(3), "upstream[0].url");
        check("[[upstream]]\nname = \"a\"\nurl = \"https://a\"\nusername = \"u\"", Some(4), "upstream[0].username");
        let twice = "[[upstream]]\nname = \"a\"\nurl = \"https://a\"\n";
        check(&[twice, twice].concat(), Some(5), "upstream[1].name");
        let nothing = "[[retention]]\nname = \"r\"\nrepositories = [\"**\"]\nkeep_semver_newest = 0";
        check(nothing, Some(4), "retention[0].keep_semver_newest");
        check("[[retention]]\nname = \"r\"\nkeep_semver_newest = 1", Some(1), "retention[0].repositories");
        let glob = "[[retention]]\nname = \"r\"\nrepositories = [\"[\"]\nkeep_semver_newest = 1";
        check(glob, Some(3), "retention[0].repositories");
    }

    #[test]
    fn plain_http_is_for_loopback_or_for_those_who_ask() {
        let check = |text: &str, insecure_http: bool, good: bool| {
            let overrides = Overrides { insecure_http, ..Overrides::default() };
            assert_eq!(from_text(None, text, &overrides).is_ok(), good, "{text}");
        };
        check("", false, true);
        check("[listen]\naddress = \"[::1]:5000\"", false, true);
        check("[listen]\naddress = \"127.1.2.3:5000\"", false, true);
        check("[listen]\naddress = \"0.0.0.0:5000\"", false, false);
        check("[listen]\naddress = \"0.0.0.0:5000\"", true, true);
        check("[listen]\naddress = \"0.0.0.0:5000\"\ninsecure_http = true", false, true);
        check("[listen]\naddress = \"0.0.0.0:5000\"\n[tls]\nkey = \"k\"\ncertificate = \"c\"", false, true);
    }

    #[test]
    fn paths_count_from_the_file() {
        let text = "data_dir = \".\"\n[tls]\ncertificate = \"tls/c.pem\"\nkey = \"/k.pem\"";
        let config = from_text(Some(Path::new("/srv/data/postern.toml")), text, &Overrides::default()).unwrap();
        assert_eq!(config.effective.data_dir, PathBuf::from("/srv/data"));
        let tls = config.tls.unwrap();
        assert_eq!((tls.certificate, tls.key), (PathBuf::from("/srv/data/tls/c.pem"), PathBuf::from("/k.pem")));
        let overrides = Overrides { data_dir: Some(PathBuf::from("/other")), ..Overrides::default() };
        assert_eq!(from_text(None, "", &overrides).unwrap().effective.data_dir, PathBuf::from("/other"));
    }
}
