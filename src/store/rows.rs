//! The rows of the index: their keys, their values, and how they are looked at. Pure.
//!
//! ```text
//! M  repository 0 digest                      an admitted manifest
//! B  repository 0 digest 0                    the repository holds this blob
//! B  repository 0 digest 1 parent             a manifest of the repository points at it
//! E  repository 0 digest chunk                what a manifest points at, in chunks
//! T  repository 0 tag                         what a tag points at
//! U  repository 0 digest tag                  the same, the other way round
//! S  repository 0 subject digest              a manifest that speaks of another
//! F  repository 0 reference                   what was last refused
//! W  sender 0 series                          high-water mark of imports
//! X  receiver 0 series                        last sequence of exports
//! D  device role chunk                        an enrolled device; its identity file in chunks after 0
//! C  digest                                   condemned, since when and for how long
//! A  name                                     what there is one of
//! ```
//!
//! Links and parents of a blob lie side by side, so that a publication touches few pages. Numbers in keys are
//! big-endian, those in values too. No row says how often something is used: edges are rows, so that applying an event
//! twice is harmless.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::index::IndexError;
use super::pages::Mutation;
use super::record::{DeviceRole, RefusalRecord};
use super::transaction::LinkVia;
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::EdgeKind;
use crate::oci::name::RepositoryName;
use crate::verify::Refusal;

pub const MANIFESTS: u8 = b'M';
pub const BLOBS: u8 = b'B';
const EDGES: u8 = b'E';
const TAGS: u8 = b'T';
const TAGS_OF: u8 = b'U';
const REFERRERS: u8 = b'S';
const REFUSALS: u8 = b'F';
const HIGH_WATER: u8 = b'W';
const EXPORTS: u8 = b'X';
pub const DEVICES: u8 = b'D';
pub const CONDEMNED: u8 = b'C';
const SINGLES: u8 = b'A';

/// The name of the policy in force.
pub const ACTIVE_POLICY: &str = "active_policy";
/// The floor of trusted time.
pub const TIME_FLOOR: &str = "time_floor";
/// Children that one row of `E` lists: well within a row, whatever their algorithm.
pub const EDGES_IN_CHUNK_COUNT: usize = 64;
/// Bytes of an identity file in one row of `D`.
pub const IDENTITY_IN_CHUNK_BYTES: usize = 4096;

/// Looks at a row, and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Rows in order, with a way to look at them.
pub trait Rows {
    /// The value of one row.
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;
    /// Shows rows in order, from `from` on, until `visit` breaks.
    fn scan(&self, from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError>;
}

/// Shows the rows whose keys begin with `prefix`, in order, from `from` on where that is later.
pub fn scan_prefix(rows: &dyn Rows, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
    rows.scan(from.max(prefix), &mut |key, value| {
        if key.starts_with(prefix) { visit(key, value) } else { ControlFlow::Break(()) }
    })
}

/// Whether any row begins with `prefix`.
pub fn any(rows: &dyn Rows, prefix: &[u8]) -> Result<bool, IndexError> {
    let mut found = false;
    scan_prefix(rows, prefix, prefix, &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Rows that are newer than those below them; `None` is a removed row.
#[derive(Debug, Default)]
pub struct Overlay {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Overlay {
    /// Takes in newer rows.
    pub fn extend(&mut self, mutations: impl IntoIterator<Item = Mutation>) {
        for (key, value) in mutations {
            self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            self.rows.insert(key, value);
        }
    }

    /// About how much memory it takes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    /// Its rows, in order.
    pub fn mutations(&self) -> impl Iterator<Item = Mutation> + '_ {
        self.rows.iter().map(|(key, value)| (key.clone(), value.clone()))
    }

    /// Its rows, in order, taken out.
    pub fn into_mutations(self) -> impl Iterator<Item = Mutation> {
        self.rows.into_iter()
    }
}

/// Rows seen through newer ones.
pub struct Layered<'a> {
    pub top: &'a Overlay,
    pub base: &'a dyn Rows,
}

impl Rows for Layered<'_> {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.top.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.row(key),
        }
    }

    fn scan(&self, from: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError> {
        let newer = (Bound::Included(from), Bound::Unbounded);
        let mut newer = self.top.rows.range::<[u8], _>(newer).peekable();
        let mut flow = ControlFlow::Continue(());
        let mut show = |key: &[u8], value: &Option<Vec<u8>>| {
            value.as_ref().map_or(ControlFlow::Continue(()), |value| visit(key, value))
        };
        self.base.scan(from, &mut |key, value| {
            while let Some((newer_key, newer_value)) = newer.next_if(|(newer_key, _)| newer_key.as_slice() < key) {
                flow = show(newer_key, newer_value);
                flow?;
            }
            flow = match newer.next_if(|(newer_key, _)| newer_key.as_slice() == key) {
                Some((_, newer_value)) => show(key, newer_value),
                None => show(key, &Some(value.to_vec())),
            };
            flow
        })?;
        for (key, value) in newer {
            if flow.is_break() {
                break;
            }
            flow = show(key, value);
        }
        Ok(())
    }
}

