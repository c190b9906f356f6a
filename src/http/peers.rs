//! Who may connect at all. Others are closed before a byte of theirs is read, counted, and told to the log once a minute.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::traffic::Traffic;

const TELL_EVERY: Duration = Duration::from_secs(60);

/// The other side of a connection, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Address(IpAddr),
    /// The user of a process on this machine.
    User(u32),
    /// Somebody on a socket file of whom the kernel says nothing.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::User(user) => write!(f, "uid {user}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Says whether a peer may connect.
pub type MayConnect = dyn Fn(Peer) -> bool + Send + Sync;

/// The rule of one listener.
pub(super) struct Peers {
    may_connect: Option<Arc<MayConnect>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    count: u64,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("all", &self.may_connect.is_none()).finish()
    }
}

impl Peers {
    /// Everybody may connect where there is no rule.
    pub(super) fn new(may_connect: Option<Arc<MayConnect>>) -> Self {
        Self { may_connect, told: Mutex::default() }
    }

    /// Whether `peer` may connect; counted where it may not.
    pub(super) fn admit(&self, peer: Peer, traffic: &Traffic) -> bool {
        let Some(may_connect) = &self.may_connect else { return true };
        if may_connect(peer) {
            return true;
        }
        let count = traffic.turned_away_count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            let since_then = count.saturating_sub(told.count);
            *told = Told { at: Some(Instant::now()), count };
            tracing::warn!(%peer, since_then, total = count, "connections of peers that may not connect were closed");
        }
        false
    }
}
