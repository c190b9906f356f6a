//! The mirror as the configuration wants it, and fetching through it.

use std::sync::Arc;

use super::appliance::{ActivePolicy, Appliance};
use super::failure::{Failure, FailureKind};
use super::kinds::Kind;
use super::report::{FetchedImage, FetchedReport, RefusedImage};
use crate::config::Config;
use crate::oci::name::ImageReference;
use crate::progress::Progress;
use crate::store::Store;
use crate::upstream::{Credentials, Mirror, MirrorError, MirrorSettings, UpstreamSettings};

/// The mirror of all configured upstreams; none where there are none.
pub(super) fn mirror(
    config: &Config,
    store: &Store,
    policy: &Arc<ActivePolicy>,
) -> Result<Option<Arc<Mirror>>, Failure> {
    let file = &config.effective;
    if file.upstream.is_empty() {
        return Ok(None);
    }
    let upstreams = file.upstream.iter().map(|upstream| UpstreamSettings {
        name: upstream.name.clone(),
        url: upstream.url.clone(),
        namespaces: upstream.namespaces.clone(),
        ca_file: upstream.ca_file.clone(),
        credentials: Credentials::of(upstream.username.as_ref(), upstream.password_file.as_ref()),
    });
    let settings = MirrorSettings {
        offline: file.offline,
        tag_fresh_seconds: file.mirror.fresh_seconds,
        downloads_count_max: config.memory.downloads_count_max,
        receive_bytes_max: config.memory.receive_bytes_max,
        gathered_bytes_max: config.memory.gathered_bytes_max,
        gathering_count_max: config.memory.gathering_count_max,
        ..MirrorSettings::default()
    };
    let policy = Arc::clone(policy);
    let current = Arc::new(move || policy.current());
    let mirror = Mirror::new(store.clone(), upstreams.collect(), current, settings).map_err(|error| {
        Failure::of(FailureKind::Usage, &error).next("mend the [[upstream]] table in the configuration")
    })?;
    Ok(Some(mirror))
}

/// Fetches each image as a whole. What policy refuses is named; the others are fetched all the same.
pub fn fetch(
    appliance: &Appliance,
    references: &[ImageReference],
    progress: &dyn Progress,
) -> Result<FetchedReport, Failure> {
    let Some(mirror) = &appliance.mirror else {
        return Err(Failure::usage("no upstream is configured")
            .next("add an [[upstream]] table to the configuration; `postern config show --defaults` shows its keys"));
    };
    let runtime = tokio::runtime::Handle::current();
    let mut report = FetchedReport { fetched: Vec::new(), refused: Vec::new() };
    for image in references {
        match runtime.block_on(mirror.fetch_all(image, None, progress)) {
            Ok(fetch) => report.fetched.push(FetchedImage { image: image.clone(), fetch }),
            Err(error) => match error.as_ref() {
                MirrorError::Refused(refusal) => {
                    report.refused.push(RefusedImage { image: image.clone(), refusal: refusal.clone() });
                }
                error => {
                    let failure = Failure::new(error.kind(), format!("'{image}' was not fetched")).because(error);
                    return Err(failure.next("run the same command again; what was fetched is kept"));
                }
            },
        }
    }
    Ok(report)
}
