//! Connections to hosts that a setting or a person names: one look-up, addresses that are checked before the connection and
//! on it, and TLS.

use crate::webhook::{Destination, DestinationHost, address::Allowed};
use futures_util::future::BoxFuture;
use ipnet::IpNet;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Number of addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;

/// Looks up the addresses of host names.
pub trait Resolve: Send + Sync {
    /// Returns the addresses of a host name.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the system. A look-up blocks a thread, also after its attempt has ended, so their number is bounded.
struct SystemResolver(Arc<Semaphore>);

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let host = host.to_owned();
            let look_up =
                move || (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|it| it.ip()).collect());
            blocking(&self.0, look_up).await
        })
    }
}

/// Runs a look-up on a thread of its own, which keeps its permit until the look-up ends, however long anybody waits.
async fn blocking<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    look_up: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let run = move || {
        let _permit = permit;
        look_up()
    };
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
}

/// Why there is no connection. Nothing here tells more about a network than that an address is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ConnectFailure {
    /// The host has no address that connections are made to.
    RefusedAddress,
    /// The host has no address.
    Unknown,
    /// No address accepts connections.
    NotConnected,
    /// The connection could not be encrypted.
    Tls(String),
}

/// An open connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Which addresses and certificates are accepted.
struct Rules {
    allowed: Allowed,
    authorities: Vec<CertificateDer<'static>>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    rules: Arc<Rules>,
    /// What looks up host names; `None`: the resolver of the system.
    given: Option<Arc<dyn Resolve>>,
    resolver: Arc<dyn Resolve>,
}

impl Connector {
    /// Returns a connector that also connects to these networks, also accepts certificates of these authorities in PEM,
    /// and makes at most `look_ups` look-ups at the same time. Fails if the authorities are none: `must be …`.
    pub(crate) fn new(
        networks: Vec<IpNet>,
        authorities: Option<&[u8]>,
        look_ups: usize,
    ) -> Result<Self, &'static str> {
        let must = "must contain certificates in PEM";
        let read =
            CertificateDer::pem_slice_iter(authorities.unwrap_or_default()).collect::<Result<Vec<_>, _>>();
        let read = read.map_err(|_| must)?;
        let mut roots = RootCertStore::empty();
        if read.iter().any(|authority| roots.add(authority.clone()).is_err()) {
            return Err(must);
        }
        if authorities.is_some() && read.is_empty() {
            return Err(must);
        }
        Ok(Self::with(networks, read, look_ups))
    }

    /// Returns a connector with these networks and authorities.
    pub(crate) fn with(
        networks: Vec<IpNet>,
        authorities: Vec<CertificateDer<'static>>,
        look_ups: usize,
    ) -> Self {
        let rules = Rules { allowed: Allowed(networks), authorities, tls: OnceLock::new() };
        Self { rules: Arc::new(rules), given: None, resolver: system(look_ups) }
    }

    /// Returns a connector with the same rules whose look-ups wait for no others.
    pub(crate) fn with_own_look_ups(&self, look_ups: usize) -> Self {
        let resolver = self.given.clone().unwrap_or_else(|| system(look_ups));
        Self { rules: self.rules.clone(), given: self.given.clone(), resolver }
    }

    /// Sets what looks up host names.
    pub(crate) fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { given: Some(resolver.clone()), resolver, ..self }
    }

    /// Returns the networks that are allowed although they are not public.
    pub(crate) fn allowed(&self) -> &Allowed {
        &self.rules.allowed
    }

    /// Connects to one of the addresses of a destination that are allowed. Waits at most `each` for one of several.
    pub(crate) async fn connect(
        &self,
        to: &Destination,
        each: Duration,
    ) -> Result<Box<dyn Stream>, ConnectFailure> {
        let addresses = match &to.host {
            DestinationHost::Address(address) => vec![*address],
            DestinationHost::Name(name) => {
                self.resolver.resolve(name).await.map_err(|_| ConnectFailure::Unknown)?
            }
        };
        if addresses.is_empty() {
            return Err(ConnectFailure::Unknown);
        }
        // Without encryption, only to a network that the settings name.
        let is_allowed = |address: IpAddr| match to.is_encrypted() {
            true => self.allowed().admit(address) && (self.allowed().contain(address) || !is_own(address)),
            false => self.allowed().contain(address),
        };
        let mut failure = ConnectFailure::RefusedAddress;
        for address in addresses.into_iter().filter(|address| is_allowed(*address)).take(MAX_ADDRESSES) {
            failure = ConnectFailure::NotConnected;
            let connected = TcpStream::connect(SocketAddr::new(address, to.port));
            let Ok(Ok(stream)) = timeout(each, connected).await else { continue };
            // The address that answers, whatever was asked for.
            if !stream.peer_addr().is_ok_and(|peer| is_allowed(peer.ip())) {
                return Err(ConnectFailure::RefusedAddress);
            }
            let _ = stream.set_nodelay(true);
            if !to.is_encrypted() {
                return Ok(Box::new(stream));
            }
            return self.encrypt(to, stream).await;
        }
        Err(failure)
    }

    async fn encrypt(&self, to: &Destination, stream: TcpStream) -> Result<Box<dyn Stream>, ConnectFailure> {
        let config = self.rules.tls.get_or_init(|| tls(&self.rules.authorities)).clone();
        let config = config.map_err(ConnectFailure::Tls)?;
        let name = match &to.host {
            DestinationHost::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| ConnectFailure::Tls("the host name cannot be in a certificate".to_owned()))?,
            DestinationHost::Address(address) => ServerName::from(*address),
        };
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(ConnectFailure::Tls(describe(&error))),
        }
    }
}

