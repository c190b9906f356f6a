//! Operations that look at stored images. They change nothing.

use std::sync::Arc;

use super::appliance::Appliance;
use super::failure::{Failure, FailureKind};
use super::report::{Child, ImageLine, ImageReport, ImagesReport, JudgementReport, Referrer};
use crate::admission::{Candidate, Judgement, Stored, describe, judge};
use crate::limits::{CONFIG_BYTES_MAX, LISTING_ENTRIES_COUNT_MAX, MANIFEST_BYTES_MAX};
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::name::{ImageReference, Reference, RepositoryName, Tag};
use crate::oci::signature_tag;
use crate::store::{ManifestRecord, Store};
use crate::sys::clock::trusted_now;
use crate::verify::{Outcome, TrustPolicy};

/// Every tag, or those of one repository, with the rules of the active policy that each satisfies.
pub fn list(appliance: &Appliance, only: Option<&RepositoryName>) -> Result<ImagesReport, Failure> {
    let store = &appliance.store;
    let policy = appliance.policy.current();
    let mut images = Vec::new();
    let repositories = match only {
        Some(repository) => vec![repository.clone()],
        None => all_repositories(store)?,
    };
    for repository in &repositories {
        for (tag, digest) in all_tags(store, repository)? {
            if signature_tag::parse(&tag).is_some() {
                continue;
            }
            let manifest = parsed(Stored { store, repository }, &digest)?;
            let asked = Asked { repository, root: digest, tags: Some(vec![tag.clone()]), names: OtherNames::default() };
            let judged = judged(appliance, &policy, asked)?;
            images.push(ImageLine {
                repository: repository.clone(),
                tag,
                digest,
                platforms: platforms(store, &manifest)?,
                rules: judged.rules_passed,
            });
        }
    }
    Ok(ImagesReport { images })
}

