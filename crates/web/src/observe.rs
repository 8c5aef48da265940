//! Observability of requests: one log line, an id shared by the log, the response and the audit trail, and metrics for
//! Prometheus.

use crate::{
    Web,
    metrics::Endpoint,
    source::{peer, source_address},
};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
    middleware::{self, Next},
    response::Response,
    routing::MethodRouter,
};
use crossfade_authority::SystemRandom;
use crossfade_core::{Random, UserId, audit::Origin, base62, secret::looks_like_secret};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};
use tokio::time::Instant;

/// Header with a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of an id from a proxy.
const LONGEST_ID: usize = 64;

/// A request's id, as in the log, the response and the audit trail.
#[derive(Clone, Debug)]
struct RequestId(String);

/// Name of the operation of a request, for the log and the metrics.
#[derive(Clone, Copy)]
struct Named(&'static str);

/// The account of a request, set once it is known.
#[derive(Clone, Default)]
struct Account(Arc<OnceLock<UserId>>);

/// Records the account of a request, for the log.
pub(crate) fn note_account(extensions: &Extensions, user: &UserId) {
    if let Some(Account(account)) = extensions.get() {
        account.get_or_init(|| user.clone());
    }
}

/// Adds the operation's name to every response of these handlers.
pub(crate) fn name(handlers: MethodRouter<Web>, name: &'static str) -> MethodRouter<Web> {
    handlers.layer(middleware::map_response(move |mut response: Response| {
        response.extensions_mut().insert(Named(name));
        std::future::ready(response)
    }))
}

/// Returns the origin of a request, for the trail.
pub(crate) fn origin(web: &Web, extensions: &Extensions, headers: &HeaderMap) -> Origin {
    let request_id = extensions.get::<RequestId>().map(|id| id.0.clone());
    Origin { request_id, ..web.app.origin(source_address(web, peer(extensions), headers)) }
}

/// Logs and measures a request with one line: the operation, the outcome and the duration. Never a query, a body or a
/// header.
pub(crate) async fn observe(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let id = request_id(&web, &request);
    request.extensions_mut().insert(RequestId(id.clone()));
    // The route, not the path, because the path may contain a pasted secret instead of an id.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = known_method(request.method());
    let account = Account::default();
    request.extensions_mut().insert(account.clone());
    let from = source_address(&web, peer(request.extensions()), request.headers());
    let begun = Instant::now();
    let mut response = next.run(request).await;
    let elapsed = begun.elapsed();
    let operation = response.extensions().get::<Named>().map_or("other", |named| named.0);
    let status = response.status().as_u16();
    let micros = elapsed.as_micros() as u64;
    // A line with an account is always written, one without only at a limited rate, because unknown sources can cause
    // any number of them.
    macro_rules! line {
        ($level:ident $(, $account:ident)?) => {
            tracing::$level!(request_id = id, %from, $(%$account,)? method, route, operation, status, micros, "request")
        };
    }
    match (response.status().is_server_error(), account.0.get()) {
        (true, Some(account)) => line!(warn, account),
        (true, None) => line!(warn),
        (false, Some(account)) => line!(info, account),
        (false, None) => line!(info),
    }
    web.metrics.answered(operation, status, elapsed);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Logs and measures the OAuth endpoints, which answer thousands of requests per second. Writes a log line only at
/// `debug` level, and adds no request id, because every failed authentication must get the same bytes (rule 16).
pub(crate) fn observe_oauth(
    handlers: MethodRouter<Web>,
    web: &Web,
    operation: &'static str,
) -> MethodRouter<Web> {
    let state = (web.clone(), operation, web.metrics.endpoint(operation));
    handlers.layer(middleware::from_fn_with_state(state, observe_endpoint))
}

async fn observe_endpoint(
    State((web, operation, counted)): State<(Web, &'static str, Endpoint)>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let (peer, headers) = (peer(request.extensions()), request.headers());
    let observed = Observed::begin(&web, operation, (request.method(), route), peer, headers);
    let response = next.run(request).await;
    observed.end(response.status(), &counted);
    response
}

/// A request to an OAuth endpoint, until it is answered.
pub(crate) struct Observed {
    operation: &'static str,
    begun: Instant,
    /// Method, route and source, if a line is written.
    line: Option<(&'static str, String, IpAddr)>,
}

impl Observed {
    /// Begins to observe a request with this method and route.
    pub(crate) fn begin(
        web: &Web,
        operation: &'static str,
        (method, route): (&Method, &str),
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Self {
        let line = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| (known_method(method), route.to_owned(), source_address(web, peer, headers)));
        Self { operation, begun: Instant::now(), line }
    }

    /// Logs and counts the response.
    pub(crate) fn end(self, status: StatusCode, counted: &Endpoint) {
        let Self { operation, begun, line } = self;
        let elapsed = begun.elapsed();
        let (is_error, status) = (status.is_server_error(), status.as_u16());
        if let Some((method, route, from)) = line {
            tracing::debug!(%from, method, route, operation, status, micros = elapsed.as_micros() as u64, "request");
        }
        if is_error {
            tracing::warn!(operation, status, "an OAuth request failed");
        }
        counted.answered(status, elapsed);
    }
}

/// Returns the method if it is a standard one. Any other method is untrusted text, which may be long or contain a
/// secret.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// Returns the id set by a declared proxy, so that its log and ours can be read together; otherwise a new one.
fn request_id(web: &Web, request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain) && !looks_like_secret(id)
    });
    match given {
        Some(id) if web.transport.proxies.trusts(peer(request.extensions()).to_canonical()) => id.to_owned(),
        _ => {
            let mut bytes = [0; 8];
            SystemRandom.fill(&mut bytes);
            base62::encode_fixed(&bytes, 11)
        }
    }
}