/// Whether an address, also a public one, is of this machine, on which ports can be open that its firewall closes to others. Asks
/// the system which address it would send from, and sends nothing.
fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let from = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let route = || -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect((address, 443))?;
        socket.local_addr()
    };
    route().is_ok_and(|local| local.ip() == address)
}

/// Returns the resolver of the system with this number of simultaneous look-ups.
fn system(look_ups: usize) -> Arc<dyn Resolve> {
    Arc::new(SystemResolver(Arc::new(Semaphore::new(look_ups))))
}

/// Returns which certificates are accepted: of the system's authorities, and of the given ones.
fn tls(authorities: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let none = |_| "there are no certificate authorities".to_owned();
    let verifier = Verifier::new_with_extra_roots(authorities.to_vec(), provider.clone()).map_err(none)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(none)?
        // The verifier of rustls, with the roots of the system.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Returns what failed in a handshake, without anything that the other side wrote.
fn describe(error: &io::Error) -> String {
    let failure = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match failure {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "the certificate is of an unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        )) => "the certificate is for another host".to_owned(),
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        )) => "the certificate has expired".to_owned(),
        Some(rustls::Error::InvalidCertificate(_)) => "the certificate is not valid".to_owned(),
        _ => "the receiver does not speak TLS 1.2 or 1.3".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_up_that_nobody_waits_for_keeps_its_place() {
        let permits = Arc::new(Semaphore::new(1));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let slow = blocking(&permits, move || held.recv().map_err(io::Error::other));
        assert!(timeout(Duration::from_millis(50), slow).await.is_err(), "its attempt has ended");
        let second = timeout(Duration::from_millis(50), blocking(&permits, || Ok(()))).await;
        assert!(second.is_err(), "no second thread while the first is busy");
        release.send(()).unwrap();
        timeout(Duration::from_secs(10), blocking(&permits, || Ok(()))).await.unwrap().unwrap();
    }

    #[test]
    fn addresses_of_the_machine_itself_are_known() {
        for own in ["127.0.0.1", "::ffff:127.0.0.1"] {
            assert!(is_own(own.parse().unwrap()), "{own}");
        }
        for other in ["8.8.8.8", "2606:4700:4700::1111", "192.0.2.1"] {
            assert!(!is_own(other.parse().unwrap()), "{other}");
        }
    }
}
