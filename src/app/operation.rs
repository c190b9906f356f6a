//! Everything that can be asked of an appliance, as data: a command makes one, and it is executed here or, when a server
//! runs on the data directory, sent to it as JSON over the administration socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::accounts::AccessOrder;
use super::site::{AttachOrder, SignOrder};
use super::trust::TrustOrder;
use crate::device_id::DeviceId;
use crate::oci::name::{ImageReference, RepositoryName};
use crate::store::{CheckDepth, DeviceRole};

/// Where an image is that is not here yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OutsidePlace {
    /// At the upstream that its name begins with.
    Upstream,
    /// In a set on a medium.
    Bundle { medium: PathBuf, set: Option<String> },
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    Status,
    EnrolShow,
    EnrolAdd(EnrolAdd),
    EnrolList,
    EnrolRemove {
        device: String,
        dry_run: bool,
    },
    PolicyActivate {
        text: String,
        /// Only say which images would be judged otherwise.
        #[serde(default)]
        dry_run: bool,
    },
    PolicyShow,
    PolicyTest {
        reference: ImageReference,
        /// Another policy than the one in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
        /// Other names than the store has for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<RepositoryName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        original: Option<RepositoryName>,
    },
    /// What would be said of an image that is not here yet.
    VerifyOutside {
        reference: ImageReference,
        place: OutsidePlace,
        /// Another policy than the one in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
    },
    /// Versioned objects of trust.
    Trust(TrustOrder),
    /// The public half of the site's key, made first where that is asked.
    SiteKey {
        create: bool,
    },
    /// A signature or an attestation by the site's key.
    Sign(SignOrder),
    /// One that was made elsewhere.
    Attach(AttachOrder),
    /// A judgement, summarised and signed.
    SignSummary {
        reference: ImageReference,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
    },
    BundlePlan(BundleOrder),
    BundleExport(BundleOrder),
    BundleInspect {
        medium: PathBuf,
    },
    BundleImport {
        medium: PathBuf,
        set: Option<String>,
    },
    /// Receipts kept here.
    BundleReceipts,
    /// One of them, by its set's id or the beginning of it.
    BundleReceipt {
        set: String,
    },
    /// One that came back from a receiver.
    BundleReceiptRead {
        file: String,
    },
    ImageList {
        repository: Option<RepositoryName>,
    },
    ImageShow {
        reference: ImageReference,
    },
    RetentionPlan,
    RetentionApply,
    StoreCheck {
        depth: CheckDepth,
    },
    StoreRebuild,
    /// Reads all content again and takes out of the way what the disk has changed.
    StoreScrub {
        bytes_per_second: Option<u64>,
    },
    /// Allows the newest form of the store, which earlier releases do not read.
    StoreFinalize {
        #[serde(default)]
        dry_run: bool,
    },
    /// Puts back what was lost and can be had here.
    StoreRepair {
        dry_run: bool,
    },
    MirrorFetch {
        references: Vec<ImageReference>,
    },
    AuditVerify,
    AuditExport {
        out: PathBuf,
    },
    AuditCheckpoint,
    Backup {
        to: PathBuf,
        /// Reads the content that is there already, and copies once more what the medium has changed.
        #[serde(default)]
        reread: bool,
    },
    /// Allows changes again after a restore.
    RestoreConfirm,
    /// Projects, users and robots.
    Access(AccessOrder),
    Sweep {
        grace_seconds: Option<u64>,
        dry_run: bool,
    },
}

/// A device to enrol, with the fingerprint that a person compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolAdd {
    /// The signed identity file; it is JSON.
    pub identity: String,
    pub role: DeviceRole,
    pub fingerprint: DeviceId,
}

/// What a transfer bundle is to hold, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleOrder {
    pub references: Vec<ImageReference>,
    /// Platforms such as `linux/arm64`; all where this is absent.
    pub platforms: Option<Vec<String>>,
    /// An enrolled receiver: its id, its fingerprint, or its name.
    pub receiver: String,
    pub series: String,
    pub volume_bytes_max: u64,
    /// Directory of the medium. A plan may do without.
    pub medium: Option<PathBuf>,
}

impl Operation {
    /// The operation's name, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::EnrolShow => "enrol_show",
            Self::EnrolAdd(_) => "enrol_add",
            Self::EnrolList => "enrol_list",
            Self::EnrolRemove { .. } => "enrol_remove",
            Self::PolicyActivate { .. } => "policy_activate",
            Self::PolicyShow => "policy_show",
            Self::PolicyTest { .. } => "policy_test",
            Self::VerifyOutside { .. } => "verify_outside",
            Self::Trust(order) => order.name(),
            Self::SiteKey { .. } => "site_key",
            Self::Sign(_) => "sign",
            Self::Attach(_) => "attach",
            Self::SignSummary { .. } => "sign_summary",
            Self::BundlePlan(_) => "bundle_plan",
            Self::BundleExport(_) => "bundle_export",
            Self::BundleInspect { .. } => "bundle_inspect",
            Self::BundleImport { .. } => "bundle_import",
            Self::BundleReceipts => "bundle_receipts",
            Self::BundleReceipt { .. } => "bundle_receipt",
            Self::BundleReceiptRead { .. } => "bundle_receipt_read",
            Self::ImageList { .. } => "image_list",
            Self::ImageShow { .. } => "image_show",
            Self::RetentionPlan => "retention_plan",
            Self::RetentionApply => "retention_apply",
            Self::StoreCheck { .. } => "store_check",
            Self::StoreRebuild => "store_rebuild",
            Self::StoreScrub { .. } => "store_scrub",
            Self::StoreRepair { .. } => "store_repair",
            Self::StoreFinalize { .. } => "store_finalize",
            Self::MirrorFetch { .. } => "mirror_fetch",
            Self::AuditVerify => "audit_verify",
            Self::AuditExport { .. } => "audit_export",
            Self::AuditCheckpoint => "audit_checkpoint",
            Self::Backup { .. } => "backup",
            Self::RestoreConfirm => "restore_confirm",
            Self::Access(order) => order.name(),
            Self::Sweep { .. } => "sweep",
        }
    }
}