pub(super) fn all_repositories(store: &Store) -> Result<Vec<RepositoryName>, Failure> {
    let mut all: Vec<RepositoryName> = Vec::new();
    loop {
        let page = store.repositories(all.last(), LISTING_ENTRIES_COUNT_MAX)?;
        let is_last = page.len() < LISTING_ENTRIES_COUNT_MAX;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

pub(super) fn all_tags(store: &Store, repository: &RepositoryName) -> Result<Vec<(Tag, Digest)>, Failure> {
    let mut all: Vec<(Tag, Digest)> = Vec::new();
    loop {
        let page = store.tags(repository, all.last().map(|(tag, _)| tag), LISTING_ENTRIES_COUNT_MAX)?;
        let is_last = page.len() < LISTING_ENTRIES_COUNT_MAX;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// One image with what it consists of and what speaks of it.
pub fn show(appliance: &Appliance, reference: &ImageReference) -> Result<ImageReport, Failure> {
    let store = &appliance.store;
    let repository = &reference.repository;
    let record = found(store, reference)?;
    let manifest = parsed(Stored { store, repository }, &record.digest)?;
    let present: Vec<Digest> = store
        .children(repository, &record.digest)?
        .into_iter()
        .filter(|child| child.present)
        .map(|child| child.digest)
        .collect();
    let children = manifest.edges().map(|edge| Child {
        digest: edge.digest,
        media_type: edge.media_type,
        size_bytes: edge.size,
        platform: edge.platform.map(|platform| platform.to_string()),
        is_manifest: edge.kind == EdgeKind::Manifest,
        present: present.contains(&edge.digest),
    });
    let referrers = store
        .referrers(repository, &record.digest)?
        .into_iter()
        .map(|referrer| Referrer { digest: referrer.digest, artifact_type: referrer.artifact_type })
        .collect();
    let described = describe(&Stored { store, repository }, &record.digest)
        .map_err(|error| Failure::of(FailureKind::Failed, &error))?
        .ok_or_else(|| unknown(store, reference))?;
    Ok(ImageReport {
        repository: repository.clone(),
        digest: record.digest,
        tags: store.tags_of(repository, &record.digest, usize::MAX)?,
        media_type: record.media_type,
        artifact_type: record.artifact_type,
        size_bytes: record.size_bytes,
        origin: record.origin,
        admitted_by_event: record.sequence,
        platforms: platforms(store, &manifest)?,
        children: children.collect(),
        referrers,
        described,
        judgement: test(appliance, reference)?,
    })
}

/// What the active policy says of a stored image now, or why it was refused when it wanted to come in.
pub fn test(appliance: &Appliance, reference: &ImageReference) -> Result<JudgementReport, Failure> {
    test_by(appliance, reference, None, OtherNames::default())
}

/// Names under which an image is judged instead of those that the store has for it.
#[derive(Debug, Default)]
pub struct OtherNames {
    pub local: Option<RepositoryName>,
    pub original: Option<RepositoryName>,
}

/// The same by another policy and under other names, where they are given.
pub fn test_by(
    appliance: &Appliance,
    reference: &ImageReference,
    policy: Option<&str>,
    names: OtherNames,
) -> Result<JudgementReport, Failure> {
    let store = &appliance.store;
    let policy = match policy {
        Some(text) => Arc::new(TrustPolicy::parse_with(text.as_bytes(), &appliance.policy.objects()?)?),
        None => appliance.policy.current(),
    };
    if let Some(record) = find(store, reference)? {
        let tags = match &reference.reference {
            Reference::Tag(tag) if signature_tag::parse(tag).is_none() => Some(vec![tag.clone()]),
            Reference::Tag(_) => Some(Vec::new()),
            Reference::Digest(_) => None,
        };
        let asked = Asked { repository: &reference.repository, root: record.digest, tags, names };
        return Ok(judged(appliance, &policy, asked)?.report);
    }
    let refusal =
        store.refusal(&reference.repository, &reference.reference)?.ok_or_else(|| unknown(store, reference))?;
    Ok(JudgementReport { digest: refusal.digest, admitted: false, refusal: Some(refusal.refusal), verdict: None })
}

fn unknown(store: &Store, reference: &ImageReference) -> Failure {
    let now = trusted_now(store.clock().wall(), store.time_floor());
    let waiting = store.staged_in(&reference.repository, now).unwrap_or_default();
    let waits = waiting.iter().rfind(|record| match &reference.reference {
        Reference::Digest(digest) => record.digest == *digest,
        Reference::Tag(tag) => record.tags.contains(tag),
    });
    if let Some(record) = waits {
        return Failure::usage(format!("'{reference}' waits for what a rule asks, until {}", record.until)).next(
            "sign it with an account that pushed it (`cosign sign`), or change the policy and push it again; \
             what waits is neither judged nor signed here",
        );
    }
    Failure::usage(format!("'{reference}' is not here"))
        .next("`postern image list` shows what is; `postern mirror fetch` or `postern bundle import` bring more")
}

/// What the store records of an image that must be there.
pub(super) fn found(store: &Store, reference: &ImageReference) -> Result<ManifestRecord, Failure> {
    find(store, reference)?.ok_or_else(|| unknown(store, reference))
}

fn find(store: &Store, reference: &ImageReference) -> Result<Option<ManifestRecord>, Failure> {
    let digest = match &reference.reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(tag) => store.resolve(&reference.repository, tag)?,
    };
    Ok(digest.map(|digest| store.manifest(&reference.repository, &digest)).transpose()?.flatten())
}

/// What a policy says of a stored image.
pub(super) struct Judged {
    pub report: JudgementReport,
    rules_passed: Vec<String>,
}

/// An image of the store, and the names and tags under which it is judged.
pub(super) struct Asked<'a> {
    repository: &'a RepositoryName,
    root: Digest,
    /// None for all that point at it.
    tags: Option<Vec<Tag>>,
    names: OtherNames,
}

impl<'a> Asked<'a> {
    /// As it stands in the store.
    pub(super) fn as_stored(repository: &'a RepositoryName, root: Digest) -> Self {
        Self { repository, root, tags: None, names: OtherNames::default() }
    }
}

/// Judges a stored image by `policy`.
pub(super) fn judged(appliance: &Appliance, policy: &TrustPolicy, asked: Asked<'_>) -> Result<Judged, Failure> {
    let Asked { repository, root, tags, names } = asked;
    let store = &appliance.store;
    let stored = Stored { store, repository };
    let here = stored.candidate(root)?;
    let candidate = Candidate {
        repository: names.local.unwrap_or(here.repository),
        original: names.original.or(here.original),
        tags: tags.unwrap_or(here.tags),
        ..here
    };
    let now = trusted_now(store.clock().wall(), store.time_floor());
    let judgement = match judge(policy, &candidate, &stored, now) {
        Ok(judgement) => judgement,
        Err(error) => {
            let refusal = error.refusal().ok_or_else(|| Failure::of(FailureKind::Failed, &error))?;
            let report = JudgementReport { digest: Some(root), admitted: false, refusal: Some(refusal), verdict: None };
            return Ok(Judged { report, rules_passed: Vec::new() });
        }
    };
    let (verdict, refusal) = match judgement {
        Judgement::Admitted(image) => (image.verdict, None),
        Judgement::Refused { refusal, verdict } => (verdict, Some(refusal)),
    };
    let passed = verdict.rules().iter().filter(|rule| rule.outcome == Outcome::Passed);
    let rules_passed = if refusal.is_some() { Vec::new() } else { passed.map(|rule| rule.rule.clone()).collect() };
    let verdict = serde_json::to_value(verdict.as_ref())
        .map_err(|error| Failure::failed("a verdict cannot be written as JSON").because(&error))?;
    let report = JudgementReport { digest: Some(root), admitted: refusal.is_none(), refusal, verdict: Some(verdict) };
    Ok(Judged { report, rules_passed })
}

/// The platforms of an index, or the one that an image's config names. Attestations are listed by BuildKit as images for
/// no platform, and are none.
fn platforms(store: &Store, manifest: &Manifest) -> Result<Vec<String>, Failure> {
    if manifest.is_index() {
        let named = manifest.edges().filter_map(|edge| edge.platform).map(|platform| platform.to_string());
        return Ok(named.filter(|platform| !platform.starts_with("unknown/")).collect());
    }
    let Some(config) = &manifest.config else { return Ok(Vec::new()) };
    if config.size > CONFIG_BYTES_MAX as u64 || !store.blobs().has(&config.digest) {
        return Ok(Vec::new());
    }
    let bytes = store.blobs().read(&config.digest, CONFIG_BYTES_MAX)?.unwrap_or_default();
    let platform = serde_json::from_slice::<crate::oci::descriptor::Platform>(&bytes).ok();
    Ok(platform.filter(|platform| !platform.os.is_empty()).map(|platform| platform.to_string()).into_iter().collect())
}

fn parsed(stored: Stored<'_>, digest: &Digest) -> Result<Manifest, Failure> {
    let damaged = || {
        Failure::new(FailureKind::Damaged, format!("manifest '{digest}' cannot be read from the store"))
            .next("`postern store check` tells more; then fetch or import the image again")
    };
    let record = stored.store.manifest(stored.repository, digest)?.ok_or_else(damaged)?;
    let bytes = stored.store.blobs().read(digest, MANIFEST_BYTES_MAX)?.ok_or_else(damaged)?;
    Manifest::parse_with(&bytes, &record.media_type, digest.algorithm()).map_err(|error| damaged().because(&error))
}
