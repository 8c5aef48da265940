//! The admin API, `/api/v1`: one file a resource, each handler a line or two around its use case.

mod audit_events;
mod call;
mod clients;
mod environments;
mod properties;
mod reply;
mod secrets;
mod tokens;

use crate::Web;
use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{any, delete, get, post},
};
use crossfade_core::{Code, Problem};

pub(crate) fn router() -> Router<Web> {
    let api = Router::new()
        .route("/properties", get(properties::list).post(properties::create))
        .route(
            "/properties/{property}",
            get(properties::read).patch(properties::update).delete(properties::delete),
        )
        .route("/environments", get(environments::list).post(environments::create))
        .route(
            "/environments/{environment}",
            axum::routing::patch(environments::update).delete(environments::delete),
        )
        .route("/environments/{environment}/signing-keys", get(environments::list_signing_keys))
        .route("/environments/{environment}/signing-keys/rotate", post(environments::rotate_signing_key))
        .route("/clients", get(clients::list).post(clients::create))
        .route("/clients/{client}", get(clients::read).patch(clients::update).delete(clients::delete))
        .route("/clients/{client}/environments", post(clients::create_registration))
        .route(
            "/clients/{client}/environments/{environment}",
            get(clients::read_registration).patch(clients::update_registration),
        )
        .route("/clients/{client}/environments/{environment}/secrets", get(secrets::list))
        .route("/clients/{client}/environments/{environment}/secrets/rotate", post(secrets::rotate))
        .route("/clients/{client}/environments/{environment}/secrets/{secret}/reveal", post(secrets::reveal))
        .route("/clients/{client}/environments/{environment}/secrets/{secret}/revoke", post(secrets::revoke))
        .route("/clients/{client}/environments/{environment}/secrets/{secret}/extend", post(secrets::extend))
        .route("/clients/{client}/environments/{environment}/rotations", get(secrets::list_rotations))
        .route(
            "/clients/{client}/environments/{environment}/rotations/{rotation}/rollback",
            post(secrets::rollback),
        )
        .route("/clients/{client}/environments/{environment}/usage", get(secrets::list_usage))
        .route("/tokens", get(tokens::list))
        .route("/tokens/{token}", delete(tokens::delete))
        .route("/audit-events", get(audit_events::list))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    Router::new()
        .nest("/api/v1", api)
        // What a nested router does not match, though it begins like it.
        .route("/api/v1/", any(not_found))
        .layer(middleware::from_fn(observe))
        // Also reads: they flush evidence, and a flush that is dropped half-way could count twice.
        .layer(middleware::from_fn(crate::finish))
}

async fn not_found() -> Response {
    reply::problem(&Problem::not_found())
}

async fn method_not_allowed() -> Response {
    reply::problem(&Problem::new(
        Code::MethodNotAllowed,
        "This method is not allowed here. The Allow header lists those that are.",
    ))
}

/// One line a request: what was asked and how it came out. No query, no body, no header.
async fn observe(request: Request, next: Next) -> Response {
    // The route, not the path: somebody may have pasted a secret where an id belongs.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    if response.status() >= StatusCode::INTERNAL_SERVER_ERROR {
        tracing::warn!(%method, route, status, "api request");
    } else {
        tracing::info!(%method, route, status, "api request");
    }
    crate::private(response)
}
