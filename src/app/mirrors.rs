//! The mirror as the configuration wants it, and fetching through it.

use std::sync::Arc;

use super::appliance::{ActivePolicy, Appliance};
use super::failure::{Failure, FailureKind};
use super::kinds::Kind;
use super::report::{FetchedImage, FetchedReport, RefusedImage};
use crate::access::Access;
use crate::admission::{AdmissionError, Judgement};
use crate::config::Config;
use crate::oci::digest::Digest;
use crate::oci::name::ImageReference;
use crate::progress::Progress;
use crate::store::Store;
use crate::upstream::{Credentials, Mirror, MirrorError, MirrorSettings, UpstreamSettings};
use crate::verify::TrustPolicy;

/// The mirror of all configured upstreams; none where there are none.
pub(super) fn mirror(
    config: &Config,
    store: &Store,
    policy: &Arc<ActivePolicy>,
    access: &Arc<Access>,
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
    let mirror =
        Mirror::new(store.clone(), upstreams.collect(), current, Arc::clone(access), settings).map_err(|error| {
            Failure::of(FailureKind::Usage, &error).next("mend the [[upstream]] table in the configuration")
        })?;
    Ok(Some(mirror))
}

fn configured(appliance: &Appliance) -> Result<&Arc<Mirror>, Failure> {
    appliance.mirror.as_ref().ok_or_else(|| {
        Failure::usage("no upstream is configured")
            .next("add an [[upstream]] table to the configuration; `postern config show --defaults` shows its keys")
    })
}

/// What `policy` says of an image at its upstream.
pub fn verify(
    appliance: &Appliance,
    image: &ImageReference,
    policy: Arc<TrustPolicy>,
) -> Result<(Digest, Result<Judgement, AdmissionError>), Failure> {
    let mirror = configured(appliance)?;
    tokio::runtime::Handle::current().block_on(mirror.verify(image, policy)).map_err(|error| {
        let failure = Failure::new(error.kind(), format!("'{image}' cannot be looked at")).because(&error);
        failure.next("name it by the upstream's name and its path there, and see that the upstream can be reached")
    })
}

/// Fetches each image as a whole. What policy refuses is named; the others are fetched all the same.
pub fn fetch(
    appliance: &Appliance,
    references: &[ImageReference],
    progress: &dyn Progress,
) -> Result<FetchedReport, Failure> {
    let mirror = configured(appliance)?;
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
                    return Err(failure.next(match error {
                        MirrorError::NoUpstream(_) | MirrorError::NotFound { .. } => {
                            "look at the name and at the configuration's upstreams; what was fetched is kept"
                        }
                        _ => "run the same command again; what was fetched is kept",
                    }));
                }
            },
        }
    }
    Ok(report)
}
