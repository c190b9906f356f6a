//! The keys under `[listen]` and `[admin]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Address and port, such as `0.0.0.0:443` or `[::1]:5000`. Port 0 takes any free one.
    pub address: String,
    /// `true` allows plain HTTP on an address that other machines can reach. Passwords and images are then readable on the wire.
    pub insecure_http: bool,
    /// Networks such as `10.1.0.0/16` or `::1/128` whose machines may connect; all others are closed before TLS. None: all may.
    pub networks: Vec<String>,
    /// Where metrics and health are read, apart from the registry.
    pub metrics: Metrics,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:5000".to_owned(),
            insecure_http: false,
            networks: Vec::new(),
            metrics: Metrics::default(),
        }
    }
}

/// Where metrics (`/metrics`, for Prometheus) and health (`/healthz`, `/readyz`) are read. Plain HTTP on loopback; elsewhere
/// with the certificate of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address and port, such as `127.0.0.1:9100`. Without it there is no such listener.
    pub address: Option<String>,
    /// Networks whose machines may connect; all others are closed before TLS. None: all may.
    pub networks: Vec<String>,
}

/// Who may administrate over the socket, beside root and the user that the server runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Group, by its name in `/etc/group` or by number, whose members may do everything that the server's own user may. Their configuration is read from where they can,
    /// such as `/etc/postern/postern.toml`.
    pub group: Option<String>,
    /// The socket, where it is not `admin.sock` in the data directory, which only its owner can enter; with a group, in a folder of
    /// that group with mode 2750, such as `/run/postern/admin.sock`.
    pub socket: Option<PathBuf>,
    /// One table for each role that may less than operators, over a socket of its own.
    pub role: Vec<AdminRole>,
}

/// What they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdminRoleName {
    /// Looks at everything and changes nothing.
    Auditor,
    /// Carries images over the gap.
    Officer,
}

/// People who may less than operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminRole {
    /// `auditor` looks at everything and changes nothing; `officer` carries images over the gap: fetches, plans, exports, imports, and
    /// looks at what is there.
    pub name: AdminRoleName,
    /// Group whose members have the role.
    pub group: String,
    /// Socket for them, in a folder of that group with mode 2750, such as `/run/postern-auditors/admin.sock`.
    pub socket: PathBuf,
}

impl Default for AdminRole {
    fn default() -> Self {
        Self {
            name: AdminRoleName::Auditor,
            group: "postern-auditors".to_owned(),
            socket: PathBuf::from("/run/postern-auditors/admin.sock"),
        }
    }
}
