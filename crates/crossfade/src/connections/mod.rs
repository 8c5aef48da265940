//! The connections of the server: accepted within limits, served, and ended if they wait for too long.
//!
//! accept → [handshake] → serve. `book` has the limits, `life` decides when a connection has waited for too long, `io`
//! and `answer` record the traffic, `descriptors` raises the limit of open files.

mod answer;
mod book;
mod descriptors;
mod io;
mod life;

use crate::{failure::Failure, tls::Tls};
use answer::Requests;
pub(crate) use book::Bounds;
use book::{Book, Place};
use crossfade_web::{Connections, Door, Ended, TrustedProxies};
use futures_util::FutureExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use io::{Carrier, Io};
use life::{Limits, Order, Verdict};
use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::{JoinSet, unconstrained},
    time::{Instant, sleep, sleep_until, timeout},
};

/// Timeout for running requests at a stop, unless a longer one is given.
const GRACE: Duration = Duration::from_secs(10);
/// Timeout for a client to send its headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Timeout for a client that reads nothing of a response.
const PROGRESS_WITHIN: Duration = Duration::from_secs(30);
/// Timeout for a client to disconnect after it was told that no further requests are answered.
const FAREWELL: Duration = Duration::from_secs(2);
/// Maximum number of running requests of one HTTP/2 connection.
const STREAMS: u32 = 128;
/// Maximum number of header bytes.
const HEADER_BYTES: usize = 32 * 1024;
/// Maximum number of bytes per stream in HTTP/2's own buffer.
const STREAM_BYTES: usize = 64 * 1024;
/// Maximum number of bytes of all bodies of a connection sent before they are read.
const WINDOW_BYTES: u32 = 256 * 1024;
/// Maximum number of streams that a client can reset before they are accepted, and that can be reset for its faults.
const RESETS: usize = 64;
/// Maximum number of response bytes that the kernel buffers for one connection.
const SOCKET_BYTES: usize = 128 * 1024;
/// Length of the queue of connections waiting to be accepted, so that a flood does not displace others.
const BACKLOG: i32 = 1024;
/// Maximum number of connections that are ending in addition to the limit.
const ENDING: usize = 64;
/// Pause after the system has refused to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Interval for logging refusals and failed accepts.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Settings for connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Maximum number of connections; `None` for what the limit of open files allows.
    pub(crate) most: Option<u32>,
    /// Maximum number of connections per source; `None` for a quarter of the total.
    pub(crate) most_per_source: Option<u32>,
    /// How long a kept connection can be idle.
    pub(crate) idle: Duration,
}

impl Policy {
    /// Raises the limit of open files, and returns how many connections the addresses of the server can have: of
    /// several, the last one has an eighth, in total and per source, so that a flood of one does not close the other.
    pub(crate) fn bounds<const ADDRESSES: usize>(&self) -> Result<[Bounds; ADDRESSES], Failure> {
        let limit = descriptors::raise();
        let all = descriptors::connections(self.most, limit)?;
        let bounds = self.shares(all);
        for Bounds { all, per_source } in bounds {
            tracing::info!(descriptors = limit, connections = all, per_source, "connection limits");
        }
        Ok(bounds)
    }

    /// Shares this number of connections among addresses.
    fn shares<const ADDRESSES: usize>(&self, all: usize) -> [Bounds; ADDRESSES] {
        let of_last = |total: usize| if ADDRESSES > 1 { (total / 8).max(1) } else { total };
        let share = |total: usize, address: usize| match address + 1 == ADDRESSES {
            true => of_last(total),
            false => (total - of_last(total)).max(1),
        };
        std::array::from_fn(|address| {
            let all = share(all, address);
            let most = self.most_per_source.map(|most| share(most as usize, address).min(all));
            Bounds { all, per_source: most.unwrap_or((all / 4).max(1)) }
        })
    }
}

