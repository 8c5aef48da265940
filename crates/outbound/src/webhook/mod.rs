//! Deliveries of webhooks: one request to one URL, without redirects, proxies, cookies and kept connections. The address
//! is looked up once for each attempt, and checked before the connection and on it.

mod address;
mod destination;
mod sign;
#[cfg(test)]
mod tests;

pub use self::{destination::Destination, sign::SigningSecret};

use self::{address::Allowed, destination::DestinationHost, sign::signatures};
use bytes::Bytes;
use crossfade_core::Timestamp;
use futures_util::future::BoxFuture;
use http::{
    Request, Response,
    header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    pin::pin,
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

/// Maximum size of the head of an answer.
const MAX_HEAD: usize = 16 * 1024;
/// Number of bytes of an answer's body that are read. They are not used.
const MAX_READ: usize = 4096;
/// Number of addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;

/// Number of host names that are looked up at the same time. Far more than the webhooks of one property can hold: 4 lanes with
/// 2 attempts each, which end after 5 seconds, while a look-up can go on for about 30. Half of the threads that there are.
const MAX_LOOK_UPS: usize = 256;

/// How long an attempt can take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Looking up the host and connecting, with TLS.
    connect: Duration,
    /// Connecting to one of several addresses.
    address: Duration,
    /// The rest of the answer, after its head.
    rest: Duration,
    /// The whole attempt.
    whole: Duration,
}

const TIMES: Times = Times {
    connect: Duration::from_secs(5),
    address: Duration::from_millis(2500),
    rest: Duration::from_secs(2),
    whole: Duration::from_secs(15),
};

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

/// One delivery.
#[derive(Debug)]
pub struct Post<'a> {
    /// ID, the same in each attempt.
    pub id: &'a str,
    /// Where it is sent.
    pub to: &'a Destination,
    /// Time of the attempt.
    pub at: Timestamp,
    /// JSON.
    pub body: Vec<u8>,
    /// Secrets that sign it.
    pub secrets: &'a [SigningSecret],
}

/// Answer of a receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// How long the receiver asks to wait.
    pub retry_after: Option<Duration>,
}

/// Why a delivery got no answer. Nothing here tells more about a network than that an address is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PostFailure {
    /// The host has no address that webhooks are sent to.
    RefusedAddress,
    /// The host has no address.
    Unknown,
    /// No connection could be made.
    NotConnected,
    /// The connection could not be encrypted.
    Tls(String),
    /// There was no answer in time.
    Late,
    /// The connection ended, or the answer is not HTTP.
    Broken,
}

impl fmt::Display for PostFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // One text, so that the log tells nobody which names of an inner network exist.
            Self::RefusedAddress | Self::Unknown => "refused address",
            Self::NotConnected => "cannot connect",
            Self::Tls(what) => return write!(f, "TLS failed: {what}"),
            Self::Late => "no answer in time",
            Self::Broken => "the connection ended, or the answer is not valid HTTP",
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Sends deliveries.
pub struct Poster {
    allowed: Allowed,
    resolver: Arc<dyn Resolve>,
    authorities: Vec<CertificateDer<'static>>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    times: Times,
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Default for Poster {
    fn default() -> Self {
        Self::with(Vec::new(), Vec::new())
    }
}

impl Poster {
    /// Returns a poster that also sends to these networks, and also accepts certificates of these authorities in PEM.
    /// Fails if they are none: `must be …`.
    pub fn new(networks: Vec<IpNet>, authorities: Option<&[u8]>) -> Result<Self, &'static str> {
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
        Ok(Self::with(networks, read))
    }

    /// Whether a network contains no public address, so that a setting can allow it.
    pub fn is_private(network: &IpNet) -> bool {
        address::is_private(network)
    }

    fn with(networks: Vec<IpNet>, authorities: Vec<CertificateDer<'static>>) -> Self {
        let look_ups = Arc::new(Semaphore::new(MAX_LOOK_UPS));
        let (resolver, tls) = (Arc::new(SystemResolver(look_ups)), OnceLock::new());
        Self { allowed: Allowed(networks), resolver, authorities, tls, times: TIMES }
    }

