//! Blobs on demand: fetched once, handed to every client that waits while they are being stored.
//!
//! Clients read the growing file behind a watermark. The last byte is held back until the digest was verified and the
//! link is durable, so that a client never holds a complete body that is wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{CONTENT_RANGE, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};

use super::error::{MirrorError, SharedError};
use super::source::Ask;
use super::{Mirror, blocking};
use crate::error_chain::chain;
use crate::http::Body;
use crate::http::body::BodyError;
use crate::http::client::Received;
use crate::limits::BLOB_BYTES_MAX;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::store::{BlobError, BlobWriter, Change, LinkVia, PrincipalRef, Store, Transaction};
use crate::sys::dir::File;

/// Pieces between the network and the disk.
const PIECES_COUNT_MAX: usize = 8;
/// Broken downloads in a row, without a byte between them, after which a blob is given up.
const ATTEMPTS_COUNT_MAX: u32 = 5;

/// How far a download is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// The upstream has not answered yet.
    Asking,
    /// This many bytes are in the file.
    Receiving(u64),
    /// Verified, durable, linked.
    Done,
    Failed(SharedError),
}

/// A blob that is being fetched.
#[derive(Debug)]
pub struct Download {
    file: Arc<dyn File>,
    /// The bytes as the store holds them already, where nothing had to be fetched.
    stored: Arc<OnceLock<Arc<dyn File>>>,
    size_bytes: u64,
    stage: watch::Receiver<Stage>,
}

type Key = (RepositoryName, Digest);

/// The downloads under way.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    running: Mutex<HashMap<Key, Arc<Download>>>,
}

impl Downloads {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Download>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Download {
    /// `len_bytes` from `offset_bytes` on, as they come.
    pub fn into_body(self: Arc<Self>, offset_bytes: u64, len_bytes: u64, piece_bytes: usize) -> Body {
        let reader = Reader {
            stage: self.stage.clone(),
            download: self,
            at_bytes: offset_bytes,
            end_bytes: offset_bytes + len_bytes,
            piece_bytes,
        };
        let stream = futures_util::stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(None) => None,
                Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Body::stream(stream.boxed(), Some(len_bytes))
    }

    /// Waits until it is stored.
    pub(super) async fn finished(&self, mut on_bytes: impl FnMut(u64)) -> Result<(), SharedError> {
        let mut stage = self.stage.clone();
        loop {
            match &*stage.borrow_and_update() {
                Stage::Done => {
                    on_bytes(self.size_bytes);
                    return Ok(());
                }
                Stage::Failed(error) => return Err(Arc::clone(error)),
                Stage::Receiving(bytes) => on_bytes(*bytes),
                Stage::Asking => {}
            }
            stage.changed().await.map_err(|_| Arc::new(MirrorError::Interrupted))?;
        }
    }

    /// Waits until the upstream has answered.
    async fn started(&self) -> Result<(), SharedError> {
        let mut stage = self.stage.clone();
        let stage = stage.wait_for(|stage| !matches!(stage, Stage::Asking)).await;
        match stage.as_deref() {
            Ok(Stage::Failed(error)) => Err(Arc::clone(error)),
            Ok(_) => Ok(()),
            Err(_) => Err(Arc::new(MirrorError::Interrupted)),
        }
    }
}

/// One client's place in a growing file.
struct Reader {
    download: Arc<Download>,
    stage: watch::Receiver<Stage>,
    at_bytes: u64,
    end_bytes: u64,
    piece_bytes: usize,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.at_bytes >= self.end_bytes {
            return Ok(None);
        }
        let readable = self.wait_readable().await?.min(self.end_bytes);
        let len = usize::try_from(readable - self.at_bytes).map_or(self.piece_bytes, |len| len.min(self.piece_bytes));
        let (download, at) = (Arc::clone(&self.download), self.at_bytes);
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; len];
            let file = download.stored.get().unwrap_or(&download.file);
            let count = file.read_at(&mut buffer, at)?;
            buffer.truncate(count);
            Ok(Bytes::from(buffer))
        });
        let piece = read.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(BodyError::Read)?;
        if piece.is_empty() {
            return Err(BodyError::Short(self.end_bytes - self.at_bytes));
        }
        self.at_bytes += piece.len() as u64;
        Ok(Some(piece))
    }

    /// Waits until there is something after `at_bytes`, and says up to where.
    async fn wait_readable(&mut self) -> Result<u64, BodyError> {
        let (at, size) = (self.at_bytes, self.download.size_bytes);
        let readable = |stage: &Stage| match stage {
            Stage::Done => size,
            Stage::Receiving(bytes) => (*bytes).min(size.saturating_sub(1)),
            Stage::Asking | Stage::Failed(_) => 0,
        };
        let stage = self.stage.wait_for(|stage| matches!(stage, Stage::Failed(_)) || readable(stage) > at).await;
        match stage.as_deref() {
            Ok(Stage::Failed(error)) => Err(BodyError::Source(error.to_string())),
            Ok(stage) => Ok(readable(stage)),
            Err(_) => Err(BodyError::Source("the download ended".to_owned())),
        }
    }
}

