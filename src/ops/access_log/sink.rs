//! One place outside the data directory where records go, with a connection that is made again whenever it breaks.
//!
//! A connection says nothing of what arrived. So what was sent is kept until it must have ([`CONFIRMED_WITHIN`]), and after
//! a break it is sent again: a collector may see a record twice, with the same number, rather than never. What the
//! collector's own machine had taken and not read when it went down, nobody here can know.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::format::{self, Format, Origin};
use super::place::Place;
use super::record::AccessRecord;
use super::settings::Way;
use super::{journal_entry, rfc5424};
use crate::error_chain::chain;
use crate::http::delivery::{CONFIRMED_WITHIN, Delivery, DeliveryError, Target};
use crate::limits::{ACCESS_LOG_BATCH_COUNT_MAX, ACCESS_LOG_SEND_BYTES, DELIVERY_UNCONFIRMED_BYTES_MAX};
use crate::sys::clock::Clock;
use crate::sys::journal_socket::JournalSocket;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one: the next pause is short again.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);
/// What was sent is kept for somewhat longer than the kernel waits for its confirmation.
const KEPT_FOR: Duration = Duration::from_secs(CONFIRMED_WITHIN.as_secs() + 10);
/// How long a journal that has no room is left alone.
const JOURNAL_PAUSE: Duration = Duration::from_millis(50);

/// What a sink is told.
#[derive(Debug)]
pub(super) enum Told {
    Record(Arc<AccessRecord>),
    /// No more will come: deliver what is there, and end.
    End,
}

pub(super) struct Sink {
    pub(super) way: Way,
    pub(super) format: Format,
    pub(super) origin: Origin,
    pub(super) place: Arc<Place>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: UnboundedReceiver<Told>,
    pub(super) backlog: Backlog,
}

/// What is not delivered for sure.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Received from the queue, not sent on this connection.
    unsent: VecDeque<Unsent>,
    /// Sent, perhaps not arrived.
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    is_end: bool,
}

#[derive(Debug)]
struct Unsent {
    record: Arc<AccessRecord>,
    /// It was counted as kept already, when it was sent first.
    again: bool,
}

#[derive(Debug)]
struct Sent {
    record: Arc<AccessRecord>,
    at: Instant,
    bytes: usize,
}

impl Backlog {
    fn take(&mut self, told: Option<Told>) {
        match told {
            Some(Told::Record(record)) => self.unsent.push_back(Unsent { record, again: false }),
            Some(Told::End) | None => self.is_end = true,
        }
    }

    /// The first `count` records were handed to the connection.
    fn was_sent(&mut self, lengths: &[usize], place: &Place) {
        let now = Instant::now();
        for (bytes, unsent) in lengths.iter().zip(self.unsent.drain(..lengths.len())) {
            self.sent_bytes += bytes;
            self.sent.push_back(Sent { record: unsent.record, at: now, bytes: *bytes });
            if !unsent.again {
                place.kept(1);
            }
        }
        self.forget_confirmed();
    }

    fn forget_confirmed(&mut self) {
        let is_old = |sent: &Sent| sent.at.elapsed() > KEPT_FOR;
        while self.sent_bytes > DELIVERY_UNCONFIRMED_BYTES_MAX || self.sent.front().is_some_and(is_old) {
            let Some(sent) = self.sent.pop_front() else { return };
            self.sent_bytes -= sent.bytes;
        }
    }

    /// The connection broke: what may not have arrived is sent again first.
    fn send_again(&mut self) {
        self.forget_confirmed();
        self.sent_bytes = 0;
        while let Some(sent) = self.sent.pop_back() {
            self.unsent.push_front(Unsent { record: sent.record, again: true });
        }
    }
}

/// Why a connection was left.
enum Left {
    Broken(DeliveryError),
    /// Everything was delivered and no more will come.
    Done,
}

impl Sink {
    /// Delivers until the end was told and nothing is left.
    pub(super) async fn run(mut self) {
        match self.way.clone() {
            Way::Syslog(target) => self.run_syslog(&target).await,
            Way::Journal(path) => self.run_journal(&path).await,
        }
        self.place.tell_lost(self.clock.running(), true);
    }

