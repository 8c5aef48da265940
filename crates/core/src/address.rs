//! Addresses as sources.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the source an address counts as: an IPv4 address itself, or the /64 network of an IPv6 address, because one
/// host can use the whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    prefix(address, 32, 64)
}

/// Returns the network that an address shares with its neighbours: 48 bits of IPv6, 24 bits of IPv4.
pub fn wide_network(address: IpAddr) -> IpAddr {
    prefix(address, 24, 48)
}

/// Returns the network of an address with this number of leading bits, by family.
pub fn prefix(address: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - v4.min(32)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - v6.min(128)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_counts_as_its_network_and_one_of_ipv4_as_itself() {
        for (address, source) in [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(network(address.parse().unwrap()), source.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn a_prefix_keeps_the_leading_bits() {
        for (address, v4, v6, network) in [
            ("192.0.2.7", 24, 48, "192.0.2.0"),
            ("192.0.2.7", 32, 64, "192.0.2.7"),
            ("192.0.2.7", 0, 0, "0.0.0.0"),
            ("::ffff:192.0.2.7", 24, 48, "192.0.2.0"),
            ("2001:db8:1:23ff:3::6", 24, 56, "2001:db8:1:2300::"),
            ("2001:db8:1:2:3::6", 24, 48, "2001:db8:1::"),
            ("2001:db8:1:2:3::6", 24, 128, "2001:db8:1:2:3::6"),
        ] {
            assert_eq!(prefix(address.parse().unwrap(), v4, v6), network.parse::<IpAddr>().unwrap());
        }
        assert_eq!(wide_network("192.0.2.7".parse().unwrap()), IpAddr::from([192, 0, 2, 0]));
    }
}
