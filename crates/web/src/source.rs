//! Source of a request. A forwarded header is accepted only from a declared proxy.

use crate::Web;
use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, header},
};
use ipnet::IpNet;
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Networks whose forwarded headers are accepted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Whether an address belongs to a declared proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the source of a request: the other end of the connection or, as long as that is a declared proxy, the
    /// address that the proxy forwards for. Reads the header from the right, because only that end is written by
    /// trusted proxies.
    fn forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Forwarded {
        let mut source = peer.to_canonical();
        let mut hops = 0;
        if self.trusts(source) {
            let forwarded = headers.get_all(FORWARDED_FOR).iter().rev();
            // Bytes, because a hop that is not text must end the walk like any other unreadable hop, and must not be
            // skipped: the hops to its left were written by the source itself.
            for hop in forwarded.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')) {
                let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else {
                    return Forwarded { source, is_readable: false };
                };
                source = address;
                hops += 1;
                if !self.trusts(source) {
                    break;
                }
            }
        }
        // A proxy that writes only the header that is not read.
        let is_readable = hops > 0 || !self.trusts(source) || !headers.contains_key(header::FORWARDED);
        Forwarded { source, is_readable }
    }
}

/// Source of a request, and whether everything that declared proxies sent about it could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Forwarded {
    /// The nearest hop that is not a declared proxy, or the last readable one.
    source: IpAddr,
    is_readable: bool,
}

/// Header with the list of hops. `Forwarded` (RFC 7239) is not read, because a proxy that writes one of the two passes
/// the other on as the source wrote it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Reads a hop: an address, with or without brackets and port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().map(IpAddr::V6).ok();
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip()).ok();
    hop.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// Returns the address of the source.
pub(crate) fn source_address(web: &Web, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    forwarded(web, peer, headers).source
}

/// Reads the source of a request. Reports a declared proxy that sends an unreadable address.
fn forwarded(web: &Web, peer: IpAddr, headers: &HeaderMap) -> Forwarded {
    let forwarded = web.transport.proxies.forwarded(peer, headers);
    if !forwarded.is_readable {
        web.app.note_unreadable_proxy(forwarded.source);
    }
    forwarded
}

/// Header with a label for the source's instance, so that evidence can distinguish its instances.
const INSTANCE: HeaderName = HeaderName::from_static("crossfade-instance");

/// The source of a request: its address, and the one that allowed networks are compared with.
pub(crate) struct SourceAddress {
    pub(crate) ip: IpAddr,
    /// The address, unless it is that of a declared proxy, which did not say for whom it asks.
    pub(crate) sender: Option<IpAddr>,
}

impl SourceAddress {
    /// Reads the source of a request.
    pub(crate) fn of(web: &Web, peer: IpAddr, headers: &HeaderMap) -> Self {
        let Forwarded { source: ip, is_readable } = forwarded(web, peer, headers);
        Self { ip, sender: Some(ip).filter(|ip| is_readable && !web.transport.proxies.trusts(*ip)) }
    }
}

/// Returns the user agent of a request; empty if it names none.
pub(crate) fn user_agent(headers: &HeaderMap) -> Cow<'_, str> {
    text(headers.get(header::USER_AGENT))
}

/// Returns the label of the source's instance as sent; empty if there is none.
pub(crate) fn instance(headers: &HeaderMap) -> Cow<'_, str> {
    text(headers.get(INSTANCE))
}

fn text(header: Option<&HeaderValue>) -> Cow<'_, str> {
    header.map_or("".into(), |value| String::from_utf8_lossy(value.as_bytes()))
}

/// Returns the other end of the connection. Tests and simulations have none and get an unspecified address.
pub(crate) fn peer(extensions: &Extensions) -> IpAddr {
    let info = extensions.get::<ConnectInfo<SocketAddr>>();
    info.map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_forwarded_header_is_believed_only_from_a_declared_proxy() {
        let none = TrustedProxies::default();
        assert_eq!(none.forwarded(ip("192.0.2.1"), &headers(&["203.0.113.9"])).source, ip("192.0.2.1"));
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert_eq!(proxies.forwarded(ip("192.0.2.1"), &headers(&["203.0.113.9"])).source, ip("192.0.2.1"));
        assert_eq!(proxies.forwarded(ip("10.0.0.1"), &headers(&["203.0.113.9"])).source, ip("203.0.113.9"));
        assert_eq!(
            proxies.forwarded(ip("::ffff:10.0.0.1"), &headers(&["203.0.113.9"])).source,
            ip("203.0.113.9")
        );
    }

    #[test]
    fn what_a_source_writes_into_the_header_itself_is_not_believed() {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let source = |values: &[&str]| proxies.forwarded(ip("10.0.0.1"), &headers(values)).source;
        assert_eq!(
            source(&["1.1.1.1, 203.0.113.9"]),
            ip("203.0.113.9"),
            "the nearest untrusted hop is the source"
        );
        assert_eq!(source(&["1.1.1.1", "203.0.113.9, 10.0.0.2"]), ip("203.0.113.9"));
        assert_eq!(source(&["203.0.113.9, nonsense, 10.0.0.2"]), ip("10.0.0.2"));
        assert_eq!(source(&["nonsense"]), ip("10.0.0.1"));
        let mut bytes = headers(&["198.51.100.1"]);
        bytes.append("x-forwarded-for", axum::http::HeaderValue::from_bytes(b"\xe9, 10.0.0.2").unwrap());
        assert_eq!(
            proxies.forwarded(ip("10.0.0.1"), &bytes).source,
            ip("10.0.0.2"),
            "not what stands to the left of it"
        );
        assert_eq!(source(&[]), ip("10.0.0.1"));
    }

    #[test]
    fn hops_are_read_with_and_without_port_and_brackets() {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (hop, read) in [
            ("203.0.113.8:51008", "203.0.113.8"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[::ffff:203.0.113.8]:1", "203.0.113.8"),
            (" 203.0.113.8 ", "203.0.113.8"),
            ("203.0.113.8:51008, [fd00::2]:80, 10.0.0.2:9", "203.0.113.8"),
        ] {
            let forwarded = proxies.forwarded(ip("10.0.0.1"), &headers(&[hop]));
            assert_eq!(forwarded, Forwarded { source: ip(read), is_readable: true }, "{hop}");
        }
    }

    #[test]
    fn what_a_declared_proxy_sends_and_cannot_be_read_is_told() {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let told = |peer: &str, headers: &HeaderMap| !proxies.forwarded(ip(peer), headers).is_readable;
        for unreadable in ["unknown", "_hidden", "203.0.113.8:99999", "[2001:db8::7", "", "203.0.113.8, ,"] {
            assert!(told("10.0.0.1", &headers(&[unreadable])), "{unreadable}");
        }
        let mut standard = HeaderMap::new();
        standard.insert(header::FORWARDED, "for=203.0.113.8".parse().unwrap());
        assert!(told("10.0.0.1", &standard), "only the header that is not read");
        assert!(!told("192.0.2.1", &standard), "what a stranger sends is nobody's fault");
        standard.insert(FORWARDED_FOR, "203.0.113.8".parse().unwrap());
        assert!(!told("10.0.0.1", &standard));
        assert!(!told("10.0.0.1", &headers(&[])), "a balancer that looks whether we live");
        assert!(
            !told("10.0.0.1", &headers(&["nonsense, 203.0.113.8"])),
            "to the left stands what the source wrote"
        );
    }
}
