//! What can be asked of the store: the only way to change anything.

use serde::{Deserialize, Serialize};

use super::event::{ObjectVersion, StandingChange};
use super::record::{DeviceRole, Position};
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::name::{Reference, RepositoryName, Tag};
use crate::verify::policy::ObjectName;
use crate::verify::tuf::{Expired, Versions};
use crate::verify::{Admitted, Refusal};

/// Who acts. An id and never a name: the journal cannot forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct PrincipalRef {
    pub id: String,
    pub kind: PrincipalKind,
}

/// What kind of principal acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// The appliance itself: a mirror that fills, a schedule that falls due.
    System,
    /// Whoever may use the administration socket or the data directory.
    Operator,
    /// A person who has signed in.
    Person,
    /// A robot account.
    Robot,
    /// Another device.
    Device,
}

impl PrincipalRef {
    /// The appliance itself, in one of its roles (`mirror`, `retention`).
    pub fn system(role: &str) -> Self {
        Self { id: role.to_owned(), kind: PrincipalKind::System }
    }

    /// The operator at the command line. `id` is a number, as the system knows the user.
    pub fn operator(id: &str) -> Self {
        Self { id: id.to_owned(), kind: PrincipalKind::Operator }
    }
}

/// Why something happens: what it is a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Journal sequence of the event that led to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
}

/// Changes that become visible together or not at all.
#[derive(Debug)]
pub struct Transaction {
    pub principal: PrincipalRef,
    pub on_behalf_of: Option<PrincipalRef>,
    pub request_id: Option<String>,
    pub cause: Cause,
    /// The policy under which the changes were decided; a published manifest's verdict names its own.
    pub policy: Option<Digest>,
    pub changes: Vec<Change>,
}

impl Transaction {
    /// Changes by `principal`, with nothing else to say about them.
    pub fn new(principal: PrincipalRef, changes: Vec<Change>) -> Self {
        Self { principal, on_behalf_of: None, request_id: None, cause: Cause::default(), policy: None, changes }
    }
}

/// By what right a repository holds a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkVia {
    Upload,
    Mount,
    Mirror,
    Import,
}

