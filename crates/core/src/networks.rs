//! Networks from which a client may call.

use crate::Problem;
use ipnet::IpNet;
use std::net::IpAddr;

/// Maximum number of networks of a registration.
const MOST: usize = 64;

/// A list of networks that is never empty: sorted, each with the address that its prefix leaves.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// Reads a list of networks (RFC 4632 §3.1, RFC 4291 §2.3) and addresses.
    pub fn parse(field: &str, list: &[String]) -> Result<Self, Problem> {
        if list.is_empty() || list.len() > MOST {
            let predicate = format!("must contain 1 to {MOST} networks; null allows every address");
            return Err(Problem::invalid(field, &predicate));
        }
        let mut networks = list.iter().map(|text| network(field, text)).collect::<Result<Vec<_>, _>>()?;
        networks.sort_unstable();
        networks.dedup();
        Ok(Self(networks.into()))
    }

    /// Reads what [`Networks::stored`] returned.
    pub fn from_stored(text: &str) -> Option<Self> {
        let networks: Option<Vec<IpNet>> = text.split(' ').map(|network| network.parse().ok()).collect();
        networks.filter(|list| !list.is_empty()).map(|list| Self(list.into()))
    }

    /// Returns the networks as one text for the database.
    pub fn stored(&self) -> String {
        self.list().join(" ")
    }

    /// Returns each network as an address and a prefix length.
    pub fn list(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Whether one of the networks contains this address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether one of the networks contains this whole network.
    pub fn contain_all_of(&self, other: IpNet) -> bool {
        self.0.iter().any(|network| network.contains(&other))
    }
}

/// Reads a network or an address. An IPv4 address that is written as IPv6 is one of IPv4, as it is in a request.
fn network(field: &str, text: &str) -> Result<IpNet, Problem> {
    let text = text.trim();
    let read = text.parse().ok().or_else(|| {
        let address: IpAddr = text.parse().ok()?;
        Some(IpNet::from(address.to_canonical()))
    });
    let Some(network) = read else {
        let predicate = "must contain networks such as 10.0.0.0/8 or 2001:db8::/32, or addresses";
        return Err(Problem::invalid(field, predicate));
    };
    if network.addr() != network.network() {
        let predicate = format!("must contain {} for the network of {network}", network.trunc());
        return Err(Problem::invalid(field, &predicate));
    }
    match network {
        IpNet::V6(mapped) if mapped.addr().to_ipv4_mapped().is_some() => {
            Err(Problem::invalid(field, "must contain networks of IPv4 in the notation of IPv4"))
        }
        network => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &[&str]) -> Result<Networks, String> {
        let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
        Networks::parse("allowed_networks", &list).map_err(|problem| problem.detail)
    }

    #[test]
    fn networks_and_addresses_are_sorted_and_kept_once() {
        let networks =
            parse(&["2001:db8::/32", " 10.0.0.0/8", "192.0.2.1", "10.0.0.0/8", "::ffff:192.0.2.7"]).unwrap();
        assert_eq!(networks.list(), ["10.0.0.0/8", "192.0.2.1/32", "192.0.2.7/32", "2001:db8::/32"]);
        assert_eq!(Networks::from_stored(&networks.stored()), Some(networks));
        assert_eq!(Networks::from_stored(""), None);
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_would_be_right() {
        for (list, says) in [
            (vec![], "1 to 64 networks; null allows every address"),
            (vec!["10.0.0.0/8"; 65], "1 to 64 networks"),
            (vec!["10.1.2.3/8"], "must contain 10.0.0.0/8 for the network of 10.1.2.3/8"),
            (vec!["2001:db8::1/32"], "must contain 2001:db8::/32"),
            (vec!["10.0.0.0/33"], "networks such as"),
            (vec!["auth.example.com"], "networks such as"),
            (vec![""], "networks such as"),
            (vec!["::ffff:10.0.0.0/104"], "in the notation of IPv4"),
        ] {
            let refused = parse(&list).unwrap_err();
            assert!(refused.contains(says), "{list:?}: {refused}");
        }
    }

    #[test]
    fn an_address_is_in_a_network_in_either_notation() {
        let networks = parse(&["10.0.0.0/8", "2001:db8::/32"]).unwrap();
        for (address, inside) in [
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), inside, "{address}");
        }
        assert!(networks.contain_all_of("10.2.0.0/16".parse().unwrap()));
        assert!(!networks.contain_all_of("0.0.0.0/0".parse().unwrap()));
        let everywhere = parse(&["0.0.0.0/0"]).unwrap();
        assert!(everywhere.contain("192.0.2.1".parse().unwrap()));
        assert!(!everywhere.contain("2001:db8::1".parse().unwrap()), "only IPv4");
    }
}
