//! Networks as a person writes them (`10.0.0.0/8`, `::1/128`, `192.0.2.7`), and who is in one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// All addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    prefix_bits: u32,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("'{0}' is not an address, or an address and a number of bits")]
    Form(String),
    #[error("'{0}' has bits set behind its first {1}, so that it may mean two networks")]
    HostBits(String, u32),
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let form = || NetworkError::Form(text.chars().take(80).collect());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| form())?;
        let all_bits = bits_of(first);
        let prefix_bits = match bits {
            None => all_bits,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= all_bits).ok_or_else(form)?
            }
            Some(_) => return Err(form()),
        };
        let network = Self { first, prefix_bits };
        let kept = network.prefix(first).checked_shl(all_bits - prefix_bits).unwrap_or(0);
        if kept != number(first) {
            return Err(NetworkError::HostBits(text.chars().take(80).collect(), prefix_bits));
        }
        Ok(network)
    }
}

const fn bits_of(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Network {
    fn prefix(&self, address: IpAddr) -> u128 {
        number(address).checked_shr(bits_of(address) - self.prefix_bits).unwrap_or(0)
    }

    /// Whether `address` is in it. An IPv4 address that came over an IPv6 socket counts as IPv4.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits_of(address) == bits_of(self.first) && self.prefix(address) == self.prefix(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn who_is_in_a_network() {
        let check = |network: &str, address: &str, expected: bool| {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.holds(address.parse().unwrap()), expected, "{network:?} {address}");
        };
        check("127.0.0.1/32", "127.0.0.1", true);
        check("127.0.0.1", "127.0.0.2", false);
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.1.1.1", true);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "2001:db8::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::1/128", "::1", true);
    }

    #[test]
    fn what_is_no_network() {
        for text in ["", "/", "a", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.1/8", "::1/0", "::1/129", "1.2.3"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