    /// Sets what looks up host names.
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// Reads a URL that deliveries can be sent to. Returns what is wrong otherwise, as a predicate. A host name is looked
    /// up at each attempt, not here.
    pub fn destination(&self, text: &str) -> Result<Destination, String> {
        Destination::parse(text, &self.allowed)
    }

    /// Whether deliveries can be sent to addresses that are not public.
    pub fn allows_private_networks(&self) -> bool {
        !self.allowed.0.is_empty()
    }

    /// Sends a delivery once.
    pub async fn post(&self, post: Post<'_>) -> Result<Answer, PostFailure> {
        let sent = timeout(self.times.whole, self.attempt(post)).await;
        sent.unwrap_or(Err(PostFailure::Late))
    }

    async fn attempt(&self, post: Post<'_>) -> Result<Answer, PostFailure> {
        let connected = timeout(self.times.connect, self.connect(post.to)).await;
        let stream = connected.unwrap_or(Err(PostFailure::Late))?;
        self.exchange(stream, post).await
    }

    /// Connects to one of the addresses of a destination that are allowed.
    async fn connect(&self, to: &Destination) -> Result<Box<dyn Stream>, PostFailure> {
        let addresses = match &to.host {
            DestinationHost::Address(address) => vec![*address],
            DestinationHost::Name(name) => {
                self.resolver.resolve(name).await.map_err(|_| PostFailure::Unknown)?
            }
        };
        if addresses.is_empty() {
            return Err(PostFailure::Unknown);
        }
        // Without encryption, only to a network that the settings name.
        let is_allowed = |address: IpAddr| match to.is_encrypted() {
            true => self.allowed.admit(address) && (self.allowed.contain(address) || !is_own(address)),
            false => self.allowed.contain(address),
        };
        let mut failure = PostFailure::RefusedAddress;
        for address in addresses.into_iter().filter(|address| is_allowed(*address)).take(MAX_ADDRESSES) {
            failure = PostFailure::NotConnected;
            let connected = TcpStream::connect(SocketAddr::new(address, to.port));
            let Ok(Ok(stream)) = timeout(self.times.address, connected).await else { continue };
            // The address that answers, whatever was asked for.
            if !stream.peer_addr().is_ok_and(|peer| is_allowed(peer.ip())) {
                return Err(PostFailure::RefusedAddress);
            }
            let _ = stream.set_nodelay(true);
            if !to.is_encrypted() {
                return Ok(Box::new(stream));
            }
            return self.encrypt(to, stream).await;
        }
        Err(failure)
    }

    async fn encrypt(&self, to: &Destination, stream: TcpStream) -> Result<Box<dyn Stream>, PostFailure> {
        let config = self.tls.get_or_init(|| tls(&self.authorities)).clone().map_err(PostFailure::Tls)?;
        let name = match &to.host {
            DestinationHost::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| PostFailure::Tls("the host name cannot be in a certificate".to_owned()))?,
            DestinationHost::Address(address) => ServerName::from(*address),
        };
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(PostFailure::Tls(describe(&error))),
        }
    }

    /// Sends the request and reads the answer.
    async fn exchange(&self, stream: Box<dyn Stream>, post: Post<'_>) -> Result<Answer, PostFailure> {
        let timestamp = post.at.as_seconds();
        let signature = signatures(post.secrets, post.id, timestamp, &post.body);
        let request = Request::post(post.to.target.clone())
            .header(HOST, post.to.authority())
            .header(USER_AGENT, concat!("Crossfade/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .header("webhook-id", post.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(post.body)))
            .map_err(|_| PostFailure::Broken)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|_| PostFailure::Broken)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|_| PostFailure::Broken)?;
            let answer = Answer { status: response.status().as_u16(), retry_after: retry_after(&response) };
            // A receiver can finish its answer. An endless one is cut off.
            let _ = timeout(self.times.rest, read_some(response.into_body())).await;
            Ok(answer)
        };
        let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // What the connection has read is still there.
            _ = &mut connection => exchange.await,
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

/// Reads an answer's body up to its limit.
async fn read_some(mut body: Incoming) {
    let mut read = 0;
    while read < MAX_READ {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(1, Bytes::len),
            _ => return,
        }
    }
}

/// Returns how long the receiver asks to wait, in seconds (RFC 9110 §10.2.3). A date is not read.
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
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
