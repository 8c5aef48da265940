//! The admin API, `/api/v1`: one file per resource, each handler a line or two around its use case.
//! `crossfade_core::operations` lists the operations; here each gets its handler.

mod call;
mod clients;
mod drills;
mod environments;
mod openapi;
mod properties;
mod reply;
mod secrets;
mod tokens;
mod trail;
mod users;

use crate::{Web, document::Document, observe};
use axum::{
    Router,
    http::HeaderMap,
    middleware,
    response::Response,
    routing::{MethodRouter, any, delete, get, patch, post, put},
};
use crossfade_core::{Code, Operation, Problem};
pub(crate) use openapi::document;
use std::sync::LazyLock;
pub(crate) use trail::json_lines;

pub(crate) fn router() -> Router<Web> {
    let api = Operation::ALL.iter().fold(Router::new(), |api, operation| {
        api.route(operation.path(), observe::name(handler(*operation), operation.id()))
    });
    let api = api.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    Router::new()
        .nest("/api/v1", api)
        // What a nested router does not match, though it begins like it.
        .route("/api/v1/", any(not_found))
        .layer(middleware::from_fn(crate::finish))
        .route("/api/openapi.json", get(openapi_document))
}

/// Returns the handler of an operation.
fn handler(operation: Operation) -> MethodRouter<Web> {
    use Operation::*;
    match operation {
        ReadMe => get(users::read_me),
        ListProperties => get(properties::list),
        CreateProperty => post(properties::create),
        ReadProperty => get(properties::read),
        UpdateProperty => patch(properties::update),
        DeleteProperty => delete(properties::delete),
        ReadLimits => get(properties::read_limits),
        UpdateLimits => put(properties::update_limits),
        ListEnvironments => get(environments::list),
        CreateEnvironment => post(environments::create),
        ReadEnvironment => get(environments::read),
        UpdateEnvironment => patch(environments::update),
        DeleteEnvironment => delete(environments::delete),
        ListSigningKeys => get(environments::list_signing_keys),
        RotateSigningKey => post(environments::rotate_signing_key),
        ListClients => get(clients::list),
        CreateClient => post(clients::create),
        ReadClient => get(clients::read),
        UpdateClient => patch(clients::update),
        DeleteClient => delete(clients::delete),
        CreateRegistration => post(clients::create_registration),
        ReadRegistration => get(clients::read_registration),
        UpdateRegistration => patch(clients::update_registration),
        ListSecrets => get(secrets::list),
        RotateSecret => post(secrets::rotate),
        RevealSecret => post(secrets::reveal),
        RevokeSecret => post(secrets::revoke),
        ExtendSecret => post(secrets::extend),
        ListRotations => get(secrets::list_rotations),
        RollbackSecret => post(secrets::rollback),
        ScheduleDrill => post(drills::schedule),
        ListDrills => get(drills::list),
        StopDrill => delete(drills::stop),
        ListUsage => get(secrets::list_usage),
        ListUsageSeries => get(secrets::list_usage_series),
        ReadChangeOver => get(secrets::read_change_over),
        ListUsers => get(users::list),
        CreateUser => post(users::create),
        ReadUser => get(users::read),
        UpdateUser => patch(users::update),
        DeleteUser => delete(users::delete),
        CreateLink => post(users::create_link),
        ListGrants => get(users::list_grants),
        CreateGrant => post(users::create_grant),
        DeleteGrant => delete(users::delete_grant),
        ListTokens => get(tokens::list),
        DeleteToken => delete(tokens::delete),
        ListAuditEvents => get(trail::list),
        ExportAuditEvents => get(trail::export),
        ListAuthenticationFailures => get(trail::list_failures),
    }
}

async fn openapi_document(headers: HeaderMap) -> Response {
    static DOCUMENT: LazyLock<Document> =
        LazyLock::new(|| Document::new("application/json", document().to_string()));
    DOCUMENT.answer(&headers)
}

async fn not_found() -> Response {
    crate::reply::problem(&Problem::not_found())
}

async fn method_not_allowed() -> Response {
    crate::reply::problem(&Problem::new(
        Code::MethodNotAllowed,
        "This resource does not support the HTTP method. The Allow header lists the supported methods.",
    ))
}
