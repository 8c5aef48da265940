//! `/environments` and their signing keys.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
    schema::{Schemas, Shape, nothing},
};
use crate::reply::Reply;
use crossfade_app::EnvironmentPath;
use crossfade_core::{
    api,
    environment::{EnvironmentKind, SigningAlg},
};

pub(super) async fn list(call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.list_environments(&call.principal).await?)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<Vec<api::Environment>>(200)
}

pub(super) async fn read(Ids(environment): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_environment(&call.principal, EnvironmentPath(&environment)).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::Environment>(200)
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_environment(&call.request(), call.input()?).await?)
}

pub(super) fn create_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Environment>(201);
    let example = api::CreateEnvironment {
        slug: "sandbox".into(),
        name: "Sandbox".into(),
        kind: EnvironmentKind::Test,
        signing_alg: Some(SigningAlg::ES256),
    };
    schemas.reads(shape, &example)
}

pub(super) async fn update(Ids(environment): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(ok, &call.app.update_environment(&request, EnvironmentPath(&environment), call.input()?).await?)
}

pub(super) fn update_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Environment>(200);
    let example = api::UpdateEnvironment { max_age_days: Some(Some(90)), ..Default::default() };
    schemas.reads(shape, &example)
}

pub(super) async fn delete(Ids(environment): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_environment(&call.request(), EnvironmentPath(&environment), call.deletion()).await?)
}

pub(super) fn delete_shape(_: &mut Schemas) -> Shape {
    nothing(204)
}

pub(super) async fn list_signing_keys(Ids(environment): Ids<String>, call: Call) -> Reply {
    ok(&call.app.list_signing_keys(&call.principal, EnvironmentPath(&environment)).await?)
}

pub(super) fn list_signing_keys_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<Vec<api::SigningKey>>(200)
}

pub(super) async fn rotate_signing_key(Ids(environment): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    created(&call.app.rotate_signing_key(&request, EnvironmentPath(&environment), call.input()?).await?)
}

pub(super) fn rotate_signing_key_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<Vec<api::SigningKey>>(201);
    let example =
        api::RotateSigningKey { reason: Some("yearly".into()), immediate: false, compromised: false };
    schemas.reads(shape, &example)
}

pub(super) async fn list_unregistered(Ids(environment): Ids<String>, call: Call) -> Reply {
    let path = EnvironmentPath(&environment);
    let list = call.list(&[])?;
    page(&call.uri, &call.app.list_unregistered_clients(&call.principal, path, &list).await?)
}

pub(super) fn list_unregistered_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::UnregisteredClient>(&[])
}
