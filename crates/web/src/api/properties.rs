//! `/properties`.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
    schema::{Schemas, Shape, nothing},
};
use crate::reply::Reply;
use crossfade_app::{PlacePath, PropertyPath};
use crossfade_core::api;

pub(super) async fn list(call: Call) -> Reply {
    let properties = call.app.list_properties(&call.principal, &call.list(&[])?).await?;
    page(&call.uri, &properties)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Property>(&[])
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_property(&call.request(), call.input()?).await?)
}

pub(super) fn create_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Property>(201);
    schemas.reads(shape, &api::PropertyBody { name: "Payments".into() })
}

pub(super) async fn read(Ids(property): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_property(&call.principal, PropertyPath(&property)).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::Property>(200)
}

pub(super) async fn update(Ids(property): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(ok, &call.app.update_property(&request, PropertyPath(&property), call.input()?).await?)
}

pub(super) fn update_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Property>(200);
    schemas.reads(shape, &api::PropertyBody { name: "Payments and invoices".into() })
}

pub(super) async fn delete(Ids(property): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_property(&call.request(), PropertyPath(&property), call.optional_input()).await?)
}

pub(super) fn delete_shape(_: &mut Schemas) -> Shape {
    nothing(204)
}

pub(super) async fn read_limits(Ids((property, environment)): Ids<(String, String)>, call: Call) -> Reply {
    let path = PlacePath { property: &property, environment: &environment };
    tagged(ok, &call.app.read_limits(&call.principal, path).await?)
}

pub(super) fn read_limits_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::Limits>(200)
}

pub(super) async fn update_limits(Ids((property, environment)): Ids<(String, String)>, call: Call) -> Reply {
    let request = call.request();
    let path = PlacePath { property: &property, environment: &environment };
    tagged(ok, &call.app.update_limits(&request, path, call.input()?).await?)
}

pub(super) fn update_limits_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Limits>(200);
    let example = api::UpdateLimits {
        audiences: vec!["https://invoices.example.com".into()],
        scopes: Some(vec!["invoices:read".into()]),
    };
    schemas.reads(shape, &example)
}