/// How the connections of every address of a server are served.
pub(crate) struct How {
    /// How long a kept connection can be idle.
    pub(crate) idle: Duration,
    /// Networks whose forwarded headers are accepted.
    pub(crate) proxies: TrustedProxies,
    /// Counts of connections.
    pub(crate) counts: Connections,
    /// TLS, if it is spoken.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// The listener and the task that accepts connections from it.
pub(crate) struct Serving {
    stop: oneshot::Sender<Duration>,
    task: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// Starts to accept and serve the connections of an address whose base is `url`.
    pub(crate) fn start(
        listener: std::net::TcpListener,
        door: Door,
        url: &str,
        bounds: Bounds,
        how: &How,
    ) -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::failed(format!("Cannot start the server: {error}."));
        prepare(&listener).map_err(|error| failed(&error))?;
        let listener = TcpListener::from_std(listener).map_err(|error| failed(&error))?;
        how.counts.allow(bounds.all);
        let server = Arc::new(Server {
            book: Arc::new(Book::new(bounds, how.proxies.clone(), how.counts.clone())),
            door,
            headers: crossfade_web::headers_of_unreadable_requests(url).into(),
            tls: how.tls.clone(),
            http: http(),
            limits: Limits {
                headers: HEADERS_WITHIN,
                idle: how.idle,
                stalled: PROGRESS_WITHIN,
                farewell: FAREWELL,
            },
        });
        let (stop, stopped) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "the server is main's one long task")]
        let task = tokio::spawn(server.run(listener, bounds.all, stopped));
        Ok(Self { stop, task })
    }

    /// Closes the listener, lets running requests finish for at least this time, and ends the remaining connections.
    pub(crate) async fn stop(self, at_least: Duration) -> Result<(), Failure> {
        // It fails only if the task has ended.
        let _ = self.stop.send(at_least.max(GRACE));
        self.task.await.map_err(|error| Failure::failed(format!("The server failed: {error}.")))
    }
}

/// Sets options that accepted sockets inherit.
fn prepare(listener: &std::net::TcpListener) -> std::io::Result<()> {
    use rustix::net::{listen, sockopt};
    sockopt::set_socket_send_buffer_size(listener, SOCKET_BYTES)?;
    listen(listener, BACKLOG)?;
    listener.set_nonblocking(true)
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The time for headers is kept by `life`: hyper's would also run while a kept connection is idle.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES as u32)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(STREAM_BYTES)
        .initial_stream_window_size(STREAM_BYTES as u32)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .keep_alive_interval(Some(HEADERS_WITHIN))
        .keep_alive_timeout(HEADERS_WITHIN);
    builder
}

struct Server {
    book: Arc<Book>,
    door: Door,
    /// Header lines of responses to unreadable input.
    headers: Arc<str>,
    tls: Option<Arc<Tls>>,
    http: Builder<TokioExecutor>,
    limits: Limits,
}

