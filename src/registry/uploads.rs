//! Blobs on their way in: `POST`, `PATCH`, `PUT`, `GET` and `DELETE` under `/v2/<name>/blobs/uploads/`.
//!
//! A session lives as long as the process that opened it, and ends when its client was silent for too long. What it
//! wrote lies under `uploads/` and is removed with it, or at the next start. Content is written as it comes and never
//! held: a piece of [`UploadSettings::piece_bytes`], and what came with its last byte, is all that one body has in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE};
use ::http::{Response, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::{OwnedMutexGuard, Semaphore};

use super::error::{PushError, RegistryError};
use super::respond;
use super::route::{Place, UploadAction};
use super::{Asked, Registry};
use crate::http::Body;
use crate::http::body::BodyError;
use crate::limits::{
    BLOB_BYTES_MAX, BODY_CHUNK_BYTES, UPLOAD_BODIES_COUNT_MAX, UPLOAD_BODY_BYTES_MIN, UPLOAD_BODY_IDLE_SECONDS_MAX,
    UPLOAD_SESSION_IDLE_SECONDS_MAX, UPLOAD_SESSIONS_COUNT_MAX, UPLOAD_SESSIONS_PER_CLIENT_COUNT_MAX,
};
use crate::memory::Bounds;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::name::RepositoryName;
use crate::store::{BlobError, BlobWriter, Change, LinkVia, PrincipalRef, Store, Transaction, kill_point};
use crate::sys::random;

/// What a client sends.
pub type Pieces = BoxStream<'static, Result<Bytes, BodyError>>;

/// Names an upload beside its address, since before the specification.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Bounds of uploads: all that decides how much memory and disk they can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadSettings {
    pub sessions_count_max: usize,
    pub sessions_per_client_count_max: usize,
    /// Bodies received at the same time, each with one buffer of `piece_bytes`.
    pub bodies_count_max: usize,
    /// Piece in which a body is written.
    pub piece_bytes: usize,
    pub session_idle_seconds_max: u64,
    pub body_idle_seconds_max: u64,
    pub blob_bytes_max: u64,
    /// Manifests that are received and judged at the same time; further ones wait.
    pub manifests_count_max: usize,
    /// Manifests and evidence that are read into memory to judge one; `None` leaves it to the bounds of an image.
    pub judged_bytes_max: Option<usize>,
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self {
            sessions_count_max: UPLOAD_SESSIONS_COUNT_MAX,
            sessions_per_client_count_max: UPLOAD_SESSIONS_PER_CLIENT_COUNT_MAX,
            bodies_count_max: UPLOAD_BODIES_COUNT_MAX,
            piece_bytes: BODY_CHUNK_BYTES,
            session_idle_seconds_max: UPLOAD_SESSION_IDLE_SECONDS_MAX,
            body_idle_seconds_max: UPLOAD_BODY_IDLE_SECONDS_MAX,
            blob_bytes_max: BLOB_BYTES_MAX,
            manifests_count_max: Bounds::UNBOUNDED.gathering_count_max,
            judged_bytes_max: Bounds::UNBOUNDED.judged_bytes_max,
        }
    }
}

/// All uploads that are under way.
#[derive(Debug)]
pub(super) struct Uploads {
    pub(super) settings: UploadSettings,
    bodies: Arc<Semaphore>,
    pub(super) manifests: Arc<Semaphore>,
    sessions: Mutex<HashMap<String, Session>>,
}

#[derive(Debug)]
struct Session {
    repository: RepositoryName,
    client: Option<String>,
    /// Running time at which its client was last heard of.
    heard: Duration,
    /// Locked while a request writes; taken out when it is finished.
    writer: Arc<tokio::sync::Mutex<Option<BlobWriter>>>,
}

type Writing = OwnedMutexGuard<Option<BlobWriter>>;

