//! Secrets of a registration, their rotations and the evidence of their use.

use super::{
    call::{Call, Ids},
    reply::{created, ok, page},
    schema::{Schemas, Shape, example_of},
};
use crate::reply::Reply;
use crossfade_app::{ChangeOverQuery, RegistrationPath};
use crossfade_core::api;

type Registration = Ids<(String, String)>;
type Part = Ids<(String, String, String)>;

pub(super) async fn list(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    page(&call.uri, &call.app.list_secrets(&call.principal, path, &call.list(&[])?).await?)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Secret>(&[])
}

pub(super) async fn rotate(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    match call.app.rotate_secret(&call.request(), path, call.input()?).await? {
        api::RotateSecretAnswer::Rotated(reply) => created(&*reply),
        api::RotateSecretAnswer::NotRotated(reply) => ok(&reply),
    }
}

pub(super) fn rotate_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::RotateSecretReply>(201);
    let text = "The current secret is younger than if_older_than_seconds. Nothing was changed.";
    let shape = schemas.or_answers::<api::NotRotated>(shape, 200, text);
    let example = api::RotateSecret {
        transition_hours: Some(24.into()),
        confirm_client_name: Some("Billing API".into()),
        reason: Some("quarterly".into()),
        expected_current_secret_id: Some(example_of("SecretId")),
        ..Default::default()
    };
    schemas.reads(shape, &example)
}

pub(super) async fn reveal(Ids((client, environment, secret)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.reveal_secret(&call.request(), path, &secret, call.optional_input()).await?)
}

pub(super) fn reveal_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::RevealReply>(200);
    let shape = schemas.reads(shape, &api::RevealSecret { reason: Some("set up a new host".into()) });
    Shape { body_optional: true, ..shape }
}

pub(super) async fn revoke(Ids((client, environment, secret)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.revoke_secret(&call.request(), path, &secret, call.input()?).await?)
}

pub(super) fn revoke_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::SecretChanged>(200);
    let reason = Some("every caller has moved".into());
    schemas.reads(shape, &api::RevokeSecret { reason, ..Default::default() })
}

pub(super) async fn extend(Ids((client, environment, secret)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.extend_secret(&call.request(), path, &secret, call.input()?).await?)
}

pub(super) fn extend_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::SecretChanged>(200);
    let example = api::ExtendSecret {
        expires_at: "2026-11-27T08:00:00Z".into(),
        reason: Some("one nightly job is left".into()),
    };
    schemas.reads(shape, &example)
}

pub(super) async fn list_rotations(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    page(&call.uri, &call.app.list_rotations(&call.principal, path, &call.list(&[])?).await?)
}

pub(super) fn list_rotations_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Rotation>(&[])
}

pub(super) async fn rollback(Ids((client, environment, rotation)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.rollback_secret(&call.request(), path, &rotation, call.input()?).await?)
}

pub(super) fn rollback_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::SecretChanged>(200);
    let reason = Some("the new secret did not reach the workers".into());
    schemas.reads(shape, &api::RollBackRotation { reason, ..Default::default() })
}

pub(super) async fn mark_seen(Ids((client, environment, rotation)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.mark_seen(&call.request(), path, &rotation, call.optional_input()).await?)
}

pub(super) fn mark_seen_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<api::TransitionSeen>(200)
}

/// Filter parameters of the list of sources.
const USAGE_FILTERS: &[&str] = &["since"];

pub(super) async fn list_usage(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let (query, since) = (call.list(USAGE_FILTERS)?, call.parameter("since"));
    page(&call.uri, &call.app.list_usage(&call.principal, path, since.as_deref(), &query).await?)
}

pub(super) fn list_usage_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Usage>(USAGE_FILTERS)
}

/// Parameters of the uses over time.
const SERIES_PARAMETERS: &[&str] = &["grain", "since", "until"];

pub(super) async fn list_usage_series(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let query = call.list(SERIES_PARAMETERS)?;
    let [grain, since, until] = ["grain", "since", "until"].map(|name| call.parameter(name));
    let span = (grain.as_deref(), since.as_deref(), until.as_deref());
    page(&call.uri, &call.app.list_usage_series(&call.principal, path, span, &query).await?)
}

pub(super) fn list_usage_series_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::UsagePoint>(SERIES_PARAMETERS)
}

/// Parameters of the change-over.
const CHANGE_OVER_PARAMETERS: &[&str] = &["grain", "quiet_seconds"];

pub(super) async fn read_change_over(Ids((client, environment)): Registration, call: Call) -> Reply {
    call.only(CHANGE_OVER_PARAMETERS)?;
    let path = RegistrationPath { client: &client, environment: &environment };
    let [grain, quiet_seconds] = ["grain", "quiet_seconds"].map(|name| call.parameter(name));
    ok(&call.app.read_change_over(&call.principal, path, &ChangeOverQuery { grain, quiet_seconds }).await?)
}

pub(super) fn read_change_over_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::ChangeOver>(200);
    Shape { query: CHANGE_OVER_PARAMETERS, ..shape }
}
