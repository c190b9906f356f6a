//! Pushing an image out of an image layout into a registry, on behalf of whoever names that registry on the command line.
//!
//! What is there already is not sent again, so that the same push continues after an interruption. The tag moves last:
//! nobody who pulls it finds half an image.

mod content;
mod destination;
mod error;
pub mod listing;

use std::pin::pin;

use serde::Serialize;
use tokio::sync::watch;

pub use destination::{Destination, Way};
pub use error::OutgoingError;

use self::content::Content;
use crate::image_layout::{Layout, LayoutError, PlannedBlob, PlannedManifest, PushPlan};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::OCI_INDEX;
use crate::oci::name::Reference;
use crate::oci::signature_tag::SignatureTagKind;
use crate::progress::Progress;

/// What a push sent, or would send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutgoingReport {
    /// Digest of the image that the tag names.
    pub digest: Digest,
    /// Manifests of the image, of its platforms and of what speaks of them.
    pub manifests: u64,
    pub manifests_sent: u64,
    pub blobs: u64,
    pub blobs_sent: u64,
    /// Bytes of the blobs that were sent.
    pub bytes_sent: u64,
    /// What speaks of the image and had to be listed under a tag, since the registry lists none by itself.
    pub referrers_tagged: u64,
}

/// Sends all of `plan` that the destination lacks; with `dry_run` it only finds out what that is.
pub async fn push(
    layout: &Layout,
    plan: &PushPlan,
    destination: &Destination,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<OutgoingReport, OutgoingError> {
    progress.step("looking at the registry", 0, 0);
    let mut absent = Vec::new();
    for blob in &plan.blobs {
        if !destination.has_blob(&blob.digest).await? {
            absent.push(*blob);
        }
    }
    let mut report = OutgoingReport {
        digest: plan.image.digest,
        manifests: plan.manifests().count() as u64,
        manifests_sent: 0,
        blobs: plan.blobs.len() as u64,
        blobs_sent: absent.len() as u64,
        bytes_sent: absent.iter().map(|blob| blob.size_bytes).fold(0, u64::saturating_add),
        referrers_tagged: 0,
    };
    if !dry_run {
        send_blobs(layout, &absent, destination, report.bytes_sent, progress).await?;
    }
    for manifest in &plan.children {
        if !destination.has_manifest(&manifest.digest).await? {
            report.manifests_sent += 1;
            send_manifest(layout, manifest, Reference::Digest(manifest.digest), destination, dry_run).await?;
        }
    }
    if destination.tagged().await? != Some(plan.image.digest) {
        report.manifests_sent += 1;
        send_manifest(layout, &plan.image, Reference::Tag(destination.tag().clone()), destination, dry_run).await?;
    }
    for manifest in &plan.referrers {
        if !destination.has_manifest(&manifest.digest).await? {
            report.manifests_sent += 1;
            send_manifest(layout, manifest, Reference::Digest(manifest.digest), destination, dry_run).await?;
        }
        report.referrers_tagged += u64::from(list_referrer(layout, manifest, destination, dry_run).await?);
    }
    Ok(report)
}

/// Adds to the list under the subject's tag where the registry keeps no list of its own. Says whether that had to be done.
async fn list_referrer(
    layout: &Layout,
    planned: &PlannedManifest,
    destination: &Destination,
    dry_run: bool,
) -> Result<bool, OutgoingError> {
    let digest = planned.digest;
    let manifest = Manifest::parse_with(&layout.manifest(planned)?, &planned.media_type, digest.algorithm())
        .map_err(|source| LayoutError::Manifest { digest, source })?;
    let Some(subject) = manifest.subject.as_ref().map(|subject| subject.digest) else { return Ok(false) };
    if destination.lists_referrers(&subject).await? {
        return Ok(false);
    }
    let tag = SignatureTagKind::ReferrersFallback.tag_for(&subject);
    let existing = destination.manifest(&tag).await?;
    let added = listing::added(existing.as_deref(), &manifest).map_err(|source| destination.unlisted(&tag, source))?;
    let Some(list) = added else { return Ok(false) };
    if !dry_run {
        destination.put_manifest(&Reference::Tag(tag), OCI_INDEX, list).await?;
    }
    Ok(true)
}

async fn send_blobs(
    layout: &Layout,
    blobs: &[PlannedBlob],
    destination: &Destination,
    total_bytes: u64,
    progress: &dyn Progress,
) -> Result<(), OutgoingError> {
    let mut done_bytes = 0_u64;
    for blob in blobs {
        let (tell, mut told) = watch::channel(0);
        let content = Content::new(*blob, layout.blob(blob)?, tell);
        let mut sending = pin!(destination.put_blob(&blob.digest, || content.body()));
        let sent = loop {
            tokio::select! {
                sent = &mut sending => break sent,
                Ok(()) = told.changed() => {
                    progress.step("sending", done_bytes.saturating_add(*told.borrow_and_update()), total_bytes);
                }
            }
        };
        // A registry only sees a body that broke off; the reason for it is known here.
        if let Some(damage) = content.damage() {
            return Err(damage.into());
        }
        sent?;
        done_bytes = done_bytes.saturating_add(blob.size_bytes);
    }
    Ok(())
}

async fn send_manifest(
    layout: &Layout,
    manifest: &PlannedManifest,
    reference: Reference,
    destination: &Destination,
    dry_run: bool,
) -> Result<(), OutgoingError> {
    if dry_run {
        return Ok(());
    }
    destination.put_manifest(&reference, &manifest.media_type, layout.manifest(manifest)?).await
}

#[cfg(test)]
mod tests;
