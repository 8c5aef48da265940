//! TLS: the handshake, and a certificate that is replaced while connections are open.
//!
//! The files are examined every 10 seconds and at the signal HUP, by content. What cannot be used is logged, and the
//! certificate in use stays in use.

mod pair;

pub(crate) use pair::{Files, to_the_second};

use crate::failure::Failure;
use crossfade_authority::Clock;
use crossfade_core::Timestamp;
use crossfade_web::Certificate;
use pair::Content;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Interval for examining the files.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Interval for logging a problem that lasts.
const TELL_EVERY: Duration = Duration::from_secs(3600);
/// How long before its end a certificate is reported.
pub(crate) const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// Maximum number of TLS sessions that can be resumed.
const SESSIONS: usize = 256;
/// Response to HTTP without TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: 50\r\n\r\n\
    This port speaks TLS. Use an address with https://";

/// The certificate in use, and what is known of its files.
pub(crate) struct Tls {
    files: Files,
    clock: Clock,
    acceptor: TlsAcceptor,
    in_use: Arc<InUse>,
    sessions: Arc<Sessions>,
    /// Wakes the task that examines the files.
    asked: Notify,
    looked: Mutex<Looked>,
    shown: Certificate,
}

/// The certificate for new connections.
#[derive(Debug)]
struct InUse(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The sessions that can be resumed. They end with their certificate, because a client that resumes a session never sees
/// the new one.
#[derive(Debug)]
struct Sessions(RwLock<Arc<dyn StoresServerSessions>>);

impl Sessions {
    fn new() -> Self {
        Self(RwLock::new(ServerSessionMemoryCache::new(SESSIONS)))
    }

    fn end(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ServerSessionMemoryCache::new(SESSIONS);
    }

    fn now(&self) -> Arc<dyn StoresServerSessions> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.now().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.now().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.now().take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// What was found when the files were last examined.
struct Looked {
    /// Content when it was last parsed; `None` if it could not be read.
    content: Option<Content>,
    /// End of the certificate in use.
    not_after: Timestamp,
    /// Why the files cannot be used.
    problem: Option<String>,
    told_at: Option<Instant>,
}

impl Tls {
    /// Reads the files for the first time. A certificate that has expired is used, because there is no other.
    pub(crate) fn open(files: Files, clock: Clock, shown: Certificate) -> Result<Self, Failure> {
        let opened = files.read().and_then(|content| Ok((files.parse(&content)?, content)));
        let (pair, content) = opened.map_err(Failure::failed)?;
        let in_use = Arc::new(InUse(RwLock::new(pair.certified.clone())));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| Failure::failed(format!("Cannot start TLS: {error}.")))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(in_use.clone());
        // All ciphers are good; the order is for scanners, which ask for one.
        config.ignore_client_order = true;
        let sessions = Arc::new(Sessions::new());
        config.session_storage = sessions.clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        shown.in_use_until(pair.not_after);
        let looked =
            Looked { content: Some(content), not_after: pair.not_after, problem: None, told_at: None };
        Ok(Self {
            files,
            clock,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            in_use,
            sessions,
            asked: Notify::new(),
            looked: Mutex::new(looked),
            shown,
        })
    }

    /// Examines the files in a loop. If their content is new and can be used, new connections use it.
    pub(crate) async fn watch(&self) -> Infallible {
        loop {
            let files = self.files.clone();
            if let Some(read) = aside(move || files.read()).await {
                self.look_at(read, self.clock.now(), Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.asked.notified() => {}
            }
        }
    }

    /// Has the files examined now.
    pub(crate) fn look(&self) {
        self.asked.notify_one();
    }

    fn look_at(&self, read: Result<Content, String>, now: Timestamp, instant: Instant) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        // A certificate that is not valid yet is parsed again, until it is.
        let is_new = read.as_ref().ok() != looked.content.as_ref();
        if is_new || looked.problem.is_some() {
            let parsed = read.as_ref().map_err(Clone::clone).and_then(|content| self.files.parse(content));
            let usable = parsed.and_then(|pair| match pair.unusable(now) {
                None => Ok(pair),
                Some(why) => Err(format!("The certificate in {} {why}.", self.files.certificate.display())),
            });
            looked.content = read.ok();
            let problem = match usable {
                Ok(pair) => {
                    tracing::info!(not_after = to_the_second(pair.not_after), "using a new TLS certificate");
                    *self.in_use.0.write().unwrap_or_else(PoisonError::into_inner) = pair.certified.clone();
                    self.sessions.end();
                    self.shown.in_use_until(pair.not_after);
                    looked.not_after = pair.not_after;
                    None
                }
                Err(problem) => Some(problem),
            };
            self.shown.refused(problem.is_some());
            if problem != looked.problem {
                (looked.problem, looked.told_at) = (problem, None);
            }
        }
        if looked.told_at.is_none_or(|at| instant >= at + TELL_EVERY) && tell(&looked, now) {
            looked.told_at = Some(instant);
        }
    }

    /// Performs the handshake. A client that speaks HTTP without TLS is told so.
    pub(crate) async fn accept(&self, mut stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        // A handshake begins with the byte 22 (RFC 8446 §5.1).
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            stream.write_all(PLAIN_HTTP).await?;
            stream.shutdown().await?;
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let accepted = self.acceptor.accept(stream).await;
        if accepted.is_err() {
            self.shown.handshake_failed();
        }
        accepted
    }
}

/// Runs work that may block for ever, such as reading a file of a mount that hangs. It is not waited for at a stop, unlike
/// a blocking task of the runtime. Returns `None` if the work panicked.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || drop(sender.send(work())));
    receiver.await.ok()
}

/// Logs what somebody must mend soon. Returns whether there is something.
fn tell(looked: &Looked, now: Timestamp) -> bool {
    let not_after = looked.not_after;
    let until = to_the_second(not_after);
    if let Some(problem) = &looked.problem {
        tracing::error!(in_use_until = until, "{problem} The earlier TLS certificate stays in use.");
    }
    if now >= not_after {
        tracing::error!(not_after = until, "the TLS certificate in use has expired");
    } else if now >= not_after.before(SOON) {
        tracing::warn!(not_after = until, "the TLS certificate in use expires soon");
    }
    looked.problem.is_some() || now >= not_after.before(SOON)
}

#[cfg(test)]
mod tests;
