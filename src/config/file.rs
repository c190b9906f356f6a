//! The configuration file as it is written: every key, what it is for, and its default.
//!
//! The comments on the fields are the documentation that people see (schema, commented defaults, manual page), so they
//! are written for the person who edits the file.

mod access_log;
mod listen;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access_log::{AccessLog, AccessLogFormat, Facility, OnLoss, Sink, SinkKind};
pub use listen::{Admin, AdminRole, AdminRoleName, Listen, Metrics};

use crate::access::session::SessionSettings;
use crate::store::StoreSettings;

/// Postern's configuration: one TOML file. Relative paths count from the directory that the file is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// Directory that holds everything: images, journal, index, keys. `--data` and POSTERN_DATA win over it.
    pub data_dir: PathBuf,
    /// `true` forbids every connection to a registry outside; mirrors then answer from what is stored and never dial. Only
    /// collectors of the access log that are configured are still told.
    pub offline: bool,
    /// Whether the validated FIPS module must do the cryptography. `required` refuses to work without it, `preferred` says so when it starts without, `off` asks for nothing.
    pub fips: FipsMode,
    /// Memory, in bytes, that caches, buffers, threads and connections are sized for; 50331648 (48 MiB) or more. `postern config show`
    /// prints the bounds that follow. The appliance is then slower, and an image whose manifests and evidence do not fit, or a
    /// set whose table does not, waits outside until there is more. Without it each part has its own bound.
    pub memory_max_bytes: Option<u64>,
    /// Where clients connect.
    pub listen: Listen,
    /// The certificate that clients see. Without one the registry speaks plain HTTP, on loopback only.
    pub tls: Tls,
    /// What is logged, and how.
    pub log: Log,
    /// Who may use the registry without an account, and how it guards against too much.
    pub access: Access,
    /// Who did what: a record of each request and of each operation over the administration socket, in the data directory's
    /// `access/` and wherever else it is wanted.
    pub access_log: AccessLog,
    /// Who may administrate over the socket, beside root and the user that the server runs as.
    pub admin: Admin,
    /// From where images may be pushed without an account.
    pub push: Push,
    /// Who asks whether an image may be used: Kubernetes' admission webhooks, Gatekeeper and others.
    pub review: Review,
    /// How registries outside are mirrored.
    pub mirror: Mirror,
    /// How far trusted time may be carried by what is signed.
    pub trusted_time: TrustedTime,
    /// How images are kept.
    pub store: Store,
    /// When bytes that nothing needs any more are removed.
    pub sweep: Sweep,
    /// How often all content is read again, so that what a disk has changed is noticed before somebody needs it.
    pub scrub: Scrub,
    /// One table for each registry that is mirrored.
    pub upstream: Vec<Upstream>,
    /// One table for each retention rule. In a repository that no rule names everything stays.
    pub retention: Vec<Retention>,
}

/// Whether the validated FIPS module must do the cryptography.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FipsMode {
    Required,
    Preferred,
    #[default]
    Off,
}

/// The certificate that clients see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the server's certificate, followed by its intermediates.
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub key: Option<PathBuf>,
    /// PEM file with the authorities whose certificates clients may show instead of a password; `postern user certificate` says whom
    /// the names in them stand for.
    pub client_ca_file: Option<PathBuf>,
    /// PEM files with lists of revoked certificates of these authorities (CRLs). Where there is one, each authority needs one.
    /// Read anew on SIGHUP.
    pub client_crl_files: Vec<PathBuf>,
    /// `true` turns clients away that show no certificate.
    pub client_certificate_required: bool,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `human` lines, `json` lines, or `auto`: human on a terminal and JSON otherwise.
    pub format: LogFormat,
    /// The least serious level that is written. POSTERN_LOG wins over it and takes a level for each module as well.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Auto,
    Human,
    Json,
}

/// How serious a line must be to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Who may use the registry without an account, and how it guards against too much. Accounts and projects are made with
/// `postern user`, `postern robot` and `postern project`, not in this file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Networks such as `10.0.0.0/8` from which anyone pulls what belongs to no declared project. A declared project says itself who may.
    pub anonymous_networks: Vec<String>,
    /// How clients reach the registry, such as `https://registry.example`, where a proxy stands before it. Without it the name that a client used is taken.
    pub public_url: Option<String>,
    /// How many seconds a token holds; 60 to 86400. Rights are looked up for each request, so a token never outlives its account.
    pub token_seconds: u32,
    /// After how many failed attempts in a row an account is locked, wherever they came from; 0 for never. A stranger can then lock
    /// an account; `postern user unlock` opens it. Each address is slowed in any case.
    pub lockout_failures_count: u32,
    /// For how many seconds a locked account stays locked.
    pub lockout_seconds: u64,
    /// A notice that people have to read before they manage the appliance over HTTP (NIST SP 800-53, AC-8). With one, whoever has a
    /// password begins a session.
    pub notice: Option<String>,
    /// Whether people without a second factor (`postern user second-factor`) or a certificate may manage over HTTP.
    pub second_factor: SecondFactor,
    /// For how many seconds a session lasts at the most; 60 to 86400.
    pub session_seconds: u64,
    /// After how many seconds without a request it ends; 60 to `session_seconds`.
    pub session_idle_seconds: u64,
    /// Manifests that may be pulled from one project in a minute; 0 for as many as come.
    pub project_pulls_per_minute: u32,
    /// Manifests that one account may pull in a minute; 0 for as many as come.
    pub account_pulls_per_minute: u32,
    /// Manifests that one address may pull in a minute; 0 for as many as come.
    pub address_pulls_per_minute: u32,
}

