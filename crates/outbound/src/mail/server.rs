//! The mail server, as the settings name it. Its password is never shown.

use crossfade_core::api::{self, MailEncryption};
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use percent_encoding::percent_decode_str;
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};
use url::Url;
use zeroize::Zeroizing;

/// How a connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encryption {
    /// Not at all: the server is on this machine.
    None,
    /// From the command STARTTLS on (RFC 3207), or not used.
    StartTls,
    /// From the first byte (RFC 8314).
    Tls,
}

/// Where the password comes from.
#[derive(Clone)]
enum Password {
    Written(Zeroizing<String>),
    /// Read at each connection, so that it can be replaced while serving.
    File(PathBuf),
}

/// The mail server.
#[derive(Clone)]
pub struct MailServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    user: Option<String>,
    password: Option<Password>,
    pub(super) tls: Option<TlsParameters>,
}

/// Without user and password.
impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encryption == Encryption::Tls { "smtps" } else { "smtp" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Port for messages from programs (RFC 6409), and the one with TLS (RFC 8314).
const SUBMISSION: u16 = 587;
const SUBMISSIONS: u16 = 465;

impl MailServer {
    /// Reads a URL: `smtp://` with STARTTLS unless the host is this machine, or `smtps://` with TLS. With
    /// `?tls=required`, STARTTLS is used on this machine, too. Returns what is wrong otherwise, without the text.
    pub fn parse(text: &str, password_file: Option<PathBuf>, ca: Option<&[u8]>) -> Result<Self, String> {
        let must = "must be smtp://HOST:PORT or smtps://HOST:PORT, with USER:PASSWORD@ before the host if the server asks for them";
        let url = Url::parse(text.trim()).map_err(|_| must.to_owned())?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_bare = matches!(url.path(), "" | "/") && url.fragment().is_none();
        let is_host =
            !host.is_empty() && !host.contains(|c: char| c.is_control() || c.is_whitespace() || c == '%');
        if !is_bare || !is_host {
            return Err(must.to_owned());
        }
        let is_here = host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        let encryption = match (url.scheme(), url.query()) {
            ("smtps", None) => Encryption::Tls,
            ("smtp", None) if is_here => Encryption::None,
            ("smtp", None | Some("tls=required")) => Encryption::StartTls,
            (_, Some(_)) => {
                return Err(
                    "must end after the port, or with ?tls=required after smtp://HOST:PORT".to_owned()
                );
            }
            _ => return Err(must.to_owned()),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let user = decoded(url.username()).map_err(|_| must.to_owned())?;
        let written = url.password().map(decoded).transpose().map_err(|_| must.to_owned())?;
        let password = match (written, password_file) {
            (Some(_), Some(_)) => {
                return Err("must not contain a password if smtp_password_file is set".to_owned());
            }
            (Some(written), None) => Some(Password::Written(Zeroizing::new(written))),
            (None, file) => file.map(Password::File),
        };
        if user.is_empty() != password.is_none() {
            return Err("must contain the user of the password, and a user needs a password".to_owned());
        }
        let port = url.port().unwrap_or(if encryption == Encryption::Tls { SUBMISSIONS } else { SUBMISSION });
        let tls = match encryption {
            Encryption::None => None,
            _ => Some(tls(&host, ca)?),
        };
        let user = Some(user).filter(|user| !user.is_empty());
        Ok(Self { host, port, encryption, user, password, tls })
    }

    /// Returns the server as the API shows it, without user and password.
    pub fn shown(&self) -> api::MailServer {
        let encryption = match self.encryption {
            Encryption::None => MailEncryption::None,
            Encryption::StartTls => MailEncryption::Starttls,
            Encryption::Tls => MailEncryption::Tls,
        };
        api::MailServer { host: self.host.clone(), port: self.port, encryption }
    }

    /// Returns the file with the password; `None` if it is in the URL, or there is none.
    pub fn password_file(&self) -> Option<&Path> {
        match &self.password {
            Some(Password::File(path)) => Some(path),
            Some(Password::Written(_)) | None => None,
        }
    }

    /// Returns user and password, read now.
    pub(super) fn credentials(&self) -> Result<Option<(String, Zeroizing<String>)>, String> {
        let (Some(user), Some(password)) = (&self.user, &self.password) else { return Ok(None) };
        let password = match password {
            Password::Written(password) => password.clone(),
            Password::File(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read the password file {shown}: {error}"))?;
                let text = Zeroizing::new(text);
                Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        };
        Ok(Some((user.clone(), password)))
    }
}

/// Returns which certificates are accepted: of the system's authorities, and of the given ones.
fn tls(host: &str, ca: Option<&[u8]>) -> Result<TlsParameters, String> {
    let unusable = |_| "names a host for which no TLS connection can be prepared".to_owned();
    let builder = TlsParameters::builder(host.to_owned());
    let Some(pem) = ca else { return builder.build().map_err(unusable) };
    let no_pem = |_| "needs an outbound_ca_file with certificates in PEM".to_owned();
    let certificate = Certificate::from_pem(pem).map_err(no_pem)?;
    builder.add_root_certificate(certificate).build().map_err(no_pem)
}
