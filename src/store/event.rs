//! What the journal holds: one event a line, as JSON that a person can read.
//!
//! The order of the fields is fixed, the chain is over exactly the stored bytes, and nothing here is ever taken away:
//! a new meaning gets a new kind or a new `kind_version`. An unknown critical event stops an old binary; an unknown
//! ignorable one is kept, chained and skipped.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{DeviceRole, Position};
use super::transaction::{Cause, LinkVia, PrincipalRef};
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::Edge;
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::verify::Refusal;
use crate::verify::policy::ObjectName;
use crate::verify::tuf::{Expired, Versions};

/// Version of the envelope.
pub const ENVELOPE_VERSION: u32 = 1;
/// Version of every kind that this binary knows.
pub const KIND_VERSION: u32 = 1;
/// The only hash of a chain so far.
pub const HASH: &str = "sha256";

/// When something happened, and how far that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    pub wall: Timestamp,
    /// Where wall time came from; `system` is the clock of the machine, which may be wrong.
    pub source: String,
    /// It was certainly not earlier than this.
    pub floor: Timestamp,
}

/// Everything about an event but what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHead {
    pub version: u32,
    pub hash: String,
    pub journal: String,
    pub epoch: u64,
    pub sequence: u64,
    /// Digest of the line before; none in the first event.
    pub previous: Option<Digest>,
    pub kind_version: u32,
    pub critical: bool,
    pub time: EventTime,
    pub boot: String,
    pub running_seconds: u64,
    pub principal: PrincipalRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<PrincipalRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default)]
    pub cause: Cause,
    /// The trust policy under which it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The trust roots under which it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Digest>,
    pub writer: String,
}

/// Content that a repository holds from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedBlob {
    pub digest: Digest,
    pub size_bytes: u64,
}

/// Content that was given up, and the repositories that held it until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweptContent {
    pub digest: Digest,
    pub repositories: Vec<RepositoryName>,
}

/// A manifest that is here and is served no more, or is served again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingChange {
    pub repository: RepositoryName,
    pub digest: Digest,
    /// The rule that it does not satisfy any more; none where it is served again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Body {
    JournalCreated {
        device_id: DeviceId,
    },
    ManifestPublished {
        repository: RepositoryName,
        digest: Digest,
        media_type: String,
        size_bytes: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact_type: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Digest>,
        sparse: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<String>,
        /// Kept here so that the index can be made anew without any blob.
        edges: Vec<Edge>,
        /// The rules that let it pass.
        rules: Vec<String>,
        /// The documents that they looked at.
        evidence: Vec<Digest>,
    },
    /// A manifest was pushed that a rule refuses as yet. It is served to nobody, and seen by the principal in the head.
    ManifestStaged {
        repository: RepositoryName,
        digest: Digest,
        media_type: String,
        size_bytes: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Digest>,
        tags: Vec<Tag>,
        /// Others who pushed the same bytes and see it too.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<PrincipalRef>,
        until: Timestamp,
        /// The rule that it waits for.
        rule: String,
    },
    /// Manifests wait no more: they were let in, or their time is over.
    StagingEnded {
        repository: RepositoryName,
        digests: Vec<Digest>,
    },
    ManifestRemoved {
        repository: RepositoryName,
        digest: Digest,
        reason: String,
    },
    BlobsLinked {
        repository: RepositoryName,
        via: LinkVia,
        blobs: Vec<LinkedBlob>,
    },
    BlobUnlinked {
        repository: RepositoryName,
        digest: Digest,
        reason: String,
    },
    TagMoved {
        repository: RepositoryName,
        tag: Tag,
        target: Digest,
        previous: Option<Digest>,
    },
    TagRemoved {
        repository: RepositoryName,
        tag: Tag,
        previous: Digest,
        reason: String,
    },
    RefusalRecorded {
        repository: RepositoryName,
        reference: Reference,
        digest: Option<Digest>,
        refusal: Refusal,
    },
    ImportCommitted {
        set_id: String,
        sender: DeviceId,
        series: String,
        sequence: u64,
        table_digest: Digest,
        admitted: u64,
        refused: u64,
    },
    ExportSealed {
        set_id: String,
        receiver: DeviceId,
        series: String,
        sequence: u64,
        table_digest: Digest,
    },
    DeviceEnrolled {
        device_id: DeviceId,
        name: String,
        role: DeviceRole,
        /// The signed identity file, in base 64.
        identity: String,
    },
    DeviceRemoved {
        device_id: DeviceId,
    },
    PolicyActivated {
        digest: Digest,
        previous: Option<Digest>,
    },
    /// What was admitted was judged again, under the policy in the head, with another outcome than before. What is served is
    /// decided anew for whoever asks; this is the record of it.
    StandingChanged {
        changes: Vec<StandingChange>,
    },
    /// Everything that is here was judged again under the policy in the head.
    StandingReviewed {
        manifests: u64,
        refused: u64,
    },
    /// A version of an object of trust is here. It counts only once it is activated.
    TrustObjectAdded {
        object: ObjectName,
        version: u64,
        digest: Digest,
        /// Where it came from, as whoever brought it said.
        source: String,
    },
    /// An update of trust was verified and accepted: nothing older of its repository is taken from here on.
    TrustUpdateAccepted {
        name: String,
        versions: Versions,
        /// SHA-256 of the root metadata.
        root: Digest,
        /// What was past its time and taken all the same,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        expired: Vec<Expired>,
        /// and why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What the next activation is to be, instead of what it was to be before.
    TrustStaged {
        objects: Vec<ObjectVersion>,
    },
    /// From here on these versions count.
    TrustActivated {
        objects: Vec<ActivatedObject>,
        reason: String,
    },
    /// Projects, principals or their rights have changed, and stand in another document.
    AccessChanged {
        digest: Digest,
        previous: Option<Digest>,
        /// What was done (`robot_created`).
        act: String,
        /// To what: the name of a project, the id of an account.
        object: String,
        /// With which values; neither names of people nor secrets.
        values: serde_json::Value,
    },
    RetentionApplied {
        rule: String,
        values: serde_json::Value,
    },
    ContentCondemned {
        digests: Vec<Digest>,
        grace_seconds: u64,
    },
    ContentSwept {
        content: Vec<SweptContent>,
    },
    TimeFloorRaised {
        at: Timestamp,
        source: String,
    },
    /// Something signed says that it is later than may be taken without an operator.
    TimeStepHeld {
        at: Timestamp,
        source: String,
    },
    /// An operator has said how late it is at least: later, or earlier than was believed before.
    TimeFloorSet {
        at: Timestamp,
        previous: Timestamp,
        reason: String,
    },
    /// What comes after may follow another history than what others saw before.
    EpochBegun {
        reason: String,
        /// Where the history ended that is gone on with.
        from: Position,
    },
    /// From here on the store may hold what an earlier release does not read.
    FormatFinalized {
        version: u32,
    },
}