fn in_repository(collection: u8, repository: &RepositoryName) -> Vec<u8> {
    let mut key = vec![collection];
    key.extend_from_slice(repository.as_str().as_bytes());
    key.push(0);
    key
}

fn joined(mut key: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    key.extend_from_slice(rest);
    key
}

/// Keys of rows.
pub mod key {
    use super::{
        BLOBS, CONDEMNED, DEVICES, DeviceId, DeviceRole, Digest, EDGES, EXPORTS, HIGH_WATER, MANIFESTS, REFERRERS,
        REFUSALS, RepositoryName, SINGLES, TAGS, TAGS_OF, in_repository, joined,
    };

    pub fn manifests(repository: &RepositoryName) -> Vec<u8> {
        in_repository(MANIFESTS, repository)
    }

    pub fn manifest(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
        joined(manifests(repository), &digest.to_key())
    }

    fn blob(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
        joined(in_repository(BLOBS, repository), &digest.to_key())
    }

    pub fn link(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
        joined(blob(repository, digest), &[0])
    }

    pub fn parents(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
        joined(blob(repository, digest), &[1])
    }

    pub fn parent(repository: &RepositoryName, digest: &Digest, parent: &Digest) -> Vec<u8> {
        joined(parents(repository, digest), &parent.to_key())
    }

    pub fn edges(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
        joined(in_repository(EDGES, repository), &digest.to_key())
    }

    pub fn edges_chunk(repository: &RepositoryName, digest: &Digest, chunk: u16) -> Vec<u8> {
        joined(edges(repository, digest), &chunk.to_be_bytes())
    }

    pub fn tags(repository: &RepositoryName) -> Vec<u8> {
        in_repository(TAGS, repository)
    }

    pub fn tag(repository: &RepositoryName, tag: &str) -> Vec<u8> {
        joined(tags(repository), tag.as_bytes())
    }

    pub fn tags_of(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
        joined(in_repository(TAGS_OF, repository), &digest.to_key())
    }

    pub fn tag_of(repository: &RepositoryName, digest: &Digest, tag: &str) -> Vec<u8> {
        joined(tags_of(repository, digest), tag.as_bytes())
    }

    pub fn referrers(repository: &RepositoryName, subject: &Digest) -> Vec<u8> {
        joined(in_repository(REFERRERS, repository), &subject.to_key())
    }

    pub fn referrer(repository: &RepositoryName, subject: &Digest, digest: &Digest) -> Vec<u8> {
        joined(referrers(repository, subject), &digest.to_key())
    }

    pub fn refusal(repository: &RepositoryName, reference: &str) -> Vec<u8> {
        joined(in_repository(REFUSALS, repository), reference.as_bytes())
    }

    fn series(collection: u8, device: &DeviceId, series: &str) -> Vec<u8> {
        [&[collection], device.as_str().as_bytes(), &[0], series.as_bytes()].concat()
    }

