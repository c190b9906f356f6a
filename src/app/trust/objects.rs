//! Objects in their files: written once under their digest, hashed whenever they are read.

use super::{AddObject, AddedReport, ObjectChoice, ObjectReport, ObjectsReport};
use crate::app::appliance::Appliance;
use crate::app::failure::{Failure, FailureKind};
use crate::limits::TRUST_OBJECT_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::store::{ActiveObject, Change, ObjectRecord, Store, TRUST_OBJECTS, Transaction, trust_object_path};
use crate::sys::dir::{read_bounded, replace};
use crate::verify::TrustPolicy;
use crate::verify::policy::objects::check;
use crate::verify::policy::{ObjectKind, ObjectName, TrustObject, TrustObjects};

/// The text of a version.
pub fn text(store: &Store, object: &ObjectName, digest: &Digest) -> Result<String, Failure> {
    let changed = || {
        Failure::new(FailureKind::Damaged, format!("the file of '{object}' was changed or cannot be read"))
            .next("add it again from its source with `postern trust add`")
    };
    let bytes = read_bounded(store.dir().as_ref(), &trust_object_path(digest), TRUST_OBJECT_BYTES_MAX)
        .map_err(|error| changed().because(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| changed().because(&error))?;
    if Digest::of(text.as_bytes()) == *digest { Ok(text) } else { Err(changed()) }
}

/// Those of `active` to which a policy can refer.
pub fn load(store: &Store, active: &[ActiveObject]) -> Result<TrustObjects, Failure> {
    let mut objects = TrustObjects::default();
    for known in active.iter().filter(|known| known.object.kind() != ObjectKind::Policy) {
        let text = text(store, &known.object, &known.digest)?;
        objects.set(TrustObject { object: known.object.clone(), version: known.version, text });
    }
    Ok(objects)
}

/// Every version, and which of them count. A policy counts by being the one in force, however it came there.
pub fn records(store: &Store) -> Result<Vec<ObjectRecord>, Failure> {
    let in_force = store.active_policy()?;
    let mut records = store.trust_objects()?;
    for record in records.iter_mut().filter(|record| record.object.kind() == ObjectKind::Policy) {
        record.active = in_force == Some(record.digest);
    }
    Ok(records)
}

/// All of them.
pub fn list(appliance: &Appliance) -> Result<ObjectsReport, Failure> {
    let policy_digest = *appliance.policy.current().digest();
    Ok(ObjectsReport { objects: records(&appliance.store)?, policy_digest })
}

/// The version that was chosen.
pub fn find(store: &Store, choice: &ObjectChoice) -> Result<ObjectRecord, Failure> {
    let fits = |record: &ObjectRecord| choice.version.is_none_or(|version| version == record.version);
    let found = records(store)?.into_iter().rfind(|record| record.object == choice.object && fits(record));
    found.ok_or_else(|| {
        let version = choice.version.map(|version| format!("version {version} of ")).unwrap_or_default();
        Failure::usage(format!("there is no {version}'{}'", choice.object)).next(format!(
            "`postern trust list` shows what there is; `postern trust add {} FILE` adds one",
            choice.object
        ))
    })
}

/// One of them with its text.
pub fn show(appliance: &Appliance, choice: &ObjectChoice) -> Result<ObjectReport, Failure> {
    let record = find(&appliance.store, choice)?;
    let text = text(&appliance.store, &record.object, &record.digest)?;
    Ok(ObjectReport { record, text })
}

/// Adds a version. Its file is durable before the journal names it.
pub fn add(appliance: &Appliance, order: &AddObject) -> Result<AddedReport, Failure> {
    let store = &appliance.store;
    let AddObject { object, text, source } = order;
    if text.len() > TRUST_OBJECT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "'{object}' would be {} bytes long, the most is {TRUST_OBJECT_BYTES_MAX}",
            text.len()
        )));
    }
    // A policy may refer to what is to count together with it: what it lacks is no reason to refuse it yet.
    if object.kind() == ObjectKind::Policy {
        match TrustPolicy::parse_with(text.as_bytes(), &appliance.policy.objects()?) {
            Err(error) if !error.lacks_object() => {
                return Err(Failure::usage(format!("this cannot be '{object}'"))
                    .because(&error)
                    .next("mend it there; `postern policy check FILE` says the same without adding it"));
            }
            _ => {}
        }
    } else {
        check(object.kind(), text, &TrustObjects::default()).map_err(|reason| {
            Failure::usage(format!("this cannot be '{object}': {reason}")).next("name the right file, in PEM or JSON")
        })?;
    }
    let digest = Digest::of(text.as_bytes());
    let before = store.head().sequence;
    store.dir().create_dir_all(TRUST_OBJECTS)?;
    replace(store.dir().as_ref(), &trust_object_path(&digest), text.as_bytes())?;
    let change = Change::AddTrustObject { object: object.clone(), digest, source: source.clone() };
    store.commit(Transaction::new(Appliance::operator(), vec![change]))?;
    let record = find(store, &ObjectChoice { object: object.clone(), version: None })?;
    let already_there = record.sequence <= before;
    tracing::info!(%object, version = record.version, already_there, "object of trust added");
    Ok(AddedReport { record, already_there })
}