/// One version of an object of trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    pub object: ObjectName,
    pub version: u64,
}

/// One that counts now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivatedObject {
    pub object: ObjectName,
    pub version: u64,
    pub digest: Digest,
    /// The version that counted until then.
    pub previous: Option<u64>,
}

/// Every kind in [`Body`].
const KINDS: [&str; 30] = [
    "journal_created",
    "manifest_published",
    "manifest_staged",
    "staging_ended",
    "manifest_removed",
    "blobs_linked",
    "blob_unlinked",
    "tag_moved",
    "tag_removed",
    "refusal_recorded",
    "import_committed",
    "export_sealed",
    "device_enrolled",
    "device_removed",
    "policy_activated",
    "standing_changed",
    "standing_reviewed",
    "trust_object_added",
    "trust_update_accepted",
    "trust_staged",
    "trust_activated",
    "access_changed",
    "retention_applied",
    "content_condemned",
    "content_swept",
    "time_floor_raised",
    "time_step_held",
    "time_floor_set",
    "epoch_begun",
    "format_finalized",
];

impl Body {
    /// Whether a binary that does not know this kind must stop. One that does not know a finalized form is stopped by the
    /// version file; a journal alone it may read as far as it can.
    pub const fn is_critical(&self) -> bool {
        !matches!(
            self,
            Self::RetentionApplied { .. }
                | Self::EpochBegun { .. }
                | Self::FormatFinalized { .. }
                | Self::TimeStepHeld { .. }
                | Self::ManifestStaged { .. }
                | Self::StagingEnded { .. }
                | Self::StandingChanged { .. }
                | Self::StandingReviewed { .. }
        )
    }

    /// The repositories in which something else is served, or is known of what is served, than before.
    pub fn repositories(&self) -> Vec<&RepositoryName> {
        match self {
            Self::ManifestPublished { repository, .. }
            | Self::ManifestRemoved { repository, .. }
            | Self::BlobsLinked { repository, .. }
            | Self::BlobUnlinked { repository, .. }
            | Self::TagMoved { repository, .. }
            | Self::TagRemoved { repository, .. } => vec![repository],
            Self::ContentSwept { content } => content.iter().flat_map(|swept| &swept.repositories).collect(),
            _ => Vec::new(),
        }
    }
}