/// One change. Later changes of a transaction see the earlier ones.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a change lives for one commit; boxes would burden whoever makes one")]
pub enum Change {
    /// Makes a manifest servable. Its bytes must be in the blobs already; what it points at must be linked to the
    /// repository (blobs) or admitted to it (manifests) unless it is sparse.
    Publish {
        repository: RepositoryName,
        manifest: Admitted<Manifest>,
        sparse: bool,
        origin: Option<String>,
    },
    /// Keeps a manifest that a rule refuses as yet, whose bytes must be in the blobs already, for its principal
    /// alone, and those who pushed the same bytes.
    Stage {
        repository: RepositoryName,
        manifest: Box<Manifest>,
        tags: Vec<Tag>,
        /// Those who pushed the same bytes before and see it too.
        beside: Vec<PrincipalRef>,
        until: jiff::Timestamp,
        rule: String,
    },
    /// Manifests wait no more. Those that do not are left out.
    EndStaging {
        repository: RepositoryName,
        digests: Vec<Digest>,
    },
    /// Notes that a repository holds a blob, whose bytes must be in the blobs already.
    LinkBlob {
        repository: RepositoryName,
        digest: Digest,
        size_bytes: u64,
        via: LinkVia,
    },
    /// Takes a blob out of a repository. No manifest there may point at it.
    UnlinkBlob {
        repository: RepositoryName,
        digest: Digest,
        reason: String,
    },
    /// Points a tag at an admitted manifest. With `expected`, only if the tag points there now (`Some(None)`: nowhere).
    MoveTag {
        repository: RepositoryName,
        tag: Tag,
        target: Digest,
        expected: Option<Option<Digest>>,
    },
    /// Takes a tag away. With `expected`, only if it points there now.
    RemoveTag {
        repository: RepositoryName,
        tag: Tag,
        expected: Option<Digest>,
        reason: String,
    },
    /// Takes a manifest out of a repository. No tag may point at it, and no manifest that is not sparse may need it.
    RemoveManifest {
        repository: RepositoryName,
        digest: Digest,
        reason: String,
    },
    /// Remembers why something is not served; forgotten when the tag moves or the digest is admitted.
    RecordRefusal {
        repository: RepositoryName,
        reference: Reference,
        digest: Option<Digest>,
        refusal: Refusal,
    },
    /// Raises the high-water mark of a series. Refused unless `sequence` is greater than every one before, or this is the
    /// newest set once more, judged anew.
    CommitImport {
        set_id: String,
        sender: DeviceId,
        series: String,
        sequence: u64,
        table_digest: Digest,
        admitted: u64,
        refused: u64,
    },
    /// Uses up a sequence number of a series. Refused unless it is the next one or a later one.
    SealExport {
        set_id: String,
        receiver: DeviceId,
        series: String,
        sequence: u64,
        table_digest: Digest,
    },
    EnrolDevice {
        device_id: DeviceId,
        name: String,
        role: DeviceRole,
        identity: Vec<u8>,
    },
    /// Removes a device in every role.
    RemoveDevice {
        device_id: DeviceId,
    },
    /// Activates the policy file `trust/policies/<hex>.toml`, which must be there.
    ActivatePolicy {
        digest: Digest,
    },
    /// Notes that manifests are served no more, or again, under the transaction's policy.
    NoteStanding {
        changes: Vec<StandingChange>,
    },
    /// Notes that everything that is here was judged under the transaction's policy.
    NoteReview {
        manifests: u64,
        refused: u64,
    },
    /// Adds the object file `trust/objects/<hex>.txt`, which must be there, as the next version of an object. Nothing is
    /// done where its newest version is the same.
    AddTrustObject {
        object: ObjectName,
        digest: Digest,
        source: String,
    },
    /// Notes that an update of trust was accepted. Refused where an older root is known.
    AcceptTrustUpdate {
        name: String,
        versions: Versions,
        root: Digest,
        expired: Vec<Expired>,
        reason: Option<String>,
    },
    /// Says what the next activation is to be.
    StageTrust {
        objects: Vec<ObjectVersion>,
    },
    /// Lets versions of objects count. Each comes with the version that must count until then.
    ActivateTrust {
        objects: Vec<(ObjectVersion, Option<u64>)>,
        reason: String,
    },
    /// Puts the access document `trust/access/<hex>.json`, which must be there, in the place of `expected`.
    ChangeAccess {
        digest: Digest,
        expected: Option<Digest>,
        act: String,
        object: String,
        values: serde_json::Value,
        /// Whether nobody may do more than before.
        only_removes: bool,
    },
    /// Records the values by which a retention rule decided, before its consequences. Changes nothing by itself.
    ApplyRetention {
        rule: String,
        values: serde_json::Value,
    },
    /// Starts the grace of bytes that nothing needs. Those that something needs are left out.
    Condemn {
        digests: Vec<Digest>,
        grace_seconds: u64,
    },
    /// Gives up bytes whose grace is over. Those not condemned, still in grace or needed again are left out.
    /// [`super::Store::unlink_swept`] then removes the files.
    Sweep {
        digests: Vec<Digest>,
    },
    /// Begins a new epoch. Only a restore does, through [`super::Store::confirm_restore`].
    BeginEpoch {
        reason: String,
        from: Position,
    },
    /// Allows a newer form of the store. Only [`super::Store::finalize`] does.
    FinalizeFormat {
        version: u32,
    },
    /// Notes that it is at least this late, on the word of something signed. Where that is too long a step at once, it is
    /// only noted that an operator must decide.
    RaiseTimeFloor {
        at: jiff::Timestamp,
        source: String,
    },
    /// Sets how late it is at least, because an operator says so; `expected` is how late it was until then.
    SetTimeFloor {
        at: jiff::Timestamp,
        expected: jiff::Timestamp,
        reason: String,
    },
}

impl Change {
    /// Whether it only gives something up, so that it must work on a full disk.
    pub(super) const fn only_removes(&self) -> bool {
        matches!(
            self,
            Self::ChangeAccess { only_removes: true, .. }
                | Self::UnlinkBlob { .. }
                | Self::RemoveTag { .. }
                | Self::RemoveManifest { .. }
                | Self::ApplyRetention { .. }
                | Self::Condemn { .. }
                | Self::Sweep { .. }
        )
    }
}
