#![doc = include_str!("../README.md")]

mod api;
mod body;
mod certificate;
mod connections;
mod console;
mod docs;
mod document;
mod door;
mod headers;
mod health;
mod metrics;
mod oauth;
mod observe;
#[cfg(target_os = "linux")]
mod process;
mod reply;
mod routing;
mod scim;
mod source;
mod transport;
mod unread;

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
};
pub use certificate::Certificate;
pub use connections::{Connections, Ended, Running};
use crossfade_app::App;
pub use door::{Arrival, Door, Sent};
pub use headers::headers_of_unreadable_requests;
use metrics::Metrics;
use oauth::Direct;
pub use source::TrustedProxies;
use std::sync::Arc;
pub use transport::{Encrypted, Transport};
pub use unread::Unread;

/// Shared state of every handler. A single pointer, because the layers of a request clone it a dozen times.
#[derive(Clone)]
pub(crate) struct Web(Arc<Parts>);

pub(crate) struct Parts {
    app: Arc<App>,
    transport: Transport,
    metrics: Metrics,
    oauth: oauth::Prepared,
}

impl std::ops::Deref for Web {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Returns the OpenAPI document of the admin API, as served at `/api/openapi.json`.
pub fn openapi() -> &'static serde_json::Value {
    api::document()
}

/// The doors of a server: one for everything, or one for clients and one for people and programs that administer them.
pub struct Routers {
    web: Web,
}

impl Routers {
    /// Creates them, with their shared state.
    pub fn new(app: Arc<App>, transport: Transport) -> Result<Self, prometheus::Error> {
        app.set_trusted_proxies(transport.proxies.0.clone());
        let oauth = oauth::Prepared::new(app.public_url());
        Ok(Self { web: Web(Arc::new(Parts { app, transport, metrics: Metrics::new()?, oauth })) })
    }

    /// Returns the door of an address that answers everything: OAuth, API, Console, docs, health and metrics.
    pub fn everything(&self) -> Door {
        let url = self.web.app.public_url();
        let routes = self.observed(self.administration().fallback(not_found)).merge(oauth::router(&self.web));
        Door::new(self.web.app.clone(), Some(Direct::new(&self.web)), self.complete(routes, url))
    }

    /// Returns the door of the address for clients: OAuth and health.
    pub fn clients(&self) -> Door {
        let url = self.web.app.public_url();
        let nothing = async || nothing_here();
        let routes = self.observed(health::router().fallback(nothing)).merge(oauth::router(&self.web));
        Door::new(self.web.app.clone(), Some(Direct::new(&self.web)), self.complete(routes, url))
    }

    /// Returns the door of the address for administration: API, Console, docs, health and metrics.
    pub fn admin(&self) -> Door {
        let routes = self.observed(self.administration().fallback(not_found));
        Door::new(self.web.app.clone(), None, self.complete(routes, self.web.app.admin_url()))
    }

    fn administration(&self) -> Router<Web> {
        Router::new()
            .merge(api::router())
            .merge(scim::router())
            .merge(console::router(&self.web))
            .merge(docs::router())
            .merge(health::router())
            .merge(metrics::router())
    }

    fn observed(&self, routes: Router<Web>) -> Router<Web> {
        routes
            .method_not_allowed_fallback(headers::method_not_allowed)
            .layer(middleware::from_fn_with_state(self.web.clone(), observe::observe))
    }

    /// Completes the routes of an address whose base is `url`.
    fn complete(&self, routes: Router<Web>, url: &str) -> Router {
        let state = (self.web.clone(), Arc::<str>::from(url));
        routes
            .layer(axum::extract::DefaultBodyLimit::max(body::BODY_BYTES))
            .layer(middleware::from_fn_with_state(state, headers::complete))
            .with_state(self.web.clone())
    }
}

/// Returns the response to a body that does not arrive in time (RFC 9110 §15.5.9).
fn too_slow() -> Response {
    StatusCode::REQUEST_TIMEOUT.into_response()
}

async fn not_found(uri: Uri) -> Response {
    if let Some(page) = without_slash(&uri) {
        return page;
    }
    nothing_here()
}

/// Redirects from the path of a page with a trailing slash to that page.
fn without_slash(uri: &Uri) -> Option<Response> {
    let path = uri.path().trim_end_matches('/');
    let is_page = ["/console", "/docs"]
        .iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let led = is_page && path.len() < uri.path().len();
    led.then(|| Redirect::to(&format!("{path}{query}")).into_response())
}

fn nothing_here() -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, text, "Not found.\n").into_response()
}

/// Runs a change to its end even if its client disconnects, because dropping a handler half-way would leave the outcome
/// unknown. A read stops when its client disconnects.
async fn finish(request: Request, next: Next) -> Response {
    let is_read = request.method().is_safe();
    let running = request.extensions().get::<Running>().cloned();
    let handled = async move {
        let response = next.run(request).await;
        drop(running);
        response
    };
    #[expect(clippy::disallowed_methods, reason = "this is the layer that finishes mutations")]
    let task = tokio::spawn(handled);
    let _stopped = is_read.then(|| StopOnDrop(task.abort_handle()));
    match task.await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request handler panicked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Stops a task when the future that waits for it is dropped.
struct StopOnDrop(tokio::task::AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
