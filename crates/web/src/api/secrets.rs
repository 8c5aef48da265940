//! Secrets of a registration, their rotations and the evidence of their use.

use super::{
    call::{Call, Ids},
    reply::{created, ok, page},
};
use crate::reply::Reply;
use crossfade_app::{ChangeOverQuery, RegistrationPath};

type Registration = Ids<(String, String)>;
type Part = Ids<(String, String, String)>;

pub(super) async fn list(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    page(&call.uri, &call.app.list_secrets(&call.principal, path, &call.list(&[])?).await?)
}

pub(super) async fn rotate(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    created(&call.app.rotate_secret(&call.request(), path, call.input()?).await?)
}

pub(super) async fn reveal(Ids((client, environment, secret)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.reveal_secret(&call.request(), path, &secret, call.optional_input()).await?)
}

pub(super) async fn revoke(Ids((client, environment, secret)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.revoke_secret(&call.request(), path, &secret, call.input()?).await?)
}

pub(super) async fn extend(Ids((client, environment, secret)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.extend_secret(&call.request(), path, &secret, call.input()?).await?)
}

pub(super) async fn list_rotations(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    page(&call.uri, &call.app.list_rotations(&call.principal, path, &call.list(&[])?).await?)
}

pub(super) async fn rollback(Ids((client, environment, rotation)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.rollback_secret(&call.request(), path, &rotation, call.input()?).await?)
}

pub(super) async fn list_usage(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let (query, since) = (call.list(&["since"])?, call.parameter("since"));
    page(&call.uri, &call.app.list_usage(&call.principal, path, since.as_deref(), &query).await?)
}

pub(super) async fn list_usage_series(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let query = call.list(&["grain", "since", "until"])?;
    let [grain, since, until] = ["grain", "since", "until"].map(|name| call.parameter(name));
    let span = (grain.as_deref(), since.as_deref(), until.as_deref());
    page(&call.uri, &call.app.list_usage_series(&call.principal, path, span, &query).await?)
}

pub(super) async fn read_change_over(Ids((client, environment)): Registration, call: Call) -> Reply {
    call.only(&["grain", "quiet_seconds"])?;
    let path = RegistrationPath { client: &client, environment: &environment };
    let [grain, quiet_seconds] = ["grain", "quiet_seconds"].map(|name| call.parameter(name));
    ok(&call.app.read_change_over(&call.principal, path, &ChangeOverQuery { grain, quiet_seconds }).await?)
}
