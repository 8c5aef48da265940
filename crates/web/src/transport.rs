//! How requests reach this server, and which of them are refused because others could have read them.

use crate::{Certificate, Connections, TrustedProxies, Unread, source::peer};
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName},
};
use std::net::IpAddr;

/// What the program that accepts connections shares with the router.
#[derive(Clone, Default)]
pub struct Transport {
    /// Networks whose forwarded headers are accepted.
    pub proxies: TrustedProxies,
    /// Counts of connections.
    pub connections: Connections,
    /// The TLS certificate in use.
    pub certificate: Certificate,
}

/// Stands in the extensions of a request that came over TLS.
#[derive(Clone, Copy, Debug)]
pub struct Encrypted;

/// Header in which a proxy says how the client's request reached it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What can be asked without TLS, because a response contains nothing that is worth reading.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

impl Transport {
    /// Returns the refusal of a request that somebody between its client and this server could have read.
    pub(crate) fn refuses(&self, request: &Request, public_url: &str) -> Option<Unread> {
        let is_encrypted = request.extensions().get::<Encrypted>().is_some();
        let is_exposed =
            self.is_exposed(peer(request.extensions()), is_encrypted, request.headers(), public_url);
        (is_exposed && !HEALTH.contains(&request.uri().path())).then_some(Unread::PlainHttp)
    }

    /// Whether somebody between the client of a request and a server with this URL could have read the request.
    pub(crate) fn is_exposed(
        &self,
        peer: IpAddr,
        is_encrypted: bool,
        headers: &HeaderMap,
        public_url: &str,
    ) -> bool {
        let peer = peer.to_canonical();
        if self.proxies.trusts(peer) {
            return public_url.starts_with("https://") && came_over_http(headers);
        }
        !is_encrypted && !peer.is_loopback()
    }
}

/// Whether a proxy says that the client's own request was not encrypted. In one header, the first of several proxies
/// knows. Of several headers, one may be the client's own, so each counts.
fn came_over_http(headers: &HeaderMap) -> bool {
    let firsts = headers
        .get_all(FORWARDED_PROTO)
        .iter()
        .filter_map(|value| value.as_bytes().split(|byte| *byte == b',').next());
    firsts.map(<[u8]>::trim_ascii).any(|scheme| scheme.eq_ignore_ascii_case(b"http"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, extract::ConnectInfo};
    use std::net::SocketAddr;

    fn request(from: &str, path: &str, proto: Option<&str>, encrypted: bool) -> Request {
        let mut request = Request::builder().uri(path);
        if let Some(proto) = proto {
            request = request.header("x-forwarded-proto", proto);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(from.parse().unwrap(), 1)));
        if encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        request
    }

    fn transport() -> Transport {
        Transport { proxies: TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]), ..Transport::default() }
    }

    #[test]
    fn plain_http_is_refused_from_everywhere_but_this_machine_and_declared_proxies() {
        for (from, encrypted, refused) in [
            ("127.0.0.1", false, false),
            ("127.9.9.9", false, false),
            ("::1", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("10.1.2.3", false, false),
            ("::ffff:10.1.2.3", false, false),
            ("192.0.2.1", false, true),
            ("0.0.0.0", false, true),
            ("fe80::1", false, true),
            ("192.0.2.1", true, false),
        ] {
            for url in ["https://auth.example.com", "http://auth.internal"] {
                let found = transport().refuses(&request(from, "/console", None, encrypted), url);
                assert_eq!(found.is_some(), refused, "{from} {encrypted} {url}");
            }
        }
    }

    #[test]
    fn only_a_declared_proxy_is_believed_about_the_way_before_it() {
        let url = "https://auth.example.com";
        for (from, proto, refused) in [
            ("10.0.0.1", "http", true),
            ("10.0.0.1", "HTTP", true),
            ("10.0.0.1", " http , https", true),
            ("10.0.0.1", "https", false),
            ("10.0.0.1", "https, http", false),
            ("10.0.0.1", "", false),
            ("127.0.0.1", "http", false),
            ("192.0.2.1", "https", true),
        ] {
            let found = transport().refuses(&request(from, "/console", Some(proto), false), url);
            assert_eq!(found.is_some(), refused, "{from} {proto}");
        }
        let plain =
            transport().refuses(&request("10.0.0.1", "/", Some("http"), false), "http://auth.internal");
        assert_eq!(plain, None, "a server whose own address is http");
        let tls = transport().refuses(&request("10.0.0.1", "/", Some("http"), true), url);
        assert_eq!(tls, Some(Unread::PlainHttp), "encrypted only from the proxy to here");
    }

    #[test]
    fn one_of_several_headers_that_says_http_is_believed() {
        for (protos, refused) in
            [(["https", "http"], true), (["http", "https"], true), (["https", "https"], false)]
        {
            let mut request = request("10.0.0.1", "/", None, false);
            for proto in protos {
                request.headers_mut().append("x-forwarded-proto", proto.parse().unwrap());
            }
            let found = transport().refuses(&request, "https://auth.example.com");
            assert_eq!(found.is_some(), refused, "{protos:?}");
        }
    }

    #[test]
    fn health_can_be_asked_without_tls() {
        for (path, refused) in [
            ("/healthz", false),
            ("/readyz", false),
            ("/readyz?x", false),
            ("/metrics", true),
            ("/healthz/", true),
        ] {
            let found = transport().refuses(&request("192.0.2.1", path, None, false), "https://a");
            assert_eq!(found.is_some(), refused, "{path}");
        }
    }
}
