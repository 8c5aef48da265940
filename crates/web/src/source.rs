//! Where a request comes from. A forwarded header is believed only from a declared proxy.

use crate::Web;
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use ipnet::IpNet;
use std::{
    borrow::Cow,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// The networks whose forwarded headers are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Whether an address is a declared proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the caller: of the connection, or, as long as the nearer one is a declared proxy, the
    /// one that it says it forwards for. Read from the right, because only that end is written by ourselves.
    pub(crate) fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut caller = peer.to_canonical();
        if !self.trusts(caller) {
            return caller;
        }
        let forwarded = headers.get_all("x-forwarded-for").iter().rev();
        // Bytes, because what is no text must end the walk like any other hop that cannot be read, and not be
        // left out: to its left stands what the caller itself has written.
        let hops = forwarded.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            match std::str::from_utf8(hop).ok().and_then(|hop| hop.trim().parse::<IpAddr>().ok()) {
                Some(address) => caller = address.to_canonical(),
                None => break,
            }
            if !self.trusts(caller) {
                break;
            }
        }
        caller
    }
}

/// In which a caller may say which of its instances it is, so that evidence tells them apart.
const INSTANCE: HeaderName = HeaderName::from_static("crossfade-instance");

/// The source of a request: address, user agent, and the label of the instance.
pub(crate) struct Source {
    pub(crate) ip: IpAddr,
    user_agent: Option<HeaderValue>,
    instance: Option<HeaderValue>,
}

impl Source {
    pub(crate) fn user_agent(&self) -> Cow<'_, str> {
        text(self.user_agent.as_ref())
    }

    /// The label, as it was sent.
    pub(crate) fn instance(&self) -> Cow<'_, str> {
        text(self.instance.as_ref())
    }
}

fn text(header: Option<&HeaderValue>) -> Cow<'_, str> {
    header.map_or("".into(), |value| String::from_utf8_lossy(value.as_bytes()))
}

impl FromRequestParts<Web> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Infallible> {
        let ip = web.proxies.caller(peer(&parts.extensions), &parts.headers);
        let of = |name: HeaderName| parts.headers.get(name).cloned();
        Ok(Self { ip, user_agent: of(header::USER_AGENT), instance: of(INSTANCE) })
    }
}

/// The other end of the connection. Without one there is a test or a simulation, which calls from nowhere.
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
        assert_eq!(none.caller(ip("192.0.2.1"), &headers(&["203.0.113.9"])), ip("192.0.2.1"));
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert_eq!(proxies.caller(ip("192.0.2.1"), &headers(&["203.0.113.9"])), ip("192.0.2.1"));
        assert_eq!(proxies.caller(ip("10.0.0.1"), &headers(&["203.0.113.9"])), ip("203.0.113.9"));
        assert_eq!(proxies.caller(ip("::ffff:10.0.0.1"), &headers(&["203.0.113.9"])), ip("203.0.113.9"));
    }

    #[test]
    fn what_a_caller_writes_into_the_header_itself_is_not_believed() {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let caller = |values: &[&str]| proxies.caller(ip("10.0.0.1"), &headers(values));
        assert_eq!(
            caller(&["1.1.1.1, 203.0.113.9"]),
            ip("203.0.113.9"),
            "the nearest untrusted hop is the caller"
        );
        assert_eq!(caller(&["1.1.1.1", "203.0.113.9, 10.0.0.2"]), ip("203.0.113.9"));
        assert_eq!(caller(&["203.0.113.9, nonsense, 10.0.0.2"]), ip("10.0.0.2"));
        assert_eq!(caller(&["nonsense"]), ip("10.0.0.1"));
        let mut bytes = headers(&["198.51.100.1"]);
        bytes.append("x-forwarded-for", axum::http::HeaderValue::from_bytes(b"\xe9, 10.0.0.2").unwrap());
        assert_eq!(
            proxies.caller(ip("10.0.0.1"), &bytes),
            ip("10.0.0.2"),
            "not what stands to the left of it"
        );
        assert_eq!(caller(&[]), ip("10.0.0.1"));
    }
}
