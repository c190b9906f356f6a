//! Operations that look after what is stored: reading it again, and putting back what was lost.

use serde::{Deserialize, Serialize};

use super::appliance::Appliance;
use super::failure::Failure;
use crate::oci::digest::Digest;
use crate::progress::Progress;
use crate::store::{CheckDepth, Finalized, Lacking, Losses, PackReport, RebuildReport, ScrubOptions, ScrubReport};

/// Two passes at once would only read everything twice.
const TURN: &str = "postern/scrub";

/// What a repair has put back, and what it could not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepairReport {
    /// Nothing was done, only looked for.
    pub dry_run: bool,
    /// The index was made anew, because it was not what the journal makes of it.
    pub index: Option<RebuildReport>,
    /// What came from an upstream once more.
    pub restored: Vec<Digest>,
    /// Why something did not, where an upstream was asked.
    pub failed: Vec<NotRestored>,
    /// What is lacking still: a repair bundle must carry it.
    #[serde(flatten)]
    pub losses: Losses,
}

/// Content that an upstream did not give again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRestored {
    pub digest: Digest,
    pub reason: String,
}

/// The newest form, and what was brought into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalizeReport {
    #[serde(flatten)]
    pub finalized: Finalized,
    /// Ended segments of the journal that were compressed; in a dry run those that would be.
    pub packed: Packed,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// What compressing the journal gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    pub segments_count: u64,
    pub bytes_before: u64,
    /// Known once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_after: Option<u64>,
}

/// Allows the newest form of the store, and brings what is there into it. Stopped, it is gone on with by the same command.
pub fn finalize(appliance: &Appliance) -> Result<FinalizeReport, Failure> {
    let finalized = appliance.store.finalize(Appliance::operator())?;
    let PackReport { segments_count, bytes_before, bytes_after } = appliance.store.pack_segments(&|| false)?;
    let packed = Packed { segments_count, bytes_before, bytes_after: Some(bytes_after) };
    Ok(FinalizeReport { finalized, packed, dry_run: false })
}

/// What [`finalize`] would do.
pub fn finalize_dry(appliance: &Appliance) -> Result<FinalizeReport, Failure> {
    let (before, format) = appliance.store.format();
    let (segments_count, bytes_before) = appliance.store.segments_to_pack()?;
    Ok(FinalizeReport {
        finalized: Finalized { before, format, position: appliance.store.head() },
        packed: Packed { segments_count, bytes_before, bytes_after: None },
        dry_run: true,
    })
}

/// Reads all content again, at a pace, until the end of the pass or until `stop` says so.
pub fn scrub(
    appliance: &Appliance,
    bytes_per_second: Option<u64>,
    stop: &dyn Fn() -> bool,
    progress: &dyn Progress,
) -> Result<ScrubReport, Failure> {
    let turn = TURN.parse().expect("a literal name");
    let _turn = appliance.store.lease(std::slice::from_ref(&turn), "another scrub")?;
    let bytes_per_second = bytes_per_second.unwrap_or(appliance.config.effective.scrub.bytes_per_second);
    Ok(appliance.store.scrub(ScrubOptions { bytes_per_second }, stop, progress)?)
}

/// Puts back what can be put back here: the index from the journal, content from the upstreams that have it.
pub fn repair(appliance: &Appliance, dry_run: bool, progress: &dyn Progress) -> Result<RepairReport, Failure> {
    let store = &appliance.store;
    let mut report =
        RepairReport { dry_run, index: None, restored: Vec::new(), failed: Vec::new(), losses: store.losses()? };
    if dry_run {
        return Ok(report);
    }
    let checked = store.check(CheckDepth::Fast, progress)?;
    if checked.findings.iter().any(|finding| finding.place == "index") {
        report.index = Some(store.rebuild(progress)?);
    }
    let healed = heal(appliance, &report.losses, &|| false, progress);
    Ok(RepairReport { restored: healed.restored, failed: healed.failed, losses: store.losses()?, ..report })
}

/// What upstreams gave again.
#[derive(Debug, Default)]
pub struct Healed {
    pub restored: Vec<Digest>,
    pub failed: Vec<NotRestored>,
}

/// Fetches what is lacking from upstreams that have it, one after the other, until `stop` says so.
pub fn heal(appliance: &Appliance, losses: &Losses, stop: &dyn Fn() -> bool, progress: &dyn Progress) -> Healed {
    let mut healed = Healed::default();
    for (done, lacking) in losses.lacking.iter().enumerate() {
        if stop() {
            break;
        }
        progress.step("content from upstreams", done as u64, losses.lacking.len() as u64);
        match restore(appliance, lacking) {
            Some(Ok(())) => healed.restored.push(lacking.digest),
            Some(Err(reason)) => healed.failed.push(NotRestored { digest: lacking.digest, reason }),
            None => {}
        }
    }
    healed
}

/// Asks the upstream of each repository that holds it; none where no repository has one.
fn restore(appliance: &Appliance, lacking: &Lacking) -> Option<Result<(), String>> {
    let mirror = appliance.mirror.as_ref()?;
    let runtime = tokio::runtime::Handle::current();
    let mut outcome = None;
    for holder in lacking.held_by.iter().filter(|holder| mirror.covers(&holder.repository)) {
        let (repository, digest, size_bytes) = (&holder.repository, lacking.digest, lacking.size_bytes);
        let restored = if holder.is_manifest {
            runtime.block_on(mirror.restore_manifest(repository, digest, size_bytes))
        } else {
            runtime.block_on(mirror.restore_blob(repository, digest, size_bytes))
        };
        match restored {
            Ok(()) => return Some(Ok(())),
            Err(error) => outcome = Some(Err(crate::error_chain::chain(error.as_ref()))),
        }
    }
    outcome
}
