//! Storage of addresses in evidence, sessions and the audit trail: complete, shortened to their network, or hashed.

use crate::keys::seal::derived;
use aws_lc_rs::hmac;
use std::net::IpAddr;

/// How an address is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AddressPolicy {
    /// The complete address.
    #[default]
    Full,
    /// Its network: the first 24 bits of an IPv4 address, or the first 48 of an IPv6 address.
    Truncated,
    /// A keyed hash, which distinguishes addresses without revealing them.
    Hashed,
}

/// Converts addresses to their stored form.
pub(crate) struct Addresses {
    policy: AddressPolicy,
    key: hmac::Key,
}

/// Label that separates this key from other keys derived from the same root.
const LABEL: &[u8] = b"crossfade: addresses in evidence";
/// Number of stored characters of a hash: 64 bits, so that two addresses of one client do not collide.
const SHOWN: usize = 16;

impl Addresses {
    /// Creates the converter. `root` is a key that is not stored in the database in the clear, so that anyone who reads
    /// only the database cannot hash guesses.
    pub(crate) fn new(policy: AddressPolicy, root: &[u8]) -> Self {
        Self { policy, key: hmac::Key::new(hmac::HMAC_SHA256, derived(root, LABEL).as_slice()) }
    }

    /// Whether different addresses have different stored forms.
    pub(crate) fn are_whole(&self) -> bool {
        self.policy == AddressPolicy::Full
    }

    /// Returns the stored form of an address.
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
