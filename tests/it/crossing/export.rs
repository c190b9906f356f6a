//! Leg 4: what will travel is said before anything is written, and what was written is read back.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::outside::{Image, images};

use super::World;
use super::appliance::Appliance;
use super::low_side::reference;

pub const SERIES: &str = "weekly";
/// So small that the crossing needs several.
const VOLUME_BYTES: u64 = 2 * 1024 * 1024;

#[track_caller]
pub fn onto_medium(world: &World<'_>) {
    let images: Vec<_> = world.goods.all().collect();
    plan_says_all_and_writes_nothing(world, &images);
    let report = export(&world.low, &images, "high-side", &world.medium, VOLUME_BYTES);
    assert_eq!(report["read_back"], true, "it was read back: {report:#}");
    assert_eq!(report["images_count"].as_u64(), Some(images.len() as u64), "{report:#}");
    let volumes = volumes(&world.medium);
    assert!(volumes.len() >= 3, "{volumes:?}");
    assert!(volumes.values().all(|bytes| *bytes <= VOLUME_BYTES), "{volumes:?}");
    let text = world.low.run(["bundle", "inspect", &world.medium.display().to_string()]).succeeded().text();
    assert!(text.contains("high-side") || text.contains(SERIES), "{text}");
}

#[track_caller]
fn plan_says_all_and_writes_nothing(world: &World<'_>, carried: &[&Image]) {
    let before = (head(&world.low), volumes(&world.medium));
    let mut arguments = arguments("plan", carried, "high-side", VOLUME_BYTES);
    arguments.extend(["--medium".to_owned(), world.medium.display().to_string()]);
    let plan = world.low.json(arguments);
    assert_eq!((head(&world.low), volumes(&world.medium)), before, "a plan writes nothing");
    let planned = plan["images"].as_array().expect("a list of images");
    assert_eq!(planned.len(), carried.len(), "{plan:#}");
    let app = planned.iter().find(|image| image["digest"] == world.goods.app.digest.as_str());
    let app = app.expect("the app is among them");
    assert_eq!(app["platforms"].as_array().map(Vec::len), Some(images::PLATFORMS.len()), "{app:#}");
    let evidence = |kind: &str| app["evidence"][kind].as_u64().unwrap_or_default();
    assert!(evidence("signatures") >= 2 && evidence("attestations") >= 1, "{app:#}");
    for count in ["content_bytes", "volumes_bytes_max", "blobs_count"] {
        assert!(plan[count].as_u64().is_some_and(|count| count > 0), "{count}: {plan:#}");
    }
    assert!(plan["volumes_count_max"].as_u64() >= Some(3), "{plan:#}");
    assert!(plan["medium"]["free_bytes"].as_u64() > Some(0), "{plan:#}");
    assert_eq!(plan["missing"].as_array().map(Vec::len), Some(0), "{plan:#}");
}

/// Where the store stands.
#[track_caller]
pub fn head(side: &Appliance<'_>) -> Value {
    let status = side.json(["status"]);
    let head = status["head"].clone();
    assert!(head["sequence"].is_u64(), "{status:#}");
    head
}

/// Exports to a medium; gives the report.
#[track_caller]
pub fn export(low: &Appliance<'_>, images: &[&Image], receiver: &str, medium: &Path, volume_bytes: u64) -> Value {
    let mut arguments = arguments("export", images, receiver, volume_bytes);
    arguments.extend(["--medium".to_owned(), medium.display().to_string()]);
    low.json(arguments)
}

fn arguments(verb: &str, images: &[&Image], receiver: &str, volume_bytes: u64) -> Vec<String> {
    let size = volume_bytes.to_string();
    let fixed = ["bundle", verb, "--receiver", receiver, "--series", SERIES, "--volume-size", &size];
    fixed.into_iter().map(str::to_owned).chain(images.iter().map(|image| reference(image))).collect()
}

/// Every file on a medium with its size.
pub fn volumes(medium: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(medium).expect("the medium is ours").flatten();
    let size = |entry: &std::fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.len());
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), size(&entry))).collect()
}
