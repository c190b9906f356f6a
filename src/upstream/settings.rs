//! What the mirror has to know of each upstream. The configuration resolves into this.

use std::path::PathBuf;

use crate::memory::Bounds;

/// One registry outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// First component of its repositories here, such as `docker.io`. It must be a valid path component.
    pub name: String,
    /// Where it is: `https://registry-1.docker.io`. A path is put before `/v2/`.
    pub url: String,
    /// Further values of `ns` that mean it. Its name and the host of its address always do.
    pub namespaces: Vec<String>,
    /// Certificates (PEM) that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    pub credentials: Option<Credentials>,
}

/// A name and where its password stands. The file is read each time, so that a short-lived password can be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password_file: PathBuf,
}

impl Credentials {
    /// Both parts, where both are given.
    pub fn of(user: Option<&String>, password_file: Option<&PathBuf>) -> Option<Self> {
        user.cloned().zip(password_file.cloned()).map(|(user, password_file)| Self { user, password_file })
    }
}

/// How the mirror as a whole behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorSettings {
    /// Never dial, whatever is asked.
    pub offline: bool,
    /// A tag that was compared with its upstream this recently is served without asking again.
    pub tag_fresh_seconds: u64,
    /// Longest wait for a comparison when something can be served from the disk.
    pub revalidate_seconds_max: u64,
    /// After a failed dial, what is here is served at once for this long.
    pub unreachable_seconds: u64,
    /// An image that policy refused is not fetched again for this long.
    pub refused_seconds: u64,
    /// Blobs that are fetched at the same time.
    pub downloads_count_max: usize,
    /// Bytes of one connection that wait to be read; `None` leaves it to the HTTP library.
    pub receive_bytes_max: Option<u32>,
    /// Manifests and evidence of one image that are held until it is judged.
    pub gathered_bytes_max: usize,
    /// Images that are gathered and judged at the same time.
    pub gathering_count_max: usize,
}

impl Default for MirrorSettings {
    fn default() -> Self {
        Self {
            offline: false,
            tag_fresh_seconds: 60,
            revalidate_seconds_max: 2,
            unreachable_seconds: 30,
            refused_seconds: 60,
            downloads_count_max: Bounds::UNBOUNDED.downloads_count_max,
            receive_bytes_max: Bounds::UNBOUNDED.receive_bytes_max,
            gathered_bytes_max: Bounds::UNBOUNDED.gathered_bytes_max,
            gathering_count_max: Bounds::UNBOUNDED.gathering_count_max,
        }
    }
}
