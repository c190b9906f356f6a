//! Leg 8: old versions go by rule, with a reason on every line; their bytes come back, and nothing else is touched.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::outside::Image;
use crate::outside::images::UNIQUE_BYTES;

use super::World;
use super::appliance::Serving;
use super::goods::mirrored;
use super::high_side;

#[track_caller]
pub fn old_versions(world: &World<'_>, serving: &Serving<'_>) {
    // By version, not by text: v1.10.0 is newer than v1.2.0.
    let kept = |tag: &str| matches!(tag, "v2.0.0" | "v1.10.0" | "v1.2.0");
    let (keep, retire): (Vec<_>, Vec<_>) = world.goods.tools.iter().partition(|tool| kept(&tool.tag));

    let before = bytes_of(&world.high.data().join("blobs"));
    plan_has_reasons(world, &keep, &retire);
    world.high.run(["retention", "apply"]).succeeded();
    for tool in &retire {
        let answer = serving.get(&format!("/v2/{}/manifests/{}", mirrored(tool), tool.tag)).expect_status(404);
        assert!(answer.text().contains("MANIFEST_UNKNOWN"), "{}", answer.text());
    }

    let rehearsal = world.high.json(["sweep", "--dry-run"]);
    assert_eq!(bytes_of(&world.high.data().join("blobs")), before, "a dry run removes nothing: {rehearsal:#}");
    sweep_gives_bytes_back(world, before, retire.len());

    for tool in &keep {
        high_side::all_of_it_is_served(serving, tool, world.goods.parts(tool));
        let pinned = tool.at(serving.address(), &mirrored(tool)).pinned();
        high_side::cosign(world, serving, &pinned, &world.goods.keys.apps, &[]).succeeded();
    }
    for image in [&world.goods.app, &world.goods.team] {
        high_side::all_of_it_is_served(serving, image, world.goods.parts(image));
    }
    for tool in &retire {
        for target in world.goods.parts(tool).manifests.iter().chain([&tool.signature_tag(), &tool.fallback_tag()]) {
            serving.get(&format!("/v2/{}/manifests/{target}", mirrored(tool))).expect_status(404);
        }
    }
    world.high.run(["store", "check"]).succeeded();
}

#[track_caller]
fn plan_has_reasons(world: &World<'_>, keep: &[&Image], retire: &[&Image]) {
    let plan = world.high.json(["retention", "plan"]);
    let lines = lines(&plan);
    for (images, action) in [(keep, "keep"), (retire, "retire")] {
        for image in images {
            let (planned, reason) = lines.get(&image.tag).unwrap_or_else(|| panic!("{}: {plan:#}", image.tag));
            assert_eq!(planned, action, "{}: {plan:#}", image.tag);
            assert!(!reason.is_empty(), "{}: {plan:#}", image.tag);
        }
    }
}

/// Tag to action and reason, in every repository of the plan.
fn lines(plan: &Value) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let repositories = plan["repositories"].as_array().into_iter().flatten();
    let lines = repositories.flat_map(|repository| repository["lines"].as_array().into_iter().flatten());
    lines.map(|line| (text(&line["tag"]), (text(&line["action"]), text(&line["reason"])))).collect()
}

#[track_caller]
fn sweep_gives_bytes_back(world: &World<'_>, before: u64, retired: usize) {
    let swept = world.high.json(["sweep"]);
    let after = bytes_of(&world.high.data().join("blobs"));
    let unique = u64::try_from(UNIQUE_BYTES * retired).expect("it is small");
    assert!(before - after >= unique, "{before} to {after}: {swept:#}");
    assert_eq!(swept["bytes_freed"].as_u64(), Some(before - after), "{swept:#}");
}

/// Bytes of all files below a folder.
fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
