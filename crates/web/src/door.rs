//! The door of an address: requests to the token and introspection endpoints are answered directly, all others by the
//! router.

use crate::{Encrypted, Running, Unread, oauth::Direct};
use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    http::{HeaderValue, Request, Response, Version, header::CONNECTION},
};
use crossfade_app::App;
use http_body::{Frame, SizeHint};
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower::Service;

/// How a request reached the server.
pub struct Arrival {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// Why the request is refused unread.
    pub unread: Option<Unread>,
    /// Kept while the handler of the request runs.
    pub running: Option<Running>,
}

impl Arrival {
    /// Returns the arrival of a request that is not refused and that no permit limits.
    pub fn new(peer: SocketAddr, is_encrypted: bool) -> Self {
        Self { peer, is_encrypted, unread: None, running: None }
    }
}

/// Answers the requests of one address.
#[derive(Clone)]
pub struct Door(Arc<Ways>);

struct Ways {
    app: Arc<App>,
    /// Endpoints that are answered without the router; `None` if the address has none.
    direct: Option<Direct>,
    router: Router,
}

impl Door {
    pub(crate) fn new(app: Arc<App>, direct: Option<Direct>, router: Router) -> Self {
        Self(Arc::new(Ways { app, direct, router }))
    }

    /// Answers a request. A server that is about to stop closes each connection after an answer, so that no proxy sends a
    /// request over one that is just being closed.
    pub async fn answer<B>(&self, request: Request<B>, arrival: Arrival) -> Response<Sent>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // HTTP/2 has a frame for it.
        let closes = request.version() <= Version::HTTP_11 && self.0.app.is_leaving();
        let mut response = self.decided(request, arrival).await;
        if closes {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn decided<B>(&self, mut request: Request<B>, arrival: Arrival) -> Response<Sent>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if let Some(direct) = &self.0.direct
            && let Some(asked) = direct.asked(&request, &arrival)
        {
            return asked.answer(request, arrival).await.map(Sent::Whole);
        }
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(arrival.peer));
        if arrival.is_encrypted {
            extensions.insert(Encrypted);
        }
        if let Some(unread) = arrival.unread {
            extensions.insert(unread);
        }
        if let Some(running) = arrival.running {
            extensions.insert(running);
        }
        let Ok(response) = self.0.router.clone().call(request).await;
        response.map(Sent::Streamed)
    }
}

/// Body of a response.
pub enum Sent {
    /// All of it, in one buffer.
    Whole(Bytes),
    /// Whatever the router returned.
    Streamed(Body),
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Streamed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
