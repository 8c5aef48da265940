//! The URL of a webhook.

use super::address::Allowed;
use crossfade_core::webhook::MAX_URL;
use http::Uri;
use std::{fmt, net::IpAddr};
use url::{Host, Url};

/// The URL of a webhook, in its final form. It can itself be a secret, so it is not shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    url: Url,
    /// Path and query, as they are requested.
    pub(crate) target: Uri,
    pub(crate) host: DestinationHost,
    pub(crate) port: u16,
    origin: String,
}

/// Host of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum DestinationHost {
    Name(String),
    Address(IpAddr),
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({})", self.origin())
    }
}

/// What a URL must be.
const MUST: &str =
    "must be a URL such as https://hooks.example.com/crossfade, in ASCII, without user and fragment";

impl Destination {
    /// Reads a URL. Returns what is wrong otherwise, as a predicate.
    pub(crate) fn parse(text: &str, allowed: &Allowed) -> Result<Self, String> {
        let text = text.trim();
        // What a parser for browsers repairs silently is refused, because a person may have read another host in it.
        let is_plain = text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic());
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if !is_plain || text.contains(['\\', '#']) || authority.is_empty() || authority.contains('@') {
            return Err(MUST.to_owned());
        }
        let url = Url::parse(text).map_err(|_| MUST.to_owned())?;
        match scheme.to_ascii_lowercase().as_str() {
            "https" => {}
            "http" if !allowed.0.is_empty() => {}
            "http" => {
                return Err("must start with https://, because this instance allows no private network \
                    (CROSSFADE_OUTBOUND_PRIVATE_NETWORKS)"
                    .to_owned());
            }
            _ => return Err(MUST.to_owned()),
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.trim_matches('.').is_empty() => {
                DestinationHost::Name(name.to_owned())
            }
            Some(Host::Ipv4(address)) => DestinationHost::Address(address.into()),
            Some(Host::Ipv6(address)) => DestinationHost::Address(address.into()),
            _ => return Err(MUST.to_owned()),
        };
        if let DestinationHost::Address(address) = host
            && !allowed.admit(address)
        {
            return Err(
                "must name a public address, or one in a network that CROSSFADE_OUTBOUND_PRIVATE_NETWORKS of the \
                server allows"
                    .to_owned(),
            );
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if !matches!(port, 80 | 443 | 1024..) {
            return Err("must have the port 80 or 443, or one of at least 1024".to_owned());
        }
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let target = target.parse().map_err(|_| MUST.to_owned())?;
        let origin = url.origin().ascii_serialization();
        Ok(Self { url, target, host, port, origin })
    }

    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Returns scheme, host and port, which are no secret.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the host.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns the value of the header Host.
    pub(crate) fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Destination, String> {
        Destination::parse(text, &Allowed::default())
    }

    #[test]
    fn an_address_of_the_inside_is_refused_in_every_spelling() {
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[0:0:0:0:0:ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fe80::1]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://0xa9fea9fe/",
            "https://%31%32%37.0.0.1/",
        ] {
            let refused = parse(url).unwrap_err();
            assert!(refused.contains("public address"), "{url}: {refused}");
        }
    }

    #[test]
    fn a_url_that_can_be_read_in_two_ways_is_refused() {
        for url in [
            "",
            "hooks.example.com",
            "https:hooks.example.com",
            "https:/hooks.example.com/",
            "https:///hooks.example.com/",
            "ftp://hooks.example.com/",
            "file:///etc/passwd",
            "gopher://hooks.example.com/",
            "https://user@hooks.example.com/",
            "https://user:password@hooks.example.com/",
            "https://@hooks.example.com/",
            "https://hooks.example.com\\@evil.example/",
            "https://hooks.example.com/#fragment",
            "https://hooks.example.com/a b",
            "https://hooks.example.com/\r\nX: y",
            "https://hooks.exam\tple.com/",
            "https://127。0。0。1/",
            "https://hooks.example.com/ü",
            "https://[::1",
            "https://[fe80::1%25eth0]/",
            "https://./",
            "https://:443/",
            "https://hooks.example.com:99999/",
            "//hooks.example.com/",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
        assert!(parse(&format!("https://hooks.example.com/{}", "a".repeat(MAX_URL))).is_err());
    }

    #[test]
    fn ports_of_other_services_are_refused() {
        for (port, is_right) in [
            (22, false),
            (25, false),
            (80, true),
            (443, true),
            (587, false),
            (1023, false),
            (1024, true),
            (65_535, true),
            (0, false),
        ] {
            assert_eq!(parse(&format!("https://hooks.example.com:{port}/")).is_ok(), is_right, "{port}");
        }
    }

    #[test]
    fn a_url_without_encryption_needs_an_allowed_network() {
        let refused = parse("http://hooks.example.com/").unwrap_err();
        assert!(refused.contains("must start with https://"), "{refused}");
        let allowed = Allowed(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(Destination::parse("http://10.1.2.3:8080/hook", &allowed).is_ok());
        assert!(Destination::parse("http://127.0.0.1/", &allowed).is_err());
    }

    #[test]
    fn a_url_is_shown_without_its_path_in_logs() {
        let url = parse("https://hooks.example.com/services/T0/canary?key=canary").unwrap();
        assert_eq!(url.origin(), "https://hooks.example.com");
        assert!(!format!("{url:?}").contains("canary"));
        assert_eq!(url.target.to_string(), "/services/T0/canary?key=canary");
        assert_eq!(url.authority(), "hooks.example.com");
        assert_eq!(parse("https://[2606:4700::1]:8443").unwrap().authority(), "[2606:4700::1]:8443");
    }
}
