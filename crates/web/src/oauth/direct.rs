//! The two endpoints that nearly every request is for, answered without the router: its layers, its copies of paths and
//! its boxes cost more than everything but the signature.
//!
//! A request that is anything but ordinary takes the usual way, where the same functions answer it: another method, an
//! encoded path, an unknown environment, an endpoint that the issuer in front of which an environment is does not have, a
//! refusal unread.

use super::{introspect::introspect, relay::relay, request::OauthRequest, token::token};
use crate::{Arrival, Running, Web, metrics::Endpoint, observe::Observed};
use axum::{
    BoxError,
    body::{Bytes, HttpBody},
    http::{Method, Request, Response, StatusCode},
};
use crossfade_authority::Environment;
use crossfade_core::upstream;
use std::sync::Arc;

/// The endpoints.
pub(crate) struct Direct {
    web: Web,
    endpoints: [Named; 2],
}

/// An endpoint, with the names that the log and the metrics have for it.
struct Named {
    /// The path behind that of the environment.
    path: &'static str,
    route: &'static str,
    operation: &'static str,
    counted: Endpoint,
    answer: fn(&OauthRequest) -> Response<Bytes>,
    /// The endpoint of an issuer that the environment is in front of.
    forwarded: upstream::Endpoint,
}

/// A request to one of the endpoints, in an existing environment.
pub(crate) struct Asked<'a> {
    web: &'a Web,
    endpoint: &'a Named,
    environment: Arc<Environment>,
}

/// The longest slug.
const LONGEST_SLUG: usize = 40;

impl Direct {
    pub(crate) fn new(web: &Web) -> Self {
        let counted = |operation| web.metrics.endpoint(operation);
        let endpoints = [
            Named {
                path: "oauth2/token",
                route: "/env/{environment}/oauth2/token",
                operation: "token",
                counted: counted("token"),
                answer: token,
                forwarded: upstream::Endpoint::Token,
            },
            Named {
                path: "oauth2/introspect",
                route: "/env/{environment}/oauth2/introspect",
                operation: "introspect",
                counted: counted("introspect"),
                answer: introspect,
                forwarded: upstream::Endpoint::Introspection,
            },
        ];
        Self { web: web.clone(), endpoints }
    }

    /// Returns what a request asks for; `None` if the router answers it.
    pub(crate) fn asked<B>(&self, request: &Request<B>, arrival: &Arrival) -> Option<Asked<'_>> {
        let Self { web, endpoints } = self;
        let (slug, path) = request.uri().path().strip_prefix("/env/")?.split_once('/')?;
        let endpoint = endpoints.iter().find(|endpoint| endpoint.path == path)?;
        // As stored: a slug has no character that a path would encode.
        let is_plain = slug.len() <= LONGEST_SLUG && !slug.contains('%');
        let is_refused = || {
            let (peer, headers) = (arrival.peer.ip(), request.headers());
            arrival.unread.is_some()
                || web.transport.is_exposed(peer, arrival.is_encrypted, headers, web.app.public_url())
        };
        if request.method() != Method::POST || !is_plain || is_refused() {
            return None;
        }
        let environment = web.app.authority().environment(slug)?;
        if let Some(upstream) = environment.upstream() {
            upstream.server(None)?.endpoint(endpoint.forwarded)?;
        }
        Some(Asked { web, endpoint, environment })
    }
}

impl Asked<'_> {
    /// Answers the request, logs and measures it.
    pub(crate) async fn answer<B>(self, request: Request<B>, arrival: Arrival) -> Response<Bytes>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let Self { web, endpoint, environment } = self;
        let Named { route, operation, counted, answer, forwarded, .. } = endpoint;
        let (parts, body) = request.into_parts();
        let peer = arrival.peer.ip();
        let observed = Observed::begin(web, operation, (&parts.method, *route), peer, &parts.headers);
        let response = match OauthRequest::read(web, environment, parts, peer, body).await {
            Some(request) if request.is_forwarded() => forward(request, *forwarded, arrival.running).await,
            Some(request) => answer(&request),
            None => empty(web, StatusCode::REQUEST_TIMEOUT),
        };
        observed.end(response.status(), counted);
        response
    }
}

/// Forwards a request to its end, also if its caller hangs up.
async fn forward(request: OauthRequest, to: upstream::Endpoint, running: Option<Running>) -> Response<Bytes> {
    let web = request.web.clone();
    let forwarded = async move {
        let answer = relay(&request, to).await;
        drop(running);
        answer
    };
    #[expect(clippy::disallowed_methods, reason = "what was sent to an issuer must not be dropped")]
    let task = tokio::spawn(forwarded);
    match task.await {
        Ok(answer) => answer.unwrap_or_else(|| empty(&web, StatusCode::NOT_FOUND)),
        Err(error) => {
            tracing::error!(%error, "a request handler panicked");
            empty(&web, StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn empty(web: &Web, status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    *response.headers_mut() = web.oauth.defaults.clone();
    response
}
