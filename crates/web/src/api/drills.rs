//! Drills: windows in which the retiring secret is refused.

use super::{
    call::{Call, Ids},
    reply::{created, ok, page},
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use crossfade_app::RegistrationPath;
use crossfade_core::api;

type Registration = Ids<(String, String)>;
type Part = Ids<(String, String, String)>;

pub(super) async fn schedule(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    created(&call.app.schedule_drill(&call.request(), path, call.input()?).await?)
}

pub(super) fn schedule_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::Drill>(201);
    let example = api::ScheduleDrill {
        length_seconds: Some(60.into()),
        repeat: Some(3.into()),
        every_seconds: Some(600.into()),
        confirm_client_name: Some("Billing API".into()),
        reason: Some("find the remaining callers".into()),
        ..Default::default()
    };
    schemas.reads(shape, &example)
}

pub(super) async fn list(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    page(&call.uri, &call.app.list_drills(&call.principal, path, &call.list(&[])?).await?)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Drill>(&[])
}

pub(super) async fn stop(Ids((client, environment, drill)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.stop_drill(&call.request(), path, &drill, call.optional_input()).await?)
}

pub(super) fn stop_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::Drill>(200);
    let shape = schemas.reads(shape, &api::StopDrill { reason: Some("invoices fail".into()) });
    Shape { body_optional: true, ..shape }
}
