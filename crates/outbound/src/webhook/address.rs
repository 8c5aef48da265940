//! Which addresses a webhook can be sent to: public ones, and those of networks that a setting allows.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks that are not public (RFC 6890), and the address of the metadata and DNS of Azure, which is.
const NOT_PUBLIC_V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// IPv6 networks within 2000::/3 that are not public, or that lead to IPv4 addresses by ways of their own: protocol
/// assignments with Teredo, documentation, 6to4 and documentation again.
const NOT_PUBLIC_V6: [([u16; 2], u32); 4] =
    [([0x2001, 0], 23), ([0x2001, 0x0db8], 32), ([0x2002, 0], 16), ([0x3fff, 0], 20)];

/// The public part of IPv6 that is assigned.
const GLOBAL_V6: ([u16; 2], u32) = ([0x2000, 0], 3);

/// Well-known prefix of translated IPv4 addresses (RFC 6052 §2.1).
const NAT64: u128 = 0x0064_ff9b << 96;

/// Networks that a setting allows although they are not public.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(pub(crate) Vec<IpNet>);

impl Allowed {
    /// Whether a network of the settings contains the address.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = reached(address);
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether a connection to the address is allowed.
    pub(crate) fn admit(&self, address: IpAddr) -> bool {
        is_public(address) || self.contain(address)
    }
}

/// Whether a network contains no public address.
pub(super) fn is_private(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => NOT_PUBLIC_V4.iter().any(|(of, length)| {
            u32::from(network.prefix_len()) >= *length
                && (network.addr().to_bits() ^ Ipv4Addr::from(*of).to_bits()).leading_zeros() >= *length
        }),
        IpNet::V6(network) => {
            let shared = |[one, two]: [u16; 2]| {
                let of = Ipv6Addr::new(one, two, 0, 0, 0, 0, 0, 0).to_bits();
                (network.addr().to_bits() ^ of).leading_zeros()
            };
            let own = u32::from(network.prefix_len());
            let is_outside = own >= GLOBAL_V6.1 && shared(GLOBAL_V6.0) < GLOBAL_V6.1;
            is_outside || NOT_PUBLIC_V6.iter().any(|(of, length)| own >= *length && shared(*of) >= *length)
        }
    }
}

/// Returns the address that is reached: the IPv4 address in a mapped or translated one.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.to_bits() >> 32 == NAT64 >> 32 => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(v6.to_bits() & 0xffff_ffff).unwrap_or(0)))
        }
        address => address,
    }
}

/// Whether an address belongs to the public Internet.
fn is_public(address: IpAddr) -> bool {
    match reached(address) {
        IpAddr::V4(v4) => !NOT_PUBLIC_V4.iter().any(|(network, length)| {
            (v4.to_bits() ^ Ipv4Addr::from(*network).to_bits()).leading_zeros() >= *length
        }),
        IpAddr::V6(v6) => {
            let in_network = |([one, two], length): ([u16; 2], u32)| {
                (v6.to_bits() ^ Ipv6Addr::new(one, two, 0, 0, 0, 0, 0, 0).to_bits()).leading_zeros() >= length
            };
            in_network(GLOBAL_V6) && !NOT_PUBLIC_V6.into_iter().any(in_network)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_the_inside_are_not_public_in_any_form() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(address(inside)), "{inside}");
            assert!(!Allowed::default().admit(address(inside)), "{inside}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.17",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert!(is_public(address(outside)), "{outside}");
        }
    }

    #[test]
    fn a_network_with_one_public_address_is_not_private() {
        let private = |text: &str| is_private(&text.parse().unwrap());
        for inside in [
            "10.0.0.0/8",
            "10.20.0.0/16",
            "127.0.0.1/32",
            "192.168.0.0/16",
            "172.16.0.0/12",
            "169.254.169.254/32",
            "168.63.129.16/32",
            "fd00:20::/32",
            "fc00::/7",
            "::1/128",
            "fe80::/10",
            "2001:db8::/32",
            "64:ff9b::/96",
        ] {
            assert!(private(inside), "{inside}");
        }
        for outside in [
            "8.8.8.8/32",
            "0.0.0.0/0",
            "10.0.0.0/7",
            "172.16.0.0/11",
            "192.168.0.0/15",
            "168.63.129.0/24",
            "100.64.0.0/9",
            "::/0",
            "::/2",
            "2000::/3",
            "2001::/16",
            "2600::/8",
            "2001:db8::/31",
        ] {
            assert!(!private(outside), "{outside}");
        }
    }

    #[test]
    fn a_setting_allows_one_network_and_no_other() {
        let allowed = Allowed(vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()]);
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::7"] {
            assert!(allowed.admit(address(inside)) && allowed.contain(address(inside)), "{inside}");
        }
        for outside in ["10.2.0.1", "127.0.0.1", "fd00:2::1", "169.254.169.254"] {
            assert!(!allowed.admit(address(outside)), "{outside}");
        }
        assert!(allowed.admit(address("8.8.8.8")) && !allowed.contain(address("8.8.8.8")));
    }
}
