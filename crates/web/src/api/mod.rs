//! The admin API, `/api/v1`: one file per resource, each handler a line or two around its use case.
//! `crossfade_core::operations` lists the operations; here each gets its handler, its query and its shape.

mod call;
mod clients;
mod drills;
mod environments;
mod examples;
mod leaks;
mod mail;
mod messages;
mod nodes;
mod openapi;
mod prefer;
mod properties;
mod providers;
mod quarantine;
mod reply;
mod schema;
mod secrets;
mod tokens;
mod trail;
mod users;
mod webhooks;

use crate::{
    Web,
    document::Document,
    observe,
    routing::{ResponseFuture, any, get, on},
};
use axum::{
    Router,
    handler::Handler,
    http::HeaderMap,
    middleware,
    response::Response,
    routing::{MethodFilter, MethodRouter},
};
use crossfade_core::{Code, Operation, Problem, operations::Method};
pub(crate) use openapi::document;
use schema::{Schemas, Shape};
use std::sync::LazyLock;
pub(crate) use trail::json_lines;

pub(crate) fn router() -> Router<Web> {
    let api = Operation::ALL.iter().fold(Router::new(), |api, operation| {
        api.route(operation.path(), observe::name(route(*operation).handler, operation.id()))
    });
    let api = api.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    Router::new()
        .nest("/api/v1", api)
        // What a nested router does not match, though it begins like it.
        .route("/api/v1/", any(not_found))
        .layer(middleware::from_fn(prefer::tell))
        .layer(middleware::from_fn(crate::finish))
        .route("/api/openapi.json", get(openapi_document))
}

/// What this crate adds to an operation.
struct Route {
    handler: MethodRouter<Web>,
    shape: fn(&mut Schemas) -> Shape,
}

