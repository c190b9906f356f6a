//! What went over a listener: connections and bytes, counted where they pass, without a lock.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counters of one listener.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(super) accepted_count: AtomicU64,
    pub(super) open_count: AtomicU64,
    pub(super) turned_away_count: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// Their values at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    pub accepted: u64,
    pub open: u64,
    /// Connections of peers that may not connect.
    pub turned_away: u64,
    /// Without what TLS adds.
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

impl Traffic {
    /// What was counted so far.
    pub fn counts(&self) -> TrafficCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficCounts {
            accepted: read(&self.accepted_count),
            open: read(&self.open_count),
            turned_away: read(&self.turned_away_count),
            received_bytes: read(&self.received_bytes),
            sent_bytes: read(&self.sent_bytes),
        }
    }

    /// Counts a connection for as long as it is open.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.accepted_count.fetch_add(1, Ordering::Relaxed);
        self.open_count.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }
}

pub(super) struct Open(Arc<Traffic>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection whose bytes are counted.
pub(super) struct Metered<I> {
    inner: I,
    traffic: Arc<Traffic>,
}

impl<I> Metered<I> {
    pub(super) const fn new(inner: I, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }

    fn count_sent(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &result {
            self.traffic.sent_bytes.fetch_add(*count as u64, Ordering::Relaxed);
        }
        result
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Metered<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(context, buffer);
        let count = buffer.filled().len().saturating_sub(before);
        self.traffic.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Metered<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.count_sent(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.count_sent(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