/// Why a line of the journal cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    #[error("event is not valid JSON of its kind")]
    Json(#[from] serde_json::Error),
    #[error(
        "event {sequence} is of kind '{kind}', version {version}, which this binary does not know and may not skip: use a newer binary"
    )]
    Unknown { sequence: u64, kind: String, version: u32 },
    #[error("event {sequence} has envelope version {version}, which this binary does not know: use a newer binary")]
    Envelope { sequence: u64, version: u32 },
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    head: &'a EventHead,
    #[serde(flatten)]
    body: &'a Body,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// The bytes of an event, without the line's end.
pub fn encode(head: &EventHead, body: &Body) -> Vec<u8> {
    serde_json::to_vec(&Line { head, body }).expect("an event holds nothing that JSON cannot")
}

/// Reads an event. The body is `None` where its kind is unknown and may be skipped.
pub fn parse(line: &[u8]) -> Result<(EventHead, Option<Body>), EventError> {
    let head: EventHead = serde_json::from_slice(line)?;
    if head.version != ENVELOPE_VERSION || head.hash != HASH {
        return Err(EventError::Envelope { sequence: head.sequence, version: head.version });
    }
    let Kind { kind } = serde_json::from_slice(line)?;
    if KINDS.contains(&kind.as_str()) && head.kind_version <= KIND_VERSION {
        // The kind stands before the body, and other fields are passed over: nothing is buffered.
        return Ok((head, Some(serde_json::from_slice(line)?)));
    }
    if head.critical {
        return Err(EventError::Unknown { sequence: head.sequence, kind, version: head.kind_version });
    }
    Ok((head, None))
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Body, EventError, EventHead, EventTime, KINDS, encode, parse};
    use crate::device_id::DeviceId;
    use crate::store::transaction::{Cause, PrincipalRef};

    pub fn head(sequence: u64) -> EventHead {
        EventHead {
            version: super::ENVELOPE_VERSION,
            hash: super::HASH.to_owned(),
            journal: "j".to_owned(),
            epoch: 1,
            sequence,
            previous: None,
            kind_version: super::KIND_VERSION,
            critical: true,
            time: EventTime {
                wall: jiff::Timestamp::UNIX_EPOCH,
                source: "system".into(),
                floor: jiff::Timestamp::UNIX_EPOCH,
            },
            boot: "b".to_owned(),
            running_seconds: 5,
            principal: PrincipalRef::system("test"),
            on_behalf_of: None,
            request_id: None,
            cause: Cause::default(),
            policy: None,
            trust: None,
            writer: "w".to_owned(),
        }
    }

    #[test]
    fn the_first_record_of_all_stays_as_it_is() {
        // WHY: the envelope cannot be changed later; this is what the first release wrote.
        let body = Body::JournalCreated { device_id: DeviceId::of_public_key(b"key") };
        let line = String::from_utf8(encode(&head(1), &body)).unwrap();
        let expected = r#"{"version":1,"hash":"sha256","journal":"j","epoch":1,"sequence":1,"previous":null,"kind_version":1,"critical":true,"time":{"wall":"1970-01-01T00:00:00Z","source":"system","floor":"1970-01-01T00:00:00Z"},"boot":"b","running_seconds":5,"principal":{"id":"test","kind":"system"},"cause":{},"writer":"w","kind":"journal_created","body":{"device_id":"ID"}}"#;
        assert_eq!(line.replace(&DeviceId::of_public_key(b"key").to_string(), "ID"), expected);
        assert_eq!(parse(line.as_bytes()).unwrap(), (head(1), Some(body)));
    }

    #[test]
    fn an_unknown_kind_stops_only_when_critical() {
        let known = String::from_utf8(encode(&head(1), &Body::RetentionApplied { rule: "r".into(), values: 1.into() }));
        let unknown = known.unwrap().replace("retention_applied", "moon_landed");
        assert!(matches!(parse(unknown.as_bytes()), Err(EventError::Unknown { sequence: 1, .. })));
        let ignorable = unknown.replace("\"critical\":true", "\"critical\":false");
        assert_eq!(parse(ignorable.as_bytes()).unwrap().1, None);
        let later = unknown.replace("\"version\":1", "\"version\":2");
        assert!(matches!(parse(later.as_bytes()), Err(EventError::Envelope { version: 2, .. })));
    }

    #[test]
    fn every_kind_is_listed() {
        let error = serde_json::from_str::<Body>(r#"{"kind":"?","body":{}}"#).unwrap_err().to_string();
        for kind in KINDS {
            assert!(error.contains(&format!("`{kind}`")), "{kind}");
        }
        assert_eq!(error.matches('`').count(), 2 * (KINDS.len() + 1));
    }
}
