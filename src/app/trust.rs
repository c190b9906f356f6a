//! Objects of trust: versions that are added, looked at beside the images that they would stop or let start, and then let
//! count, all that were staged at once.

mod change;
pub mod impact;
mod objects;
mod time;
mod update;

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::appliance::Appliance;
use super::execute::report;
use super::failure::Failure;
use crate::oci::digest::Digest;
use crate::oci::name::{ImageReference, RepositoryName, Tag};
use crate::progress::Progress;
use crate::store::ObjectRecord;
use crate::verify::policy::{ObjectName, ObjectNameError};
use crate::verify::tuf::{Expired, Versions};
pub(super) use objects::load;
pub use time::{TimeOrder, TimeReport};

/// What is to be done with objects of trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrustOrder {
    List,
    Show {
        object: ObjectChoice,
    },
    /// Those that count, with their texts.
    Active,
    Add(AddObject),
    /// Takes what a TUF repository brings.
    Update(UpdateOrder),
    /// Where trusted time stands, and moving it.
    Time(TimeOrder),
    /// Says what the next activation is to be: what was staged before and these, or these alone.
    Stage {
        objects: Vec<ObjectChoice>,
        instead: bool,
        dry_run: bool,
    },
    /// Lets these count, or all that are staged.
    Activate {
        objects: Vec<ObjectChoice>,
        agreed: bool,
        dry_run: bool,
    },
    /// Lets the version count that did before.
    Rollback {
        object: ObjectName,
        agreed: bool,
        dry_run: bool,
    },
}

/// A text that is to be the next version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddObject {
    pub object: ObjectName,
    pub text: String,
    /// From where somebody has it.
    pub source: String,
}

/// An update of trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateOrder {
    /// What the repository is called here.
    pub name: String,
    pub from: UpdateSource,
    /// The root metadata with which it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Why metadata is taken that is past its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_expired: Option<String>,
}

/// Where the files of a repository lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateSource {
    Directory(PathBuf),
    /// An artifact of the store, whose layers have the names of files.
    Image(ImageReference),
}

/// An object, and which of its versions; the newest where none is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectChoice {
    pub object: ObjectName,
    pub version: Option<u64>,
}

impl FromStr for ObjectChoice {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> Result<Self, ObjectNameError> {
        let (name, version) = match text.rsplit_once('@') {
            Some((name, version)) => match version.parse() {
                Ok(number) => (name, Some(number)),
                // The name as a whole is then none, and the error shows it.
                Err(_) => (text, None),
            },
            None => (text, None),
        };
        Ok(Self { object: name.parse()?, version })
    }
}

impl TrustOrder {
    /// The order's name, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::List => "trust_list",
            Self::Show { .. } => "trust_show",
            Self::Active => "trust_active",
            Self::Add(_) => "trust_add",
            Self::Update(_) => "trust_update",
            Self::Time(_) => "trust_time",
            Self::Stage { .. } => "trust_stage",
            Self::Activate { .. } => "trust_activate",
            Self::Rollback { .. } => "trust_rollback",
        }
    }

    /// Whether it only looks.
    pub const fn only_looks(&self) -> bool {
        match self {
            Self::List | Self::Show { .. } | Self::Active => true,
            Self::Add(_) | Self::Update(_) => false,
            Self::Time(order) => matches!(order, TimeOrder::Show),
            Self::Stage { dry_run, .. } | Self::Activate { dry_run, .. } | Self::Rollback { dry_run, .. } => *dry_run,
        }
    }
}

/// All versions of all objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectsReport {
    pub objects: Vec<ObjectRecord>,
    /// By what the policy in force is known together with the objects that count.
    pub policy_digest: Digest,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReport {
    #[serde(flatten)]
    pub record: ObjectRecord,
    pub text: String,
}

/// A version that was added, or was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedReport {
    #[serde(flatten)]
    pub record: ObjectRecord,
    /// The newest version had the same text; nothing was done.
    pub already_there: bool,
}

/// What an update brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateReport {
    pub name: String,
    /// What had been accepted before.
    pub before: Versions,
    pub versions: Versions,
    pub objects: Vec<AddedObject>,
    /// Targets that are no objects of trust.
    pub ignored: Vec<String>,
    /// Metadata that was past its time and taken all the same.
    pub expired: Vec<Expired>,
}

/// An object of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedObject {
    pub object: ObjectName,
    pub version: u64,
    /// It was known with the same text.
    pub already_there: bool,
}

/// What counts from now on, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationReport {
    pub objects: Vec<ActivationLine>,
    pub impact: Impact,
    /// By what the policy is known together with these objects.
    pub policy_digest: Digest,
    /// Whether they count now. Not on a dry run, and not where an image would stop verifying and nobody has agreed to it.
    pub activated: bool,
    /// Whether somebody must agree first.
    pub needs_agreement: bool,
}

/// One object of an activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationLine {
    pub object: ObjectName,
    pub version: u64,
    /// The version that counted until then.
    pub previous: Option<u64>,
}

/// Which tagged images another policy would judge otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    pub images_count: u64,
    /// Images that could not be judged, under either.
    pub unread_count: u64,
    pub stops_count: u64,
    pub starts_count: u64,
    /// The first of those that would stop.
    pub stops: Vec<ImpactLine>,
    /// The first of those that would start.
    pub starts: Vec<ImpactLine>,
}

/// One image that would be judged otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImpactLine {
    pub repository: RepositoryName,
    pub tag: Tag,
    pub digest: Digest,
    /// Why it is refused, before or after.
    pub reason: String,
}

/// Carries out an order.
pub fn execute(appliance: &Appliance, order: TrustOrder, progress: &dyn Progress) -> Result<Value, Failure> {
    match order {
        TrustOrder::List => report(&objects::list(appliance)?),
        TrustOrder::Show { object } => report(&objects::show(appliance, &object)?),
        TrustOrder::Active => report(&objects::load(&appliance.store, &appliance.store.active_objects()?)?),
        TrustOrder::Add(order) => report(&objects::add(appliance, &order)?),
        TrustOrder::Time(order) => report(&time::execute(appliance, order)?),
        TrustOrder::Update(order) => report(&update::take(appliance, &order)?),
        TrustOrder::Stage { objects, instead, dry_run } => {
            report(&change::stage(appliance, &objects, instead, dry_run, progress)?)
        }
        TrustOrder::Activate { objects, agreed, dry_run } => {
            report(&change::activate(appliance, &objects, change::Consent { agreed, dry_run }, progress)?)
        }
        TrustOrder::Rollback { object, agreed, dry_run } => {
            report(&change::roll_back(appliance, object, change::Consent { agreed, dry_run }, progress)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectChoice;

    #[test]
    fn a_choice_is_a_name_and_perhaps_a_version() {
        let parsed: ObjectChoice = "root/private@12".parse().unwrap();
        assert_eq!((parsed.object.to_string().as_str(), parsed.version), ("root/private", Some(12)));
        assert_eq!("key/a".parse::<ObjectChoice>().unwrap().version, None);
        for wrong in ["key/a@", "key/a@x", "key/a@-1", "a@1", "@1"] {
            assert!(wrong.parse::<ObjectChoice>().is_err(), "{wrong}");
        }
    }
}