    async fn run_syslog(&mut self, target: &Target) {
        let mut pauses = Pauses::default();
        let mut told_broken = false;
        loop {
            let mut lasted = Duration::ZERO;
            let error = match Delivery::connect(target).await {
                Ok(mut delivery) => {
                    tracing::info!(to = self.place.name(), "the access log is delivered");
                    told_broken = false;
                    let began = Instant::now();
                    let left = self.deliver(&mut delivery).await;
                    lasted = began.elapsed();
                    match left {
                        Left::Done => return delivery.finish().await,
                        Left::Broken(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.backlog.send_again();
            if !std::mem::replace(&mut told_broken, true) {
                let error = chain(&error);
                tracing::warn!(to = self.place.name(), error, "the access log is not delivered; trying again");
            }
            self.place.tell_lost(self.clock.running(), false);
            tokio::time::sleep(pauses.next(lasted)).await;
        }
    }

    async fn deliver(&mut self, delivery: &mut Delivery) -> Left {
        loop {
            while self.backlog.unsent.len() < ACCESS_LOG_BATCH_COUNT_MAX
                && let Ok(told) = self.queue.try_recv()
            {
                self.backlog.take(Some(told));
            }
            if self.backlog.unsent.is_empty() {
                if self.backlog.is_end {
                    return Left::Done;
                }
                tokio::select! {
                    error = delivery.ended() => return Left::Broken(error),
                    told = self.queue.recv() => self.backlog.take(told),
                }
                continue;
            }
            let (frames, lengths) = self.next_frames();
            if let Err(error) = delivery.send(&frames).await {
                return Left::Broken(error);
            }
            self.backlog.was_sent(&lengths, &self.place);
            self.place.tell_lost(self.clock.running(), false);
        }
    }

    /// As many of the unsent as go together, each with its length.
    fn next_frames(&self) -> (Vec<u8>, Vec<usize>) {
        let (mut frames, mut lengths) = (Vec::new(), Vec::new());
        for unsent in &self.backlog.unsent {
            let before = frames.len();
            rfc5424::frame(&mut frames, &format::message(self.format, &unsent.record, &self.origin));
            lengths.push(frames.len() - before);
            if frames.len() >= ACCESS_LOG_SEND_BYTES {
                break;
            }
        }
        (frames, lengths)
    }

    /// A datagram that the kernel took is in the journal's own queue: here nothing has to be sent again.
    async fn run_journal(&mut self, path: &Path) {
        let (mut pauses, mut socket, mut told_broken) = (Pauses::default(), None, false);
        loop {
            if self.backlog.unsent.is_empty() {
                if self.backlog.is_end {
                    return;
                }
                let told = self.queue.recv().await;
                self.backlog.take(told);
                continue;
            }
            let pause = match self.send_to_journal(&mut socket, path) {
                Ok(()) => {
                    told_broken = false;
                    pauses = Pauses::default();
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => JOURNAL_PAUSE,
                Err(error) => {
                    socket = None;
                    if !std::mem::replace(&mut told_broken, true) {
                        tracing::warn!(to = self.place.name(), %error, "the access log is not delivered; trying again");
                    }
                    pauses.next(Duration::ZERO)
                }
            };
            self.place.tell_lost(self.clock.running(), false);
            tokio::time::sleep(pause).await;
        }
    }

    fn send_to_journal(&mut self, open: &mut Option<JournalSocket>, path: &Path) -> std::io::Result<()> {
        let Some(unsent) = self.backlog.unsent.front() else { return Ok(()) };
        let socket = match open {
            Some(socket) => socket,
            None => open.insert(JournalSocket::connect(path)?),
        };
        socket.send(&journal_entry::entry(&unsent.record))?;
        self.backlog.unsent.pop_front();
        self.place.kept(1);
        Ok(())
    }
}

/// Pauses between connections, each twice as long as the one before.
#[derive(Debug)]
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(PAUSE_FIRST)
    }
}

impl Pauses {
    fn next(&mut self, lasted: Duration) -> Duration {
        let pause = if lasted >= GOOD_CONNECTION { PAUSE_FIRST } else { self.0 };
        self.0 = (pause * 2).min(PAUSE_LAST);
        pause
    }
}
