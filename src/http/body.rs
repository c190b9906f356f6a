//! Response and request bodies: known bytes, a range of a file, or a stream with back-pressure.
//!
//! A body that fails ends uncleanly, so that the other side sees a broken transfer and never a short file.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt as _};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::limits::{HTTP1_BUFFER_BYTES_MAX, KIB};
use crate::sys::dir::File;

pub use hyper::body::Incoming;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("cannot read the stored content")]
    Read(#[source] io::Error),
    #[error("stored content ends {0} bytes too early")]
    Short(u64),
    #[error("cannot receive the rest of the body")]
    Receive(#[source] hyper::Error),
    #[error("body is longer than {0} bytes, the most that is taken here")]
    TooLarge(usize),
    #[error("no byte of the body came for {0} seconds")]
    Idle(u64),
    #[error("the source of this body failed: {0}")]
    Source(String),
}

/// How a body ended, told once to whoever asked with [`Body::on_end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyEnd {
    /// Bytes that were handed to the connection.
    pub sent_bytes: u64,
    /// Whether the end was reached. An early close by the client is not an error: clients cut streams on purpose.
    pub complete: bool,
}

type EndHook = Box<dyn FnOnce(BodyEnd) + Send>;

/// A body to be sent.
pub struct Body {
    content: Content,
    sent_bytes: u64,
    complete: bool,
    hooks: Vec<EndHook>,
    taken_bytes: Option<Arc<AtomicU64>>,
}

