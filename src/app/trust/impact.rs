//! Which images another policy would judge otherwise: each tagged image of the store, judged by both.

use std::collections::BTreeMap;

use super::{Impact, ImpactLine};
use crate::app::appliance::Appliance;
use crate::app::failure::Failure;
use crate::app::images;
use crate::app::report::JudgementReport;
use crate::limits::IMPACT_LINES_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::oci::signature_tag;
use crate::progress::Progress;
use crate::verify::TrustPolicy;

/// Judges all of them. Digests are remembered within a repository alone, so that memory is bounded by the largest.
pub fn compare(
    appliance: &Appliance,
    before: &TrustPolicy,
    after: &TrustPolicy,
    progress: &dyn Progress,
) -> Result<Impact, Failure> {
    let mut impact = Impact::default();
    if before.digest() == after.digest() {
        return Ok(impact);
    }
    let repositories = images::all_repositories(&appliance.store)?;
    for (done, repository) in repositories.iter().enumerate() {
        progress.step("repositories judged", done as u64, repositories.len() as u64);
        let mut seen: BTreeMap<Digest, Option<Turn>> = BTreeMap::new();
        for (tag, digest) in images::all_tags(&appliance.store, repository)? {
            if signature_tag::parse(&tag).is_some() {
                continue;
            }
            let is_new = !seen.contains_key(&digest);
            let turn = match seen.entry(digest) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(judge(appliance, before, after, repository, digest))
                }
            };
            impact.images_count += u64::from(is_new);
            impact.unread_count += u64::from(is_new && matches!(turn, Some(Turn::Unread)));
            let (count, lines, reason) = match turn {
                Some(Turn::Stops(reason)) => (&mut impact.stops_count, &mut impact.stops, reason),
                Some(Turn::Starts(reason)) => (&mut impact.starts_count, &mut impact.starts, reason),
                Some(Turn::Unread) | None => continue,
            };
            *count += u64::from(is_new);
            if lines.len() < IMPACT_LINES_COUNT_MAX {
                lines.push(ImpactLine { repository: repository.clone(), tag, digest, reason: reason.clone() });
            }
        }
    }
    Ok(impact)
}

/// What becomes of an image.
enum Turn {
    Stops(String),
    Starts(String),
    Unread,
}

fn judge(
    appliance: &Appliance,
    before: &TrustPolicy,
    after: &TrustPolicy,
    repository: &RepositoryName,
    digest: Digest,
) -> Option<Turn> {
    let judged = |policy| {
        images::judged(appliance, policy, images::Asked::as_stored(repository, digest)).map(|judged| judged.report)
    };
    let (Ok(was), Ok(is)) = (judged(before), judged(after)) else { return Some(Turn::Unread) };
    let reason = |report: JudgementReport| report.refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
    match (was.admitted, is.admitted) {
        (true, false) => Some(Turn::Stops(reason(is))),
        (false, true) => Some(Turn::Starts(reason(was))),
        _ => None,
    }
}
