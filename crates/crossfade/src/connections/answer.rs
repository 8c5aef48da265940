//! Responses that record how much of them has been read, down to the last byte that the socket accepts.

use super::{book::Place, life::Watch};
use bytes::{Buf, Bytes};
use crossfade_web::{Arrival, Door, Running, Sent, Unread};
use hyper::{
    Request, Response, Version,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    service::Service,
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::Semaphore;

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) door: Door,
    pub(super) peer: SocketAddr,
    pub(super) is_encrypted: bool,
    pub(super) place: Arc<Place>,
    /// Permits for running handlers. A request that its client resets continues to run, while its stream is free for
    /// another.
    pub(super) handlers: Arc<Semaphore>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Watched>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let is_multiplexed = request.version() == Version::HTTP_2;
        let watch = self.place.watch.clone();
        let (id, is_first) = watch.with(|life| life.begin(is_multiplexed, life.now()));
        if is_first {
            self.place.asked();
        }
        let answer = Arc::new(Answer { watch, id });
        let door = self.door.clone();
        let handlers = is_multiplexed.then(|| self.handlers.clone());
        let mut arrival = Arrival::new(self.peer, self.is_encrypted);
        let running = if is_multiplexed { self.place.run() } else { None };
        let is_full = is_multiplexed && running.is_none();
        arrival.unread = Unread::of(&request).or(is_full.then_some(Unread::TooManyRunning));
        if arrival.unread.is_some() {
            // It is answered immediately, and unread parts of the response keep nothing of the request in memory.
            std::mem::take(request.headers_mut());
        }
        Box::pin(async move {
            // Without HTTP/2 there is one request at a time, and none can be reset.
            if let Some(handlers) = handlers.filter(|_| arrival.unread.is_none()) {
                answer.watch.room().await;
                // The semaphore is never closed; without a permit the request would only be less bound.
                arrival.running = handlers.acquire_owned().await.ok().map(Running::new);
            }
            let response = door.answer(request, arrival).await;
            drop(running);
            Ok(response.map(|body| Watched { body, answer }))
        })
    }
}

/// A response, until its last byte is written or it is abandoned.
struct Answer {
    watch: Arc<Watch>,
    id: u64,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watch.with(|life| life.end(self.id, life.now()));
    }
}

/// Body of a response.
pub(super) struct Watched {
    body: Sent,
    answer: Arc<Answer>,
}

impl HttpBody for Watched {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let piece = |bytes| Piece::new(bytes, self.answer.clone());
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of a response on their way to the socket. They are shared, not copied.
pub(super) struct Piece {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl Piece {
    fn new(bytes: Bytes, answer: Arc<Answer>) -> Self {
        answer.watch.with(|life| life.offer(answer.id, bytes.len(), life.now()));
        Self { bytes, answer }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.answer.watch.take(self.answer.id, count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.bytes.has_remaining() {
            self.answer.watch.take(self.answer.id, self.bytes.remaining());
        }
    }
}
