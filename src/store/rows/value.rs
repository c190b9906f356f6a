//! The values of rows, and how they are written.

use serde::{Deserialize, Serialize};

use super::super::index::IndexError;
use super::super::record::{DeviceRole, RefusalRecord, StagedRecord};
use super::super::transaction::{LinkVia, PrincipalRef};
use super::{Rows, TIME_FLOOR, TIME_WAITING, key};
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::EdgeKind;
use crate::oci::name::Tag;
use crate::sys::clock::RELEASED;
use crate::verify::Refusal;

fn joined(mut value: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    value.extend_from_slice(rest);
    value
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

/// The value of `G`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedRow {
    #[serde(rename = "m")]
    pub media_type: String,
    #[serde(rename = "b")]
    pub size_bytes: u64,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    #[serde(rename = "p")]
    pub principal: PrincipalRef,
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<PrincipalRef>,
    #[serde(rename = "u")]
    pub until: jiff::Timestamp,
    #[serde(rename = "q")]
    pub sequence: u64,
}

impl StagedRow {
    pub fn into_record(self, digest: Digest) -> StagedRecord {
        let Self { media_type, size_bytes, subject, tags, principal, mut beside, until, sequence } = self;
        beside.insert(0, principal);
        StagedRecord { digest, media_type, size_bytes, subject, tags, principals: beside, until, sequence }
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

/// The value of `O`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ObjectRow {
    pub digest: Digest,
    pub source: String,
    pub sequence: u64,
    /// Wall time when it was added.
    pub added: jiff::Timestamp,
}

/// The value of `V`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ActiveRow {
    pub version: u64,
    pub digest: Digest,
    /// The version that counted before.
    pub previous: Option<u64>,
}

/// A time that waits for an operator, and on whose word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRow {
    pub at: jiff::Timestamp,
    pub source: String,
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
    let Some(value) = rows.row(&key::single(TIME_FLOOR))? else { return Ok(RELEASED) };
    let text = std::str::from_utf8(&value).ok();
    let raised: Option<jiff::Timestamp> = text.and_then(|text| text.parse().ok());
    raised.map(|raised| raised.max(RELEASED)).ok_or(IndexError::Row("time floor"))
}

/// A time that is too far ahead to be taken without an operator.
pub fn time_waiting(rows: &dyn Rows) -> Result<Option<WaitingRow>, IndexError> {
    rows.row(&key::single(TIME_WAITING))?.map(|value| from_json(&value, "waiting time")).transpose()
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