enum Content {
    Full(Bytes),
    File(FileRange),
    Stream { stream: BoxStream<'static, Result<Bytes, BodyError>>, left_bytes: Option<u64> },
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Bytes that are known already.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::Full(bytes.into()))
    }

    /// `len_bytes` bytes of a file, beginning at `offset_bytes`, read in pieces of `piece_bytes` as the client takes them.
    pub fn file(file: Arc<dyn File>, offset_bytes: u64, len_bytes: u64, piece_bytes: usize) -> Self {
        let range = FileRange {
            file,
            offset_bytes,
            left_bytes: len_bytes,
            piece_bytes,
            spent: Vec::new(),
            spare: Vec::new(),
            reading: None,
        };
        Self::of(Content::File(range))
    }

    /// Pieces from elsewhere; `len_bytes` where the total is known.
    pub fn stream(stream: BoxStream<'static, Result<Bytes, BodyError>>, len_bytes: Option<u64>) -> Self {
        Self::of(Content::Stream { stream, left_bytes: len_bytes })
    }

    /// A body that is written through the sender, which waits while `pieces_max` pieces are not yet taken.
    pub fn channel(pieces_max: usize) -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(pieces_max.max(1));
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        (BodySender { sender }, Self::stream(stream.boxed(), None))
    }

    fn of(content: Content) -> Self {
        Self { content, sent_bytes: 0, complete: false, hooks: Vec::new(), taken_bytes: None }
    }

    /// Counts in `taken_bytes`, while it is being sent, what was handed to the connection.
    #[must_use]
    pub(super) fn counted(mut self, taken_bytes: Arc<AtomicU64>) -> Self {
        self.taken_bytes = Some(taken_bytes);
        self
    }

    /// Calls `hook` when the body was sent, or was dropped before.
    #[must_use]
    pub fn on_end(mut self, hook: impl FnOnce(BodyEnd) + Send + 'static) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    fn left_bytes(&self) -> Option<u64> {
        match &self.content {
            Content::Full(bytes) => Some(bytes.len() as u64),
            Content::File(range) => Some(range.left_bytes),
            Content::Stream { left_bytes, .. } => *left_bytes,
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.content {
            Content::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Full(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Content::File(range) => range.poll_piece(context),
            Content::Stream { stream, left_bytes } => {
                let piece = ready!(stream.poll_next_unpin(context));
                if let (Some(Ok(bytes)), Some(left)) = (&piece, left_bytes.as_mut()) {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                Poll::Ready(piece)
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = ready!(self.poll_piece(context));
        match &piece {
            Some(Ok(bytes)) => {
                self.sent_bytes += bytes.len() as u64;
                if let Some(taken_bytes) = &self.taken_bytes {
                    taken_bytes.store(self.sent_bytes, Ordering::Relaxed);
                }
                self.complete = self.left_bytes() == Some(0);
            }
            Some(Err(_)) => self.complete = false,
            None => self.complete = self.left_bytes().is_none_or(|left| left == 0),
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left_bytes().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let complete = self.complete || self.left_bytes() == Some(0);
        let end = BodyEnd { sent_bytes: self.sent_bytes, complete };
        for hook in self.hooks.drain(..) {
            hook(end);
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("sent_bytes", &self.sent_bytes).field("left_bytes", &self.left_bytes()).finish()
    }
}

/// The writing end of [`Body::channel`].
#[derive(Clone, Debug)]
pub struct BodySender {
    sender: mpsc::Sender<Result<Bytes, BodyError>>,
}

/// The other side went away before the body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiver of this body is gone")]
pub struct ReceiverGone;

impl BodySender {
    /// Hands over the next piece, waiting while the receiver is slow.
    pub async fn send(&self, piece: impl Into<Bytes>) -> Result<(), ReceiverGone> {
        self.sender.send(Ok(piece.into())).await.map_err(|_| ReceiverGone)
    }

    /// The same from a thread that may block.
    pub fn send_blocking(&self, piece: impl Into<Bytes>) -> Result<(), ReceiverGone> {
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| ReceiverGone)
    }

    /// Hands over one line of newline-delimited JSON, from a thread that may block.
    pub fn send_json_line_blocking(&self, value: &impl Serialize) -> Result<(), ReceiverGone> {
        self.send_blocking(json_line(value))
    }

    /// Hands over one line if there is room for it now; otherwise it is dropped. From anywhere.
    pub fn offer_json_line(&self, value: &impl Serialize) {
        let _ = self.sender.try_send(Ok(json_line(value).into()));
    }
}

fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
    line.push(b'\n');
    line
}

/// Part of a file that is being sent. Buffers are used again once the connection let go of them.
struct FileRange {
    file: Arc<dyn File>,
    offset_bytes: u64,
    left_bytes: u64,
    piece_bytes: usize,
    /// Pieces that were handed out, and buffers of those that the connection let go of.
    spent: Vec<Bytes>,
    spare: Vec<BytesMut>,
    /// A piece that has to be waited for.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

/// As many small pieces as an HTTP/1 connection gathers before it writes.
const SPENT_COUNT_MAX: usize = HTTP1_BUFFER_BYTES_MAX / CACHED_PIECE_BYTES + 1;
/// Piece that is copied out of memory where a task runs: a few microseconds, and a buffer that stays in the processor's cache.
const CACHED_PIECE_BYTES: usize = 64 * KIB;

impl FileRange {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.left_bytes == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            match self.read_cached() {
                Ok(piece) => return Poll::Ready(Some(self.take_piece(Ok(piece)))),
                Err(buffer) => self.reading = Some(self.start_read(buffer)),
            }
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let result = ready!(Pin::new(reading).poll(context)).unwrap_or_else(|error| Err(io::Error::other(error)));
        self.reading = None;
        Poll::Ready(Some(self.take_piece(result)))
    }

    fn piece_len(&self, most_bytes: usize) -> usize {
        usize::try_from(self.left_bytes).map_or(most_bytes, |left| left.min(most_bytes))
    }

    /// The next piece where the kernel has it in memory, as it has what was pulled a moment ago: then nothing has to wait for
    /// another thread. Otherwise the buffer for it.
    fn read_cached(&mut self) -> Result<Bytes, BytesMut> {
        let len = self.piece_len(self.piece_bytes.min(CACHED_PIECE_BYTES));
        let mut buffer = self.buffer();
        fit(&mut buffer, len);
        match self.file.read_cached_at(&mut buffer, self.offset_bytes) {
            Some(count) if count > 0 => {
                buffer.truncate(count);
                Ok(buffer.freeze())
            }
            _ => Err(buffer),
        }
    }

    fn buffer(&mut self) -> BytesMut {
        if self.spare.is_empty() {
            for piece in std::mem::take(&mut self.spent) {
                match piece.try_into_mut() {
                    Ok(buffer) => self.spare.push(buffer),
                    Err(piece) => self.spent.push(piece),
                }
            }
        }
        self.spare.pop().unwrap_or_default()
    }

    fn start_read(&self, mut buffer: BytesMut) -> JoinHandle<io::Result<Bytes>> {
        let (len, file, offset) = (self.piece_len(self.piece_bytes), Arc::clone(&self.file), self.offset_bytes);
        tokio::task::spawn_blocking(move || {
            fit(&mut buffer, len);
            let count = file.read_at(&mut buffer, offset)?;
            buffer.truncate(count);
            Ok(buffer.freeze())
        })
    }

    fn take_piece(&mut self, result: io::Result<Bytes>) -> Result<Bytes, BodyError> {
        let piece = result.map_err(BodyError::Read)?;
        if piece.is_empty() {
            return Err(BodyError::Short(self.left_bytes));
        }
        self.offset_bytes += piece.len() as u64;
        self.left_bytes = self.left_bytes.saturating_sub(piece.len() as u64);
        if self.spent.len() == SPENT_COUNT_MAX {
            self.spent.remove(0);
        }
        self.spent.push(piece.clone());
        Ok(piece)
    }
}

fn fit(buffer: &mut BytesMut, len: usize) {
    if buffer.capacity() < len {
        *buffer = BytesMut::zeroed(len);
    } else {
        buffer.resize(len, 0);
    }
}

/// Takes a whole body of at most `limit_bytes`, of which a piece must come every `idle` time.
pub async fn collect(mut body: Incoming, limit_bytes: usize, idle: Duration) -> Result<Bytes, BodyError> {
    let mut collected = BytesMut::new();
    while let Some(piece) = next_piece(&mut body, idle).await? {
        if collected.len() + piece.len() > limit_bytes {
            return Err(BodyError::TooLarge(limit_bytes));
        }
        collected.extend_from_slice(&piece);
    }
    Ok(collected.freeze())
}

/// The next piece of a body that is being received; `None` at its end.
pub(super) async fn next_piece(body: &mut Incoming, idle: Duration) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| BodyError::Idle(idle.as_secs()))?;
        let Some(frame) = frame else { return Ok(None) };
        // Trailers carry nothing that is looked at here.
        if let Ok(data) = frame.map_err(BodyError::Receive)?.into_data() {
            return Ok(Some(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::{Body, BodyEnd, BodyError};
    use crate::limits::BODY_CHUNK_BYTES;
    use crate::sys::dir::{Create, Dir as _};
    use crate::sys::dir_real::RealDir;

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, Arc<dyn crate::sys::dir::File>) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temporary.path()).unwrap();
        dir.open_write("f", Create::New).unwrap().write_at(bytes, 0).unwrap();
        let file = dir.open("f").unwrap();
        (temporary, file)
    }

    #[tokio::test]
    async fn a_file_range_comes_whole_and_tells_its_end() {
        let content: Vec<u8> = (0..3 * BODY_CHUNK_BYTES + 17).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (_temporary, file) = file_of(&content);
        let end = Arc::new(Mutex::new(None));
        let told = Arc::clone(&end);
        let len = content.len() as u64 - 10;
        let body = Body::file(file, 5, len, BODY_CHUNK_BYTES).on_end(move |end| *told.lock().unwrap() = Some(end));
        assert_eq!(body.size_hint().exact(), Some(len));
        let collected = body.collect().await.unwrap().to_bytes();
        assert_eq!(&collected[..], &content[5..content.len() - 5]);
        assert_eq!(*end.lock().unwrap(), Some(BodyEnd { sent_bytes: len, complete: true }));
    }

    #[tokio::test]
    async fn a_range_beyond_32_bits_is_the_bytes_that_stand_there() {
        let (temporary, file) = file_of(b"the beginning");
        let writer = RealDir::open(temporary.path()).unwrap().open_write("f", Create::Existing).unwrap();
        writer.write_at(b"before and behind", (1 << 32) - 7).unwrap();
        let body = Body::file(file, (1 << 32) - 7, 17, 4);
        assert_eq!(&body.collect().await.unwrap().to_bytes()[..], b"before and behind");
        writer.set_len(5 << 30).unwrap();
        let whole = Body::file(RealDir::open(temporary.path()).unwrap().open("f").unwrap(), 0, 5 << 30, 4);
        assert_eq!(whole.size_hint().exact(), Some(5 << 30));
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_breaks_the_body() {
        let (_temporary, file) = file_of(b"abc");
        let error = Body::file(file, 0, 10, BODY_CHUNK_BYTES).collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Short(7)));
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_early_says_so() {
        let (sender, body) = Body::channel(1);
        let (tell, told) = std::sync::mpsc::channel();
        let body = body.on_end(move |end| tell.send(end).unwrap());
        drop(body);
        assert_eq!(told.recv().unwrap(), BodyEnd { sent_bytes: 0, complete: false });
        assert!(sender.send("x").await.is_err());
    }
}
