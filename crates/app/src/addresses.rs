//! How addresses are kept in evidence: whole, shortened to their network, or hashed.

use crate::seal::derived;
use aws_lc_rs::hmac;
use std::net::IpAddr;

/// What evidence keeps of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AddressPolicy {
    /// All of it.
    #[default]
    Full,
    /// Its network: the first 24 bits of an IPv4 address, the first 48 of an IPv6 one.
    Truncated,
    /// A keyed hash, with which one address can be told from another and not be read.
    Hashed,
}

/// Turns addresses into what is kept of them.
pub(crate) struct Addresses {
    policy: AddressPolicy,
    key: hmac::Key,
}

/// What separates this key from every other use of the one that it is made from.
const LABEL: &[u8] = b"crossfade: addresses in evidence";
/// Characters of a hash that are kept: 64 bits, so that two addresses of one client do not meet.
const SHOWN: usize = 16;

impl Addresses {
    /// `root` is a key that is outside the database in the clear: whoever reads that alone can hash no guesses.
    pub(crate) fn new(policy: AddressPolicy, root: &[u8]) -> Self {
        Self { policy, key: hmac::Key::new(hmac::HMAC_SHA256, derived(root, LABEL).as_slice()) }
    }

    /// Whether more than one address may look the same.
    pub(crate) fn are_whole(&self) -> bool {
        self.policy == AddressPolicy::Full
    }

    /// An address as it is kept.
    pub(crate) fn kept(&self, ip: IpAddr) -> String {
        match (self.policy, ip) {
            (AddressPolicy::Full, _) => ip.to_string(),
            (AddressPolicy::Truncated, IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            (AddressPolicy::Truncated, IpAddr::V6(ip)) => {
                let [a, b, c, ..] = ip.segments();
                format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
            }
            (AddressPolicy::Hashed, _) => {
                let hash = hmac::sign(&self.key, ip.to_string().as_bytes());
                let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                format!("hashed:{}", &hex[..SHOWN])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(policy: AddressPolicy, root: u8, ip: &str) -> String {
        Addresses::new(policy, &[root; 32]).kept(ip.parse().unwrap())
    }

    #[test]
    fn an_address_is_kept_whole_or_as_its_network() {
        assert_eq!(kept(AddressPolicy::Full, 1, "192.0.2.7"), "192.0.2.7");
        assert_eq!(kept(AddressPolicy::Truncated, 1, "192.0.2.7"), "192.0.2.0/24");
        assert_eq!(kept(AddressPolicy::Truncated, 1, "2001:db8:1:2::7"), "2001:db8:1::/48");
    }

    #[test]
    fn a_hash_tells_addresses_apart_and_depends_on_the_key() {
        let hash = |root, ip| kept(AddressPolicy::Hashed, root, ip);
        assert_eq!(hash(1, "192.0.2.7"), hash(1, "192.0.2.7"));
        assert_ne!(hash(1, "192.0.2.7"), hash(1, "192.0.2.8"));
        assert_ne!(hash(1, "192.0.2.7"), hash(2, "192.0.2.7"));
        assert!(!hash(1, "192.0.2.7").contains("192.0.2"));
        assert_eq!(hash(1, "2001:db8::1").len(), "hashed:".len() + SHOWN);
    }
}
