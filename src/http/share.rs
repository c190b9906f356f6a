//! No single client takes every connection: whoever holds its share is turned away, and the others still get in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Fewer connections than these are not shared out.
const SHARED_COUNT_MIN: usize = 64;

/// How many connections each client has.
#[derive(Debug)]
pub(super) struct Shares {
    counts: Mutex<HashMap<IpAddr, usize>>,
    share_count_max: usize,
}

/// One connection of a client, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    /// Of so many connections, a quarter is for others: a site behind one proxy is served all the same. Where memory leaves
    /// few of them, one client's parallel downloads may need them all, and whoever comes then waits instead.
    pub(super) fn of(connections_count_max: usize) -> Arc<Self> {
        let for_others = if connections_count_max < SHARED_COUNT_MIN { 0 } else { connections_count_max / 4 };
        let share_count_max = (connections_count_max - for_others).max(1);
        Arc::new(Self { counts: Mutex::default(), share_count_max })
    }

    /// Counts a connection; `None` where its client has enough of them.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let client = client(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= self.share_count_max {
            return None;
        }
        *count += 1;
        Some(Share { shares: Arc::clone(self), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// By whom something is counted: an address of IPv4, or the network of 64 bits that one machine of IPv6 commands.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Shares, client};

    #[test]
    fn one_client_has_its_share_and_no_more() {
        let shares = Shares::of(64);
        let held: Vec<_> = (0..48).map(|_| shares.take("10.0.0.1".parse().unwrap()).unwrap()).collect();
        assert!(shares.take("10.0.0.1".parse().unwrap()).is_none());
        assert!(shares.take("::ffff:10.0.0.1".parse().unwrap()).is_none(), "the same over an IPv6 socket");
        assert!(shares.take("10.0.0.2".parse().unwrap()).is_some());
        drop(held);
        assert!(shares.take("10.0.0.1".parse().unwrap()).is_some());
        assert!(shares.counts.lock().unwrap().is_empty(), "nobody is remembered who is gone");
        let few = Shares::of(8);
        let held: Vec<_> = (0..8).map(|_| few.take("::1".parse().unwrap())).collect();
        assert!(held.iter().all(Option::is_some), "where there are few, whoever comes waits");
    }

    #[test]
    fn who_counts_as_one() {
        let check = |address: &str, expected: &str| {
            assert_eq!(client(address.parse().unwrap()), expected.parse::<std::net::IpAddr>().unwrap());
        };
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }
}
