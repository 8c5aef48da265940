//! Deliveries of webhooks: one request to one URL, without redirects, proxies, cookies and kept connections. The address
//! is looked up once for each attempt, and checked before the connection and on it.

pub(crate) mod address;
mod destination;
mod sign;
#[cfg(test)]
mod tests;

pub(crate) use self::destination::DestinationHost;
pub use self::{destination::Destination, sign::SigningSecret};

use self::sign::signatures;
use crate::connect::{ConnectFailure, Connector, Resolve, Stream};
use bytes::Bytes;
use crossfade_core::Timestamp;
use http::{
    Request, Response,
    header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use std::{fmt, pin::pin, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Maximum size of the head of an answer.
const MAX_HEAD: usize = 16 * 1024;
/// Number of bytes of an answer's body that are read. They are not used.
const MAX_READ: usize = 4096;
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

impl From<ConnectFailure> for PostFailure {
    fn from(failure: ConnectFailure) -> Self {
        match failure {
            ConnectFailure::RefusedAddress => Self::RefusedAddress,
            ConnectFailure::Unknown => Self::Unknown,
            ConnectFailure::NotConnected => Self::NotConnected,
            ConnectFailure::Tls(what) => Self::Tls(what),
        }
    }
}

/// Sends deliveries.
pub struct Poster {
    pub(crate) connector: Connector,
    times: Times,
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").field("allowed", self.connector.allowed()).finish_non_exhaustive()
    }
}

impl Default for Poster {
    fn default() -> Self {
        Self { connector: Connector::with(Vec::new(), Vec::new(), MAX_LOOK_UPS), times: TIMES }
    }
}

impl Poster {
    /// Returns a poster that also sends to these networks, and also accepts certificates of these authorities in PEM.
    /// Fails if they are none: `must be …`.
    pub fn new(networks: Vec<IpNet>, authorities: Option<&[u8]>) -> Result<Self, &'static str> {
        Ok(Self { connector: Connector::new(networks, authorities, MAX_LOOK_UPS)?, times: TIMES })
    }

    /// Whether a network contains no public address, so that a setting can allow it.
    pub fn is_private(network: &IpNet) -> bool {
        address::is_private(network)
    }

    /// Sets what looks up host names.
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { connector: self.connector.with_resolver(resolver), ..self }
    }

    /// Reads a URL that deliveries can be sent to. Returns what is wrong otherwise, as a predicate. A host name is looked
    /// up at each attempt, not here.
    pub fn destination(&self, text: &str) -> Result<Destination, String> {
        Destination::parse(text, self.connector.allowed())
    }

    /// Whether deliveries can be sent to addresses that are not public.
    pub fn allows_private_networks(&self) -> bool {
        !self.connector.allowed().0.is_empty()
    }

    /// Sends a delivery once.
    pub async fn post(&self, post: Post<'_>) -> Result<Answer, PostFailure> {
        let sent = timeout(self.times.whole, self.attempt(post)).await;
        sent.unwrap_or(Err(PostFailure::Late))
    }

    async fn attempt(&self, post: Post<'_>) -> Result<Answer, PostFailure> {
        let connecting = self.connector.connect(post.to, self.times.address);
        let stream = timeout(self.times.connect, connecting).await.map_err(|_| PostFailure::Late)??;
        self.exchange(stream, post).await
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
