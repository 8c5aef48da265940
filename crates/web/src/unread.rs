//! Requests that are refused unread, because of the number of their headers or their host.

use axum::{
    http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use crossfade_core::{Code, Problem};
use std::net::Ipv6Addr;

/// Maximum number of headers in a request. HTTP/1 has the same limit. With HTTP/2, repeating an earlier header costs
/// the sender one byte, and the server a hundred for the duration of the request.
const MOST_HEADERS: usize = 100;

/// Why a request is refused unread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// It has more than 100 headers (RFC 6585 §5).
    TooManyHeaders,
    /// Too many requests of its source, or in total, are running.
    TooManyRunning,
    /// It names no host, several, or what is none (RFC 9112 §3.2; RFC 9113 §8.3.1, where `:authority` is the host).
    Host,
    /// It came over plain HTTP from another machine, so others could have read it.
    PlainHttp,
}

impl Unread {
    /// Finds what is wrong with a request itself.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        if headers.len() > MOST_HEADERS {
            return Some(Self::TooManyHeaders);
        }
        let hosts = headers.get_all(header::HOST).iter().count();
        let is_addressed = match request.version() {
            Version::HTTP_09 | Version::HTTP_10 => hosts <= 1,
            Version::HTTP_2 => hosts <= 1 && (hosts == 1 || request.uri().authority().is_some()),
            _ => hosts == 1,
        };
        let named = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        let addressed = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let is_read = named.chain(addressed).all(is_host);
        (!is_addressed || !is_read).then_some(Self::Host)
    }
}

/// Whether a text is a host with an optional port (RFC 3986 §3.2.2). Empty is what a client sends whose target has no
/// host. A comma is refused: it is what two Host headers become where they are joined.
fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) => {
            let port = if port.is_empty() { Some("") } else { port.strip_prefix(':') };
            return address.parse::<Ipv6Addr>().is_ok() && port.is_some_and(is_port);
        }
        Some(None) => return false,
        None => text.split_once(':').unwrap_or((text, "")),
    };
    is_name(host) && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    let mut parts = text.split('%');
    let is_plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte))
    };
    // Two hexadecimal digits follow each percent sign.
    let is_encoded = |part: &str| {
        let (digits, rest) = part.split_at_checked(2)?;
        Some(digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_plain(rest))
    };
    parts.next().is_none_or(is_plain) && parts.all(|part| is_encoded(part).unwrap_or(false))
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::TooManyHeaders => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "A request must have at most 100 headers.\n")
            }
            Self::TooManyRunning => {
                (StatusCode::SERVICE_UNAVAILABLE, "Too many requests are running. Try again in 1 second.\n")
            }
            Self::Host => (
                StatusCode::BAD_REQUEST,
                "A request must have exactly one Host header, with a host and an optional port.\n",
            ),
            Self::PlainHttp => (
                StatusCode::BAD_REQUEST,
                "Use https. This server answers plain HTTP only from its own machine and from declared proxies. \
                Whatever secret was sent with this request could have been read by others.\n",
            ),
        };
        let mut response =
            (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
        if self == Self::TooManyRunning {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Whether the body of this request is encoded.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// Returns the refusal of an encoded body by the API and the Console.
pub(crate) fn unsupported_encoding() -> Problem {
    Problem::new(Code::UnsupportedEncoding, "Send the body without Content-Encoding. Nothing was changed.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, hosts: usize, others: usize) -> Request<()> {
        let mut request = Request::builder().version(version).uri(uri);
        for _ in 0..hosts {
            request = request.header("host", "auth.example.com");
        }
        for _ in 0..others {
            request = request.header("x-other", "1");
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_request_has_exactly_one_host_rfc9112_3_2() {
        let whole = "http://auth.example.com/";
        for (version, uri, hosts, status) in [
            (Version::HTTP_11, "/", 1, None),
            (Version::HTTP_11, "/", 0, Some(Unread::Host)),
            (Version::HTTP_11, whole, 0, Some(Unread::Host)),
            (Version::HTTP_11, "/", 2, Some(Unread::Host)),
            (Version::HTTP_10, "/", 0, None),
            (Version::HTTP_10, "/", 2, Some(Unread::Host)),
            (Version::HTTP_2, whole, 0, None),
            (Version::HTTP_2, "/", 1, None),
            (Version::HTTP_2, "/", 0, Some(Unread::Host)),
            (Version::HTTP_2, whole, 2, Some(Unread::Host)),
        ] {
            let refused = Unread::of(&request(version, uri, hosts, 0));
            assert_eq!(refused, status, "{version:?} {uri} {hosts}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port_rfc9112_3_2() {
        let of = |version, uri: &str, host: &[u8]| {
            let host = HeaderValue::from_bytes(host).unwrap();
            Unread::of(&Request::builder().version(version).uri(uri).header("host", host).body(()).unwrap())
        };
        let good = [
            "auth.example.com",
            "auth.example.com:8443",
            "127.0.0.1:8080",
            "[::1]:80",
            "[2001:db8::1]",
            "a_b",
            "x:",
            "%61",
            "",
        ];
        let bad = [
            "a b", "a,b", "a, b", "a/b", "a@b", "a:b", "a:80:80", "[::1", "[::1]x", "[a]", "::1", "a?b",
            "a#b", "%6", "\"a\"", "a\tb", "<a>",
        ];
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            for host in good {
                assert_eq!(of(version, "/", host.as_bytes()), None, "{version:?} {host}");
            }
            for host in bad {
                assert_eq!(of(version, "/", host.as_bytes()), Some(Unread::Host), "{version:?} {host}");
            }
            assert_eq!(of(version, "/", "é".as_bytes()), Some(Unread::Host));
        }
        for authority in ["a,b", "user@auth.example.com"] {
            let uri = format!("http://{authority}/");
            let request = Request::builder().version(Version::HTTP_2).uri(uri).body(()).unwrap();
            assert_eq!(Unread::of(&request), Some(Unread::Host), "{authority}");
            let uri = format!("http://{authority}/");
            assert_eq!(of(Version::HTTP_11, &uri, b"auth.example.com"), Some(Unread::Host), "{authority}");
        }
    }

    #[test]
    fn only_a_body_that_is_sent_as_it_is_can_be_read() {
        for (value, encoded) in [
            ("gzip", true),
            ("identity", false),
            ("Identity", false),
            ("identity, br", true),
            ("", false),
            ("x", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            assert_eq!(is_encoded(&headers), encoded, "{value}");
            headers.append(header::CONTENT_ENCODING, "zstd".parse().unwrap());
            assert!(is_encoded(&headers));
        }
        assert!(!is_encoded(&HeaderMap::new()));
    }

    #[test]
    fn a_request_has_at_most_100_headers() {
        let with = |others| Unread::of(&request(Version::HTTP_2, "http://auth.example.com/", 1, others));
        assert_eq!((with(99), with(100)), (None, Some(Unread::TooManyHeaders)));
        assert_eq!(Unread::TooManyHeaders.into_response().status().as_u16(), 431);
    }
}