impl Uploads {
    pub(super) fn new(settings: UploadSettings) -> Self {
        let bodies = Arc::new(Semaphore::new(settings.bodies_count_max.max(1)));
        let manifests = Arc::new(Semaphore::new(settings.manifests_count_max.max(1)));
        Self { settings, bodies, manifests, sessions: Mutex::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions that are open.
    pub(super) fn open_count(&self) -> usize {
        self.sessions().len()
    }

    /// Ends sessions whose client was silent for too long. One that is being written to is not silent.
    fn expire(&self, now: Duration) {
        let limit = Duration::from_secs(self.settings.session_idle_seconds_max);
        self.sessions()
            .retain(|_, session| now.saturating_sub(session.heard) < limit || session.writer.try_lock().is_err());
    }

    /// Opens a session; `None` where there are too many, in all or of this client.
    fn open(
        &self,
        repository: &RepositoryName,
        client: Option<String>,
        writer: BlobWriter,
        now: Duration,
    ) -> Option<String> {
        self.expire(now);
        let mut sessions = self.sessions();
        let of_client = sessions.values().filter(|session| session.client == client).count();
        if sessions.len() >= self.settings.sessions_count_max
            || of_client >= self.settings.sessions_per_client_count_max
        {
            return None;
        }
        let id = random::identifier();
        let writer = Arc::new(tokio::sync::Mutex::new(Some(writer)));
        sessions.insert(id.clone(), Session { repository: repository.clone(), client, heard: now, writer });
        Some(id)
    }

    /// A session of this repository, for one request alone. An id opens nothing elsewhere.
    fn take(&self, repository: &RepositoryName, id: &str, now: Duration) -> Result<Writing, PushError> {
        self.expire(now);
        let mut sessions = self.sessions();
        let found = sessions.get_mut(id).filter(|session| session.repository == *repository);
        let session = found.ok_or(PushError::SessionUnknown)?;
        session.heard = now;
        Arc::clone(&session.writer).try_lock_owned().map_err(|_| PushError::SessionBusy)
    }

    fn heard(&self, id: &str, now: Duration) {
        if let Some(session) = self.sessions().get_mut(id) {
            session.heard = now;
        }
    }

    fn close(&self, id: &str) {
        self.sessions().remove(id);
    }
}

/// Ends silent sessions of a registry for as long as there is one, so that what they wrote does not lie there until the
/// next push.
pub(super) async fn expire_silent(registry: Weak<Registry>) {
    loop {
        let Some(idle) = registry.upgrade().map(|registry| registry.uploads.settings.session_idle_seconds_max) else {
            return;
        };
        tokio::time::sleep(Duration::from_secs(idle.clamp(1, 60))).await;
        let Some(registry) = registry.upgrade() else { return };
        registry.uploads.expire(registry.store.clock().running());
    }
}

impl Registry {
    pub(super) async fn start_upload(
        self: &Arc<Self>,
        place: Place,
        digest: Option<Digest>,
        mount: Option<(Digest, Option<RepositoryName>)>,
        algorithm: Algorithm,
        pieces: Pieces,
        asked: &Asked,
    ) -> Result<Response<Body>, RegistryError> {
        let repository = self.pushed_repository(place, asked).await?;
        if let Some((digest, from)) = mount {
            let (to, caller) = (repository.clone(), Arc::clone(&asked.caller));
            if self.blocking(move |registry| registry.mount(from.as_ref(), &to, &digest, &caller)).await? {
                return Ok(blob_created(&repository, &digest));
            }
        }
        self.check_room(&repository, digest.and(declared_bytes(asked)).unwrap_or(0)).await?;
        let algorithm = digest.map_or(algorithm, |digest| digest.algorithm());
        let writer = self.blocking(move |registry| Ok(registry.store.blobs().begin_with(algorithm)?)).await?;
        let now = self.store.clock().running();
        let Some(digest) = digest else {
            let id = self.uploads.open(&repository, asked.client.clone(), writer, now).ok_or(PushError::TooMany)?;
            return Ok(session_answer(StatusCode::ACCEPTED, &repository, &id, 0));
        };
        // Whole in one request: nothing of it is kept where it breaks off.
        let writing = Arc::new(tokio::sync::Mutex::new(Some(writer)));
        let writing = Arc::clone(&writing).try_lock_owned().map_err(|_| PushError::SessionBusy)?;
        let (writing, received) = self.receive(writing, pieces, declared_bytes(asked)).await;
        received?;
        self.finish_blob(&repository, writing, digest, asked).await?;
        Ok(blob_created(&repository, &digest))
    }

    pub(super) async fn upload(
        self: &Arc<Self>,
        place: Place,
        id: &str,
        action: UploadAction,
        pieces: Pieces,
        asked: &Asked,
    ) -> Result<Response<Body>, RegistryError> {
        let repository = self.pushed_repository(place, asked).await?;
        let writing = self.uploads.take(&repository, id, self.store.clock().running())?;
        let offset_bytes = writing.as_ref().ok_or(PushError::SessionUnknown)?.size_bytes();
        match action {
            UploadAction::Status => Ok(session_answer(StatusCode::NO_CONTENT, &repository, id, offset_bytes)),
            UploadAction::Cancel => {
                self.uploads.close(id);
                self.blocking(move |_| {
                    drop({ writing }.take());
                    Ok(())
                })
                .await?;
                Ok(status(StatusCode::NO_CONTENT))
            }
            UploadAction::Append | UploadAction::Finish(_) => {
                let len_bytes = piece_bytes(asked, offset_bytes)?;
                self.check_room(&repository, offset_bytes.saturating_add(len_bytes.unwrap_or(0))).await?;
                let (writing, received) = self.receive(writing, pieces, len_bytes).await;
                self.uploads.heard(id, self.store.clock().running());
                received?;
                kill_point("push.received");
                let UploadAction::Finish(digest) = action else {
                    let size_bytes = writing.as_ref().map_or(0, BlobWriter::size_bytes);
                    return Ok(session_answer(StatusCode::ACCEPTED, &repository, id, size_bytes));
                };
                self.uploads.close(id);
                self.finish_blob(&repository, writing, digest, asked).await?;
                Ok(blob_created(&repository, &digest))
            }
        }
    }

    /// Before any byte is taken: whether the project has room for an upload of so many bytes.
    async fn check_room(self: &Arc<Self>, repository: &RepositoryName, size_bytes: u64) -> Result<(), RegistryError> {
        let repository = repository.clone();
        self.blocking(move |registry| match registry.room_bytes(&repository)? {
            Some(room_bytes) if room_bytes < size_bytes.max(1) => registry.take_bytes(&repository, size_bytes.max(1)),
            _ => Ok(()),
        })
        .await
    }

    /// Writes a body behind what is there. When the client breaks off, what came before stays in the session.
    async fn receive(
        self: &Arc<Self>,
        mut writing: Writing,
        mut pieces: Pieces,
        len_bytes: Option<u64>,
    ) -> (Writing, Result<(), RegistryError>) {
        let idle = Duration::from_secs(self.uploads.settings.body_idle_seconds_max);
        let place = tokio::time::timeout(idle, Arc::clone(&self.uploads.bodies).acquire_owned()).await;
        let Ok(Ok(_place)) = place else { return (writing, Err(PushError::TooMany.into())) };
        let mut left_bytes = len_bytes;
        let piece_bytes = self.uploads.settings.piece_bytes;
        let mut buffer = BytesMut::with_capacity(piece_bytes);
        let mut ended = false;
        let mut pace = Pace::new(idle);
        while !ended {
            let failure = match tokio::time::timeout(idle, pieces.next()).await {
                Err(_) => Some(PushError::Stalled),
                Ok(Some(Err(error))) => Some(PushError::Body(error)),
                Ok(None) => {
                    ended = true;
                    left_bytes.filter(|left| *left > 0).map(|_| PushError::ContentRange)
                }
                Ok(Some(Ok(piece))) => {
                    buffer.extend_from_slice(&piece);
                    let is_slow = pace.is_too_slow(piece.len() as u64);
                    let left = left_bytes.map(|left| left.checked_sub(piece.len() as u64));
                    left_bytes = left.flatten();
                    match left {
                        Some(None) => Some(PushError::ContentRange),
                        _ => is_slow.then_some(PushError::Stalled),
                    }
                }
            };
            let overlong = matches!(failure, Some(PushError::ContentRange)) && !ended;
            if !overlong && (buffer.len() >= piece_bytes || failure.is_some() || ended) && !buffer.is_empty() {
                let (returned, written) = self.write(writing, buffer.split().freeze()).await;
                match returned {
                    Some(returned) => writing = returned,
                    None => return (lost(), Err(RegistryError::Interrupted)),
                }
                if let Err(error) = written {
                    return (writing, Err(error));
                }
            }
            if let Some(failure) = failure {
                return (writing, Err(failure.into()));
            }
        }
        (writing, Ok(()))
    }

    /// The lock goes along into the thread that writes: a client that is gone meanwhile cannot leave it half written with
    /// somebody else at the same session.
    async fn write(&self, mut writing: Writing, piece: Bytes) -> (Option<Writing>, Result<(), RegistryError>) {
        let limit_bytes = self.uploads.settings.blob_bytes_max;
        let written = tokio::task::spawn_blocking(move || {
            let result = write_piece(writing.as_mut(), &piece, limit_bytes);
            (writing, result)
        });
        match written.await {
            Ok((writing, result)) => (Some(writing), result),
            Err(_) => (None, Err(RegistryError::Interrupted)),
        }
    }

    /// Makes the content durable under its digest, then the link; only after both is there an answer.
    async fn finish_blob(
        self: &Arc<Self>,
        repository: &RepositoryName,
        mut writing: Writing,
        digest: Digest,
        asked: &Asked,
    ) -> Result<(), RegistryError> {
        let (repository, principal) = (repository.clone(), asked.caller.principal());
        self.blocking(move |registry| {
            let mut writer = writing.take().ok_or(PushError::SessionUnknown)?;
            let size_bytes = writer.size_bytes();
            if writer.algorithm() != digest.algorithm() {
                writer.rehash(digest.algorithm())?;
            }
            match writer.finish(Some(&digest)) {
                Ok(_) => {}
                Err(BlobError::Mismatch { expected, actual }) => {
                    return Err(PushError::Digest { expected, actual }.into());
                }
                Err(error) => return Err(no_room(error)),
            }
            kill_point("push.stored");
            if registry.store.held_blob(&repository, &digest)?.is_none() {
                registry.take_bytes(&repository, size_bytes)?;
            }
            link(&registry.store, principal, &repository, digest, size_bytes, LinkVia::Upload)
        })
        .await
    }
}

/// How fast a body comes.
struct Pace {
    window: Duration,
    began: tokio::time::Instant,
    bytes: u64,
}

impl Pace {
    fn new(window: Duration) -> Self {
        Self { window, began: tokio::time::Instant::now(), bytes: 0 }
    }

    /// Counts a piece. Whether too little came since the window began.
    fn is_too_slow(&mut self, piece_bytes: u64) -> bool {
        self.bytes += piece_bytes;
        if self.began.elapsed() < self.window {
            return false;
        }
        let is_slow = self.bytes < UPLOAD_BODY_BYTES_MIN;
        *self = Self::new(self.window);
        is_slow
    }
}

fn write_piece(writer: Option<&mut BlobWriter>, piece: &[u8], limit_bytes: u64) -> Result<(), RegistryError> {
    let writer = writer.ok_or(PushError::SessionUnknown)?;
    if writer.size_bytes() + piece.len() as u64 > limit_bytes {
        return Err(PushError::TooLarge { limit_bytes }.into());
    }
    writer.write(piece).map_err(no_room)
}

/// A session whose writing thread panicked has nothing any more.
fn lost() -> Writing {
    let nothing = Arc::new(tokio::sync::Mutex::new(None));
    nothing.try_lock_owned().expect("a new lock is free")
}

fn no_room(error: BlobError) -> RegistryError {
    match error {
        BlobError::Dir(error) if error.is_full() => PushError::Full.into(),
        error => error.into(),
    }
}

pub(super) fn link(
    store: &Store,
    principal: PrincipalRef,
    repository: &RepositoryName,
    digest: Digest,
    size_bytes: u64,
    via: LinkVia,
) -> Result<(), RegistryError> {
    if store.held_blob(repository, &digest)?.is_some() {
        // Or no sweep would ever take it, because it was stored and no event follows.
        store.blobs().linked(&digest);
        return Ok(());
    }
    let change = Change::LinkBlob { repository: repository.clone(), digest, size_bytes, via };
    let transaction = Transaction::new(principal, vec![change]);
    store.commit(transaction).map_err(super::push::not_kept)?;
    kill_point("push.linked");
    Ok(())
}

/// `Content-Length` of a body that comes whole.
fn declared_bytes(asked: &Asked) -> Option<u64> {
    asked.header(&CONTENT_LENGTH).and_then(|text| text.parse().ok())
}

/// How long a piece says that it is, once it is known to begin where the upload stands.
fn piece_bytes(asked: &Asked, offset_bytes: u64) -> Result<Option<u64>, PushError> {
    let declared = declared_bytes(asked);
    let Some(text) = asked.header(&CONTENT_RANGE) else { return Ok(declared) };
    let (first, last) = content_range(text).ok_or(PushError::ContentRange)?;
    if first != offset_bytes {
        return Err(PushError::OutOfOrder { offset_bytes });
    }
    let len_bytes = (last - first).checked_add(1).ok_or(PushError::ContentRange)?;
    if declared.is_some_and(|declared| declared != len_bytes) {
        return Err(PushError::ContentRange);
    }
    Ok(Some(len_bytes))
}

/// `<first>-<last>` of a piece, as the distribution specification writes it; some clients write `bytes ` before it and
/// `/<size>` behind. `None` for anything else.
pub fn content_range(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").map_or(text, str::trim_start);
    let (first, last) = text.split_once('/').map_or(text, |(range, _)| range).split_once('-')?;
    let number = |digits: &str| {
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
    };
    let (first, last): (u64, u64) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

fn session_answer(code: StatusCode, repository: &RepositoryName, id: &str, offset_bytes: u64) -> Response<Body> {
    let mut response = status(code);
    let headers = response.headers_mut();
    headers.insert(LOCATION, text_header(format!("/v2/{repository}/blobs/uploads/{id}")));
    headers.insert(RANGE, respond::upload_range(offset_bytes));
    headers.insert(UPLOAD_ID, text_header(id.to_owned()));
    response
}

fn blob_created(repository: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = status(StatusCode::CREATED);
    response.headers_mut().insert(LOCATION, text_header(format!("/v2/{repository}/blobs/{digest}")));
    response.headers_mut().insert(respond::CONTENT_DIGEST, text_header(digest.to_string()));
    response
}

/// A header of ours, made of names and digests.
pub(super) fn text_header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("names, digests and our ids are plain letters")
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn where_a_piece_says_it_belongs() {
        let check = |text: &str, expected| assert_eq!(content_range(text), expected, "{text}");
        check("0-0", Some((0, 0)));
        check("4294967296-5368709119", Some((4_294_967_296, 5_368_709_119)));
        check("bytes 5-9/10", Some((5, 9)));
        for wrong in ["", "-", "1-", "-1", "2-1", "+1-2", "0-18446744073709551616", "a-b", "0-1-2"] {
            check(wrong, None);
        }
    }
}