/// Who needs a second factor to manage over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// Those who have one.
    #[default]
    Optional,
    /// Everyone.
    Required,
}

/// From where images may be pushed without an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    /// Networks such as `10.1.0.0/16` or `::1/128` from which anyone pushes to what belongs to no declared project, judged by the trust policy like all that comes in. None: only accounts push.
    pub networks: Vec<String>,
    /// Whether images are taken of which layers or platforms were not pushed; what is missing is 404. Else they are refused.
    pub sparse: bool,
}

/// Who asks whether an image may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Review {
    /// Networks such as `10.2.0.0/24` from which anyone is told about every image: those of the API servers. From elsewhere an account that may pull the image is needed.
    pub networks: Vec<String>,
    /// Hosts, with ports, by which Pods name this registry, such as `registry.example:5000`. Every other registry in an image's name is one that is mirrored here.
    pub registry_names: Vec<String>,
}

/// How registries outside are mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mirror {
    /// For how many seconds a stored tag is served without asking the upstream whether it has moved.
    pub fresh_seconds: u64,
}

/// How images are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Memory that the index may use as cache, in bytes.
    pub index_cache_bytes: u64,
    /// Disk kept aside, in bytes, so that deleting still works when the disk is full.
    pub reserve_bytes: u64,
}

/// How far trusted time may be carried by what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrustedTime {
    /// Days by which the floor of trusted time may rise at once on the word of a log, a time stamp or an update of trust that was
    /// accepted. A longer step waits for `postern trust time accept`.
    pub step_days_max: u32,
}

/// When bytes that nothing needs any more are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sweep {
    /// How many seconds bytes stay after nothing needs them any more. Counted while the appliance runs, never while it is off.
    pub grace_seconds: u64,
}

/// How often all content is read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scrub {
    /// Days of running time between two passes; 0 for never. `postern store scrub` does it at any time.
    pub interval_days: u32,
    /// Bytes that a pass reads in a second at the most; 0 for as many as the disk gives.
    pub bytes_per_second: u64,
}

/// A registry that is mirrored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// First part of its repositories' names here, and a value of `?ns=` that means it. Usually the registry's host, with `_` before a port.
    pub name: String,
    /// Where it is: `https://host[:port]`, or `http://` for a registry without TLS.
    pub url: String,
    /// Further values of `?ns=` that mean it. Its name and the host of its address always do.
    pub namespaces: Vec<String>,
    /// PEM file with the certificate authorities to trust for it, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// User to log in as. Needs `password_file`.
    pub username: Option<String>,
    /// File whose first line is the password. The password itself never stands in this file.
    pub password_file: Option<PathBuf>,
}

/// A rule for which versions are kept; `postern retention apply` retires the others. Tags that are no semantic versions always stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Name of the rule, which stands beside each line of a plan.
    pub name: String,
    /// Repositories that the rule is for, as globs: `*` stays within one part of the name, `**` crosses parts.
    pub repositories: Vec<String>,
    /// How many of the newest semantic versions stay. Without it all do.
    pub keep_semver_newest: Option<u32>,
    /// Tags that stay whatever their version, as globs.
    pub keep_tags: Vec<String>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/postern"),
            offline: false,
            fips: FipsMode::default(),
            memory_max_bytes: None,
            listen: Listen::default(),
            tls: Tls::default(),
            log: Log::default(),
            access: Access::default(),
            access_log: AccessLog::default(),
            admin: Admin::default(),
            push: Push::default(),
            review: Review::default(),
            mirror: Mirror::default(),
            trusted_time: TrustedTime::default(),
            store: Store::default(),
            sweep: Sweep::default(),
            scrub: Scrub::default(),
            upstream: Vec::new(),
            retention: Vec::new(),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        let sessions = SessionSettings::default();
        Self {
            anonymous_networks: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
            public_url: None,
            token_seconds: 300,
            lockout_failures_count: 0,
            lockout_seconds: 900,
            notice: None,
            second_factor: SecondFactor::Optional,
            session_seconds: sessions.session_seconds,
            session_idle_seconds: sessions.idle_seconds,
            project_pulls_per_minute: 1_000,
            account_pulls_per_minute: 0,
            address_pulls_per_minute: 0,
        }
    }
}

impl Default for Mirror {
    fn default() -> Self {
        Self { fresh_seconds: 60 }
    }
}

impl Default for Store {
    fn default() -> Self {
        let StoreSettings { index_cache_bytes, reserve_bytes, .. } = StoreSettings::default();
        Self { index_cache_bytes, reserve_bytes }
    }
}

impl Default for TrustedTime {
    fn default() -> Self {
        let days = StoreSettings::default().time_step_seconds_max / SECONDS_IN_DAY;
        Self { step_days_max: u32::try_from(days).unwrap_or(u32::MAX) }
    }
}

impl TrustedTime {
    /// The same in seconds.
    pub const fn step_seconds_max(&self) -> u64 {
        self.step_days_max as u64 * SECONDS_IN_DAY
    }
}

const SECONDS_IN_DAY: u64 = 24 * 60 * 60;

impl Default for Sweep {
    fn default() -> Self {
        Self { grace_seconds: 72 * 60 * 60 }
    }
}

impl Default for Scrub {
    fn default() -> Self {
        Self { interval_days: 30, bytes_per_second: 8 * 1024 * 1024 }
    }
}

impl LogLevel {
    /// The level as tracing's filters write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
