//! The two endpoints that nearly every request is for, answered without the router: its layers, its copies of paths and
//! its boxes cost more than everything but the signature.
//!
//! A request that is anything but ordinary takes the usual way, where the same functions answer it: another method, an
//! encoded path, an unknown environment or one in front of another issuer, a refusal unread.

use super::{introspect::introspect, request::OauthRequest, token::token};
use crate::{Arrival, Web, metrics::Endpoint, observe::Observed};
use axum::{
    BoxError,
    body::{Bytes, HttpBody},
    http::{Method, Request, Response, StatusCode},
};
use crossfade_authority::Environment;
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
            },
            Named {
                path: "oauth2/introspect",
                route: "/env/{environment}/oauth2/introspect",
                operation: "introspect",
                counted: counted("introspect"),
                answer: introspect,
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
        // What is forwarded must end also if its caller hangs up.
        if environment.upstream().is_some() {
            return None;
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
        let Named { route, operation, counted, answer, .. } = endpoint;
        let (parts, body) = request.into_parts();
        let peer = arrival.peer.ip();
        let observed = Observed::begin(web, operation, (&parts.method, *route), peer, &parts.headers);
        let response = match OauthRequest::read(web, environment, parts, peer, body).await {
            Some(request) => answer(&request),
            None => {
                let mut late = Response::new(Bytes::new());
                *late.status_mut() = StatusCode::REQUEST_TIMEOUT;
                *late.headers_mut() = web.oauth.defaults.clone();
                late
            }
        };
        observed.end(response.status(), counted);
        response
    }
}