impl Server {
    async fn run(self: Arc<Self>, listener: TcpListener, all: usize, mut stop: oneshot::Receiver<Duration>) {
        let room = Arc::new(Semaphore::new(all + ENDING.min(all)));
        let mut connections = JoinSet::new();
        let (mut refusals, mut failures) = (Seldom::default(), Seldom::default());
        let grace = loop {
            let (stream, peer, permit) = tokio::select! {
                biased;
                grace = &mut stop => break grace.unwrap_or(GRACE),
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection failed");
                    }
                    continue;
                }
                Some(accepted) = accept(&listener, &room, &mut failures) => accepted,
            };
            let now = Instant::now();
            match self.book.admit(peer.ip(), now) {
                Ok(place) => drop(connections.spawn(self.clone().serve(stream, peer, place, now, permit))),
                Err(reason) => {
                    if refusals.is_due(now) {
                        tracing::warn!(from = %peer.ip(), reason = reason.as_str(), "refusing connections");
                    }
                }
            }
        };
        // What connected in time may have sent its request already, and a proxy does not send it again elsewhere.
        for _ in 0..BACKLOG {
            // Without the budget of a task, which would end this early.
            let waiting = unconstrained(accept(&listener, &room, &mut failures));
            let Some(Some((stream, peer, permit))) = waiting.now_or_never() else { break };
            let now = Instant::now();
            if let Ok(place) = self.book.admit(peer.ip(), now) {
                connections.spawn(self.clone().serve(stream, peer, place, now, permit));
            }
        }
        drop(listener);
        self.book.finish();
        let ended = timeout(grace, async { while connections.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "ending connections with requests that are still running"
            );
            connections.shutdown().await;
        }
    }

    /// Serves one connection until it ends.
    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        accepted_at: Instant,
        _room: OwnedSemaphorePermit,
    ) {
        let place = Arc::new(place);
        // It only sends small segments early, and is no reason to refuse a connection.
        let _ = stream.set_nodelay(true);
        let ended = match &self.tls {
            None => self.speak(stream, false, peer, &place, accepted_at).await,
            Some(tls) => {
                let handshake = timeout(self.limits.headers, tls.accept(stream));
                let stream = tokio::select! {
                    () = place.watch.gives_way() => return,
                    stream = handshake => stream,
                };
                match stream {
                    Ok(Ok(stream)) => self.speak(stream, true, peer, &place, accepted_at).await,
                    Ok(Err(_)) => None,
                    Err(_) => Some(Ended::Headers),
                }
            }
        };
        if let Some(reason) = ended {
            place.ended(reason);
            tracing::debug!(from = %peer.ip(), reason = reason.as_str(), "ended a connection");
        }
    }

    /// Speaks HTTP until the client disconnects or a timeout passes. Returns why the server ended it.
    async fn speak(
        &self,
        stream: impl Carrier,
        is_encrypted: bool,
        peer: SocketAddr,
        place: &Arc<Place>,
        accepted_at: Instant,
    ) -> Option<Ended> {
        let watch = &place.watch;
        let requests = Requests {
            door: self.door.clone(),
            peer,
            is_encrypted,
            place: place.clone(),
            handlers: Arc::new(Semaphore::new(STREAMS as usize)),
        };
        let io = TokioIo::new(Io::new(stream, watch.clone(), self.headers.clone(), accepted_at));
        let mut connection = pin!(self.http.serve_connection(io, requests));
        let mut timer = pin!(sleep_until(accepted_at + self.limits.headers));
        let mut ordered = pin!(watch.ordered.notified());
        let mut farewell_for = None;
        poll_fn(|cx| {
            let mut now = watch.run();
            loop {
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(farewell_for);
                }
                if ordered.as_mut().poll(cx).is_ready() {
                    ordered.set(watch.ordered.notified());
                    if watch.with(|life| life.order) == Some(Order::GiveWay) {
                        return Poll::Ready(None);
                    }
                }
                let next = match watch.with(|life| life.examine(&self.limits, now)) {
                    Verdict::Wait(next) => next,
                    Verdict::Finish(reason) => {
                        connection.as_mut().graceful_shutdown();
                        watch.with(|life| life.start_farewell(now));
                        farewell_for = reason;
                        continue;
                    }
                    Verdict::End(reason) => {
                        watch.with(|life| life.is_stalled = reason == Some(Ended::Stalled));
                        return Poll::Ready(reason.or(farewell_for));
                    }
                };
                // Only ever set earlier: one that fires too early is set again, and a request sets nothing.
                if next < timer.deadline() {
                    timer.as_mut().reset(next);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                timer.as_mut().reset(next);
                now = watch.run();
            }
        })
        .await
    }
}

/// Keeps a repeated line out of the log for a while.
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether to write the line now.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|at| now >= at + LOG_EVERY);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// Waits for the next connection and a free place for it; `None` only if the semaphore is closed.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    failures: &mut Seldom,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, permit)),
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                // Without descriptors or memory every try fails until something is closed.
                if failures.is_due(Instant::now()) {
                    tracing::error!(%error, "cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether a connection failed before it was accepted, which says nothing about the next one.
fn is_of_the_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_share_the_connections_in_total_and_per_source() {
        let policy = |most_per_source| Policy { most: None, most_per_source, idle: Duration::from_secs(60) };
        let bounds = |all, per_source| Bounds { all, per_source };
        assert_eq!(policy(None).shares(800), [bounds(800, 200)]);
        assert_eq!(policy(None).shares(800), [bounds(700, 175), bounds(100, 25)]);
        assert_eq!(policy(Some(80)).shares(800), [bounds(800, 80)]);
        assert_eq!(policy(Some(80)).shares(800), [bounds(700, 70), bounds(100, 10)]);
        assert_eq!(policy(Some(9_000)).shares(800), [bounds(700, 700), bounds(100, 100)]);
        assert_eq!(policy(Some(1)).shares(1), [bounds(1, 1), bounds(1, 1)]);
    }
}
