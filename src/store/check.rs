//! Looking whether everything is as it should be, and making the index anew.
//!
//! A check changes nothing. It derives a second index from the journal and compares row by row, so that a fault in
//! applying events is found as well as one in keeping them.

use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::blobs::hash;
use super::index::{Index, IndexError};
use super::layout::{Shard, shards};
use super::pages::Row;
use super::record::Position;
use super::rows::{BLOBS, LinkRow, MANIFESTS, ManifestRow, Rows, digest_in, from_json, scan_prefix, split_repository};
use super::scan::Start;
use super::sequencer::{Command, Sequencer};
use super::{Store, StoreError, generation, recover};
use crate::limits::CHECK_FINDINGS_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::progress::Progress;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckDepth {
    /// The journal, the index, and that every file is there with its length.
    Fast,
    /// All of that, and every file is hashed.
    Full,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub what: String,
    pub place: String,
    pub next_step: String,
}

/// What a check has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckReport {
    pub depth: CheckDepth,
    pub head: Position,
    /// Last sound position in the journal.
    pub journal: Option<Position>,
    pub rows_count: u64,
    pub files_count: u64,
    pub files_bytes: u64,
    /// The first findings; more than a thousand are not listed.
    pub findings: Vec<Finding>,
}

/// What a rebuild has made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RebuildReport {
    pub head: Position,
    pub rows_count: u64,
    pub pages_count: u64,
}

const REBUILD: &str = "make the index anew with 'postern store rebuild'";
const FETCH: &str = "run 'postern store repair', push or fetch the image again, or import a set that holds it";
/// Rows compared in one step.
const ROWS_STEP_COUNT: usize = 1000;

impl CheckReport {
    /// Whether nothing was found.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, what: impl Into<String>, place: impl Into<String>, next_step: &str) {
        if self.findings.len() < CHECK_FINDINGS_COUNT_MAX {
            let finding = Finding { what: what.into(), place: place.into(), next_step: next_step.to_owned() };
            self.findings.push(finding);
        }
    }
}

impl Store {
    /// Checks the store. Commits wait while journal and index are compared; reading goes on.
    pub fn check(&self, depth: CheckDepth, progress: &dyn Progress) -> Result<CheckReport, StoreError> {
        progress.step("journal and index", 0, 0);
        let mut report = self.alone(move |sequencer| check_records(sequencer, depth))??;
        self.check_links(&mut report)?;
        if depth == CheckDepth::Full {
            let mut done = 0;
            for shard in shards() {
                self.check_files(&shard, &mut report, &mut |bytes| {
                    done += bytes;
                    progress.step("content", done, 0);
                })?;
            }
        }
        Ok(report)
    }

    /// Makes the index anew from the journal and puts it in the place of the old one.
    pub fn rebuild(&self, progress: &dyn Progress) -> Result<RebuildReport, StoreError> {
        progress.step("index", 0, 0);
        self.alone(rebuild)?
    }

    /// Runs `work` in the sequencer, where nothing else is committed meanwhile.
    pub(super) fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Sequencer) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = sync_channel(1);
        let run = Command::Run(Box::new(move |sequencer| {
            let _ = sender.send(work(sequencer));
        }));
        self.send(run)?;
        receiver.recv().map_err(|_| StoreError::Stopped)
    }

    /// Everything that is linked or admitted has a file of the right length.
    fn check_links(&self, report: &mut CheckReport) -> Result<(), StoreError> {
        let blobs = self.blobs();
        self.shared.state.look(|rows| {
            for collection in [BLOBS, MANIFESTS] {
                let mut outcome = Ok(());
                scan_prefix(rows, &[collection], &[collection], &mut |key, value| {
                    match expected_file(collection, key, value) {
                        Ok(Some((digest, size_bytes))) => match blobs.stat(&digest) {
                            Ok(Some(actual)) if actual == size_bytes => {}
                            Ok(actual) => {
                                let actual = actual.map_or("absent".to_owned(), |bytes| format!("{bytes} bytes long"));
                                let what =
                                    format!("content '{digest}' should be {size_bytes} bytes long and is {actual}");
                                report.find(what, named(key), FETCH);
                            }
                            Err(error) => report.find(error.to_string(), named(key), "check the disk"),
                        },
                        Ok(None) => {}
                        Err(error) => outcome = Err(error),
                    }
                    if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })?;
                outcome?;
            }
            Ok(())
        })
    }

    /// Hashes every file of a shard.
    fn check_files(
        &self,
        shard: &Shard,
        report: &mut CheckReport,
        done: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        for (digest, _) in self.blobs().list(shard)? {
            let Some(file) = self.blobs().open(&digest)? else { continue };
            report.files_count += 1;
            match hash(file.as_ref(), digest.algorithm()) {
                Ok((actual, bytes)) => {
                    report.files_bytes += bytes;
                    done(bytes);
                    if actual != digest {
                        let what = format!("the file of '{digest}' hashes to '{actual}'");
                        report.find(what, super::layout::blob_path(&digest), FETCH);
                    }
                }
                Err(error) => {
                    let what = format!("the file of '{digest}' cannot be read: {error}");
                    report.find(what, super::layout::blob_path(&digest), "check the disk");
                }
            }
        }
        Ok(())
    }
}