    pub fn high_water(sender: &DeviceId, name: &str) -> Vec<u8> {
        series(HIGH_WATER, sender, name)
    }

    pub fn export(receiver: &DeviceId, name: &str) -> Vec<u8> {
        series(EXPORTS, receiver, name)
    }

    pub fn device_roles(device: &DeviceId) -> Vec<u8> {
        joined(vec![DEVICES], device.as_str().as_bytes())
    }

    pub fn device(device: &DeviceId, role: DeviceRole, chunk: u16) -> Vec<u8> {
        let role = match role {
            DeviceRole::Sender => 1,
            DeviceRole::Receiver => 2,
        };
        joined(joined(device_roles(device), &[role]), &chunk.to_be_bytes())
    }

    pub fn condemned(digest: &Digest) -> Vec<u8> {
        joined(vec![CONDEMNED], &digest.to_key())
    }

    pub fn single(name: &str) -> Vec<u8> {
        joined(vec![SINGLES], name.as_bytes())
    }
}

/// The repository and the rest of a key in a collection that is shared out by repository.
pub fn split_repository(key: &[u8]) -> Option<(RepositoryName, &[u8])> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(key.get(1..at)?).ok()?;
    Some((name.parse().ok()?, key.get(at + 1..)?))
}

/// The value of `M`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    #[serde(rename = "m")]
    pub media_type: String,
    #[serde(rename = "b")]
    pub size_bytes: u64,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub sparse: bool,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    #[serde(rename = "q")]
    pub sequence: u64,
}

/// The value of `B … 0`.
#[derive(Debug, PartialEq, Eq)]
pub struct LinkRow {
    pub size_bytes: u64,
    pub via: LinkVia,
}

/// The value of `B … 1`.
#[derive(Debug, PartialEq, Eq)]
pub struct ParentRow {
    pub kind: EdgeKind,
    pub size_bytes: u64,
    pub media_type: String,
}

/// The value of `F`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RefusalRow {
    #[serde(rename = "r")]
    pub refusal: Refusal,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    #[serde(rename = "q")]
    pub sequence: u64,
}

impl From<RefusalRow> for RefusalRecord {
    fn from(row: RefusalRow) -> Self {
        Self { refusal: row.refusal, digest: row.digest, sequence: row.sequence }
    }
}

/// The value of the first row of `D`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeviceRow {
    pub device_id: DeviceId,
    pub name: String,
    pub role: DeviceRole,
    pub sequence: u64,
}

/// The value of `C`.
#[derive(Debug, PartialEq, Eq)]
pub struct CondemnedRow {
    pub since_running_seconds: u64,
    pub grace_seconds: u64,
}

impl CondemnedRow {
    /// How much of the grace is left.
    pub const fn seconds_left(&self, running_seconds: u64) -> u64 {
        let until = self.since_running_seconds.saturating_add(self.grace_seconds);
        until.saturating_sub(running_seconds)
    }
}

/// Media types that are stored as one byte; their order never changes.
const COMMON_MEDIA_TYPES: [&str; 14] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.dev.cosign.simplesigning.v1+json",
    "application/vnd.dsse.envelope.v1+json",
    "application/vnd.in-toto+json",
];

impl LinkRow {
    pub fn encode(&self) -> Vec<u8> {
        let via = match self.via {
            LinkVia::Upload => 1,
            LinkVia::Mount => 2,
            LinkVia::Mirror => 3,
            LinkVia::Import => 4,
        };
        joined(vec![via], &self.size_bytes.to_be_bytes())
    }

    pub fn decode(value: &[u8]) -> Result<Self, IndexError> {
        let via = match value.first() {
            Some(1) => LinkVia::Upload,
            Some(2) => LinkVia::Mount,
            Some(3) => LinkVia::Mirror,
            Some(4) => LinkVia::Import,
            _ => return Err(IndexError::Row("link")),
        };
        Ok(Self { size_bytes: u64_at(value, 1, "link")?, via })
    }
}

