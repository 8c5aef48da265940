//! `/properties`.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
};
use crate::reply::Reply;
use crossfade_app::{PlacePath, PropertyPath};

pub(super) async fn list(call: Call) -> Reply {
    let properties = call.app.list_properties(&call.principal, &call.list(&[])?).await?;
    page(&call.uri, &properties)
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_property(&call.request(), call.input()?).await?)
}

pub(super) async fn read(Ids(property): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_property(&call.principal, PropertyPath(&property)).await?)
}

pub(super) async fn update(Ids(property): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(ok, &call.app.update_property(&request, PropertyPath(&property), call.input()?).await?)
}

pub(super) async fn delete(Ids(property): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_property(&call.request(), PropertyPath(&property), call.optional_input()).await?)
}

pub(super) async fn read_limits(Ids((property, environment)): Ids<(String, String)>, call: Call) -> Reply {
    let path = PlacePath { property: &property, environment: &environment };
    tagged(ok, &call.app.read_limits(&call.principal, path).await?)
}

pub(super) async fn update_limits(Ids((property, environment)): Ids<(String, String)>, call: Call) -> Reply {
    let request = call.request();
    let path = PlacePath { property: &property, environment: &environment };
    tagged(ok, &call.app.update_limits(&request, path, call.input()?).await?)
}
