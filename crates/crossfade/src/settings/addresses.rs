//! Addresses to listen on, and the URLs under which they are reached.

use crate::{failure::Failure, loopback::is_loopback};
use std::net::SocketAddr;

/// Parses an address to listen on.
pub(super) fn address(name: &str, text: &str) -> Result<SocketAddr, Failure> {
    // Not quoted: it may be a URL with a password.
    text.parse()
        .map_err(|_| Failure::usage(format!("{name} must be an address and a port such as 127.0.0.1:8080.")))
}

/// Puts the address that was bound into a URL that was made of the one in the settings.
pub(super) fn rename(url: &mut String, before: SocketAddr, bound: SocketAddr) {
    if let Some((scheme, rest)) = url.split_once("://")
        && rest == before.to_string()
    {
        *url = format!("{scheme}://{bound}");
    }
}

/// How requests reach the server.
#[derive(Clone, Copy)]
pub(super) struct Reached {
    pub(super) speaks_tls: bool,
    pub(super) behind_proxy: bool,
}

impl Reached {
    /// Returns the base URL of an address: the one given, or that of the address on this machine.
    pub(super) fn url(
        self,
        name: &str,
        given: Option<String>,
        listen: SocketAddr,
    ) -> Result<String, Failure> {
        match given {
            Some(url) => base_url(name, &url, self),
            None if self.speaks_tls && listen.ip().is_loopback() => Ok(format!("https://{listen}")),
            None if !self.speaks_tls && (listen.ip().is_loopback() || self.behind_proxy) => {
                Ok(format!("http://{listen}"))
            }
            None => Err(Failure::usage(format!(
                "{name} must be set when listening beyond loopback. Set it to the https address that callers use."
            ))),
        }
    }
}

/// Returns the base URL in `text`: without path, query or user, and `https` unless nobody else can listen or a proxy is in
/// front.
fn base_url(name: &str, text: &str, reached: Reached) -> Result<String, Failure> {
    // Not quoted: it may hold a password.
    let refused = |what: &str| Failure::usage(format!("{name} {what}."));
    let url = reqwest::Url::parse(text).map_err(|_| refused("is not a URL"))?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !bare {
        return Err(refused("must have no path, query or user"));
    }
    if url.host_str().is_none() {
        return Err(refused("must have a host"));
    }
    match url.scheme() {
        "https" => {}
        "http" if reached.speaks_tls => return Err(refused("must use https, because tls_cert_file is set")),
        "http" if is_loopback(&url) || reached.behind_proxy => {}
        "http" => {
            return Err(refused(
                "must use https, unless the server is on loopback or behind a trusted proxy",
            ));
        }
        _ => return Err(refused("must start with https://")),
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