impl ParentRow {
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            EdgeKind::Manifest => 1,
            EdgeKind::Blob => 2,
        };
        let value = joined(vec![kind], &self.size_bytes.to_be_bytes());
        match COMMON_MEDIA_TYPES.iter().position(|common| *common == self.media_type) {
            Some(number) => joined(value, &[u8::try_from(number + 1).expect("the list is short")]),
            None => joined(joined(value, &[0]), self.media_type.as_bytes()),
        }
    }

    pub fn decode(value: &[u8]) -> Result<Self, IndexError> {
        const WHAT: &str = "parent";
        let kind = match value.first() {
            Some(1) => EdgeKind::Manifest,
            Some(2) => EdgeKind::Blob,
            _ => return Err(IndexError::Row(WHAT)),
        };
        let media_type = match value.get(9) {
            Some(0) => String::from_utf8(value.get(10..).unwrap_or_default().to_vec()).ok(),
            Some(number) => COMMON_MEDIA_TYPES.get(usize::from(*number) - 1).map(|&text| text.to_owned()),
            None => None,
        };
        Ok(Self { kind, size_bytes: u64_at(value, 1, WHAT)?, media_type: media_type.ok_or(IndexError::Row(WHAT))? })
    }
}

impl CondemnedRow {
    pub fn encode(&self) -> Vec<u8> {
        [self.since_running_seconds.to_be_bytes(), self.grace_seconds.to_be_bytes()].concat()
    }

    pub fn decode(value: &[u8]) -> Result<Self, IndexError> {
        Ok(Self {
            since_running_seconds: u64_at(value, 0, "condemned")?,
            grace_seconds: u64_at(value, 8, "condemned")?,
        })
    }
}

/// The edges in one row of `E`.
pub fn encode_edges<'a>(edges: impl Iterator<Item = (EdgeKind, &'a Digest)>) -> Vec<u8> {
    let mut value = Vec::new();
    for (kind, digest) in edges {
        value.push(if kind == EdgeKind::Manifest { 1 } else { 2 });
        value.extend_from_slice(&digest.to_key());
    }
    value
}

/// Reads [`encode_edges`] back.
pub fn decode_edges(mut value: &[u8]) -> Result<Vec<(EdgeKind, Digest)>, IndexError> {
    let mut edges = Vec::new();
    while let Some((kind, rest)) = value.split_first() {
        let kind = if *kind == 1 { EdgeKind::Manifest } else { EdgeKind::Blob };
        let digest = Digest::from_key(rest).ok_or(IndexError::Row("edges"))?;
        edges.push((kind, digest));
        value = rest.get(1 + digest.raw().len()..).unwrap_or_default();
    }
    Ok(edges)
}

/// A number in a value.
pub fn u64_at(value: &[u8], at: usize, what: &'static str) -> Result<u64, IndexError> {
    let bytes = value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or(IndexError::Row(what))
}

/// The time before which it cannot be.
pub fn time_floor(rows: &dyn Rows) -> Result<jiff::Timestamp, IndexError> {
    let Some(value) = rows.row(&key::single(TIME_FLOOR))? else { return Ok(jiff::Timestamp::UNIX_EPOCH) };
    let text = std::str::from_utf8(&value).ok();
    text.and_then(|text| text.parse().ok()).ok_or(IndexError::Row("time floor"))
}

/// A digest that ends a key or fills a value.
pub fn digest_in(bytes: &[u8], what: &'static str) -> Result<Digest, IndexError> {
    Digest::from_key(bytes).ok_or(IndexError::Row(what))
}

/// A row's value out of JSON.
pub fn from_json<T: serde::de::DeserializeOwned>(value: &[u8], what: &'static str) -> Result<T, IndexError> {
    serde_json::from_slice(value).map_err(|_| IndexError::Row(what))
}

/// A row's value as JSON.
pub fn to_json<T: Serialize>(row: &T) -> Vec<u8> {
    serde_json::to_vec(row).expect("a row holds nothing that JSON cannot")
}
