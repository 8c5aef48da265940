//! The connections to one issuer, and one exchange over one of them.

use super::{
    Times,
    answer::{RelayFailure, Relayed},
};
use crate::{connect::Connector, webhook::Destination};
use bytes::{Bytes, BytesMut};
use crossfade_core::RegistrationId;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, Instant, sleep, timeout},
};

/// Maximum size of the head of an answer.
const MAX_HEAD: usize = 32 * 1024;
/// Maximum size of the body of an answer.
const MAX_BODY: usize = 1024 * 1024;
/// Number of names that are looked up for an issuer at the same time.
const MAX_LOOK_UPS: usize = 4;
/// How long a kept connection may take to be ready for the next request.
const READY_WITHIN: Duration = Duration::from_millis(20);
/// Number of kept connections that are tried before a new one is made.
const MAX_KEPT_TRIED: usize = 3;

/// Requests of registered clients that can wait for an issuer, for each one of other clients.
const PASSING_SHARE: usize = 4;

type Sender = SendRequest<Full<Bytes>>;

/// An issuer: scheme, host and port.
pub(super) struct Issuer {
    connector: Connector,
    times: Times,
    idle: Mutex<Vec<(Sender, Instant)>>,
    /// Whether a task closes what is idle for too long.
    is_tidied: AtomicBool,
    /// Permits for requests that wait for an answer.
    in_flight: Arc<Semaphore>,
    /// Permits for requests of clients that nobody has authenticated. They take none of the others.
    pub(super) passing: Arc<Semaphore>,
    max_passing: usize,
    /// How many of them each client has, and how many it can have.
    of_clients: Mutex<HashMap<RegistrationId, usize>>,
    max_of_client: usize,
}

/// A place among the requests that wait for an issuer, until it is dropped.
pub(super) struct Place {
    issuer: Arc<Issuer>,
    client: RegistrationId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_clients = self.issuer.of_clients();
        if let Some(number) = of_clients.get_mut(&self.client) {
            *number -= 1;
            if *number == 0 {
                of_clients.remove(&self.client);
            }
        }
    }
}

impl Issuer {
    pub(super) fn new(connector: &Connector, times: Times, in_flight: usize) -> Self {
        let max_passing = (in_flight / PASSING_SHARE).max(1);
        Self {
            connector: connector.with_own_look_ups(MAX_LOOK_UPS),
            times,
            idle: Mutex::default(),
            is_tidied: AtomicBool::new(false),
            in_flight: Arc::new(Semaphore::new(in_flight)),
            passing: Arc::new(Semaphore::new(max_passing)),
            max_passing,
            of_clients: Mutex::default(),
            max_of_client: in_flight.div_ceil(2),
        }
    }

    /// Returns a place for a request of a client; `None` if there is none. A client can have half of them, so that one whose
    /// requests hang leaves the others theirs.
    pub(super) fn admit(self: &Arc<Self>, client: &RegistrationId) -> Option<Place> {
        let permit = self.in_flight.clone().try_acquire_owned().ok()?;
        let mut of_clients = self.of_clients();
        let number = of_clients.entry(client.clone()).or_default();
        if *number >= self.max_of_client {
            return None;
        }
        *number += 1;
        drop(of_clients);
        Some(Place { issuer: self.clone(), client: client.clone(), _permit: permit })
    }

    fn of_clients(&self) -> MutexGuard<'_, HashMap<RegistrationId, usize>> {
        self.of_clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request waits for an answer.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.of_clients().is_empty() || self.passing.available_permits() < self.max_passing
    }

    /// Whether nothing is open or waits.
    pub(super) fn is_unused(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && self.idle().is_empty()
    }

    /// Sends a request once. Only what failed before its first byte is sent over another connection.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        to: &Destination,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Relayed, RelayFailure> {
        for _ in 0..MAX_KEPT_TRIED {
            let Some(mut sender) = self.kept().await else { break };
            match sender.try_send_request(request).await {
                Ok(response) => return self.read(sender, response).await,
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(RelayFailure::Broken),
                },
            }
        }
        let connecting = timeout(self.times.connect, self.open(to)).await;
        let mut sender = connecting.unwrap_or(Err(RelayFailure::NotReached))?;
        match sender.try_send_request(request).await {
            Ok(response) => self.read(sender, response).await,
            Err(error) if error.message().is_some() => Err(RelayFailure::NotReached),
            Err(_) => Err(RelayFailure::Broken),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a connection outlives the request that opened it")]
    async fn open(&self, to: &Destination) -> Result<Sender, RelayFailure> {
        let not_reached = |_| RelayFailure::NotReached;
        let stream = self.connector.connect(to, self.times.address).await.map_err(not_reached)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| RelayFailure::NotReached)?;
        // It ends with its sender.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Reads an answer, and keeps the connection if the answer was complete.
    async fn read(
        self: &Arc<Self>,
        sender: Sender,
        response: http::Response<Incoming>,
    ) -> Result<Relayed, RelayFailure> {
        let (head, mut body) = response.into_parts();
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| RelayFailure::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + all.len() + data.len() > MAX_BODY {
                return Err(RelayFailure::NotOauth);
            }
            if first.is_empty() && all.is_empty() {
                first = data;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&data);
            }
        }
        self.keep(sender);
        Relayed::new(&head, if all.is_empty() { first } else { all.freeze() })
    }

    /// Returns the connection that was used last and can be used again.
    async fn kept(&self) -> Option<Sender> {
        loop {
            let (mut sender, since) = self.idle().pop()?;
            if since.elapsed() >= self.times.idle || sender.is_closed() {
                continue;
            }
            if sender.is_ready() || matches!(timeout(READY_WITHIN, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "closes connections that no request uses")]
    fn keep(self: &Arc<Self>, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        self.idle().push((sender, Instant::now()));
        if self.is_tidied.swap(true, Ordering::AcqRel) {
            return;
        }
        let (issuer, idle) = (Arc::downgrade(self), self.times.idle);
        tokio::spawn(async move {
            loop {
                sleep(idle).await;
                let Some(issuer) = issuer.upgrade() else { return };
                let mut kept = issuer.idle();
                kept.retain(|(sender, since)| since.elapsed() < idle && !sender.is_closed());
                if kept.is_empty() {
                    issuer.is_tidied.store(false, Ordering::Release);
                    return;
                }
            }
        });
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Sender, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