/// Returns the handler of an operation, and the shape of its request and response, which is beside the handler.
fn route(operation: Operation) -> Route {
    use Operation::*;
    match operation {
        ReadMe => of(operation, users::read_me, users::read_me_shape),
        ReadOwnMessages => of(operation, messages::read_own, messages::read_own_shape),
        UpdateOwnMessages => of(operation, messages::update_own, messages::update_own_shape),
        ReadClientMessages => of(operation, messages::read_of_client, messages::read_of_client_shape),
        UpdateClientMessages => of(operation, messages::update_of_client, messages::update_of_client_shape),
        ListProperties => of(operation, properties::list, properties::list_shape),
        CreateProperty => of(operation, properties::create, properties::create_shape),
        ReadProperty => of(operation, properties::read, properties::read_shape),
        UpdateProperty => of(operation, properties::update, properties::update_shape),
        DeleteProperty => of(operation, properties::delete, properties::delete_shape),
        ReadLimits => of(operation, properties::read_limits, properties::read_limits_shape),
        UpdateLimits => of(operation, properties::update_limits, properties::update_limits_shape),
        ListEnvironments => of(operation, environments::list, environments::list_shape),
        CreateEnvironment => of(operation, environments::create, environments::create_shape),
        ReadEnvironment => of(operation, environments::read, environments::read_shape),
        UpdateEnvironment => of(operation, environments::update, environments::update_shape),
        DeleteEnvironment => of(operation, environments::delete, environments::delete_shape),
        ListSigningKeys => {
            of(operation, environments::list_signing_keys, environments::list_signing_keys_shape)
        }
        RotateSigningKey => {
            of(operation, environments::rotate_signing_key, environments::rotate_signing_key_shape)
        }
        ListUnregisteredClients => {
            of(operation, environments::list_unregistered, environments::list_unregistered_shape)
        }
        ListClients => of(operation, clients::list, clients::list_shape),
        CreateClient => of(operation, clients::create, clients::create_shape),
        ReadClient => of(operation, clients::read, clients::read_shape),
        UpdateClient => of(operation, clients::update, clients::update_shape),
        DeleteClient => of(operation, clients::delete, clients::delete_shape),
        CreateRegistration => of(operation, clients::create_registration, clients::create_registration_shape),
        ReadRegistration => of(operation, clients::read_registration, clients::read_registration_shape),
        UpdateRegistration => of(operation, clients::update_registration, clients::update_registration_shape),
        ReadUpstreamCredential => {
            of(operation, clients::read_upstream_credential, clients::read_upstream_credential_shape)
        }
        UpdateUpstreamCredential => {
            of(operation, clients::update_upstream_credential, clients::update_upstream_credential_shape)
        }
        TestUpstreamCredential => {
            of(operation, clients::test_upstream_credential, clients::test_upstream_credential_shape)
        }
        ReleaseUpstreamCredential => {
            of(operation, clients::release_upstream_credential, clients::release_upstream_credential_shape)
        }
        ListSecrets => of(operation, secrets::list, secrets::list_shape),
        RotateSecret => of(operation, secrets::rotate, secrets::rotate_shape),
        RevealSecret => of(operation, secrets::reveal, secrets::reveal_shape),
        RevokeSecret => of(operation, secrets::revoke, secrets::revoke_shape),
        ExtendSecret => of(operation, secrets::extend, secrets::extend_shape),
        ListRotations => of(operation, secrets::list_rotations, secrets::list_rotations_shape),
        RollbackSecret => of(operation, secrets::rollback, secrets::rollback_shape),
        MarkSeen => of(operation, secrets::mark_seen, secrets::mark_seen_shape),
        ScheduleDrill => of(operation, drills::schedule, drills::schedule_shape),
        ListDrills => of(operation, drills::list, drills::list_shape),
        StopDrill => of(operation, drills::stop, drills::stop_shape),
        ListUsage => of(operation, secrets::list_usage, secrets::list_usage_shape),
        ListUsageSeries => of(operation, secrets::list_usage_series, secrets::list_usage_series_shape),
        ReadChangeOver => of(operation, secrets::read_change_over, secrets::read_change_over_shape),
        IdentifySecrets => of(operation, leaks::identify, leaks::identify_shape),
        ListWebhooks => of(operation, webhooks::list, webhooks::list_shape),
        CreateWebhook => of(operation, webhooks::create, webhooks::create_shape),
        ReadWebhook => of(operation, webhooks::read, webhooks::read_shape),
        UpdateWebhook => of(operation, webhooks::update, webhooks::update_shape),
        DeleteWebhook => of(operation, webhooks::delete, webhooks::delete_shape),
        RotateWebhookSecret => of(operation, webhooks::rotate_secret, webhooks::rotate_secret_shape),
        TestWebhook => of(operation, webhooks::test, webhooks::test_shape),
        ListDeliveries => of(operation, webhooks::list_deliveries, webhooks::list_deliveries_shape),
        ReplayDelivery => of(operation, webhooks::replay, webhooks::replay_shape),
        ListAccess => of(operation, users::list_access, users::list_access_shape),
        ListUsers => of(operation, users::list, users::list_shape),
        CreateUser => of(operation, users::create, users::create_shape),
        ReadUser => of(operation, users::read, users::read_shape),
        UpdateUser => of(operation, users::update, users::update_shape),
        DeleteUser => of(operation, users::delete, users::delete_shape),
        RemoveFactors => of(operation, users::remove_factors, users::remove_factors_shape),
        ReadSignInPolicy => of(operation, users::read_policy, users::read_policy_shape),
        UpdateSignInPolicy => of(operation, users::update_policy, users::update_policy_shape),
        ReadHandOver => of(operation, users::hand_over, users::hand_over_shape),
        CreateLink => of(operation, users::create_link, users::create_link_shape),
        ListGrants => of(operation, users::list_grants, users::list_grants_shape),
        CreateGrant => of(operation, users::create_grant, users::create_grant_shape),
        DeleteGrant => of(operation, users::delete_grant, users::delete_grant_shape),
        ListProviders => of(operation, providers::list, providers::list_shape),
        CreateProvider => of(operation, providers::create, providers::create_shape),
        ReadProvider => of(operation, providers::read, providers::read_shape),
        UpdateProvider => of(operation, providers::update, providers::update_shape),
        DeleteProvider => of(operation, providers::delete, providers::delete_shape),
        ListProvisioningTokens => of(operation, providers::list_tokens, providers::list_tokens_shape),
        CreateProvisioningToken => of(operation, providers::create_token, providers::create_token_shape),
        DeleteProvisioningToken => of(operation, providers::delete_token, providers::delete_token_shape),
        ListTokens => of(operation, tokens::list, tokens::list_shape),
        DeleteToken => of(operation, tokens::delete, tokens::delete_shape),
        ListAuditEvents => of(operation, trail::list, trail::list_shape),
        ExportAuditEvents => of(operation, trail::export, trail::export_shape),
        ReadAuditCheckpoint => of(operation, trail::checkpoint, trail::checkpoint_shape),
        ListAuthenticationFailures => of(operation, trail::list_failures, trail::list_failures_shape),
        ListNodes => of(operation, nodes::list, nodes::list_shape),
        ReadQuarantine => of(operation, quarantine::read, quarantine::read_shape),
        ReleaseQuarantine => of(operation, quarantine::release, quarantine::release_shape),
        ReadMail => of(operation, mail::read, mail::read_shape),
        ReleaseMail => of(operation, mail::release, mail::release_shape),
        TestMail => of(operation, mail::test, mail::test_shape),
    }
}

fn of<T: 'static>(
    operation: Operation,
    handler: impl Handler<T, Web, Future = ResponseFuture>,
    shape: fn(&mut Schemas) -> Shape,
) -> Route {
    let method = match operation.method() {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    };
    Route { handler: on(method, handler), shape }
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