fn named(key: &[u8]) -> String {
    split_repository(key).map_or_else(String::new, |(repository, _)| format!("repository '{repository}'"))
}

/// The digest and length of the file that a row stands for; none where the row stands for no file.
pub(super) fn expected_file(collection: u8, key: &[u8], value: &[u8]) -> Result<Option<(Digest, u64)>, IndexError> {
    let (_, rest) = split_repository(key).ok_or(IndexError::Row("link"))?;
    let digest = digest_in(rest, "link")?;
    if collection == MANIFESTS {
        let row: ManifestRow = from_json(value, "manifest")?;
        return Ok(Some((digest, row.size_bytes)));
    }
    let is_link = rest.get(1 + digest.raw().len()) == Some(&0);
    if is_link { Ok(Some((digest, LinkRow::decode(value)?.size_bytes))) } else { Ok(None) }
}

/// Reads the whole journal, derives an index from it and compares.
fn check_records(sequencer: &mut Sequencer, depth: CheckDepth) -> Result<CheckReport, StoreError> {
    sequencer.catch_up();
    let state = Arc::clone(&sequencer.state);
    let mut report = CheckReport {
        depth,
        head: state.head(),
        journal: None,
        rows_count: 0,
        files_count: 0,
        files_bytes: 0,
        findings: Vec::new(),
    };
    if let Some(reason) = state.read_only() {
        report.find(reason, "store", "check the disk, then restart");
    }
    let (derived, path) = generation::begin(state.dir.as_ref(), state.settings.index_cache_bytes)?;
    let replayed = recover::replay(state.dir.as_ref(), &derived, &Start::Beginning);
    let outcome = replayed.map_err(recover::unreadable).and_then(|scanned| {
        if let Some(damage) = &scanned.damage {
            report.find(damage.what.clone(), damage.place.to_string(), "restore the journal from a backup");
        }
        report.journal.clone_from(&scanned.position);
        if scanned.position.as_ref() != Some(&report.head) {
            let what = format!("the journal does not end at event {}", report.head.sequence);
            report.find(what, "journal", "restore the journal from a backup");
        } else {
            compare(sequencer.index().as_ref(), &derived, &mut report)?;
        }
        Ok(())
    });
    drop(derived);
    generation::abandon(state.dir.as_ref(), &path);
    outcome.map(|()| report)
}

fn next_rows(index: &Index, after: Option<&[u8]>) -> Result<Vec<Row>, IndexError> {
    let mut rows = Vec::with_capacity(ROWS_STEP_COUNT);
    index.scan(after.unwrap_or_default(), &mut |key, value| {
        if after != Some(key) {
            rows.push((key.to_vec(), value.to_vec()));
        }
        if rows.len() < ROWS_STEP_COUNT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(rows)
}

/// Compares row by row up to the first difference: behind it everything may be shifted.
fn compare(kept: &Index, derived: &Index, report: &mut CheckReport) -> Result<(), IndexError> {
    if let Err(error) = kept.check() {
        report.find(error.to_string(), "index", REBUILD);
    }
    let mut after: Option<Vec<u8>> = None;
    loop {
        let (left, right) = (next_rows(kept, after.as_deref())?, next_rows(derived, after.as_deref())?);
        if let Some((wrong, _)) = left.iter().zip(&right).find(|(left, right)| left != right) {
            let key = wrong.0.escape_ascii();
            report.find(format!("row '{key}' is not what the journal makes of it"), "index", REBUILD);
            return Ok(());
        }
        if left.len() != right.len() {
            let what = format!("the index has {} rows where the journal makes {}", left.len(), right.len());
            report.find(what, "index", REBUILD);
            return Ok(());
        }
        report.rows_count += left.len() as u64;
        match left.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

fn rebuild(sequencer: &mut Sequencer) -> Result<RebuildReport, StoreError> {
    let state = Arc::clone(&sequencer.state);
    let (index, _) = recover::rebuild(state.dir.as_ref(), &state.settings, recover::First::Journal)?;
    let meta = index.meta();
    let head = meta.position.clone().ok_or(StoreError::JournalMissing)?;
    if head != state.head() {
        // The journal lost something; the index that knows more stays in use until the next start.
        return Err(StoreError::JournalShort { reached: head.sequence, head: state.head().sequence });
    }
    sequencer.forget_pending();
    let mut overlay = state.overlay.write().unwrap_or_else(PoisonError::into_inner);
    *state.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
    overlay.clear();
    Ok(RebuildReport { head, rows_count: meta.rows_count, pages_count: meta.pages_count })
}