impl Mirror {
    /// A blob that an admitted manifest of `repository` names, but that is not here yet. Joins a download under way, or
    /// starts one, and returns when the upstream has answered.
    pub async fn open_blob(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Arc<Download>, SharedError> {
        let download = self.start_download(repository, digest, size_bytes).await?;
        download.started().await?;
        Ok(download)
    }

    /// A blob that the gate looks into before anything of its image is admitted: its bytes come into the store, and belong to
    /// no repository.
    pub(super) async fn bring_to_look_into(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<(), MirrorError> {
        if size_bytes > BLOB_BYTES_MAX {
            return Err(MirrorError::TooMuch { what: "bytes in one blob", limit: BLOB_BYTES_MAX });
        }
        let blobs = Arc::clone(self.store.blobs());
        let writer = blocking(move || Ok(blobs.begin_with(digest.algorithm())?)).await?;
        let (tell, _stage) = watch::channel(Stage::Asking);
        let (mirror, repository, stored) = (Arc::clone(self), repository.clone(), Arc::new(OnceLock::new()));
        Fetch { mirror, repository, digest, size_bytes, stored, tell }.bring(writer).await
    }

    pub(super) async fn start_download(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Arc<Download>, SharedError> {
        if self.settings.offline {
            return Err(Arc::new(MirrorError::Offline));
        }
        if size_bytes > BLOB_BYTES_MAX {
            return Err(Arc::new(MirrorError::TooMuch { what: "bytes in one blob", limit: BLOB_BYTES_MAX }));
        }
        let key = (repository.clone(), digest);
        if let Some(running) = self.downloads.running().get(&key) {
            return Ok(Arc::clone(running));
        }
        let blobs = Arc::clone(self.store.blobs());
        let writer = blocking(move || Ok(blobs.begin_with(digest.algorithm())?)).await?;
        let (tell, stage) = watch::channel(Stage::Asking);
        let stored = Arc::new(OnceLock::new());
        let download = Arc::new(Download { file: writer.file(), stored: Arc::clone(&stored), size_bytes, stage });
        match self.downloads.running().entry(key.clone()) {
            // Somebody else was faster while the file was made.
            std::collections::hash_map::Entry::Occupied(running) => return Ok(Arc::clone(running.get())),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(Arc::clone(&download)),
        };
        let fetch =
            Fetch { mirror: Arc::clone(self), repository: repository.clone(), digest, size_bytes, stored, tell };
        tokio::spawn(async move {
            let _landed = Landed { mirror: Arc::clone(&fetch.mirror), key };
            let outcome = fetch.run(writer).await;
            let stage = match outcome {
                Ok(()) => Stage::Done,
                Err(error) => {
                    let (repository, digest) = (&fetch.repository, &fetch.digest);
                    tracing::warn!(%repository, %digest, error = %chain(&error), "a blob cannot be fetched");
                    Stage::Failed(Arc::new(error))
                }
            };
            fetch.tell.send_replace(stage);
        });
        Ok(download)
    }
}

/// Takes a download off the list when it ended, also by a panic.
struct Landed {
    mirror: Arc<Mirror>,
    key: Key,
}

impl Drop for Landed {
    fn drop(&mut self) {
        self.mirror.downloads.running().remove(&self.key);
    }
}

struct Fetch {
    mirror: Arc<Mirror>,
    repository: RepositoryName,
    digest: Digest,
    size_bytes: u64,
    stored: Arc<OnceLock<Arc<dyn File>>>,
    tell: watch::Sender<Stage>,
}

impl Fetch {
    async fn run(&self, writer: BlobWriter) -> Result<(), MirrorError> {
        self.bring(writer).await?;
        self.link().await
    }

    /// Brings the bytes into the store, where they belong to no repository yet.
    async fn bring(&self, writer: BlobWriter) -> Result<(), MirrorError> {
        let _place = self.mirror.download_places.acquire().await.map_err(|_| MirrorError::Interrupted)?;
        if self.is_offered_and_here().await? {
            drop(writer);
            let (blobs, digest) = (Arc::clone(self.mirror.store.blobs()), self.digest);
            let file = blocking(move || Ok(blobs.open(&digest)?)).await?.ok_or(MirrorError::Interrupted)?;
            let _ = self.stored.set(file);
        } else {
            let (pieces, received) = mpsc::channel(PIECES_COUNT_MAX);
            let tell = self.tell.clone();
            let writing = tokio::task::spawn_blocking(move || write_pieces(writer, received, &tell));
            let fetched = self.receive(&pieces).await;
            drop(pieces);
            let writer = writing.await.map_err(|_| MirrorError::Interrupted)??;
            fetched?;
            let digest = self.digest;
            blocking(move || Ok(writer.finish(Some(&digest)).map(drop)?)).await?;
        }
        Ok(())
    }

    /// Whether the bytes are in the store already, through another repository, and the upstream offers them in this one
    /// too: then they need not travel again. Without its word, knowing a digest must open nothing.
    async fn is_offered_and_here(&self) -> Result<bool, MirrorError> {
        let (blobs, digest) = (Arc::clone(self.mirror.store.blobs()), self.digest);
        let here = blocking(move || Ok(blobs.stat(&digest)?)).await?;
        if here != Some(self.size_bytes) {
            return Ok(false);
        }
        let (upstream, path) = self.mirror.upstream_of(&self.repository)?;
        let offered = upstream.ask(&Ask::head(path, &format!("blobs/{}", self.digest))).await;
        Ok(offered.is_ok())
    }

    async fn link(&self) -> Result<(), MirrorError> {
        let change = Change::LinkBlob {
            repository: self.repository.clone(),
            digest: self.digest,
            size_bytes: self.size_bytes,
            via: LinkVia::Mirror,
        };
        let store: Store = self.mirror.store.clone();
        blocking(move || {
            store.commit(Transaction::new(PrincipalRef::system("mirror"), vec![change]))?;
            Ok(())
        })
        .await
    }

    /// Hands over all bytes, beginning again where the upstream broke off.
    async fn receive(&self, pieces: &mpsc::Sender<Bytes>) -> Result<(), MirrorError> {
        let mut done = 0;
        let mut failures = 0;
        loop {
            let before = done;
            let Err(error) = self.receive_from(&mut done, pieces).await else { return Ok(()) };
            failures = if done > before { 1 } else { failures + 1 };
            let may_resume = matches!(error, MirrorError::Body { .. } | MirrorError::Unreachable { .. });
            if !may_resume || (done == 0 && failures > 1) || failures >= ATTEMPTS_COUNT_MAX {
                return Err(error);
            }
            tracing::info!(digest = %self.digest, done, error = %chain(&error), "a download broke off and is continued");
            tokio::time::sleep(Duration::from_millis(100 << failures)).await;
        }
    }

    async fn receive_from(&self, done: &mut u64, pieces: &mpsc::Sender<Bytes>) -> Result<(), MirrorError> {
        let (upstream, path) = self.mirror.upstream_of(&self.repository)?;
        let rest = format!("blobs/{}", self.digest);
        let range_from = Some(*done).filter(|done| *done > 0);
        let response = upstream.ask(&Ask { range_from, ..Ask::get(path, &rest) }).await?;
        // An upstream that knows no ranges begins at the beginning.
        let continues = response.status() == StatusCode::PARTIAL_CONTENT && begins_at(response.headers(), *done);
        let mut skip = if continues { 0 } else { *done };
        let wrong_size = |actual| MirrorError::WrongSize {
            upstream: upstream.name.clone(),
            digest: self.digest,
            expected: self.size_bytes,
            actual,
        };
        self.tell.send_if_modified(|stage| {
            let first = matches!(stage, Stage::Asking);
            if first {
                *stage = Stage::Receiving(0);
            }
            first
        });
        let mut body: Received = response.into_body();
        loop {
            let piece =
                body.next().await.map_err(|source| MirrorError::Body { upstream: upstream.name.clone(), source });
            let Some(mut piece) = piece? else { break };
            let old = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= old as u64;
            let fresh = piece.split_off(old);
            *done += fresh.len() as u64;
            if *done > self.size_bytes {
                return Err(wrong_size(*done));
            }
            if !fresh.is_empty() && pieces.send(fresh).await.is_err() {
                // The writer has gone; its own error says why.
                return Ok(());
            }
        }
        if *done == self.size_bytes { Ok(()) } else { Err(wrong_size(*done)) }
    }
}

fn begins_at(headers: &HeaderMap, offset_bytes: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let first = range.and_then(|text| text.strip_prefix("bytes ")).and_then(|text| text.split('-').next());
    first.and_then(|text| text.trim().parse().ok()) == Some(offset_bytes)
}

fn write_pieces(
    mut writer: BlobWriter,
    mut received: mpsc::Receiver<Bytes>,
    tell: &watch::Sender<Stage>,
) -> Result<BlobWriter, BlobError> {
    while let Some(piece) = received.blocking_recv() {
        writer.write(&piece)?;
        tell.send_replace(Stage::Receiving(writer.size_bytes()));
    }
    Ok(writer)
}
